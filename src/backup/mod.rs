//! Backup and restore: consistent copies of a living store in a folder, and stores that come back from them.
//!
//! Two artefacts, kept apart: the backup (sealed records, no key) and the escrow (rings, still wrapped under their
//! roots). Each alone restores nothing. The chapter on [backups](crate::manual::backup) of the manual says how and why.
//!
//! ```no_run
//! use strongroom::backup::{BackupPlan, Escrow, EscrowKey, EscrowLock, Restore, TenantRestore, verify};
//! # fn example(custody: strongroom::Custody, roots: strongroom::LocalRoots) -> strongroom::Result<()> {
//! // Once, and then kept where neither the store nor its backups are:
//! let (secret, recipient) = EscrowKey::generate();
//!
//! // The keys, still wrapped under their roots; then the records, while the store works on.
//! custody.export_rings("elsewhere/rings.age", &EscrowLock::recipients([recipient.as_str()])?)?;
//! let made = custody.backup(BackupPlan::store("/backups").on_progress(|progress| {
//!     eprintln!("{} of {} bytes", progress.bytes, progress.bytes_total);
//! }))?;
//!
//! // What was in a tenant then, beside the living one.
//! let then = TenantRestore::new("/backups", "contoso", "contoso-then").backup(made.number);
//! custody.restore_tenant(&then)?;
//!
//! // The disk is gone.
//! let escrow = Escrow::open("elsewhere/rings.age", &EscrowKey::identity(&secret)?)?;
//! verify("/backups", &escrow, None)?;
//! Restore::new("/backups", escrow, roots).store_into("data")?;
//! # Ok(())
//! # }
//! ```

mod cell;
mod escrow;
mod files;
mod frames;
mod import;
mod manifest;
mod moment;
mod repository;
mod restore;
mod rows;
mod take;
mod tenant;
mod verify;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use escrow::{Escrow, EscrowKey, EscrowLock, ExportReport};
pub(crate) use escrow::{check_place as check_export, export};
pub use import::ImportReport;
pub(crate) use import::{check_import, import};
use manifest::Extent;
pub use restore::{Restore, RestoreReport};
pub use take::{BackupPlan, BackupReport};
pub(crate) use take::{check as check_backup, take};
pub use tenant::TenantRestore;
pub(crate) use tenant::{check_restore, restore_tenant};
pub use verify::{VerifyReport, list, verify};

use crate::directory::Directory;
use crate::error::Result;

/// How far a backup or a restore has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Files that are done.
    pub files: u64,
    /// Files known to be there; those of rows are counted as they come.
    pub files_total: u64,
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes known to be there.
    pub bytes_total: u64,
    /// Bytes that had to be copied.
    pub bytes_copied: u64,
}

/// Who is told how far it has come.
type Teller<'p> = Box<dyn FnMut(&Progress) + 'p>;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Store,
    Cell(u32),
    Tenant(String),
}

/// What a backup in a folder is of. Which tenant does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BackupKind {
    /// The whole store.
    Store,
    /// The cell of this number.
    Cell(u32),
    /// One tenant.
    Tenant,
}

impl BackupKind {
    fn of(scope: Extent) -> Self {
        match scope {
            Extent::Store => Self::Store,
            Extent::Cell(number) => Self::Cell(number),
            Extent::Tenant => Self::Tenant,
        }
    }
}

/// A backup, as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BackupSummary {
    /// Its number.
    pub number: u64,
    /// When it was made, in seconds since 1970.
    pub created_secs: u64,
    /// What it is of.
    pub kind: BackupKind,
    /// Files that it consists of.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Tenants whose ring no escrow held when it was made.
    pub uncovered: u64,
}

/// [`list`], for an open store of its own backups.
pub(crate) fn list_own(directory: &Directory, repository: &Path) -> Result<Vec<BackupSummary>> {
    verify::list_of(repository, &tenant::trust(directory)?)
}

/// [`verify()`], for an open store of its own backups.
pub(crate) fn verify_own(directory: &Directory, repository: &Path, number: Option<u64>) -> Result<VerifyReport> {
    verify::verify_of(repository, &tenant::trust(directory)?, number)
}
