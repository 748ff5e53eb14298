//! Verifying a receipt without the store that issued it.

use std::io::BufRead;

use sha2::{Digest, Sha256};

use super::Receipt;
use crate::audit::{Act, Checkpoint, Event, VerifierKey, verify_events};
use crate::error::{Error, ErrorKind, Result};

/// A receipt that is the store's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedReceipt {
    /// What it says.
    pub receipt: Receipt,
    /// The number of the event in the exported trail that names this receipt, if a trail was given.
    pub sequence: Option<u64>,
}

/// Verifies a receipt: `key` has signed it, and it is that of the tenant whose trail the key is named after. With
/// `trail`, the exported audit trail of the tenant: that trail is whole and signed, has grown out of the checkpoint in
/// the receipt, and names the receipt.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) if it is no receipt, or another tenant's;
/// [`Tampered`](crate::ErrorKind::Tampered) if it is not signed by this key, or the trail is not the one that it speaks
/// of; [`Corrupt`](crate::ErrorKind::Corrupt) if the trail is damaged.
pub fn verify_receipt(receipt: &str, key: &VerifierKey, trail: Option<&mut dyn BufRead>) -> Result<VerifiedReceipt> {
    let read = Receipt::parse(key.open(receipt)?)?;
    if key.name() != format!("strongroom/{}/{}", read.store, read.incarnation) {
        return Err(Error::invalid("the receipt is that of another tenant, or of another store"));
    }
    // Signed with the same key, of the same trail.
    Checkpoint::open(&read.checkpoint, key)?;
    let judged = read.clone().judge();
    if judged != read {
        return Err(Error::new(ErrorKind::Tampered, "the receipt does not draw the conclusion from what it says"));
    }
    let Some(trail) = trail else { return Ok(VerifiedReceipt { receipt: read, sequence: None }) };
    let (digest, mut named, mut number) = (digest(receipt), None, 0);
    verify_events(trail, Some(key), Some(&read.checkpoint), &mut |leaf| {
        let Event { act, details, .. } = Event::decode(leaf)?;
        let names = |(key, value): &(String, String)| key == "receipt" && *value == digest;
        if act == Act::PURGE_DONE && details.iter().any(names) {
            named = Some(number);
        }
        number += 1;
        Ok(())
    })?;
    let sequence = named.ok_or_else(|| Error::new(ErrorKind::Tampered, "the trail does not name this receipt"))?;
    Ok(VerifiedReceipt { receipt: read, sequence: Some(sequence) })
}

/// What the trail calls a receipt: the SHA-256 of all of it, in hex.
pub(crate) fn digest(receipt: &str) -> String {
    Sha256::digest(receipt).iter().fold(String::with_capacity(64), |hex, byte| hex + &format!("{byte:02x}"))
}
