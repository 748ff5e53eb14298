//! Records.

use std::ops::{Bound, RangeBounds};

use tokio::task::coop::consume_budget;

use super::Scan;
use super::turns::{Pace, Turn};
use crate::collection::{self, Entry, Expected, Key, Prefix, PutOptions};
use crate::error::Result;
use crate::seal::Version;

/// A collection of the session's tenant: a [`Collection`](crate::Collection) for async callers. A cheap handle: `Clone`,
/// `Send`, `Sync`, `'static`; it ends with its session.
///
/// A future of a write that is dropped leaves the record as it was, or writes it whole: which of the two, nobody is told.
pub struct Collection<K, V> {
    collection: collection::Collection<K, V>,
    turn: Turn,
}

impl<K: Key + 'static, V: Send + 'static> Collection<K, V> {
    pub(super) fn new(collection: collection::Collection<K, V>, turn: Turn) -> Self {
        Self { collection, turn }
    }

    /// The value of `key`, if there is a record.
    ///
    /// # Errors
    /// As [`Collection::get`](crate::Collection::get).
    pub async fn get(&self, key: &K::Ref<'_>) -> Result<Option<V>> {
        pay().await;
        if let Some(found) = self.collection.get_at_hand(key) {
            return found;
        }
        let key = K::own(key);
        self.read(move |collection| collection.get(&K::lend(&key))).await
    }

    /// The value of `key` with its version, for a later [`put_if`](Self::put_if).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn entry(&self, key: &K::Ref<'_>) -> Result<Option<Entry<V>>> {
        pay().await;
        if let Some(found) = self.collection.entry_at_hand(key) {
            return found;
        }
        let key = K::own(key);
        self.read(move |collection| collection.entry(&K::lend(&key))).await
    }

    /// Whether there is a record of this key. The record is opened: a damaged one is an error, not a yes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn contains(&self, key: &K::Ref<'_>) -> Result<bool> {
        pay().await;
        if let Some(found) = self.collection.contains_at_hand(key) {
            return found;
        }
        let key = K::own(key);
        self.read(move |collection| collection.contains(&K::lend(&key))).await
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    /// As [`get`](Self::get), if any of them fails.
    pub async fn get_many(&self, keys: &[K::Ref<'_>]) -> Result<Vec<Option<V>>> {
        let keys: Vec<_> = keys.iter().map(K::own).collect();
        let read = move |collection: &collection::Collection<K, V>| {
            collection.get_many(&keys.iter().map(K::lend).collect::<Vec<_>>())
        };
        self.read(read).await
    }

    /// Sets the value of `key`. Returns the version of this write.
    ///
    /// # Errors
    /// As [`Collection::put`](crate::Collection::put).
    pub async fn put(&self, key: &K::Ref<'_>, value: V) -> Result<Version> {
        let key = K::own(key);
        self.write(move |collection| collection.put(&K::lend(&key), &value)).await
    }

    /// Sets the value of `key` as the options say: when the record expires, what must be there before. Returns the version
    /// of this write.
    ///
    /// # Errors
    /// As [`Collection::put_with`](crate::Collection::put_with).
    pub async fn put_with(&self, key: &K::Ref<'_>, value: V, options: PutOptions) -> Result<Version> {
        let key = K::own(key);
        self.write(move |collection| collection.put_with(&K::lend(&key), &value, options)).await
    }

    /// Sets the value of `key` if the record is as expected. Returns the version of this write.
    ///
    /// # Errors
    /// As [`Collection::put_if`](crate::Collection::put_if).
    pub async fn put_if(&self, key: &K::Ref<'_>, value: V, expected: impl Into<Expected>) -> Result<Version> {
        let (key, expected) = (K::own(key), expected.into());
        self.write(move |collection| collection.put_if(&K::lend(&key), &value, expected)).await
    }

    /// Removes the record of `key`, if there is one.
    ///
    /// # Errors
    /// As [`Collection::delete`](crate::Collection::delete).
    pub async fn delete(&self, key: &K::Ref<'_>) -> Result<()> {
        let key = K::own(key);
        self.write(move |collection| collection.delete(&K::lend(&key))).await
    }

    /// Removes the record of `key` if it is as expected.
    ///
    /// # Errors
    /// As [`Collection::delete_if`](crate::Collection::delete_if).
    pub async fn delete_if(&self, key: &K::Ref<'_>, expected: impl Into<Expected>) -> Result<()> {
        let (key, expected) = (K::own(key), expected.into());
        self.write(move |collection| collection.delete_if(&K::lend(&key), expected)).await
    }

    /// Every record, of a snapshot taken now.
    ///
    /// # Errors
    /// As [`Collection::iter`](crate::Collection::iter).
    pub async fn iter(&self) -> Result<Scan<K, V>> {
        self.scan(collection::Collection::iter).await
    }

    /// The records whose keys begin with `prefix`, of a snapshot taken now.
    ///
    /// # Errors
    /// As [`Collection::prefix`](crate::Collection::prefix).
    pub async fn prefix(&self, prefix: impl Prefix<K>) -> Result<Scan<K, V>> {
        let parts = self.collection.parts_of_prefix(&prefix)?;
        self.scan(move |collection| collection.prefix_of_parts(&parts)).await
    }

    /// The records whose keys lie in `range`, in order, of a snapshot taken now.
    ///
    /// # Errors
    /// As [`Collection::range`](crate::Collection::range).
    pub async fn range<'r>(&self, range: impl RangeBounds<K::Ref<'r>>) -> Result<Scan<K, V>> {
        let (from, to) = (range.start_bound().map(K::own), range.end_bound().map(K::own));
        self.scan(move |collection| collection.range((lend::<K>(&from), lend::<K>(&to)))).await
    }

    /// How many records there are. Scans and opens every one of them.
    ///
    /// # Errors
    /// As [`get`](Self::get), of any record.
    pub async fn count(&self) -> Result<u64> {
        let mut counted = self.read(|collection| collection.iter()?.count_page()).await?;
        let mut count = counted.0;
        while let Some(scan) = counted.1 {
            counted = self.read(move |_| scan.count_page()).await?;
            count += counted.0;
        }
        Ok(count)
    }

    async fn scan(
        &self,
        begin: impl FnOnce(&collection::Collection<K, V>) -> Result<collection::Scan<K, V>> + Send + 'static,
    ) -> Result<Scan<K, V>> {
        let first = self.read(move |collection| Ok(begin(collection)?.next_page())).await?;
        Ok(Scan::new(first, self.turn.clone()))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&collection::Collection<K, V>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(Pace::Reads, work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&collection::Collection<K, V>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(Pace::of_writes(self.collection.durability()), work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        pace: Pace,
        work: impl FnOnce(&collection::Collection<K, V>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let collection = self.collection.clone();
        self.turn.run(pace, move || work(&collection)).await
    }
}

/// What a read from memory takes of a task's budget of 128 steps, before the task lets others have their turn: some
/// microseconds are more than one step.
const PRICE: u32 = 64;

async fn pay() {
    for _ in 0..PRICE {
        consume_budget().await;
    }
}

fn lend<K: Key>(bound: &Bound<K::Owned>) -> Bound<K::Ref<'_>> {
    bound.as_ref().map(K::lend)
}

impl<K, V> Clone for Collection<K, V> {
    fn clone(&self) -> Self {
        let Self { collection, turn } = self;
        Self { collection: collection.clone(), turn: turn.clone() }
    }
}

impl<K, V> std::fmt::Debug for Collection<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.collection.fmt(f)
    }
}
