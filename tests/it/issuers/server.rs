//! A small host of an issuer: HTTPS on loopback with a certificate made for the occasion, pages that the test sets, and a
//! count of what was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This text, with status 200.
    Page(String),
    /// This status, header line and text.
    Status(u16, String, String),
    /// The connection ends without a word.
    Nothing,
    /// The answer comes, a byte at a time, and never ends.
    Drip,
    /// A body without an end.
    Endless,
    /// Headers without an end.
    EndlessHeaders,
    /// The connection ends in the middle of the answer.
    Cut,
}

pub struct Server {
    port: u16,
    ca_pem: String,
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<ServerConfig>,
    pages: Mutex<BTreeMap<String, Answer>>,
    asked: Mutex<BTreeMap<String, usize>>,
    connections: AtomicUsize,
    is_over: AtomicBool,
}

pub const DOCUMENT: &str = "/.well-known/openid-configuration";
pub const KEYS: &str = "/keys";

impl Server {
    pub fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a certificate and its key");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let shared = Arc::new(Shared {
            config: Arc::new(config),
            pages: Mutex::default(),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = accepting.clone();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                // A client that has gone is no failure here.
                std::thread::spawn(move || drop(shared.serve(connection)));
            }
        });
        Self { port, ca_pem: made.cert.pem(), shared }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// How the host is called in an allow-list.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub fn set(&self, path: &str, answer: Answer) {
        self.shared.pages.lock().expect("pages").insert(path.to_owned(), answer);
    }

    /// The document of an issuer that lives here, and its keys.
    pub fn publish(&self, keys: &str) {
        self.set(DOCUMENT, Answer::Page(self.document()));
        self.set(KEYS, Answer::Page(keys.to_owned()));
    }

    pub fn document(&self) -> String {
        document(&self.url(), &format!("{}{KEYS}", self.url()))
    }

    /// How often this page was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.shared.asked.lock().expect("counts").get(path).copied().unwrap_or(0)
    }

    /// How often somebody has connected, whatever came of it.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How often anything was.
    pub fn asked_in_all(&self) -> usize {
        self.shared.asked.lock().expect("counts").values().sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// A discovery document, with more in it than is needed here.
pub fn document(issuer: &str, keys: &str) -> String {
    json!({
        "issuer": issuer, "jwks_uri": keys, "authorization_endpoint": format!("{issuer}/authorize"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"], "request_uri_parameter_supported": false,
    })
    .to_string()
}

impl Shared {
    fn serve(&self, connection: TcpStream) -> std::io::Result<()> {
        let tls = ServerConnection::new(self.config.clone()).expect("a server");
        let mut reader = BufReader::new(StreamOwned::new(tls, connection));
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut line = String::from(" ");
        while !line.trim_end().is_empty() {
            line.clear();
            reader.read_line(&mut line)?;
        }
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        *self.asked.lock().expect("counts").entry(path.clone()).or_default() += 1;
        let answer = self.pages.lock().expect("pages").get(&path).cloned();
        let not_found = Answer::Status(404, "X: y".to_owned(), "nothing here".to_owned());
        self.answer(reader.get_mut(), answer.unwrap_or(not_found))
    }

    fn answer(&self, stream: &mut StreamOwned<ServerConnection, TcpStream>, answer: Answer) -> std::io::Result<()> {
        match answer {
            Answer::Page(text) => write_page(stream, 200, "Content-Type: application/json", &text),
            Answer::Status(status, header, text) => write_page(stream, status, &header, &text),
            Answer::Nothing => Ok(()),
            Answer::Drip => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{")?;
                while !self.is_over.load(Ordering::SeqCst) {
                    stream.write_all(b" ")?;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            }
            Answer::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{")?;
                loop {
                    stream.write_all(&[b' '; 8192])?;
                }
            }
            Answer::EndlessHeaders => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                loop {
                    stream.write_all(b"X-More: and more\r\n")?;
                }
            }
            Answer::Cut => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"keys\":[]}")?;
                stream.flush()
            }
        }
    }
}

fn write_page(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    status: u16,
    header: &str,
    text: &str,
) -> std::io::Result<()> {
    let length = text.len();
    write!(stream, "HTTP/1.1 {status} -\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")?;
    stream.conn.send_close_notify();
    stream.flush()
}
