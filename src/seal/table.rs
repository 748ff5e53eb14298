//! A small table of the store's own documents: hidden keys, sealed values. The directory and every catalog are such
//! tables.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::names::HiddenNames;
use super::record::{Place, open, seal};
use crate::engine::{Batch, Keyspace, Reader, View, end_of_prefix};
use crate::entropy::Entropy;
use crate::error::Result;
use crate::keys::Ring;
use crate::metadata;

/// Rows of documents of one kind in one collection of the crate's own (ids 0 to 255).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) keyspace: Keyspace,
    pub(crate) collection: u32,
}

/// Rows read at once while a table is listed.
const PAGE_BYTES: usize = 256 << 10;

impl Table {
    /// Adds a row to `batch`, sealed under a fresh nonce.
    pub(crate) fn put<T: Serialize>(
        self,
        batch: &mut Batch,
        ring: &Ring,
        entropy: &dyn Entropy,
        key: &[&[u8]],
        document: &T,
    ) -> Result<()> {
        let engine_key = self.engine_key(ring, key)?;
        let value = zeroize::Zeroizing::new(metadata::encode(document)?);
        let envelope = seal(ring, self.place(&engine_key), &entropy.bytes()?, &value)?;
        batch.put(self.keyspace, engine_key, envelope);
        Ok(())
    }

    /// Adds the removal of a row to `batch`.
    pub(crate) fn delete(self, batch: &mut Batch, ring: &Ring, key: &[&[u8]]) -> Result<()> {
        batch.delete(self.keyspace, self.engine_key(ring, key)?);
        Ok(())
    }

    pub(crate) fn get<T: DeserializeOwned>(self, reader: &dyn Reader, ring: &Ring, key: &[&[u8]]) -> Result<Option<T>> {
        let engine_key = self.engine_key(ring, key)?;
        let mut found = None;
        reader.get(self.keyspace, &engine_key, &mut |bytes| found = Some(self.open(ring, &engine_key, bytes)))?;
        found.transpose()
    }

    /// Every row whose key begins with `prefix`.
    pub(crate) fn list<T: DeserializeOwned>(self, view: &dyn View, ring: &Ring, prefix: &[&[u8]]) -> Result<Vec<T>> {
        let mut documents = Vec::new();
        self.for_each(view, ring, prefix, |document| {
            documents.push(document);
            Ok(())
        })?;
        Ok(documents)
    }

    /// Hands every row whose key begins with `prefix` to `visit`, each opened and its key authenticated: what decodes
    /// encodes back to itself.
    pub(crate) fn for_each<T: DeserializeOwned>(
        self,
        view: &dyn View,
        ring: &Ring,
        prefix: &[&[u8]],
        mut visit: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let names = HiddenNames::new(ring, self.collection)?;
        let prefix = self.engine_key(ring, prefix)?;
        let end = end_of_prefix(&prefix);
        let mut from = prefix;
        loop {
            let page = view.page(self.keyspace, &from, end.as_deref(), PAGE_BYTES)?;
            for (key, value) in &page.rows {
                names.decode(key)?;
                visit(self.open(ring, key, value)?)?;
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = [last.as_slice(), &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }

    fn open<T: DeserializeOwned>(self, ring: &Ring, engine_key: &[u8], bytes: &[u8]) -> Result<T> {
        metadata::decode(open(ring, self.place(engine_key), bytes)?.value())
    }

    fn engine_key(self, ring: &Ring, key: &[&[u8]]) -> Result<Vec<u8>> {
        Ok(HiddenNames::new(ring, self.collection)?.encode(key.iter().copied()))
    }

    fn place(self, engine_key: &[u8]) -> Place<'_> {
        Place { collection: self.collection, engine_key }
    }
}
