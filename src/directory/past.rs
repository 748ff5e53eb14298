//! Root versions that have wrapped a tenant's ring. Nothing of the store opens with those of epochs that are over, but a
//! stray copy of a ring from then does: whoever wants to know that none is left has to ask for them too.

use serde::{Deserialize, Serialize};

use super::{Directory, Tenant};
use crate::engine::Batch;
use crate::error::Result;
use crate::keys::{Ring, RootProbe};
use crate::name::Incarnation;
use crate::seal::Table;

/// By incarnation, root key and version: however often an epoch begins, there are no more of them than versions.
const PAST_ROOTS: Table = Table { keyspace: 0, collection: 13 };

/// A version of a root key, and what it wrapped last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PastRoot {
    incarnation: Incarnation,
    /// The newest generation whose key was in a ring that it wrapped.
    newest_generation: u32,
    probe: RootProbe,
}

impl PastRoot {
    /// All that a ring is under.
    pub(super) fn all_of(ring: &Ring) -> Vec<Self> {
        let (incarnation, newest_generation) = (ring.incarnation(), ring.write_generation());
        let past = |probe| Self { incarnation, newest_generation, probe };
        RootProbe::all_of(ring).into_iter().map(past).collect()
    }

    fn key(&self) -> [&[u8]; 3] {
        let (root, version) = self.probe.name();
        [self.incarnation.as_bytes(), root.as_bytes(), version.as_bytes()]
    }
}

impl Directory {
    /// Adds to the batch that announces a tenant's next epoch what the one before was under. It comes with the
    /// announcement, because once the slots are written nobody can tell any more.
    pub(super) fn put_past_roots(&self, batch: &mut Batch, past: &[PastRoot]) -> Result<()> {
        past.iter().try_for_each(|past| self.register.put(batch, PAST_ROOTS, &past.key(), past))
    }

    /// The root versions that have wrapped a tenant's ring, those alone that did while `generation` was there if one is
    /// named.
    pub(crate) fn past_roots(&self, tenant: &Tenant, generation: Option<u32>) -> Result<Vec<RootProbe>> {
        let held = |past: &PastRoot| generation.is_none_or(|generation| past.newest_generation >= generation);
        Ok(self.all_past(tenant)?.into_iter().filter(held).map(|past| past.probe).collect())
    }

    /// Adds to the batch that ends a tenant that they are forgotten: what a receipt needs of them is in the purge.
    pub(super) fn forget_past_roots(&self, batch: &mut Batch, tenant: &Tenant) -> Result<()> {
        let past = self.all_past(tenant)?;
        past.iter().try_for_each(|past| self.register.delete(batch, PAST_ROOTS, &past.key()))
    }

    fn all_past(&self, tenant: &Tenant) -> Result<Vec<PastRoot>> {
        self.register.list(PAST_ROOTS, &[tenant.incarnation().as_bytes()])
    }
}
