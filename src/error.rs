//! The one error type. A leaf: conversions from foreign errors live with the module that owns the foreign type.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

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
    /// What a service answers, where that is not what it answers to the kind.
    http_status: Option<u16>,
    /// When to come back, where that is known.
    retry_after: Option<Duration>,
}

/// The kinds of [`Error`]. Each says what to do, and what is now true of the data. What a service answers to each over
/// HTTP, and why, stands at [`http_status`](Self::http_status).
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
        Self { kind, context: context.into(), source: None, http_status: None, retry_after: None }
    }

    /// The same, with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same, with how long to wait before the next try; see [`retry_after`](Self::retry_after).
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The status that a service answers over HTTP (RFC 9110): that of the [kind](ErrorKind::http_status), except where more
    /// is known than the kind says.
    ///
    /// - A credential that did not verify at all (malformed, forged, expired, of another issuer) is `Denied` and **401**: a
    ///   client that gets it fetches a new token. It tells nobody which tenants there are, because no tenant was looked at.
    /// - A store that is being closed is `Closed` and **503**: another instance of the service answers. So is a scan whose
    ///   snapshot had to go.
    ///
    /// What goes into the body is the kind, if anything. The text of an error is for logs.
    ///
    /// With 401 goes a header `WWW-Authenticate: Bearer error="invalid_token"` (RFC 6750, section 3.1), with
    /// [`retry_after`](Self::retry_after) a header `Retry-After`, in whole seconds, rounded up.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        self.http_status.unwrap_or_else(|| self.kind.http_status())
    }

    /// How long to wait before the same is tried again; `None` if trying again changes nothing, or not by waiting
    /// alone.
    ///
    /// It is what a key service has asked for, where it has and nothing is in memory to serve instead; else a second when
    /// [`Throttled`](ErrorKind::Throttled), and five seconds when [`Unavailable`](ErrorKind::Unavailable), which is how long a
    /// key service that did not answer is [left alone](crate::BREAKER_PAUSE). Of a *write* that was `Unavailable` the outcome
    /// is unknown: read before it is written again, or write with [`put_if`](crate::Collection::put_if).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after.or(match self.kind {
            ErrorKind::Throttled => Some(Duration::from_secs(1)),
            ErrorKind::Unavailable => Some(Duration::from_secs(5)),
            _ => None,
        })
    }

    /// The same, to which a service answers otherwise than to others of its kind.
    #[must_use]
    pub(crate) fn answered(mut self, http_status: u16) -> Self {
        self.http_status = Some(http_status);
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

    /// Of a credential that nobody vouches for. Looks the same, except that its bearer is asked for another.
    pub(crate) fn unverified() -> Self {
        Self::denied().answered(401)
    }

    /// Of a handle of a store that has been closed: there may be another one, elsewhere or soon.
    pub(crate) fn store_closed() -> Self {
        Self::new(ErrorKind::Closed, "the store has been closed").answered(503)
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

impl ErrorKind {
    /// The status that a service answers over HTTP (RFC 9110). [`Error::http_status`] knows better where it can.
    ///
    /// | kind | status | because |
    /// |---|---|---|
    /// | `Denied` | 403 | The bearer is known and may not. Not 404 and 403 by turns: an unknown tenant and a forbidden one look the same. |
    /// | `Invalid` | 400 | The same request fails again. |
    /// | `NotFound` | 404 | |
    /// | `Conflict` | 409 | Somebody else was first. Answer 412 instead if the condition came with the request, as `If-Match` or `If-None-Match`. |
    /// | `Throttled` | 429 | Too much at once. Whom it hits need not be who has asked for too much: 503 is as good where clients know no 429. |
    /// | `Unavailable` | 503 | It passes. |
    /// | `KeyRevoked` | 403 | The owner of the data refuses everybody, until they allow again. Nothing is broken (5xx), and it is not for ever (410). |
    /// | `KeyDestroyed` | 410 | Gone, on purpose and for good. |
    /// | `Tampered`, `Corrupt` | 500 | Nothing that whoever asks has done or can do. Wake somebody. |
    /// | `Closed` | 401 | The session has ended: sign in again. |
    /// | `Internal` | 500 | A defect. |
    ///
    /// Kinds that are added later come with a status of their own.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Closed => 401,
            Self::Denied | Self::KeyRevoked => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::KeyDestroyed => 410,
            Self::Throttled => 429,
            Self::Tampered | Self::Corrupt | Self::Internal => 500,
            Self::Unavailable => 503,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind. Whoever adds one is led here by [`answer`], which does not compile without it.
    const KINDS: [ErrorKind; 12] = [
        ErrorKind::Denied,
        ErrorKind::Invalid,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::Throttled,
        ErrorKind::Unavailable,
        ErrorKind::KeyRevoked,
        ErrorKind::KeyDestroyed,
        ErrorKind::Tampered,
        ErrorKind::Corrupt,
        ErrorKind::Closed,
        ErrorKind::Internal,
    ];

    /// The status of a kind, and after how many seconds it is worth another try.
    fn answer(kind: ErrorKind) -> (u16, Option<u64>) {
        match kind {
            ErrorKind::Denied | ErrorKind::KeyRevoked => (403, None),
            ErrorKind::Invalid => (400, None),
            ErrorKind::NotFound => (404, None),
            ErrorKind::Conflict => (409, None),
            ErrorKind::Throttled => (429, Some(1)),
            ErrorKind::Unavailable => (503, Some(crate::BREAKER_PAUSE.as_secs())),
            ErrorKind::KeyDestroyed => (410, None),
            ErrorKind::Tampered | ErrorKind::Corrupt | ErrorKind::Internal => (500, None),
            ErrorKind::Closed => (401, None),
        }
    }

    #[test]
    fn every_kind_has_a_status_and_says_whether_to_try_again() {
        for kind in KINDS {
            let error = Error::new(kind, "a sentence");
            let (status, retry_secs) = answer(kind);
            assert_eq!((kind.http_status(), error.http_status()), (status, status), "{kind}");
            assert_eq!(error.retry_after(), retry_secs.map(Duration::from_secs), "{kind}");
        }
    }

    #[test]
    fn the_documentation_has_a_row_for_every_kind() {
        let rows: Vec<&str> = include_str!("error.rs").lines().filter(|line| line.contains("/// | `")).collect();
        for kind in KINDS {
            let row = rows.iter().find(|row| row.contains(&format!("`{kind:?}`"))).expect("a row");
            assert!(row.contains(&format!("| {} |", kind.http_status())), "{row}");
        }
    }

    #[test]
    fn an_error_knows_better_than_its_kind_where_it_can() {
        let (unverified, forbidden) = (Error::unverified(), Error::denied());
        assert_eq!((unverified.http_status(), forbidden.http_status()), (401, 403));
        assert_eq!(unverified.to_string(), forbidden.to_string());
        assert_eq!(format!("{unverified:?}"), format!("{forbidden:?}"));
        assert_eq!((Error::store_closed().kind(), Error::store_closed().http_status()), (ErrorKind::Closed, 503));
        let told = Error::new(ErrorKind::Throttled, "a sentence").with_retry_after(Duration::from_secs(7));
        assert_eq!(told.retry_after(), Some(Duration::from_secs(7)));
    }
}
