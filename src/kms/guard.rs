//! What stands between the store and a provider outside of its process: deadlines, retries, a circuit breaker, and what
//! an operator sees.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use super::breaker::BREAKER_PAUSE;
use super::breaker::{Admission, Breaker, Change};
use super::{Call, Connection, RootDescription, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::clock::{Clock, Deadline, SystemClock};
use crate::entropy::{Entropy, OsEntropy};

/// The longest single attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);
/// Attempts of one call.
const ATTEMPTS: u32 = 3;
/// The wait before the second attempt, at most; it doubles with every further one.
const BACKOFF: Duration = Duration::from_millis(100);
/// The longest that a provider's word to come back later is heeded, so that one answer cannot shut it out for days.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// A provider that leaves the process, guarded.
///
/// - A call ends within its [`patience`](Call::patience), [`CALL_DEADLINE`](super::CALL_DEADLINE) unless its maker has
///   less, and an attempt within three seconds. An answer that comes later is not used.
/// - `Unreachable` and `Throttled` are tried up to three times, after a random wait that grows, or the wait that the
///   provider has asked for; every other answer is final.
/// - After five attempts in a row without an answer the provider is left alone for [`BREAKER_PAUSE`]: calls end at once
///   as `Unreachable`, then one of them tries it. A refusal is an answer.
///
/// Counts and times calls (`strongroom_root_calls_total`, `strongroom_root_call_seconds`,
/// `strongroom_root_retries_total`, `strongroom_root_breaker_open`), and names each in an event of level `DEBUG` by its
/// correlation id; refusals and what the breaker does are of level `WARN`.
pub struct Guarded<P> {
    provider: P,
    /// Where it is, for metrics.
    place: String,
    clock: Arc<dyn Clock>,
    breaker: Breaker,
    sleep: fn(&dyn Clock, Duration),
}

impl<P: RootKeys> Guarded<P> {
    /// Guards a provider.
    pub fn new(provider: P) -> Self {
        let place = provider
            .connections()
            .first()
            .map_or_else(|| "local".to_owned(), |first| format!("{}:{}:{}", first.provider, first.host, first.port));
        let clock: Arc<dyn Clock> = SystemClock::new();
        Self { provider, place, breaker: Breaker::new(clock.clone()), clock, sleep: |_, span| std::thread::sleep(span) }
    }

    /// The clock that deadlines and pauses are held to; that of the operating system unless said otherwise.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.breaker = Breaker::new(clock.clone());
        self.clock = clock;
        self
    }

    #[cfg(feature = "transit")]
    pub(super) fn provider(&self) -> &P {
        &self.provider
    }

    fn call<T>(
        &self,
        operation: &'static str,
        root: &RootId,
        call: &Call,
        ask: impl Fn(Duration) -> Result<T, RootError>,
    ) -> Result<T, RootError> {
        let begun_ms = self.clock.monotonic_ms();
        let outcome = self.attempts(root, call, ask);
        let label = outcome.as_ref().map_or_else(|error| error.label(), |_| "allowed");
        let seconds = Duration::from_millis(self.clock.monotonic_ms().saturating_sub(begun_ms)).as_secs_f64();
        let place = self.place.clone();
        metrics::counter!("strongroom_root_calls_total", "provider" => place.clone(), "operation" => operation,
            "outcome" => label)
        .increment(1);
        metrics::histogram!("strongroom_root_call_seconds", "provider" => place).record(seconds);
        let (call, root) = (call.id(), root.as_str());
        if outcome.as_ref().is_err_and(|error| error.is_refusal()) {
            tracing::warn!(%call, root, operation, outcome = label, "a root key refuses");
        } else {
            tracing::debug!(%call, root, operation, outcome = label, seconds, "a root key was asked");
        }
        outcome
    }

    fn attempts<T>(
        &self,
        root: &RootId,
        call: &Call,
        ask: impl Fn(Duration) -> Result<T, RootError>,
    ) -> Result<T, RootError> {
        let deadline = Deadline::after(&*self.clock, call.patience());
        let begun_ms = self.clock.monotonic_ms();
        let left = || {
            let gone = Duration::from_millis(self.clock.monotonic_ms().saturating_sub(begun_ms));
            call.patience().saturating_sub(gone)
        };
        for attempt in 1.. {
            self.respect_throttle(root, left())?;
            let admission = self.breaker.admit()?;
            let outcome = ask(left().min(ATTEMPT_MAX));
            let outcome = if deadline.has_passed(&*self.clock) { Err(RootError::Unreachable) } else { outcome };
            self.note(&outcome);
            match outcome {
                Err(error @ (RootError::Unreachable | RootError::Throttled)) => {
                    let wait = backoff(attempt);
                    if attempt == ATTEMPTS || admission == Admission::Probe || wait >= left() {
                        return Err(error);
                    }
                    metrics::counter!("strongroom_root_retries_total", "provider" => self.place.clone()).increment(1);
                    (self.sleep)(&*self.clock, wait);
                }
                settled => return settled,
            }
        }
        Err(RootError::Unreachable)
    }

    /// Waits as the provider has asked, if there is time for it.
    fn respect_throttle(&self, root: &RootId, left: Duration) -> Result<(), RootError> {
        match self.retry_after(root) {
            Some(wait) if wait >= left => Err(RootError::Throttled),
            Some(wait) => {
                (self.sleep)(&*self.clock, wait);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn note<T>(&self, outcome: &Result<T, RootError>) {
        let is_answer = !matches!(outcome, Err(RootError::Unreachable));
        let Some(change) = self.breaker.note(is_answer) else { return };
        let is_open = change == Change::Opened;
        let place = self.place.as_str();
        match is_open {
            true => tracing::warn!(provider = place, "a provider of root keys does not answer and is left alone"),
            false => tracing::warn!(provider = place, "a provider of root keys answers again"),
        }
        metrics::gauge!("strongroom_root_breaker_open", "provider" => self.place.clone()).set(f64::from(is_open));
    }
}

/// A random wait before the next attempt, so that those who failed together do not come back together.
fn backoff(attempt: u32) -> Duration {
    let entropy: &dyn Entropy = &OsEntropy;
    let random = entropy.bytes().map_or(u32::MAX, u32::from_be_bytes);
    BACKOFF.saturating_mul(1 << (attempt - 1).min(4)).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

impl<P: RootKeys> RootKeys for Guarded<P> {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.call("wrap", root, context.call(), |time| self.provider.wrap(root, secret, &context.within(time)))
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.call("unwrap", root, context.call(), |time| self.provider.unwrap(root, wrapped, &context.within(time)))
    }

    fn describe(&self, root: &RootId, call: &Call) -> Result<RootDescription, RootError> {
        self.call("describe", root, call, |time| self.provider.describe(root, &call.within(time)))
    }

    fn connections(&self) -> Vec<Connection> {
        self.provider.connections()
    }

    fn is_external(&self, root: &RootId) -> bool {
        self.provider.is_external(root)
    }

    fn retry_after(&self, root: &RootId) -> Option<Duration> {
        self.provider.retry_after(root).map(|wait| wait.min(RETRY_AFTER_MAX))
    }

    fn locations(&self) -> Vec<&Path> {
        self.provider.locations()
    }
}

impl<P: std::fmt::Debug> std::fmt::Debug for Guarded<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Guarded").field(&self.provider).finish()
    }
}

#[cfg(test)]
mod tests;
