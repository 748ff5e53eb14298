//! Epochs of a tenant that are over. Nothing of the store opens with their root versions any more, but a stray copy of a
//! ring from then does: whoever wants to know that none is left has to ask for those versions too.

use serde::{Deserialize, Serialize};

use super::{Directory, Tenant};
use crate::engine::Batch;
use crate::error::Result;
use crate::keys::{Ring, RootProbe};
use crate::name::Incarnation;
use crate::seal::Table;

/// By incarnation and epoch.
const PAST_EPOCHS: Table = Table { keyspace: 0, collection: 13 };

/// An epoch that is over, or about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PastEpoch {
    incarnation: Incarnation,
    epoch: u32,
    /// The newest generation whose key its ring held.
    newest_generation: u32,
    roots: Vec<RootProbe>,
}

impl PastEpoch {
    pub(super) fn of(ring: &Ring) -> Self {
        let (incarnation, epoch, newest_generation) = (ring.incarnation(), ring.epoch(), ring.write_generation());
        Self { incarnation, epoch, newest_generation, roots: RootProbe::all_of(ring) }
    }
}

impl Directory {
    /// Adds to the batch that announces a tenant's next epoch what the one before was under. It comes with the
    /// announcement, because once the slots are written nobody can tell any more.
    pub(super) fn put_past_epoch(&self, batch: &mut Batch, past: &PastEpoch) -> Result<()> {
        let key: [&[u8]; 2] = [past.incarnation.as_bytes(), &past.epoch.to_be_bytes()];
        self.register.put(batch, PAST_EPOCHS, &key, past)
    }

    /// The root versions that wrapped a tenant's earlier epochs, those alone in which `generation` was there if one is named.
    pub(crate) fn past_roots(&self, tenant: &Tenant, generation: Option<u32>) -> Result<Vec<RootProbe>> {
        let past: Vec<PastEpoch> = self.register.list(PAST_EPOCHS, &[tenant.incarnation().as_bytes()])?;
        let held = |past: &PastEpoch| generation.is_none_or(|generation| past.newest_generation >= generation);
        Ok(past.into_iter().filter(held).flat_map(|past| past.roots).collect())
    }

    /// Adds to the batch that ends a tenant that its epochs are forgotten: what a receipt needs of them is in the purge.
    pub(super) fn forget_past_epochs(&self, batch: &mut Batch, tenant: &Tenant) -> Result<()> {
        let incarnation = tenant.incarnation();
        let past: Vec<PastEpoch> = self.register.list(PAST_EPOCHS, &[incarnation.as_bytes()])?;
        let forget = |past: &PastEpoch| {
            self.register.delete(batch, PAST_EPOCHS, &[incarnation.as_bytes(), &past.epoch.to_be_bytes()])
        };
        past.iter().try_for_each(forget)
    }
}
