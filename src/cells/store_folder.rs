//! The folder of a store: its lock, its format, and its cells' folders.

use std::fs;
use std::path::{Path, PathBuf};

use super::cell_folders::{CellFolders, FolderLock, UNFINISHED, holds_only_beginnings, write_marker};
use crate::error::{Error, Result};
use crate::folder;

/// What the file FORMAT holds, to the byte.
const TEXT: &str = "strongroom store, format 1\n";
const FORMAT: &str = "FORMAT";

pub(super) struct StoreFolder {
    cells: CellFolders,
    /// Locked while this process has the store open.
    _lock: FolderLock,
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
        let (format, lock_file) = (root.join(FORMAT), root.join("LOCK"));
        let is_strange =
            || Ok::<_, Error>(!format.exists() && !holds_only_beginnings(&root, &["LOCK", ".FORMAT"]).map_err(failed)?);
        let stranger = || Error::invalid("the folder holds something that is not a strongroom store");
        // Nothing is put into a stranger's folder, not even a lock; and what another process is just making is looked
        // at only once it is ours.
        if !lock_file.exists() && is_strange()? {
            return Err(stranger());
        }
        let lock =
            FolderLock::take(&lock_file).map_err(|error| Error::io("the lock of the store cannot be used", error))?;
        let lock = lock.ok_or_else(|| Error::conflict("the store is open already, here or in another process"))?;
        if is_strange()? {
            return Err(stranger());
        }
        let store = Self { cells: CellFolders::new(root.clone()), _lock: lock };
        if format.exists() {
            Self::check_format(&format)?;
        } else {
            store.cells.make().and_then(|()| write_marker(&root, FORMAT, TEXT)).map_err(failed)?;
        }
        store.quarantine_strangers().map_err(failed)?;
        #[cfg(feature = "backup")]
        super::checkpoint::sweep(store.cells.root()).map_err(failed)?;
        Ok(store)
    }

    pub(super) fn zero(&self) -> PathBuf {
        self.cells.root().join("zero")
    }

    pub(super) fn cells(&self) -> &CellFolders {
        &self.cells
    }

    fn check_format(format: &Path) -> Result<()> {
        let text = fs::read(format).map_err(|error| Error::io("the format of the store cannot be read", error))?;
        if text == TEXT.as_bytes() {
            return Ok(());
        }
        Err(Error::invalid("the store has a format that this release does not know"))
    }

    fn quarantine_strangers(&self) -> std::io::Result<()> {
        let unfinished_zero = self.cells.root().join(format!("{UNFINISHED}zero"));
        if unfinished_zero.exists() {
            self.cells.quarantine(&unfinished_zero)?;
        }
        self.cells.quarantine_strangers()
    }
}
