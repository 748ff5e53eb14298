//! What is said over the desk: one request, any number of lines of progress, one last line. All of it JSON.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::act::Act;
use super::answer::Done;
use crate::error::{Error, ErrorKind, Result};

/// The longest request, in bytes.
pub const REQUEST_MAX_LEN: usize = 64 << 10;
/// The version of the requests that this release writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// What a custodian asks for: who asks, what, and whether it is to be done or only to be thought through.
///
/// ```
/// use strongroom::desk::{Act, Request};
///
/// let request = Request::new("eyJhbGciOi..", Act::SuspendTenant { name: "contoso".into() })?.dry_run(true);
/// let json = request.to_json()?;
/// let expected = r#"{"version":1,"token":"eyJhbGciOi..","act":{"suspend_tenant":{"name":"contoso"}},"dry_run":true}"#;
/// assert_eq!(std::str::from_utf8(&json).unwrap(), expected);
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    version: u32,
    pub(super) token: Secret,
    pub(super) act: Act,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) dry_run: bool,
}

/// A text that nobody but its recipient may see: redacted in `Debug`, wiped when dropped. It has no quotation mark,
/// backslash or control character, so that JSON carries it as it is and no reader makes a copy to undo escapes.
pub struct Secret(Zeroizing<String>);

/// A line of an answer. The last is `Done` or `Error`, and no other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// How far the act has come.
    Progress(Progress),
    /// The next piece of what was asked for, where that is long.
    Part(String),
    /// It has been done, or, of a dry run, could be.
    Done(Done),
    /// It has not, as the kind says.
    Error(Refusal),
}

/// How far an act has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being counted, for instance `files`.
    pub of: String,
    /// How many of them are done.
    pub done: u64,
    /// How many there are, as far as is known; 0 if that is not known.
    pub total: u64,
}

/// Why an act has not been done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What to do, and what is now true of the data.
    pub kind: ErrorKind,
    /// A sentence for people.
    pub message: String,
}

/// The one member that is read of a request before all else.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Request {
    /// A request that `act` be done in the name of the bearer of `token`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if the token has a character that no token has.
    pub fn new(token: impl Into<String>, act: Act) -> Result<Self> {
        Ok(Self { version: VERSION, token: Secret::new(token)?, act, dry_run: false })
    }

    /// Whether the act is only to be checked: rights and validity are, and what would change is said, and nothing is.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Reads a request, strictly: of this version, of at most [`REQUEST_MAX_LEN`] bytes, nothing before or behind it, no
    /// member that is unknown or there twice. What is wrong is told by its place: the text itself may hold the token.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid).
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > REQUEST_MAX_LEN {
            return Err(too_long());
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        if version != VERSION {
            return Err(Error::invalid(format!("this store speaks version {VERSION} of requests, not {version}")));
        }
        serde_json::from_slice(bytes).map_err(|error| malformed(&error))
    }

    /// The request as JSON in one line, without its end. Holds the token, and is wiped when dropped.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if it is longer than [`REQUEST_MAX_LEN`].
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>> {
        // Of its full size at once: what grows leaves copies behind.
        let mut room = Zeroizing::new(vec![0; REQUEST_MAX_LEN]);
        let mut rest = room.as_mut_slice();
        serde_json::to_writer(&mut rest, self).map_err(|_| too_long())?;
        let unused = rest.len();
        room.truncate(REQUEST_MAX_LEN - unused);
        Ok(room)
    }
}

impl Secret {
    /// Keeps `text` as a secret.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if it has a quotation mark, a backslash or a control character.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = Zeroizing::new(text.into());
        if text.chars().any(|letter| letter.is_control() || letter == '"' || letter == '\\') {
            return Err(Error::invalid("a secret has no quotation mark, backslash or control character"));
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl Reply {
    /// Reads a line of an answer. Members that this release does not know are passed over: they are a later one's.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) if it is none: what became of the act is unknown then.
    pub fn parse(line: &[u8]) -> Result<Self> {
        serde_json::from_slice(line).map_err(|_| Error::internal("the answer is none that this release understands"))
    }

    /// The line, its end included.
    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_else(|_| {
            br#"{"error":{"kind":"Internal","message":"the answer cannot be written as JSON"}}"#.to_vec()
        });
        line.push(b'\n');
        line
    }
}

impl Refusal {
    /// What an error says, and of its causes only the kind of failure of the file system: of theirs the text is their own,
    /// and nobody has promised that it holds no name and no secret.
    pub(super) fn of(error: &Error) -> Self {
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
        let cause = cause.map(|cause| format!(" ({})", cause.kind())).unwrap_or_default();
        Self { kind: error.kind(), message: format!("{}{cause}", error.context()) }
    }
}

impl From<Refusal> for Error {
    fn from(Refusal { kind, message }: Refusal) -> Self {
        Self::new(kind, message)
    }
}

pub(super) fn too_long() -> Error {
    Error::invalid(format!("a request has at most {REQUEST_MAX_LEN} bytes"))
}

fn malformed(error: &serde_json::Error) -> Error {
    let what = match error.classify() {
        serde_json::error::Category::Data => "has a member that is unknown, missing, there twice or of the wrong kind",
        serde_json::error::Category::Eof => "ends too early",
        _ => "is no JSON",
    };
    Error::invalid(format!("the request {what}, at line {} column {}", error.line(), error.column()))
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Borrowed from the request itself, or not at all.
        let text = <&str>::deserialize(deserializer)?;
        Self::new(text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
