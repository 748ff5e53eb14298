//! One slot of the ring file, laid out by hand: its open part must be parsed before it can be authenticated, so it
//! is parsed strictly, within limits, and nothing in it is believed.
//!
//! Mirrors the table in the chapter on the format.

use sha2::{Digest, Sha256};

use super::policy::{ALTERNATIVES_MAX, Policy, ROOTS_MAX};
use super::reader::Reader;
use crate::aead::SEALED_OVERHEAD;
use crate::cells::SLOT_LEN;
use crate::engine::Opaque;
use crate::kms::{RootId, VERSION_MAX_LEN, WRAPPED_MAX_LEN, Wrapped};
use crate::name::Incarnation;

/// Bytes of R, sealed.
pub(super) const SEALED_RING_KEY_LEN: usize = 32 + SEALED_OVERHEAD;
/// Generations that may live at once.
pub(super) const GENERATIONS_MAX: usize = 16;

const FORMAT: u8 = 1;
const LIVE: u8 = 1;
const PURGED: u8 = 2;
const CHECKSUM_AT: usize = SLOT_LEN - 32;

/// The bytes of a slot, as they go into the ring file.
pub(crate) struct Slot(Box<[u8; SLOT_LEN]>);

/// What a slot says, unauthenticated.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) sequence: u64,
    pub(super) epoch: u32,
    pub(super) incarnation: Incarnation,
    pub(super) policy: Policy,
    pub(super) roots: Vec<(RootId, Wrapped)>,
    pub(super) seals: Vec<([u8; 32], Vec<u8>)>,
    /// Every byte of the slot before the sealed keyset's length: what the keyset's seal authenticates.
    pub(super) head: Vec<u8>,
    pub(super) keyset: Vec<u8>,
}

/// The part of a slot before the sealed keyset.
pub(super) struct Head<'a> {
    pub(super) sequence: u64,
    pub(super) epoch: u32,
    pub(super) incarnation: Incarnation,
    pub(super) policy: &'a Policy,
    pub(super) roots: &'a [(RootId, Wrapped)],
    pub(super) seals: &'a [([u8; 32], Vec<u8>)],
}

impl Slot {
    pub(super) fn live(head: &[u8], keyset: &[u8]) -> Self {
        let mut bytes = head.to_vec();
        push_u16_bytes(&mut bytes, keyset);
        Self::finish(&bytes)
    }

    /// A slot that says only that its tenant's keys were here and are gone.
    pub(super) fn purged(incarnation: Incarnation, sequence: u64) -> Self {
        let mut bytes = vec![FORMAT, PURGED, 0, 0];
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(&0u32.to_be_bytes());
        bytes.extend_from_slice(incarnation.as_bytes());
        Self::finish(&bytes)
    }

    /// How every living slot of a tenant begins, but for what lies between the first four bytes and the incarnation.
    pub(super) fn beginning(incarnation: Incarnation) -> Vec<u8> {
        let mut bytes = vec![FORMAT, LIVE, 0, 0];
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(incarnation.as_bytes());
        bytes
    }

    /// These bytes with the checksum that they ought to have.
    pub(super) fn with_checksum(bytes: &[u8; SLOT_LEN]) -> Self {
        Self::finish(&bytes[..CHECKSUM_AT])
    }

    fn finish(used: &[u8]) -> Self {
        let mut slot = Box::new([0; SLOT_LEN]);
        slot[..used.len()].copy_from_slice(used);
        let checksum = Sha256::digest(&slot[..CHECKSUM_AT]);
        slot[CHECKSUM_AT..].copy_from_slice(&checksum);
        Self(slot)
    }

    /// Both slots get the same bytes.
    pub(super) fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    pub(super) fn from_bytes(bytes: Box<[u8; SLOT_LEN]>) -> Self {
        Self(bytes)
    }

    /// The slot's bytes without its checksum and the zeros before it.
    #[cfg(feature = "backup")]
    pub(super) fn used(&self) -> Vec<u8> {
        let end = self.0[..CHECKSUM_AT].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        self.0[..end].to_vec()
    }

    /// The slot whose [`used`](Self::used) bytes these are.
    #[cfg(feature = "backup")]
    pub(super) fn from_used(used: &[u8]) -> Option<Self> {
        (used.len() <= CHECKSUM_AT).then(|| Self::finish(used))
    }

    pub(super) fn as_bytes(&self) -> &[u8; SLOT_LEN] {
        &self.0
    }
}

impl Opaque for Slot {
    fn into_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl Head<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "a policy is checked to be far smaller when it is made")]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT, LIVE, 0, 0];
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(self.incarnation.as_bytes());
        push_u16_bytes(&mut out, &self.policy.encode());
        out.push(self.roots.len() as u8);
        for (id, wrapped) in self.roots {
            push_u8_bytes(&mut out, id.as_str().as_bytes());
            push_u8_bytes(&mut out, wrapped.version.as_bytes());
            push_u16_bytes(&mut out, &wrapped.bytes);
        }
        out.push(self.seals.len() as u8);
        for (digest, sealed) in self.seals {
            out.extend_from_slice(digest);
            out.extend_from_slice(sealed);
        }
        out
    }
}

impl Parsed {
    /// What the bytes say, or `None` if they are not to the byte a live slot of this format.
    pub(super) fn parse(slot: &[u8; SLOT_LEN]) -> Option<Self> {
        if Sha256::digest(&slot[..CHECKSUM_AT])[..] != slot[CHECKSUM_AT..] {
            return None;
        }
        let body = &slot[..CHECKSUM_AT];
        let mut reader = Reader::new(body);
        if reader.u8()? != FORMAT {
            return None;
        }
        if reader.array()? != [LIVE, 0, 0] {
            return None;
        }
        let (sequence, epoch) = (reader.u64()?, reader.u32()?);
        let incarnation = Incarnation::new(reader.array()?);
        let policy = Policy::decode(reader.u16_bytes(CHECKSUM_AT)?)?;
        let roots = parse_roots(&mut reader, &policy)?;
        let seals = parse_seals(&mut reader, &policy)?;
        let head = body[..body.len() - reader.rest().len()].to_vec();
        let keyset = reader.u16_bytes(SEALED_OVERHEAD + 38 + GENERATIONS_MAX * 44)?.to_vec();
        let parsed = Self { sequence, epoch, incarnation, policy, roots, seals, head, keyset };
        reader.rest().iter().all(|&byte| byte == 0).then_some(parsed)
    }
}

/// Exactly the roots of the policy, ascending.
fn parse_roots(reader: &mut Reader<'_>, policy: &Policy) -> Option<Vec<(RootId, Wrapped)>> {
    let count = usize::from(reader.u8()?);
    if count > ROOTS_MAX {
        return None;
    }
    let mut roots = Vec::with_capacity(count);
    for _ in 0..count {
        let id = reader.root_id()?;
        let version = std::str::from_utf8(reader.u8_bytes(VERSION_MAX_LEN)?).ok()?.to_owned();
        let bytes = reader.u16_bytes(WRAPPED_MAX_LEN)?.to_vec();
        if version.is_empty() || bytes.is_empty() {
            return None;
        }
        roots.push((id, Wrapped { version, bytes }));
    }
    roots.iter().map(|(id, _)| id).eq(policy.roots()).then_some(roots)
}

/// Exactly one seal for each alternative of the policy, in the policy's order.
fn parse_seals(reader: &mut Reader<'_>, policy: &Policy) -> Option<Vec<([u8; 32], Vec<u8>)>> {
    let count = usize::from(reader.u8()?);
    if count > ALTERNATIVES_MAX + 1 {
        return None;
    }
    let mut seals = Vec::with_capacity(count);
    for _ in 0..count {
        seals.push((reader.array()?, reader.take(SEALED_RING_KEY_LEN)?.to_vec()));
    }
    seals.iter().map(|(digest, _)| *digest).eq(policy.all().map(|alternative| alternative.digest)).then_some(seals)
}

fn push_u8_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(u8::try_from(bytes.len()).expect("bounded by the limits of the slot"));
    out.extend_from_slice(bytes);
}

fn push_u16_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).expect("bounded by the limits of the slot").to_be_bytes());
    out.extend_from_slice(bytes);
}
