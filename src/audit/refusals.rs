//! Refused credentials, counted by trail, reason and minute, and written once the minute is over: whoever sends bad
//! tokens, and however many, buys one small unsynced write a minute with them. What was counted in the last minute is
//! lost if the process is killed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::act::Act;
use super::event::{Actor, Event, Outcome};
use super::line::rfc3339;
use super::trails::Trails;
use crate::engine::Durability;
use crate::name::Incarnation;

const MINUTE_MS: u64 = 60_000;
/// Counts in memory. What is refused beyond them is counted in the trail of the store, which has one for each reason.
const COUNTS_MAX: usize = 1024;

/// What has been refused in the minute that is not over.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    minute: u64,
    counts: HashMap<Key, u64>,
}

/// Where and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    trail: Incarnation,
    act: Act,
    reason: &'static str,
}

impl Trails {
    /// Counts a refusal: one of [`Act::SESSIONS_REFUSED`] and [`Act::CUSTODY_REFUSED`]. `reason` says nothing of what
    /// was presented.
    pub(crate) fn count_refusal(&self, trail: Incarnation, act: Act, reason: &'static str) {
        let minute = self.register.now_ms() / MINUTE_MS;
        let due = {
            let mut counts = self.refusals.lock();
            let due = counts.take_if(|counted| counted != minute);
            counts.minute = minute;
            counts.add(Key { trail, act, reason }, self.of_store());
            due
        };
        self.write_counts(due);
    }

    /// Writes the counts of a minute that is over by `now_ms`, whatever the minute if there is none.
    pub(crate) fn write_refusals(&self, now_ms: Option<u64>) {
        let due = self.refusals.lock().take_if(|counted| now_ms.is_none_or(|now_ms| counted != now_ms / MINUTE_MS));
        self.write_counts(due);
    }

    fn write_counts(&self, due: Option<Counts>) {
        let Some(Counts { minute, counts }) = due else { return };
        let minute = rfc3339(minute.saturating_mul(MINUTE_MS));
        for (Key { trail, act, reason }, count) in counts {
            let event = Event::new(act, Actor::Store).outcome(Outcome::Refused);
            let event = event.detail("reason", reason).detail("minute", &minute).detail("count", count);
            if let Err(error) = self.record(trail, event, Durability::Buffered) {
                tracing::error!(reason, count, %error, "refusals could not be written to the audit trail");
            }
        }
    }
}

impl Refusals {
    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn take_if(&mut self, is_due: impl FnOnce(u64) -> bool) -> Option<Self> {
        (!self.counts.is_empty() && is_due(self.minute)).then(|| std::mem::take(self))
    }

    fn add(&mut self, key: Key, store: Incarnation) {
        let is_full = self.counts.len() >= COUNTS_MAX && !self.counts.contains_key(&key);
        let key = if is_full { Key { trail: store, ..key } } else { key };
        *self.counts.entry(key).or_default() += 1;
    }
}
