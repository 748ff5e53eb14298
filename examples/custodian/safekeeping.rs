//! Escrows, backups and restores on the command line.

use std::path::{Path, PathBuf};

use strongroom::backup::{BackupKind, BackupPlan, Escrow, EscrowKey, EscrowLock, Restore, TenantRestore};
use strongroom::{Custody, LocalRoots};

use crate::{Failure, Options, failure, usage};

/// What the options say about escrows and backups.
#[derive(Default)]
pub struct Terms {
    pub recipients: Vec<String>,
    /// Names and folders.
    pub regions: Vec<(String, PathBuf)>,
    pub identity: PathBuf,
    pub tenant: Option<String>,
    pub cell: Option<u32>,
    pub number: Option<u64>,
    pub escrow_never: bool,
    pub accept_gaps: bool,
}

/// Makes a recovery key: its secret half into a new file, its public half on the screen.
pub fn recovery_key(file: &str) -> Result<(), Failure> {
    let (secret, recipient) = EscrowKey::generate();
    let written = write_private(Path::new(file), secret.as_bytes());
    written.map_err(|error| failure(format!("{file} cannot be written: {error}")))?;
    println!("{recipient}");
    Ok(())
}

pub fn export(custody: &Custody, terms: &Terms, file: &str) -> Result<(), Failure> {
    let lock = match terms.recipients.as_slice() {
        [] => EscrowLock::passphrase(passphrase()?)?,
        recipients => EscrowLock::recipients(recipients.iter().map(String::as_str))?,
    };
    let report = custody.export_rings(file, &lock)?;
    println!("{file}: the rings of {} tenants", report.tenants);
    match report.damaged {
        0 => Ok(()),
        damaged => Err(failure(format!("the rings of {damaged} tenants are damaged and not in the escrow"))),
    }
}

pub fn back_up(custody: &Custody, terms: &Terms, folder: &str) -> Result<(), Failure> {
    let plan = match (&terms.tenant, terms.cell) {
        (None, None) => BackupPlan::store(folder),
        (None, Some(cell)) => BackupPlan::cell(folder, cell),
        (Some(tenant), None) => BackupPlan::tenant(folder, tenant),
        (Some(_), Some(_)) => return Err(usage("a backup is of a cell or of a tenant, not of both")),
    };
    let plan = if terms.escrow_never { plan.escrow_never() } else { plan };
    let plan = if terms.accept_gaps { plan.accept_gaps() } else { plan };
    let plan = plan.on_progress(|progress| {
        eprint!("\r{} of {} files, {} MB copied", progress.files, progress.files_total, progress.bytes_copied >> 20);
    });
    let report = custody.backup(plan)?;
    eprintln!();
    println!(
        "backup {}: {} files, {} bytes, {} copied",
        report.number, report.files, report.bytes, report.bytes_copied
    );
    if !report.missing_cells.is_empty() || report.uncovered > 0 {
        println!("  without cells {:?}; rings of {} tenants in no escrow", report.missing_cells, report.uncovered);
    }
    Ok(())
}

pub fn list(custody: &Custody, folder: &str) -> Result<(), Failure> {
    println!("{:>6}  {:>12}  {:10}  {:>7}  bytes", "backup", "made (secs)", "of", "files");
    for backup in custody.backups(folder)? {
        let kind = match backup.kind {
            BackupKind::Store => "the store".to_owned(),
            BackupKind::Cell(number) => format!("cell {number}"),
            _ => "a tenant".to_owned(),
        };
        println!("{:>6}  {:>12}  {kind:10}  {:>7}  {}", backup.number, backup.created_secs, backup.files, backup.bytes);
    }
    Ok(())
}

pub fn verify(custody: &Custody, terms: &Terms, folder: &str) -> Result<(), Failure> {
    let report = custody.verify_backup(folder, terms.number)?;
    println!("backup {}: {} files, {} bytes, each as its manifest says", report.number, report.files, report.bytes);
    Ok(())
}

pub fn restore_tenant(custody: &Custody, terms: &Terms, folder: &str, tenant: &str, name: &str) -> Result<(), Failure> {
    let restore = TenantRestore::new(folder, tenant, name);
    let restore = terms.number.into_iter().fold(restore, TenantRestore::backup);
    let made = custody.restore_tenant(&restore)?;
    println!("{tenant} is back as {}", made.name);
    Ok(())
}

/// What needs no store and no token: whoever has backup, escrow, its key and the root keys has everything.
pub fn offline(options: &Options, command: &[&str]) -> Result<(), Failure> {
    let terms = &options.terms;
    let (["restore", _, folder, escrow, ..] | ["backup", "drill", folder, escrow, _]) = command else {
        return Err(usage("not with these arguments"));
    };
    if options.keys.as_os_str().is_empty() {
        return Err(usage("--keys is missing"));
    }
    let key = match terms.identity.as_os_str().is_empty() {
        true => EscrowKey::passphrase(passphrase()?),
        false => {
            let text = std::fs::read_to_string(&terms.identity);
            let text = text.map_err(|error| failure(format!("{}: {error}", terms.identity.display())))?;
            // As age-keygen writes it: comments, then the key.
            let secret = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
            EscrowKey::identity(secret)?
        }
    };
    let restore = Restore::new(folder, Escrow::open(escrow, &key)?, LocalRoots::open(&options.keys)?);
    let restore = restore.service_root(&options.root);
    let restore = terms.number.into_iter().fold(restore, Restore::backup);
    let restore = terms.regions.iter().fold(restore, |restore, (name, folder)| restore.region(name, folder));
    let restore = if terms.accept_gaps { restore.accept_gaps() } else { restore };
    let report = match command {
        ["restore", "store", ..] => restore.store_into(store(options)?)?,
        ["restore", "cell", _, _, number] => {
            let number = number.parse().map_err(|_| usage("a cell has a number"))?;
            restore.cell_into(store(options)?, number)?
        }
        ["backup", "drill", _, _, scratch] => {
            let report = restore.drill(scratch)?;
            println!("backup {}: restored, {} records opened, and removed again", report.number, report.records);
            return Ok(());
        }
        _ => return Err(usage("not with these arguments")),
    };
    println!("backup {}: {} tenants are back", report.number, report.tenants);
    println!("  deleted since, and not back: {}; incomplete: {}", report.deleted, report.incomplete);
    Ok(())
}

/// Whether a command needs neither a store nor a token.
pub fn is_offline(command: &[&str]) -> bool {
    matches!(command, ["restore", "store" | "cell", ..] | ["backup", "drill", ..])
}

/// The folder of the store, which may not be there yet.
fn store(options: &Options) -> Result<&Path, Failure> {
    if options.store.as_os_str().is_empty() { Err(usage("--store is missing")) } else { Ok(&options.store) }
}

fn passphrase() -> Result<String, Failure> {
    std::env::var("STRONGROOM_PASSPHRASE").map_err(|_| usage("neither a recovery key nor STRONGROOM_PASSPHRASE is set"))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.write_all(b"\n")
}
