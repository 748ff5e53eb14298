//! Folders that tests copy, damage and throw away.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// An empty folder, in memory where the system has one there: thousands of opens wait for no disk.
pub fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a temporary folder")
}

/// Copies a folder with everything in it, permissions included.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    fs::set_permissions(to, from.metadata().expect("metadata").permissions()).expect("permissions");
    for entry in fs::read_dir(from).expect("a listing") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Every file under `root`, sorted.
pub fn files(root: &Path) -> Vec<PathBuf> {
    everything(root).into_iter().filter(|path| path.is_file()).collect()
}

/// Every file and folder under `root` and itself, sorted.
pub fn everything(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_path_buf()];
    let mut next = 0;
    while next < found.len() {
        if found[next].is_dir() {
            let entries = fs::read_dir(&found[next]).expect("a listing");
            found.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
        next += 1;
    }
    found.sort();
    found
}

/// The name of a file, as text.
pub fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8")
}
