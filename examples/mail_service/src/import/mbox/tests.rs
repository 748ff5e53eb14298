//! Mbox files of every dialect, and files that are none.

use std::io::Cursor;

use super::*;

fn read(text: &[u8]) -> Vec<Found> {
    Mbox::new(Cursor::new(text), "test".to_owned(), text.len() as u64, "inbox").collect()
}

fn messages(text: &[u8]) -> Vec<String> {
    read(text).into_iter().map(|found| String::from_utf8(found.message.unwrap()).unwrap()).collect()
}

const FROM: &str = "From a@b Thu Jan  1 00:00:00 1970\n";

#[test]
fn messages_come_one_by_one_without_what_the_format_put_around_them() {
    let text = format!("{FROM}Subject: one\n\nfirst\n\n{FROM}Subject: two\n\nsecond, no line end at the end");
    assert_eq!(
        messages(text.as_bytes()),
        ["Subject: one\n\nfirst\n", "Subject: two\n\nsecond, no line end at the end"]
    );
    let crlf = text.replace('\n', "\r\n");
    assert_eq!(messages(crlf.as_bytes())[0], "Subject: one\r\n\r\nfirst\r\n");
}

#[test]
fn lines_that_were_quoted_are_as_they_were() {
    let text = format!("{FROM}Subject: one\n\n>From here\n>>From there\n> From a reply\n>Fro\n");
    assert_eq!(messages(text.as_bytes()), ["Subject: one\n\nFrom here\n>From there\n> From a reply\n>Fro\n"]);
}

#[test]
fn a_line_that_begins_with_from_is_a_separator_only_after_a_blank_one_and_with_a_time() {
    let text = format!("{FROM}Subject: one\n\ntext\n{FROM}not blank before\n\nFrom the heart\n");
    assert_eq!(messages(text.as_bytes()).len(), 1);
}

#[test]
fn a_length_that_is_right_is_believed_and_one_that_is_wrong_is_not() {
    // mboxcl2: nothing is quoted.
    let body = format!("{FROM}\n{FROM}a mail in a mail\n");
    let text = format!("{FROM}Content-Length: {}\n\n{body}\n{FROM}Subject: two\n\nx\n", body.len());
    assert_eq!(messages(text.as_bytes()).len(), 2);
    assert!(messages(text.as_bytes())[0].ends_with(&body));
    // mboxcl: both.
    let body = ">From here\n";
    let text = format!("{FROM}Content-Length: {}\n\n{body}\n{FROM}Subject: two\n\nx\n", body.len());
    assert!(messages(text.as_bytes())[0].ends_with("\n\nFrom here\n"));
    for wrong in ["0", "3", "999999999999999999", "18446744073709551615", "-1", "x", ""] {
        let text = format!("{FROM}Content-Length: {wrong}\n\nfirst\n\n{FROM}Subject: two\n\nsecond\n");
        let found = messages(text.as_bytes());
        assert_eq!(found.len(), 2, "{wrong}");
        assert!(found[0].ends_with("first\n"), "{wrong}");
    }
}

#[test]
fn what_is_broken_is_refused_in_its_place_and_the_rest_is_there() {
    let long = "x".repeat(1 << 20);
    let many = format!("{long}\n").repeat(16);
    let text = format!("stray\n\n{FROM}Subject: one\n\na\n\n{FROM}Subject: long\n\n{many}\n{FROM}Subject: two\n\nb\n");
    let found = read(text.as_bytes());
    let reasons: Vec<Option<&str>> =
        found.iter().map(|found| found.message.as_ref().err().map(String::as_str)).collect();
    let long = Some("the message has more than 15 MiB");
    assert_eq!(reasons, [Some("it is outside of every message"), None, long, None]);
    let places: Vec<(u64, u64)> = found.iter().map(|found| (found.place.line, found.place.offset)).collect();
    let at = |needle: &str| text.find(needle).unwrap() as u64 - FROM.len() as u64;
    assert_eq!(places, [(1, 0), (3, 7), (8, at("Subject: long")), (28, at("Subject: two"))]);
    assert_eq!(found.last().unwrap().progress, text.len() as u64);
}

#[test]
fn files_that_hold_no_mail_hold_no_message() {
    assert!(read(b"").is_empty() && read(b"\n\n\n").is_empty());
    assert_eq!(read(b"just text\nand more\n").len(), 1);
    assert!(read(b"just text\nand more\n")[0].message.is_err());
    assert_eq!(messages(FROM.as_bytes()), [""]);
    assert_eq!(messages(format!("{FROM}\n{FROM}\n").as_bytes()).len(), 2);
}

#[test]
fn what_was_read_before_is_read() {
    let text = format!("{FROM}Status: RO\nSubject: one\n\na\n\n{FROM}Status: O\n\nStatus: R\n");
    assert_eq!(read(text.as_bytes()).iter().map(|found| found.is_seen).collect::<Vec<_>>(), [true, false]);
}
