//! The engine on RocksDB: one database per cell, one column family per box.
//!
//! The one owner of the crate `rocksdb`.
#![expect(clippy::disallowed_types, reason = "the one owner of RocksDB")]

mod locks;
mod logcheck;
mod logfile;
mod options;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{
    BottommostLevelCompaction, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DBWithThreadMode, ReadOptions,
    SingleThreaded, SnapshotWithThreadMode, WriteBatch, WriteOptions,
};
use self_cell::self_cell;

use locks::KeyLocks;
pub(crate) use options::Shared;

use super::{Batch, Durability, Engine, Expectation, Keyspace, Op, Page, Reader, View};
use crate::error::{Error, ErrorKind, Result};

type Db = DBWithThreadMode<SingleThreaded>;
type Families<'a> = Vec<&'a ColumnFamily>;
type Snapshot<'a> = SnapshotWithThreadMode<'a, Db>;

self_cell!(
    /// A database and the handles of its families, looked up once: a look-up by name costs as much as a small read.
    struct Database {
        owner: Db,
        #[covariant]
        dependent: Families,
    }
);

self_cell!(
    struct OwnedSnapshot {
        owner: Arc<Database>,
        #[not_covariant]
        dependent: Snapshot,
    }
);

pub(crate) struct RocksEngine {
    database: Arc<Database>,
    locks: KeyLocks,
    /// Set by the first write that fails with an I/O error or corruption: RocksDB would resume by itself, and its
    /// families could have diverged. Everything is refused until the cell is opened again.
    failed: AtomicBool,
    /// The process that opened the database; RocksDB's threads do not survive a fork.
    process: u32,
}

struct RocksView(OwnedSnapshot);

impl RocksEngine {
    /// Makes a database with `boxes` families in `path`.
    pub(crate) fn make(path: &Path, boxes: u32, shared: &Shared) -> Result<Self> {
        let mut options = options::database(shared)?;
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        Self::begin(path, boxes, &options)
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
        let logs = logcheck::check_before_open(path)?;
        tracing::debug!(?logs, "checked the logs of a database");
        Self::begin(path, boxes, &options::database(shared)?)
    }

    fn begin(path: &Path, boxes: u32, options: &rocksdb::Options) -> Result<Self> {
        let descriptors = std::iter::once("default".to_owned())
            .chain((0..boxes).map(family_name))
            .map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
        let db = Db::open_cf_descriptors(options, path, descriptors).map_err(|error| match error.kind() {
            rocksdb::ErrorKind::InvalidArgument => {
                Error::corrupt("the database of a cell has not the boxes that its ring file has").with_source(error)
            }
            _ => foreign(error),
        })?;
        let database = Database::try_new(db, |db| {
            (0..boxes)
                .map(|number| db.cf_handle(&family_name(number)))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| Error::corrupt("a box of the cell is missing from its database"))
        })?;
        Ok(Self {
            database: Arc::new(database),
            locks: KeyLocks::new(),
            failed: AtomicBool::new(false),
            process: std::process::id(),
        })
    }

    fn db(&self) -> &Db {
        self.database.borrow_owner()
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
            return Err(Error::new(ErrorKind::Unavailable, "the cell has failed; open the store again"));
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
        let family = family(&self.database, expectation.keyspace)?;
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
            let family = family(&self.database, op.keyspace())?;
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
        let value = self.db().get_pinned_cf(family(&self.database, keyspace)?, key).map_err(foreign)?;
        Ok(value.map(|value| read(&value)).is_some())
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Vec<u8>], read: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.check_latch()?;
        let family = family(&self.database, keyspace)?;
        for (place, value) in self.db().batched_multi_get_cf(family, keys, false).into_iter().enumerate() {
            if let Some(value) = value.map_err(foreign)? {
                read(place, &value);
            }
        }
        Ok(())
    }

    fn view(&self) -> Result<Box<dyn View>> {
        self.check_latch()?;
        let snapshot = OwnedSnapshot::new(self.database.clone(), |database| database.borrow_owner().snapshot());
        Ok(Box::new(RocksView(snapshot)))
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
        let locks = self.locks.lock(written.chain(compared));
        expectations.iter().try_for_each(|expectation| self.check_expectation(expectation))?;
        let writes = self.translate(ops)?;
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let outcome = self.observe(self.db().write_opt(writes, &options));
        drop(locks);
        outcome
    }

    fn wipe(&self, keyspace: Keyspace) -> Result<bool> {
        self.check_latch()?;
        let family = family(&self.database, keyspace)?;
        let mut batch = Batch::new(Durability::Synced);
        batch.delete_range(keyspace, Vec::new(), None);
        self.apply(batch)?;
        self.observe(self.db().flush_cf(family))?;
        self.observe(self.db().delete_file_in_range_cf(family, [].as_slice(), END_OF_KEYS.as_slice()))?;
        let mut compaction = CompactOptions::default();
        compaction.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db().compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &compaction);
        // The WAL holds the rows too, until every family that wrote to it has been flushed.
        let families = self.database.borrow_dependent();
        families.iter().try_for_each(|family| self.observe(self.db().flush_cf(*family)))?;
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
        // Flushes what is in memory only, so that the copy is made of tables.
        self.observe(checkpoint.create_checkpoint(to))
    }
}

impl View for RocksView {
    fn page(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, limit_bytes: usize) -> Result<Page> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Page::default());
        }
        self.0.with_dependent(|database, snapshot| {
            let mut options = ReadOptions::default();
            options.set_total_order_seek(true);
            if let Some(to) = to {
                options.set_iterate_upper_bound(to);
            }
            let mut rows = snapshot.raw_iterator_cf_opt(family(database, keyspace)?, options);
            rows.seek(from);
            let mut page = Page::default();
            let mut held = 0;
            while let Some((key, value)) = rows.item() {
                if held >= limit_bytes {
                    page.more = true;
                    break;
                }
                held += key.len() + value.len();
                page.rows.push((key.to_vec(), value.to_vec()));
                rows.next();
            }
            rows.status().map_err(foreign)?;
            Ok(page)
        })
    }
}

fn family(database: &Database, keyspace: Keyspace) -> Result<&ColumnFamily> {
    let families = database.borrow_dependent();
    families.get(keyspace as usize).copied().ok_or_else(|| Error::internal("no such box in this cell"))
}

/// Opaque on purpose: MANIFEST, LOG and OPTIONS show it.
fn family_name(number: u32) -> String {
    format!("box-{number:04}")
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
