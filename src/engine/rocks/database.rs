//! An open database, the handles of its families, and reading from them: what the engine of a cell and the reader of
//! one box have in common.

use std::sync::Arc;

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, Options, ReadOptions, SingleThreaded,
    SnapshotWithThreadMode,
};
#[cfg(feature = "tokio")]
use rocksdb::{ErrorKind, ReadTier};
use self_cell::self_cell;

#[cfg(feature = "tokio")]
use super::super::AtHand;
use super::super::{Keyspace, Page};
use super::foreign;
use crate::error::{Error, Result};

pub(super) type Db = DBWithThreadMode<SingleThreaded>;
type Families<'a> = Vec<&'a ColumnFamily>;
type RocksSnapshot<'a> = SnapshotWithThreadMode<'a, Db>;

/// A database of which the boxes from `first` on are open.
pub(super) struct Opened {
    db: Db,
    first: Keyspace,
}

self_cell!(
    /// A database and the handles of its families, looked up once: a look-up by name costs as much as a small read.
    pub(super) struct Database {
        owner: Opened,
        #[covariant]
        dependent: Families,
    }
);

self_cell!(
    /// A snapshot that keeps its database open.
    pub(super) struct OwnedSnapshot {
        owner: Arc<Database>,
        #[not_covariant]
        dependent: RocksSnapshot,
    }
);

impl Database {
    /// Looks up the handles of the boxes `first..first + count`.
    pub(super) fn of(db: Db, first: Keyspace, count: u32) -> Result<Arc<Self>> {
        let database = Self::try_new(Opened { db, first }, |opened| {
            (first..first + count)
                .map(|number| opened.db.cf_handle(&family_name(number)))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| Error::corrupt("a box of the cell is missing from its database"))
        })?;
        Ok(Arc::new(database))
    }

    pub(super) fn db(&self) -> &Db {
        &self.borrow_owner().db
    }

    pub(super) fn families(&self) -> &[&ColumnFamily] {
        self.borrow_dependent()
    }

    /// The handle of a box, if it is one of those that are open.
    pub(super) fn family(&self, keyspace: Keyspace) -> Result<&ColumnFamily> {
        let place = keyspace.checked_sub(self.borrow_owner().first);
        let family = place.and_then(|place| self.families().get(place as usize));
        family.copied().ok_or_else(|| Error::internal("no such box in this cell"))
    }

    pub(super) fn estimate_rows(&self, keyspace: Keyspace) -> Result<u64> {
        let rows = self.db().property_int_value_cf(self.family(keyspace)?, "rocksdb.estimate-num-keys");
        Ok(rows.map_err(foreign)?.unwrap_or(0))
    }

    pub(super) fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db().get_pinned_cf(self.family(keyspace)?, key).map_err(foreign)?;
        Ok(value.map(|value| read(&value)).is_some())
    }

    /// From memtables and the block cache.
    #[cfg(feature = "tokio")]
    pub(super) fn get_at_hand(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<AtHand> {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::BlockCache);
        match self.db().get_pinned_cf_opt(self.family(keyspace)?, key, &options) {
            Ok(value) => Ok(value.map_or(AtHand::Absent, |value| {
                read(&value);
                AtHand::Found
            })),
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(AtHand::Unknown),
            Err(error) => Err(foreign(error)),
        }
    }

    pub(super) fn multi_get(
        &self,
        keyspace: Keyspace,
        keys: &[Vec<u8>],
        read: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let found = self.db().batched_multi_get_cf(self.family(keyspace)?, keys, false);
        for (place, value) in found.into_iter().enumerate() {
            if let Some(value) = value.map_err(foreign)? {
                read(place, &value);
            }
        }
        Ok(())
    }
}

impl OwnedSnapshot {
    pub(super) fn take(database: &Arc<Database>) -> Arc<Self> {
        Arc::new(Self::new(database.clone(), |database| database.db().snapshot()))
    }

    pub(super) fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.with_dependent(|database, snapshot| {
            let value = snapshot.get_pinned_cf(database.family(keyspace)?, key).map_err(foreign)?;
            Ok(value.map(|value| read(&value)).is_some())
        })
    }

    pub(super) fn page(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, limit_bytes: usize) -> Result<Page> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Page::default());
        }
        self.with_dependent(|database, snapshot| {
            let mut options = ReadOptions::default();
            options.set_total_order_seek(true);
            if let Some(to) = to {
                options.set_iterate_upper_bound(to);
            }
            let mut rows = snapshot.raw_iterator_cf_opt(database.family(keyspace)?, options);
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

/// The families of these boxes and the one that RocksDB insists on, all with the same options.
pub(super) fn descriptors(boxes: std::ops::Range<u32>, options: &Options) -> Vec<ColumnFamilyDescriptor> {
    std::iter::once("default".to_owned())
        .chain(boxes.map(family_name))
        .map(|name| ColumnFamilyDescriptor::new(name, options.clone()))
        .collect()
}

/// Opaque on purpose: MANIFEST, LOG and OPTIONS show it.
pub(super) fn family_name(number: u32) -> String {
    format!("box-{number:04}")
}
