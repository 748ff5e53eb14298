//! What all cells of a store share: one cache, one account of memtables, one rate limiter, one clock of idleness.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::{Cache, Options, WriteBufferManager};

use super::options::{self, Sizes};
use crate::error::Result;

pub(crate) struct Shared {
    cache: Cache,
    memtables: WriteBufferManager,
    ticks: Ticks,
    options: Options,
    open_files: u32,
}

/// A coarse clock that somebody else advances, so that a read need not ask what time it is.
#[derive(Clone, Default)]
pub(crate) struct Ticks(Arc<AtomicU64>);

impl Ticks {
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Beyond `memtable_bytes` the cells above flush; RocksDB itself does so at twice as much.
    pub(crate) fn new(cache_bytes: usize, memtable_bytes: usize, sizes: Sizes) -> Result<Self> {
        let cache = Cache::new_lru_cache(cache_bytes);
        // Never a stall: with many families it can wedge every writer of every cell.
        let memtables = WriteBufferManager::new_write_buffer_manager(memtable_bytes * 2, false);
        let options = options::database(sizes, &cache, &memtables)?;
        Ok(Self { cache, memtables, ticks: Ticks::default(), options, open_files: sizes.open_files })
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let sizes = Sizes { wal_bytes: 64 << 20, open_files: 1024, background_rate: 256 << 20 };
        Self::new(1 << 20, 64 << 20, sizes).expect("options that RocksDB takes")
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    /// Table files that one cell keeps open at most.
    pub(crate) fn open_files(&self) -> u32 {
        self.open_files
    }

    /// Bytes that the memtables of all cells hold now.
    pub(crate) fn memtable_bytes(&self) -> usize {
        self.memtables.get_usage()
    }

    /// Bytes that the block cache holds now.
    pub(crate) fn cache_bytes(&self) -> usize {
        self.cache.get_usage()
    }
}
