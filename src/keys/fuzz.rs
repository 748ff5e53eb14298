//! The parts of [`crate::fuzz::ring`] that look inside a slot.

use std::sync::{Arc, LazyLock};

use sha2::{Digest, Sha256};

use super::open::load;
use super::policy::Policy;
use super::ring::Keyset;
use super::slot::{Head, Parsed, SEALED_RING_KEY_LEN, Slot};
use super::store::{Belief, create};
use crate::cells::{RingFile, SLOT_LEN, Side};
use crate::entropy::OsEntropy;
use crate::fuzz::{edited, take_part};
use crate::kms::{RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::name::Incarnation;

const CHECKSUM_AT: usize = SLOT_LEN - 32;

/// Strictness: whatever parses is the one encoding of what it says.
pub(crate) fn parse(data: &[u8]) {
    let slot = with_checksum(data);
    if let Some(parsed) = Parsed::parse(&slot) {
        assert_eq!(*write(&parsed), *slot);
    }
    if let Some(policy) = Policy::decode(data) {
        assert_eq!(policy.encode(), data);
    }
    if let Some(keyset) = Keyset::decode(data) {
        assert_eq!(**keyset.encode(), *data);
    }
}

/// Completeness: what is written within the limits is read again. `policy u8-length || lengths and bytes`.
pub(crate) fn build(data: &[u8]) {
    let (policy, rest) = take_part(data);
    let Some(policy) = Policy::decode(policy) else { return };
    let lengths = |place: usize| usize::from(rest.get(place).copied().unwrap_or(0));
    let wrapped = |place: usize| Wrapped {
        version: "v".repeat(1 + lengths(place) % 128),
        bytes: vec![place as u8; 1 + lengths(place) * 4],
    };
    let roots: Vec<_> = policy.roots().into_iter().cloned().enumerate().map(|(n, id)| (id, wrapped(n))).collect();
    let seals: Vec<_> = policy.all().map(|one| (one.digest, vec![one.digest[0]; SEALED_RING_KEY_LEN])).collect();
    let head = Head {
        sequence: rest.len() as u64,
        epoch: 1 + lengths(4) as u32,
        incarnation: Incarnation::new([lengths(5) as u8; 16]),
        policy: &policy,
        roots: &roots,
        seals: &seals,
    };
    let slot = Slot::live(&head.encode(), &rest[..rest.len().min(700)]);
    let parsed = Parsed::parse(slot.as_bytes()).expect("it was written within the limits");
    assert_eq!((&parsed.policy, &parsed.roots, &parsed.seals), (&policy, &roots, &seals));
    assert_eq!(*write(&parsed), *slot.as_bytes());
}

/// Authenticity: of all slots with a right checksum, only the one that was written opens.
pub(crate) fn open(edits: &[u8]) {
    static MADE: LazyLock<(Belief, Box<[u8; SLOT_LEN]>)> = LazyLock::new(|| {
        let rings = RingFile::in_memory(1);
        let policy = Policy::service_managed(RootId::new("service").expect("a good name"));
        let incarnation = Incarnation::new([7; 16]);
        let (belief, _) = create(&rings, 0, incarnation, policy, &Glass, &OsEntropy, 1).expect("a ring");
        (belief, rings.read(0, Side::A).expect("it was written"))
    });
    let (belief, made) = &*MADE;
    let slot = with_checksum(&edited(&made[..CHECKSUM_AT], edits));
    let rings = RingFile::in_memory(1);
    for side in [Side::A, Side::B] {
        rings.write(0, side, Slot::from_bytes(slot.clone())).expect("memory");
    }
    let roots: Arc<dyn RootKeys> = Arc::new(Glass);
    assert_eq!(load(&rings, 0, belief, &roots).is_ok(), slot == *made);
}

fn with_checksum(body: &[u8]) -> Box<[u8; SLOT_LEN]> {
    let mut slot = Box::new([0; SLOT_LEN]);
    let body = &body[..body.len().min(CHECKSUM_AT)];
    slot[..body.len()].copy_from_slice(body);
    let checksum = Sha256::digest(&slot[..CHECKSUM_AT]);
    slot[CHECKSUM_AT..].copy_from_slice(&checksum);
    slot
}

fn write(parsed: &Parsed) -> Box<[u8; SLOT_LEN]> {
    let Parsed { sequence, epoch, incarnation, policy, roots, seals, head: _, keyset } = parsed;
    let (sequence, epoch, incarnation) = (*sequence, *epoch, *incarnation);
    let head = Head { sequence, epoch, incarnation, policy, roots, seals }.encode();
    assert_eq!(head, parsed.head);
    Box::new(*Slot::live(&head, keyset).as_bytes())
}

/// A root key of glass: it wraps a secret as itself and takes whatever it is given.
struct Glass;

impl RootKeys for Glass {
    fn wrap(&self, _: &RootId, secret: &WrapSecret, _: &WrapContext) -> Result<Wrapped, RootError> {
        Ok(Wrapped { version: "v1".to_owned(), bytes: secret.expose_secret().to_vec() })
    }

    fn unwrap(&self, _: &RootId, wrapped: &Wrapped, _: &WrapContext) -> Result<WrapSecret, RootError> {
        WrapSecret::from_slice(&wrapped.bytes).ok_or(RootError::Tampered)
    }
}
