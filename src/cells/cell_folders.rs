//! Where the folders of cells lie, in the store's own folder or in a region's: listing them, making one so that a crash
//! leaves it whole or marked as unfinished, and putting aside what is none.
//!
//! ```text
//! cells/0000/         a cell
//! quarantine/         folders that this release did not make, or did not finish making; never deleted
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder;

/// A cell that is being made has a name that begins so.
pub(super) const UNFINISHED: &str = ".making-";

pub(super) struct CellFolders {
    root: PathBuf,
}

/// A file that is locked while this value lives. The lock ends with the process, however it ends.
pub(super) struct FolderLock(File);

impl CellFolders {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of cells, durably.
    pub(super) fn make(&self) -> std::io::Result<()> {
        folder::make(&self.root.join("cells"))
    }

    pub(super) fn cell(&self, number: u32) -> PathBuf {
        self.root.join("cells").join(format!("{number:04}"))
    }

    /// The numbers of the cells that are there.
    pub(super) fn numbers(&self) -> Result<Vec<u32>> {
        let failed = |error| Error::io("the cells of the store cannot be listed", error);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.root.join("cells")).map_err(failed)? {
            numbers.extend(parse_cell_name(&entry.map_err(failed)?.file_name()));
        }
        Ok(numbers)
    }

    /// Lets `make` fill a folder under a name that says it is unfinished, then gives it its own name, durably.
    pub(super) fn make_cell(&self, path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let failed = |error| Error::io("a cell cannot be made", error);
        let (parent, name) =
            path.parent().zip(path.file_name()).ok_or_else(|| Error::internal("a cell has no name"))?;
        let unfinished = parent.join(format!("{UNFINISHED}{}", name.to_string_lossy()));
        if unfinished.exists() {
            self.quarantine(&unfinished).map_err(failed)?;
        }
        folder::make(&unfinished).map_err(failed)?;
        make(&unfinished)?;
        folder::sync(&unfinished).map_err(failed)?;
        fs::rename(&unfinished, path).map_err(failed)?;
        folder::sync(parent).map_err(failed)
    }

    /// Folders that are no cell of ours, or were never finished, are moved aside for somebody to look at.
    pub(super) fn quarantine_strangers(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(self.root.join("cells"))? {
            let entry = entry?;
            if parse_cell_name(&entry.file_name()).is_none() {
                self.quarantine(&entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn quarantine(&self, stranger: &Path) -> std::io::Result<()> {
        let quarantine = self.root.join("quarantine");
        folder::make(&quarantine)?;
        let place = (0..u32::MAX).map(|number| quarantine.join(format!("{number:04}"))).find(|place| !place.exists());
        let place = place.unwrap_or_else(|| quarantine.join("more"));
        tracing::warn!("a folder among the cells is not a finished cell; moved to quarantine");
        fs::rename(stranger, place)?;
        folder::sync(&quarantine)?;
        stranger.parent().map_or(Ok(()), folder::sync)
    }
}

impl FolderLock {
    /// Locks the file at `path`, making it if it is not there. `None` if somebody else has it.
    pub(super) fn take(path: &Path) -> std::io::Result<Option<Self>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Not left to closing the file: a process that was forked off and has not yet become another program holds a
        // copy of it.
        drop(self.0.unlock());
    }
}

/// Writes a file that says what a folder is, whole or not at all, durably. `name` is that of a file in `root`.
pub(super) fn write_marker(root: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let unfinished = root.join(format!(".{name}"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(unfinished, root.join(name))?;
    folder::sync(root)?;
    // Whoever made the folder may not have.
    root.parent().map_or(Ok(()), folder::sync)
}

/// Whether a folder without its marker has nothing but what is there while it is being made: files of these names, and
/// no cell.
pub(super) fn holds_only_beginnings(root: &Path, files: &[&str]) -> std::io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = match name.to_str() {
            Some("cells") => entry.file_type()?.is_dir() && fs::read_dir(entry.path())?.next().is_none(),
            Some(name) => files.contains(&name),
            None => false,
        };
        if !ours {
            return Ok(false);
        }
    }
    Ok(true)
}

fn parse_cell_name(name: &std::ffi::OsStr) -> Option<u32> {
    let text = name.to_str()?;
    let number: u32 = text.parse().ok()?;
    (format!("{number:04}") == text).then_some(number)
}
