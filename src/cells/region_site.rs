//! The folder of a region while a restore fills it: nobody's region until it is whole, and wiped by the next restore if
//! its store does not come into being.
//!
//! The file `.restoring` is there from before the first byte until after the store has its name, and locked while the
//! restore is alive. What is found unlocked was left by a crash: by one before the store was there, and then the next
//! restore begins anew, or by one after, and then the store's opening removes it.

use std::fs;
use std::path::{Path, PathBuf};

use super::cell_folders::{CellFolders, FolderLock, holds_only_beginnings, write_marker};
use super::region_folder::{REGION, RESTORING, marker_text, remove_marker};
use crate::error::{Error, Result};
use crate::folder;
use crate::name::{Incarnation, RegionName};

/// What a folder may hold that is as good as empty: a lock, a marker that was being written, and what a new file system
/// has.
const BEGINNINGS: [&str; 4] = ["LOCK", "..restoring", ".REGION", "lost+found"];

pub(crate) struct RegionSite {
    cells: CellFolders,
    /// What the file REGION is to hold.
    text: String,
    was_there: bool,
    is_finished: bool,
    _lock: FolderLock,
}

impl RegionSite {
    /// Takes a folder that is absent, empty, or was left by a restore of the same region of the same store.
    ///
    /// # Errors
    /// `Invalid` if it holds something else; `Conflict` if a restore or a store is using it.
    pub(crate) fn take(path: &Path, region: &RegionName, store: Incarnation) -> Result<Self> {
        let text = marker_text(region, store);
        let marker = path.join(RESTORING);
        let is_ours = || match fs::read(&marker) {
            Ok(found) => Ok(found == text.as_bytes()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(!path.exists() || holds_only_beginnings(path, &BEGINNINGS)?)
            }
            Err(error) => Err(error),
        };
        let stranger = || {
            let why = format!("the folder to restore the region {region} into holds something; name an empty one");
            Err(Error::invalid(why))
        };
        // Nothing is put into a stranger's folder, not even a lock.
        if !is_ours().map_err(failed)? {
            return stranger();
        }
        let was_there = path.exists();
        folder::make(path).map_err(failed)?;
        let root = path.canonicalize().map_err(failed)?;
        let in_use = || Error::conflict("another restore, or a store, is using the folder of the region");
        let _entrance = FolderLock::take(&root.join("LOCK")).map_err(failed)?.ok_or_else(in_use)?;
        if !is_ours().map_err(failed)? {
            return stranger();
        }
        if !marker.exists() {
            write_marker(&root, RESTORING, &text).map_err(failed)?;
        }
        let lock = FolderLock::take(&root.join(RESTORING)).map_err(failed)?.ok_or_else(in_use)?;
        let cells = CellFolders::new(root);
        let site = Self { cells, text, was_there, is_finished: false, _lock: lock };
        site.wipe().and_then(|()| site.cells.make()).map_err(failed)?;
        Ok(site)
    }

    /// Where a cell goes.
    pub(crate) fn cell(&self, number: u32) -> PathBuf {
        self.cells.cell(number)
    }

    /// Makes the folder the region of its store, once every cell is in it.
    pub(crate) fn bind(&self) -> Result<()> {
        let root = self.cells.root();
        folder::sync(&root.join("cells")).and_then(|()| write_marker(root, REGION, &self.text)).map_err(failed)
    }

    /// The store has its name: the region is its own from now on.
    pub(crate) fn finish(mut self) {
        self.is_finished = true;
        if let Err(error) = remove_marker(self.cells.root()) {
            tracing::warn!(%error, "the marker of a restore is left; the opening of the store removes it");
        }
    }

    /// Removes whatever is in the folder but for locks and markers of the file system: REGION first, so that nobody takes
    /// the rest for a region.
    fn wipe(&self) -> std::io::Result<()> {
        let root = self.cells.root();
        remove_file(&root.join(REGION))?;
        folder::sync(root)?;
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if [RESTORING, "LOCK", "lost+found"].iter().any(|kept| entry.file_name() == *kept) {
                continue;
            }
            if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }?;
        }
        folder::sync(root)
    }

    /// Leaves the folder as it was before.
    fn undo(&self) -> std::io::Result<()> {
        let root = self.cells.root();
        self.wipe()?;
        remove_file(&root.join("LOCK"))?;
        remove_marker(root)?;
        if self.was_there { Ok(()) } else { fs::remove_dir(root) }
    }
}

impl Drop for RegionSite {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = self.undo()
        {
            tracing::warn!(%error, "what was restored of a region is left; the next restore removes it");
        }
    }
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("the folder of a region cannot be filled", error)
}
