//! Time comes in through a trait: what the time is, is a fact that tests and services may want to set.
#![expect(clippy::disallowed_methods, reason = "the one owner of the operating system's clocks")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Whole milliseconds since 1970, rounded down: `None` for a time before, and for one that is too far off.
pub(crate) fn to_ms(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok())
}

/// The time so many milliseconds after 1970, if the system has a word for it.
pub(crate) fn from_ms(ms: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms))
}

/// The two clocks that every deadline is held to.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn wall_ms(&self) -> u64;
    /// Milliseconds since some fixed instant of this process; never goes back.
    fn monotonic_ms(&self) -> u64;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

/// A clock that stands still until it is told otherwise, for tests of deadlines.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

/// An instant on both clocks, past as soon as either has gone beyond it: setting a clock back or suspending a
/// machine extends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    wall_ms: u64,
    monotonic_ms: u64,
}

impl Deadline {
    /// `span` from now on both clocks.
    pub(crate) fn after(clock: &dyn Clock, span: Duration) -> Self {
        Self::now(clock).plus(span)
    }

    /// The present on both clocks.
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self { wall_ms: clock.wall_ms(), monotonic_ms: clock.monotonic_ms() }
    }

    /// `span` before now on both clocks, as far as they go back.
    pub(crate) fn ago(clock: &dyn Clock, span: Duration) -> Self {
        let (now, span_ms) = (Self::now(clock), u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        let ago = |at_ms: u64| at_ms.saturating_sub(span_ms);
        Self { wall_ms: ago(now.wall_ms), monotonic_ms: ago(now.monotonic_ms) }
    }

    /// The same, later by `span`.
    pub(crate) fn plus(self, span: Duration) -> Self {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self { wall_ms: self.wall_ms.saturating_add(span_ms), monotonic_ms: self.monotonic_ms.saturating_add(span_ms) }
    }

    /// Whichever passes first, on each clock.
    pub(crate) fn min(self, other: Self) -> Self {
        Self { wall_ms: self.wall_ms.min(other.wall_ms), monotonic_ms: self.monotonic_ms.min(other.monotonic_ms) }
    }

    /// How long until it passes on either clock; nothing if it has.
    pub(crate) fn left(&self, clock: &dyn Clock) -> Duration {
        let left_ms = |at: u64, now: u64| at.saturating_sub(now);
        let (wall, monotonic) = (clock.wall_ms(), clock.monotonic_ms());
        Duration::from_millis(left_ms(self.wall_ms, wall).min(left_ms(self.monotonic_ms, monotonic)))
    }

    /// When it passes on the wall clock, in milliseconds since 1970.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.wall_ms
    }

    pub(crate) fn has_passed(&self, clock: &dyn Clock) -> bool {
        clock.wall_ms() >= self.wall_ms || clock.monotonic_ms() >= self.monotonic_ms
    }
}

impl SystemClock {
    /// The clocks of this machine.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now() })
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        // A clock before 1970 reads as the epoch: every token is then refused as not yet valid, none is accepted.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl ManualClock {
    /// A clock that shows `wall_ms` milliseconds since 1970.
    #[must_use]
    pub fn new(wall_ms: u64) -> Arc<Self> {
        Arc::new(Self { wall_ms: AtomicU64::new(wall_ms), monotonic_ms: AtomicU64::new(0) })
    }

    /// Both clocks go on by `span`.
    pub fn advance(&self, span: Duration) {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.wall_ms.fetch_add(span_ms, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(span_ms, Ordering::SeqCst);
    }

    /// Only the wall clock is set, as an administrator or a time server would, forwards or back.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.wall_ms.store(wall_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_on_whichever_clock_gets_there_first() {
        let clock = ManualClock::new(1_000_000);
        let deadline = Deadline::after(&*clock, Duration::from_secs(60));
        clock.set_wall_ms(0);
        assert!(!deadline.has_passed(&*clock));
        clock.set_wall_ms(1_060_000);
        assert!(deadline.has_passed(&*clock), "the wall clock alone ends it (a suspended machine)");
        clock.set_wall_ms(0);
        clock.advance(Duration::from_secs(60));
        assert!(deadline.has_passed(&*clock), "the monotonic clock alone ends it (a clock set back)");
    }
}
