//! The door of key custodians: they make, suspend, resume and delete tenants, and read no record.

#[cfg(feature = "backup")]
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::access::{Right, VerifiedIdentity};
#[cfg(feature = "backup")]
use crate::audit::{Act, Event};
#[cfg(feature = "backup")]
use crate::backup::{
    self, BackupPlan, BackupReport, BackupSummary, EscrowLock, ExportReport, TenantRestore, VerifyReport,
};
use crate::clock::Clock;
use crate::directory::{Directory, Speaker, Stats, in_specs};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Verifier;

pub use self::access::AccessStatus;
pub use self::audit::Trail;
pub use self::doctor::{Finding, Grade, Health};
pub use self::generations::{Blocker, CanDestroy, Destroyable, GenerationState, OutstandingEscrow, RetireReport};
pub use self::purge::PurgedTenant;
pub use self::rotation::{RootRotation, RotationReport};
pub use self::tenant::{GenerationStatus, KeyStatus, TenantCustody};
pub(crate) use self::tenants::check_accepted;
use self::tenants::check_all;
pub use self::tenants::{TenantSpec, TenantState, TenantSummary};

mod access;
mod audit;
pub mod desk;
mod doctor;
mod generations;
mod plans;
mod purge;
mod rotation;
mod tenant;
mod tenants;

/// Acts of a custodian of the service. Made by [`Strongroom::custody`](crate::Strongroom::custody); ends as a
/// [`Session`](crate::Session) does.
pub struct Custody {
    identity: Arc<VerifiedIdentity>,
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    verifier: Arc<dyn Verifier>,
    store_is_open: Arc<AtomicBool>,
}

impl Custody {
    /// Admits a custodian of the service: the role, and a speaker whom the service's configuration names.
    pub(crate) fn admit(
        identity: VerifiedIdentity,
        service: &[Speaker],
        directory: Arc<Directory>,
        clock: Arc<dyn Clock>,
        verifier: Arc<dyn Verifier>,
        store_is_open: Arc<AtomicBool>,
    ) -> Result<Self> {
        identity.check_speaks_for(service)?;
        let custody = Self { identity: Arc::new(identity), directory, clock, verifier, store_is_open };
        custody.check()?;
        Ok(custody)
    }

    /// Makes a tenant, with keys and a box of its own, durably.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if the name is taken; [`Invalid`](crate::ErrorKind::Invalid) for a
    /// bad name, a speaker that the store's verifier could never accept, or a region that is not configured;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`KeyRevoked`](crate::ErrorKind::KeyRevoked) if a root key does
    /// not wrap, the former also if the disk of its region is not there. Nothing was made then.
    pub fn create_tenant(&self, spec: TenantSpec) -> Result<TenantSummary> {
        self.check()?;
        let newcomer = spec.check()?;
        check_accepted(&*self.verifier, &newcomer.speakers)?;
        Ok(TenantSummary::of(&*self.directory.create(newcomer, &self.identity.actor())?))
    }

    /// Makes many tenants, durably and far faster than one by one: those that share a cell share their syncs. Returns
    /// them in the order of `specs`.
    ///
    /// A specification of a tenant that is there already, exactly as specified and active, counts as made. So after a
    /// failure, or a crash, the same call goes on where it stopped. Several calls may run at once, and beside others.
    ///
    /// # Errors
    /// Before anything is made, and naming the place in `specs` (`specs[7]`, counted from 0):
    /// [`Invalid`](crate::ErrorKind::Invalid) for a bad name, speaker or region and for a name that is there twice,
    /// [`Unavailable`](crate::ErrorKind::Unavailable) for a region whose disk is not there,
    /// [`Conflict`](crate::ErrorKind::Conflict) for a name that a tenant has who was specified otherwise or is not
    /// active. Later, as [`create_tenant`](Self::create_tenant), or
    /// [`Closed`](crate::ErrorKind::Closed) when the credential expires: the text says how many of the tenants are
    /// there then, each of them whole.
    pub fn create_tenants(&self, specs: Vec<TenantSpec>) -> Result<Vec<TenantSummary>> {
        self.create_tenants_with(specs, |_, _| {})
    }

    /// The same, telling `progress` how many of the tenants are there, durably, and how many there will be: at the
    /// beginning, and whenever those of one cell have been made (at most [`boxes_per_cell`] at once).
    ///
    /// [`boxes_per_cell`]: crate::StrongroomBuilder::boxes_per_cell
    ///
    /// # Errors
    /// As [`create_tenants`](Self::create_tenants).
    pub fn create_tenants_with(
        &self,
        specs: Vec<TenantSpec>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<TenantSummary>> {
        self.check()?;
        let (newcomers, by) = (check_all(specs)?, self.identity.actor());
        let mut missing = &*self.directory.missing(&newcomers)?;
        missing.iter().try_for_each(|newcomer| {
            let place = || newcomers.iter().position(|other| other.name == newcomer.name).unwrap_or_default();
            check_accepted(&*self.verifier, &newcomer.speakers).map_err(|error| error.at(in_specs(place())))
        })?;
        let (total, there) = (newcomers.len(), |missing: &[_]| newcomers.len() - missing.len());
        progress(there(missing), total);
        while !missing.is_empty() {
            let made = self.check().and_then(|()| self.directory.create_some(missing, &by)).map_err(|error| {
                error.at(format_args!("{} of {total} tenants are there, the same call makes the rest", there(missing)))
            })?;
            missing = &missing[made.len()..];
            progress(there(missing), total);
        }
        // One that somebody has deleted in the meantime is not there to be told of.
        let tenants = newcomers.iter().filter_map(|newcomer| self.directory.find(newcomer.name.as_str()));
        Ok(tenants.map(|tenant| TenantSummary::of(&tenant)).collect())
    }

    /// Ends every session of a tenant at its next step and admits no more. Its records stay as they are.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such tenant. After any other error the tenant is closed
    /// in this process, and whether it is written down is unknown: call again.
    pub fn suspend_tenant(&self, name: &str) -> Result<()> {
        self.check()?;
        self.directory.suspend(name, &self.identity.actor())
    }

    /// Admits the sessions of a suspended tenant again.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such tenant.
    pub fn resume_tenant(&self, name: &str) -> Result<()> {
        self.check()?;
        self.directory.resume(name, &self.identity.actor())
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
        self.directory.delete(name, &self.identity.actor())?;
        Ok(())
    }

    /// Who acts.
    #[must_use]
    pub fn identity(&self) -> &VerifiedIdentity {
        &self.identity
    }

    /// What the store holds and takes.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn stats(&self) -> Result<Stats> {
        self.check()?;
        Ok(self.directory.stats())
    }

    /// One tenant.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such tenant.
    pub fn tenant(&self, name: &str) -> Result<TenantSummary> {
        self.check()?;
        let tenant = self.directory.find(name).ok_or_else(no_such_tenant)?;
        Ok(TenantSummary::of(&tenant))
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
        self.witnessed(
            Event::new(Act::RINGS_EXPORTED, self.identity.actor()),
            || backup::export(&self.directory, &*self.clock, path.as_ref(), lock),
            |event, done| event.detail("tenants", done.tenants).detail("damaged", done.damaged),
        )
    }

    /// Brings the rings of these tenants back from an escrow of this store, or of all if none is named: of those alone
    /// whose own ring is damaged in both slots, and only a ring that the directory describes. What is purged or deleted
    /// does not come back.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is another store's escrow, or sealed to another key;
    /// [`NotFound`](crate::ErrorKind::NotFound) if one of these tenants is not there, and
    /// [`KeyDestroyed`](crate::ErrorKind::KeyDestroyed) if it was purged; [`Corrupt`](crate::ErrorKind::Corrupt) if the
    /// escrow is damaged. Of several tenants, some may have been done then.
    #[cfg(feature = "backup")]
    pub fn import_rings(
        &self,
        path: impl AsRef<Path>,
        key: &backup::EscrowKey,
        tenants: &[&str],
    ) -> Result<backup::ImportReport> {
        self.check()?;
        let by = self.identity.actor();
        self.witnessed(
            Event::new(Act::RINGS_IMPORTED, by.clone()),
            || backup::import(&self.directory, path.as_ref(), key, tenants, &by),
            |event, done| event.detail("tenants", done.imported.len()).detail("missing", done.missing.len()),
        )
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
        self.witnessed(
            Event::new(Act::BACKUP_MADE, self.identity.actor()),
            || backup::take(&self.directory, &*self.clock, plan),
            |event, done| event.detail("backup", done.number).detail("bytes", done.bytes),
        )
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
    /// [`Denied`](crate::ErrorKind::Denied) while the original is suspended, and if somebody is to speak for the new
    /// tenant who does not speak for the original; [`Corrupt`](crate::ErrorKind::Corrupt)
    /// and [`Tampered`](crate::ErrorKind::Tampered) if the backup is damaged. Nothing was made then.
    #[cfg(feature = "backup")]
    pub fn restore_tenant(&self, restore: &TenantRestore) -> Result<TenantSummary> {
        self.check()?;
        let (tenant, _) = backup::restore_tenant(&self.directory, restore, &self.identity.actor())?;
        Ok(TenantSummary::of(&tenant))
    }

    fn check(&self) -> Result<()> {
        if !self.store_is_open.load(Ordering::SeqCst) {
            return Err(Error::store_closed());
        }
        self.identity.check_deadline(&*self.clock)?;
        self.identity.check_right(Right::Custodian)
    }
}

fn no_such_tenant() -> Error {
    Error::new(ErrorKind::NotFound, "there is no tenant of this name")
}

impl std::fmt::Debug for Custody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custody").field("by", &self.identity.subject()).finish_non_exhaustive()
    }
}
