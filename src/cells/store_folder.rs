//! The folder of a store: its lock, its format, and its cells' folders.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder;

/// What the file FORMAT holds, to the byte.
const FORMAT: &str = "strongroom store, format 1\n";
/// A cell that is being made has a name that begins so.
const UNFINISHED: &str = ".making-";

pub(super) struct StoreFolder {
    root: PathBuf,
    /// Locked while this process has the store open; the lock ends with the process, however it ends.
    lock: File,
}

impl StoreFolder {
    /// Takes the store in `root`, or makes a new one in an absent or empty folder.
    ///
    /// # Errors
    /// `Conflict` if it is open already; `Invalid` if the folder holds something else, or a store of another format.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let failed = |error| Error::io("the folder of the store cannot be used", error);
        folder::make(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let (format, lock_file) = (root.join("FORMAT"), root.join("LOCK"));
        let is_strange = || Ok::<_, Error>(!format.exists() && !holds_only_beginnings(&root).map_err(failed)?);
        let stranger = || Error::invalid("the folder holds something that is not a strongroom store");
        // Nothing is put into a stranger's folder, not even a lock; and what another process is just making is looked
        // at only once it is ours.
        if !lock_file.exists() && is_strange()? {
            return Err(stranger());
        }
        let lock = lock(&lock_file)?;
        if is_strange()? {
            return Err(stranger());
        }
        let store = Self { root, lock };
        if format.exists() {
            Self::check_format(&format)?;
        } else {
            store.make(&format).map_err(failed)?;
        }
        store.quarantine_strangers().map_err(failed)?;
        #[cfg(feature = "backup")]
        super::checkpoint::sweep(&store.root).map_err(failed)?;
        Ok(store)
    }

    #[cfg(feature = "backup")]
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn zero(&self) -> PathBuf {
        self.root.join("zero")
    }

    pub(super) fn cell(&self, number: u32) -> PathBuf {
        self.root.join("cells").join(format!("{number:04}"))
    }

    /// The numbers of the cells that are there.
    pub(super) fn cells(&self) -> Result<Vec<u32>> {
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

    fn make(&self, format: &Path) -> std::io::Result<()> {
        folder::make(&self.root.join("cells"))?;
        let unfinished = self.root.join(".FORMAT");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(FORMAT.as_bytes())?;
        file.sync_all()?;
        fs::rename(unfinished, format)?;
        folder::sync(&self.root)?;
        // Whoever made the folder may not have.
        self.root.parent().map_or(Ok(()), folder::sync)
    }

    fn check_format(format: &Path) -> Result<()> {
        let text = fs::read(format).map_err(|error| Error::io("the format of the store cannot be read", error))?;
        if text == FORMAT.as_bytes() {
            return Ok(());
        }
        Err(Error::invalid("the store has a format that this release does not know"))
    }

    /// Folders that are no cell of ours, or were never finished, are moved aside for somebody to look at.
    fn quarantine_strangers(&self) -> std::io::Result<()> {
        let unfinished_zero = self.root.join(format!("{UNFINISHED}zero"));
        if unfinished_zero.exists() {
            self.quarantine(&unfinished_zero)?;
        }
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

impl Drop for StoreFolder {
    fn drop(&mut self) {
        // Not left to closing the file: a process that was forked off and has not yet become another program holds a
        // copy of it.
        drop(self.lock.unlock());
    }
}

fn parse_cell_name(name: &std::ffi::OsStr) -> Option<u32> {
    let text = name.to_str()?;
    let number: u32 = text.parse().ok()?;
    (format!("{number:04}") == text).then_some(number)
}

/// Whether a folder without a format has nothing but what is there while a store is being made.
fn holds_only_beginnings(root: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = match name.to_str() {
            Some("LOCK" | ".FORMAT") => true,
            Some("cells") => entry.file_type()?.is_dir() && fs::read_dir(entry.path())?.next().is_none(),
            _ => false,
        };
        if !ours {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(path: &Path) -> Result<File> {
    let failed = |error| Error::io("the lock of the store cannot be used", error);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::conflict("the store is open already, here or in another process")),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
