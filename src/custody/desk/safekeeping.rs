//! The acts on escrows and backups: in folders that the service has named, and nowhere else.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::act::{Act, Extent, Seal, Unseal};
use super::answer::{Change, Done};
use super::wire::Progress;
use super::{Folders, Line};
use crate::backup::{BackupPlan, EscrowKey, EscrowLock, ExportReport, TenantRestore};
use crate::custody::Custody;
use crate::error::{Error, ErrorKind, Result};
use crate::name::check_name;

pub(super) fn run(act: Act, custody: &Custody, folders: &Folders, line: &mut Line<'_>) -> Result<Done> {
    match act {
        Act::ExportRings { folder, file, seal } => {
            let (path, lock) = (file_in(folders, &folder, &file)?, lock(seal)?);
            export(custody, &path, &lock).map(Done::Exported)
        }
        Act::ImportRings { folder, file, key, tenants } => {
            let (path, key) = (escrow_in(folders, &folder, &file)?, unseal(&key)?);
            custody.import_rings(path, &key, &names(&tenants)).map(Done::Imported)
        }
        Act::Backup { folder, of, escrow_never, accept_gaps } => {
            let plan = backup_plan(folders.get(&folder)?, of, escrow_never, accept_gaps);
            let (has_gone, line) = (Cell::new(false), line);
            let plan = plan
                .on_progress(|progress| {
                    let progress =
                        Progress { of: "files".to_owned(), done: progress.files, total: progress.files_total };
                    has_gone.set(has_gone.get() || line.tell(progress).is_err());
                })
                .stop_when(|| has_gone.get());
            custody.backup(plan).map(Done::BackedUp)
        }
        Act::ListBackups { folder } => custody.backups(folders.get(&folder)?).map(Done::Backups),
        Act::VerifyBackup { folder, number } => {
            custody.verify_backup(folders.get(&folder)?, number).map(Done::Verified)
        }
        Act::RestoreTenant { folder, number, tenant, name } => {
            let restore = restore(folders.get(&folder)?, number, &tenant, &name);
            custody.restore_tenant(&restore).map(Done::Tenant)
        }
        _ => Err(Error::internal("an act of no escrow and no backup")),
    }
}

pub(super) fn plan(act: Act, custody: &Custody, folders: &Folders) -> Result<Vec<Change>> {
    match act {
        Act::ExportRings { folder, file, seal } => {
            let (path, _) = (file_in(folders, &folder, &file)?, lock(seal)?);
            custody.check_export(&path)?;
            Ok(vec![made(format!("file {file} in folder {folder}"), "the rings of every tenant, sealed")])
        }
        Act::ImportRings { folder, file, key, tenants } => {
            let (path, key) = (escrow_in(folders, &folder, &file)?, unseal(&key)?);
            custody.check_import(&path, &key, &names(&tenants))?;
            Ok(plan_import(&tenants))
        }
        Act::Backup { folder, of, escrow_never, accept_gaps } => {
            custody.check_backup(&backup_plan(folders.get(&folder)?, of, escrow_never, accept_gaps))?;
            Ok(vec![made(format!("one more backup in folder {folder}"), "made")])
        }
        Act::ListBackups { folder } | Act::VerifyBackup { folder, .. } => folders.get(&folder).map(|_| Vec::new()),
        Act::RestoreTenant { folder, number, tenant, name } => {
            let restore = restore(folders.get(&folder)?, number, &tenant, &name);
            custody.check_restore(&restore).map(|name| vec![Change::made(&name, "active")])
        }
        _ => Err(Error::internal("an act of no escrow and no backup")),
    }
}

fn made(of: String, to: &str) -> Change {
    Change { of, from: None, to: Some(to.to_owned()), is_final: false }
}

fn backup_plan<'p>(repository: &Path, of: Extent, escrow_never: bool, accept_gaps: bool) -> BackupPlan<'p> {
    let plan = match of {
        Extent::Store => BackupPlan::store(repository),
        Extent::Cell(number) => BackupPlan::cell(repository, number),
        Extent::Tenant(name) => BackupPlan::tenant(repository, name),
    };
    let plan = if escrow_never { plan.escrow_never() } else { plan };
    if accept_gaps { plan.accept_gaps() } else { plan }
}

fn restore(repository: &Path, number: Option<u64>, tenant: &str, name: &str) -> TenantRestore {
    number.into_iter().fold(TenantRestore::new(repository, tenant, name), TenantRestore::backup)
}

fn lock(seal: Seal) -> Result<EscrowLock> {
    match seal {
        Seal::Recipients(recipients) => EscrowLock::recipients(recipients.iter().map(String::as_str)),
        Seal::Passphrase(passphrase) => EscrowLock::passphrase(passphrase.expose_secret()),
    }
}

fn unseal(key: &Unseal) -> Result<EscrowKey> {
    match key {
        Unseal::Identity(secret) => EscrowKey::identity(secret.expose_secret()),
        Unseal::Passphrase(passphrase) => Ok(EscrowKey::passphrase(passphrase.expose_secret())),
    }
}

fn names(tenants: &[String]) -> Vec<&str> {
    tenants.iter().map(String::as_str).collect()
}

/// Which rings are damaged is for the root keys to tell, and those are not asked now.
fn plan_import(tenants: &[String]) -> Vec<Change> {
    let of = match tenants {
        [] => vec!["the ring of every tenant".to_owned()],
        tenants => tenants.iter().map(|name| format!("the ring of tenant {name}")).collect(),
    };
    let change = |of| Change {
        of,
        from: Some("damaged, or left alone".to_owned()),
        to: Some("that of the escrow".to_owned()),
        is_final: false,
    };
    of.into_iter().map(change).collect()
}

/// A file of this name that is there, and is no link to another place.
fn escrow_in(folders: &Folders, folder: &str, file: &str) -> Result<PathBuf> {
    check_name(file)?;
    let path = folders.get(folder)?.join(file);
    match fs::symlink_metadata(&path) {
        Ok(there) if there.is_file() => Ok(path),
        Ok(_) => Err(Error::invalid("what lies there is no file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(ErrorKind::NotFound, "there is no file of this name in the folder"))
        }
        Err(error) => Err(Error::io("the folder cannot be looked into", error)),
    }
}

/// A file of this name in a folder. One that is there is left alone: with a stolen token nobody exchanges the escrow that
/// somebody relies on.
fn file_in(folders: &Folders, folder: &str, file: &str) -> Result<PathBuf> {
    check_name(file)?;
    let path = folders.get(folder)?.join(file);
    match fs::symlink_metadata(&path) {
        Ok(_) => Err(is_there()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(path),
        Err(error) => Err(Error::io("the folder cannot be looked into", error)),
    }
}

/// Exports under a name that is taken first, so that of two who are after it one is refused.
fn export(custody: &Custody, path: &Path, lock: &EscrowLock) -> Result<ExportReport> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => is_there(),
        _ => Error::io("the escrow cannot be written", error),
    })?;
    custody.export_rings(path, lock).inspect_err(|_| drop(fs::remove_file(path)))
}

fn is_there() -> Error {
    Error::new(ErrorKind::Conflict, "there is a file of this name already")
}
