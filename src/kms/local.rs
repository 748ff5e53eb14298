//! Root keys in local files: for development, for single machines, and for machines whose disk is guarded otherwise.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::aead::XaesKey;
use crate::context::Context;
use crate::derive;
use crate::entropy::{Entropy, OsEntropy};
use crate::error::{Error, Result};
use crate::folder;
use crate::secret::Key32;

/// Root keys in a folder of files, each 32 random bytes, named `<root id>.v<number>.key`. The highest number of a
/// root is its current version; older ones only unwrap.
///
/// Nothing is ever encrypted under the bytes of a file themselves: each wrap uses a key derived for one tenant and
/// epoch.
pub struct LocalRoots {
    folder: PathBuf,
    roots: RwLock<BTreeMap<RootId, BTreeMap<u32, Arc<Key32>>>>,
    entropy: Arc<dyn Entropy>,
}

impl LocalRoots {
    /// Opens a folder of root-key files, making the folder (mode 0700) if it is not there.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the folder or a file can be read or written by anyone but its
    /// owner, or a file is not a regular file of 32 bytes, is all zero, or repeats another;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the disk fails.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        folder::make(&folder).map_err(|error| Error::io("the folder of root keys cannot be made", error))?;
        let folder = folder.canonicalize().map_err(|error| Error::io("the folder of root keys is not there", error))?;
        let metadata = folder.metadata().map_err(|error| Error::io("the folder of root keys is not there", error))?;
        check_owner_only(metadata.permissions().mode(), "the folder of root keys")?;
        let roots = RwLock::new(read_all(&folder)?);
        Ok(Self { folder, roots, entropy: Arc::new(OsEntropy) })
    }

    /// Opens the folder and makes the first version of `root` if it has none.
    ///
    /// # Errors
    /// As [`open`](Self::open), and as [`RootId::new`].
    pub fn open_with_root(folder: impl Into<PathBuf>, root: &str) -> Result<Self> {
        let root = RootId::new(root)?;
        let roots = Self::open(folder)?;
        if !roots.read().contains_key(&root) {
            roots.generate(&root)?;
        }
        Ok(roots)
    }

    /// Makes a new version of `root` (mode 0600, synced before this returns), which is current from now on. Returns
    /// its label.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if it cannot be written; then nothing has changed.
    pub fn generate(&self, root: &RootId) -> Result<String> {
        let key = Key32::random(&*self.entropy)?;
        let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        let newest = roots.get(root).and_then(BTreeMap::last_key_value);
        let number = newest.map_or(1, |(last, _)| last + 1);
        let path = self.folder.join(format!("{}.{}.key", root.as_str(), label(number)));
        write_key_file(&path, &key).map_err(|error| Error::io("a root-key file cannot be written", error))?;
        // The folder's own entry too: whoever made the folder may not have synced it.
        [Some(self.folder.as_path()), self.folder.parent()]
            .into_iter()
            .flatten()
            .try_for_each(folder::sync)
            .map_err(|error| Error::io("the folder of root keys cannot be synced", error))
            // Best effort: a file that may not last is worse than none.
            .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        roots.entry(root.clone()).or_default().insert(number, Arc::new(key));
        Ok(label(number))
    }

    /// The versions of `root`, oldest first; the last is current.
    #[must_use]
    pub fn versions(&self, root: &RootId) -> Vec<String> {
        self.read().get(root).map(|versions| versions.keys().map(|&number| label(number)).collect()).unwrap_or_default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<RootId, BTreeMap<u32, Arc<Key32>>>> {
        self.roots.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RootKeys for LocalRoots {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        let (version, key) = {
            let roots = self.read();
            let versions = roots.get(root).ok_or(RootError::Disabled)?;
            let (&number, key) = versions.last_key_value().ok_or(RootError::Disabled)?;
            (label(number), key.clone())
        };
        let sealed = wrapping_key(&key, root, &version, context)
            .seal_key(&*self.entropy, associated(root, &version, context).as_slice(), secret.expose_secret())
            .map_err(|_| RootError::Unreachable)?;
        Ok(Wrapped { version, bytes: sealed })
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        let number = parse_label(&wrapped.version).ok_or(RootError::Tampered)?;
        let key = self.read().get(root).and_then(|versions| versions.get(&number)).cloned();
        let key = key.ok_or(RootError::Disabled)?;
        let secret = wrapping_key(&key, root, &wrapped.version, context)
            .open_key(associated(root, &wrapped.version, context).as_slice(), &wrapped.bytes)
            .map_err(|_| RootError::Tampered)?;
        WrapSecret::from_slice(&secret).ok_or(RootError::Tampered)
    }

    fn location(&self) -> Option<&Path> {
        Some(&self.folder)
    }
}

impl std::fmt::Debug for LocalRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalRoots").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// What the extension of a key file that is being made begins with; the number of its maker's process follows.
const UNFINISHED: &str = "making-";

fn wrapping_key(key: &Key32, root: &RootId, version: &str, context: &WrapContext) -> XaesKey {
    XaesKey::new(&derive::local_root(key, root.as_str(), version, context.incarnation(), context.epoch()))
}

fn associated(root: &RootId, version: &str, context: &WrapContext) -> Context {
    Context::new("strongroom/v1/local-wrap")
        .bytes(root.as_str().as_bytes())
        .bytes(version.as_bytes())
        .bytes(context.incarnation().as_bytes())
        .u32(context.epoch())
}

fn label(number: u32) -> String {
    format!("v{number}")
}

/// The number of a label as [`label`] writes it: no leading zero, no sign.
fn parse_label(text: &str) -> Option<u32> {
    let number = text.strip_prefix('v')?.parse().ok()?;
    (number > 0 && label(number) == text).then_some(number)
}

fn read_all(folder: &Path) -> Result<BTreeMap<RootId, BTreeMap<u32, Arc<Key32>>>> {
    let listing = |error| Error::io("the folder of root keys cannot be listed", error);
    let mut roots: BTreeMap<RootId, BTreeMap<u32, Arc<Key32>>> = BTreeMap::new();
    for entry in folder.read_dir().map_err(listing)? {
        let path = entry.map_err(listing)?.path();
        if remove_unfinished(&path).map_err(listing)? {
            continue;
        }
        let Some((root, number)) = parse_file_name(&path) else { continue };
        let key = read_key_file(&path)?;
        let seen = roots.values().flat_map(BTreeMap::values).any(|other| bool::from(other.ct_eq(&key)));
        if seen {
            return Err(Error::invalid("two root-key files hold the same key"));
        }
        roots.entry(root).or_default().insert(number, Arc::new(key));
    }
    Ok(roots)
}

/// Files of other names are none of ours and are left alone.
fn parse_file_name(path: &Path) -> Option<(RootId, u32)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".key")?;
    let (root, version) = stem.rsplit_once('.')?;
    Some((RootId::new(root).ok()?, parse_label(version)?))
}

fn read_key_file(path: &Path) -> Result<Key32> {
    let unreadable = |error| Error::io("a root-key file cannot be read", error);
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() != 32 {
        return Err(Error::invalid("a root-key file is not a regular file of exactly 32 bytes"));
    }
    check_owner_only(metadata.permissions().mode(), "a root-key file")?;
    let key = Key32::try_with(|bytes| file.read_exact(bytes)).map_err(unreadable)?;
    if bool::from(key.expose_secret().ct_eq(&[0; 32])) {
        return Err(Error::invalid("a root-key file is all zero"));
    }
    Ok(key)
}

fn check_owner_only(mode: u32, what: &str) -> Result<()> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} is open to others than its owner (mode {:03o}); chmod go= it", mode & 0o777)))
}

/// Under another name first, so that no crash leaves half a key that no later opening accepts.
fn write_key_file(path: &Path, key: &Key32) -> std::io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::name::Incarnation;
    use std::fs;

    fn context(root: &RootId, epoch: u32) -> WrapContext {
        WrapContext::new(Incarnation::new([7; 16]), root.clone(), epoch)
    }

    fn secret() -> WrapSecret {
        WrapSecret::from_slice(&[0xA5; 32]).unwrap()
    }

    #[test]
    fn a_wrapped_secret_opens_for_its_root_version_tenant_and_epoch_only() {
        let folder = tempfile::tempdir().unwrap();
        let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
        let root = RootId::new("service").unwrap();
        let wrapped = roots.wrap(&root, &secret(), &context(&root, 1)).unwrap();
        assert_eq!(roots.unwrap(&root, &wrapped, &context(&root, 1)).unwrap().expose_secret(), &[0xA5; 32]);
        assert_eq!(roots.unwrap(&root, &wrapped, &context(&root, 2)).unwrap_err(), RootError::Tampered);
        let stranger = WrapContext::new(Incarnation::new([8; 16]), root.clone(), 1);
        assert_eq!(roots.unwrap(&root, &wrapped, &stranger).unwrap_err(), RootError::Tampered);
        assert_eq!(roots.generate(&root).unwrap(), "v2");
        let relabelled = Wrapped { version: "v2".into(), bytes: wrapped.bytes.clone() };
        assert_eq!(roots.unwrap(&root, &relabelled, &context(&root, 1)).unwrap_err(), RootError::Tampered);
        let missing = Wrapped { version: "v9".into(), bytes: wrapped.bytes.clone() };
        assert_eq!(roots.unwrap(&root, &missing, &context(&root, 1)).unwrap_err(), RootError::Disabled);
        let again = LocalRoots::open(folder.path().join("keys")).unwrap();
        assert_eq!(again.versions(&root), ["v1", "v2"]);
        assert_eq!(again.unwrap(&root, &wrapped, &context(&root, 1)).unwrap().expose_secret(), &[0xA5; 32]);
        assert_eq!(again.wrap(&root, &secret(), &context(&root, 1)).unwrap().version, "v2");
    }

    #[test]
    fn unsafe_files_are_refused() {
        type Damage = (&'static str, fn(&Path));
        let damage: [Damage; 5] = [
            ("readable by the group", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap()),
            ("short", |file| fs::write(file, [1; 31]).unwrap()),
            ("long", |file| fs::write(file, [1; 33]).unwrap()),
            ("all zero", |file| fs::write(file, [0; 32]).unwrap()),
            ("repeated", |file| assert_eq!(fs::copy(file, file.with_file_name("other.v1.key")).unwrap(), 32)),
        ];
        for (name, harm) in damage {
            let folder = tempfile::tempdir().unwrap();
            let keys = folder.path().join("keys");
            LocalRoots::open_with_root(&keys, "service").unwrap();
            harm(&keys.join("service.v1.key"));
            assert_eq!(LocalRoots::open(&keys).unwrap_err().kind(), ErrorKind::Invalid, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(LocalRoots::open(folder.path()).unwrap_err().kind(), ErrorKind::Invalid, "an open folder");
    }

    #[test]
    fn files_are_made_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("keys")), 0o700);
        assert_eq!(mode(&folder.path().join("keys/service.v1.key")), 0o600);
    }
}
