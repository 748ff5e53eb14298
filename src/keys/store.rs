//! Rings on their way to and from the ring file: in which order slots are written, and which one is believed.
//!
//! Writing: A, synced and read back, then B, synced and read back, and only then does the caller write the directory
//! row and acknowledge. At rest both slots hold the same bytes. Opening: of the slots that match what the row says,
//! the highest sequence; its keys count only if the ring check equals the row's.

use std::collections::BTreeMap;

use subtle::ConstantTimeEq;

use super::policy::{Alternative, Policy, Verdict};
use super::ring::{Keyset, Ring};
use super::slot::{Head, Parsed, Slot};
use crate::aead::XaesKey;
use crate::cells::{RingFile, SLOT_LEN, Side};
use crate::context::Context;
use crate::derive;
use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::kms::{RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::name::Incarnation;
use crate::secret::Key32;

/// What the directory row of a tenant says of its ring. A slot that says otherwise is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Belief {
    pub(crate) incarnation: Incarnation,
    pub(crate) epochs: Vec<EpochBelief>,
    pub(crate) least_sequence: u64,
}

/// One epoch that the row allows: its own, and the next while a change is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EpochBelief {
    pub(crate) epoch: u32,
    pub(crate) policy_digest: [u8; 32],
    /// `None` only for tenant zero, which has no row: its root wraps with a secret key, and that vouches.
    pub(crate) ring_check: Option<[u8; 32]>,
}

/// The sides in the order in which they are written.
const SIDES: [Side; 2] = [Side::A, Side::B];

/// Makes the keys of a new tenant in a box's slots, durably, and returns the belief for its row.
pub(crate) fn create(
    rings: &RingFile,
    number: u32,
    incarnation: Incarnation,
    policy: Policy,
    roots: &dyn RootKeys,
    entropy: &dyn Entropy,
    now_secs: u64,
) -> Result<(Belief, Ring)> {
    let made = create_all(rings, &[(number, incarnation)], &policy, roots, entropy, now_secs)?;
    made.into_iter().next().ok_or_else(|| Error::internal("no ring was made"))
}

/// The same for several tenants of one cell, by box and incarnation, with the syncs of one.
pub(crate) fn create_all(
    rings: &RingFile,
    places: &[(u32, Incarnation)],
    policy: &Policy,
    roots: &dyn RootKeys,
    entropy: &dyn Entropy,
    now_secs: u64,
) -> Result<Vec<(Belief, Ring)>> {
    let (mut slots, mut made) = (Vec::with_capacity(places.len()), Vec::with_capacity(places.len()));
    for &(number, incarnation) in places {
        let (slot, belief, ring) = make(incarnation, policy.clone(), roots, entropy, now_secs)?;
        slots.push((number, slot));
        made.push((belief, ring));
    }
    write_both(rings, &slots)?;
    Ok(made)
}

/// New keys: the slot that holds them, what its row is to believe, and the ring as it opens.
fn make(
    incarnation: Incarnation,
    policy: Policy,
    roots: &dyn RootKeys,
    entropy: &dyn Entropy,
    now_secs: u64,
) -> Result<(Slot, Belief, Ring)> {
    let (epoch, sequence) = (1, 1);
    let keyset = Keyset::generate(entropy, now_secs)?;
    let ring_key = Key32::random(entropy)?;
    let (wrapped, secrets) = wrap_secrets(&policy, incarnation, epoch, roots, entropy)?;
    let seals = policy
        .all()
        .map(|alternative| seal_ring_key(&ring_key, &alternative, &secrets, incarnation, epoch, entropy))
        .collect::<Result<Vec<_>>>()?;
    let head = Head { sequence, epoch, incarnation, policy: &policy, roots: &wrapped, seals: &seals }.encode();
    let sealed = XaesKey::new(&derive::ring_seal(&ring_key, incarnation, epoch)).seal_key(
        entropy,
        keyset_aad(&head).as_slice(),
        &keyset.encode(),
    )?;
    let policy_digest = policy.digest();
    let ring_check = *derive::ring_check(&ring_key, incarnation, epoch, &policy_digest).expose_secret();
    let epoch = EpochBelief { epoch, policy_digest, ring_check: Some(ring_check) };
    let belief = Belief { incarnation, epochs: vec![epoch], least_sequence: sequence };
    Ok((Slot::live(&head, &sealed), belief, Ring::new(incarnation, policy, keyset)))
}

/// Opens the ring that `belief` describes, and makes the other slot equal if it was damaged.
///
/// # Errors
/// `Corrupt` if no slot is the one described: the ring is older than the directory, or gone. Before that is clear no
/// root key is asked. `KeyRevoked`, `Unavailable`, `Throttled` as the roots answer; `Tampered` if what they unwrap
/// does not open the ring.
pub(crate) fn load(rings: &RingFile, number: u32, belief: &Belief, roots: &dyn RootKeys) -> Result<Ring> {
    let slots = read_both(rings, number)?;
    let mut candidates: Vec<(Parsed, EpochBelief, &Slot)> = slots
        .iter()
        .filter_map(|slot| {
            let parsed = Parsed::parse(slot.as_bytes())?;
            let epoch = belief.matching_epoch(&parsed)?.clone();
            Some((parsed, epoch, slot))
        })
        .collect();
    candidates.sort_by_key(|(parsed, ..)| std::cmp::Reverse(parsed.sequence));
    let mut failure = None;
    for (parsed, epoch, slot) in candidates {
        match open(parsed, &epoch, roots) {
            Ok(ring) => {
                repair(rings, number, &slots, slot);
                return Ok(ring);
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| {
        tracing::error!(incarnation = ?belief.incarnation, "no ring slot is the one that the directory describes");
        Error::corrupt("the ring of this tenant is missing, damaged or older than the directory")
    }))
}

/// Both slots; one that the disk does not give up is as good as empty.
pub(super) fn read_both(rings: &RingFile, number: u32) -> Result<[Slot; 2]> {
    let [a, b] = SIDES.map(|side| rings.read(number, side));
    if let (Err(_), Err(error)) = (&a, &b) {
        return Err(Error::new(error.kind(), "neither ring slot can be read"));
    }
    Ok([a, b].map(|slot| Slot::from_bytes(slot.unwrap_or_else(|_| Box::new([0; SLOT_LEN])))))
}

/// Overwrites both slots with one that holds no key.
///
/// # Errors
/// `Corrupt` if a slot holds another tenant's ring: then nothing is overwritten.
pub(crate) fn purge(rings: &RingFile, number: u32, belief: &Belief) -> Result<()> {
    let slots = read_both(rings, number)?;
    let of_others =
        |slot: &Slot| Parsed::parse(slot.as_bytes()).is_some_and(|parsed| parsed.incarnation != belief.incarnation);
    if slots.iter().any(of_others) {
        return Err(Error::corrupt("the ring in this box is another tenant's"));
    }
    write_both(rings, &[(number, Slot::purged(belief.incarnation, belief.least_sequence + 1))])
}

/// What tenant zero's ring says of itself, for its belief: the builder's configuration stands for the row that it has
/// not. `None` if neither slot says anything: never written, torn while the store was made, or damaged.
pub(crate) fn peek_zero(rings: &RingFile, policy: &Policy) -> Result<Option<Belief>> {
    let slots = read_both(rings, 0)?;
    let parsed = slots.iter().filter_map(|slot| Parsed::parse(slot.as_bytes())).max_by_key(|parsed| parsed.sequence);
    let Some(parsed) = parsed else { return Ok(None) };
    if parsed.policy != *policy {
        return Err(Error::invalid("the store was made under another service root, or other expiries"));
    }
    let epoch = EpochBelief { epoch: parsed.epoch, policy_digest: policy.digest(), ring_check: None };
    Ok(Some(Belief { incarnation: parsed.incarnation, epochs: vec![epoch], least_sequence: parsed.sequence }))
}

impl Belief {
    pub(super) fn matching_epoch(&self, parsed: &Parsed) -> Option<&EpochBelief> {
        if parsed.incarnation != self.incarnation || parsed.sequence < self.least_sequence {
            return None;
        }
        let digest = parsed.policy.digest();
        self.epochs.iter().find(|epoch| epoch.epoch == parsed.epoch && epoch.policy_digest == digest)
    }
}

/// Every A slot, then every B slot.
fn write_both(rings: &RingFile, slots: &[(u32, Slot)]) -> Result<()> {
    SIDES
        .into_iter()
        .try_for_each(|side| rings.write_all(side, slots.iter().map(|(number, slot)| (*number, slot.copy()))))
}

/// One wrap secret per distinct root, fresh, wrapped.
#[expect(clippy::type_complexity, reason = "two views of one list, made together and used apart")]
fn wrap_secrets(
    policy: &Policy,
    incarnation: Incarnation,
    epoch: u32,
    roots: &dyn RootKeys,
    entropy: &dyn Entropy,
) -> Result<(Vec<(RootId, Wrapped)>, BTreeMap<RootId, WrapSecret>)> {
    let mut wrapped = Vec::new();
    let mut secrets = BTreeMap::new();
    for root in policy.roots() {
        let secret = WrapSecret::new(Key32::random(entropy)?);
        let context = WrapContext::new(incarnation, root.clone(), epoch);
        let answer = roots.wrap(root, &secret, &context)?;
        answer.check_limits()?;
        wrapped.push((root.clone(), answer));
        secrets.insert(root.clone(), secret);
    }
    Ok((wrapped, secrets))
}

fn seal_ring_key(
    ring_key: &Key32,
    alternative: &Alternative<'_>,
    secrets: &BTreeMap<RootId, WrapSecret>,
    incarnation: Incarnation,
    epoch: u32,
    entropy: &dyn Entropy,
) -> Result<([u8; 32], Vec<u8>)> {
    let members: Vec<&Key32> = alternative.roots.iter().map(|&root| secrets[root].key()).collect();
    let kek = XaesKey::new(&derive::kek(&members, incarnation, epoch, &alternative.digest));
    let aad = ring_key_aad(incarnation, epoch, &alternative.digest);
    Ok((alternative.digest, kek.seal_key(entropy, aad.as_slice(), ring_key.expose_secret())?))
}

/// Unwraps, derives and checks: wrap secrets, KEK, R, ring check, keyset.
fn open(parsed: Parsed, belief: &EpochBelief, roots: &dyn RootKeys) -> Result<Ring> {
    let ring_key = unwrap_ring_key(&parsed, roots)?;
    let check = derive::ring_check(&ring_key, parsed.incarnation, parsed.epoch, &belief.policy_digest);
    if belief.ring_check.is_some_and(|expected| !bool::from(check.expose_secret().ct_eq(&expected))) {
        tracing::error!(incarnation = ?parsed.incarnation, "a ring opened that is not the one of the directory");
        return Err(Error::tampered());
    }
    let keyset = XaesKey::new(&derive::ring_seal(&ring_key, parsed.incarnation, parsed.epoch))
        .open_key(keyset_aad(&parsed.head).as_slice(), &parsed.keyset)?;
    let keyset = Keyset::decode(&keyset).ok_or_else(Error::tampered)?;
    Ok(Ring::new(parsed.incarnation, parsed.policy, keyset))
}

/// Asks the roots of one alternative after the other until one has allowed.
fn unwrap_ring_key(parsed: &Parsed, roots: &dyn RootKeys) -> Result<Key32> {
    let mut answers: BTreeMap<&RootId, Result<WrapSecret, RootError>> = BTreeMap::new();
    let mut outcomes = Vec::new();
    for alternative in parsed.policy.ordinary() {
        for &root in &alternative.roots {
            answers.entry(root).or_insert_with(|| unwrap_one(parsed, root, roots));
        }
        let members: Vec<_> = alternative.roots.iter().map(|&root| answers[root].as_ref()).collect();
        let refusals: Vec<RootError> = members.iter().filter_map(|answer| answer.err().copied()).collect();
        match Verdict::of_members(&refusals) {
            Some(refusal) => outcomes.push(Err(refusal)),
            None => {
                let secrets: Vec<&Key32> = members.into_iter().flatten().map(WrapSecret::key).collect();
                return open_ring_key(parsed, &alternative, &secrets);
            }
        }
    }
    Err(Verdict::fold(outcomes).into_error())
}

fn unwrap_one(parsed: &Parsed, root: &RootId, roots: &dyn RootKeys) -> Result<WrapSecret, RootError> {
    let (_, wrapped) = parsed.roots.iter().find(|(id, _)| id == root).ok_or(RootError::Tampered)?;
    roots.unwrap(root, wrapped, &WrapContext::new(parsed.incarnation, root.clone(), parsed.epoch))
}

fn open_ring_key(parsed: &Parsed, alternative: &Alternative<'_>, secrets: &[&Key32]) -> Result<Key32> {
    let seal = parsed.seals.iter().find(|(digest, _)| *digest == alternative.digest);
    let (_, sealed) = seal.ok_or_else(Error::tampered)?;
    let kek = XaesKey::new(&derive::kek(secrets, parsed.incarnation, parsed.epoch, &alternative.digest));
    let aad = ring_key_aad(parsed.incarnation, parsed.epoch, &alternative.digest);
    Key32::from_slice(&kek.open_key(aad.as_slice(), sealed)?).ok_or_else(Error::tampered)
}

/// Makes both slots equal to the one that opened. What cannot be repaired now is tried again when the ring is next
/// loaded: the ring that opened is good.
fn repair(rings: &RingFile, number: u32, slots: &[Slot; 2], good: &Slot) {
    for (side, slot) in SIDES.into_iter().zip(slots) {
        if slot.as_bytes() != good.as_bytes() {
            metrics::counter!("strongroom_ring_repairs_total").increment(1);
            match rings.write(number, side, good.copy()) {
                Ok(()) => tracing::warn!(?side, "a ring slot differed from its twin and was written again"),
                Err(error) => tracing::error!(?side, %error, "a ring slot differs from its twin and cannot be written"),
            }
        }
    }
}

fn ring_key_aad(incarnation: Incarnation, epoch: u32, alternative: &[u8; 32]) -> Context {
    Context::new("strongroom/v1/ring-key").bytes(incarnation.as_bytes()).u32(epoch).bytes(alternative)
}

fn keyset_aad(head: &[u8]) -> Context {
    Context::new("strongroom/v1/keyset-aad").bytes(head)
}

impl Wrapped {
    fn check_limits(&self) -> Result<()> {
        use crate::kms::{VERSION_MAX_LEN, WRAPPED_MAX_LEN};
        let fits = |length: usize, limit: usize| (1..=limit).contains(&length);
        if fits(self.version.len(), VERSION_MAX_LEN) && fits(self.bytes.len(), WRAPPED_MAX_LEN) {
            return Ok(());
        }
        Err(Error::invalid("a root key answered with a version or wrapped secret past the limits of a ring slot"))
    }
}
