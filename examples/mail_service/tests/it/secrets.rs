//! What operators see holds no secret: logs, traces and metrics are searched for everything that was said.

use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mail_service::observe::{self, Collector};
use serde_json::json;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::Service;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Kept {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A collector of traces that keeps what it is sent.
fn collector() -> (String, Kept) {
    let (listener, kept) = (TcpListener::bind("127.0.0.1:0").unwrap(), Kept::default());
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let keeping = kept.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut keeping) = (stream.unwrap(), keeping.clone());
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                keeping.write_all(&buffer[..length]).unwrap();
                if buffer[..length].ends_with(b"]}]}") {
                    break;
                }
            }
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"));
        }
    });
    (url, kept)
}

const WORDS: [&str; 6] =
    ["SUBJECT-MARKER", "TEXT-MARKER", "SEARCH-MARKER", "FOLDER-MARKER", "recipient-marker", "FILE-MARKER"];

#[test]
fn neither_logs_nor_traces_nor_metrics_hold_a_token_a_word_of_mail_or_the_name_of_another_tenant() {
    let (logs, (url, traces)) = (Kept::default(), collector());
    let (subscriber, observed) = observe::begin(logs.clone(), LevelFilter::TRACE, Some(Collector::new(url).unwrap()));
    tracing::subscriber::set_global_default(subscriber).expect("the only test that observes");
    let mut service = Service::begin();
    let (anna, forger) = (service.user("contoso"), service.bearer("eyJhbGciOiJub25lIn0.FORGED-MARKER."));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    anna.ask("GET", "/me", &[("traceparent", &parent)], b"");
    let body = json!({"to": "recipient-marker@contoso.example", "subject": "SUBJECT-MARKER", "text": "TEXT-MARKER"});
    assert_eq!(anna.post("/t/contoso/send", &body).status, 201);
    anna.ask("PUT", "/t/contoso/folders/FOLDER-MARKER", &[], b"");
    anna.get("/t/contoso/folders/FOLDER-MARKER/messages?q=SEARCH-MARKER");
    anna.ask("POST", "/t/contoso/send", &[], b"{\"to\": \"SUBJECT-MARKER\", TEXT-MARKER");
    anna.get("/t/hidden-tenant-marker/folders");
    anna.get("/t/fabrikam/folders");
    anna.post("/signin", &json!({"name": "NAME-MARKER", "password": "PASSWORD-MARKER"}));
    forger.get("/t/contoso/folders");
    let raw = b"Subject: SUBJECT-MARKER\nContent-Disposition: attachment; filename=FILE-MARKER\n\nTEXT-MARKER";
    anna.ask("PUT", &format!("/t/contoso/imports/{}?folder=inbox", crate::imports::hex_digest(raw)), &[], raw);
    let broken = b"TEXT-MARKER";
    anna.ask("PUT", &format!("/t/contoso/imports/{}?folder=inbox", crate::imports::hex_digest(broken)), &[], broken);
    let metrics = anna.at(&service.admin).get("/metrics").text();
    service.end();
    observed.end();

    let (logs, traces) = (logs.text(), traces.text());
    assert!(logs.contains(r#""message":"answered""#) && logs.contains(r#""status":401"#), "{logs}");
    assert!(logs.contains(r#""tenant":"contoso""#), "who was let in is named");
    assert!(traces.contains(trace) && traces.contains("PUT /t/{tenant}/imports/{digest}"), "{traces}");
    assert!(metrics.contains("mail_requests_total"));
    let token_parts = anna.token.split('.').chain(["FORGED-MARKER", "PASSWORD-MARKER", "NAME-MARKER"]);
    let others = ["hidden-tenant-marker", "fabrikam", "anna-of-contoso"];
    for secret in WORDS.into_iter().chain(token_parts).chain(others) {
        for (name, text) in [("logs", &logs), ("traces", &traces), ("metrics", &metrics)] {
            let at = text.find(secret);
            assert!(at.is_none(), "{name} hold {secret}: {}", &text[at.unwrap().saturating_sub(300)..at.unwrap() + 20]);
        }
    }
    let control = format!("{logs} TEXT-MARKER");
    assert!(WORDS.iter().any(|word| control.contains(word)), "the control");
}
