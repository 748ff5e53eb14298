//! The folder of a region: cells on a disk of their own, bound to one store and one region.
//!
//! ```text
//! REGION LOCK         whose folder this is; which process has it open
//! .restoring          while a restore fills it (`region_site`)
//! cells/              as in the store's own folder
//! quarantine/
//! ```

use std::fs;
use std::path::Path;

use super::cell_folders::{CellFolders, FolderLock, holds_only_beginnings, write_marker};
use crate::error::{Error, ErrorKind, Result};
use crate::folder;
use crate::name::{Incarnation, RegionName};

pub(super) const REGION: &str = "REGION";
/// There and locked while a restore fills the folder.
pub(super) const RESTORING: &str = ".restoring";

pub(super) struct RegionFolder {
    cells: CellFolders,
    /// Locked while this process has the region open.
    _lock: FolderLock,
}

impl RegionFolder {
    /// Takes the folder of a region of the store `store`. An absent or empty folder is made one, unless tenants live in
    /// the region: then its disk is away.
    ///
    /// # Errors
    /// `Unavailable` if the disk is away or another process has the folder; `Invalid` if the folder is another's.
    pub(super) fn open(path: &Path, region: &RegionName, store: Incarnation, is_lived_in: bool) -> Result<Self> {
        let failed = |error| Error::io("the folder of the region cannot be used", error);
        let unavailable = |why| Err(Error::new(ErrorKind::Unavailable, why));
        if is_lived_in && !path.join(REGION).exists() {
            return unavailable("tenants live in the region, and its folder is absent or empty; is its disk mounted?");
        }
        folder::make(path).map_err(failed)?;
        let root = path.canonicalize().map_err(failed)?;
        let marker = root.join(REGION);
        // A new file system has `lost+found`.
        let beginnings = ["LOCK", ".REGION", "lost+found"];
        if !marker.exists() && !holds_only_beginnings(&root, &beginnings).map_err(failed)? {
            return Err(Error::invalid("the folder of the region holds something else"));
        }
        let Some(lock) = FolderLock::take(&root.join("LOCK")).map_err(failed)? else {
            return unavailable("the folder of the region is in use by another process");
        };
        let cells = CellFolders::new(root.clone());
        let text = marker_text(region, store);
        if marker.exists() {
            check_marker(&fs::read(&marker).map_err(failed)?, &text)?;
        } else {
            cells.make().and_then(|()| write_marker(&root, REGION, &text)).map_err(failed)?;
        }
        cells.quarantine_strangers().map_err(failed)?;
        #[cfg(feature = "backup")]
        super::checkpoint::sweep(&root).map_err(failed)?;
        sweep(&root).map_err(failed)?;
        Ok(Self { cells, _lock: lock })
    }

    pub(super) fn cells(&self) -> &CellFolders {
        &self.cells
    }
}

/// Removes the marker that a restore left behind whose store came into being, unless the restore is alive. A restore
/// wipes what has the marker, so there is none in a region that is in use.
fn sweep(root: &Path) -> std::io::Result<()> {
    let marker = root.join(RESTORING);
    if marker.exists() && FolderLock::take(&marker)?.is_some() { remove_marker(root) } else { Ok(()) }
}

pub(super) fn remove_marker(root: &Path) -> std::io::Result<()> {
    match fs::remove_file(root.join(RESTORING)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => folder::sync(root),
    }
}

/// What the file REGION holds, to the byte. The store's id is random and no secret.
pub(super) fn marker_text(region: &RegionName, store: Incarnation) -> String {
    format!("strongroom region, format 1\nregion {region}\nstore {store:?}\n")
}

fn check_marker(found: &[u8], expected: &str) -> Result<()> {
    if found == expected.as_bytes() {
        return Ok(());
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (found, expected) = (lines(&String::from_utf8_lossy(found)), lines(expected));
    Err(Error::invalid(match (found.as_slice(), expected.as_slice()) {
        ([a, region, store], [b, our_region, our_store]) if a == b => {
            match (region == our_region, store == our_store) {
                (false, true) => "the folder of the region is that of another region of this store",
                _ => "the folder of the region belongs to another store",
            }
        }
        _ => "the folder of the region has a marker that this release does not know",
    }))
}
