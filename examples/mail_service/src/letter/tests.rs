//! Messages in awkward encodings, and what is no message.

use super::*;

fn reading(head: &str, body: &[u8]) -> Reading {
    Reading::of(&[head.as_bytes(), b"\n\n", body].concat()).unwrap()
}

fn text(kind: &str, body: &[u8]) -> String {
    reading(&format!("Subject: s\nMIME-Version: 1.0\nContent-Type: text/plain; charset={kind}"), body).text
}

fn subject(value: &str) -> String {
    reading(&format!("From: a@b\nSubject: {value}"), b"").subject
}

#[test]
fn text_comes_in_many_encodings() {
    assert_eq!(text("iso-8859-1", b"Gr\xFC\xDFe"), "Grüße");
    assert_eq!(text("iso-8859-2", b"\xA3\xF3d\xBC"), "Łódź");
    assert_eq!(text("iso-8859-15", b"5 \xA4"), "5 €");
    assert_eq!(text("windows-1252", b"\x93quoted\x94 \x80"), "“quoted” €");
    assert_eq!(text("koi8-r", b"\xF0\xD2\xC9\xD7\xC5\xD4"), "Привет");
    assert_eq!(text("iso-2022-jp", b"\x1b$B2q5D\x1b(B"), "会議");
    assert_eq!(text("shift_jis", b"\x89\xEF\x8Bc"), "会議");
    assert_eq!(text("gb18030", b"\xC4\xE3\xBA\xC3"), "你好");
    assert_eq!(text("big5", b"\xA7A\xA6n"), "你好");
    assert_eq!(text("euc-kr", b"\xB0\xA1"), "가");
    assert_eq!(text("utf-16le", b"h\0i\0"), "hi");
    assert_eq!(text("utf-7", b"Hi Mom +Jjo-!"), "Hi Mom ☺!");
    assert_eq!(text("\"UTF-8\"", "ok ✓".as_bytes()), "ok ✓");
}

#[test]
fn what_is_said_wrong_or_not_at_all_is_read_as_well_as_can_be() {
    assert_eq!(reading("Subject: s", "raw UTF-8: ✓".as_bytes()).text, "raw UTF-8: ✓");
    assert!(reading("Subject: s", b"raw \xFC").text.starts_with("raw "));
    assert!(text("x-unheard-of", b"still here").contains("still here"));
    assert!(text("us-ascii", b"not \xFC ascii").contains("ascii"));
    let cut = reading("Subject: s\nContent-Type: text/plain\nContent-Transfer-Encoding: base64", b"aGVsbG8gd29y!!");
    assert!(!cut.text.is_empty(), "shown as it is");
    let loose = reading("Subject: s\nContent-Transfer-Encoding: quoted-printable", b"100=25 =3D =ZZ =\n");
    assert!(loose.text.starts_with("100% = "), "{:?}", loose.text);
}

#[test]
fn headers_are_decoded() {
    assert_eq!(subject("=?UTF-8?B?8J+RjSBvaw==?="), "👍 ok");
    assert_eq!(subject("=?iso-8859-1?q?Gr=FC=DFe_aus?= =?iso-8859-1?q?_K=F6ln?="), "Grüße aus Köln");
    assert_eq!(subject("=?KOI8-R?B?8NLJ18XU?="), "Привет");
    assert_eq!(subject("folded\n over\n\tlines"), "folded over lines");
    assert_eq!(subject("raw UTF-8 ✓"), "raw UTF-8 ✓");
    assert!(subject("=?x-unheard-of?B?aGk=?=").contains("hi"));
    assert!(!subject("=?UTF-8?Q?new=0Aline=00?=").contains(['\n', '\0']));
    let from = reading("From: =?iso-8859-1?Q?J=F6rg_M=FCller?= <joerg@example.com>, b@example.com", b"").from;
    assert_eq!(from, "Jörg Müller <joerg@example.com>, b@example.com");
}

#[test]
fn an_encoded_word_that_was_split_within_a_character_is_put_together_or_at_least_shown() {
    // RFC 2047, section 5 forbids it, and many programs do it: 会 is E4 BC 9A.
    let split = subject("=?UTF-8?Q?=E4=BC?= =?UTF-8?Q?=9A!?=");
    assert!(split.ends_with('!'), "{split:?}");
}

#[test]
fn attachments_have_names_and_no_paths() {
    let message = |disposition: &str| {
        let head = "Subject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x";
        let body = format!(
            "--x\nContent-Type: text/plain\n\ntext\n--x\nContent-Type: application/pdf\n{disposition}\n\
             Content-Transfer-Encoding: base64\n\naGVsbG8=\n--x--\n"
        );
        format!("{head}\n\n{body}").into_bytes()
    };
    let name = |disposition: &str| Reading::of(&message(disposition)).unwrap().attachments.remove(0).name;
    assert_eq!(name("Content-Disposition: attachment; filename*=UTF-8''%e2%82%ac%20rates.pdf"), "€ rates.pdf");
    // RFC 2231, section 3: in pieces, some of them encoded.
    let pieces = "Content-Disposition: attachment;\n filename*0*=UTF-8''a%20;\n filename*1=b;\n filename*2*=%C3%A9.pdf";
    assert_eq!(name(pieces), "a bé.pdf");
    assert_eq!(name("Content-Disposition: attachment; filename=\"=?UTF-8?Q?=C3=A9.pdf?=\""), "é.pdf");
    assert_eq!(name("Content-Disposition: attachment; filename=\"../../etc/passwd\""), "passwd");
    assert_eq!(name("Content-Disposition: attachment; filename=\"C:\\\\dir\\\\x.exe\""), "x.exe");
    assert_eq!(name("Content-Disposition: attachment; filename=..."), "attachment");
    assert_eq!(name("Content-Disposition: attachment"), "attachment");
    let raw = message("Content-Disposition: attachment; filename=a.pdf");
    let (attachment, bytes) = attached(&raw, 0).unwrap().unwrap();
    assert_eq!((attachment.kind.as_str(), attachment.size, &bytes[..]), ("application/pdf", 5, &b"hello"[..]));
    assert!(attached(&raw, 1).unwrap().is_none());
}

#[test]
fn parts_within_parts_and_mail_in_html_are_read() {
    let nested = b"--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nplain\n--b\n\
        Content-Type: text/html\n\n<p>html</p>\n--b--\n--a\nContent-Type: message/rfc822\n\nSubject: inner\n\nforwarded\n--a--\n";
    let found = reading("Subject: s\nContent-Type: multipart/mixed; boundary=a", nested);
    assert_eq!((found.text.as_str(), found.attachments.len()), ("plain", 1));
    assert_eq!(found.attachments[0].name, "message.eml");
    let html = reading("Subject: s\nContent-Type: text/html", b"<b>bold</b><script>alert(1)</script><br>next");
    assert!(html.text.contains("bold") && html.text.contains("next") && !html.text.contains('<'), "{:?}", html.text);
    for body in [
        "--a\n\nnever closed\n",
        "--a\nContent-Type: text/plain\n\nnever closed\n",
        "--a\n\nnever closed",
        "--a\n\nnever closed\n--a--\n",
    ] {
        let open = reading("Subject: s\nContent-Type: multipart/mixed; boundary=a", body.as_bytes());
        assert_eq!(open.text, "never closed", "{body:?}");
    }
}

#[test]
fn line_ends_of_every_kind() {
    for end in ["\n", "\r\n", "\r"] {
        let raw = ["From: a@b", "Subject: s", "", "one", "two"].join(end);
        let found = Reading::of(raw.as_bytes()).unwrap();
        assert_eq!((found.subject.as_str(), found.text.as_str()), ("s", "one\ntwo"), "{end:?}");
    }
}

#[test]
fn what_is_no_message_is_refused_with_the_reason() {
    let flaw = |raw: &[u8]| Reading::of(raw).unwrap_err();
    assert_eq!(flaw(b""), Flaw::Empty);
    assert_eq!(flaw(b" \r\n\n"), Flaw::Empty);
    assert_eq!(flaw(b"no header field here\n\ntext"), Flaw::NoHeader);
    assert_eq!(flaw(b"\n\nSubject: too late"), Flaw::NoHeader);
    assert_eq!(flaw(b"X-Nothing: of use\n\ntext"), Flaw::NoMail);
    assert_eq!(flaw(b"Subject: a\0b\n\ntext"), Flaw::Zero);
    assert_eq!(flaw(&vec![b'x'; MESSAGE_MAX_LEN + 1]), Flaw::TooLong);
    let parts = "--x\n\np\n".repeat(2000);
    let many = format!("Subject: s\nContent-Type: multipart/mixed; boundary=x\n\n{parts}--x--");
    assert_eq!(flaw(many.as_bytes()), Flaw::TooManyParts);
}

#[test]
fn ten_megabytes_are_read() {
    let line = format!("{}\n", "QUJD".repeat(19));
    let body = line.repeat((10 << 20) * 4 / 3 / line.len());
    let raw = format!(
        "Subject: big\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nsee attached\n--x\n\
         Content-Type: application/zip\nContent-Transfer-Encoding: base64\n\n{body}--x--\n"
    );
    let found = Reading::of(raw.as_bytes()).unwrap();
    assert_eq!(found.text, "see attached");
    assert!(found.attachments[0].size > 9 << 20);
}

#[test]
fn what_is_written_reads_back() {
    let draft =
        Draft { from: "anna@x.example", to: "bert@x.example", subject: "Grüße", text: "a\nb", date_secs: 0, id: "i" };
    let found = Reading::of(&draft.compose().unwrap()).unwrap();
    assert_eq!((found.from.as_str(), found.to.as_str()), ("anna@x.example", "bert@x.example"));
    assert_eq!((found.subject.as_str(), found.text.as_str(), found.date_secs), ("Grüße", "a\nb", Some(0)));
}

#[test]
fn nobody_writes_header_fields_into_other_header_fields() {
    let draft = Draft { from: "a@x", to: "b@x", subject: "s", text: "", date_secs: 0, id: "i" };
    assert!(draft.compose().is_some());
    assert!(Draft { subject: "s\r\nBcc: c@x", ..draft }.compose().is_none());
    for to in ["b@x\nBcc: c@x", "b@x, c@x", "b", "@x", "b@", "b@x@y", "<b@x>", ""] {
        let draft = Draft { from: "a@x", to, subject: "s", text: "", date_secs: 0, id: "i" };
        assert!(draft.compose().is_none(), "{to}");
    }
}
