//! One message (RFC 5322): read for people, or written by them.

use std::borrow::Cow;

use mail_parser::{Address, DateTime, Message, MessageParser, MimeHeaders, PartType};
use serde::Serialize;

/// The longest message, in bytes: 15 MiB, below what a record may hold.
pub const MESSAGE_MAX_LEN: usize = 15 << 20;
/// The longest line of a header that lists show, in characters.
const LINE_MAX: usize = 300;
/// As much of the text as lists keep, for the search, in characters.
const EXCERPT_MAX: usize = 2000;
/// As much of the text as is shown, in characters.
const TEXT_MAX: usize = 1 << 20;
/// The most parts (RFC 2046) of a message that is taken.
const PARTS_MAX: usize = 1000;

/// A message, decoded.
#[derive(Debug, Default, Serialize)]
pub struct Reading {
    /// The authors, for people to read.
    pub from: String,
    /// The first recipients, likewise.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The date that it says, in seconds since 1970.
    pub date_secs: Option<i64>,
    /// The text; of a message in HTML alone, what remains without its tags.
    pub text: String,
    /// What is attached, in order.
    pub attachments: Vec<Attachment>,
}

/// What is attached to a message.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// The file name that the message says; a name and no path.
    pub name: String,
    /// The media type that the message says.
    pub kind: String,
    /// Bytes, decoded.
    pub size: usize,
}

/// Why something is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// No byte.
    Empty,
    /// More than [`MESSAGE_MAX_LEN`].
    TooLong,
    /// It does not begin with a header field.
    NoHeader,
    /// It has none of the fields From, To, Subject, Date and Message-ID.
    NoMail,
    /// More parts than anybody sends.
    TooManyParts,
    /// A zero byte in the header.
    Zero,
}

impl Flaw {
    /// The reason, as a sentence without a word of the message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "the message is empty",
            Self::TooLong => "the message has more than 15 MiB",
            Self::NoHeader => "it does not begin with a header field",
            Self::NoMail => "it has no From, To, Subject, Date or Message-ID",
            Self::TooManyParts => "it has more than 1,000 parts",
            Self::Zero => "its header has a zero byte",
        }
    }
}

impl Reading {
    /// Reads a message. What it says in unknown or wrong encodings is read as well as can be.
    ///
    /// # Errors
    /// The [`Flaw`], if it is not a message.
    pub fn of(raw: &[u8]) -> Result<Self, Flaw> {
        let raw = check(raw)?;
        let message = parse(&raw)?;
        Ok(Self {
            from: people(message.from()),
            to: people(message.to()),
            subject: line(message.subject().unwrap_or_default()),
            date_secs: message.date().filter(|date| date.is_valid()).map(DateTime::to_timestamp),
            text: text(&message),
            attachments: message.attachments().map(|part| attachment(part).0).collect(),
        })
    }

    /// The beginning of the text, for lists.
    #[must_use]
    pub fn excerpt(&self) -> String {
        self.text.chars().take(EXCERPT_MAX).collect()
    }
}

/// The attachment of this number, from 0, with its bytes.
///
/// # Errors
/// The [`Flaw`], if `raw` is not a message.
pub fn attached(raw: &[u8], number: usize) -> Result<Option<(Attachment, Vec<u8>)>, Flaw> {
    let raw = check(raw)?;
    let message = parse(&raw)?;
    Ok(message.attachments().nth(number).map(|part| {
        let (attachment, bytes) = attachment(part);
        (attachment, bytes.to_vec())
    }))
}

/// What somebody writes.
#[derive(Debug)]
pub struct Draft<'d> {
    /// The author's address.
    pub from: &'d str,
    /// The recipient's address.
    pub to: &'d str,
    /// The subject, one line.
    pub subject: &'d str,
    /// The text.
    pub text: &'d str,
    /// Seconds since 1970.
    pub date_secs: i64,
    /// What is left of the `@` in its message id.
    pub id: &'d str,
}

impl Draft<'_> {
    /// The message, with header fields in UTF-8 (RFC 6532). `None` if a field has a control character, which could begin
    /// another field, or is too long, or the recipient is no address.
    #[must_use]
    pub fn compose(&self) -> Option<Vec<u8>> {
        let Self { from, to, subject, text, date_secs, id } = self;
        let is_line = |line: &str| line.chars().count() <= LINE_MAX && !line.chars().any(char::is_control);
        if ![from, to, subject, id].into_iter().all(|line| is_line(line)) || !is_address(to) {
            return None;
        }
        let date = DateTime::from_timestamp(*date_secs).to_rfc822();
        let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
        Some(
            format!(
                "Date: {date}\r\nFrom: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{id}@mail.invalid>\r\n\
                 MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\
                 \r\n{text}\r\n"
            )
            .into_bytes(),
        )
    }
}

/// One `@` with something on both sides, and nothing that a header field gives a meaning.
fn is_address(address: &str) -> bool {
    let is_fine =
        |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || "@<>,;:\"()[]\\".contains(c));
    address.split_once('@').is_some_and(|(local, domain)| is_fine(local) && is_fine(domain))
}

/// What can be said of a message before it is parsed. Lines that end with a carriage return alone are given line feeds.
fn check(raw: &[u8]) -> Result<Cow<'_, [u8]>, Flaw> {
    if raw.len() > MESSAGE_MAX_LEN {
        return Err(Flaw::TooLong);
    }
    let raw = match raw.contains(&b'\r') && !raw.contains(&b'\n') {
        true => Cow::Owned(raw.iter().map(|&byte| if byte == b'\r' { b'\n' } else { byte }).collect()),
        false => Cow::Borrowed(raw),
    };
    if raw.iter().all(u8::is_ascii_whitespace) {
        return Err(Flaw::Empty);
    }
    let end = raw.windows(2).position(|pair| pair == b"\n\n");
    let end = end.into_iter().chain(raw.windows(4).position(|four| four == b"\r\n\r\n")).min().unwrap_or(raw.len());
    if raw[..end].contains(&0) {
        return Err(Flaw::Zero);
    }
    let name = raw.iter().position(|&byte| byte == b':').map_or(&[][..], |colon| &raw[..colon]);
    // RFC 5322, section 3.6.8; some writers leave a space before the colon.
    if name.is_empty() || !name.trim_ascii_end().iter().all(u8::is_ascii_graphic) {
        return Err(Flaw::NoHeader);
    }
    Ok(closed(raw))
}

/// A message of several parts that was cut off, with the end that it should have: without it the parser finds no part.
fn closed(raw: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let header = MessageParser::default().parse_headers(&*raw);
    let boundary = header.as_ref().and_then(|header| header.content_type()?.attribute("boundary"));
    let Some(end) = boundary.filter(|boundary| !boundary.is_empty()).map(|boundary| format!("--{boundary}--")) else {
        return raw;
    };
    if raw.windows(end.len()).any(|window| window == end.as_bytes()) {
        return raw;
    }
    Cow::Owned([&raw, &b"\n"[..], end.as_bytes(), b"\n"].concat())
}

fn parse(raw: &[u8]) -> Result<Message<'_>, Flaw> {
    let message = MessageParser::default().parse(raw).ok_or(Flaw::NoHeader)?;
    let is_mail =
        ["From", "To", "Subject", "Date", "Message-ID"].into_iter().any(|name| message.header(name).is_some());
    if !is_mail {
        return Err(Flaw::NoMail);
    }
    if message.parts.len() > PARTS_MAX {
        return Err(Flaw::TooManyParts);
    }
    Ok(message)
}

fn people(address: Option<&Address<'_>>) -> String {
    let Some(address) = address else { return String::new() };
    let names = address.iter().take(20).map(|one| match (one.name(), one.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    });
    line(&names.collect::<Vec<_>>().join(", "))
}

fn text(message: &Message<'_>) -> String {
    let bodies = (0..message.text_body_count()).filter_map(|number| message.body_text(number));
    let mut text = String::new();
    for body in bodies.take(PARTS_MAX) {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.extend(body.chars().filter(|&c| c != '\r').take(TEXT_MAX.saturating_sub(text.len())));
    }
    text.truncate(text.trim_end().len());
    text
}

fn attachment<'p>(part: &'p mail_parser::MessagePart<'_>) -> (Attachment, &'p [u8]) {
    let bytes = match &part.body {
        PartType::Message(nested) => nested.raw_message(),
        PartType::Multipart(_) => &[],
        _ => part.contents(),
    };
    let kind = part.content_type().map_or_else(
        || "application/octet-stream".to_owned(),
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")),
    );
    let name = part.attachment_name().map(file_name).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| if part.is_message() { "message.eml".into() } else { "attachment".into() });
    (Attachment { name, kind: line(&kind), size: bytes.len() }, bytes)
}

/// The last component of what may be a path of another system, as one line.
fn file_name(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    line(name).trim_start_matches('.').to_owned()
}

/// As one line, not longer than lists have room for.
fn line(text: &str) -> String {
    let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_MAX).collect::<String>();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests;
