//! The files of local root keys: made whole or not at all, refused if others could have read them, destroyed for good.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::RootId;
use crate::error::{Error, Result};
use crate::folder;
use crate::secret::Key32;

/// One version of a local root key.
#[derive(Clone)]
pub(super) enum Version {
    Living(Arc<Key32>),
    /// Its number is not given again.
    Destroyed,
}

pub(super) type Roots = BTreeMap<RootId, BTreeMap<u32, Version>>;

/// What the name of a key file ends with.
const LIVING: &str = "key";
/// What the name of a key file ends with after the key was destroyed; the file is empty.
const DESTROYED: &str = "destroyed";
/// What the extension of a key file that is being made begins with; the number of its maker's process follows.
const UNFINISHED: &str = "making-";
const KEY_LEN: usize = 32;

impl Version {
    pub(super) fn key(&self) -> Option<&Arc<Key32>> {
        match self {
            Self::Living(key) => Some(key),
            Self::Destroyed => None,
        }
    }
}

pub(super) fn label(number: u32) -> String {
    format!("v{number}")
}

/// The number of a label as [`label`] writes it: no leading zero, no sign.
pub(super) fn parse_label(text: &str) -> Option<u32> {
    let number = text.strip_prefix('v')?.parse().ok()?;
    (number > 0 && label(number) == text).then_some(number)
}

/// The file of a living version.
pub(super) fn path_of(folder: &Path, root: &RootId, number: u32) -> PathBuf {
    folder.join(format!("{}.{}.{LIVING}", root.as_str(), label(number)))
}

/// Reads the whole folder, and ends what a crash has left half done.
pub(super) fn read_all(folder: &Path) -> Result<Roots> {
    let listing = |error| Error::io("the folder of root keys cannot be listed", error);
    let mut roots = Roots::new();
    for entry in folder.read_dir().map_err(listing)? {
        let path = entry.map_err(listing)?.path();
        if remove_unfinished(&path).map_err(listing)? {
            continue;
        }
        let Some((root, number, is_living)) = parse_file_name(&path) else { continue };
        let version = match is_living {
            true => Version::Living(Arc::new(read_key_file(&path)?)),
            false => {
                overwrite(&path).map_err(|error| Error::io("a destroyed root key cannot be overwritten", error))?;
                Version::Destroyed
            }
        };
        let living = roots.values().flat_map(BTreeMap::values).filter_map(Version::key);
        if version.key().is_some_and(|key| living.into_iter().any(|other| bool::from(other.ct_eq(key)))) {
            return Err(Error::invalid("two root-key files hold the same key"));
        }
        roots.entry(root).or_default().insert(number, version);
    }
    Ok(roots)
}

/// Files of other names are none of ours and are left alone.
fn parse_file_name(path: &Path) -> Option<(RootId, u32, bool)> {
    let (stem, end) = path.file_name()?.to_str()?.rsplit_once('.')?;
    let is_living = end == LIVING;
    let (root, version) = (is_living || end == DESTROYED).then(|| stem.rsplit_once('.'))??;
    Some((RootId::new(root).ok()?, parse_label(version)?, is_living))
}

fn read_key_file(path: &Path) -> Result<Key32> {
    let unreadable = |error| Error::io("a root-key file cannot be read", error);
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() != KEY_LEN as u64 {
        return Err(Error::invalid("a root-key file is not a regular file of exactly 32 bytes"));
    }
    check_owner_only(metadata.permissions().mode(), "a root-key file")?;
    let key = Key32::try_with(|bytes| file.read_exact(bytes)).map_err(unreadable)?;
    if bool::from(key.expose_secret().ct_eq(&[0; 32])) {
        return Err(Error::invalid("a root-key file is all zero"));
    }
    Ok(key)
}

pub(super) fn check_owner_only(mode: u32, what: &str) -> Result<()> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} is open to others than its owner (mode {:03o}); chmod go= it", mode & 0o777)))
}

/// Under another name first, so that no crash leaves half a key that no later opening accepts.
pub(super) fn write_key_file(path: &Path, key: &Key32) -> std::io::Result<()> {
    let unfinished = path.with_extension(format!("{UNFINISHED}{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(Zeroizing::new(*key.expose_secret()).as_slice())?;
    file.sync_all()?;
    // A link and not a renaming: it fails if another process has made this version meanwhile.
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    linked
}

/// Removes what a crash left of a key that was being made. If another process is making one just now, that one fails
/// and nothing else.
fn remove_unfinished(path: &Path) -> std::io::Result<bool> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if !extension.is_some_and(|extension| extension.starts_with(UNFINISHED)) {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

/// Takes the key at `path` out of use and overwrites it: from the renaming on, nobody unwraps with it.
pub(super) fn destroy_key_file(path: &Path) -> std::io::Result<()> {
    let gone = path.with_extension(DESTROYED);
    fs::rename(path, &gone)?;
    path.parent().map_or(Ok(()), folder::sync)?;
    overwrite(&gone)
}

/// In place, for what a file system keeps in place; then nothing is left of it.
fn overwrite(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    file.write_all(&[0; KEY_LEN])?;
    file.sync_all()?;
    file.set_len(0)?;
    file.sync_all()
}
