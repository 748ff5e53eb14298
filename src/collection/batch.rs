//! Changes to several records, of several collections of one tenant, that happen together or not at all.

use super::Draft;
use super::authority::Authority;
use super::definition::CollectionDef;
use super::key::Key;
use super::options::PutOptions;
use super::write::{self, Change, Expected};
use crate::access::Right;
use crate::engine::Durability;
use crate::error::{Error, Result};
use crate::seal::Version;

/// The most changes of a batch, and the most bytes of their keys and values.
pub(super) const CHANGES_MAX: usize = 65_536;
pub(super) const BYTES_MAX: usize = 64 << 20;

/// A batch under construction. [`commit`](Self::commit) applies it; dropping it changes no record.
#[must_use = "a batch changes no record until it is committed"]
pub struct WriteBatch {
    authority: Authority,
    changes: Vec<Change>,
    bytes: usize,
    durability: Durability,
}

impl WriteBatch {
    pub(crate) fn new(authority: Authority) -> Self {
        Self { authority, changes: Vec::new(), bytes: 0, durability: Durability::Synced }
    }

    /// Sets the value of `key`. The collection is made, at once, if it is not there; records wait for the commit.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) past a limit: of a key, of a value, of 65,536 changes or 64 MiB of
    /// stored keys and values. The batch is gone; nothing was written.
    pub fn put<K: Key, V>(self, collection: &CollectionDef<K, V>, key: &K::Ref<'_>, value: &V) -> Result<Self> {
        self.change(collection, key, Some(value), PutOptions::new())
    }

    /// Sets the value of `key` as the options say; an expectation of theirs is one of the whole batch, of what was there
    /// before it. When the record expires is settled here: one whose time comes before the commit is gone at once.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`Invalid`](crate::ErrorKind::Invalid) if it would expire in the past.
    pub fn put_with<K: Key, V>(
        self,
        collection: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        value: &V,
        options: PutOptions,
    ) -> Result<Self> {
        self.change(collection, key, Some(value), options)
    }

    /// Sets the value of `key`, and makes the whole batch depend on what was there before it.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_if<K: Key, V>(
        self,
        collection: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        value: &V,
        expected: impl Into<Expected>,
    ) -> Result<Self> {
        self.change(collection, key, Some(value), PutOptions::new().expecting(expected))
    }

    /// Removes the record of `key`, if there is one.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete<K: Key, V>(self, collection: &CollectionDef<K, V>, key: &K::Ref<'_>) -> Result<Self> {
        self.change(collection, key, None, PutOptions::new())
    }

    /// Removes the record of `key`, and makes the whole batch depend on what was there before it.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete_if<K: Key, V>(
        self,
        collection: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        expected: impl Into<Expected>,
    ) -> Result<Self> {
        self.change(collection, key, None, PutOptions::new().expecting(expected))
    }

    /// How durable the batch is when [`commit`](Self::commit) returns; [`Durability::Synced`] unless said here,
    /// whatever the definitions of its collections say.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Applies every change, atomically, in the order in which they were added. Returns the version of every value that was
    /// put, in that order.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if an expectation does not hold; nothing was changed.
    /// [`Unavailable`](crate::ErrorKind::Unavailable): the outcome is unknown, but never half of it.
    pub fn commit(self) -> Result<Vec<Version>> {
        write::commit(&self.authority, &self.changes, self.durability)
    }

    fn change<K: Key, V>(
        mut self,
        definition: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        value: Option<&V>,
        options: PutOptions,
    ) -> Result<Self> {
        // Before the collection is looked for, which who may only read would be told is not there.
        self.authority.check(Right::Write)?;
        let draft = Draft::new(definition, key, value, options)?;
        let info = super::resolve(&self.authority, definition)?;
        let change = draft.finish::<K>(&self.authority, &info)?;
        self.bytes += change.engine_key.len() + change.deed.len();
        if self.changes.len() == CHANGES_MAX || self.bytes > BYTES_MAX {
            return Err(Error::invalid("a batch has at most 65,536 changes and 64 MiB of keys and values"));
        }
        self.changes.push(change);
        Ok(self)
    }
}

impl std::fmt::Debug for WriteBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBatch").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}
