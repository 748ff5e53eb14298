//! Bringing back a store, or one of its cells, from a folder of backups.

use std::collections::HashSet;
use std::fs::{self, File as Handle, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{Extent, Manifest, Part, Trust};
use super::repository::Repository;
use super::signing::Signer;
use super::{Escrow, Progress, Teller, rows};
use crate::cells::{self, Budgets, Cells, RegionPaths};
use crate::clock::SystemClock;
use crate::directory::{Directory, Refill, Row, Status};
use crate::entropy::OsEntropy;
use crate::error::{Error, ErrorKind, Result};
use crate::folder;
use crate::keys::{self, Policy};
use crate::kms::{RootId, RootKeys};
use crate::seal::Envelope;

/// How a store comes back from a backup. Needs the folder of backups, an escrow of the same epochs, what unseals it,
/// and the root keys.
#[must_use = "a restore does nothing until it is told what to restore"]
pub struct Restore<'p> {
    pub(super) repository: PathBuf,
    pub(super) roots: Arc<dyn RootKeys>,
    pub(super) escrow: Escrow,
    pub(super) number: Option<u64>,
    service_root: String,
    pub(super) accepts_gaps: bool,
    progress: Option<Teller<'p>>,
}

/// What a restore has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The backup that was restored.
    pub number: u64,
    /// When it was made, in seconds since 1970.
    pub created_secs: u64,
    /// Tenants that are back.
    pub tenants: u64,
    /// Tenants that the backup has, and that are not back because they were deleted, then or later.
    pub deleted: u64,
    /// Tenants whose records are not back: their cell is missing from the backup, or their ring from the escrow. 0
    /// unless gaps were accepted.
    pub incomplete: u64,
    /// Files that were read.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

impl<'p> Restore<'p> {
    /// Begins to restore from the folder `repository`. `roots` are the root keys that the store was used with.
    pub fn new(repository: impl AsRef<Path>, escrow: Escrow, roots: impl RootKeys) -> Self {
        Self {
            repository: repository.as_ref().to_path_buf(),
            roots: Arc::new(roots),
            escrow,
            number: None,
            service_root: "service".to_owned(),
            accepts_gaps: false,
            progress: None,
        }
    }

    /// Which backup, by its number; the newest unless said otherwise.
    pub fn backup(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    /// The name of the service's root key, as in [`Builder::service_root`](crate::Builder::service_root).
    pub fn service_root(mut self, root: impl Into<String>) -> Self {
        self.service_root = root.into();
        self
    }

    /// Restores what is there, though cells are missing from the backup, rings from the escrow, or newer backups are
    /// damaged, so that nobody knows who was deleted since. The report says how much is missing.
    pub fn accept_gaps(mut self) -> Self {
        self.accepts_gaps = true;
        self
    }

    /// Is told of every file.
    pub fn on_progress(mut self, progress: impl FnMut(&Progress) + 'p) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Restores a whole store into an absent or empty folder. It is put together under another name beside it and
    /// gets its own when it is whole and synced, so that a crash leaves no half of it; then call this again.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the folder holds something, the backup is another store's or of
    /// another scope, or the escrow does not cover it; [`Corrupt`](crate::ErrorKind::Corrupt) if a manifest or file is
    /// damaged; [`NotFound`](crate::ErrorKind::NotFound) if there is no such backup;
    /// [`KeyRevoked`](crate::ErrorKind::KeyRevoked), [`Tampered`](crate::ErrorKind::Tampered) if the service's root
    /// key is missing or another. Nothing is there then that was not there before.
    pub fn store_into(mut self, path: impl AsRef<Path>) -> Result<RestoreReport> {
        let path = path.as_ref();
        if self.roots.location().is_some_and(|roots| cells::overlaps(path, roots)) {
            return Err(Error::invalid("the root keys lie in the folder of the store, or the store in theirs"));
        }
        if cells::overlaps(path, &self.repository) {
            return Err(Error::invalid("the backups lie in the folder of the store, or the store in theirs"));
        }
        let repository = Repository::open(&self.repository)?;
        let trust = self.escrow.trust();
        let manifest = repository.find(self.number, &trust)?;
        if manifest.header.scope != Extent::Store {
            return Err(Error::invalid("the backup is not of a whole store"));
        }
        let graves = graves(&repository, &manifest, &trust, self.accepts_gaps)?;
        let site = Site::take(path)?;
        self.lay_out(&repository, &manifest, &site)?;
        let report = self.assemble(&repository, &manifest, &site, &graves)?;
        site.finish(path)?;
        tracing::info!(number = report.number, tenants = report.tenants, "restored a store");
        Ok(report)
    }

    /// The files of all cells, in the places where a store has them.
    fn lay_out(&mut self, repository: &Repository, manifest: &Manifest, site: &Site) -> Result<()> {
        // Makes the folder's skeleton: what a new store has.
        drop(Cells::on_disk(&site.store, 1, Budgets::small(), RegionPaths::new())?);
        let (files_total, bytes_total) = (manifest.files.len() as u64, manifest.bytes());
        let mut progress = Progress { files_total, bytes_total, ..Progress::default() };
        for cell in manifest.cells.iter().filter(|cell| cell.is_there) {
            let folder = site.store.join("cells").join(format!("{:04}", cell.number));
            self.lay_out_cell(repository, manifest, cell.number, &folder, &mut progress)?;
        }
        folder::sync(&site.store.join("cells")).map_err(failed)
    }

    pub(super) fn lay_out_cell(
        &mut self,
        repository: &Repository,
        manifest: &Manifest,
        number: u32,
        folder: &Path,
        progress: &mut Progress,
    ) -> Result<()> {
        let cell = manifest.cell(number).ok_or_else(|| Error::corrupt("the cell is missing from the backup"))?;
        let database = cells::lay_out(folder, cell.boxes, cell.region.as_ref())?;
        for file in manifest.part(Part::Cell(number)) {
            repository.fetch_to(file, &database.join(&file.name))?;
            progress.files += 1;
            progress.bytes += file.length;
            progress.bytes_copied += file.length;
            if let Some(tell) = &mut self.progress {
                tell(progress);
            }
        }
        folder::sync(&database).and_then(|()| folder::sync(folder)).map_err(failed)
    }

    /// The directory, the rings of the living, and the burial of the others.
    fn assemble(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        site: &Site,
        graves: &HashSet<Vec<u8>>,
    ) -> Result<RestoreReport> {
        let cells = Arc::new(Cells::on_disk(&site.store, 1, Budgets::small(), RegionPaths::new())?);
        let zero = cells.zero()?;
        let store = self.escrow.trust().store;
        keys::import_zero(&zero.rings, store, self.escrow.slots(store))?;
        let mut refill = Refill::new(&zero);
        rows::read_part(repository, manifest.part(Part::Directory), |key, value| {
            let envelope = Envelope::from_backup(value).ok_or_else(Error::tampered)?;
            refill.push(key, envelope)
        })?;
        refill.flush()?;
        // Its database is opened anew, by the directory.
        drop(zero);
        let directory = Self::open(cells, self.roots.clone(), self.policy()?)?;
        self.check_signer(&directory)?;
        let header = &manifest.header;
        let mut report =
            RestoreReport { number: header.number, created_secs: header.created_secs, ..RestoreReport::default() };
        for row in directory.hold_still(|rows| Ok(rows.to_vec()))? {
            let is_gone = row.status == Status::Destroying
                || graves.contains(&directory.grave(row.incarnation)?)
                || self.escrow.shows_deleted(row.incarnation, header.exports);
            if is_gone {
                directory.bury(&row)?;
                report.deleted += 1;
            } else if self.bring_ring(&directory, manifest, &row)? {
                report.tenants += 1;
            } else if self.accepts_gaps {
                report.incomplete += 1;
            } else {
                return Err(Error::invalid(
                    "the escrow does not hold the rings of all tenants of the backup, or the backup not all cells",
                ));
            }
        }
        (report.files, report.bytes) = (manifest.files.len() as u64, manifest.bytes());
        Ok(report)
    }

    pub(super) fn policy(&self) -> Result<Policy> {
        Ok(Policy::service_managed(RootId::new(self.service_root.as_str())?))
    }

    pub(super) fn open(cells: Arc<Cells>, roots: Arc<dyn RootKeys>, policy: Policy) -> Result<Arc<Directory>> {
        Directory::open(cells, roots, policy, SystemClock::new(), Arc::new(OsEntropy))
    }

    /// Whoever made the escrow made the store: the key that signed the backup is the one that the store's own ring
    /// seals, and that ring opens only under the service's root.
    pub(super) fn check_signer(&self, directory: &Directory) -> Result<()> {
        let signer = Signer::new(&directory.signing_seed()?)?;
        if signer.public()? == self.escrow.trust().key {
            return Ok(());
        }
        Err(Error::tampered())
    }

    /// False if the tenant's cell is not in the backup, or its ring not in the escrow.
    fn bring_ring(&self, directory: &Directory, manifest: &Manifest, row: &Row) -> Result<bool> {
        if manifest.cell(row.cell).is_none() {
            return Ok(false);
        }
        let slots = self.escrow.slots(row.incarnation);
        directory.cells().with_rings(row.cell, |rings| keys::import(rings, row.box_number, &row.belief(), slots))
    }
}

/// The graves that this backup and every newer one know.
pub(super) fn graves(
    repository: &Repository,
    manifest: &Manifest,
    trust: &Trust,
    accepts_gaps: bool,
) -> Result<HashSet<Vec<u8>>> {
    let mut graves = HashSet::new();
    let mut collect = |manifest: &Manifest| {
        rows::read_part(repository, manifest.part(Part::Graves), |key, _| {
            graves.insert(key);
            Ok(())
        })
    };
    collect(manifest)?;
    for (number, folder) in repository.numbers()? {
        if number <= manifest.header.number {
            continue;
        }
        match Repository::read(number, &folder, trust).and_then(|(newer, _)| collect(&newer)) {
            Err(error) if accepts_gaps && error.kind() == ErrorKind::Corrupt => {
                tracing::error!(number, "a newer backup is damaged; who was deleted since is not known");
            }
            Err(error) => return Err(error),
            Ok(()) => {}
        }
    }
    Ok(graves)
}

/// Where a store is put together: a folder beside its place, held by one restore at a time.
struct Site {
    root: PathBuf,
    store: PathBuf,
    _lock: Handle,
}

impl Site {
    fn take(path: &Path) -> Result<Self> {
        if !is_free(path).map_err(failed)? {
            return Err(Error::invalid("the folder to restore into holds something; name an absent or empty one"));
        }
        let name = path.file_name().ok_or_else(|| Error::invalid("the folder to restore into has no name"))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let root = parent.join(format!(".restoring-{}", name.to_string_lossy()));
        folder::make(&root).map_err(failed)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(root.join("LOCK"));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::conflict("a restore into this folder is under way")),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let store = root.join("store");
        if store.exists() {
            fs::remove_dir_all(&store).map_err(failed)?;
        }
        Ok(Self { root, store, _lock: lock })
    }

    /// Gives the store its name: the moment from which it is there.
    fn finish(self, path: &Path) -> Result<()> {
        folder::sync(&self.store).map_err(failed)?;
        fs::rename(&self.store, path).map_err(failed)?;
        folder::sync(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
            .map_err(failed)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Best effort: the next restore into the same folder removes it too.
        drop(fs::remove_dir_all(&self.root));
    }
}

fn is_free(path: &Path) -> std::io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("the store cannot be put together", error)
}

impl std::fmt::Debug for Restore<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restore").field("repository", &self.repository).finish_non_exhaustive()
    }
}
