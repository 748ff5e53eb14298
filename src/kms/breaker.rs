//! A circuit breaker: what has failed several times in a row is left alone for a while, then tried by one caller.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{CALL_DEADLINE, RootError};
use crate::clock::{Clock, Deadline};

/// How long a provider that did not answer is left alone before one call tries it again.
pub const BREAKER_PAUSE: Duration = Duration::from_secs(5);

/// Attempts without an answer, one after the other, that open the breaker.
const FAILURES_MAX: u32 = 5;

pub(super) struct Breaker {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
enum State {
    /// Everybody may ask.
    Closed { failures: u32 },
    /// Nobody may ask before this has passed.
    Open { until: Deadline },
    /// One caller is asking; the others wait for what it finds, but not for ever.
    Probing { until: Deadline },
}

/// How a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Ordinary,
    /// The one that tries whether the provider is back: once, without a retry.
    Probe,
}

impl Breaker {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// # Errors
    /// `Unreachable` at once while the provider is left alone.
    pub(super) fn admit(&self) -> Result<Admission, RootError> {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Ok(Admission::Ordinary),
            State::Open { until } | State::Probing { until } if until.has_passed(&*self.clock) => {
                *state = State::Probing { until: Deadline::after(&*self.clock, CALL_DEADLINE) };
                Ok(Admission::Probe)
            }
            State::Open { .. } | State::Probing { .. } => Err(RootError::Unreachable),
        }
    }

    /// Takes note of what an attempt found. Every answer closes the breaker, a refusal too; only silence opens it.
    /// Returns whether this has changed whether others may ask.
    pub(super) fn note(&self, is_answer: bool) -> Option<Change> {
        let mut state = self.state();
        let open = || State::Open { until: Deadline::after(&*self.clock, BREAKER_PAUSE) };
        let was = *state;
        *state = match (was, is_answer) {
            (_, true) => State::Closed { failures: 0 },
            (State::Closed { failures }, false) if failures + 1 < FAILURES_MAX => {
                State::Closed { failures: failures + 1 }
            }
            (State::Closed { .. } | State::Probing { .. }, false) => open(),
            // Of a call that began before the breaker opened.
            (State::Open { .. }, false) => was,
        };
        match (was, *state) {
            (State::Closed { .. }, State::Open { .. }) => Some(Change::Opened),
            (State::Open { .. } | State::Probing { .. }, State::Closed { .. }) => Some(Change::Closed),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}
