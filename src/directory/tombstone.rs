//! What is left of a deleted tenant: that it was deleted, so that no backup brings it back.

use serde::{Deserialize, Serialize};

use crate::engine::Batch;
use crate::entropy::Entropy;
use crate::error::Result;
use crate::keys::Ring;
use crate::name::Incarnation;
use crate::seal::Table;

/// Deleted tenants by incarnation, for ever: a backup may be as old as it likes.
pub(super) const TOMBSTONES: Table = Table { keyspace: 0, collection: 9 };

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    incarnation: Incarnation,
    deleted_secs: u64,
}

/// Adds a tombstone to a batch.
pub(super) fn entomb(
    batch: &mut Batch,
    ring: &Ring,
    entropy: &dyn Entropy,
    incarnation: Incarnation,
    deleted_secs: u64,
) -> Result<()> {
    let tombstone = Tombstone { incarnation, deleted_secs };
    TOMBSTONES.put(batch, ring, entropy, &[incarnation.as_bytes()], &tombstone)
}
