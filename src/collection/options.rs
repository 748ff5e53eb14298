//! What can be said of a write beyond key and value: when the record expires, and what must be there before.

use std::time::{Duration, SystemTime};

use super::write::Expected;
use crate::clock::{self, Clock};
use crate::error::{Error, Result};

/// How a record is put: see [`Collection::put_with`](crate::Collection::put_with). Without anything said, as
/// [`put`](crate::Collection::put) does.
///
/// ```
/// # use std::time::Duration;
/// # use strongroom::{Expected, PutOptions};
/// let for_a_month = PutOptions::new().expires_after(Duration::from_secs(30 * 24 * 3600));
/// let if_new = for_a_month.expecting(Expected::Absent);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "options do nothing until a record is put with them"]
pub struct PutOptions {
    expiry: Option<Expiry>,
    pub(super) expected: Option<Expected>,
}

#[derive(Clone, Copy, Debug)]
enum Expiry {
    At(SystemTime),
    After(Duration),
}

impl PutOptions {
    /// A record that does not expire, whatever is there before.
    pub fn new() -> Self {
        Self::default()
    }

    /// The record expires at this time, in whole milliseconds (rounded down): from then on, by the clock of the store, it
    /// is as good as gone for everybody who reads, writes, scans or counts, and its bytes are collected in the
    /// background. The time is sealed with the value.
    ///
    /// What is put with a time that has come already, before 1970, or too far off to be counted is
    /// [`Invalid`](crate::ErrorKind::Invalid): nobody could ever read it.
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.expiry = Some(Expiry::At(time));
        self
    }

    /// The record expires when another does, or does not, as that one: for what is moved or edited and keeps its time
    /// ([`Entry::expires_at`](crate::Entry::expires_at)).
    pub fn expires_as(mut self, other: Option<SystemTime>) -> Self {
        self.expiry = other.map(Expiry::At);
        self
    }

    /// The record expires so long after it is put, by the clock of the store; else as [`expires_at`](Self::expires_at).
    pub fn expires_after(mut self, span: Duration) -> Self {
        self.expiry = Some(Expiry::After(span));
        self
    }

    /// The record is put only if what is there is as expected, as by [`put_if`](crate::Collection::put_if). One that has
    /// expired counts as absent.
    pub fn expecting(mut self, expected: impl Into<Expected>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// When the record expires, in milliseconds since 1970, if it does.
    pub(super) fn expires_ms(&self, clock: &dyn Clock) -> Result<Option<u64>> {
        let now_ms = clock.wall_ms();
        let expires_ms = match self.expiry {
            None => return Ok(None),
            Some(Expiry::At(time)) => clock::to_ms(time),
            Some(Expiry::After(span)) => u64::try_from(span.as_millis()).ok().and_then(|ms| now_ms.checked_add(ms)),
        };
        match expires_ms {
            Some(expires_ms) if expires_ms > now_ms => Ok(Some(expires_ms)),
            _ => Err(Error::invalid("a record expires in the future, and not further off than can be counted")),
        }
    }
}
