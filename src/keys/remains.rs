//! What a tenant's ring consists of, as traces: what must be nowhere once it has been purged. And the attempt to open a
//! ring from a stray copy of a slot, which must not succeed then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change::keyset_aad;
use super::open::{open_ring_key, unwrap_one};
use super::ring::{Keyset, Origin, Ring};
use super::slot::{Parsed, Slot};
use super::store::read_both;
use crate::aead::XaesKey;
use crate::cells::{RingFile, SLOT_LEN};
use crate::derive;
use crate::error::{Error, Result};
use crate::kms::{Call, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::name::Incarnation;
use crate::secret::Key32;
use crate::traces::{Trace, TraceKind};

/// What there is to be destroyed of one tenant's ring.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    pub(crate) traces: Vec<Trace>,
    pub(crate) epochs: Vec<u32>,
    /// Of a ring that the root keys still opened.
    pub(crate) generations: Vec<u32>,
    pub(crate) roots: Vec<RootProbe>,
    /// Whether the plain secrets are among the traces, because the root keys still answered.
    pub(crate) has_opened: bool,
}

/// A root key's version under which a stray copy of the ring could be opened, and something that version never wrapped:
/// how the root key refuses it says whether the version lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootProbe {
    pub(crate) root: String,
    pub(crate) version: String,
    pub(crate) epoch: u32,
    shape: Vec<u8>,
}

/// Bytes of a wrapped secret that its shape keeps: a provider's prefix, and nothing to unwrap.
const SHAPE_KEPT: usize = 12;

/// What lies in both slots of a box, of one tenant. No root key has been asked.
pub(crate) struct Copies {
    incarnation: Incarnation,
    parsed: Vec<Parsed>,
}

/// Reads both slots of a box.
///
/// # Errors
/// If neither can be read.
pub(crate) fn copies_of(rings: &RingFile, number: u32, incarnation: Incarnation) -> Result<Copies> {
    let slots = read_both(rings, number)?;
    let parsed = slots.iter().filter_map(|slot| Parsed::parse(slot.as_bytes()));
    let mut parsed: Vec<Parsed> = parsed.filter(|parsed| parsed.incarnation == incarnation).collect();
    parsed.dedup_by(|a, b| a.head == b.head && a.keyset == b.keyset);
    Ok(Copies { incarnation, parsed })
}

/// What lies in both slots of a box.
pub(crate) fn copies(rings: &RingFile, number: u32) -> Result<Vec<Vec<u8>>> {
    Ok(read_both(rings, number)?.iter().map(|slot| slot.as_bytes().to_vec()).collect())
}

/// Opens what may be a copy of a slot, whatever its checksum says, as an attacker would who has the root keys.
pub(crate) fn open_stray(bytes: &[u8], incarnation: Incarnation, roots: &dyn RootKeys) -> Option<Ring> {
    let bytes: &[u8; SLOT_LEN] = bytes.try_into().ok()?;
    let slot = Slot::with_checksum(bytes);
    let parsed = Parsed::parse(slot.as_bytes()).filter(|parsed| parsed.incarnation == incarnation)?;
    let mut remains = Remains::default();
    let (ring_key, keyset) = remains.open(&parsed, roots)?;
    let Parsed { incarnation, policy, epoch, sequence, roots, seals, .. } = parsed;
    Some(Ring::new(incarnation, policy, keyset, Origin { epoch, sequence, ring_key, roots, seals }))
}

impl Copies {
    /// Asks every ordinary root key once for each epoch there. A refusal, an outage or a damaged slot only leaves less to
    /// search for.
    pub(crate) fn remains(&self, roots: &dyn RootKeys) -> Remains {
        let mut remains = Remains::default();
        self.parsed.iter().for_each(|parsed| remains.add(parsed, roots));
        remains.traces.extend(Trace::from(TraceKind::RingSlot, &Slot::beginning(self.incarnation), 16));
        remains
    }
}

impl Remains {
    fn add(&mut self, parsed: &Parsed, roots: &dyn RootKeys) {
        self.epochs.push(parsed.epoch);
        for (root, wrapped) in &parsed.roots {
            self.push(TraceKind::WrappedSecret, &wrapped.bytes);
            self.roots.push(RootProbe::of(root, wrapped, parsed.epoch));
        }
        parsed.seals.iter().for_each(|(_, sealed)| self.push(TraceKind::SealedRingKey, sealed));
        self.push(TraceKind::SealedKeyset, &parsed.keyset);
        let Some((ring_key, keyset)) = self.open(parsed, roots) else { return };
        self.push(TraceKind::RingKey, ring_key.expose_secret());
        self.push(TraceKind::NameSecret, keyset.name_secret().expose_secret());
        for (number, key) in keyset.keys() {
            self.push(TraceKind::TenantKey, key.expose_secret());
            if !self.generations.contains(&number) {
                self.generations.push(number);
            }
        }
        self.has_opened = true;
    }

    /// Unwraps what can be unwrapped, the first alternative whose members all answer opens the rest.
    fn open(&mut self, parsed: &Parsed, roots: &dyn RootKeys) -> Option<(Key32, Keyset)> {
        let mut secrets: BTreeMap<&RootId, WrapSecret> = BTreeMap::new();
        for root in parsed.policy.ordinary().flat_map(|alternative| alternative.roots) {
            if !secrets.contains_key(root)
                && let Ok(secret) = unwrap_one(parsed, root, roots)
            {
                self.push(TraceKind::WrapSecret, secret.expose_secret());
                secrets.insert(root, secret);
            }
        }
        parsed.policy.ordinary().find_map(|alternative| {
            let members: Option<Vec<&Key32>> =
                alternative.roots.iter().map(|root| secrets.get(root).map(WrapSecret::key)).collect();
            let ring_key = open_ring_key(parsed, &alternative, &members?).ok()?;
            let seal = XaesKey::new(&derive::ring_seal(&ring_key, parsed.incarnation, parsed.epoch));
            let keyset = seal.open_key(keyset_aad(&parsed.head).as_slice(), &parsed.keyset).ok()?;
            Some((ring_key, Keyset::decode(&keyset)?))
        })
    }

    fn push(&mut self, kind: TraceKind, bytes: &[u8]) {
        if let Some(trace) = Trace::of(kind, bytes).filter(|trace| !self.traces.contains(trace)) {
            self.traces.push(trace);
        }
    }
}

impl RootProbe {
    /// Of every root key that wraps the epoch of a ring.
    pub(crate) fn all_of(ring: &Ring) -> Vec<Self> {
        let origin = ring.origin();
        origin.roots.iter().map(|(root, wrapped)| Self::of(root, wrapped, origin.epoch)).collect()
    }

    fn of(root: &RootId, Wrapped { version, bytes }: &Wrapped, epoch: u32) -> Self {
        Self { root: root.as_str().to_owned(), version: version.clone(), epoch, shape: shape_of(bytes) }
    }

    /// The root key and its version, as they are called.
    pub(crate) fn name(&self) -> (&str, &str) {
        (&self.root, &self.version)
    }

    /// The root key and its version.
    pub(crate) fn version(self) -> Result<(RootId, String)> {
        Ok((RootId::new(self.root)?, self.version))
    }

    /// How the root key answers for this version now: `Destroyed` if it is gone for good, and `Tampered` if it lives,
    /// because it has never wrapped this.
    ///
    /// # Errors
    /// `Internal` if a root key unwraps what it has not wrapped.
    pub(crate) fn ask(&self, incarnation: Incarnation, roots: &dyn RootKeys) -> Result<RootError> {
        let root = RootId::new(self.root.as_str())?;
        let wrapped = Wrapped { version: self.version.clone(), bytes: self.shape.clone() };
        match roots.unwrap(
            &root,
            &wrapped,
            &WrapContext::new(*incarnation.as_bytes(), root.clone(), self.epoch, Call::new()?),
        ) {
            Err(error) => Ok(error),
            Ok(_) => Err(Error::internal("a root key has unwrapped what it never wrapped")),
        }
    }
}

/// Something of the same length and alphabet, so that a provider looks at the version and the key before it refuses.
fn shape_of(wrapped: &[u8]) -> Vec<u8> {
    let blank = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => b'A',
        byte if byte.is_ascii_punctuation() => byte,
        _ => 0,
    };
    let (kept, rest) = wrapped.split_at(SHAPE_KEPT.min(wrapped.len()));
    kept.iter().copied().chain(rest.iter().copied().map(blank)).collect()
}
