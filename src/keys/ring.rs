//! An opened ring: a tenant's living keys, and the data keys derived from them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::policy::Policy;
use super::slot::GENERATIONS_MAX;
use crate::aead::{SivKey, XaesKey};
use crate::derive;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::kms::{RootId, Wrapped};
use crate::name::Incarnation;
use crate::secret::Key32;

const KEYSET_FORMAT: u8 = 1;

/// A tenant's keys in memory.
pub(crate) struct Ring {
    incarnation: Incarnation,
    policy: Policy,
    keyset: Keyset,
    origin: Origin,
    /// What took this one's place while somebody was using it: a record that was written since may be of a generation
    /// that only the later one has.
    successor: OnceLock<Arc<Ring>>,
    record_keys: Derived<(u32, u32), XaesKey>,
    name_keys: Derived<u32, SivKey>,
}

/// The epoch and slot that a ring was opened from: what it takes to seal its keyset again.
pub(super) struct Origin {
    pub(super) epoch: u32,
    pub(super) sequence: u64,
    pub(super) ring_key: Key32,
    pub(super) roots: Vec<(RootId, Wrapped)>,
    pub(super) seals: Vec<([u8; 32], Vec<u8>)>,
}

/// What the ring key seals: the name secret and the tenant keys of the living generations.
pub(super) struct Keyset {
    name_secret: Key32,
    write_generation: u32,
    /// Ascending; the last is the write generation. One at or below it that is not here was retired.
    generations: BTreeMap<u32, Generation>,
}

struct Generation {
    created_secs: u64,
    key: Key32,
}

/// Keys derived once and kept while the ring lives.
struct Derived<K, V>(RwLock<HashMap<K, Arc<V>>>);

impl Ring {
    pub(super) fn new(incarnation: Incarnation, policy: Policy, keyset: Keyset, origin: Origin) -> Self {
        let (record_keys, name_keys) = (Derived::default(), Derived::default());
        Self { incarnation, policy, keyset, origin, successor: OnceLock::new(), record_keys, name_keys }
    }

    /// Tells whoever holds this ring of the one that takes its place.
    pub(super) fn succeeded_by(&self, later: &Arc<Self>) {
        if later.incarnation == self.incarnation && later.sequence() > self.sequence() {
            // Who has a successor already learns of this one from that.
            drop(self.successor.set(later.clone()));
        }
    }

    pub(super) fn keyset(&self) -> &Keyset {
        &self.keyset
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.origin.epoch
    }

    /// The sequence of the slot that this was opened from: a higher one is later.
    pub(crate) fn sequence(&self) -> u64 {
        self.origin.sequence
    }

    /// The version of each root key that wraps this epoch, by root.
    pub(crate) fn root_versions(&self) -> impl Iterator<Item = (&RootId, &str)> {
        self.origin.roots.iter().map(|(root, wrapped)| (root, wrapped.version.as_str()))
    }

    /// The living generations and when each was made, in seconds since 1970, oldest first.
    pub(crate) fn generations(&self) -> impl Iterator<Item = (u32, u64)> {
        self.keyset.generations.iter().map(|(&number, generation)| (number, generation.created_secs))
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The generation that new records are sealed under.
    pub(crate) fn write_generation(&self) -> u32 {
        self.keyset.write_generation
    }

    /// The key of a collection's records in one generation and suite 1.
    ///
    /// # Errors
    /// `Tampered` for a generation that was never written (the ring may be older than the records), `KeyDestroyed`
    /// for one that was retired.
    pub(crate) fn record_key(&self, generation: u32, collection: u32, suite: u8) -> Result<Arc<XaesKey>> {
        if let (true, Some(later)) = (generation > self.write_generation(), self.successor.get()) {
            return later.record_key(generation, collection, suite);
        }
        self.record_keys.get_or_derive((generation, collection), || {
            let key = &self.keyset.generation(generation)?.key;
            Ok(XaesKey::new(&derive::record_key(key, self.incarnation, generation, collection, suite)))
        })
    }

    /// The key that hides a collection's record keys. It does not change with generations.
    pub(crate) fn name_key(&self, collection: u32) -> Result<Arc<SivKey>> {
        self.name_keys.get_or_derive(collection, || {
            Ok(SivKey::new(&derive::name_key(&self.keyset.name_secret, self.incarnation, collection)))
        })
    }
}

impl Keyset {
    /// A first keyset: generation 1, fresh.
    pub(super) fn generate(entropy: &dyn Entropy, created_secs: u64) -> Result<Self> {
        let name_secret = Key32::random(entropy)?;
        let first = Generation { created_secs, key: Key32::random(entropy)? };
        Ok(Self { name_secret, write_generation: 1, generations: BTreeMap::from([(1, first)]) })
    }

    pub(super) fn copy(&self) -> Self {
        let generations = self.generations.iter().map(|(&number, generation)| (number, generation.copy())).collect();
        Self { name_secret: self.name_secret.copy(), write_generation: self.write_generation, generations }
    }

    /// The same with a fresh generation, which is written under.
    pub(super) fn with_generation(&self, entropy: &dyn Entropy, created_secs: u64) -> Result<Self> {
        if self.generations.len() == GENERATIONS_MAX {
            return Err(Error::conflict("16 generations live; retire one first"));
        }
        let mut keyset = self.copy();
        keyset.write_generation =
            keyset.write_generation.checked_add(1).ok_or_else(|| Error::internal("the generations are used up"))?;
        let fresh = Generation { created_secs, key: Key32::random(entropy)? };
        keyset.generations.insert(keyset.write_generation, fresh);
        Ok(keyset)
    }

    /// The same without a generation that is not written under any more.
    pub(super) fn without_generation(&self, number: u32) -> Result<Self> {
        if number == self.write_generation {
            return Err(Error::invalid("the newest generation is in use; rotate first"));
        }
        let mut keyset = self.copy();
        keyset.generations.remove(&number).ok_or_else(|| Error::invalid("no such generation lives"))?;
        Ok(keyset)
    }

    pub(super) fn name_secret(&self) -> &Key32 {
        &self.name_secret
    }

    /// The tenant keys of the living generations.
    pub(super) fn keys(&self) -> impl Iterator<Item = (u32, &Key32)> {
        self.generations.iter().map(|(&number, generation)| (number, &generation.key))
    }

    fn generation(&self, number: u32) -> Result<&Generation> {
        match self.generations.get(&number) {
            Some(generation) => Ok(generation),
            None if number == 0 || number > self.write_generation => Err(Error::tampered()),
            None => Err(Error::new(ErrorKind::KeyDestroyed, "the key of this record has been destroyed")),
        }
    }

    /// `format u8 || name secret[32] || write generation u32 || count u8 || count x (generation u32, created u64
    /// seconds, key[32])`, ascending.
    #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 16 generations")]
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Room for the largest keyset, so that no copy is left behind by growing.
        let mut out = Zeroizing::new(Vec::with_capacity(38 + GENERATIONS_MAX * 44));
        out.push(KEYSET_FORMAT);
        out.extend_from_slice(self.name_secret.expose_secret());
        out.extend_from_slice(&self.write_generation.to_be_bytes());
        out.push(self.generations.len() as u8);
        for (number, generation) in &self.generations {
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&generation.created_secs.to_be_bytes());
            out.extend_from_slice(generation.key.expose_secret());
        }
        out
    }

    /// The inverse of [`encode`](Self::encode), of bytes that have authenticated.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = super::reader::Reader::new(bytes);
        if reader.u8()? != KEYSET_FORMAT {
            return None;
        }
        let name_secret = Key32::from_slice(reader.take(32)?)?;
        let write_generation = reader.u32()?;
        let count = usize::from(reader.u8()?);
        let mut generations = BTreeMap::new();
        for _ in 0..count {
            let (number, created_secs) = (reader.u32()?, reader.u64()?);
            if number == 0 || generations.last_key_value().is_some_and(|(&last, _)| last >= number) {
                return None;
            }
            generations.insert(number, Generation { created_secs, key: Key32::from_slice(reader.take(32)?)? });
        }
        let newest_writes = generations.last_key_value().is_some_and(|(&last, _)| last == write_generation);
        let keyset = Self { name_secret, write_generation, generations };
        (reader.is_empty() && count <= GENERATIONS_MAX && newest_writes).then_some(keyset)
    }
}

impl Generation {
    fn copy(&self) -> Self {
        Self { created_secs: self.created_secs, key: self.key.copy() }
    }
}

impl Origin {
    /// The same epoch, one write later.
    pub(super) fn next(&self) -> Self {
        let Self { epoch, sequence, ring_key, roots, seals } = self;
        let (ring_key, roots, seals) = (ring_key.copy(), roots.clone(), seals.clone());
        Self { epoch: *epoch, sequence: sequence + 1, ring_key, roots, seals }
    }
}

impl<K: Copy + Eq + Hash, V> Derived<K, V> {
    fn get_or_derive(&self, id: K, derive: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        if let Some(key) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(key.clone());
        }
        let key = Arc::new(derive()?);
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.entry(id).or_insert(key).clone())
    }
}

impl<K, V> Default for Derived<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let generations: Vec<_> = self.keyset.generations.keys().collect();
        f.debug_struct("Ring").field("incarnation", &self.incarnation).field("generations", &generations).finish()
    }
}

#[cfg(any(test, fuzzing, feature = "bench-internals"))]
impl Ring {
    /// A tenant key, to be searched for by whoever must not find it.
    #[cfg(test)]
    pub(crate) fn tenant_key_for_tests(&self, generation: u32) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.keyset.generation(generation).expect("it lives").key.expose_secret().to_vec())
    }

    /// A ring of these keys, for tests of what is above.
    pub(crate) fn for_tests(incarnation: Incarnation, name_secret: [u8; 32], keys: &[(u32, [u8; 32])]) -> Self {
        let generations: BTreeMap<_, _> = keys
            .iter()
            .map(|(number, key)| (*number, Generation { created_secs: 0, key: Key32::with(|out| *out = *key) }))
            .collect();
        let write_generation = *generations.last_key_value().expect("at least one").0;
        let name_secret = Key32::with(|out| *out = name_secret);
        let root = crate::kms::RootId::new("service").expect("a good name");
        let keyset = Keyset { name_secret, write_generation, generations };
        let ring_key = Key32::with(|out| *out = [0; 32]);
        let origin = Origin { epoch: 1, sequence: 1, ring_key, roots: Vec::new(), seals: Vec::new() };
        Self::new(incarnation, Policy::service_managed(root), keyset, origin)
    }
}
