//! Maildirs: a file for every message, in `cur` and `new`; folders beside them, as `.Name` (Maildir++).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::source::{Found, Place};
use crate::letter::MESSAGE_MAX_LEN;
use crate::model::is_folder_name;

/// The messages of a maildir and of its folders, in the order of their file names.
pub struct Maildir {
    files: std::vec::IntoIter<(PathBuf, String)>,
    length: u64,
    done: u64,
}

impl Maildir {
    /// Looks for the files of a maildir.
    ///
    /// # Errors
    /// If it is none, or cannot be read.
    pub fn open(path: &Path, folder: &str) -> io::Result<Self> {
        if !path.join("cur").is_dir() && !path.join("new").is_dir() {
            let message = format!("{}: no maildir, it has neither cur nor new", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let mut files = Vec::new();
        collect(path, folder, &mut files)?;
        let mut folders: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        folders.sort();
        for path in folders {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(name) = name.strip_prefix('.').filter(|name| is_folder_name(name) && path.is_dir()) {
                collect(&path, name, &mut files)?;
            }
        }
        Ok(Self { length: files.len() as u64, files: files.into_iter(), done: 0 })
    }

    /// How many files it has.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Iterator for Maildir {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let (path, folder) = self.files.next()?;
        self.done += 1;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // `:2,` and the letters of what was done with it.
        let is_seen = file.rsplit_once(',').is_some_and(|(_, flags)| flags.contains('S'));
        let place = Place { file, line: 1, offset: 0 };
        Some(Found { place, folder, is_seen, progress: self.done, message: read(&path) })
    }
}

fn collect(maildir: &Path, folder: &str, files: &mut Vec<(PathBuf, String)>) -> io::Result<()> {
    for part in ["cur", "new"] {
        let part = maildir.join(part);
        if !part.is_dir() {
            continue;
        }
        let mut found: Vec<PathBuf> = fs::read_dir(part)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        found.sort();
        files.extend(found.into_iter().map(|path| (path, folder.to_owned())));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("the file cannot be read: {error}");
    // A link would lead out of the maildir, and a pipe would never end.
    if !fs::symlink_metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut message = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MESSAGE_MAX_LEN as u64 + 1).read_to_end(&mut message).map_err(unreadable)?;
    match message.len() > MESSAGE_MAX_LEN {
        true => Err("the message has more than 15 MiB".to_owned()),
        false => Ok(message),
    }
}
