//! The one error type. A leaf: conversions from foreign errors live with the module that owns the foreign type.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a fallible operation of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as an instruction to the caller and a statement about the data.
///
/// Match on [`Error::kind`]. The text is for people and logs: it holds no key, token, plaintext or record key,
/// and never the name of another tenant.
pub struct Error {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`]. Each says what to do, and what is now true of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The credential does not entitle its bearer to this. Do not retry with the same credential. Nothing was
    /// read or changed. An unknown tenant and a forbidden one look the same.
    Denied,
    /// The request is wrong in itself: a malformed name, a key or value past a limit, a collection opened with
    /// another shape. Fix the program. Nothing was read or changed.
    Invalid,
    /// What was asked for is not there. Nothing was changed.
    NotFound,
    /// Somebody else was first: a condition did not hold, a name is taken, another process has the store open.
    /// Read again and decide. Nothing was changed.
    Conflict,
    /// Too much was asked for at once. Wait, then retry. Nothing was changed.
    Throttled,
    /// A part that is needed cannot be reached or failed: the disk, a key service. Retry later. Of a *write* that
    /// fails so the outcome is unknown: read before writing again.
    Unavailable,
    /// A root key has been refused by its owner. The records are whole, and unreadable until the owner allows again.
    KeyRevoked,
    /// The key of this record has been destroyed on purpose. The record can never be read again.
    KeyDestroyed,
    /// Stored bytes do not authenticate: they were changed, moved or replaced outside this crate, or belong to
    /// another key. Nothing of them was returned. Treat it as a security event.
    Tampered,
    /// Stored bytes are damaged or incomplete in a way that recovery must not paper over. The part that holds
    /// them stays shut; restore it. Nothing was repaired silently.
    Corrupt,
    /// The handle is past its end: the session's deadline passed, or the store was closed. Sign in again. A write
    /// that returns this did not happen.
    Closed,
    /// A defect of this crate or a broken joint (a clock, an entropy source). Report it. Of a write the outcome is
    /// unknown.
    Internal,
}

impl Error {
    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// An error for implementations of this crate's joints ([`RootKeys`](crate::RootKeys), [`Clock`](crate::Clock)).
    /// `context` is a sentence without secrets.
    #[must_use]
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// The same, with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same, said of a place.
    #[must_use]
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.context = format!("{place}: {}", self.context).into();
        self
    }

    /// The text alone.
    pub(crate) fn context(&self) -> &str {
        &self.context
    }

    pub(crate) fn denied() -> Self {
        Self::new(ErrorKind::Denied, "the credential does not entitle its bearer to this")
    }

    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, context)
    }

    pub(crate) fn corrupt(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupt, context)
    }

    pub(crate) fn conflict(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Conflict, context)
    }

    pub(crate) fn internal(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, context)
    }

    /// Always the same text: what exactly did not match is nobody's business but the event log's.
    pub(crate) fn tampered() -> Self {
        Self::new(ErrorKind::Tampered, "stored bytes do not authenticate")
    }

    /// An I/O failure while doing `what`, with the file system's own reason.
    pub(crate) fn io(what: &'static str, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Unavailable, what).with_source(source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.kind).field("context", &self.context);
        if let Some(source) = &self.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::KeyRevoked => "key revoked",
            Self::KeyDestroyed => "key destroyed",
            Self::Tampered => "tampered",
            Self::Corrupt => "corrupt",
            Self::Closed => "closed",
            Self::Internal => "internal",
        })
    }
}
