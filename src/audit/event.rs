//! One event of a trail, and its leaf: the bytes that are hashed, stored and exported.
//!
//! ```text
//! leaf   = 16 random bytes || format u8 = 1 || time u64 || outcome u8 || actor || lp(act)
//!          || count u8 || count x (lp(key) || lp(value))
//! actor  = 00 (the store) | 01 || lp(issuer) || lp(tenant claim) || lp(subject)
//! lp(x)  = u32 length || x
//! ```
//!
//! Laid out by hand, because a leaf is read where no key is: in an exported file. The random bytes keep its hash, which
//! leaves the store, from giving its content away.

use std::fmt;

use super::act::Act;
use crate::error::{Error, Result};

/// What happened, who did it, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When it was written down, in milliseconds since 1970, by the store's clock.
    pub time_ms: u64,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub act: Act,
    /// How it ended.
    pub outcome: Outcome,
    /// What else is to be known: keys of at most 64 bytes, each once, and their values. A value that had to be cut ends
    /// in `…`.
    pub details: Vec<(String, String)>,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Actor {
    /// The store itself: a schedule, or what it saw.
    Store,
    /// A person or a service whose credential was verified.
    Person {
        /// The issuer of the credential.
        issuer: String,
        /// What the issuer calls the tenant.
        tenant: String,
        /// Who it is, in the issuer's words.
        subject: String,
    },
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It is about to happen and cannot be taken back. A later entry says how it ended; if there is none, the process
    /// ended first, and it may have happened.
    Begun,
    /// It was done.
    Done,
    /// It was refused, and nothing was changed.
    Refused,
    /// It failed, and what is true now is what the error said.
    Failed,
}

/// The longest leaf, in bytes.
pub(crate) const LEAF_MAX_LEN: usize = 4096;
const SALT_LEN: usize = 16;
const FORMAT: u8 = 1;
/// The longest part of a name of a person, and the longest key of a detail, in bytes.
const NAME_MAX_LEN: usize = 512;
const KEY_MAX_LEN: usize = 64;
const DETAILS_MAX: usize = 16;
/// What a text ends in that was cut.
const MARK: &str = "…";

impl Event {
    /// Something that was done by `actor`; its time is set when it is written.
    pub(crate) fn new(act: Act, actor: Actor) -> Self {
        Self { time_ms: 0, actor, act, outcome: Outcome::Done, details: Vec::new() }
    }

    pub(crate) fn outcome(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    /// Adds a detail. It is cut, or left out, where the leaf would become too long: an act is never held up by what
    /// there is to say about it.
    pub(crate) fn detail(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        debug_assert!(key.len() <= KEY_MAX_LEN, "{key}");
        debug_assert!(self.details.iter().all(|(known, _)| known != key), "{key} is there already");
        let left = LEAF_MAX_LEN.saturating_sub(self.encoded_len() + 8 + key.len());
        if self.details.len() < DETAILS_MAX && left >= MARK.len() {
            self.details.push((key.to_owned(), cut(value.to_string(), left)));
        }
        self
    }

    /// The leaf, behind its random bytes.
    pub(crate) fn encode(&self, salt: [u8; SALT_LEN]) -> Vec<u8> {
        let mut leaf = Vec::with_capacity(self.encoded_len());
        leaf.extend_from_slice(&salt);
        leaf.push(FORMAT);
        leaf.extend_from_slice(&self.time_ms.to_be_bytes());
        leaf.push(self.outcome.code());
        match &self.actor {
            Actor::Store => leaf.push(0),
            Actor::Person { issuer, tenant, subject } => {
                leaf.push(1);
                [issuer, tenant, subject].into_iter().for_each(|part| push(&mut leaf, part));
            }
        }
        push(&mut leaf, self.act.as_str());
        leaf.push(u8::try_from(self.details.len()).expect("at most 16 details"));
        for (key, value) in &self.details {
            push(&mut leaf, key);
            push(&mut leaf, value);
        }
        leaf
    }

    /// Reads a leaf, strictly: what is read encodes to the same bytes again.
    ///
    /// # Errors
    /// `Corrupt` if it is anything else.
    pub(crate) fn decode(leaf: &[u8]) -> Result<Self> {
        let corrupt = || Error::corrupt("an event of the audit trail cannot be read");
        let mut rest = Rest(leaf.get(SALT_LEN..).filter(|_| leaf.len() <= LEAF_MAX_LEN).ok_or_else(corrupt)?);
        rest.event().filter(|_| rest.0.is_empty()).ok_or_else(corrupt)
    }

    fn encoded_len(&self) -> usize {
        let lp = |text: &str| 4 + text.len();
        let actor = match &self.actor {
            Actor::Store => 0,
            Actor::Person { issuer, tenant, subject } => lp(issuer) + lp(tenant) + lp(subject),
        };
        let details: usize = self.details.iter().map(|(key, value)| lp(key) + lp(value)).sum();
        SALT_LEN + 1 + 8 + 1 + 1 + actor + lp(self.act.as_str()) + 1 + details
    }
}

impl Actor {
    /// Somebody whose credential was verified. Names that are longer than 512 bytes are cut.
    pub(crate) fn person(issuer: &str, tenant: &str, subject: &str) -> Self {
        let [issuer, tenant, subject] = [issuer, tenant, subject].map(|part| cut(part.to_owned(), NAME_MAX_LEN));
        Self::Person { issuer, tenant, subject }
    }
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Begun, Self::Done, Self::Refused, Self::Failed];

    /// As it stands in exported trails.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Begun => 0,
            Self::Done => 1,
            Self::Refused => 2,
            Self::Failed => 3,
        }
    }
}

/// What of a leaf has not been read yet.
struct Rest<'l>(&'l [u8]);

impl Rest<'_> {
    fn event(&mut self) -> Option<Event> {
        (self.array()? == [FORMAT]).then_some(())?;
        let time_ms = u64::from_be_bytes(self.array()?);
        let [code] = self.array()?;
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.code() == code)?;
        let actor = match self.array()? {
            [0] => Actor::Store,
            [1] => {
                let [issuer, tenant, subject] =
                    [self.text(NAME_MAX_LEN)?, self.text(NAME_MAX_LEN)?, self.text(NAME_MAX_LEN)?];
                Actor::Person { issuer, tenant, subject }
            }
            _ => return None,
        };
        let act = Act::named(&self.text(LEAF_MAX_LEN)?)?;
        let [count] = self.array()?;
        let mut details: Vec<(String, String)> = Vec::new();
        for _ in 0..usize::from(count) {
            let (key, value) = (self.text(KEY_MAX_LEN)?, self.text(LEAF_MAX_LEN)?);
            // Each key once, so that an object of JSON holds them all.
            if details.len() == DETAILS_MAX || details.iter().any(|(known, _)| *known == key) {
                return None;
            }
            details.push((key, value));
        }
        Some(Event { time_ms, actor, act, outcome, details })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self, max_len: usize) -> Option<String> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length).filter(|_| length <= max_len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }
}

fn push(leaf: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).expect("a leaf has at most 4,096 bytes");
    leaf.extend_from_slice(&length.to_be_bytes());
    leaf.extend_from_slice(text.as_bytes());
}

/// `text` in at most `max_len` bytes, which are enough for the mark.
fn cut(mut text: String, max_len: usize) -> String {
    if text.len() > max_len {
        text.truncate(text.floor_char_boundary(max_len - MARK.len()));
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Event {
        let actor = Actor::person("https://issuer", "service", "anna");
        Event { time_ms: 7, ..Event::new(Act::TENANT_MADE, actor) }.detail("tenant", "contoso").detail("region", "eu")
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "ä".repeat(3000);
        let event = Event::new(Act::REVOKED, Actor::person(&long, "t", &long)).detail("reason", &long);
        let event = event.detail("lost", "for want of room");
        assert_eq!(event.details.len(), 1);
        assert!(event.details[0].1.ends_with("ä…"), "{event:?}");
        let Actor::Person { subject, .. } = &event.actor else { panic!("a person") };
        assert!((NAME_MAX_LEN - 1..=NAME_MAX_LEN).contains(&subject.len()) && subject.ends_with('…'));
        let leaf = event.encode([1; 16]);
        assert!((LEAF_MAX_LEN - 1..=LEAF_MAX_LEN).contains(&leaf.len()), "{}", leaf.len());
        assert_eq!(Event::decode(&leaf).unwrap(), event);
    }

    #[test]
    fn a_leaf_is_read_to_the_letter() {
        let leaf = sample().encode([9; 16]);
        assert_eq!(Event::decode(&leaf).unwrap(), sample());
        for end in 0..leaf.len() {
            assert!(Event::decode(&leaf[..end]).is_err(), "cut at {end}");
        }
        assert!(Event::decode(&[&leaf[..], &[0]].concat()).is_err(), "a trailing byte");
        for (at, byte) in [(16, 2), (25, 9), (26, 2)] {
            let mut changed = leaf.clone();
            changed[at] = byte;
            assert!(Event::decode(&changed).is_err(), "{byte} at {at}");
        }
        let twice = Event { details: vec![("a".into(), "1".into()), ("a".into(), "2".into())], ..sample() };
        assert!(Event::decode(&twice.encode([0; 16])).is_err(), "a key twice");
    }

    #[test]
    fn every_leaf_is_the_references() {
        for entry in crate::test_kit::section("audit_leaf", 2) {
            let leaf = crate::test_kit::hex(&entry["leaf"]);
            let event = Event::decode(&leaf).unwrap();
            assert_eq!(event.encode(crate::test_kit::array(&entry["salt"])), leaf);
            assert_eq!(event.act.as_str(), crate::test_kit::text(&entry["act"]));
            assert_eq!(event.time_ms, entry["time_ms"].as_u64().unwrap());
            assert_eq!(event.outcome.as_str(), crate::test_kit::text(&entry["outcome"]));
            let pairs = entry["details"].as_array().unwrap().iter();
            let details: Vec<_> = pairs.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect();
            let ours: Vec<_> = event.details.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(ours, details);
            match &event.actor {
                Actor::Store => assert!(entry["actor"].is_null()),
                Actor::Person { issuer, tenant, subject } => {
                    assert_eq!(entry["actor"], serde_json::json!([issuer, tenant, subject]));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_event_comes_back(
            person in proptest::option::of([".{0,40}", ".{0,40}", ".{0,40}"]),
            time_ms in any::<u64>(),
            values in proptest::collection::vec(".{0,600}", 0..16),
        ) {
            const KEYS: [&str; 16] =
                ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
            let actor = person.map_or(Actor::Store, |[issuer, tenant, subject]| Actor::person(&issuer, &tenant, &subject));
            let event = Event { time_ms, ..Event::new(Act::REVOKED, actor) };
            let event = KEYS.into_iter().zip(values).fold(event, |event, (key, value)| event.detail(key, value));
            let leaf = event.encode([3; 16]);
            prop_assert!(leaf.len() <= LEAF_MAX_LEN && leaf.len() == event.encoded_len());
            prop_assert_eq!(Event::decode(&leaf).unwrap(), event);
        }

        #[test]
        fn what_is_read_is_written_again_as_the_same_bytes(mut leaf in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(format) = leaf.get_mut(16) { *format = FORMAT }
            if let Some(outcome) = leaf.get_mut(25) { *outcome %= 4 }
            if let Some(actor) = leaf.get_mut(26) { *actor = 0 }
            if let Some(length) = leaf.get_mut(27..31) { length.copy_from_slice(&[0, 0, 0, 2]) }
            if let Ok(event) = Event::decode(&leaf) {
                prop_assert_eq!(event.encode(leaf[..16].try_into().unwrap()), leaf);
            }
        }
    }
}
