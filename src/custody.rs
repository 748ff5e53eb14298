//! The door of key custodians: they make, suspend, resume and delete tenants, and read no record.

#[cfg(feature = "backup")]
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::access::{Right, VerifiedIdentity};
#[cfg(feature = "backup")]
use crate::backup::{
    self, BackupPlan, BackupReport, BackupSummary, EscrowLock, ExportReport, TenantRestore, VerifyReport,
};
use crate::clock::Clock;
use crate::directory::{Directory, Speaker, Status, Tenant, check_speakers};
use crate::error::{Error, ErrorKind, Result};
use crate::name::TenantName;

/// Acts of a custodian of the service. Made by [`Strongroom::custody`](crate::Strongroom::custody); ends as a
/// [`Session`](crate::Session) does.
pub struct Custody {
    identity: VerifiedIdentity,
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    store_is_open: Arc<AtomicBool>,
}

/// A tenant that is to be made.
#[derive(Clone, Debug)]
#[must_use = "a specification does nothing until a custodian makes the tenant"]
pub struct TenantSpec {
    name: String,
    speakers: Vec<Speaker>,
}

/// A tenant, as a custodian sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantSummary {
    /// Its name.
    pub name: TenantName,
    /// Whether sessions of it are admitted.
    pub state: TenantState,
    /// Who may speak for it.
    pub speakers: Vec<Speaker>,
    /// When it was made, in seconds since 1970.
    pub created_secs: u64,
}

/// Whether a tenant's sessions are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TenantState {
    /// They are.
    Active,
    /// They are not, and its records are whole.
    Suspended,
    /// It has been deleted; what is left of it is being wiped.
    Deleting,
}

impl Custody {
    /// Admits a custodian of the service: the role, and a speaker whom the service's configuration names.
    pub(crate) fn admit(
        identity: VerifiedIdentity,
        service: &[Speaker],
        directory: Arc<Directory>,
        clock: Arc<dyn Clock>,
        store_is_open: Arc<AtomicBool>,
    ) -> Result<Self> {
        identity.check_speaks_for(service)?;
        let custody = Self { identity, directory, clock, store_is_open };
        custody.check()?;
        Ok(custody)
    }

    /// Makes a tenant, with keys and a box of its own, durably.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if the name is taken; [`Invalid`](crate::ErrorKind::Invalid) for a
    /// bad name or speaker; [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`KeyRevoked`](crate::ErrorKind::KeyRevoked) if a root key does not wrap. Nothing was made then.
    pub fn create_tenant(&self, spec: TenantSpec) -> Result<TenantSummary> {
        self.check()?;
        let name = TenantName::new(spec.name)?;
        check_speakers(&spec.speakers)?;
        let tenant = self.directory.create(&name, spec.speakers)?;
        tracing::info!(incarnation = ?tenant.incarnation(), "made a tenant");
        Ok(TenantSummary::of(&tenant))
    }

    /// Ends every session of a tenant at its next step and admits no more. Its records stay as they are.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such tenant. After any other error the tenant is closed
    /// in this process, and whether it is written down is unknown: call again.
    pub fn suspend_tenant(&self, name: &str) -> Result<()> {
        self.check()?;
        self.directory.suspend(name)
    }

    /// Admits the sessions of a suspended tenant again.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such tenant.
    pub fn resume_tenant(&self, name: &str) -> Result<()> {
        self.check()?;
        self.directory.resume(name)
    }

    /// Deletes a tenant: its sessions end, its ring is overwritten, its box is wiped. When this returns, no key of it
    /// is left in the store's ring files. What backups and snapshots of the volume hold is in the chapter on threats.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such tenant. After any other error the tenant is
    /// closed in this process, and the deletion goes on when this is called again or, if it had been written down, when
    /// the store is next opened.
    pub fn delete_tenant(&self, name: &str) -> Result<()> {
        self.check()?;
        self.directory.delete(name)?;
        Ok(())
    }

    /// Every tenant, by name.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn tenants(&self) -> Result<Vec<TenantSummary>> {
        self.check()?;
        Ok(self.directory.list().iter().map(|tenant| TenantSummary::of(tenant)).collect())
    }

    /// Writes the rings of the store and of every tenant into an escrow: one file, sealed to whoever may recover the
    /// store, in the place of whatever was there. Export again after tenants were made and before the next backup.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the file would lie in the store's folder;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if it cannot be written.
    #[cfg(feature = "backup")]
    pub fn export_rings(&self, path: impl AsRef<Path>, lock: &EscrowLock) -> Result<ExportReport> {
        self.check()?;
        backup::export(&self.directory, &*self.clock, path.as_ref(), lock)
    }

    /// Makes a backup while the store goes on working.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if no escrow holds the rings, for a store in memory, and if the folder
    /// lies in the store's or holds something else or another store's backups;
    /// [`Conflict`](crate::ErrorKind::Conflict) if another backup is under way;
    /// [`Corrupt`](crate::ErrorKind::Corrupt) or [`Unavailable`](crate::ErrorKind::Unavailable) if a cell or the disk
    /// fails. What was copied stays, and the next backup goes on from there.
    #[cfg(feature = "backup")]
    pub fn backup(&self, plan: BackupPlan<'_>) -> Result<BackupReport> {
        self.check()?;
        backup::take(&self.directory, &*self.clock, plan)
    }

    /// The backups of this store in a folder, oldest first. Their manifests are checked, and their files are not.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the folder holds none; [`Invalid`](crate::ErrorKind::Invalid) if
    /// they are another store's; [`Corrupt`](crate::ErrorKind::Corrupt) if a manifest is damaged.
    #[cfg(feature = "backup")]
    pub fn backups(&self, repository: impl AsRef<Path>) -> Result<Vec<BackupSummary>> {
        self.check()?;
        backup::list_own(&self.directory, repository.as_ref())
    }

    /// Reads every byte of a backup, the newest unless `number` says otherwise, and compares it with its manifest.
    ///
    /// # Errors
    /// As [`backups`](Self::backups), and [`Corrupt`](crate::ErrorKind::Corrupt) if a byte is another or a file is
    /// missing.
    #[cfg(feature = "backup")]
    pub fn verify_backup(&self, repository: impl AsRef<Path>, number: Option<u64>) -> Result<VerifyReport> {
        self.check()?;
        backup::verify_own(&self.directory, repository.as_ref(), number)
    }

    /// Brings a tenant's records back from a backup as a new tenant beside the living ones, with an incarnation and a
    /// ring of its own: what becomes of either does not touch the other. Nobody can sign in to it before it is whole.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the backup does not hold the tenant;
    /// [`KeyDestroyed`](crate::ErrorKind::KeyDestroyed) if it was deleted since: it does not come back;
    /// [`Conflict`](crate::ErrorKind::Conflict) if the new name is taken or a backup is under way;
    /// [`Denied`](crate::ErrorKind::Denied) while the original is suspended; [`Corrupt`](crate::ErrorKind::Corrupt)
    /// and [`Tampered`](crate::ErrorKind::Tampered) if the backup is damaged. Nothing was made then.
    #[cfg(feature = "backup")]
    pub fn restore_tenant(&self, restore: &TenantRestore) -> Result<TenantSummary> {
        self.check()?;
        let (tenant, _) = backup::restore_tenant(&self.directory, restore)?;
        Ok(TenantSummary::of(&tenant))
    }

    fn check(&self) -> Result<()> {
        if !self.store_is_open.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Closed, "the store has been closed"));
        }
        self.identity.check_deadline(&*self.clock)?;
        self.identity.check_right(Right::Custodian)
    }
}

impl TenantSpec {
    /// A tenant `name`, for which tokens of `issuer` speak whose tenant claim is `tenant_claim`. Required, because a
    /// tenant for which nobody can speak is of no use, and one for which anybody can is worse.
    pub fn new(name: impl Into<String>, issuer: impl Into<String>, tenant_claim: impl Into<String>) -> Self {
        Self { name: name.into(), speakers: vec![Speaker::new(issuer, tenant_claim)] }
    }

    /// One more pair of issuer and tenant claim that speaks for this tenant; at most 16, each once.
    pub fn speaker(mut self, issuer: impl Into<String>, tenant_claim: impl Into<String>) -> Self {
        self.speakers.push(Speaker::new(issuer, tenant_claim));
        self
    }
}

impl TenantSummary {
    fn of(tenant: &Tenant) -> Self {
        let state = match tenant.status() {
            Status::Active => TenantState::Active,
            Status::Suspended => TenantState::Suspended,
            Status::Destroying => TenantState::Deleting,
        };
        Self {
            name: tenant.name().clone(),
            state,
            speakers: tenant.speakers().to_vec(),
            created_secs: tenant.created_secs(),
        }
    }
}

impl std::fmt::Debug for Custody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custody").field("by", &self.identity.subject()).finish_non_exhaustive()
    }
}
