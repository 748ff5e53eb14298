//! What of an act can be checked without doing it: for dry runs. Nothing here writes, and no root key is asked.

#[cfg(feature = "backup")]
use std::path::Path;

use super::purge::statement;
use super::{Custody, PurgedTenant, TenantCustody, TenantSpec, TenantSummary, check_accepted};
#[cfg(feature = "backup")]
use crate::backup::{self, BackupPlan, EscrowKey, TenantRestore};
use crate::directory::{Fence, Proposal, ProposedChange, Purge, check_reason};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::Policy;
use crate::kms::RootId;
use crate::name::TenantName;
use crate::purge::PurgeStatus;

impl Custody {
    /// Whether a tenant could be made, and its name.
    pub(super) fn check_create(&self, spec: TenantSpec) -> Result<TenantName> {
        self.check()?;
        let newcomer = spec.check()?;
        check_accepted(&*self.verifier, &newcomer.speakers)?;
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

    /// Whether rings could be brought back from an escrow.
    #[cfg(feature = "backup")]
    pub(super) fn check_import(&self, path: &Path, key: &EscrowKey, tenants: &[&str]) -> Result<()> {
        self.check()?;
        backup::check_import(&self.directory, path, key, tenants)
    }

    /// The purges whose time has come, and those that have begun and have no receipt.
    pub(super) fn check_run_purges(&self) -> Result<Vec<PurgeStatus>> {
        self.check()?;
        let now_secs = self.clock.wall_ms() / 1000;
        let is_due = |purge: &Purge| match purge.is_carried_out() {
            true => purge.status().receipts == 0,
            false => purge.check_due(now_secs).is_ok(),
        };
        Ok(self.directory.purges()?.iter().filter(|purge| is_due(purge)).map(Purge::status).collect())
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

    /// Whether a reason is one, and what shuts the tenant now.
    pub(super) fn check_reason(&self, reason: &str) -> Result<Option<Fence>> {
        self.check()?;
        check_reason(reason)?;
        Ok(self.tenant.fence())
    }

    /// Whether the rules let one custodian do what could be proposed as well.
    pub(super) fn check_alone(&self) -> Result<()> {
        self.directory.charter(&self.tenant)?.check_alone()
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

    /// Whether a purge could be asked for, and how long it would wait at least, in seconds.
    pub(super) fn check_request_purge(&self, reason: &str) -> Result<u64> {
        self.check()?;
        check_reason(reason)?;
        if self.directory.purge(self.tenant.incarnation())?.is_some() {
            return Err(Error::conflict("a purge of the tenant has been requested already"));
        }
        Ok(self.rules()?.cooling_off_secs)
    }

    /// Whether the purge could be approved, and how far it has come.
    pub(super) fn check_approve_purge(&self, reason: &str) -> Result<PurgeStatus> {
        check_reason(reason)?;
        let status = self.pending_purge()?.status();
        if status.requested.is_by_same_person(&statement(&self.identity, &*self.clock, reason)) {
            return Err(Error::new(ErrorKind::Denied, "another custodian than the one who asked has to approve it"));
        }
        Ok(status)
    }

    /// Whether the purge could be taken back, and how far it has come.
    pub(super) fn check_cancel_purge(&self, reason: &str) -> Result<PurgeStatus> {
        check_reason(reason)?;
        self.pending_purge().map(|purge| purge.status())
    }

    /// Whether the purge could be carried out now, and how far it has come.
    pub(super) fn check_execute_purge(&self) -> Result<PurgeStatus> {
        let purge = self.pending_purge()?;
        purge.check_due(self.clock.wall_ms() / 1000)?;
        Ok(purge.status())
    }

    fn pending_purge(&self) -> Result<Purge> {
        self.check()?;
        let purge = self.directory.purge(self.tenant.incarnation())?;
        let purge =
            purge.ok_or_else(|| Error::new(ErrorKind::NotFound, "no purge of the tenant has been requested"))?;
        match purge.is_carried_out() {
            true => Err(Error::conflict("the purge has been carried out")),
            false => Ok(purge),
        }
    }
}

impl PurgedTenant {
    /// Whether somebody could vouch for the end of an escrow of this number.
    pub(super) fn check_declare(&self, number: u64, reason: &str) -> Result<()> {
        self.check()?;
        check_reason(reason)?;
        let purge = self.directory.purge(self.incarnation)?;
        let mut purge = purge.ok_or_else(|| Error::corrupt("the record of a purge is gone"))?;
        purge.declare(number, &statement(&self.identity, &*self.clock, reason))
    }
}
