//! Ring slots on their way into an escrow and back into a ring file. They stay wrapped under their root keys.

use super::slot::{Parsed, Slot};
use super::store::{Belief, read_both};
use crate::cells::{RingFile, Side};
use crate::error::{Error, Result};
use crate::name::Incarnation;

/// A box's slots that match what the directory says, without their trailing zeros: one if both are equal. Both if
/// they are not, because only the roots can tell which of them opens, and nobody asks them here.
///
/// # Errors
/// `Corrupt` if neither is the one described.
pub(crate) fn export(rings: &RingFile, number: u32, belief: &Belief) -> Result<Vec<Vec<u8>>> {
    let mut exported: Vec<Vec<u8>> = Vec::with_capacity(2);
    for slot in &read_both(rings, number)? {
        if believed(slot, belief) && !exported.contains(&slot.used()) {
            exported.push(slot.used());
        }
    }
    match exported.is_empty() {
        true => Err(Error::corrupt("the ring of a tenant is missing, damaged or older than the directory")),
        false => Ok(exported),
    }
}

/// Writes exported slots into a box, durably. False, and nothing is written, if none of them is the one described.
pub(crate) fn import(rings: &RingFile, number: u32, belief: &Belief, exported: &[Vec<u8>]) -> Result<bool> {
    let slots: Vec<Slot> = exported.iter().filter_map(|used| Slot::from_used(used)).collect();
    let slots: Vec<&Slot> = slots.iter().filter(|slot| believed(slot, belief)).collect();
    let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return Ok(false) };
    rings.write(number, Side::A, first.copy())?;
    rings.write(number, Side::B, last.copy())?;
    Ok(true)
}

/// Whether one of these slots is the one described.
pub(crate) fn is_believed(exported: &[Vec<u8>], belief: &Belief) -> bool {
    exported.iter().filter_map(|used| Slot::from_used(used)).any(|slot| believed(&slot, belief))
}

/// Writes tenant zero's exported slots. It has no row: what vouches for it is the root that opens it.
pub(crate) fn import_zero(rings: &RingFile, store: Incarnation, exported: &[Vec<u8>]) -> Result<()> {
    let is_zeros = |slot: &&Slot| Parsed::parse(slot.as_bytes()).is_some_and(|parsed| parsed.incarnation == store);
    let slots: Vec<Slot> = exported.iter().filter_map(|used| Slot::from_used(used)).collect();
    let slots: Vec<&Slot> = slots.iter().filter(is_zeros).collect();
    let (Some(first), Some(last)) = (slots.first(), slots.last()) else {
        return Err(Error::corrupt("the escrow does not hold the store's own ring"));
    };
    rings.write(0, Side::A, first.copy())?;
    rings.write(0, Side::B, last.copy())
}

fn believed(slot: &Slot, belief: &Belief) -> bool {
    Parsed::parse(slot.as_bytes()).is_some_and(|parsed| belief.matching_epoch(&parsed).is_some())
}
