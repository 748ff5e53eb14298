//! A folder of backups: files named by what they hold, and manifests that name files.
//!
//! ```text
//! FORMAT LOCK              the format of what follows; who is making a backup
//! objects/<SHA-256>        whole files, never changed (0600); .incoming is one on its way
//! backups/<number>-<time>/ manifest and manifest.sig; .making is one on its way
//! ```
//! A crash at any instant leaves whole files and whole backups only: both get their names when they are synced.
//!
//! Others may be able to write to the folder. Nothing in it that is a link is followed, so that what they lay there
//! leads nowhere, and only what has the name of one of its files is ever removed.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File as Handle, OpenOptions, TryLockError};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files;
use super::manifest::{self, File, Manifest, Sum, Trust};
use crate::error::{Error, ErrorKind, Result};
use crate::folder;

const FORMAT: &str = "strongroom backups, format 1\n";
const INCOMING: &str = ".incoming";
const MAKING: &str = ".making";
const MANIFEST: &str = "manifest";
const SIGNATURE: &str = "manifest.sig";
/// The longest manifest that is read into memory, in bytes: room for some ten million files.
const MANIFEST_MAX_LEN: u64 = 1 << 30;
const BUFFER_LEN: usize = 256 << 10;

pub(super) struct Repository {
    root: PathBuf,
}

/// Leave to add to a repository: one process at a time.
pub(super) struct Writer<'r> {
    pub(super) repository: &'r Repository,
    _lock: Handle,
}

/// A file on its way into the repository.
pub(super) struct Incoming<'w> {
    objects: PathBuf,
    file: Handle,
    hash: Sha256,
    length: u64,
    writer: &'w Writer<'w>,
}

/// A file that is in the repository.
pub(super) struct Stored {
    pub(super) sum: Sum,
    pub(super) length: u64,
    /// Whether it was not there before.
    pub(super) is_new: bool,
}

impl Repository {
    /// A repository that is there.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let unknown = || Error::invalid("the backups have a format that this release does not know");
        let format = files::read(&root.join("FORMAT"), FORMAT.len() as u64).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, "the folder holds no backups"),
            std::io::ErrorKind::InvalidData => unknown(),
            _ => failed(error),
        })?;
        if format != FORMAT.as_bytes() {
            return Err(unknown());
        }
        let repository = Self { root: root.to_path_buf() };
        repository.check_folders()?;
        Ok(repository)
    }

    /// Whether `objects` and `backups` are folders of this repository, and not links to those of somebody else.
    fn check_folders(&self) -> Result<()> {
        for folder in [self.objects(), self.backups()] {
            let there = fs::symlink_metadata(folder).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::corrupt("a folder of the backups is missing"),
                _ => failed(error),
            })?;
            if !there.is_dir() {
                return Err(Error::invalid("a folder of the backups is a link, or no folder"));
            }
        }
        Ok(())
    }

    /// Whether [`open_or_make`](Self::open_or_make) would be refused, as far as that can be told without making anything.
    pub(super) fn check(root: &Path) -> Result<()> {
        match root.join("FORMAT").exists() {
            true => Self::open(root).map(drop),
            false if root.exists() => Self::check_beginnings(root),
            false => Ok(()),
        }
    }

    fn check_beginnings(root: &Path) -> Result<()> {
        let is_ours = |name: &std::ffi::OsStr| name == "objects" || name == "backups" || name == ".FORMAT";
        for entry in fs::read_dir(root).map_err(failed)? {
            if !is_ours(&entry.map_err(failed)?.file_name()) {
                return Err(Error::invalid("the folder holds something that is no backups"));
            }
        }
        Ok(())
    }

    /// A repository that is there, or a new one in an absent or empty folder.
    pub(super) fn open_or_make(root: &Path) -> Result<Self> {
        folder::make(root).map_err(failed)?;
        if !root.join("FORMAT").exists() {
            Self::check_beginnings(root)?;
            folder::make(&root.join("objects")).map_err(failed)?;
            folder::make(&root.join("backups")).map_err(failed)?;
            files::write(&root.join(".FORMAT"), FORMAT.as_bytes()).map_err(failed)?;
            fs::rename(root.join(".FORMAT"), root.join("FORMAT")).map_err(failed)?;
            folder::sync(root).map_err(failed)?;
        }
        Self::open(root)
    }

    /// Takes leave to add, and removes what a crash left unfinished.
    pub(super) fn writer(&self) -> Result<Writer<'_>> {
        let lock = files::open_lock(&self.root.join("LOCK")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::conflict("another process is making a backup in this folder"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        for unfinished in [self.objects().join(INCOMING), self.backups().join(MAKING)] {
            files::remove(&unfinished).map_err(failed)?;
        }
        Ok(Writer { repository: self, _lock: lock })
    }

    /// The backups that are there, oldest first: their numbers and folders. What has no name of a backup is none, nor
    /// is what only leads to a folder.
    pub(super) fn numbers(&self) -> Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.backups()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                let number = entry.file_name().to_str().and_then(number_of);
                found.extend(number.map(|number| (number, entry.path())));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The manifest of a backup, once its signature is good, and its SHA-256.
    pub(super) fn read(number: u64, folder: &Path, trust: &Trust) -> Result<(Manifest, Sum)> {
        let read = |name: &str, limit: u64| {
            files::read(&folder.join(name), limit).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::corrupt("the manifest of a backup is missing"),
                std::io::ErrorKind::InvalidData => {
                    Error::corrupt("the manifest of a backup is longer than any, or no regular file")
                }
                _ => failed(error),
            })
        };
        // The signature first: a long manifest is read only if it claims to be this store's.
        let signature = manifest::read_signature(&read(SIGNATURE, manifest::SIGNATURE_FILE_LEN)?, trust)?;
        let bytes = read(MANIFEST, MANIFEST_MAX_LEN)?;
        let manifest = Manifest::read(&bytes, &signature, trust)?;
        if manifest.header.number != number {
            return Err(Error::corrupt("the manifest of a backup belongs to one of another number"));
        }
        Ok((manifest, super::manifest::sum(&bytes)))
    }

    /// The manifest of the backup of this number, or of the newest.
    pub(super) fn find(&self, number: Option<u64>, trust: &Trust) -> Result<Manifest> {
        let all = self.numbers()?;
        let found = match number {
            Some(number) => all.iter().find(|(found, _)| *found == number),
            None => all.last(),
        };
        let (number, folder) = found.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such backup"))?;
        Ok(Self::read(*number, folder, trust)?.0)
    }

    /// Whether a file is there, whole as far as its length tells.
    pub(super) fn holds(&self, sum: &Sum, length: u64) -> bool {
        fs::symlink_metadata(self.object(sum)).is_ok_and(|metadata| metadata.is_file() && metadata.len() == length)
    }

    /// Reads a file through, into `sink`, and compares every byte's share of the SHA-256.
    ///
    /// # Errors
    /// `Corrupt` if it is missing or another than the manifest says.
    pub(super) fn fetch(&self, file: &File, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let wrong =
            |how: &str| Error::corrupt(format!("a file of the backup is {how}: objects/{}", object_name(&file.sum)));
        let mut object = files::open(&self.object(&file.sum)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => wrong("missing"),
            std::io::ErrorKind::InvalidData => wrong("no regular file"),
            _ => failed(error),
        })?;
        let (mut hash, mut length) = (Sha256::new(), 0);
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let count = object.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            length += count as u64;
            if length > file.length {
                break;
            }
            hash.update(&buffer[..count]);
            sink(&buffer[..count])?;
        }
        if length != file.length || hash.finalize()[..] != file.sum {
            return Err(wrong("damaged"));
        }
        Ok(())
    }

    /// Copies a file out, durably.
    pub(super) fn fetch_to(&self, file: &File, path: &Path) -> Result<()> {
        let failed = |error| Error::io("a file of the backup cannot be copied", error);
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        self.fetch(file, |bytes| copy.write_all(bytes).map_err(failed))?;
        copy.sync_all().map_err(failed)
    }

    fn object(&self, sum: &Sum) -> PathBuf {
        self.objects().join(object_name(sum))
    }

    fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }
}

fn object_name(sum: &Sum) -> String {
    sum.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect()
}

fn is_object_name(name: &str) -> bool {
    name.len() == 2 * size_of::<Sum>() && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn folder_name(number: u64, created_secs: u64) -> String {
    format!("{number:06}-{created_secs}")
}

/// The number in the name of a backup's folder, if it is a name that a backup is given.
fn number_of(name: &str) -> Option<u64> {
    let (number, created_secs) = name.split_once('-')?;
    let (number, created_secs) = (number.parse().ok()?, created_secs.parse().ok()?);
    (folder_name(number, created_secs) == name).then_some(number)
}

impl Writer<'_> {
    pub(super) fn begin(&self) -> Result<Incoming<'_>> {
        let objects = self.repository.objects();
        let file = files::create(&objects.join(INCOMING)).map_err(failed)?;
        Ok(Incoming { objects, file, hash: Sha256::new(), length: 0, writer: self })
    }

    /// Puts a file into the repository. What is there already is read and not copied.
    pub(super) fn put(&self, path: &Path) -> Result<Stored> {
        let failed = |error| Error::io("a file of the store cannot be read", error);
        let (mut hash, mut length) = (Sha256::new(), 0);
        read_through(path, |bytes| {
            hash.update(bytes);
            length += bytes.len() as u64;
            Ok(())
        })
        .map_err(failed)?;
        let sum: Sum = hash.finalize().into();
        if self.repository.holds(&sum, length) {
            return Ok(Stored { sum, length, is_new: false });
        }
        let mut incoming = self.begin()?;
        let mut outcome = Ok(());
        read_through(path, |bytes| {
            outcome = incoming.write(bytes);
            if outcome.is_ok() { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
        })
        .or_else(|error| if outcome.is_err() { Ok(()) } else { Err(failed(error)) })?;
        outcome?;
        incoming.finish()
    }

    /// Removes the files that no manifest names: what backups left that were cut short, and what belonged to backups
    /// whose folders have been removed. Not while a manifest is damaged: it may come back from elsewhere.
    pub(super) fn sweep(&self, trust: &Trust) -> Result<()> {
        self.repository.check_folders()?;
        let mut named = HashSet::new();
        let numbers = self.repository.numbers()?;
        let folders = fs::read_dir(self.repository.backups()).map_err(failed)?.count();
        if folders != numbers.len() {
            return Err(Error::invalid("something among the backups is none, or one that was given another name"));
        }
        for (number, folder) in numbers {
            named.extend(Repository::read(number, &folder, trust)?.0.files.iter().map(|file| object_name(&file.sum)));
        }
        for entry in fs::read_dir(self.repository.objects()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_ours = entry.file_type().map_err(failed)?.is_file();
            if is_ours && entry.file_name().to_str().is_some_and(|name| is_object_name(name) && !named.contains(name)) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Gives a manifest its name: the moment from which the backup is there.
    pub(super) fn commit(&self, number: u64, created_secs: u64, manifest: &[u8], signature: &[u8]) -> Result<()> {
        self.repository.check_folders()?;
        folder::sync(&self.repository.objects()).map_err(failed)?;
        let backups = self.repository.backups();
        let making = backups.join(MAKING);
        DirBuilder::new().mode(0o700).create(&making).map_err(failed)?;
        files::write(&making.join(MANIFEST), manifest).map_err(failed)?;
        files::write(&making.join(SIGNATURE), signature).map_err(failed)?;
        folder::sync(&making).map_err(failed)?;
        fs::rename(making, backups.join(folder_name(number, created_secs))).map_err(failed)?;
        folder::sync(&backups).map_err(failed)
    }
}

impl Incoming<'_> {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(failed)?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Syncs the file and gives it its name.
    pub(super) fn finish(self) -> Result<Stored> {
        let (sum, length): (Sum, u64) = (self.hash.finalize().into(), self.length);
        let incoming = self.objects.join(INCOMING);
        if self.writer.repository.holds(&sum, length) {
            fs::remove_file(incoming).map_err(failed)?;
            return Ok(Stored { sum, length, is_new: false });
        }
        self.file.sync_all().map_err(failed)?;
        fs::rename(incoming, self.writer.repository.object(&sum)).map_err(failed)?;
        Ok(Stored { sum, length, is_new: true })
    }
}

fn read_through(path: &Path, mut each: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut file = BufReader::with_capacity(BUFFER_LEN, Handle::open(path)?);
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => each(&buffer[..count])?,
        }
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(nibble)])
}

fn failed(error: std::io::Error) -> Error {
    Error::io("the folder of backups cannot be used", error)
}
