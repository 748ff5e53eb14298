//! Measuring: the time that the store takes, without the time that the demonstration takes around it.
#![expect(clippy::disallowed_methods, reason = "a measurement needs a finer clock than a deadline")]

use std::time::{Duration, Instant};

/// Adds up the time of what is run under it.
#[derive(Default)]
pub struct Stopwatch {
    total: Duration,
}

impl Stopwatch {
    pub fn time<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let outcome = run();
        self.total += start.elapsed();
        outcome
    }

    pub fn total(&self) -> Duration {
        self.total
    }
}
