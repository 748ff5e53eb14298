//! Mbox files (RFC 4155), in the four dialects that there are: mboxo and mboxrd, which put a `>` before lines that begin
//! with `From `; mboxcl, which says the length as well; mboxcl2, which says the length and changes nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom};
use std::path::Path;

use super::source::{Found, Place};
use crate::letter::MESSAGE_MAX_LEN;

/// Bytes of a line that are looked at together.
const PIECE_MAX_LEN: usize = 64 << 10;
/// How many bytes of a header are searched for a length.
const HEADER_MAX_LEN: usize = 256 << 10;

/// The messages of an mbox file, one after the other. It holds one at a time.
pub struct Mbox<R> {
    reader: R,
    file: String,
    folder: String,
    length: u64,
    /// Where the next piece begins.
    offset: u64,
    line: u64,
    /// Whether the next piece begins a line.
    at_line_start: bool,
    /// Whether the line before was empty, or there was none.
    after_blank: bool,
    /// Where the message begins that comes next, if its separator has been read.
    next: Option<(u64, u64)>,
}

impl Mbox<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &Path, folder: &str) -> io::Result<Self> {
        let file =
            File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let length = file.metadata()?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::new(BufReader::with_capacity(PIECE_MAX_LEN, file), name, length, folder))
    }
}

impl<R: BufRead + Seek> Mbox<R> {
    /// Reads from the beginning of `reader`, which has `length` bytes and is called `file`.
    pub fn new(reader: R, file: String, length: u64, folder: &str) -> Self {
        let folder = folder.to_owned();
        Self { reader, file, folder, length, offset: 0, line: 0, at_line_start: true, after_blank: true, next: None }
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next line, or a piece of a long one. Empty at the end.
    fn piece(&mut self, piece: &mut Vec<u8>) -> io::Result<bool> {
        piece.clear();
        let is_start = self.at_line_start;
        self.reader.by_ref().take(PIECE_MAX_LEN as u64).read_until(b'\n', piece)?;
        self.offset += piece.len() as u64;
        if is_start && !piece.is_empty() {
            self.line += 1;
        }
        self.at_line_start = piece.last() == Some(&b'\n');
        Ok(is_start)
    }

    /// Reads on to the end of a message, or of the file; the message is `Err` if it is too long to keep.
    fn body(&mut self) -> io::Result<Result<Vec<u8>, String>> {
        let (mut message, mut piece, mut is_too_long, mut in_header) = (Vec::new(), Vec::new(), false, true);
        // A message begins after its separator, and not with a blank line.
        self.after_blank = false;
        loop {
            let is_start = self.piece(&mut piece)?;
            if piece.is_empty() {
                break;
            }
            if is_start && self.after_blank && is_separator(&piece) {
                self.next = Some((self.line, self.offset - piece.len() as u64));
                break;
            }
            let is_blank = is_start && piece.trim_ascii().is_empty();
            self.after_blank = is_blank;
            let unquoted = if is_start && !in_header { unquote(&piece) } else { &piece };
            is_too_long |= message.len() + unquoted.len() > MESSAGE_MAX_LEN + 2;
            if is_too_long {
                message = Vec::new();
                continue;
            }
            message.extend_from_slice(unquoted);
            if in_header && is_blank {
                in_header = false;
                if let Some(end) = self.end_by_length(&message)? {
                    return self.counted(message, end).map(Ok);
                }
            }
        }
        if is_too_long {
            return Ok(Err("the message has more than 15 MiB".to_owned()));
        }
        // The blank line before a separator is the format's.
        let kept = message.strip_suffix(b"\r\n\r\n").map(|kept| kept.len() + 2);
        let kept = kept.or_else(|| message.strip_suffix(b"\n\n").map(|kept| kept.len() + 1));
        message.truncate(kept.unwrap_or(message.len()));
        Ok(Ok(message))
    }

    /// Where the message ends if its `Content-Length` is right: there the file ends, or another message begins.
    fn end_by_length(&mut self, header: &[u8]) -> io::Result<Option<u64>> {
        let Some(length) = content_length(header) else { return Ok(None) };
        let (begin, end) = (self.offset, self.offset.saturating_add(length));
        if length > MESSAGE_MAX_LEN as u64 || end > self.length {
            return Ok(None);
        }
        self.reader.seek(SeekFrom::Start(end))?;
        let mut next = Vec::new();
        // At most two line ends are between.
        for _ in 0..3 {
            next.clear();
            self.reader.by_ref().take(PIECE_MAX_LEN as u64).read_until(b'\n', &mut next)?;
            if !next.trim_ascii().is_empty() || next.is_empty() {
                break;
            }
        }
        self.reader.seek(SeekFrom::Start(begin))?;
        Ok((next.is_empty() || is_separator(&next)).then_some(end))
    }

    /// The rest of a message that ends at `end`. Where no line of it begins with `From `, they were quoted.
    fn counted(&mut self, mut message: Vec<u8>, end: u64) -> io::Result<Vec<u8>> {
        let length = end - self.offset;
        let mut body = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut body)?;
        self.offset += body.len() as u64;
        self.line += body.split_inclusive(|&byte| byte == b'\n').count() as u64;
        (self.at_line_start, self.after_blank) = (true, true);
        let was_quoted = !body.split_inclusive(|&byte| byte == b'\n').any(|line| line.starts_with(b"From "));
        for line in body.split_inclusive(|&byte| byte == b'\n') {
            message.extend_from_slice(if was_quoted { unquote(line) } else { line });
        }
        Ok(message)
    }

    /// Reads on to the first separator. What is before it, if it is not blank, is no message.
    fn seek_separator(&mut self) -> io::Result<Option<Place>> {
        let (mut piece, mut stray) = (Vec::new(), None);
        loop {
            let begin = self.offset;
            let is_start = self.piece(&mut piece)?;
            if piece.is_empty() {
                return Ok(stray);
            }
            if is_start && is_separator(&piece) {
                self.next = Some((self.line, begin));
                return Ok(stray);
            }
            if stray.is_none() && !piece.trim_ascii().is_empty() {
                stray = Some(self.place(self.line, begin));
            }
        }
    }

    fn place(&self, line: u64, offset: u64) -> Place {
        Place { file: self.file.clone(), line, offset }
    }

    fn found(&self, place: Place, message: Result<Vec<u8>, String>) -> Found {
        let is_seen = message.as_ref().is_ok_and(|message| is_seen(message));
        Found { place, folder: self.folder.clone(), is_seen, progress: self.offset, message }
    }
}

impl<R: BufRead + Seek> Iterator for Mbox<R> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if self.next.is_none() {
            match self.seek_separator() {
                Ok(None) => {}
                Ok(Some(stray)) => return Some(self.found(stray, Err("it is outside of every message".to_owned()))),
                Err(error) => return Some(self.found(self.place(self.line, self.offset), Err(error.to_string()))),
            }
        }
        let (line, offset) = self.next.take()?;
        let message = self.body().unwrap_or_else(|error| Err(format!("the file cannot be read: {error}")));
        Some(self.found(self.place(line, offset), message))
    }
}

/// `From somebody Thu Jan  1 00:00:00 1970`: a line of text is not taken for it unless it tells the time.
fn is_separator(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else { return false };
    let is_digits = |part: &[u8]| (1..=2).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    let is_time = |word: &[u8]| {
        let parts: Vec<_> = word.split(|&byte| byte == b':').collect();
        (2..=3).contains(&parts.len()) && parts.iter().all(|part| is_digits(part))
    };
    rest.split(u8::is_ascii_whitespace).any(is_time)
}

/// The line without one `>` of those before a `From `.
fn unquote(line: &[u8]) -> &[u8] {
    let quotes = line.iter().take_while(|&&byte| byte == b'>').count();
    if quotes > 0 && line[quotes..].starts_with(b"From ") { &line[1..] } else { line }
}

fn field<'h>(header: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let mut lines = header[..header.len().min(HEADER_MAX_LEN)].split(|&byte| byte == b'\n');
    lines.find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        found.eq_ignore_ascii_case(name).then(|| value.strip_prefix(b":")).flatten()
    })
}

fn content_length(header: &[u8]) -> Option<u64> {
    std::str::from_utf8(field(header, b"Content-Length")?).ok()?.trim().parse().ok()
}

/// What mail programs note of a message in its mbox file.
fn is_seen(message: &[u8]) -> bool {
    let header = message.windows(2).position(|pair| pair == b"\n\n").map_or(message, |end| &message[..=end]);
    field(header, b"Status").is_some_and(|status| status.contains(&b'R'))
}

#[cfg(test)]
mod tests;
