//! Copies of cells for backups, and cells that come back from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Cells, DATABASE, Home, RINGS, RingFile};
use crate::engine::Reader;
use crate::engine::rocks::{RocksEngine, Shared};
use crate::error::{Error, Result};
use crate::folder;

/// Where a backup's copies lie: in the store's folder, because tables are linked, and links do not reach into other
/// file systems.
const SCRATCH: &str = ".backup";

/// The scratch folder of a store, held by one backup or restore at a time; removed when dropped, and by the next
/// opening of the store if a crash came first.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "the scratch folder of a backup is left; the next opening removes it");
        }
    }
}

impl Cells {
    /// The folder of the store, if it lies on a disk.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match &self.home {
            Home::Memory => None,
            Home::Disk { folder, .. } => Some(folder.root()),
        }
    }

    /// Takes the scratch folder.
    ///
    /// # Errors
    /// `Conflict` if a backup or restore is under way; `Invalid` if the store has no folder.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        let path = self.folder().ok_or_else(|| Error::invalid("a store in memory has no files"))?.join(SCRATCH);
        match std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(&path) {
            Ok(()) => Ok(Scratch(path)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::conflict("a backup or a restore of this store is under way"))
            }
            Err(error) => Err(Error::io("the scratch folder of a backup cannot be made", error)),
        }
    }

    /// Lets `make` fill the folder of a cell anew, then puts it in the place of what is there, which goes to quarantine.
    /// Nothing of the cell may be open.
    pub(crate) fn replace(&self, number: u32, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let Home::Disk { folder, .. } = &self.home else {
            return Err(Error::invalid("a store in memory has no files"));
        };
        let place = folder.cell(number);
        folder.make_cell(&place, |path| {
            make(path)?;
            if !place.exists() {
                return Ok(());
            }
            folder.quarantine(&place).map_err(|error| Error::io("a cell cannot be moved to quarantine", error))
        })
    }

    /// Makes a copy of a cell's database in `to`, a folder that is not there yet.
    pub(crate) fn checkpoint(&self, number: u32, to: &Path) -> Result<()> {
        self.get(number)?.engine.checkpoint(to)
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
pub(crate) fn lay_out(cell: &Path, boxes: u32) -> Result<PathBuf> {
    let database = cell.join(DATABASE);
    folder::make(&database).map_err(|error| Error::io("a cell cannot be laid out", error))?;
    RingFile::create(&cell.join(RINGS), boxes)?;
    Ok(database)
}

/// Opens a copy of a cell's database, to be read.
pub(crate) fn open_copy(database: &Path, boxes: u32) -> Result<Arc<dyn Reader>> {
    const CACHE_BYTES: usize = 8 << 20;
    Ok(Arc::new(RocksEngine::open(database, boxes, &Shared::new(CACHE_BYTES))?))
}
