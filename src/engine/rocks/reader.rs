//! One box of a cell that nobody writes to: opened alone and for reading, which costs a thousandth of opening the cell.

use std::path::Path;
use std::sync::Arc;

use super::database::{Database, Db, descriptors};
use super::foreign;
use super::shared::Shared;
use super::snapshots::{Patience, Snapshots};
use super::usage::Usage;
#[cfg(feature = "tokio")]
use crate::engine::AtHand;
use crate::engine::{Keyspace, Reader, View};
use crate::error::Result;

pub(crate) struct RocksReader {
    database: Arc<Database>,
    pub(super) snapshots: Snapshots,
    usage: Usage,
}

impl RocksReader {
    /// Opens one box of the database in `path`, which nobody has open for writing and whose logs hold nothing.
    pub(crate) fn open(path: &Path, number: Keyspace, shared: &Shared) -> Result<Self> {
        let options = shared.options();
        let db = Db::open_cf_descriptors_read_only(options, path, descriptors(number..number + 1, options), false)
            .map_err(foreign)?;
        let database = Database::of(db, number, 1)?;
        Ok(Self { database, snapshots: Snapshots::default(), usage: Usage::new(shared) })
    }

    /// How many table files the box has: as many descriptors it may come to hold.
    pub(crate) fn table_files(&self) -> Result<u32> {
        let files = self.database.db().live_files().map_err(foreign)?;
        Ok(u32::try_from(files.len()).unwrap_or(u32::MAX))
    }

    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// When it was last used, in ticks.
    pub(crate) fn last_used(&self) -> u64 {
        self.usage.last_used().max(self.snapshots.last_used())
    }

    pub(crate) fn has_scans(&self) -> bool {
        self.snapshots.are_there()
    }

    /// Closes the box if no operation is in it, and no scan but those that try one's patience; gives the reader back
    /// otherwise.
    pub(crate) fn close(reader: Arc<Self>, patience: Patience) -> Result<(), Arc<Self>> {
        reader.snapshots.revoke(patience);
        if Arc::strong_count(&reader.database) > 1 {
            return Err(reader);
        }
        Arc::try_unwrap(reader).map(drop)
    }
}

impl Reader for RocksReader {
    fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.database.get(keyspace, key, read)
    }

    #[cfg(feature = "tokio")]
    fn get_at_hand(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<AtHand> {
        self.database.get_at_hand(keyspace, key, read)
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Vec<u8>], read: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.database.multi_get(keyspace, keys, read)
    }

    fn estimate_rows(&self, keyspace: Keyspace) -> Result<u64> {
        self.database.estimate_rows(keyspace)
    }

    fn view(&self) -> Result<Box<dyn View>> {
        Ok(Box::new(self.snapshots.take(&self.database, self.usage.ticks())))
    }

    fn is_current(&self) -> bool {
        self.usage.enter()
    }
}
