//! Bringing back a store, or one of its cells, from a folder of backups.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File as Handle, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{Cell, Extent, Manifest, Part, Trust};
use super::repository::Repository;
use super::{Escrow, Progress, Teller, rows};
use crate::audit::{Act, Actor, Event};
use crate::cells::{self, Budgets, Cells, RegionPaths, RegionSite};
use crate::clock::SystemClock;
use crate::directory::{Directory, Refill, Row, Status};
use crate::engine::Durability;
use crate::entropy::OsEntropy;
use crate::error::{Error, ErrorKind, Result};
use crate::folder;
use crate::keys::{self, Policy};
use crate::kms::{RootId, RootKeys};
use crate::name::{Incarnation, RegionName};
use crate::seal::Envelope;
use crate::signing::Signer;

/// How a store comes back from a backup. Needs the folder of backups, an escrow of the same epochs, what unseals it,
/// and the root keys.
#[must_use = "a restore does nothing until it is told what to restore"]
pub struct Restore<'p> {
    pub(super) repository: PathBuf,
    pub(super) roots: Arc<dyn RootKeys>,
    pub(super) escrow: Escrow,
    pub(super) number: Option<u64>,
    service_root: String,
    pub(super) regions: Vec<(String, PathBuf)>,
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
            regions: Vec::new(),
            accepts_gaps: false,
            progress: None,
        }
    }

    /// Which backup, by its number; the newest unless said otherwise.
    pub fn backup(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    /// The name of the service's root key, as in [`StrongroomBuilder::service_root`](crate::StrongroomBuilder::service_root).
    pub fn service_root(mut self, root: impl Into<String>) -> Self {
        self.service_root = root.into();
        self
    }

    /// Names the folder of a region, as [`StrongroomBuilder::region`](crate::StrongroomBuilder::region) does. May be called
    /// several times.
    /// A whole store's cells of the region are restored into it, and it must be absent or empty; a single cell goes back
    /// into the folder that the region has. One in which the backup has no cell is not touched.
    pub fn region(mut self, name: impl Into<String>, path: impl AsRef<Path>) -> Self {
        self.regions.push((name.into(), path.as_ref().to_path_buf()));
        self
    }

    /// Restores what is there, though cells are missing from the backup, rings from the escrow, regions have no folder
    /// named, or newer backups are damaged, so that nobody knows who was deleted since. The report says how much is
    /// missing.
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
    /// gets its own when it is whole and synced, so that a crash leaves no half of it; then call this again. The folders
    /// of its regions are filled before that, and what a crash left in them is removed by the next call.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if a folder holds something, the backup is another store's or of another
    /// scope, it has cells of a region that is not [named](Self::region), or the escrow does not cover it;
    /// [`Conflict`](crate::ErrorKind::Conflict) if another restore is using a folder;
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if a manifest or file is damaged; [`NotFound`](crate::ErrorKind::NotFound) if there is no such backup;
    /// [`KeyRevoked`](crate::ErrorKind::KeyRevoked), [`Tampered`](crate::ErrorKind::Tampered) if the service's root
    /// key is missing or another. Nothing is there then that was not there before.
    pub fn store_into(mut self, path: impl AsRef<Path>) -> Result<RestoreReport> {
        let path = path.as_ref();
        let regions = self.check_folders(path)?;
        let repository = Repository::open(&self.repository)?;
        let trust = self.escrow.trust();
        let mut manifest = repository.find(self.number, &trust)?;
        if manifest.header.scope != Extent::Store {
            return Err(Error::invalid("the backup is not of a whole store"));
        }
        let graves = graves(&repository, &manifest, &trust, self.accepts_gaps)?;
        let needed = self.needed(&mut manifest, regions)?;
        let site = Site::take(path, &needed, trust.store)?;
        self.lay_out(&repository, &manifest, &site)?;
        let report = self.assemble(&repository, &manifest, &site, needed, &graves)?;
        site.finish(path)?;
        tracing::info!(number = report.number, tenants = report.tenants, "restored a store");
        Ok(report)
    }

    /// The regions that are named, whose folders lie apart from each other's and from everything else.
    pub(super) fn check_folders(&self, store: &Path) -> Result<RegionPaths> {
        let regions = cells::read_regions(self.regions.clone())?;
        cells::check_folders(store, &regions, &self.roots.locations())?;
        if regions.values().map(PathBuf::as_path).chain([store]).any(|path| cells::overlaps(path, &self.repository)) {
            return Err(Error::invalid("the backups lie in a folder of the store, or the store in theirs"));
        }
        Ok(regions)
    }

    /// Those of the named regions that the backup has cells of. What it has of others is left out, if gaps are accepted.
    fn needed(&self, manifest: &mut Manifest, named: RegionPaths) -> Result<RegionPaths> {
        let unnamed = manifest.regions().into_iter().find(|region| !named.contains_key(region));
        if let Some(region) = unnamed.filter(|_| !self.accepts_gaps) {
            return Err(Error::invalid(format!("the backup has cells of the region {region}; name a folder for it")));
        }
        manifest.leave_out(|cell| cell.region.as_ref().is_some_and(|region| !named.contains_key(region)));
        let needed = manifest.regions();
        Ok(named.into_iter().filter(|(region, _)| needed.contains(region)).collect())
    }

    /// The files of all cells, in the places where a store has them.
    fn lay_out(&mut self, repository: &Repository, manifest: &Manifest, site: &Site) -> Result<()> {
        // Makes the folder's skeleton: what a new store has.
        drop(Cells::on_disk(&site.store, 1, Budgets::small(), RegionPaths::new())?);
        let (files_total, bytes_total) = (manifest.files.len() as u64, manifest.bytes());
        let mut progress = Progress { files_total, bytes_total, ..Progress::default() };
        for cell in manifest.cells.iter().filter(|cell| cell.is_there) {
            let folder = site.cell(cell)?;
            self.lay_out_cell(repository, manifest, cell.number, &folder, &mut progress)?;
        }
        folder::sync(&site.store.join("cells")).map_err(failed)?;
        site.regions.values().try_for_each(RegionSite::bind)
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
        regions: RegionPaths,
        graves: &Graves,
    ) -> Result<RestoreReport> {
        let cells = Arc::new(Cells::on_disk(&site.store, 1, Budgets::small(), regions)?);
        let zero = cells.zero()?;
        let store = self.escrow.trust().store;
        keys::import_zero(&zero.rings, store, self.escrow.slots(store))?;
        let mut refill = Refill::new(&zero);
        rows::read_part(repository, manifest.part(Part::Directory), |key, value| {
            let envelope = Envelope::from_backup(value).ok_or_else(Error::tampered)?;
            refill.push(key, envelope)
        })?;
        for (key, value) in &graves.of_purges {
            let envelope = Envelope::from_backup(value.clone()).ok_or_else(Error::tampered)?;
            refill.push(key.clone(), envelope)?;
        }
        refill.flush()?;
        // Its database is opened anew, by the directory.
        drop(zero);
        let directory = Self::open(cells, self.roots.clone(), self.policy()?)?;
        self.check_signer(&directory)?;
        site.regions.keys().try_for_each(|region| directory.cells().check_region(Some(region)))?;
        let header = &manifest.header;
        let mut report =
            RestoreReport { number: header.number, created_secs: header.created_secs, ..RestoreReport::default() };
        for row in directory.hold_still(|rows| Ok(rows.to_vec()))? {
            let is_gone = row.status == Status::Destroying
                || directory.purge(row.incarnation)?.is_some_and(|purge| purge.is_carried_out())
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
        let event = Event::new(Act::STORE_RESTORED, Actor::Store).detail("backup", header.number);
        let event = event.detail("tenants", report.tenants).detail("deleted since", report.deleted);
        directory.trails().record(store, event, Durability::Synced)?;
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

/// Who has been deleted, as far as this backup and every newer one know.
#[derive(Default)]
pub(super) struct Graves {
    known: HashSet<Vec<u8>>,
    /// What newer backups have of purges, in the order of the backups: an older one knows less of them.
    of_purges: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Graves {
    pub(super) fn contains(&self, grave: &[u8]) -> bool {
        self.known.contains(grave)
    }

    fn collect(&mut self, repository: &Repository, manifest: &Manifest, is_newer: bool) -> Result<()> {
        rows::read_part(repository, manifest.part(Part::Graves), |key, value| {
            match (Directory::is_of_purge(&key), is_newer) {
                (true, true) => self.of_purges.push((key, value)),
                (true, false) => {}
                (false, _) => drop(self.known.insert(key)),
            }
            Ok(())
        })
    }
}

/// The graves that this backup and every newer one know.
pub(super) fn graves(
    repository: &Repository,
    manifest: &Manifest,
    trust: &Trust,
    accepts_gaps: bool,
) -> Result<Graves> {
    let mut graves = Graves::default();
    graves.collect(repository, manifest, false)?;
    for (number, folder) in repository.numbers()? {
        if number <= manifest.header.number {
            continue;
        }
        let newer = Repository::read(number, &folder, trust);
        match newer.and_then(|(newer, _)| graves.collect(repository, &newer, true)) {
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
    regions: BTreeMap<RegionName, RegionSite>,
    _lock: Handle,
}

impl Site {
    fn take(path: &Path, regions: &RegionPaths, id: Incarnation) -> Result<Self> {
        if !is_free(path).map_err(failed)? {
            return Err(Error::invalid("the folder to restore into holds something; name an absent or empty one"));
        }
        let name = path.file_name().ok_or_else(|| Error::invalid("the folder to restore into has no name"))?;
        let root = parent_of(path).join(format!(".restoring-{}", name.to_string_lossy()));
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
        let mut site = Self { root, store, regions: BTreeMap::new(), _lock: lock };
        for (region, path) in regions {
            site.regions.insert(region.clone(), RegionSite::take(path, region, id)?);
        }
        Ok(site)
    }

    fn cell(&self, cell: &Cell) -> Result<PathBuf> {
        let Some(region) = &cell.region else {
            return Ok(self.store.join("cells").join(format!("{:04}", cell.number)));
        };
        let region = self.regions.get(region).ok_or_else(|| Error::internal("a region has no folder"))?;
        Ok(region.cell(cell.number))
    }

    /// Gives the store its name: the moment from which it is there.
    fn finish(mut self, path: &Path) -> Result<()> {
        folder::sync(&self.store).map_err(failed)?;
        fs::rename(&self.store, path).map_err(failed)?;
        // Whatever fails from here on, the store is there, and its regions are its own.
        let synced = folder::sync(parent_of(path)).map_err(failed);
        std::mem::take(&mut self.regions).into_values().for_each(RegionSite::finish);
        synced
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Best effort: the next restore into the same folder removes it too.
        drop(fs::remove_dir_all(&self.root));
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn is_free(path: &Path) -> std::io::Result<bool> {
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
