//! The engine on RocksDB: one database per cell, one column family per box.
//!
//! The one owner of the crate `rocksdb`.
#![expect(clippy::disallowed_types, reason = "the one owner of RocksDB")]

mod database;
mod locks;
mod logcheck;
mod logfile;
mod options;
mod reader;
mod shared;
mod snapshots;
#[cfg(test)]
mod tests;
mod usage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rocksdb::{BottommostLevelCompaction, CompactOptions, Options, WriteBatch, WriteOptions};

use database::{Database, Db, descriptors, family_name};
use locks::KeyLocks;
pub(crate) use options::Sizes;
pub(crate) use reader::RocksReader;
pub(crate) use shared::Shared;
pub(crate) use snapshots::Patience;
use snapshots::Snapshots;
use usage::Usage;

#[cfg(feature = "tokio")]
use super::AtHand;
use super::{Batch, Durability, Engine, Expectation, Keyspace, Op, Reader, View};
use crate::error::{Error, ErrorKind, Result};

/// How much has been written: where it is the same, nothing was in between.
#[cfg(feature = "backup")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writes {
    sequence: u64,
    /// A wipe removes tables after its last write.
    wipes: u64,
}

pub(crate) struct RocksEngine {
    database: Arc<Database>,
    path: PathBuf,
    locks: KeyLocks,
    snapshots: Snapshots,
    usage: Usage,
    /// Whether something has been written since the last flush.
    is_dirty: AtomicBool,
    wipes: AtomicU64,
    /// Set by the first write that fails with an I/O error or corruption: RocksDB would resume by itself, and its
    /// families could have diverged. Everything is refused until the cell is opened again, which the cells above see to.
    failed: AtomicBool,
    /// The process that opened the database; RocksDB's threads do not survive a fork.
    process: u32,
}

impl RocksEngine {
    /// Makes a database with `boxes` families in `path`.
    pub(crate) fn make(path: &Path, boxes: u32, shared: &Shared) -> Result<Self> {
        let mut options = shared.options().clone();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        Self::begin(path, boxes, &options, shared)
    }

    /// Opens the database in `path`, after checking its logs.
    ///
    /// # Errors
    /// `Corrupt` if it is not there or has not these boxes (RocksDB would make a new and empty one), or if WAL,
    /// MANIFEST or CURRENT are damaged in a way that RocksDB would pass over in silence.
    pub(crate) fn open(path: &Path, boxes: u32, shared: &Shared) -> Result<Self> {
        if !path.join("CURRENT").is_file() {
            return Err(Error::corrupt("the database of a cell is missing"));
        }
        check_logs(path)?;
        Self::begin(path, boxes, shared.options(), shared)
    }

    fn begin(path: &Path, boxes: u32, options: &Options, shared: &Shared) -> Result<Self> {
        let families = descriptors(0..boxes, options);
        let db = Db::open_cf_descriptors(options, path, families).map_err(|error| match error.kind() {
            rocksdb::ErrorKind::InvalidArgument => {
                Error::corrupt("the database of a cell has not the boxes that its ring file has").with_source(error)
            }
            _ => foreign(error),
        })?;
        Ok(Self {
            database: Database::of(db, 0, boxes)?,
            path: path.to_path_buf(),
            locks: KeyLocks::new(),
            snapshots: Snapshots::default(),
            usage: Usage::new(shared),
            // What the logs brought back has been flushed while the database opened.
            is_dirty: AtomicBool::new(false),
            wipes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            process: std::process::id(),
        })
    }

    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// How much has been written since it was opened.
    #[cfg(feature = "backup")]
    pub(crate) fn writes(&self) -> Writes {
        let wipes = self.wipes.load(Ordering::SeqCst);
        Writes { sequence: self.db().latest_sequence_number(), wipes }
    }

    /// Writes every memtable to table files, so that the logs hold nothing that is needed. Others write meanwhile.
    pub(crate) fn flush(&self) -> Result<()> {
        self.check_latch()?;
        if !self.is_dirty.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let families = self.database.families();
        let outcome = families.iter().try_for_each(|family| self.observe(self.db().flush_cf(*family)));
        if outcome.is_err() {
            self.is_dirty.store(true, Ordering::SeqCst);
        }
        outcome
    }

    /// Bytes of the write-ahead logs, and how many table files there are.
    pub(crate) fn measure(&self) -> Result<Extent> {
        Extent::of(&self.path)
    }

    /// Takes over the scans of a reader of one of these boxes. Called before anybody can write.
    pub(crate) fn take_over(&self, reader: &RocksReader) {
        self.snapshots.take_over(&reader.snapshots, &self.database);
    }

    /// When it was last used, in ticks.
    pub(crate) fn last_used(&self) -> u64 {
        self.usage.last_used().max(self.snapshots.last_used())
    }

    /// Whether no scan is in it but those that try one's patience, and they have lost their snapshots.
    pub(crate) fn is_unused(&self, patience: Patience) -> bool {
        self.snapshots.revoke(patience)
    }

    /// Closes the database if no operation is in it, and no scan but those that try one's patience; gives the engine back
    /// otherwise. Whether something had been written since the last flush.
    pub(crate) fn close(engine: Arc<Self>, patience: Patience) -> Result<bool, Arc<Self>> {
        engine.snapshots.revoke(patience);
        if Arc::strong_count(&engine.database) > 1 {
            return Err(engine);
        }
        let engine = Arc::try_unwrap(engine)?;
        // A scan may have begun between the count and here.
        let Self { database, path, locks, snapshots, usage, is_dirty, wipes, failed, process } = engine;
        match Arc::try_unwrap(database) {
            Ok(database) => {
                drop(database);
                Ok(is_dirty.into_inner())
            }
            Err(database) => {
                Err(Arc::new(Self { database, path, locks, snapshots, usage, is_dirty, wipes, failed, process }))
            }
        }
    }

    fn db(&self) -> &Db {
        self.database.db()
    }

    /// Turns the foreign error of a write into ours, and closes the latch if it is more than a refusal. Reads do not
    /// come here: a damaged block is the trouble of the tenant whose it is, and must not shut out its neighbours.
    fn observe<T>(&self, outcome: Result<T, rocksdb::Error>) -> Result<T> {
        outcome.map_err(|error| {
            let error = foreign(error);
            if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Corrupt) {
                self.failed.store(true, Ordering::SeqCst);
                tracing::error!(kind = %error.kind(), "a cell has failed and is shut until it is opened again");
                metrics::counter!("strongroom_cell_failures_total").increment(1);
            }
            error
        })
    }

    fn check_latch(&self) -> Result<()> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the cell has failed and is shut until it can be opened again",
            ));
        }
        Ok(())
    }

    /// Asked before writes; reads, to which the call would cost a twentieth, change nothing.
    fn check_process(&self) -> Result<()> {
        if std::process::id() == self.process {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Closed, "a forked child cannot use the store; open it there"))
    }

    fn check_expectation(&self, expectation: &Expectation) -> Result<()> {
        let family = self.database.family(expectation.keyspace)?;
        let value = self.db().get_pinned_cf(family, &expectation.key).map_err(foreign)?;
        if expectation.holds_for(value.as_deref()) {
            return Ok(());
        }
        Err(Error::conflict("the record is not as expected"))
    }

    /// `Option<to>`: a range tombstone needs an end, and no key is longer than what the crate allows.
    fn translate(&self, ops: Vec<Op>) -> Result<WriteBatch> {
        let mut writes = WriteBatch::default();
        for op in ops {
            let family = self.database.family(op.keyspace())?;
            match op {
                Op::Put { key, value, .. } => writes.put_cf(family, key, value),
                Op::Delete { key, .. } => writes.delete_cf(family, key),
                Op::DeleteRange { from, to, .. } => {
                    writes.delete_range_cf(family, from, to.unwrap_or_else(|| END_OF_KEYS.to_vec()));
                }
            }
        }
        Ok(writes)
    }
}

/// Greater than every key of a box: a collection id never reaches FFFFFFFF.
const END_OF_KEYS: [u8; 5] = [0xFF; 5];

impl Reader for RocksEngine {
    fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.check_latch()?;
        self.database.get(keyspace, key, read)
    }

    #[cfg(feature = "tokio")]
    fn get_at_hand(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<AtHand> {
        self.check_latch()?;
        self.database.get_at_hand(keyspace, key, read)
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Vec<u8>], read: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.check_latch()?;
        self.database.multi_get(keyspace, keys, read)
    }

    fn estimate_rows(&self, keyspace: Keyspace) -> Result<u64> {
        self.check_latch()?;
        self.database.estimate_rows(keyspace)
    }

    fn view(&self) -> Result<Box<dyn View>> {
        self.check_latch()?;
        Ok(Box::new(self.snapshots.take(&self.database, self.usage.ticks())))
    }

    fn is_current(&self) -> bool {
        self.usage.enter() && !self.has_failed()
    }
}

impl Engine for RocksEngine {
    fn apply(&self, batch: Batch) -> Result<()> {
        self.check_latch()?;
        self.check_process()?;
        let Batch { ops, expectations, durability } = batch;
        let written = ops.iter().filter_map(|op| match op {
            Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key } => Some((*keyspace, key.as_slice())),
            Op::DeleteRange { .. } => None,
        });
        let compared = expectations.iter().map(|expectation| (expectation.keyspace, expectation.key.as_slice()));
        // Whose record lies in a range is not known: nobody's comparison may stand while it is removed.
        let locks = match ops.iter().any(|op| matches!(op, Op::DeleteRange { .. })) {
            true => self.locks.lock_all(),
            false => self.locks.lock(written.chain(compared)),
        };
        expectations.iter().try_for_each(|expectation| self.check_expectation(expectation))?;
        let writes = self.translate(ops)?;
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let outcome = self.observe(self.db().write_opt(writes, &options));
        // After the write: a flush that takes the mark away has then written this, or a later one will.
        self.is_dirty.store(true, Ordering::SeqCst);
        drop(locks);
        outcome
    }

    fn wipe(&self, keyspace: Keyspace) -> Result<bool> {
        self.check_latch()?;
        let family = self.database.family(keyspace)?;
        let mut batch = Batch::new(Durability::Synced);
        batch.delete_range(keyspace, Vec::new(), None);
        self.apply(batch)?;
        self.observe(self.db().flush_cf(family))?;
        self.observe(self.db().delete_file_in_range_cf(family, [].as_slice(), END_OF_KEYS.as_slice()))?;
        let mut compaction = CompactOptions::default();
        compaction.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db().compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &compaction);
        // The WAL holds the rows too, until every family that wrote to it has been flushed.
        self.is_dirty.store(true, Ordering::SeqCst);
        self.flush()?;
        self.wipes.fetch_add(1, Ordering::SeqCst);
        let name = family_name(keyspace);
        let files = self.observe(self.db().live_files())?;
        Ok(files.iter().all(|file| file.column_family_name != name))
    }

    fn sync(&self) -> Result<()> {
        self.check_latch()?;
        self.observe(self.db().flush_wal(true))
    }

    #[cfg(feature = "backup")]
    fn checkpoint(&self, to: &Path) -> Result<()> {
        self.check_latch()?;
        self.check_process()?;
        let checkpoint = rocksdb::checkpoint::Checkpoint::new(self.db()).map_err(foreign)?;
        // Flushes what is in memory first, so that the copy is made of tables. What fails here is the copy.
        checkpoint.create_checkpoint(to).map_err(foreign)
    }
}

/// What a database takes on the disk, as far as budgets ask for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    /// Bytes of write-ahead logs: none if everything that was written has been flushed.
    pub(crate) wal_bytes: u64,
    pub(crate) table_files: u32,
}

impl Extent {
    /// Looks at the files of the database in `path`, open or not.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("the folder of a database cannot be read", error);
        let mut extent = Self::default();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match Path::new(&entry.file_name()).extension().and_then(|extension| extension.to_str()) {
                // A log that goes while it is looked at holds nothing.
                Some("log") => extent.wal_bytes += entry.metadata().map_or(0, |metadata| metadata.len()),
                Some("sst") => extent.table_files += 1,
                _ => {}
            }
        }
        Ok(extent)
    }
}

/// Checks the logs of a database that nobody has open.
pub(crate) fn check_logs(path: &Path) -> Result<()> {
    let logs = logcheck::check_before_open(path)?;
    tracing::debug!(?logs, "checked the logs of a database");
    Ok(())
}

fn foreign(error: rocksdb::Error) -> Error {
    use rocksdb::ErrorKind as Foreign;
    let (kind, context) = match error.kind() {
        Foreign::Corruption => (ErrorKind::Corrupt, "RocksDB found damage"),
        Foreign::IOError => (ErrorKind::Unavailable, "RocksDB could not read or write"),
        Foreign::Busy | Foreign::TimedOut | Foreign::TryAgain | Foreign::Incomplete => {
            (ErrorKind::Throttled, "RocksDB is busy")
        }
        _ => (ErrorKind::Internal, "RocksDB refused a request"),
    };
    Error::new(kind, context).with_source(error)
}
