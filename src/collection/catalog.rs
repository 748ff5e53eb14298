//! The catalog of a tenant: its collections, sealed in its own box.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};

use super::chunks;
use super::definition::{KeyMode, Shape};
use crate::clock::Deadline;
use crate::directory::{Directory, Tenant};
use crate::engine::{Batch, Durability, end_of_prefix};
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::Ring;
use crate::name::check_name;
use crate::seal::Table;

/// The collection of the catalog itself. Ids up to 255 are the crate's own.
pub(super) const CATALOG: u32 = 0;
pub(super) const LAST_OWN_ID: u32 = 255;
/// Ids end here, so that no engine key begins with FFFFFFFF.
const LAST_ID: u32 = u32::MAX - 1;
pub(super) const ENTRY: &[u8] = b"collection";
pub(super) const COUNTER: &[u8] = b"last id";
const CHUNKED: &[u8] = b"chunked";
pub(super) const EXPIRING: &[u8] = b"expiring";

/// A tenant's collections, and the tenant.
pub(crate) struct Catalog {
    directory: Arc<Directory>,
    tenant: Arc<Tenant>,
    known: RwLock<HashMap<String, Arc<Info>>>,
    changes: Mutex<()>,
    /// Whether what earlier processes left unfinished has been removed.
    is_swept: AtomicBool,
}

/// A collection of this tenant.
#[derive(Debug)]
pub(super) struct Info {
    pub(super) id: u32,
    pub(super) shape: Shape,
    /// Read-held by every write, so that none follows the dropping of its collection.
    dropped: RwLock<bool>,
    /// Whether values of this collection may lie in chunks, so that whoever changes a record must look at it first.
    /// Set once, while no write is under way: during a write it does not change.
    is_chunked: AtomicBool,
    /// Whether records of this collection may expire, so that somebody must look for those that have.
    is_expiring: AtomicBool,
}

/// What the catalog has noted of a collection since it was made.
#[derive(Default)]
struct Marks {
    chunked: bool,
    expiring: bool,
}

/// The record of a collection in the catalog.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: u32,
    name: String,
    pub(super) shape: Shape,
}

/// A collection, as a tenant's list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CollectionSummary {
    /// Its name.
    pub name: String,
    /// How its record keys lie on the disk.
    pub mode: KeyMode,
}

impl Catalog {
    /// The catalog of a tenant.
    ///
    /// # Errors
    /// `Corrupt` if the box holds records and no catalog, or had a catalog and has none.
    pub(crate) fn open(directory: Arc<Directory>, tenant: Arc<Tenant>) -> Result<Self> {
        let catalog = Self {
            directory,
            known: RwLock::default(),
            changes: Mutex::default(),
            is_swept: AtomicBool::default(),
            tenant,
        };
        // Asked before it is looked for: somebody else may be making it.
        let had_one = catalog.tenant.is_stamped();
        match catalog.last_id(&*catalog.tenant.ring()?)? {
            Some(_) => catalog.directory.stamp(&catalog.tenant)?,
            None if had_one => {
                return Err(Error::corrupt("the tenant's box had a catalog, and has none"));
            }
            None => catalog.check_empty()?,
        }
        Ok(catalog)
    }

    fn check_empty(&self) -> Result<()> {
        let page = self.tenant.view()?.page(self.tenant.keyspace(), &[], None, 1)?;
        // Unless somebody has made it since it was looked for.
        if page.rows.is_empty() || self.last_id(&*self.tenant.ring()?)?.is_some() {
            return Ok(());
        }
        Err(Error::corrupt("the tenant's box holds records and no catalog of this tenant"))
    }

    /// When the root keys of the tenant are to be asked next, and those of the store, which making a collection needs.
    pub(super) fn lease(&self) -> Result<Deadline> {
        Ok(self.tenant.lease()?.min(self.directory.lease()?))
    }

    pub(crate) fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The collection of this name, if it is there, and if it has this shape.
    pub(super) fn find(&self, name: &str, shape: &Shape) -> Result<Option<Arc<Info>>> {
        let found = match self.recall(name) {
            Some(info) => Some(info),
            None => self.look_up(&self.begin_change(), name)?,
        };
        found.map(|info| info.of_shape(shape)).transpose()
    }

    /// The same, if it is known.
    #[cfg(feature = "tokio")]
    pub(super) fn find_at_hand(&self, name: &str, shape: &Shape) -> Option<Result<Arc<Info>>> {
        Some(self.recall(name)?.of_shape(shape))
    }

    /// The collection of this name, made if it is not there.
    pub(super) fn find_or_create(&self, name: &str, shape: &Shape, entropy: &dyn Entropy) -> Result<Arc<Info>> {
        if let Some(info) = self.recall(name) {
            return info.of_shape(shape);
        }
        let changes = self.begin_change();
        if let Some(info) = self.look_up(&changes, name)? {
            return info.of_shape(shape);
        }
        let entry = self.make(name, shape, entropy)?;
        // After the catalog, so that a stamp never promises what a crash has kept from being; and without the tenant's
        // gate, for which a suspension waits while it holds the directory.
        self.directory.stamp(&self.tenant)?;
        Ok(self.remember(entry, &Marks::default()))
    }

    fn make(&self, name: &str, shape: &Shape, entropy: &dyn Entropy) -> Result<Entry> {
        // Before the gate, for which a suspension waits: a cell that is shut may take its time.
        drop(self.tenant.writer()?);
        let writing = self.tenant.begin_write()?;
        let ring = writing.ring();
        let last = self.last_id(ring)?.unwrap_or(LAST_OWN_ID);
        if last >= LAST_ID {
            return Err(Error::invalid("the tenant has used up its collection ids"));
        }
        let entry = Entry { id: last + 1, name: name.to_owned(), shape: shape.clone() };
        let mut batch = Batch::new(Durability::Synced);
        self.table().put(&mut batch, ring, entropy, &[COUNTER], &entry.id)?;
        self.table().put(&mut batch, ring, entropy, &[ENTRY, name.as_bytes()], &entry)?;
        self.tenant.writer()?.apply(batch)?;
        Ok(entry)
    }

    /// Every collection, by name.
    pub(crate) fn list(&self) -> Result<Vec<CollectionSummary>> {
        let entries: Vec<Entry> = self.table().list(&*self.tenant.view()?, &*self.tenant.ring()?, &[ENTRY])?;
        let summary = |entry: Entry| CollectionSummary { name: entry.name, mode: entry.shape.mode };
        let mut summaries: Vec<_> = entries.into_iter().map(summary).collect();
        summaries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(summaries)
    }

    /// Removes a collection and all its records, atomically. Its id is never used again.
    pub(crate) fn drop_collection(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let changes = self.begin_change();
        let info = self.look_up(&changes, name)?.ok_or_else(no_such_collection)?;
        // The tenant before the collection, as writers do: else they, this and a suspension could wait in a circle.
        let writing = self.tenant.begin_write()?;
        let ring = writing.ring();
        let mut dropped = info.dropped.write().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::new(Durability::Synced);
        self.table().delete(&mut batch, ring, &[ENTRY, name.as_bytes()])?;
        let prefix = info.id.to_be_bytes();
        batch.delete_range(self.tenant.keyspace(), prefix.to_vec(), end_of_prefix(&prefix));
        if info.is_chunked() {
            chunks::delete_all(&mut batch, self.tenant.keyspace(), info.id);
            self.table().delete(&mut batch, ring, &[CHUNKED, &prefix])?;
        }
        // Whether it is there or not: it may have been written a moment ago.
        self.table().delete(&mut batch, ring, &[EXPIRING, &prefix])?;
        self.tenant.writer()?.apply(batch)?;
        *dropped = true;
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(())
    }

    /// Says, durably and before the first of them is written, that values of a collection lie in chunks.
    pub(super) fn mark_chunked(&self, info: &Info, entropy: &dyn Entropy) -> Result<()> {
        if info.is_chunked() {
            return Ok(());
        }
        let writing = self.tenant.begin_write()?;
        // Alone: whoever writes now without looking first must have finished before there is something to look at.
        let dropped = info.dropped.write().unwrap_or_else(PoisonError::into_inner);
        if *dropped {
            return Err(no_such_collection());
        }
        let mut batch = Batch::new(Durability::Synced);
        self.table().put(&mut batch, writing.ring(), entropy, &[CHUNKED, &info.id.to_be_bytes()], &info.id)?;
        self.tenant.writer()?.apply(batch)?;
        info.is_chunked.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Says, durably and before the first of them is written, that records of a collection may expire.
    pub(super) fn mark_expiring(&self, info: &Info, entropy: &dyn Entropy) -> Result<()> {
        if info.is_expiring.load(Ordering::SeqCst) {
            return Ok(());
        }
        let writing = self.tenant.begin_write()?;
        let stays = info.begin_write()?;
        let mut batch = Batch::new(Durability::Synced);
        self.table().put(&mut batch, writing.ring(), entropy, &[EXPIRING, &info.id.to_be_bytes()], &info.id)?;
        self.tenant.writer()?.apply(batch)?;
        // Without the tenant's gate, as the stamp. After a crash in between whoever looks the collection up says it.
        drop((stays, writing));
        self.directory.note_expiring(&self.tenant)?;
        info.is_expiring.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Removes, once and before this process writes anything, what an earlier one left unfinished.
    pub(super) fn sweep(&self) -> Result<()> {
        if self.is_swept.load(Ordering::Acquire) {
            return Ok(());
        }
        let _changes = self.begin_change();
        if !self.is_swept.load(Ordering::Acquire) {
            let writing = self.tenant.begin_write()?;
            chunks::sweep(&self.tenant, writing.ring())?;
            self.is_swept.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn table(&self) -> Table {
        Table { keyspace: self.tenant.keyspace(), collection: CATALOG }
    }

    fn last_id(&self, ring: &Ring) -> Result<Option<u32>> {
        self.table().get(&*self.tenant.reader()?, ring, &[COUNTER])
    }

    fn begin_change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recall(&self, name: &str) -> Option<Arc<Info>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// What is known or stored, while nobody changes the catalog: an entry read before a drop and remembered after it
    /// would bring the dropped collection back.
    fn look_up(&self, _changes: &MutexGuard<'_, ()>, name: &str) -> Result<Option<Arc<Info>>> {
        if let Some(info) = self.recall(name) {
            return Ok(Some(info));
        }
        // The ring first: of what is read with it, none is of a generation that it has lost.
        let (ring, reader) = (self.tenant.ring()?, self.tenant.reader()?);
        let Some(entry) = self.table().get::<Entry>(&*reader, &ring, &[ENTRY, name.as_bytes()])? else {
            return Ok(None);
        };
        let id = entry.id.to_be_bytes();
        let is_marked = |mark| self.table().get::<u32>(&*reader, &ring, &[mark, &id]).map(|row| row.is_some());
        let mut marks = Marks { chunked: is_marked(CHUNKED)?, expiring: is_marked(EXPIRING)? };
        // A tenant that came from a backup may not be known for it. Nobody is kept from reading for that, and whoever puts
        // the next such record says it again.
        if marks.expiring
            && let Err(error) = self.directory.note_expiring(&self.tenant)
        {
            tracing::warn!(%error, "that records of a tenant expire could not be noted");
            marks.expiring = false;
        }
        Ok(Some(self.remember(entry, &marks)))
    }

    fn remember(&self, Entry { id, name, shape }: Entry, marks: &Marks) -> Arc<Info> {
        let (is_chunked, is_expiring) = (AtomicBool::new(marks.chunked), AtomicBool::new(marks.expiring));
        let info = Info { id, shape, dropped: RwLock::new(false), is_chunked, is_expiring };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(name).or_insert_with(|| Arc::new(info)).clone()
    }
}

impl Info {
    /// This collection, if its definition says what the catalog pinned.
    fn of_shape(self: Arc<Self>, shape: &Shape) -> Result<Arc<Self>> {
        if self.shape == *shape {
            return Ok(self);
        }
        Err(Error::invalid(
            "the collection exists with another key shape, separator, mode or codec than in this definition",
        ))
    }

    /// Leave to write to this collection, while the guard lives.
    pub(super) fn begin_write(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let dropped = self.dropped.read().unwrap_or_else(PoisonError::into_inner);
        if *dropped { Err(no_such_collection()) } else { Ok(dropped) }
    }

    pub(super) fn is_chunked(&self) -> bool {
        self.is_chunked.load(Ordering::SeqCst)
    }

    /// Whether it is there, as far as that can be said without waiting for whoever drops it.
    #[cfg(feature = "tokio")]
    pub(super) fn is_there_at_hand(&self) -> bool {
        self.dropped.try_read().is_ok_and(|dropped| !*dropped)
    }

    pub(super) fn check_not_dropped(&self) -> Result<()> {
        self.begin_write().map(drop)
    }
}

pub(super) fn no_such_collection() -> Error {
    Error::new(ErrorKind::NotFound, "there is no collection of this name")
}

#[cfg(test)]
mod tests;
