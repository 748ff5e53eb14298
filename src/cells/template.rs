//! The files of a new and empty database, kept from the first cell that was made with so many boxes: RocksDB syncs its
//! manifest for every family that it adds, and to write the finished files again takes a tenth of that time.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::Engine;
use crate::engine::rocks::{RocksEngine, Shared};
use crate::error::{Error, Result};
use crate::folder;

/// Files by name.
type Files = Arc<Vec<(OsString, Vec<u8>)>>;

/// Empty databases by their number of boxes.
#[derive(Default)]
pub(super) struct Templates(Mutex<HashMap<u32, Files>>);

impl Templates {
    /// Makes an empty database of so many boxes in the folder `path`, which is made too.
    pub(super) fn make(&self, path: &Path, boxes: u32, shared: &Shared) -> Result<()> {
        let failed = |error| Error::io("a cell cannot be made", error);
        // Made here, because RocksDB would let everybody read it.
        folder::make(path).map_err(failed)?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&boxes).cloned();
        if let Some(files) = known {
            files.iter().try_for_each(|(name, bytes)| write(&path.join(name), bytes)).map_err(failed)?;
            return folder::sync(path).map_err(failed);
        }
        RocksEngine::make(path, boxes, shared)?.sync()?;
        let files = read(path).map_err(failed)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(boxes, Arc::new(files));
        Ok(())
    }
}

/// The files that a database needs: not its lock, and not what it writes for people.
fn read(path: &Path) -> std::io::Result<Vec<(OsString, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if !["LOCK", "LOG", "OPTIONS"].iter().any(|start| text.starts_with(start)) {
            files.push((name, fs::read(entry.path())?));
        }
    }
    Ok(files)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
