//! What is found where mail comes from.

use std::fmt;

/// One message, or what should be one.
#[derive(Debug)]
pub struct Found {
    /// Where it is.
    pub place: Place,
    /// The folder that it goes into.
    pub folder: String,
    /// Whether it was read there.
    pub is_seen: bool,
    /// How far this is: bytes of a file, or files.
    pub progress: u64,
    /// The message as it was sent, without what the file format has put around it; or why it is none.
    pub message: Result<Vec<u8>, String>,
}

/// Where a message begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// The byte in it, from 0.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, offset } = self;
        write!(f, "{file}, line {line} (byte {offset})")
    }
}
