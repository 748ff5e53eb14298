//! The keys of an issuer as they were last fetched: who is served from them, who waits, and when they are fetched again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Deadline};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Jwks;

/// For how long things count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) refresh: Duration,
    pub(super) stale_limit: Duration,
    pub(super) cool_down: Duration,
}

/// How keys are fetched.
pub(super) type Fetch = Box<dyn Fn() -> Result<Jwks> + Send + Sync>;

pub(super) struct Cache {
    issuer: String,
    bounds: Bounds,
    clock: Arc<dyn Clock>,
    fetch: Fetch,
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Whether an attempt is under way. There is never a second one.
    is_fetching: bool,
    /// How many attempts have begun.
    attempts: u64,
    /// Until when the issuer is left alone.
    rests_until: Option<Deadline>,
    /// What came of the last attempt, if it was nothing.
    failure: Option<Failure>,
}

/// A set of keys, and until when it is what. All of it is counted from before it was asked for.
struct Held {
    keys: Jwks,
    renewed_from: Deadline,
    fresh_until: Deadline,
    usable_until: Deadline,
}

struct Failure {
    reason: String,
    /// After that it says nothing of the present any more.
    news_until: Deadline,
}

/// The present of whoever asks: their wall clock, going on from there with the monotonic one.
#[derive(Clone)]
struct AsOf {
    /// What the clocks showed when they asked.
    wall_ms: u64,
    monotonic_ms: u64,
    clock: Arc<dyn Clock>,
}

/// An attempt under way. However it ends, who waits for it is told.
struct Attempt {
    cache: Arc<Cache>,
    begun: Deadline,
    present: AsOf,
    outcome: Result<Jwks>,
}

impl Default for Bounds {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self { refresh: secs(300), stale_limit: secs(3600), cool_down: secs(30) }
    }
}

impl Cache {
    pub(super) fn new(issuer: String, bounds: Bounds, clock: Arc<dyn Clock>, fetch: Fetch) -> Self {
        Self { issuer, bounds, clock, fetch, state: Mutex::default(), settled: Condvar::new() }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The keys for a token signed with the key `kid`.
    ///
    /// # Errors
    /// `Unavailable` if none count, or if it is not known whether there is such a key.
    pub(super) fn keys(self: &Arc<Self>, kid: &str, now_secs: u64) -> Result<Jwks> {
        let now = self.as_of(now_secs.saturating_mul(1000));
        let state = self.settle(Some(kid), &now);
        match state.serving(&now) {
            Some(held) if held.keys.contains(kid) || state.is_settled() => Ok(held.keys.clone()),
            _ => Err(Error::new(ErrorKind::Unavailable, "the keys of the issuer cannot be had at present")),
        }
    }

    /// # Errors
    /// `Unavailable` if no keys count.
    pub(super) fn ready(self: &Arc<Self>) -> Result<()> {
        let now = self.as_of(self.clock.wall_ms());
        let state = self.settle(None, &now);
        if state.serving(&now).is_some() {
            return Ok(());
        }
        let reason = state.failure.as_ref().map_or("it was not asked yet", |failure| failure.reason.as_str());
        let text = format!("there are no keys of the issuer {}: {reason}", self.issuer);
        Err(Error::new(ErrorKind::Unavailable, text))
    }

    /// Begins an attempt if one is due, and waits for one if there is no other way to answer.
    fn settle(self: &Arc<Self>, kid: Option<&str>, now: &AsOf) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let is_mine = state.is_due(kid, now);
        if is_mine {
            state.is_fetching = true;
            state.attempts += 1;
            drop(state);
            Attempt::spawn(self.clone(), now.clone());
            state = self.lock();
        }
        let must_wait = match state.serving(now) {
            // Who has just been told that the issuer does not answer need not all wait for it to say so again.
            None => is_mine || !state.is_failing(now),
            // One caller waits for a key that may be there, and not everybody who invents one.
            Some(held) => is_mine && kid.is_some_and(|kid| !held.keys.contains(kid)),
        };
        if !must_wait {
            return state;
        }
        let attempt = state.attempts;
        let is_under_way = |state: &mut State| state.is_fetching && state.attempts == attempt;
        self.settled.wait_while(state, is_under_way).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn as_of(&self, wall_ms: u64) -> AsOf {
        AsOf { wall_ms, monotonic_ms: self.clock.monotonic_ms(), clock: self.clock.clone() }
    }
}

impl State {
    fn is_due(&self, kid: Option<&str>, now: &AsOf) -> bool {
        let is_wanted = match &self.held {
            None => true,
            Some(held) => held.renewed_from.has_passed(now) || kid.is_some_and(|kid| !held.keys.contains(kid)),
        };
        let is_resting = self.rests_until.is_some_and(|until| !until.has_passed(now));
        is_wanted && !self.is_fetching && !is_resting
    }

    /// Whether it is known that there are no keys to be had at present.
    fn is_failing(&self, now: &AsOf) -> bool {
        self.failure.as_ref().is_some_and(|failure| !failure.news_until.has_passed(now))
    }

    /// The keys that count: those within their time, or those within the limit while it is known that there are no others to
    /// be had.
    fn serving(&self, now: &AsOf) -> Option<&Held> {
        let is_failing = self.is_failing(now);
        let until = |held: &Held| if is_failing { held.usable_until } else { held.fresh_until };
        self.held.as_ref().filter(|held| !until(held).has_passed(now))
    }

    /// Whether a key that is not in the set is none of the issuer's, as far as anybody can know.
    fn is_settled(&self) -> bool {
        !self.is_fetching && self.failure.is_none()
    }
}

impl Attempt {
    /// On a thread of its own, so that no caller who could be answered is held up.
    fn spawn(cache: Arc<Cache>, present: AsOf) {
        let begun = Deadline::now(&present);
        let unfinished = Error::new(ErrorKind::Unavailable, "the attempt was not finished");
        let attempt = Self { cache, begun, present, outcome: Err(unfinished) };
        let thread = std::thread::Builder::new().name("strongroom-oidc".to_owned());
        // What is told of it goes to whoever listens to the caller.
        let listening = tracing::dispatcher::get_default(Clone::clone);
        // Where no thread can be made the attempt is dropped, and has failed.
        drop(thread.spawn(move || tracing::dispatcher::with_default(&listening, || attempt.run())));
    }

    fn run(mut self) {
        self.outcome = (self.cache.fetch)();
    }

    /// What an operator sees.
    fn tell(&self, before: Option<&Jwks>) {
        let issuer = self.cache.issuer.as_str();
        let spent_ms = self.present.monotonic_ms().saturating_sub(self.present.monotonic_ms);
        let seconds = Duration::from_millis(spent_ms).as_secs_f64();
        let outcome = match &self.outcome {
            Ok(_) => "fetched",
            Err(error) if error.kind() == ErrorKind::Invalid => "unsound",
            Err(_) => "unreachable",
        };
        metrics::counter!("strongroom_issuer_fetches_total", "issuer" => issuer.to_owned(), "outcome" => outcome)
            .increment(1);
        metrics::histogram!("strongroom_issuer_fetch_seconds", "issuer" => issuer.to_owned()).record(seconds);
        match &self.outcome {
            Ok(keys) => {
                let count = u32::try_from(keys.kids().count()).unwrap_or(u32::MAX);
                metrics::gauge!("strongroom_issuer_keys", "issuer" => issuer.to_owned()).set(f64::from(count));
                tracing::debug!(issuer, count, seconds, "the keys of an issuer were fetched");
                let Some(before) = before else { return };
                let new = keys.kids().filter(|kid| !before.contains(kid)).count();
                let gone = before.kids().filter(|kid| !keys.contains(kid)).count();
                if new + gone > 0 {
                    tracing::info!(issuer, new, gone, "an issuer has changed its keys");
                }
            }
            Err(error) => {
                tracing::warn!(issuer, seconds, reason = error.context(), "the keys of an issuer cannot be fetched");
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Bounds { refresh, stale_limit, cool_down } = self.cache.bounds;
        let mut state = self.cache.lock();
        let before = state.held.as_ref().map(|held| held.keys.clone());
        match &self.outcome {
            Ok(keys) => {
                state.failure = None;
                state.held = Some(Held {
                    keys: keys.clone(),
                    renewed_from: self.begun.plus(refresh / 2),
                    fresh_until: self.begun.plus(refresh),
                    usable_until: self.begun.plus(stale_limit),
                });
            }
            Err(error) => {
                let reason = error.context().to_owned();
                state.failure = Some(Failure { reason, news_until: self.begun.plus(refresh) });
            }
        }
        state.rests_until = Some(Deadline::after(&self.present, cool_down));
        state.is_fetching = false;
        drop(state);
        self.cache.settled.notify_all();
        self.tell(before.as_ref());
    }
}

impl Clock for AsOf {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.saturating_add(self.clock.monotonic_ms().saturating_sub(self.monotonic_ms))
    }

    fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }
}

#[cfg(test)]
mod tests;
