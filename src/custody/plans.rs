//! What of an act can be checked without doing it: for dry runs. Nothing here writes, and no root key is asked.

#[cfg(feature = "backup")]
use std::path::Path;

use super::{Custody, TenantCustody, TenantSpec, TenantSummary};
#[cfg(feature = "backup")]
use crate::backup::{self, BackupPlan, TenantRestore};
use crate::directory::{Proposal, ProposedChange};
use crate::error::Result;
use crate::keys::Policy;
use crate::kms::RootId;
use crate::name::TenantName;

impl Custody {
    /// Whether a tenant could be made, and its name.
    pub(super) fn check_create(&self, spec: TenantSpec) -> Result<TenantName> {
        self.check()?;
        let newcomer = spec.check()?;
        self.directory.check_newcomer(&newcomer)?;
        Ok(newcomer.name)
    }

    /// Whether a tenant could be suspended or resumed, and how it is now.
    pub(super) fn check_change(&self, name: &str) -> Result<TenantSummary> {
        self.check()?;
        Ok(TenantSummary::of(&*self.directory.find_living(name)?))
    }

    /// Whether an escrow could be written there.
    #[cfg(feature = "backup")]
    pub(super) fn check_export(&self, path: &Path) -> Result<()> {
        self.check()?;
        backup::check_export(&self.directory, path)
    }

    /// Whether a backup could begin.
    #[cfg(feature = "backup")]
    pub(super) fn check_backup(&self, plan: &BackupPlan<'_>) -> Result<()> {
        self.check()?;
        backup::check_backup(&self.directory, plan)
    }

    /// Whether a tenant could come back from a backup, and its new name.
    #[cfg(feature = "backup")]
    pub(super) fn check_restore(&self, restore: &TenantRestore) -> Result<TenantName> {
        self.check()?;
        backup::check_restore(&self.directory, restore)
    }

    /// The tenants whose policy names a root key, and those of whom that cannot be told now.
    pub(super) fn check_rotate_root(&self, root: &str) -> Result<(Vec<TenantName>, usize)> {
        self.check()?;
        let (root, mut found, mut unknown) = (RootId::new(root)?, Vec::new(), 0);
        for tenant in self.directory.list() {
            match self.directory.with_outline(&tenant, |outline| outline.policy.roots().contains(&root)) {
                Ok(true) => found.push(tenant.name().clone()),
                Ok(false) => {}
                Err(_) => unknown += 1,
            }
        }
        Ok((found, unknown))
    }
}

impl TenantCustody {
    /// The policy and the epoch as they are.
    pub(super) fn check_epoch(&self) -> Result<(Policy, u32)> {
        self.check()?;
        self.directory.with_outline(&self.tenant, |outline| (outline.policy.clone(), outline.epoch))
    }

    /// Whether something could be proposed, and as which number.
    pub(super) fn check_propose(&self, change: ProposedChange, reason: &str) -> Result<u32> {
        self.check()?;
        let (person, now_secs) = (self.identity.person(), self.clock.wall_ms() / 1000);
        self.directory.charter(&self.tenant)?.propose(person, reason, now_secs, change)
    }

    /// Whether a proposal could be taken back.
    pub(super) fn check_withdraw(&self, proposal: u32) -> Result<()> {
        self.check()?;
        self.directory.charter(&self.tenant)?.remove(proposal)
    }

    /// Whether a proposal could be applied, and what it is.
    pub(super) fn check_apply(&self, proposal: u32) -> Result<Proposal> {
        self.check()?;
        Ok(self.directory.charter(&self.tenant)?.applicable(proposal, &self.identity.person())?.clone())
    }
}
