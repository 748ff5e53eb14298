//! How much may be under way at once.

use std::thread;

/// How much a store does at once for async callers. What is beyond it waits, in order, and takes no thread.
///
/// The threads are those that the runtime has for what may block, 512 unless its builder says otherwise
/// (`max_blocking_threads`). If there are fewer of them than all of this together, and 32 for
/// [`Strongroom::with`](super::Strongroom::with), slow work can keep quick work waiting.
#[derive(Clone, Debug)]
#[must_use]
pub struct Limits {
    pub(super) per_tenant: usize,
    pub(super) waiting: usize,
    pub(super) threads: usize,
    pub(super) syncs: usize,
    pub(super) cold: usize,
    pub(super) sign_ins: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(4, usize::from);
        let threads = (cores * 4).clamp(16, 64);
        Self { per_tenant: 8, waiting: 1024, threads, syncs: 64, cold: 64, sign_ins: (cores * 2).clamp(4, 16) }
    }
}

impl Limits {
    /// How many operations of one tenant: 8 unless said otherwise, which is half of the threads of a small machine. Reads from
    /// memory do not count.
    pub fn per_tenant(mut self, operations: usize) -> Self {
        self.per_tenant = operations;
        self
    }

    /// How many operations of one tenant may wait besides: 1,024 unless said otherwise. One more is told at once that it is
    /// [`Throttled`](crate::ErrorKind::Throttled), so that a flood costs memory for so many and no more.
    pub fn waiting(mut self, operations: usize) -> Self {
        self.waiting = operations;
        self
    }

    /// How many operations of all tenants that find their keys and cells in memory: four for each core unless said otherwise,
    /// and 16 to 64.
    pub fn threads(mut self, operations: usize) -> Self {
        self.threads = operations;
        self
    }

    /// How many writes that wait for the disk to sync: 64 unless said otherwise. Those of one cell that wait together share a
    /// sync.
    pub fn syncs(mut self, operations: usize) -> Self {
        self.syncs = operations;
        self
    }

    /// How many operations that may have to wait for a key service or for a cell to open, one of each tenant at most: 64
    /// unless said otherwise. As many tenants whose key services are slow keep nobody waiting but themselves.
    pub fn cold(mut self, operations: usize) -> Self {
        self.cold = operations;
        self
    }

    /// How many credentials are verified at once: two for each core unless said otherwise, and 4 to 16.
    pub fn sign_ins(mut self, credentials: usize) -> Self {
        self.sign_ins = credentials;
        self
    }
}
