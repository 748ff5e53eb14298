//! Values over 256 KiB: their bytes in chunks, each a record of the crate's own, and a head at the record's own place.
//!
//! So no write to the log, and no write of a neighbour that is grouped with it, is longer than a chunk. Chunks are
//! written first, then the head, in the batch of the commit: until that is there, a row says what is to be removed
//! if it never comes.

use serde::{Deserialize, Serialize};

use super::authority::Authority;
use super::codec::VALUE_MAX_LEN;
use crate::access::Right;
use crate::aead::NONCE_LEN;
use crate::directory::Tenant;
use crate::engine::{Batch, Durability, Keyspace, View, end_of_prefix};
use crate::error::{Error, Result};
use crate::keys::Ring;
use crate::seal::{self, Head, ObjectId, Opened, Place, Record, Table, Terms};

/// Bytes of a value in one chunk; longer values lie in several.
pub(super) const CHUNK_LEN: usize = 256 << 10;

/// The crate's own collections in a tenant's box: chunks, and objects whose head is still to come.
pub(super) const CHUNKS: u32 = 1;
const PENDING: u32 = 2;

/// Buffered chunks written between two syncs: a neighbour's sync waits for what all have written since the last one.
const CHUNKS_PER_SYNC: u32 = 4;

/// The chunks of one value, as one write wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    collection: u32,
    id: ObjectId,
    length: u64,
}

impl Object {
    /// # Errors
    /// `Tampered` for a length that no value in chunks has: asked before memory is taken for it.
    pub(super) fn of_head(collection: u32, head: &Head) -> Result<Self> {
        Self { collection, id: head.object, length: head.length }.checked()
    }

    fn checked(self) -> Result<Self> {
        let is_possible = self.length > CHUNK_LEN as u64 && self.length <= VALUE_MAX_LEN as u64;
        is_possible.then_some(self).ok_or_else(Error::tampered)
    }

    /// How long each chunk is, in order: all but the last are full.
    #[expect(clippy::cast_possible_truncation, reason = "a checked length is at most VALUE_MAX_LEN")]
    fn lengths(self) -> impl ExactSizeIterator<Item = usize> {
        let length = self.length as usize;
        (0..length.div_ceil(CHUNK_LEN)).map(move |index| CHUNK_LEN.min(length - index * CHUNK_LEN))
    }

    /// `CHUNKS u32 || collection id u32 || object id[16] || index u32`.
    fn keys(self) -> impl Iterator<Item = Vec<u8>> {
        let prefix = [&prefix_of_collection(self.collection)[..], &self.id].concat();
        (0u32..).take(self.lengths().len()).map(move |index| [&prefix[..], &index.to_be_bytes()].concat())
    }

    /// Adds the removal of every chunk to `batch`, and returns how many they are. One by one: a range would weigh on every
    /// later read of the box.
    pub(super) fn delete(self, batch: &mut Batch, keyspace: Keyspace) -> usize {
        self.keys().map(|key| batch.delete(keyspace, key)).count()
    }

    pub(super) fn seal_head(
        self,
        ring: &Ring,
        place: Place<'_>,
        nonce: &[u8; NONCE_LEN],
        terms: Terms,
    ) -> Result<seal::Envelope> {
        seal::seal_head(ring, place, nonce, terms, &self.id, self.length)
    }
}

/// The record, whole: what lies in chunks is read from the snapshot that its head was read from.
///
/// # Errors
/// `Corrupt` if a chunk is missing, `Tampered` if one is not what was written: nothing of the value is handed out.
pub(super) fn read(
    authority: &Authority,
    ring: &Ring,
    view: &dyn View,
    collection: u32,
    record: Record,
) -> Result<Opened> {
    let head = match record {
        Record::Whole(opened) => return Ok(opened),
        Record::Head(head) => head,
    };
    let object = Object::of_head(collection, &head)?;
    let mut whole = Opened::with_room(&head, object.lengths().sum());
    for (key, length) in object.keys().zip(object.lengths()) {
        authority.check(Right::Read)?;
        let mut chunk = None;
        view.get(authority.tenant().keyspace(), &key, &mut |bytes| chunk = Some(seal::open(ring, place(&key), bytes)))?;
        let chunk = chunk.ok_or_else(|| Error::corrupt("a chunk of the record is missing"))??;
        if chunk.value().len() != length {
            return Err(Error::tampered());
        }
        whole.append(&chunk);
    }
    Ok(whole)
}

/// Chunks that are in the engine before their heads are. Dropping them removes them.
#[must_use = "without their heads the chunks go again"]
pub(super) struct Headless<'a> {
    authority: &'a Authority,
    ring: &'a Ring,
    durability: Durability,
    objects: Vec<Object>,
}

impl<'a> Headless<'a> {
    pub(super) fn new(authority: &'a Authority, ring: &'a Ring, durability: Durability) -> Self {
        Self { authority, ring, durability, objects: Vec::new() }
    }

    /// Writes the chunks of a value, each by itself. What is left if this process ends before the head is there is
    /// named by a row that goes with the first chunk.
    ///
    /// Chunks are as durable as their head will be. Synced ones are synced each by itself, so that a log of synced
    /// writes never has more than one record that a power cut could tear, and no hole.
    pub(super) fn write(&mut self, collection: u32, value: &[u8]) -> Result<Object> {
        let (tenant, entropy) = (self.authority.tenant(), self.authority.entropy());
        let object = Object { collection, id: entropy.bytes()?, length: value.len() as u64 }.checked()?;
        let mut nonces = vec![[0; NONCE_LEN]; object.lengths().len()];
        entropy.fill(nonces.as_flattened_mut())?;
        let engine = tenant.writer()?;
        self.objects.push(object);
        for (index, ((part, key), nonce)) in (1..).zip(value.chunks(CHUNK_LEN).zip(object.keys()).zip(&nonces)) {
            self.authority.check(Right::Write)?;
            let mut batch = Batch::new(self.durability);
            if index == 1 {
                pending(tenant).put(&mut batch, self.ring, entropy, &[&object.id], &object)?;
            }
            let envelope = seal::seal(self.ring, place(&key), nonce, part)?;
            batch.put(tenant.keyspace(), key, envelope);
            engine.apply(batch)?;
            if self.durability == Durability::Buffered && index % CHUNKS_PER_SYNC == 0 {
                engine.sync()?;
            }
        }
        Ok(object)
    }

    /// Adds to the batch with the heads that the chunks have them.
    pub(super) fn settle(&self, batch: &mut Batch) -> Result<()> {
        let pending = pending(self.authority.tenant());
        self.objects.iter().try_for_each(|object| pending.delete(batch, self.ring, &[&object.id]))
    }

    /// Leaves the chunks where they are: the heads are there, or may be.
    pub(super) fn keep(mut self) {
        self.objects.clear();
    }

    fn discard(&self) -> Result<()> {
        let (engine, keyspace) = (self.authority.tenant().writer()?, self.authority.tenant().keyspace());
        self.objects.iter().try_for_each(|&object| {
            let mut batch = Batch::new(self.durability);
            object.delete(&mut batch, keyspace);
            pending(self.authority.tenant()).delete(&mut batch, self.ring, &[&object.id])?;
            engine.apply(batch)
        })
    }
}

impl Drop for Headless<'_> {
    fn drop(&mut self) {
        if self.objects.is_empty() {
            return;
        }
        if let Err(error) = self.discard() {
            tracing::warn!(%error, "chunks without a head stay until the store is opened again");
        }
    }
}

/// Removes the chunks whose heads never came. Only while no write is under way.
pub(super) fn sweep(tenant: &Tenant, ring: &Ring) -> Result<()> {
    let engine = tenant.writer()?;
    let left: Vec<Object> = pending(tenant).list(&*engine.view()?, ring, &[])?;
    for object in left {
        let mut batch = Batch::new(Durability::Synced);
        object.checked()?.delete(&mut batch, tenant.keyspace());
        pending(tenant).delete(&mut batch, ring, &[&object.id])?;
        engine.apply(batch)?;
        tracing::info!("removed the chunks of a write that was not finished");
    }
    Ok(())
}

/// Adds the removal of every chunk of a collection to `batch`.
pub(super) fn delete_all(batch: &mut Batch, keyspace: Keyspace, collection: u32) {
    let prefix = prefix_of_collection(collection);
    batch.delete_range(keyspace, prefix.to_vec(), end_of_prefix(&prefix));
}

fn prefix_of_collection(collection: u32) -> [u8; 8] {
    (u64::from(CHUNKS) << 32 | u64::from(collection)).to_be_bytes()
}

fn place(key: &[u8]) -> Place<'_> {
    Place { collection: CHUNKS, engine_key: key }
}

fn pending(tenant: &Tenant) -> Table {
    Table { keyspace: tenant.keyspace(), collection: PENDING }
}

#[cfg(test)]
mod tests;
