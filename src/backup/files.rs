//! Regular files, and nothing that only looks like one: a link leads elsewhere, and a pipe has no end.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Opens a file to be read.
///
/// # Errors
/// `InvalidData` if there is something else in its place.
pub(super) fn open(path: &Path) -> Result<File> {
    open_regular(OpenOptions::new().read(true), path)
}

/// Opens a file that is to be locked, made (mode 0600) if it is not there.
pub(super) fn open_lock(path: &Path) -> Result<File> {
    open_regular(OpenOptions::new().write(true).create(true).truncate(false).mode(0o600), path)
}

fn open_regular(options: &mut OpenOptions, path: &Path) -> Result<File> {
    // Without NONBLOCK the opening of a pipe would wait for whoever is at its other end.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = options.custom_flags(flags).open(path).map_err(|error| {
        let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        if is_link { ErrorKind::InvalidData.into() } else { error }
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Reads a whole file of `limit` bytes at most.
///
/// # Errors
/// `InvalidData` if it is longer, or no regular file.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(Error::from(ErrorKind::InvalidData)) } else { Ok(bytes) }
}

/// Makes a file (mode 0600) anew: what a crash left under its name goes, and a link there is not followed.
pub(super) fn create(path: &Path) -> Result<File> {
    remove(path)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes a whole new file (mode 0600) and syncs it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a file, a link and not what it leads to, or a folder with all that it holds, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
