//! Whether and when somebody last used a database: by this the coldest one is found and closed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::shared::{Shared, Ticks};

pub(crate) struct Usage {
    ticks: Ticks,
    last_used: AtomicU64,
    retired: AtomicBool,
}

impl Usage {
    pub(super) fn new(shared: &Shared) -> Self {
        let ticks = shared.ticks().clone();
        Self { last_used: AtomicU64::new(ticks.now()), ticks, retired: AtomicBool::new(false) }
    }

    /// Notes a use. False if the database has been retired: who wants to use it looks for its successor.
    pub(super) fn enter(&self) -> bool {
        let now = self.ticks.now();
        // Most uses fall into the tick of the one before, and leave the line to the other readers.
        if self.last_used.load(Ordering::Relaxed) != now {
            self.last_used.store(now, Ordering::Relaxed);
        }
        !self.retired.load(Ordering::Acquire)
    }

    /// From now on nobody begins to use the database.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// It is used again: it could not be closed.
    pub(crate) fn revive(&self) {
        self.retired.store(false, Ordering::Release);
    }

    /// In ticks.
    pub(crate) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    pub(super) fn ticks(&self) -> &Ticks {
        &self.ticks
    }
}
