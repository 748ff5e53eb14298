//! Writing: changes gathered, sealed under fresh nonces from one call to the operating system, applied at once.

use std::sync::Arc;

use super::authority::Authority;
use super::catalog::Info;
use crate::access::Right;
use crate::aead::NONCE_LEN;
use crate::engine::{Batch, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::Ring;
use crate::seal::{self, Place, Version};
use crate::secret::Plaintext;

/// What must be there for a conditional write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No record.
    Absent,
    /// The record that was set by this write.
    Version(Version),
}

/// One change that is to happen with others.
pub(super) struct Change {
    pub(super) info: Arc<Info>,
    pub(super) engine_key: Vec<u8>,
    /// `None` deletes.
    pub(super) value: Option<Plaintext>,
    pub(super) expected: Option<Expected>,
}

/// How often a conditional write tries again when a record was resealed under its hands.
const ATTEMPTS: u32 = 16;

/// Applies all changes or none. Returns a version for each change that sets a value, in order.
///
/// # Errors
/// `Conflict` if an expectation does not hold: nothing was changed. Errors of the engine: the outcome is unknown.
pub(super) fn commit(authority: &Authority, changes: &[Change], durability: Durability) -> Result<Vec<Version>> {
    authority.check(Right::Write)?;
    let tenant = authority.tenant();
    // Before the gate, for which a suspension waits: the roots may take their time.
    let ring = tenant.ring()?;
    let _tenant_stays = authority.begin_write()?;
    let mut infos: Vec<&Arc<Info>> = changes.iter().map(|change| &change.info).collect();
    infos.sort_by_key(|info| info.id);
    infos.dedup_by_key(|info| info.id);
    let _collections_stay = infos.into_iter().map(|info| info.begin_write()).collect::<Result<Vec<_>>>()?;
    let mut nonces = vec![[0; NONCE_LEN]; changes.iter().filter(|change| change.value.is_some()).count()];
    authority.entropy().fill(nonces.as_flattened_mut())?;
    for _ in 0..ATTEMPTS {
        let batch = seal_all(authority, &ring, changes, &nonces, durability)?;
        let conditional = changes.iter().any(|change| change.expected.is_some());
        match tenant.writer()?.apply(batch) {
            // Either somebody set the record, and the next look at it says so, or it was resealed.
            Err(error) if error.kind() == ErrorKind::Conflict && conditional => {}
            Err(error) => return Err(error),
            Ok(()) => {
                metrics::counter!("strongroom_writes_total").increment(changes.len() as u64);
                return Ok(nonces.iter().map(Version::of_write).collect());
            }
        }
    }
    Err(Error::new(ErrorKind::Throttled, "the record is being changed too often"))
}

fn seal_all(
    authority: &Authority,
    ring: &Ring,
    changes: &[Change],
    nonces: &[[u8; NONCE_LEN]],
    durability: Durability,
) -> Result<Batch> {
    let keyspace = authority.tenant().keyspace();
    let mut batch = Batch::new(durability);
    let mut nonces = nonces.iter();
    for change in changes {
        let place = Place { collection: change.info.id, engine_key: &change.engine_key };
        if let Some(expected) = change.expected {
            expect(authority, ring, place, expected, &mut batch)?;
        }
        match (&change.value, change.value.as_ref().and_then(|_| nonces.next())) {
            (Some(value), Some(nonce)) => {
                let envelope = seal::seal(ring, place, nonce, value)?;
                batch.put(keyspace, change.engine_key.clone(), envelope);
            }
            _ => batch.delete(keyspace, change.engine_key.clone()),
        }
    }
    Ok(batch)
}

/// Compares the version now, and has the engine compare the bytes again when it writes.
fn expect(authority: &Authority, ring: &Ring, place: Place<'_>, expected: Expected, batch: &mut Batch) -> Result<()> {
    let tenant = authority.tenant();
    let mut found = None;
    tenant.writer()?.get(tenant.keyspace(), place.engine_key, &mut |bytes| {
        let version = seal::open(ring, place, bytes).map(|opened| opened.version());
        found = Some(version.map(|version| (version, seal::peek_head(bytes).to_vec())));
    })?;
    match (expected, found.transpose()?) {
        (Expected::Absent, None) => batch.expect_absent(tenant.keyspace(), place.engine_key.to_vec()),
        (Expected::Version(expected), Some((version, head))) if version == expected => {
            batch.expect_head(tenant.keyspace(), place.engine_key.to_vec(), head);
        }
        _ => return Err(Error::conflict("the record is not as expected")),
    }
    Ok(())
}

impl From<Version> for Expected {
    fn from(version: Version) -> Self {
        Self::Version(version)
    }
}
