//! What is done without asking a store: settings, keys in files, restores, and the verification of exported trails.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::json;
use strongroom::audit::{VerifierKey, verify_export};
use strongroom::backup::{self, Escrow, EscrowKey, Restore};
use strongroom::desk::{Secret, Unseal};
use strongroom::{ErrorKind, RootId};

use crate::cli::{self, Audit, Backup, Cli, Command, Purge, RestoreTerms, Root, VerifyReceipt};
use crate::door;
use crate::failure::Failure;
use crate::output::Output;
use crate::settings::{Settings, write_private};

/// Does it, unless the command is one for a store.
pub fn run(cli: &Cli, settings: &Settings) -> Result<Option<Output>, Failure> {
    let dry_run = cli.dry_run;
    Ok(Some(match &cli.command {
        Command::Init { force } => init(cli, settings, *force)?,
        Command::Root(Root::New { name }) => new_root(settings, name, dry_run)?,
        Command::Root(Root::List) => list_roots(settings)?,
        Command::RecoveryKey { file } => recovery_key(file, dry_run)?,
        Command::Backup(Backup::Drill { folder, escrow, scratch, terms }) => {
            let job = Job { folder, escrow, terms };
            job.run(settings, dry_run, scratch, |restore| {
                restore.drill(scratch).map(|report| Output::of_drill(&report))
            })?
        }
        Command::RestoreBackup(cli::Restore::Store { folder, escrow, terms }) => {
            let (job, store) = (Job { folder, escrow, terms }, store(settings)?);
            job.run(settings, dry_run, store, |restore| {
                restore.store_into(store).map(|report| Output::of_restore(&report))
            })?
        }
        Command::RestoreBackup(cli::Restore::Cell { folder, escrow, cell, terms }) => {
            let (job, store) = (Job { folder, escrow, terms }, store(settings)?);
            job.run(settings, dry_run, &store.join("cells"), |restore| {
                restore.cell_into(store, *cell).map(|report| Output::of_restore(&report))
            })?
        }
        Command::Audit(Audit::Verify { trail: Some(trail), key, earlier, .. }) => {
            verify(trail, key.as_deref(), earlier.as_deref())?
        }
        Command::Verify(what) | Command::Purge(Purge::Verify(what)) => verify_receipt(what)?,
        _ => return Ok(None),
    }))
}

/// The passphrase of escrows.
pub fn passphrase() -> Result<String, Failure> {
    let missing = || Failure::usage("neither a recovery key nor STRONGROOM_PASSPHRASE is given");
    std::env::var("STRONGROOM_PASSPHRASE").map_err(|_| missing())
}

/// What opens an escrow: the recovery key in a file, else the passphrase in the environment.
pub fn unseal(identity: Option<&Path>) -> Result<Unseal, Failure> {
    let Some(file) = identity else { return Ok(Unseal::Passphrase(Secret::new(passphrase()?)?)) };
    let text = fs::read_to_string(file).map(zeroize::Zeroizing::new);
    let text = text.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    // As age-keygen writes it: comments, then the key.
    let secret = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
    Ok(Unseal::Identity(Secret::new(secret.trim())?))
}

fn init(cli: &Cli, settings: &Settings, force: bool) -> Result<Output, Failure> {
    let given = &cli.settings;
    if given.socket.is_none() && given.store.is_none() {
        return Err(Failure::usage("name a --socket, a --store, or both"));
    }
    let file = settings.file.display().to_string();
    if cli.dry_run {
        return Ok(Output::planned(&format!("settings in {file}"), "kept"));
    }
    settings.keep(given, force)?;
    Ok(Output::new(json!({ "settings": file }), format!("The settings are in {file}. Next: custodian login --save")))
}

fn new_root(settings: &Settings, name: &str, dry_run: bool) -> Result<Output, Failure> {
    let (roots, root) = (door::local_roots(settings)?, RootId::new(name)?);
    if settings.vaults.iter().any(|vault| vault.roots.contains_key(name)) {
        let message = format!("{name} is in a vault: whoever owns it there makes a new version");
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    if dry_run {
        return Ok(Output::planned(&format!("one more version of root key {name}"), "made"));
    }
    let version = roots.generate(&root)?;
    let words = format!("{name} {version} is made. To move tenants to it: custodian root rotate {name}");
    Ok(Output::new(json!({ "root": name, "version": version }), words))
}

/// Names and versions, from the names of the files: the keys themselves are not looked at, and no vault is asked.
fn list_roots(settings: &Settings) -> Result<Output, Failure> {
    let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if let Some(keys) = &settings.keys {
        let roots = door::local_roots(settings)?;
        let entries = fs::read_dir(keys).map_err(|error| Failure::new(ErrorKind::Unavailable, error.to_string()))?;
        let names = entries.filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            RootId::new(name.strip_suffix(".key")?.rsplit_once('.')?.0).ok()
        });
        listed.extend(names.map(|root| (root.as_str().to_owned(), roots.versions(&root))));
    }
    for vault in &settings.vaults {
        listed.extend(vault.roots.iter().map(|(root, key)| (root.clone(), vec![vault.place_of(key)])));
    }
    let words: Vec<String> = listed.iter().map(|(root, versions)| format!("{root}: {}", versions.join(", "))).collect();
    Ok(Output::new(json!({ "roots": listed }), words.join("\n")))
}

fn recovery_key(file: &Path, dry_run: bool) -> Result<Output, Failure> {
    if dry_run {
        return Ok(Output::planned(&file.display().to_string(), "a new recovery key"));
    }
    let (secret, recipient) = EscrowKey::generate();
    write_private(file, secret.as_bytes(), false)?;
    Ok(Output::new(json!({ "recipient": recipient }), recipient))
}

/// A restore: whoever has the backup, the escrow, its key and the root keys has everything, and needs no token.
struct Job<'j> {
    folder: &'j Path,
    escrow: &'j Path,
    terms: &'j RestoreTerms,
}

impl Job<'_> {
    fn run(
        &self,
        settings: &Settings,
        dry_run: bool,
        into: &Path,
        work: impl FnOnce(Restore) -> strongroom::Result<Output>,
    ) -> Result<Output, Failure> {
        let escrow = Escrow::open(self.escrow, &self.key()?)?;
        let roots = door::roots(settings)?;
        if dry_run {
            backup::verify(self.folder, &escrow, self.terms.number)?;
            return Ok(Output::planned(&into.display().to_string(), "restored; every byte of the backup is as it was"));
        }
        let restore = Restore::new(self.folder, escrow, roots).service_root(&settings.root);
        let restore = self.terms.number.into_iter().fold(restore, Restore::backup);
        let restore = settings.regions.iter().fold(restore, |restore, (name, folder)| restore.region(name, folder));
        let restore = if self.terms.accept_gaps { restore.accept_gaps() } else { restore };
        Ok(work(restore)?)
    }

    fn key(&self) -> Result<EscrowKey, Failure> {
        Ok(match unseal(self.terms.identity.as_deref())? {
            Unseal::Identity(secret) => EscrowKey::identity(secret.expose_secret())?,
            Unseal::Passphrase(passphrase) => EscrowKey::passphrase(passphrase.expose_secret()),
        })
    }
}

/// The folder of the store, which may not be there yet.
fn store(settings: &Settings) -> Result<&PathBuf, Failure> {
    settings.store.as_ref().ok_or_else(|| Failure::usage("--store is missing"))
}

fn verify(trail: &Path, key: Option<&str>, earlier: Option<&Path>) -> Result<Output, Failure> {
    let unreadable = |error: std::io::Error| Failure::usage(error.to_string());
    let key = key.map(str::parse::<VerifierKey>).transpose()?;
    let earlier = earlier.map(fs::read_to_string).transpose().map_err(unreadable)?;
    let trail = BufReader::new(File::open(trail).map_err(unreadable)?);
    let verified = verify_export(trail, key.as_ref(), earlier.as_deref())?;
    let signed = if verified.is_signed { "signed by the store" } else { "not held against a key" };
    let words = format!("{}: {} events, each as it was written; {signed}", verified.origin, verified.size);
    let json = json!({ "verified": {
        "origin": verified.origin, "size": verified.size, "is_signed": verified.is_signed,
        "grown_from": verified.grown_from,
    } });
    Ok(Output::new(json, words))
}

/// Holds a receipt against the key, and against the trail if there is one.
fn verify_receipt(what: &VerifyReceipt) -> Result<Output, Failure> {
    let unreadable = |error: std::io::Error| Failure::usage(error.to_string());
    let is_file = !what.key.starts_with("strongroom/") && Path::new(&what.key).is_file();
    let key = if is_file { fs::read_to_string(&what.key).map_err(unreadable)? } else { what.key.clone() };
    let key = key.trim().parse::<VerifierKey>()?;
    let note = fs::read_to_string(&what.receipt).map_err(unreadable)?;
    let mut trail = what.trail.as_ref().map(File::open).transpose().map_err(unreadable)?.map(BufReader::new);
    let trail = trail.as_mut().map(|trail| trail as &mut dyn BufRead);
    Ok(Output::of_receipt(&strongroom::purge::verify_receipt(&note, &key, trail)?))
}
