//! One event as a line of JSON. A line is exactly what its leaf says, to the byte: so nothing can be read in a trail
//! whose hashes are right that is not in its leaves.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::event::{Actor, Event, LEAF_MAX_LEN};
use crate::error::{Error, ErrorKind, Result};

/// The longest line, in bytes: a leaf in which every character has to be escaped, and the leaf itself.
pub(super) const LINE_MAX_LEN: usize = 8 * LEAF_MAX_LEN + 1024;

#[derive(Serialize)]
struct Line<'e> {
    sequence: u64,
    time: String,
    actor: LineActor<'e>,
    act: &'e str,
    outcome: &'e str,
    details: Details<'e>,
    leaf: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum LineActor<'e> {
    Store(&'static str),
    Person { issuer: &'e str, tenant: &'e str, subject: &'e str },
}

struct Details<'e>(&'e [(String, String)]);

/// What of a line is believed: the rest is made anew from the leaf and compared.
#[derive(Deserialize)]
struct Claim {
    sequence: u64,
    leaf: String,
}

/// The line of an event, without a newline.
pub(super) fn render(sequence: u64, event: &Event, leaf: &[u8]) -> Result<String> {
    let Event { time_ms, actor, act, outcome, details } = event;
    let actor = match actor {
        Actor::Store => LineActor::Store("store"),
        Actor::Person { issuer, tenant, subject } => LineActor::Person { issuer, tenant, subject },
    };
    let (time, details, leaf) = (rfc3339(*time_ms), Details(details), STANDARD.encode(leaf));
    let line = Line { sequence, time, actor, act: act.as_str(), outcome: outcome.as_str(), details, leaf };
    serde_json::to_string(&line).map_err(|source| Error::internal("an event cannot be written").with_source(source))
}

/// The leaf of the event that must stand at `sequence`.
pub(super) fn parse(line: &str, sequence: u64) -> Result<Vec<u8>> {
    let corrupt = || Error::corrupt(format!("line {} of the trail is no event", sequence + 1));
    let claim: Claim = serde_json::from_str(line).map_err(|source| corrupt().with_source(source))?;
    let leaf = STANDARD.decode(claim.leaf).map_err(|_| corrupt())?;
    let event = Event::decode(&leaf)?;
    if claim.sequence != sequence || render(sequence, &event, &leaf)? != line {
        let text = format!("line {} of the trail does not say what its leaf says", sequence + 1);
        return Err(Error::new(ErrorKind::Tampered, text));
    }
    Ok(leaf)
}

/// An instant in UTC, to the millisecond.
pub(super) fn rfc3339(time_ms: u64) -> String {
    let (days, of_day) = (time_ms / 86_400_000, time_ms % 86_400_000);
    // Days since 0000-03-01, in eras of 400 years: a leap day is then the last day of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = 400 * era + year + u64::from(month <= 2);
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::act::Act;
    use super::*;

    #[test]
    fn instants_are_those_of_the_calendar() {
        for (time_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_000_000_000_001, "2001-09-09T01:46:40.001Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(time_ms), text);
        }
        assert!(rfc3339(u64::MAX).ends_with('Z'), "no instant is too late");
    }

    #[test]
    fn a_line_says_what_its_leaf_says_and_nothing_else_passes() {
        let event = Event { time_ms: 1_000_000_000_001, ..Event::new(Act::REVOKED, Actor::person("i", "t", "anna")) };
        let event = event.detail("reason", "said \"stop\"");
        let leaf = event.encode([7; 16]);
        let line = render(4, &event, &leaf).unwrap();
        let start =
            r#"{"sequence":4,"time":"2001-09-09T01:46:40.001Z","actor":{"issuer":"i","tenant":"t","subject":"anna"},"#;
        assert!(line.starts_with(start), "{line}");
        assert_eq!(parse(&line, 4).unwrap(), leaf);
        let kind = |line: &str, sequence| parse(line, sequence).unwrap_err().kind();
        assert_eq!(kind(&line, 3), ErrorKind::Tampered, "moved");
        for (from, to) in
            [("anna", "otto"), ("revoked", "restored"), ("stop", "go"), ("done", "failed"), ("01:46", "1:46")]
        {
            assert_eq!(kind(&line.replacen(from, to, 1), 4), ErrorKind::Tampered, "{from}");
        }
        let twice = line.replace(r#""act":"#, r#""act":"restored","act":"#);
        assert_eq!(kind(&twice, 4), ErrorKind::Tampered, "a member twice, of which some readers see the first");
        assert_eq!(kind(&line[1..], 4), ErrorKind::Corrupt);
    }

    #[test]
    fn the_longest_line_is_short_enough() {
        let all = "\u{1}".repeat(LEAF_MAX_LEN);
        let event = Event::new(Act::REVOKED, Actor::person(&all, &all, &all)).detail("reason", &all);
        let leaf = event.encode([0; 16]);
        assert!(render(u64::MAX, &Event { time_ms: u64::MAX, ..event }, &leaf).unwrap().len() <= LINE_MAX_LEN);
    }
}
