//! Copies of cells for backups, and cells that come back from them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cell_folders::CellFolders;
use super::place::{DATABASE, RINGS, Version};
use super::region_folder::RegionFolder;
use super::{Budgets, Cells, CellsOnDisk, Home, RingFile};
use crate::engine::Reader;
use crate::engine::rocks::{RocksEngine, Shared};
use crate::error::{Error, Result};
use crate::folder;
use crate::name::RegionName;

/// Where a backup's copies lie: in the folder of the store, and of each region, because tables are linked, and links do
/// not reach into other file systems.
const SCRATCH: &str = ".backup";

/// The scratch folders of a store, held by one backup or restore at a time; removed when dropped, and by the next
/// opening of the store if a crash came first.
pub(crate) struct Scratch {
    path: PathBuf,
    regions: BTreeMap<RegionName, PathBuf>,
}

impl Scratch {
    /// Where a copy of a cell of this region goes.
    pub(crate) fn of_cell(&self, number: u32, region: Option<&RegionName>) -> PathBuf {
        let path = region.and_then(|region| self.regions.get(region)).unwrap_or(&self.path);
        path.join(format!("{number:04}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in self.regions.values().chain([&self.path]) {
            if let Err(error) = fs::remove_dir_all(path) {
                tracing::warn!(%error, "the scratch folder of a backup is left; the next opening removes it");
            }
        }
    }
}

impl Cells {
    /// The folder of the store, if it lies on a disk.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match &self.home {
            Home::Memory(_) => None,
            Home::Disk(cells) => Some(cells.folders().root()),
        }
    }

    /// Whether a path lies in the folder of the store or of one of its regions, or such a folder in it.
    pub(crate) fn lie_with(&self, path: &Path) -> bool {
        self.folder().into_iter().chain(self.regions.paths()).any(|folder| super::overlaps(folder, path))
    }

    /// Takes the scratch folders.
    ///
    /// # Errors
    /// `Conflict` if a backup or restore is under way; `Invalid` if the store has no folder.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        let path = self.folder().ok_or_else(in_memory)?.join(SCRATCH);
        make_scratch(&path)?;
        let mut scratch = Scratch { path, regions: BTreeMap::new() };
        for (name, folders) in self.regions.folders() {
            let path = folders.root().join(SCRATCH);
            make_scratch(&path)?;
            scratch.regions.insert(name.clone(), path);
        }
        Ok(scratch)
    }

    /// Lets `make` fill the folder of a cell anew, then puts it in the place of what is there, which goes to quarantine.
    /// Nothing of the cell may be open.
    pub(crate) fn replace(
        &self,
        number: u32,
        region: Option<&RegionName>,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let folders = self.folders_of(region)?;
        let place = folders.cell(number);
        folders.make_cell(&place, |path| {
            make(path)?;
            if !place.exists() {
                return Ok(());
            }
            folders.quarantine(&place).map_err(|error| Error::io("a cell cannot be moved to quarantine", error))
        })
    }

    /// Makes a copy of a cell's database in `to`, a folder that is not there yet, on the cell's file system.
    pub(crate) fn checkpoint(&self, number: u32, to: &Path) -> Result<()> {
        self.disk()?.pool().checkpoint(number, to)
    }

    /// How far a cell's database has come. A copy that was made after this, and before it is the same again, is what a copy
    /// made then would be.
    pub(crate) fn version(&self, number: u32) -> Option<Version> {
        self.disk().ok()?.pool().place(number).ok()?.version()
    }

    fn folders_of(&self, region: Option<&RegionName>) -> Result<&CellFolders> {
        match region {
            Some(name) => self.regions.folder(name).map(RegionFolder::cells),
            None => Ok(self.disk()?.folders()),
        }
    }

    fn disk(&self) -> Result<&CellsOnDisk> {
        match &self.home {
            Home::Memory(_) => Err(in_memory()),
            Home::Disk(cells) => Ok(cells),
        }
    }
}

fn in_memory() -> Error {
    Error::invalid("a store in memory has no files")
}

fn make_scratch(path: &Path) -> Result<()> {
    match std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::conflict("a backup or a restore of this store is under way"))
        }
        Err(error) => Err(Error::io("the scratch folder of a backup cannot be made", error)),
    }
}

/// Removes what a backup left behind that a crash cut short.
pub(super) fn sweep(root: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(root.join(SCRATCH)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Lays out a cell in the folder `cell`, its ring file empty, and returns where the files of its database belong.
pub(crate) fn lay_out(cell: &Path, boxes: u32, region: Option<&RegionName>) -> Result<PathBuf> {
    let database = cell.join(DATABASE);
    folder::make(&database).map_err(|error| Error::io("a cell cannot be laid out", error))?;
    RingFile::create(&cell.join(RINGS), boxes, region)?;
    Ok(database)
}

/// Opens a copy of a cell's database, to be read.
pub(crate) fn open_copy(database: &Path, boxes: u32) -> Result<Arc<dyn Reader>> {
    Ok(Arc::new(RocksEngine::open(database, boxes, &Shared::of(&Budgets::small())?)?))
}
