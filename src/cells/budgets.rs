//! What the open cells of a store may take together, and the account of what they take.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "rocksdb")]
use crate::engine::rocks::{Shared, Sizes};
#[cfg(feature = "rocksdb")]
use crate::error::Result;

/// What a store may take of the process that it is in, however many tenants are active. Everything has a default, and
/// the chapter on defaults says why it is what it is.
///
/// When a budget is used up, what has been used least recently is closed to make room: a tenant that comes back to it
/// waits for its cell to open again. Who finds no room within some seconds is
/// [`Throttled`](crate::ErrorKind::Throttled).
#[derive(Clone, Debug)]
#[must_use = "budgets do nothing until a builder is given them"]
pub struct Budgets {
    pub(crate) memory_bytes: usize,
    pub(crate) open_files: u32,
    pub(crate) open_cells: u32,
    pub(crate) wal_bytes: u64,
    pub(crate) background_rate: u64,
    pub(crate) active_tenants: usize,
    pub(crate) reseal_rate: u64,
    pub(crate) expiry_rate: u64,
    pub(crate) expiry_every: Duration,
    pub(crate) idle: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            open_files: open_files_allowed() / 2,
            open_cells: 1024,
            wal_bytes: 1 << 30,
            background_rate: 256 << 20,
            active_tenants: 10_000,
            reseal_rate: 16 << 20,
            expiry_rate: 4 << 20,
            expiry_every: Duration::from_secs(3600),
            idle: Duration::from_secs(60),
        }
    }
}

impl Budgets {
    /// Bytes of memory for the storage engine: a quarter for the block cache, a quarter for what has been written and
    /// not yet flushed, and half for open cells and views. 512 MiB unless said otherwise, at least 16 MiB. What the
    /// store knows of its tenants comes on top: about a kilobyte for each.
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes.max(16 << 20);
        self
    }

    /// File descriptors; unless said otherwise half of what the process may have open (`RLIMIT_NOFILE`) when the
    /// budgets are made. At least 64.
    pub fn open_files(mut self, files: u32) -> Self {
        self.open_files = files.max(64);
        self
    }

    /// Cells that are open for writing; 1,024 unless said otherwise, if memory and descriptors allow as many.
    pub fn open_cells(mut self, cells: u32) -> Self {
        self.open_cells = cells.max(1);
        self
    }

    /// Bytes of write-ahead logs of all cells; 1 GiB unless said otherwise, at least 16 MiB.
    pub fn wal_bytes(mut self, bytes: u64) -> Self {
        self.wal_bytes = bytes.max(16 << 20);
        self
    }

    /// Bytes a second that flushes and compactions may write; 256 MiB unless said otherwise.
    pub fn background_rate(mut self, bytes_per_second: u64) -> Self {
        self.background_rate = bytes_per_second.max(1 << 20);
        self
    }

    /// Tenants whose keys and catalogs are kept in memory when they have no session, beyond that of
    /// [`memory_bytes`](Self::memory_bytes): some kilobytes for each. 10,000 unless said otherwise. The next session of one
    /// that is not among them asks its root keys again.
    pub fn active_tenants(mut self, tenants: usize) -> Self {
        self.active_tenants = tenants.max(1);
        self
    }

    /// Bytes a second that the store may read and write, for all tenants together, to move records to new generations in
    /// the background; 16 MiB unless said otherwise. What a custodian's own call of
    /// [`reseal`](crate::TenantCustody::reseal) takes is for its plan to say.
    pub fn reseal_rate(mut self, bytes_per_second: u64) -> Self {
        self.reseal_rate = bytes_per_second.max(64 << 10);
        self
    }

    /// Bytes a second that the store may read, for all tenants together, in search of records that have expired; 4 MiB
    /// unless said otherwise. Readers do not wait for it: what has expired is hidden from them at once.
    pub fn expiry_rate(mut self, bytes_per_second: u64) -> Self {
        self.expiry_rate = bytes_per_second.max(64 << 10);
        self
    }

    /// How long after one search through a tenant's records that expire the next one begins, if something has expired: an
    /// hour unless said otherwise, a minute at least. A tenant whom nobody uses is searched 24 times as seldom, because its
    /// root keys must be asked for it.
    pub fn expiry_every(mut self, span: Duration) -> Self {
        self.expiry_every = span.max(Duration::from_secs(60));
        self
    }

    /// For how long a cell may be idle before it is flushed and closed; a minute unless said otherwise. A scan that
    /// stands still for as long, or has been going on for ten times as long, ends with
    /// [`Closed`](crate::ErrorKind::Closed) if its cell is to be closed.
    pub fn idle(mut self, span: Duration) -> Self {
        self.idle = span;
        self
    }

    pub(crate) fn cache_bytes(&self) -> usize {
        self.memory_bytes / 4
    }

    pub(crate) fn memtable_bytes(&self) -> usize {
        self.memory_bytes / 4
    }

    /// For a store that is put together or looked through, and serves nobody.
    #[cfg(feature = "backup")]
    pub(crate) fn small() -> Self {
        Self::default().memory_bytes(32 << 20)
    }

    /// What each database is opened with.
    #[cfg(feature = "rocksdb")]
    fn sizes(&self) -> Sizes {
        Sizes {
            wal_bytes: (self.wal_bytes / 8).min(64 << 20),
            // RocksDB takes ten of them for itself.
            open_files: (self.open_files / 4).clamp(32, 1024),
            background_rate: self.background_rate,
        }
    }

    /// Whether a cell with so many boxes can be open, and a view beside it.
    pub(crate) fn has_room_for(&self, boxes: u32) -> bool {
        Cost::of_cell(boxes, 0, 0).plus(Cost::of_view(1)).fits(self.limits())
    }

    fn limits(&self) -> Cost {
        Cost { cells: self.open_cells, memory: self.memory_bytes / 2, files: self.open_files }
    }
}

#[cfg(feature = "rocksdb")]
impl Shared {
    pub(super) fn of(budgets: &Budgets) -> Result<Self> {
        Self::new(budgets.cache_bytes(), budgets.memtable_bytes(), budgets.sizes())
    }
}

/// What the process may have open now; what every Unix allows if it does not say.
fn open_files_allowed() -> u32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    // More than this helps nobody, and some systems say "without limit".
    u32::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(u32::MAX).clamp(256, 16_384)
}

/// What an open cell or view takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) cells: u32,
    pub(super) memory: usize,
    pub(super) files: u32,
}

impl Cost {
    /// Of a cell that is open for writing. The figures were measured; `make growth` measures them again.
    pub(super) fn of_cell(boxes: u32, table_files: u32, open_files_max: u32) -> Self {
        let memory = CELL_BYTES + boxes as usize * BOX_BYTES;
        Self { cells: 1, memory, files: CELL_FILES + table_files.min(open_files_max) }
    }

    /// Of a read-only view of a box with so many table files.
    pub(super) fn of_view(table_files: u32) -> Self {
        Self { cells: 0, memory: VIEW_BYTES, files: 1 + table_files }
    }

    fn plus(self, other: Self) -> Self {
        Self { cells: self.cells + other.cells, memory: self.memory + other.memory, files: self.files + other.files }
    }

    fn minus(self, other: Self) -> Self {
        Self { cells: self.cells - other.cells, memory: self.memory - other.memory, files: self.files - other.files }
    }

    fn fits(self, limits: Self) -> bool {
        self.cells <= limits.cells && self.memory <= limits.memory && self.files <= limits.files
    }
}

const CELL_BYTES: usize = 512 << 10;
const BOX_BYTES: usize = 68 << 10;
const CELL_FILES: u32 = 12;
const VIEW_BYTES: usize = 180 << 10;

/// The account of one store.
pub(super) struct Ledger {
    limits: Cost,
    used: Mutex<Cost>,
    freed: Condvar,
}

/// Leave to hold something open, given back when dropped.
pub(super) struct Permit {
    ledger: Arc<Ledger>,
    cost: Cost,
}

impl Ledger {
    pub(super) fn new(budgets: &Budgets) -> Arc<Self> {
        Arc::new(Self { limits: budgets.limits(), used: Mutex::default(), freed: Condvar::new() })
    }

    /// Leave to open something, if there is room. What alone is more than a budget is let in when nothing else is.
    pub(super) fn try_acquire(self: &Arc<Self>, cost: Cost) -> Option<Permit> {
        let mut used = self.lock();
        let after = used.plus(cost);
        if !after.fits(self.limits) && *used != Cost::default() {
            return None;
        }
        *used = after;
        Some(Permit { ledger: self.clone(), cost })
    }

    /// Waits until something has been given back, or for `span`.
    pub(super) fn wait(&self, span: Duration) {
        drop(self.freed.wait_timeout(self.lock(), span).unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether less than a tenth of a budget is left.
    pub(super) fn is_nearly_full(&self) -> bool {
        let used = self.used();
        let tenth = Cost {
            cells: self.limits.cells.div_ceil(10),
            memory: self.limits.memory.div_ceil(10),
            files: self.limits.files.div_ceil(10),
        };
        !used.plus(tenth).fits(self.limits)
    }

    pub(super) fn used(&self) -> Cost {
        *self.lock()
    }

    pub(super) fn limits(&self) -> Cost {
        self.limits
    }

    fn lock(&self) -> MutexGuard<'_, Cost> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Notes that what is held open has grown or shrunk meanwhile.
    pub(super) fn settle(&mut self, cost: Cost) {
        let mut used = self.ledger.lock();
        *used = used.minus(self.cost).plus(cost);
        self.cost = cost;
        drop(used);
        self.ledger.freed.notify_all();
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.settle(Cost::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leave_is_given_while_there_is_room_and_given_back() {
        let ledger = Ledger::new(&Budgets::default().open_cells(2));
        let cost = Cost::of_cell(1, 0, 100);
        let first = ledger.try_acquire(cost).unwrap();
        let mut second = ledger.try_acquire(cost).unwrap();
        assert!(ledger.try_acquire(cost).is_none());
        assert!(ledger.try_acquire(Cost::of_view(1)).is_some(), "a view takes no cell");
        assert!(ledger.is_nearly_full());
        drop(first);
        second.settle(Cost { files: 40, ..cost });
        assert_eq!(ledger.used().files, 40);
        assert!(ledger.try_acquire(cost).is_some());
        drop(second);
        assert_eq!(ledger.used(), Cost::default());
    }

    #[test]
    fn what_is_more_than_a_budget_is_let_in_alone() {
        let ledger = Ledger::new(&Budgets::default().open_files(64));
        let large = Cost::of_cell(1, 1000, 1000);
        let held = ledger.try_acquire(large).unwrap();
        assert!(ledger.try_acquire(Cost::of_view(1)).is_none());
        drop(held);
        assert!(ledger.try_acquire(Cost::of_view(1)).is_some());
    }
}
