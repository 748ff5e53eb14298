//! Mail from elsewhere comes in once, and what is broken does not keep the rest out.

use std::fs;
use std::io::Cursor;
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use indicatif::ProgressBar;
use mail_service::import::{self, Client, Found, Maildir, Mbox, Place, Report};

use crate::sample;
use crate::support::Service;

pub fn hex_digest(raw: &[u8]) -> String {
    digest(&SHA256, raw).as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn client(service: &Service) -> Client {
    Client::new(&service.address, None, "contoso", &service.user("contoso").token).unwrap()
}

fn mbox(text: &[u8]) -> Mbox<Cursor<Vec<u8>>> {
    Mbox::new(Cursor::new(text.to_vec()), "test".to_owned(), text.len() as u64, "inbox")
}

fn take(service: &Service, found: impl Iterator<Item = Found>) -> Report {
    import::import(&client(service), found, &ProgressBar::hidden()).unwrap()
}

#[test]
fn an_mbox_comes_in_once_without_its_broken_messages() {
    let service = Service::begin();
    let text = sample::mbox("contoso");
    let report = take(&service, mbox(&text));
    assert_eq!((report.imported, report.present, report.refused.len()), (5, 0, 1), "{report:?}");
    assert_eq!(report.refused[0].1, "it does not begin with a header field");
    let anna = service.user("contoso");
    let page = anna.get("/t/contoso/folders/inbox/messages").json();
    let subjects: Vec<_> =
        page["messages"].as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap()).collect();
    for subject in ["Grüße aus Köln", "Собрание", "会議", "The figures", "Welcome to contoso"] {
        assert!(subjects.contains(&subject), "{subjects:?}");
    }
    // Again, and again after one was moved and one deleted: nothing comes twice, and nothing comes back.
    let ids = anna.ids("contoso", "inbox");
    anna.ask("DELETE", &format!("/t/contoso/folders/inbox/messages/{}", ids[0]), &[], b"");
    anna.post(&format!("/t/contoso/folders/inbox/messages/{}/move", ids[1]), &serde_json::json!({"to": "archive"}));
    let report = take(&service, mbox(&text));
    assert_eq!((report.imported, report.present, report.refused.len()), (0, 5, 1));
    assert_eq!((anna.ids("contoso", "inbox").len(), anna.ids("contoso", "archive").len()), (3, 1));
}

#[test]
fn an_import_that_was_interrupted_goes_on() {
    let service = Service::begin();
    let text = sample::mbox("contoso");
    assert_eq!(take(&service, mbox(&text).take(2)).imported, 2);
    let report = take(&service, mbox(&text));
    assert_eq!((report.imported, report.present), (3, 2));
    assert_eq!(service.user("contoso").ids("contoso", "inbox").len(), 5);
}

#[test]
fn a_maildir_comes_in_with_its_folders_and_what_was_read() {
    let (service, folder) = (Service::begin(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name);
    for part in ["cur", "new", "tmp", ".Projekt X/cur", ".Projekt X/new"] {
        fs::create_dir_all(path(part)).unwrap();
    }
    fs::write(path("cur/1:2,S"), "Subject: read\n\na").unwrap();
    fs::write(path("new/2"), "Subject: new\n\nb").unwrap();
    fs::write(path(".Projekt X/cur/3:2,"), "Subject: elsewhere\n\nc").unwrap();
    fs::write(path("cur/4:2,"), "no message").unwrap();
    fs::create_dir(path("cur/5")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path("cur/6")).unwrap();
    fs::write(path("tmp/7"), "Subject: half written\n\n").unwrap();
    let report = take(&service, Maildir::open(folder.path(), "inbox").unwrap());
    assert_eq!((report.imported, report.present), (3, 0), "{report:?}");
    let refused: Vec<_> =
        report.refused.iter().map(|(Place { file, .. }, reason)| (file.as_str(), reason.as_str())).collect();
    let irregular = "it is not a regular file";
    assert_eq!(refused, [("4:2,", "it does not begin with a header field"), ("5", irregular), ("6", irregular)]);
    let anna = service.user("contoso");
    let page = anna.get("/t/contoso/folders/inbox/messages").json();
    for row in page["messages"].as_array().unwrap() {
        assert_eq!(row["seen"], row["subject"] == "read", "{row}");
    }
    assert_eq!(anna.ids("contoso", "Projekt%20X").len(), 1);
    assert!(Maildir::open(&path("tmp"), "inbox").is_err());
}

#[test]
fn ten_megabytes_come_in_and_out_unchanged() {
    let service = Service::begin();
    let line = format!("{}\n", "QUJD".repeat(19));
    let body = line.repeat((10 << 20) * 4 / 3 / line.len());
    let raw = format!("Subject: big\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n{body}");
    let text = format!("From a@b Thu Jan  1 00:00:00 1970\n{raw}\n");
    let report = take(&service, mbox(text.as_bytes()));
    assert_eq!((report.imported, report.refused.len()), (1, 0), "{report:?}");
    let anna = service.user("contoso");
    let path = format!("/t/contoso/folders/inbox/messages/{}/raw", anna.ids("contoso", "inbox")[0]);
    assert!(anna.get(&path).body == raw.as_bytes());
    assert_eq!(take(&service, mbox(text.as_bytes())).present, 1);
}

#[test]
fn a_message_is_the_one_that_its_path_names() {
    let service = Service::begin();
    let anna = service.user("contoso");
    let put = |digest: &str| {
        anna.ask("PUT", &format!("/t/contoso/imports/{digest}?folder=inbox"), &[], b"Subject: s\n\n").status
    };
    assert_eq!(put(&"0".repeat(64)), 422);
    assert_eq!((put("short"), put(&"g".repeat(64))), (400, 400));
    assert_eq!(put(&hex_digest(b"Subject: s\n\n")), 201);
}

#[test]
fn a_token_goes_to_no_other_machine_without_tls() {
    for url in
        ["http://mail.example", "http://127.0.0.1.example:80", "ftp://127.0.0.1", "http://localhost@mail.example/"]
    {
        assert!(Client::new(url, None, "contoso", "token").is_err(), "{url}");
    }
}

/// Python's own writer of mbox files and reader of messages has the second opinion.
const PYTHON: &str = r#"
import json, mailbox, sys
from email.message import EmailMessage
path, box = sys.argv[1], mailbox.mbox(sys.argv[1], create=True)
texts = [("iso-8859-2", "Łódź, zażółć"), ("koi8-r", "Привет, мир"), ("iso-2022-jp", "会議は午後"), ("gb18030", "你好，世界"),
         ("windows-1252", "“smart” €"), ("utf-8", "From the start\nand here From is no beginning\n✓")]
said = []
for number, (charset, text) in enumerate(texts):
    message = EmailMessage()
    message["From"], message["To"] = "Zoë <zoe@example.com>", "team@example.com"
    message["Subject"] = f"{number} {text.splitlines()[0]}"
    message.set_content(text, charset=charset, cte=["8bit", "base64", "quoted-printable"][number % 3])
    message.add_attachment(b"\x00\xff" * 100, maintype="application", subtype="octet-stream", filename=f"日本 {number}.bin")
    box.add(message)
    said.append({"subject": str(message["Subject"]), "text": text, "name": f"日本 {number}.bin"})
box.close()
print(json.dumps(said))
"#;

#[test]
fn what_python_writes_is_read_as_it_was_meant() {
    let (service, folder) = (Service::begin(), tempfile::tempdir().unwrap());
    let path = folder.path().join("mbox");
    let run = Command::new("python3").arg("-c").arg(PYTHON).arg(&path).output();
    let Ok(run) = run else {
        assert!(std::env::var_os("CI").is_none(), "there is no python3");
        return eprintln!("SKIPPED: the second opinion, because there is no python3");
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let said: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let report = take(&service, Mbox::open(&path, "inbox").unwrap());
    assert_eq!((report.imported, report.refused.len()), (6, 0), "{report:?}");
    let anna = service.user("contoso");
    for message in anna.ids("contoso", "inbox") {
        let found = anna.get(&format!("/t/contoso/folders/inbox/messages/{message}")).json();
        let said = said.as_array().unwrap().iter().find(|said| said["subject"] == found["subject"]);
        let said = said.unwrap_or_else(|| panic!("nobody has written {}", found["subject"]));
        assert_eq!(found["text"], said["text"]);
        assert_eq!((&found["attachments"][0]["name"], &found["attachments"][0]["size"]), (&said["name"], &200.into()));
        assert_eq!(found["from"], "Zoë <zoe@example.com>");
    }
}

/// Bytes of a generator (xorshift64), so that every run tries the same.
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).unwrap()
}

#[test]
fn damaged_mail_is_read_or_refused_and_ends_nothing() {
    let (whole, mut state, mut read) = (sample::mbox("contoso"), 0x9E37_79B9_7F4A_7C15, 0);
    for _ in 0..2000 {
        let mut damaged = whole.clone();
        for _ in 0..=random(&mut state) % 8 {
            let at = random(&mut state) % (damaged.len() - 1).max(1);
            match random(&mut state) % 4 {
                0 => damaged[at] = u8::try_from(random(&mut state) % 256).unwrap(),
                1 => drop(damaged.remove(at)),
                2 => damaged.insert(at, b"\n\r\0=?:;\"<"[random(&mut state) % 9]),
                _ => damaged.truncate(at + 2),
            }
        }
        for found in mbox(&damaged) {
            let Ok(raw) = found.message else { continue };
            read += usize::from(mail_service::letter::Reading::of(&raw).is_ok());
            drop(mail_service::letter::attached(&raw, 0));
        }
    }
    assert!(read > 2000, "{read}");
}
