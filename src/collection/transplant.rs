//! A tenant's rows for another tenant: opened under one ring, sealed under another, hidden keys hidden anew.

use std::collections::HashMap;

use super::catalog::{CATALOG, COUNTER, ENTRY, Entry, LAST_OWN_ID};
use super::chunks::CHUNKS;
use super::definition::KeyMode;
use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::keys::Ring;
use crate::metadata;
use crate::seal::{self, Envelope, HiddenNames, Place, Record, Terms};

/// Rows come in the order of their engine keys, so that the catalog says how a collection hides its keys before the
/// first record of it comes.
pub(crate) struct Transplant<'r> {
    from: &'r Ring,
    to: &'r Ring,
    modes: HashMap<u32, KeyMode>,
    has_catalog: bool,
}

impl<'r> Transplant<'r> {
    pub(crate) fn new(from: &'r Ring, to: &'r Ring) -> Self {
        Self { from, to, modes: HashMap::new(), has_catalog: false }
    }

    /// One row as the other tenant stores it.
    pub(crate) fn row(&mut self, key: &[u8], value: Vec<u8>, entropy: &dyn Entropy) -> Result<(Vec<u8>, Envelope)> {
        let collection = u32::from_be_bytes(*key.first_chunk().ok_or_else(Error::tampered)?);
        let record = seal::open_record(self.from, Place { collection, engine_key: key }, value)?;
        let key = match self.is_hidden(collection)? {
            true => {
                let components = HiddenNames::new(self.from, collection)?.decode(key)?;
                if let (CATALOG, Record::Whole(opened)) = (collection, &record) {
                    self.read_catalog(&components, opened.value())?;
                }
                HiddenNames::new(self.to, collection)?.encode(components.iter().map(Vec::as_slice))
            }
            false => key.to_vec(),
        };
        let (place, nonce) = (Place { collection, engine_key: &key }, entropy.bytes()?);
        let terms = Terms { version: None, expires_ms: record.expires_ms() };
        let envelope = match record {
            Record::Whole(opened) => seal::seal_with(self.to, place, &nonce, terms, opened.value())?,
            // Its chunks come along under their own keys, which name no tenant.
            Record::Head(head) => seal::seal_head(self.to, place, &nonce, terms, &head.object, head.length)?,
        };
        Ok((key, envelope))
    }

    /// Whether a catalog was among the rows.
    pub(crate) fn has_catalog(&self) -> bool {
        self.has_catalog
    }

    fn is_hidden(&self, collection: u32) -> Result<bool> {
        match collection {
            CHUNKS => Ok(false),
            ..=LAST_OWN_ID => Ok(true),
            _ => match self.modes.get(&collection) {
                Some(mode) => Ok(*mode == KeyMode::Hidden),
                None => Err(Error::corrupt("records of a collection that is not in the catalog")),
            },
        }
    }

    fn read_catalog(&mut self, components: &[Vec<u8>], value: &[u8]) -> Result<()> {
        match components {
            [kind, _] if kind == ENTRY => {
                let entry: Entry = metadata::decode(value)?;
                self.modes.insert(entry.id, entry.shape.mode);
            }
            [kind] if kind == COUNTER => self.has_catalog = true,
            _ => {}
        }
        Ok(())
    }
}
