//! What the API promises.

use std::time::Duration;

use mail_service::identity::KeysAtHand;
use serde_json::{Value, json};

use crate::support::Service;

#[test]
fn a_message_is_written_listed_read_marked_moved_and_deleted() {
    let service = Service::begin();
    let anna = service.user("contoso");
    let me = anna.get("/me").json();
    assert_eq!((me["tenant"].as_str(), me["name"].as_str()), (Some("contoso"), Some("anna")));
    assert_eq!(me["may_write"], true);
    let sent =
        anna.post("/t/contoso/send", &json!({"to": "bert@contoso.example", "subject": "Grüße", "text": "hello"}));
    assert_eq!(sent.status, 201, "{}", sent.text());
    assert_eq!(anna.get(&sent.header("location")).header("etag"), sent.header("etag"));
    assert_eq!((anna.ids("contoso", "sent").len(), anna.ids("contoso", "inbox").len()), (1, 1));

    let path = format!("/t/contoso/folders/inbox/messages/{}", anna.ids("contoso", "inbox")[0]);
    let found = anna.get(&path);
    let (message, tag) = (found.json(), found.header("etag"));
    assert_eq!(message["from"], "anna@contoso.example");
    assert_eq!(
        (&message["subject"], &message["text"], &message["seen"]),
        (&json!("Grüße"), &json!("hello"), &json!(false))
    );
    assert_eq!(anna.ask("GET", &path, &[("if-none-match", &tag)], b"").status, 304);
    assert!(anna.get(&format!("{path}/raw")).text().contains("Subject: Grüße\r\n"));

    let seen = br#"{"seen":true}"#;
    assert_eq!(anna.ask("PATCH", &path, &[], seen).status, 428);
    let marked = anna.ask("PATCH", &path, &[("if-match", &tag)], seen);
    assert_eq!(marked.status, 204);
    assert_eq!(anna.ask("PATCH", &path, &[("if-match", &tag)], seen).status, 412, "the tag is of the version before");
    assert_eq!(anna.get(&path).header("etag"), marked.header("etag"));
    assert_eq!(anna.ask("GET", &path, &[("if-none-match", &tag)], b"").status, 200);

    assert_eq!(anna.ask("PUT", "/t/contoso/folders/Projekt%20%C3%84rger", &[], b"").status, 201);
    assert_eq!(anna.ask("PUT", "/t/contoso/folders/Projekt%20%C3%84rger", &[], b"").status, 204);
    let folders = anna.get("/t/contoso/folders").json();
    assert_eq!(folders["folders"], json!(["inbox", "sent", "archive", "Projekt Ärger"]));
    let moved = anna.post(&format!("{path}/move"), &json!({"to": "Projekt Ärger"}));
    assert_eq!(moved.status, 204, "{}", moved.text());
    assert_eq!(anna.get(&path).status, 404);
    let (there, path) = (path, moved.header("location"));
    assert_eq!(anna.get(&path).json()["text"], "hello");
    assert_eq!(anna.get(&path).header("etag"), moved.header("etag"));
    let again = anna.post(&format!("{there}/move"), &json!({"to": "Projekt Ärger"}));
    assert_eq!((again.status, again.header("location")), (204, path.clone()), "it is there already");

    assert_eq!(anna.ask("DELETE", &path, &[("if-match", &tag)], b"").status, 412);
    assert_eq!(anna.ask("DELETE", &path, &[], b"").status, 204);
    assert_eq!(anna.get(&path).status, 404);
    assert_eq!(anna.ask("DELETE", &path, &[], b"").status, 404);
}

#[test]
fn pages_are_newest_first_and_hold_everything_once() {
    let service = Service::begin();
    let anna = service.user("contoso");
    for number in 0..25 {
        service.world.advance(Duration::from_millis(1));
        anna.store("contoso", "inbox", &format!("number {number}"), "");
    }
    anna.store("contoso", "archive", "elsewhere", "");
    let (mut subjects, mut after) = (Vec::new(), String::new());
    loop {
        let page = anna.get(&format!("/t/contoso/folders/inbox/messages?limit=10{after}")).json();
        let rows = page["messages"].as_array().unwrap().clone();
        subjects.extend(rows.iter().map(|row| row["subject"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let expected: Vec<String> = (0..25).rev().map(|number| format!("number {number}")).collect();
    assert_eq!(subjects, expected);
}

#[test]
fn a_search_finds_what_is_in_the_folder_in_whatever_case() {
    let service = Service::begin();
    let anna = service.user("contoso");
    anna.store("contoso", "inbox", "The RECHNUNG is here", "");
    anna.store("contoso", "inbox", "other", "die rechnung über 40");
    anna.store("contoso", "inbox", "other", "nothing");
    anna.store("contoso", "archive", "rechnung", "");
    let found = |query: &str| {
        let page = anna.get(&format!("/t/contoso/folders/inbox/messages?q={query}")).json();
        page["messages"].as_array().unwrap().len()
    };
    assert_eq!((found("Rechnung"), found("%C3%9CBER"), found("absent"), found("")), (2, 1, 0, 3));
}

#[test]
fn a_search_that_has_to_look_far_answers_in_pages() {
    let service = Service::begin();
    let anna = service.user("contoso");
    anna.store("contoso", "inbox", "the needle", "");
    service.world.advance(Duration::from_millis(1));
    for number in 0..2000 {
        anna.store("contoso", "inbox", &format!("hay {number}"), "");
    }
    let path = "/t/contoso/folders/inbox/messages?q=needle";
    let first = anna.get(path).json();
    assert_eq!(first["messages"], json!([]));
    let second = anna.get(&format!("{path}&after={}", first["next"].as_str().unwrap())).json();
    assert_eq!((&second["messages"][0]["subject"], &second["next"]), (&json!("the needle"), &Value::Null));
}

#[test]
fn an_expired_message_is_gone_at_once_everywhere() {
    let service = Service::begin();
    let anna = service.user("contoso");
    let body = json!({"to": "b@contoso.example", "subject": "s", "text": "t", "expires_in_secs": 60});
    let answer = anna.post("/t/contoso/folders/inbox/messages", &body);
    let (path, tag) = (answer.header("location"), answer.header("etag"));
    assert_eq!(answer.json()["expires_at_secs"], service.now_secs() + 60);
    service.world.advance(Duration::from_secs(59));
    assert_eq!((anna.get(&path).status, anna.ids("contoso", "inbox").len()), (200, 1));
    // It takes its end along.
    let moved = anna.post(&format!("{path}/move"), &json!({"to": "archive"})).header("location");
    let back = anna.post(&format!("{moved}/move"), &json!({"to": "inbox"})).header("location");
    assert_eq!(back, path);
    service.world.advance(Duration::from_secs(1));
    assert_eq!((anna.get(&path).status, anna.ids("contoso", "inbox").len()), (404, 0));
    assert_eq!(anna.ask("PATCH", &path, &[("if-match", &tag)], br#"{"seen":true}"#).status, 404);
    assert_eq!(anna.post(&format!("{path}/move"), &json!({"to": "archive"})).status, 404);
    for expires_in_secs in [json!(0), json!(-1), json!(u64::MAX), json!("soon")] {
        let body = json!({"to": "b@contoso.example", "subject": "s", "text": "t", "expires_in_secs": expires_in_secs});
        assert_eq!(anna.post("/t/contoso/folders/inbox/messages", &body).status, 400);
    }
}

#[test]
fn who_may_only_read_only_reads() {
    let service = Service::begin();
    let reader = service.bearer(&service.nobody("contoso").role("read").sign());
    assert_eq!(reader.get("/me").json()["may_write"], false);
    assert_eq!(reader.ids("contoso", "inbox").len(), 0, "also before anything was written");
    assert_eq!(reader.ask("PUT", "/t/contoso/folders/new", &[], b"").status, 403);
    let (path, tag) = service.user("contoso").store("contoso", "inbox", "s", "t");
    assert_eq!(reader.get(&path).status, 200);
    let body = json!({"to": "b@contoso.example", "subject": "s", "text": "t"});
    assert_eq!(reader.post("/t/contoso/send", &body).status, 403);
    assert_eq!(reader.ask("PATCH", &path, &[("if-match", &tag)], br#"{"seen":true}"#).status, 403);
    assert_eq!(reader.ask("DELETE", &path, &[], b"").status, 403);
    assert_eq!(reader.post(&format!("{path}/move"), &json!({"to": "archive"})).status, 403);
    assert_eq!(reader.ask("PUT", "/t/contoso/folders/new", &[], b"").status, 403);
    assert_eq!(reader.get(&path).status, 200);
}

#[test]
fn refusals_are_problems_and_every_answer_has_careful_headers() {
    let service = Service::begin();
    let (anna, nobody) = (service.user("contoso"), service.bearer(""));
    let inbox = "/t/contoso/folders/inbox/messages";
    let long = vec![b' '; (256 << 10) + 1];
    let answers = [
        (401, nobody.get(inbox)),
        (403, anna.get("/t/fabrikam/folders")),
        (404, anna.get("/no/such/path")),
        (404, anna.get("/t/contoso/folders/nowhere/messages")),
        (404, anna.get(&format!("{inbox}/not-an-id"))),
        (404, anna.get(&format!("{inbox}/{}", "0".repeat(32)))),
        (405, anna.ask("DELETE", inbox, &[], b"")),
        (400, anna.get(&format!("{inbox}?after=x&limit=y"))),
        (400, anna.ask("POST", inbox, &[], b"{\"to\":")),
        (400, anna.post(inbox, &json!({"to": "a@b", "subject": "s\r\nBcc: x@y", "text": ""}))),
        (400, anna.ask("PUT", "/t/contoso/folders/a%00b", &[], b"")),
        (413, anna.ask("POST", inbox, &[], &long)),
        (404, anna.post("/signin", &json!({"name": "anna", "password": "p"}))),
    ];
    for (status, answer) in &answers {
        assert_eq!(answer.status, *status, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["status"], *status);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
    assert_eq!(answers[0].1.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    for answer in answers.iter().map(|(_, answer)| answer).chain([&anna.get("/"), &anna.get("/me")]) {
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

#[test]
fn an_unknown_tenant_looks_like_a_forbidden_one() {
    let service = Service::begin();
    let anna = service.user("contoso");
    service.user("fabrikam").store("fabrikam", "inbox", "secret", "");
    for rest in ["folders", "folders/inbox/messages", "folders/nowhere/messages", "imports/x"] {
        let [there, not_there] = ["fabrikam", "nobody"].map(|tenant| anna.get(&format!("/t/{tenant}/{rest}")));
        assert_eq!((there.status, &there.body), (not_there.status, &not_there.body), "{rest}");
        assert_eq!(there.status, 403);
        let names = |answer: &crate::support::Answer| -> Vec<String> {
            answer.headers.keys().map(|name| name.as_str().to_owned()).collect()
        };
        assert_eq!(names(&there), names(&not_there));
    }
}

struct Never;

impl KeysAtHand for Never {
    fn are_at_hand(&self) -> bool {
        false
    }
}

#[test]
fn it_is_ready_while_it_can_serve() {
    let mut service = Service::begin();
    let anna = service.user("contoso");
    assert_eq!((anna.get("/healthz").status, anna.get("/readyz").status), (200, 200));
    let without = Service::begin_with(Never);
    assert_eq!((without.bearer("").get("/healthz").status, without.bearer("").get("/readyz").status), (200, 503));
    let ending = service.begin_to_end();
    std::thread::sleep(Duration::from_millis(100));
    // Nobody is sent here any more, and who is here is served.
    assert_eq!((anna.get("/readyz").status, anna.get("/me").status), (503, 200));
    service.wait_for(ending);
    assert!(anna.try_to_ask("GET", "/healthz", &[], b"").is_err());
}

#[test]
fn metrics_count_by_route_and_only_where_operators_ask() {
    let service = Service::begin();
    let anna = service.user("contoso");
    anna.store("contoso", "inbox", "s", "t");
    assert_eq!(anna.get("/metrics").status, 404);
    let metrics = anna.at(&service.admin).get("/metrics").text();
    let line = r#"mail_requests_total{method="POST",route="/t/{tenant}/folders/{folder}/messages",status="201"}"#;
    assert!(metrics.contains(line), "{metrics}");
    assert!(
        metrics.contains("mail_request_seconds_bucket") && metrics.contains("strongroom_writes_total"),
        "{metrics}"
    );
}

#[test]
fn attachments_come_as_they_were_and_to_be_saved() {
    let service = Service::begin();
    let anna = service.user("contoso");
    let raw = "Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\
        Content-Type: text/html; name=a.html\r\nContent-Disposition: attachment; filename*=UTF-8''%C3%A9.html\r\n\r\n\
        <script>alert(1)</script>\r\n--x--\r\n";
    let digest = crate::imports::hex_digest(raw.as_bytes());
    let put = anna.ask("PUT", &format!("/t/contoso/imports/{digest}?folder=inbox"), &[], raw.as_bytes());
    assert_eq!(put.status, 201, "{}", put.text());
    let path = format!("/t/contoso/folders/inbox/messages/{}", anna.ids("contoso", "inbox")[0]);
    let attachments: Value = anna.get(&path).json()["attachments"].clone();
    assert_eq!(attachments[0]["name"], "é.html");
    let saved = anna.get(&format!("{path}/attachments/0"));
    assert_eq!((saved.status, saved.text().as_str()), (200, "<script>alert(1)</script>"));
    assert_eq!(saved.header("content-type"), "application/octet-stream");
    assert_eq!(saved.header("content-disposition"), "attachment; filename*=UTF-8''%C3%A9.html");
    assert_eq!(anna.get(&format!("{path}/attachments/1")).status, 404);
}
