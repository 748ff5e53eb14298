//! Record keys that hide: `engine key = collection id u32 || for each component: u16 length of c_i || c_i`,
//! `c_i = AES-SIV(name key, one AD = all engine-key bytes so far, component)`.
//!
//! Deterministic, so that a key finds its record; each component bound to those before it, so that equal components
//! under different parents look different.

use std::sync::Arc;

use crate::aead::SivKey;
use crate::error::{Error, Result};
use crate::keys::Ring;

/// The hidden names of one collection.
pub(crate) struct HiddenNames {
    key: Arc<SivKey>,
    collection: u32,
}

impl HiddenNames {
    pub(crate) fn new(ring: &Ring, collection: u32) -> Result<Self> {
        Ok(Self { key: ring.name_key(collection)?, collection })
    }

    /// The engine key of these components, or the prefix of every key that begins with them.
    pub(crate) fn encode<'c>(&self, components: impl Iterator<Item = &'c [u8]>) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(&self.collection.to_be_bytes());
        for component in components {
            let hidden = self.key.seal(&out, component);
            let length = u16::try_from(hidden.len()).expect("a key has at most 4,096 bytes");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&hidden);
        }
        out
    }

    /// The components of an engine key. Their encoding is the key again, because AES-SIV is deterministic and every
    /// length is explicit; anything else is `Tampered`. So nobody needs to encode them again to know.
    pub(crate) fn decode(&self, engine_key: &[u8]) -> Result<Vec<Vec<u8>>> {
        let collection = self.collection.to_be_bytes();
        let mut at = engine_key.starts_with(&collection).then_some(collection.len()).ok_or_else(Error::tampered)?;
        let mut components = Vec::new();
        while at < engine_key.len() {
            let (length, rest) = engine_key[at..].split_first_chunk::<2>().ok_or_else(Error::tampered)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let hidden = rest.get(..length).ok_or_else(Error::tampered)?;
            components.push(self.key.open(&engine_key[..at], hidden)?);
            at += 2 + length;
        }
        Ok(components)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Incarnation;
    use proptest::prelude::*;

    proptest! {
        /// What is edited does not decode, and what decodes encodes back to itself.
        #[test]
        fn only_encodings_decode(
            components in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..5),
            edit in any::<(proptest::sample::Index, u8, bool)>(),
        ) {
            let ring = Ring::for_tests(Incarnation::new([1; 16]), [2; 32], &[(1, [3; 32])]);
            let names = HiddenNames::new(&ring, 300).unwrap();
            let key = names.encode(components.iter().map(Vec::as_slice));
            prop_assert_eq!(names.decode(&key).unwrap(), components);
            let (place, change, cut) = edit;
            let mut edited = key.clone();
            let place = place.index(key.len());
            if cut { edited.truncate(place) } else { edited[place] ^= change }
            if let Ok(found) = names.decode(&edited) {
                prop_assert_eq!(names.encode(found.iter().map(Vec::as_slice)), edited);
            }
        }
    }
}
