//! One call of a root key: the id that it is found by afterwards, and how long it may take.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, SystemClock};
use crate::entropy::{Entropy, OsEntropy};
use crate::error::Result;

/// How long a root key outside of this process is waited for at most, all attempts of one call together. A call that
/// takes longer ends as [`Unreachable`](crate::RootError::Unreachable).
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// The correlation id of one call: 16 random bytes, written as 32 hexadecimal digits. The audit trail has it, and so
/// has the log of a key service that records it. Nothing can be learned from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId([u8; 16]);

/// A call that is about to be made: whoever makes it draws its id first, so that the id can be written down even if
/// the call never returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    id: CallId,
    patience: Duration,
}

impl Call {
    /// A call with a fresh id, which may take [`CALL_DEADLINE`].
    ///
    /// # Errors
    /// [`Internal`](crate::ErrorKind::Internal) if the operating system gives no random bytes.
    pub fn new() -> Result<Self> {
        // Ids are no part of any format, so they are not drawn from the stream that the tests of formats record.
        Ok(Self { id: CallId((&OsEntropy as &dyn Entropy).bytes()?), patience: CALL_DEADLINE })
    }

    /// The id, which a provider sends along.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.id
    }

    /// How long the provider may take to answer, counted from when it is asked. One that cannot answer in time
    /// returns [`Unreachable`](crate::RootError::Unreachable).
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The same call with no more time than this.
    #[must_use]
    pub fn within(&self, patience: Duration) -> Self {
        Self { id: self.id, patience: patience.min(self.patience) }
    }
}

/// How long something that needs several calls may take, all of them together.
pub(crate) struct Patience {
    /// The system's, as whoever is asked counts it.
    clock: Arc<SystemClock>,
    whole: Duration,
}

impl Patience {
    /// [`CALL_DEADLINE`] from now.
    pub(crate) fn new() -> Self {
        Self::of(CALL_DEADLINE)
    }

    pub(crate) fn of(whole: Duration) -> Self {
        Self { clock: SystemClock::new(), whole }
    }

    pub(crate) fn left(&self) -> Duration {
        self.whole.saturating_sub(Duration::from_millis(self.clock.monotonic_ms()))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for CallId {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let mut bytes = [0; 16];
        if text.len() != 32 || !text.bytes().all(digit) {
            return Err(Self::Err::invalid("a correlation id has 32 lower-case hexadecimal digits"));
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16)
                .map_err(|_| Self::Err::invalid("a correlation id has 32 lower-case hexadecimal digits"))?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for CallId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_32_digits_and_read_back() {
        let (one, two) = (Call::new().unwrap(), Call::new().unwrap());
        assert_ne!(one.id(), two.id());
        let text = one.id().to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(text.parse::<CallId>().unwrap(), one.id());
        assert_eq!(serde_json::from_str::<CallId>(&format!("\"{text}\"")).unwrap(), one.id());
        for wrong in ["", &text[1..], &format!("{text}0"), &text.replace(|_| true, "G"), &"A".repeat(32)] {
            assert!(wrong.parse::<CallId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn time_can_only_be_taken_away() {
        let call = Call::new().unwrap();
        assert_eq!(call.patience(), CALL_DEADLINE);
        assert_eq!(call.within(Duration::from_secs(2)).patience(), Duration::from_secs(2));
        assert_eq!(call.within(CALL_DEADLINE * 2).patience(), CALL_DEADLINE);
        assert_eq!(call.within(Duration::ZERO).id(), call.id());
    }
}
