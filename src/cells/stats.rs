//! What the cells of a store take, beside what they may.

use serde::{Deserialize, Serialize};

/// How the cells of a store are, and what they take of their [`Budgets`](crate::Budgets).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CellStats {
    /// Cells of the store.
    pub known: usize,
    /// Cells open for writing, and how many may be.
    pub open: usize,
    /// See `open`.
    pub open_limit: usize,
    /// Read-only views of single boxes.
    pub views: usize,
    /// Cells that are shut because they failed.
    pub failed: usize,
    /// Bytes of memory that open cells and views are reckoned to take, and may.
    pub handle_bytes: usize,
    /// See `handle_bytes`.
    pub handle_bytes_limit: usize,
    /// Bytes that have been written and not yet flushed, and how many may be.
    pub memtable_bytes: usize,
    /// See `memtable_bytes`.
    pub memtable_bytes_limit: usize,
    /// Bytes in the block cache, and its size.
    pub cache_bytes: usize,
    /// See `cache_bytes`.
    pub cache_bytes_limit: usize,
    /// File descriptors that open cells and views are reckoned to hold, and may.
    pub open_files: u32,
    /// See `open_files`.
    pub open_files_limit: u32,
    /// Bytes of write-ahead logs of open cells, and how many there may be.
    pub wal_bytes: u64,
    /// See `wal_bytes`.
    pub wal_bytes_limit: u64,
    /// Cells and views that were opened since the store was.
    pub opened_total: u64,
    /// Cells and views that were closed since the store was opened.
    pub closed_total: u64,
}

impl CellStats {
    /// Sets the gauges of an operator's metrics.
    #[cfg(feature = "rocksdb")]
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(super) fn publish(&self) {
        metrics::gauge!("strongroom_cells").set(self.known as f64);
        metrics::gauge!("strongroom_cells_open").set(self.open as f64);
        metrics::gauge!("strongroom_cells_failed").set(self.failed as f64);
        metrics::gauge!("strongroom_views_open").set(self.views as f64);
        metrics::gauge!("strongroom_handle_bytes").set(self.handle_bytes as f64);
        metrics::gauge!("strongroom_memtable_bytes").set(self.memtable_bytes as f64);
        metrics::gauge!("strongroom_cache_bytes").set(self.cache_bytes as f64);
        metrics::gauge!("strongroom_open_files").set(f64::from(self.open_files));
        metrics::gauge!("strongroom_wal_bytes").set(self.wal_bytes as f64);
        metrics::counter!("strongroom_opened_total").absolute(self.opened_total);
        metrics::counter!("strongroom_closed_total").absolute(self.closed_total);
    }
}
