//! Transactions over a tenant's collections: everything is read from one moment, and all changes happen together if what
//! was read still holds then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::authority::Authority;
use super::batch::{BYTES_MAX, CHANGES_MAX};
use super::catalog::Info;
use super::definition::CollectionDef;
use super::key::{Components, Key};
use super::options::PutOptions;
use super::write::{self, Change, Deed, Expected};
use super::{Draft, Entry, chunks, engine_key, resolve};
use crate::access::Right;
use crate::engine::{Durability, View};
use crate::error::{Error, ErrorKind, Result};
use crate::seal::{self, Opened, Place, Record, Terms, Version};

/// How often a transaction is tried whose reads somebody else has changed.
const ATTEMPTS: u32 = 32;
/// The longest pause before it is tried again, as a power of two of milliseconds.
const LONGEST_PAUSE: u32 = 6;

/// Reads and changes of records of any of the tenant's collections, that happen as if nobody else were there, or not at
/// all. [`commit`](Self::commit) applies it; dropping it changes no record. Nobody waits for it: it is optimistic.
///
/// Everything is read from one snapshot, taken at the first read, so that what a transaction sees is all of one moment,
/// with its own changes on top. The commit proves that all of it is still true, absence too, and applies every change in
/// the same moment; if anything that was read has changed since, it is a [`Conflict`](crate::ErrorKind::Conflict). So
/// transactions are serializable, against each other and against every other write. A commit without changes proves the
/// same of its reads.
///
/// A record that has expired is absent, by the clock when it is read and again, at one time for all, at the commit: one
/// that expires in between makes it a conflict.
///
/// There are no scans in it: the commit could not prove that no record had been added. Who needs one scans before, and
/// reads in the transaction what the scan has found; or keeps a record that counts, and reads that.
///
/// ```
/// # use strongroom::{CollectionDef, PutOptions, Result, Session};
/// const MAIL: CollectionDef<(&str, u64), String> = CollectionDef::cbor("mail");
///
/// /// Moves a message, once, whoever else moves it now. False if it is not there.
/// fn archive(session: &Session, number: u64) -> Result<bool> {
///     session.transact(|transaction| {
///         let Some(message) = transaction.entry(&MAIL, &("inbox", number))? else { return Ok(false) };
///         // What expires goes on to.
///         let options = PutOptions::new().expires_as(message.expires_at());
///         transaction.put_with(&MAIL, &("archive", number), message.value(), options)?;
///         transaction.delete(&MAIL, &("inbox", number))?;
///         Ok(true)
///     })
/// }
/// ```
#[must_use = "a transaction changes no record until it is committed"]
pub struct Transaction {
    authority: Authority,
    /// What everything is read from, from the first read on.
    view: Option<Box<dyn View>>,
    /// What was read or changed, by engine key.
    touched: BTreeMap<Vec<u8>, Touched>,
    /// Of keys and values in it.
    bytes: usize,
    durability: Durability,
}

/// A record that the transaction has something to do with.
struct Touched {
    info: Arc<Info>,
    /// What was there in the snapshot, if that was asked.
    seen: Option<Expected>,
    deed: Deed,
}

impl Transaction {
    pub(crate) fn new(authority: Authority) -> Self {
        Self { authority, view: None, touched: BTreeMap::new(), bytes: 0, durability: Durability::Synced }
    }

    /// The value of `key`, if there is a record: as this transaction has set it, or as it was in the moment that the
    /// transaction reads. The commit will depend on what was found. The collection is made, at once, if it is not there
    /// and the identity may write.
    ///
    /// # Errors
    /// Those of [`Session::collection`](crate::Session::collection) and [`Collection::get`](crate::Collection::get).
    /// [`Closed`](crate::ErrorKind::Closed) if the transaction has been standing still for so long that its snapshot is
    /// gone ([`Budgets::idle`](crate::Budgets::idle)); [`Invalid`](crate::ErrorKind::Invalid) past 65,536 records or 64
    /// MiB of stored keys and values.
    pub fn get<K: Key, V>(&mut self, collection: &CollectionDef<K, V>, key: &K::Ref<'_>) -> Result<Option<V>> {
        self.get_by(collection, &Components::of::<K>(key, collection.separator)?)
    }

    /// Whether there is a record of `key`, as [`get`](Self::get) would find it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains<K: Key, V>(&mut self, collection: &CollectionDef<K, V>, key: &K::Ref<'_>) -> Result<bool> {
        let (info, engine_key) = self.find(collection, &Components::of::<K>(key, collection.separator)?)?;
        Ok(self.read(&info, engine_key)?.is_some())
    }

    /// The value of `key`, as [`get`](Self::get) would find it, with its version and when it expires: what is to be put
    /// elsewhere until then is put with [`PutOptions::expires_as`], since a plain `put` makes a record that stays.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn entry<K: Key, V>(&mut self, collection: &CollectionDef<K, V>, key: &K::Ref<'_>) -> Result<Option<Entry<V>>> {
        let (info, engine_key) = self.find(collection, &Components::of::<K>(key, collection.separator)?)?;
        self.read(&info, engine_key)?.map(|opened| Entry::decode(collection, opened)).transpose()
    }

    /// Makes sure that the record of `key` was as expected before the transaction, whatever this has changed since, and still
    /// is at the commit.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict), at once, if it is not. Else as [`get`](Self::get).
    pub fn expect<K: Key, V>(
        &mut self,
        collection: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        expected: impl Into<Expected>,
    ) -> Result<()> {
        let (info, engine_key) = self.find(collection, &Components::of::<K>(key, collection.separator)?)?;
        self.check_expected(&info, &engine_key, expected.into())
    }

    /// Sets the value of `key`, in a record that does not expire. The collection is made, at once, if it is not there;
    /// records wait for the commit. Returns the version that the record has after it, unless the transaction itself changes
    /// it again.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) past a limit: of a key, of a value, of 65,536 records or 64 MiB of stored
    /// keys and values.
    pub fn put<K: Key, V>(&mut self, collection: &CollectionDef<K, V>, key: &K::Ref<'_>, value: &V) -> Result<Version> {
        self.put_with(collection, key, value, PutOptions::new())
    }

    /// Sets the value of `key` as the options say. What they expect is asked at once, of what was there before the
    /// transaction, and again at the commit. Returns the version as [`put`](Self::put).
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict), at once, if the record is not as expected;
    /// [`Invalid`](crate::ErrorKind::Invalid) if it would expire in the past. Else as [`put`](Self::put).
    pub fn put_with<K: Key, V>(
        &mut self,
        collection: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        value: &V,
        options: PutOptions,
    ) -> Result<Version> {
        let draft = Draft::new(collection, key, Some(value), options)?;
        // Told at once. The nonce under which the value is sealed is drawn when it is.
        let version = Version::of_write(&self.authority.entropy().bytes()?);
        self.change(collection, Draft { version: Some(version), ..draft })?;
        Ok(version)
    }

    /// Removes the record of `key`, if there is one.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete<K: Key, V>(&mut self, collection: &CollectionDef<K, V>, key: &K::Ref<'_>) -> Result<()> {
        self.change(collection, Draft::new(collection, key, None, PutOptions::new())?)
    }

    /// How durable the changes are when [`commit`](Self::commit) returns; [`Durability::Synced`] unless said here,
    /// whatever the definitions of the collections say.
    pub fn durability(&mut self, durability: Durability) -> &mut Self {
        self.durability = durability;
        self
    }

    /// Proves that everything that was read is as it was, and applies every change in that moment.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if anything that was read has changed; nothing was changed then.
    /// [`NotFound`](crate::ErrorKind::NotFound) if a collection has been dropped since, and so was nothing.
    /// [`Unavailable`](crate::ErrorKind::Unavailable): the outcome is unknown, but never half of it.
    pub fn commit(mut self) -> Result<()> {
        // It has served, and would keep the engine from letting go of older rows.
        self.view = None;
        if self.touched.values().all(|touched| matches!(touched.deed, Deed::Keep)) {
            return self.confirm();
        }
        let change = |(engine_key, Touched { info, seen, deed })| Change { info, engine_key, deed, expected: seen };
        let changes: Vec<_> = self.touched.into_iter().map(change).collect();
        write::commit(&self.authority, &changes, self.durability).map(drop)
    }

    /// The commit of who has changed nothing: that everything is still as it was read, in one moment.
    fn confirm(&self) -> Result<()> {
        self.authority.check(Right::Read)?;
        let (view, now_ms) = (self.authority.tenant().view()?, self.authority.clock().wall_ms());
        for (engine_key, touched) in &self.touched {
            let found = look(&self.authority, &*view, &touched.info, engine_key, now_ms)?;
            let version = found.map(|record| record.version());
            if touched.seen.is_some_and(|seen| !seen.is(version)) {
                return Err(Error::conflict("a record that the transaction has read is not as it was"));
            }
        }
        Ok(())
    }

    /// [`get`](Self::get), of a key that somebody else has taken apart.
    pub(super) fn get_by<K: Key, V>(
        &mut self,
        collection: &CollectionDef<K, V>,
        components: &Components,
    ) -> Result<Option<V>> {
        let (info, engine_key) = self.find(collection, components)?;
        self.read(&info, engine_key)?.map(|opened| (collection.codec.decode)(opened)).transpose()
    }

    fn find<K: Key, V>(
        &self,
        collection: &CollectionDef<K, V>,
        components: &Components,
    ) -> Result<(Arc<Info>, Vec<u8>)> {
        self.authority.check(Right::Read)?;
        let info = resolve(&self.authority, collection)?;
        let engine_key = engine_key::<K>(&*self.authority.tenant().ring()?, &info, components)?;
        Ok((info, engine_key))
    }

    /// The record as the transaction has set it, or else as it was.
    fn read(&mut self, info: &Arc<Info>, engine_key: Vec<u8>) -> Result<Option<Opened>> {
        match self.touched.get(&engine_key).map(|touched| &touched.deed) {
            Some(Deed::Put(value, Terms { version, expires_ms })) => {
                let version = version.ok_or_else(|| Error::internal("a value of a transaction has no version"))?;
                let is_there = expires_ms.is_none_or(|expires_ms| expires_ms > self.authority.clock().wall_ms());
                return Ok(is_there.then(|| Opened::unwritten(value, version, *expires_ms)));
            }
            Some(Deed::Delete) => return Ok(None),
            Some(Deed::Keep) | None => {}
        }
        let read = self.look(info, &engine_key).and_then(|record| {
            let Some((record, view)) = record.zip(self.view.as_deref()) else { return Ok(None) };
            let ring = self.authority.tenant().ring()?;
            chunks::read(&self.authority, &ring, view, info.id, record).map(Some)
        });
        // After a failure the session is asked again, as by every read.
        read.or_else(|error| self.authority.check(Right::Read).and(Err(error)))
    }

    /// The record as it was, noted for the commit.
    fn look(&mut self, info: &Arc<Info>, engine_key: &[u8]) -> Result<Option<Record>> {
        let view = match self.view.take() {
            Some(view) => view,
            None => self.authority.tenant().view()?,
        };
        let found = look(&self.authority, &*view, info, engine_key, self.authority.clock().wall_ms());
        self.view = Some(view);
        let found = found?;
        let seen = found.as_ref().map_or(Expected::Absent, |record| Expected::Version(record.version()));
        // If it has expired since it was first read, that is what the commit will hear of.
        self.touch(info, engine_key, Some(seen), None)?;
        Ok(found)
    }

    fn check_expected(&mut self, info: &Arc<Info>, engine_key: &[u8], expected: Expected) -> Result<()> {
        let version = self.look(info, engine_key)?.map(|record| record.version());
        if expected.is(version) { Ok(()) } else { Err(Error::conflict("the record is not as expected")) }
    }

    /// Adds a change that has been drafted.
    fn change<K: Key, V>(&mut self, definition: &CollectionDef<K, V>, draft: Draft) -> Result<()> {
        let info = resolve(&self.authority, definition)?;
        let Change { engine_key, deed, expected, .. } = draft.finish::<K>(&self.authority, &info)?;
        if let Some(expected) = expected {
            self.check_expected(&info, &engine_key, expected)?;
        }
        self.touch(&info, &engine_key, None, Some(deed))
    }

    /// Notes what was seen of a record first, and what is to become of it last, within the limits.
    fn touch(&mut self, info: &Arc<Info>, engine_key: &[u8], seen: Option<Expected>, deed: Option<Deed>) -> Result<()> {
        let known = self.touched.get(engine_key);
        let records = self.touched.len() + usize::from(known.is_none());
        let before = known.map_or(0, |known| engine_key.len() + known.deed.len());
        let after = engine_key.len() + deed.as_ref().or(known.map(|known| &known.deed)).map_or(0, Deed::len);
        let bytes = self.bytes - before + after;
        if records > CHANGES_MAX || bytes > BYTES_MAX {
            return Err(Error::invalid("a transaction has at most 65,536 records and 64 MiB of keys and values"));
        }
        self.bytes = bytes;
        let new = || Touched { info: info.clone(), seen: None, deed: Deed::Keep };
        let touched = self.touched.entry(engine_key.to_vec()).or_insert_with(new);
        touched.seen = touched.seen.or(seen);
        if let Some(deed) = deed {
            touched.deed = deed;
        }
        Ok(())
    }
}

/// The record of a key in a snapshot, unless it has expired at `now_ms`.
fn look(authority: &Authority, view: &dyn View, info: &Info, engine_key: &[u8], now_ms: u64) -> Result<Option<Record>> {
    info.check_not_dropped()?;
    let (tenant, mut found) = (authority.tenant(), None);
    let ring = tenant.ring()?;
    view.get(tenant.keyspace(), engine_key, &mut |bytes| {
        found = Some(seal::open_record(&ring, Place { collection: info.id, engine_key }, bytes.to_vec()));
    })?;
    metrics::counter!("strongroom_reads_total").increment(1);
    Ok(found.transpose()?.filter(|record| !record.has_expired(now_ms)))
}

/// Does `work` in a transaction, and again, a bounded number of times, while somebody else changes what it has read.
pub(crate) fn transact<T, E: From<Error>>(
    authority: &Authority,
    mut work: impl FnMut(&mut Transaction) -> Result<T, E>,
) -> Result<T, E> {
    for attempt in 0..ATTEMPTS {
        let mut transaction = Transaction::new(authority.clone());
        let outcome = work(&mut transaction)?;
        match transaction.commit() {
            Err(error) if error.kind() == ErrorKind::Conflict => pause(authority, attempt)?,
            committed => return committed.map(|()| outcome).map_err(E::from),
        }
    }
    Err(Error::new(ErrorKind::Throttled, "what the transaction reads is being changed too often").into())
}

/// Lets others come to their end: for longer the more often there was a conflict, and by chance, so that two who are in
/// each other's way do not meet again.
fn pause(authority: &Authority, attempt: u32) -> Result<()> {
    metrics::counter!("strongroom_transaction_conflicts_total").increment(1);
    let longest_us = 1000u64 << attempt.min(LONGEST_PAUSE);
    let chance = u64::from_be_bytes(authority.entropy().bytes()?);
    std::thread::sleep(Duration::from_micros(chance % longest_us));
    Ok(())
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("records", &self.touched.len()).finish_non_exhaustive()
    }
}
