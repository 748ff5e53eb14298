//! Whether a backup is what it was: every byte, and on demand every record.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::{Manifest, Part, Trust};
use super::repository::Repository;
use super::restore::{Restore, RestoreReport, is_free};
use super::{BackupKind, BackupSummary, Escrow, rows};
use crate::cells::{self, Budgets, Cells, RegionPaths};
use crate::error::{Error, Result};
use crate::keys::{self, Policy};
use crate::kms::RootKeys;
use crate::name::RegionName;
use crate::seal::{self, Place};

/// Where a drill puts the store and, each under its name, its regions.
const STORE: &str = "store";
const REGION: &str = "region-";

/// What a verification has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The restore drill: puts the store together in the folder `scratch`, which must be absent or empty, its regions in
    /// folders of their own beside it, whatever [`region`](Self::region) says; opens every record of every tenant, and
    /// removes the folder again.
    ///
    /// # Errors
    /// As [`store_into`](Self::store_into); [`Tampered`](crate::ErrorKind::Tampered) if a record does not open.
    pub fn drill(mut self, scratch: impl AsRef<Path>) -> Result<VerifyReport> {
        let scratch = scratch.as_ref();
        if !is_left_of_a_drill(scratch).map_err(failed)? {
            return Err(Error::invalid("the scratch folder holds something; name an absent or empty one"));
        }
        let manifest = Repository::open(&self.repository)?.find(self.number, &self.escrow.trust())?;
        let folder = |region: RegionName| (region.to_string(), scratch.join(format!("{REGION}{region}")));
        self.regions = manifest.regions().into_iter().map(folder).collect();
        let (roots, policy) = (self.roots.clone(), self.policy()?);
        let (store, regions) = (scratch.join(STORE), cells::read_regions(self.regions.clone())?);
        // A restore that fails removes what it made itself; what another drill is making is not ours to remove.
        let restored = self.store_into(&store).inspect_err(|_| drop(std::fs::remove_dir(scratch)))?;
        let records = open_every_record(&store, regions, &roots, policy);
        let removed = std::fs::remove_dir_all(scratch);
        let RestoreReport { number, files, bytes, .. } = restored;
        let report = VerifyReport { number, files, bytes, records: records? };
        removed.map_err(failed)?;
        Ok(report)
    }
}

/// Whether a folder is absent, empty, or holds what a drill leaves that was cut short before its store was whole.
fn is_left_of_a_drill(scratch: &Path) -> std::io::Result<bool> {
    if is_free(scratch)? {
        return Ok(true);
    }
    for entry in std::fs::read_dir(scratch)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name != format!(".restoring-{STORE}") && !name.starts_with(REGION) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn failed(error: std::io::Error) -> Error {
    Error::io("the scratch folder of a drill cannot be used", error)
}

fn open_every_record(store: &Path, regions: RegionPaths, roots: &Arc<dyn RootKeys>, policy: Policy) -> Result<u64> {
    let cells = Arc::new(Cells::on_disk(store, 1, Budgets::small(), regions)?);
    let directory = Restore::open(cells, roots.clone(), policy)?;
    let mut records = 0;
    for row in directory.hold_still(|rows| Ok(rows.to_vec()))? {
        let load = |rings: &_| keys::load(rings, row.box_number, &row.belief(), roots);
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
