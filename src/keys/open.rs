//! Opening a ring: which slot is believed, what the root keys say, and whether what they unwrap is what the directory
//! describes.
//!
//! In three steps, so that no lock of the storage is held while a root key is asked: [`read`] the slots, [`open`] one
//! of them, and let the [`Repair`] make the other equal.
//!
//! [`open`]: Found::open

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::asking::unwrap_ring_key;
use super::change::{keyset_aad, ring_key_aad};
use super::policy::{Alternative, Policy, Shut};
use super::recovery::Leave;
use super::ring::{Keyset, Origin, Ring};
use super::slot::{Parsed, Slot};
use super::store::{Belief, EpochBelief, SIDES, read_both};
use crate::aead::XaesKey;
use crate::cells::RingFile;
use crate::derive;
use crate::error::{Error, Result};
use crate::kms::{CALL_DEADLINE, Call, Patience, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::secret::Key32;

/// The slots of a box that are the ones described, highest sequence first. Nothing in them is believed yet.
pub(crate) struct Found {
    candidates: Vec<(Parsed, EpochBelief, usize)>,
    slots: [Slot; 2],
}

/// What can be read of a ring without any root key.
pub(crate) struct Outline<'f> {
    pub(crate) policy: &'f Policy,
    pub(crate) epoch: u32,
    /// The version of each root key that wraps the epoch.
    pub(crate) versions: BTreeMap<&'f RootId, &'f str>,
}

/// What makes both slots equal to the one that opened.
pub(crate) struct Repair {
    found: [Slot; 2],
    good: usize,
}

/// Reads a box's slots.
///
/// # Errors
/// `Corrupt` if no slot is the one described: the ring is older than the directory, or gone.
pub(crate) fn read(rings: &RingFile, number: u32, belief: &Belief) -> Result<Found> {
    let slots = read_both(rings, number)?;
    let candidate = |(place, slot): (usize, &Slot)| {
        let parsed = Parsed::parse(slot.as_bytes())?;
        let epoch = belief.matching_epoch(&parsed)?.clone();
        Some((parsed, epoch, place))
    };
    // The same twice is read once, and asked about once.
    let different = if slots[0].as_bytes() == slots[1].as_bytes() { &slots[..1] } else { &slots[..] };
    let mut candidates: Vec<_> = different.iter().enumerate().filter_map(candidate).collect();
    candidates.sort_by_key(|(parsed, ..)| std::cmp::Reverse(parsed.sequence));
    if candidates.is_empty() {
        tracing::error!(incarnation = ?belief.incarnation, "no ring slot is the one that the directory describes");
        return Err(Error::corrupt("the ring of this tenant is missing, damaged or older than the directory"));
    }
    Ok(Found { candidates, slots })
}

/// Reads, opens and repairs.
///
/// # Errors
/// As [`read`] and [`Found::open`].
pub(crate) fn load(rings: &RingFile, number: u32, belief: &Belief, roots: &Arc<dyn RootKeys>) -> Result<Ring> {
    let (ring, repair) = read(rings, number, belief)?.open(roots, &Patience::new())?;
    if let Some(repair) = repair {
        repair.run(rings, number);
    }
    Ok(ring)
}

impl Found {
    /// What the newest slot says of its policy, epoch and roots. Nobody has vouched for more than the policy, whose digest
    /// is the row's.
    pub(crate) fn outline(&self) -> Outline<'_> {
        let (parsed, ..) = &self.candidates[0];
        let versions = parsed.roots.iter().map(|(root, wrapped)| (root, wrapped.version.as_str())).collect();
        Outline { policy: &parsed.policy, epoch: parsed.epoch, versions }
    }

    /// Opens the first that opens.
    ///
    /// # Errors
    /// As the root keys answer; `Tampered` if what they unwrap does not open the ring.
    pub(crate) fn open(self, roots: &Arc<dyn RootKeys>, patience: &Patience) -> Result<(Ring, Option<Repair>), Shut> {
        self.open_with(|parsed| unwrap_ring_key(parsed, roots, patience))
    }

    /// The same with the recovery root alone.
    ///
    /// # Errors
    /// As the recovery root answers; `Tampered` also if there is none.
    pub(crate) fn open_by_recovery(
        self,
        _: &Leave,
        roots: &Arc<dyn RootKeys>,
        patience: &Patience,
    ) -> Result<(Ring, Option<Repair>), Shut> {
        self.open_with(|parsed| {
            let recovery = parsed.policy.last_resort().ok_or(Shut::Tampered)?;
            let secret = recovery.roots.first().ok_or(RootError::Tampered).and_then(|root| {
                let (wrapped, context) = prepare(parsed, root, patience.left())?;
                roots.unwrap(root, wrapped, &context)
            });
            let secret = secret.map_err(|error| Shut::fold([error]))?;
            open_ring_key(parsed, &recovery, &[secret.key()]).map_err(|_| Shut::Tampered)
        })
    }

    fn open_with(self, unwrap: impl Fn(&Parsed) -> Result<Key32, Shut>) -> Result<(Ring, Option<Repair>), Shut> {
        let mut failure = None;
        for (parsed, epoch, place) in self.candidates {
            let ring = unwrap(&parsed).and_then(|ring_key| open(parsed, &epoch, ring_key).map_err(|_| Shut::Tampered));
            match ring {
                Ok(ring) => {
                    let [a, b] = &self.slots;
                    let differ = a.as_bytes() != b.as_bytes();
                    return Ok((ring, differ.then_some(Repair { found: self.slots, good: place })));
                }
                // What a slot that somebody may have put there is answered must not cover a refusal of the other.
                Err(shut) => failure = Some(failure.map_or(shut, |worst: Shut| worst.or_worse(shut))),
            }
        }
        // `read` finds a candidate, or fails.
        Err(failure.unwrap_or(Shut::Tampered))
    }
}

impl Repair {
    /// Writes the slot that opened over the other, unless somebody has written either since they were read. What
    /// cannot be repaired now is tried again when the ring is next loaded: the ring that opened is good.
    pub(crate) fn run(&self, rings: &RingFile, number: u32) {
        let unchanged =
            |now: &[Slot; 2]| now.iter().zip(&self.found).all(|(now, then)| now.as_bytes() == then.as_bytes());
        if !read_both(rings, number).is_ok_and(|now| unchanged(&now)) {
            return;
        }
        let side = SIDES[1 - self.good];
        metrics::counter!("strongroom_ring_repairs_total").increment(1);
        match rings.write(number, side, self.found[self.good].copy()) {
            Ok(()) => tracing::warn!(?side, "a ring slot differed from its twin and was written again"),
            Err(error) => tracing::error!(?side, %error, "a ring slot differs from its twin and cannot be written"),
        }
    }
}

/// Derives and checks: ring check, keyset.
fn open(parsed: Parsed, belief: &EpochBelief, ring_key: Key32) -> Result<Ring> {
    let check = derive::ring_check(&ring_key, parsed.incarnation, parsed.epoch, &belief.policy_digest);
    if belief.ring_check.is_some_and(|expected| !bool::from(check.expose_secret().ct_eq(&expected))) {
        tracing::error!(incarnation = ?parsed.incarnation, "a ring opened that is not the one of the directory");
        return Err(Error::tampered());
    }
    let keyset = XaesKey::new(&derive::ring_seal(&ring_key, parsed.incarnation, parsed.epoch))
        .open_key(keyset_aad(&parsed.head).as_slice(), &parsed.keyset)?;
    let keyset = Keyset::decode(&keyset).ok_or_else(Error::tampered)?;
    let Parsed { incarnation, policy, epoch, sequence, roots, seals, .. } = parsed;
    Ok(Ring::new(incarnation, policy, keyset, Origin { epoch, sequence, ring_key, roots, seals }))
}

/// What a root key is to unwrap, and the call that asks it.
pub(super) fn prepare<'p>(
    parsed: &'p Parsed,
    root: &RootId,
    patience: Duration,
) -> Result<(&'p Wrapped, WrapContext), RootError> {
    let (_, wrapped) = parsed.roots.iter().find(|(id, _)| id == root).ok_or(RootError::Tampered)?;
    // No answer, and none that could be taken for an outage: nobody was asked.
    let call = Call::new().map_err(|_| RootError::Tampered)?.within(patience);
    Ok((wrapped, WrapContext::new(*parsed.incarnation.as_bytes(), root.clone(), parsed.epoch, call)))
}

pub(super) fn unwrap_one(parsed: &Parsed, root: &RootId, roots: &dyn RootKeys) -> Result<WrapSecret, RootError> {
    let (wrapped, context) = prepare(parsed, root, CALL_DEADLINE)?;
    roots.unwrap(root, wrapped, &context)
}

pub(super) fn open_ring_key(parsed: &Parsed, alternative: &Alternative<'_>, secrets: &[&Key32]) -> Result<Key32> {
    let seal = parsed.seals.iter().find(|(digest, _)| *digest == alternative.digest);
    let (_, sealed) = seal.ok_or_else(Error::tampered)?;
    let kek = XaesKey::new(&derive::kek(secrets, parsed.incarnation, parsed.epoch, &alternative.digest));
    let aad = ring_key_aad(parsed.incarnation, parsed.epoch, &alternative.digest);
    Key32::from_slice(&kek.open_key(aad.as_slice(), sealed)?).ok_or_else(Error::tampered)
}
