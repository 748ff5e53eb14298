//! Rings on their way to and from the ring file: in which order slots are written, and which one is believed.
//!
//! Writing: A, synced and read back, then B, synced and read back, and only then does the caller write the directory
//! row and acknowledge. At rest both slots hold the same bytes. Opening: of the slots that match what the row says,
//! the highest sequence; its keys count only if the ring check equals the row's.

use super::change::Change;
use super::policy::Policy;
use super::ring::Ring;
use super::slot::{Parsed, Slot};
use crate::cells::{RingFile, SLOT_LEN, Side};
use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::kms::RootKeys;
use crate::name::Incarnation;

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
pub(super) const SIDES: [Side; 2] = [Side::A, Side::B];

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
    let made = Change::first(incarnation, policy, roots, entropy, now_secs)?;
    write_all(rings, [(number, &made)])?;
    Ok((made.belief(), made.into_ring()))
}

/// Writes changed rings of one cell, by box, with the syncs of one: every A slot, then every B slot.
pub(crate) fn write_all<'c>(rings: &RingFile, changes: impl IntoIterator<Item = (u32, &'c Change)>) -> Result<()> {
    let slots: Vec<(u32, Slot)> = changes.into_iter().map(|(number, change)| (number, change.slot.copy())).collect();
    write_both(rings, &slots)
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
