//! Folders that are there after a power cut.

use std::fs::{DirBuilder, File};
use std::io::Result;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder (mode 0700) and whichever of its parents are not there, each durably: a folder is only as lasting
/// as its entry in the folder above it.
pub(crate) fn make(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(parent)?;
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    sync(parent)
}

/// Syncs the entries of a folder.
pub(crate) fn sync(path: &Path) -> Result<()> {
    File::open(path)?.sync_all()
}
