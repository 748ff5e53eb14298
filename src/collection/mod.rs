//! Typed records: collections of one tenant, and everything that is done with them.

#[cfg(feature = "tokio")]
mod at_hand;
mod authority;
mod batch;
mod catalog;
mod catalogs;
mod chunks;
mod codec;
mod definition;
mod expiry;
mod key;
mod options;
mod scan;
mod transaction;
#[cfg(feature = "backup")]
mod transplant;
mod write;

use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::SystemTime;

pub(crate) use authority::Authority;
pub use batch::WriteBatch;
#[cfg(test)]
pub(crate) use catalog::Catalog;
pub use catalog::CollectionSummary;
pub(crate) use catalogs::Catalogs;
pub use codec::VALUE_MAX_LEN;
pub use definition::{CollectionDef, KeyMode};
pub(crate) use expiry::collect_page;
pub use key::{Component, KEY_MAX_COMPONENTS, KEY_MAX_LEN, Key, Prefix};
pub use options::PutOptions;
#[cfg(feature = "tokio")]
pub(crate) use scan::Rows;
pub use scan::Scan;
pub use transaction::Transaction;
pub(crate) use transaction::transact;
#[cfg(feature = "backup")]
pub(crate) use transplant::Transplant;
pub use write::Expected;

use crate::access::Right;
use crate::clock;
use crate::engine::Reader;
use crate::error::{Error, Result};
use crate::keys::Ring;
use crate::seal::{self, HiddenNames, Opened, Place, Record, Terms, Version};
use crate::secret::Plaintext;
use catalog::Info;
use write::{Change, Deed};

/// A collection of the session's tenant. A cheap handle: `Clone`, `Send`, `Sync`, `'static`; it ends with its session.
///
/// Every method that reads needs the right to read, every method that changes the right to write; without it, and
/// after the session's end, they return [`Denied`](crate::ErrorKind::Denied) and [`Closed`](crate::ErrorKind::Closed).
pub struct Collection<K, V> {
    authority: Authority,
    info: Arc<Info>,
    definition: CollectionDef<K, V>,
}

/// A record's value, its version, and when it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<V> {
    value: V,
    version: Version,
    expires_ms: Option<u64>,
}

impl<K: Key, V> Collection<K, V> {
    /// Opens a collection; makes it if the identity may write and it is not there.
    pub(crate) fn open(authority: &Authority, definition: &CollectionDef<K, V>) -> Result<Self> {
        let info = resolve(authority, definition)?;
        Ok(Self { authority: authority.clone(), info, definition: *definition })
    }

    /// The value of `key`, if there is a record.
    ///
    /// # Errors
    /// [`Tampered`](crate::ErrorKind::Tampered) if the stored bytes are not, to the bit, what was written for this
    /// tenant, collection and key.
    pub fn get(&self, key: &K::Ref<'_>) -> Result<Option<V>> {
        self.read(key, |opened| self.decode(opened))
    }

    /// The value of `key` with its version, for a later [`put_if`](Self::put_if).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn entry(&self, key: &K::Ref<'_>) -> Result<Option<Entry<V>>> {
        self.read(key, |opened| self.decode_entry(opened))
    }

    /// Whether there is a record of this key. The record is opened: a damaged one is an error, not a yes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: &K::Ref<'_>) -> Result<bool> {
        Ok(self.read(key, |_| Ok(()))?.is_some())
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    /// As [`get`](Self::get), if any of them fails.
    pub fn get_many(&self, keys: &[K::Ref<'_>]) -> Result<Vec<Option<V>>> {
        self.authority.check(Right::Read)?;
        self.info.check_not_dropped()?;
        let tenant = self.authority.tenant();
        let ring = tenant.ring()?;
        let engine_keys = keys.iter().map(|key| self.engine_key(&ring, key)).collect::<Result<Vec<_>>>()?;
        let mut values: Vec<Option<V>> = keys.iter().map(|_| None).collect();
        let (mut heads, mut outcome) = (Vec::new(), Ok(()));
        let reader = tenant.reader()?;
        reader.multi_get(tenant.keyspace(), &engine_keys, &mut |number, bytes| match seal::open_record(
            &ring,
            self.place(&engine_keys[number]),
            bytes.to_vec(),
        )
        .map(|record| self.authority.unexpired(record))
        {
            Ok(Some(Record::Whole(opened))) => match self.decode(opened) {
                Ok(value) => values[number] = Some(value),
                Err(error) => outcome = Err(error),
            },
            Ok(Some(Record::Head(_))) => heads.push(number),
            Ok(None) => {}
            Err(error) => outcome = Err(error),
        })?;
        self.judge(outcome.and_then(|()| {
            for number in heads {
                let opened = self.read_chunked(&ring, &*reader, &engine_keys[number])?;
                values[number] = opened.map(|opened| self.decode(opened)).transpose()?;
            }
            Ok(values)
        }))
    }

    /// Sets the value of `key`, in a record that does not expire. Returns the version of this write.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) past a limit; nothing was written.
    /// [`Unavailable`](crate::ErrorKind::Unavailable): the outcome is unknown.
    pub fn put(&self, key: &K::Ref<'_>, value: &V) -> Result<Version> {
        self.set(key, value, PutOptions::new())
    }

    /// Sets the value of `key` as the options say: when the record expires, and what must be there before. Returns the
    /// version of this write.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it would expire in the past. Else as [`put_if`](Self::put_if).
    pub fn put_with(&self, key: &K::Ref<'_>, value: &V, options: PutOptions) -> Result<Version> {
        self.set(key, value, options)
    }

    /// Sets the value of `key` if the record is as expected: compare-and-swap with a [`Version`], create-if-absent
    /// with [`Expected::Absent`]. Returns the version of this write.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if it is not; nothing was written. Else as [`put`](Self::put).
    pub fn put_if(&self, key: &K::Ref<'_>, value: &V, expected: impl Into<Expected>) -> Result<Version> {
        self.set(key, value, PutOptions::new().expecting(expected))
    }

    /// Removes the record of `key`, if there is one.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: &K::Ref<'_>) -> Result<()> {
        self.commit_one(key, None, PutOptions::new()).map(drop)
    }

    /// Removes the record of `key` if it is as expected.
    ///
    /// # Errors
    /// As [`put_if`](Self::put_if).
    pub fn delete_if(&self, key: &K::Ref<'_>, expected: impl Into<Expected>) -> Result<()> {
        self.commit_one(key, None, PutOptions::new().expecting(expected)).map(drop)
    }

    /// Every record, of a snapshot taken now.
    ///
    /// # Errors
    /// Those of the session; the rows carry their own.
    pub fn iter(&self) -> Result<Scan<K, V>> {
        Scan::of_prefix(self, &key::Components::default())
    }

    /// The records whose keys begin with `prefix`, of a snapshot taken now. In a [`Hidden`](KeyMode::Hidden)
    /// collection a prefix has whole components.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a part of a component in a `Hidden` collection: it would find
    /// nothing, and that would be no answer.
    pub fn prefix(&self, prefix: impl Prefix<K>) -> Result<Scan<K, V>> {
        Scan::of_prefix(self, &key::Components::of_prefix::<K>(&prefix, self.definition.separator)?)
    }

    /// The records whose keys lie in `range`, in order, of a snapshot taken now. Only in an
    /// [`Ordered`](KeyMode::Ordered) collection.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) in a `Hidden` collection.
    pub fn range<'r>(&self, range: impl RangeBounds<K::Ref<'r>>) -> Result<Scan<K, V>> {
        Scan::of_range(self, &range)
    }

    /// How many records there are. Scans and opens every one of them.
    ///
    /// # Errors
    /// As [`get`](Self::get), of any record.
    pub fn count(&self) -> Result<u64> {
        let mut scan = self.iter()?;
        let mut count = 0;
        while let Some(opened) = scan.next_opened() {
            opened?;
            count += 1;
        }
        Ok(count)
    }

    fn read<T>(&self, key: &K::Ref<'_>, take: impl Fn(Opened) -> Result<T>) -> Result<Option<T>> {
        self.authority.check(Right::Read)?;
        self.info.check_not_dropped()?;
        let tenant = self.authority.tenant();
        let ring = tenant.ring()?;
        let engine_key = self.engine_key(&ring, key)?;
        let (reader, mut found) = (tenant.reader()?, None);
        reader.get(tenant.keyspace(), &engine_key, &mut |bytes| {
            found = Some(seal::open_record(&ring, self.place(&engine_key), bytes.to_vec()));
        })?;
        metrics::counter!("strongroom_reads_total").increment(1);
        let found = found.transpose().map(|record| record.and_then(|record| self.authority.unexpired(record)));
        self.judge(found.and_then(|record| match record {
            Some(Record::Whole(opened)) => take(opened).map(Some),
            Some(Record::Head(_)) => self.read_chunked(&ring, &*reader, &engine_key)?.map(take).transpose(),
            None => Ok(None),
        }))
    }

    /// The record of a key that had a head a moment ago, read again from a snapshot: head and chunks of one write.
    fn read_chunked(&self, ring: &Ring, reader: &dyn Reader, engine_key: &[u8]) -> Result<Option<Opened>> {
        let (view, mut found) = (reader.view()?, None);
        view.get(self.authority.tenant().keyspace(), engine_key, &mut |bytes| {
            found = Some(seal::open_record(ring, self.place(engine_key), bytes.to_vec()));
        })?;
        let record = found.transpose()?.and_then(|record| self.authority.unexpired(record));
        let Some(record) = record else { return Ok(None) };
        chunks::read(&self.authority, ring, &*view, self.info.id, record).map(Some)
    }

    /// After a failure the session is asked again: a box that was handed on meanwhile is no sign of tampering.
    fn judge<T>(&self, found: Result<T>) -> Result<T> {
        found.or_else(|error| self.authority.check(Right::Read).and(Err(error)))
    }

    fn set(&self, key: &K::Ref<'_>, value: &V, options: PutOptions) -> Result<Version> {
        let versions = self.commit_one(key, Some(value), options)?;
        versions.first().copied().ok_or_else(|| Error::internal("a write has no version"))
    }

    fn commit_one(&self, key: &K::Ref<'_>, value: Option<&V>, options: PutOptions) -> Result<Vec<Version>> {
        self.authority.check(Right::Write)?;
        let draft = Draft::new(&self.definition, key, value, options)?;
        let change = draft.finish::<K>(&self.authority, &self.info)?;
        write::commit(&self.authority, &[change], self.definition.durability)
    }

    fn engine_key(&self, ring: &Ring, key: &K::Ref<'_>) -> Result<Vec<u8>> {
        engine_key::<K>(ring, &self.info, &key::Components::of::<K>(key, self.definition.separator)?)
    }

    fn place<'k>(&self, engine_key: &'k [u8]) -> Place<'k> {
        Place { collection: self.info.id, engine_key }
    }

    fn decode(&self, opened: Opened) -> Result<V> {
        (self.definition.codec.decode)(opened)
    }

    fn decode_entry(&self, opened: Opened) -> Result<Entry<V>> {
        Entry::decode(&self.definition, opened)
    }
}

impl<V> Entry<V> {
    fn decode<K: Key>(definition: &CollectionDef<K, V>, opened: Opened) -> Result<Self> {
        let (version, expires_ms) = (opened.version(), opened.expires_ms());
        Ok(Self { value: (definition.codec.decode)(opened)?, version, expires_ms })
    }

    /// The value.
    pub fn value(&self) -> &V {
        &self.value
    }

    /// Which write set it.
    pub fn version(&self) -> Version {
        self.version
    }

    /// When it expires, if it does: the time that it was [put with](Collection::put_with), in whole milliseconds.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_ms.and_then(clock::from_ms)
    }

    /// The value alone.
    pub fn into_value(self) -> V {
        self.value
    }
}

impl<K, V> Clone for Collection<K, V> {
    fn clone(&self) -> Self {
        let Self { authority, info, definition } = self;
        Self { authority: authority.clone(), info: info.clone(), definition: *definition }
    }
}

impl<K, V> std::fmt::Debug for Collection<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection").field("definition", &self.definition).finish_non_exhaustive()
    }
}

/// The catalog's entry for a definition; made if the identity may write and there is none.
fn resolve<K: Key, V>(authority: &Authority, definition: &CollectionDef<K, V>) -> Result<Arc<Info>> {
    let shape = definition.shape();
    if authority.check(Right::Write).is_ok() {
        return authority.catalog().find_or_create(definition.name, &shape, authority.entropy());
    }
    authority.check(Right::Read)?;
    authority.catalog().find(definition.name, &shape)?.ok_or_else(catalog::no_such_collection)
}

/// A change of one record, every limit checked, before it is known which collection it is of.
struct Draft {
    components: key::Components,
    value: Option<Plaintext>,
    options: PutOptions,
    /// Of a value, if somebody is told at once which write it will be.
    version: Option<Version>,
}

impl Draft {
    fn new<K: Key, V>(
        definition: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        value: Option<&V>,
        options: PutOptions,
    ) -> Result<Self> {
        let components = key::Components::of::<K>(key, definition.separator)?;
        let value = value.map(|value| (definition.codec.encode)(value)).transpose()?;
        Ok(Self { components, value, options, version: None })
    }

    fn finish<K: Key>(self, authority: &Authority, info: &Arc<Info>) -> Result<Change> {
        authority.check(Right::Write)?;
        let engine_key = engine_key::<K>(&*authority.tenant().ring()?, info, &self.components)?;
        let expires_ms = self.options.expires_ms(authority.clock())?;
        let terms = Terms { version: self.version, expires_ms };
        let deed = self.value.map_or(Deed::Delete, |value| Deed::Put(value, terms));
        Ok(Change { info: info.clone(), engine_key, deed, expected: self.options.expected })
    }
}

/// The engine key of a whole key, or the beginning of every engine key with this prefix.
fn engine_key<K: Key>(ring: &Ring, info: &Info, components: &key::Components) -> Result<Vec<u8>> {
    match info.shape.mode {
        KeyMode::Hidden => Ok(HiddenNames::new(ring, info.id)?.encode(components.iter())),
        KeyMode::Ordered => Ok([&info.id.to_be_bytes()[..], &K::ordered(components)].concat()),
    }
}
