//! Whether a backup is what it was: every byte, and on demand every record.

use std::path::Path;
use std::sync::Arc;

use super::manifest::{Manifest, Part, Trust};
use super::repository::Repository;
use super::restore::Restore;
use super::{BackupKind, BackupSummary, Escrow, rows};
use crate::cells::{Budgets, Cells, RegionPaths};
use crate::error::{Error, Result};
use crate::keys::{self, Policy};
use crate::kms::RootKeys;
use crate::seal::{self, Place};

/// What a verification has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The backup that was verified.
    pub number: u64,
    /// Files that were read.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Records that were opened; 0 unless that was asked for.
    pub records: u64,
}

/// The backups in a folder, oldest first. Their manifests are checked, and their files are not: see [`verify`].
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound) if the folder holds none; [`Invalid`](crate::ErrorKind::Invalid) if they
/// are another store's; [`Corrupt`](crate::ErrorKind::Corrupt) if a manifest is damaged.
pub fn list(repository: impl AsRef<Path>, escrow: &Escrow) -> Result<Vec<BackupSummary>> {
    list_of(repository.as_ref(), &escrow.trust())
}

/// Reads every byte of a backup, the newest unless `number` says otherwise, and compares it with the manifest.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt) if a byte is another, a file is missing, or the manifest before this one was
/// exchanged; else as [`list`].
pub fn verify(repository: impl AsRef<Path>, escrow: &Escrow, number: Option<u64>) -> Result<VerifyReport> {
    verify_of(repository.as_ref(), &escrow.trust(), number)
}

pub(super) fn list_of(repository: &Path, trust: &Trust) -> Result<Vec<BackupSummary>> {
    let repository = Repository::open(repository)?;
    let summary = |(number, folder): (u64, std::path::PathBuf)| {
        let (manifest, _) = Repository::read(number, &folder, trust)?;
        Ok(BackupSummary {
            number,
            created_secs: manifest.header.created_secs,
            kind: BackupKind::of(manifest.header.scope),
            files: manifest.files.len() as u64,
            bytes: manifest.bytes(),
            uncovered: manifest.header.uncovered,
        })
    };
    repository.numbers()?.into_iter().map(summary).collect()
}

pub(super) fn verify_of(repository: &Path, trust: &Trust, number: Option<u64>) -> Result<VerifyReport> {
    let repository = Repository::open(repository)?;
    let manifest = repository.find(number, trust)?;
    check_chain(&repository, &manifest, trust)?;
    let mut report = VerifyReport { number: manifest.header.number, ..VerifyReport::default() };
    for file in &manifest.files {
        match file.part {
            Part::Cell(_) => repository.fetch(file, |_| Ok(()))?,
            _ => rows::read_file(&repository, file, |_, _| Ok(()))?,
        }
        report.files += 1;
        report.bytes += file.length;
    }
    Ok(report)
}

/// The manifest before this one is the one that this one names, if it is still there.
fn check_chain(repository: &Repository, manifest: &Manifest, trust: &Trust) -> Result<()> {
    let Some((number, sum)) = manifest.header.previous else { return Ok(()) };
    let Some((_, folder)) = repository.numbers()?.into_iter().find(|(found, _)| *found == number) else {
        return Ok(());
    };
    if Repository::read(number, &folder, trust)?.1 != sum {
        return Err(Error::corrupt("the manifest before this one is another than it was"));
    }
    Ok(())
}

impl Restore<'_> {
    /// The restore drill: puts the store together in a folder inside `scratch`, which must not be there, opens every
    /// record of every tenant, and removes it again.
    ///
    /// # Errors
    /// As [`store_into`](Self::store_into); [`Tampered`](crate::ErrorKind::Tampered) if a record does not open.
    pub fn drill(self, scratch: impl AsRef<Path>) -> Result<VerifyReport> {
        let path = scratch.as_ref();
        let (roots, policy) = (self.roots.clone(), self.policy()?);
        let restored = self.store_into(path)?;
        let records = open_every_record(path, &roots, policy);
        let removed = std::fs::remove_dir_all(path);
        let (files, bytes) = (restored.files, restored.bytes);
        let report = VerifyReport { number: restored.number, files, bytes, records: records? };
        removed.map_err(|error| Error::io("the restored copy cannot be removed", error))?;
        Ok(report)
    }
}

fn open_every_record(store: &Path, roots: &Arc<dyn RootKeys>, policy: Policy) -> Result<u64> {
    let cells = Arc::new(Cells::on_disk(store, 1, Budgets::small(), RegionPaths::new())?);
    let directory = Restore::open(cells, roots.clone(), policy)?;
    let mut records = 0;
    for row in directory.hold_still(|rows| Ok(rows.to_vec()))? {
        let load = |rings: &_| keys::load(rings, row.box_number, &row.belief(), &**roots);
        let ring = directory.cells().with_rings(row.cell, load)?;
        let view = directory.cells().reader(row.cell, row.box_number)?.view()?;
        rows::pages(&*view, row.box_number, |(key, value)| {
            let collection = u32::from_be_bytes(*key.first_chunk().ok_or_else(Error::tampered)?);
            seal::open_record(&ring, Place { collection, engine_key: &key }, value)?;
            records += 1;
            Ok(())
        })?;
    }
    Ok(records)
}
