//! What of an act can be checked without doing it: for dry runs. Nothing here writes, and no root key is asked.

#[cfg(feature = "backup")]
use std::path::Path;

use super::{Custody, TenantSpec, TenantSummary};
#[cfg(feature = "backup")]
use crate::backup::{self, BackupPlan, TenantRestore};
use crate::error::Result;
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
}
