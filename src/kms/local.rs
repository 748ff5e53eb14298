//! Root keys in local files: for development, for single machines, and for machines whose disk is guarded otherwise.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::key_files::{self, Roots, Version, label, parse_label};
use super::{Call, RootDescription, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
use crate::aead::XaesKey;
use crate::context::Context;
use crate::derive;
use crate::entropy::{Entropy, OsEntropy};
use crate::error::{Error, Result};
use crate::folder;
use crate::secret::Key32;

/// Root keys in a folder of files, each 32 random bytes, named `<root id>.v<number>.key`. The highest number of a
/// root is its current version; older ones only unwrap. A version that was [destroyed](Self::destroy) leaves an empty
/// file `<root id>.v<number>.destroyed`, and its number is not given again.
///
/// The folder is what counts: versions that another process makes or destroys there are seen at once, and a folder that
/// is taken away is [`Unreachable`](RootError::Unreachable).
///
/// Nothing is ever encrypted under the bytes of a file themselves: each wrap uses a key derived for one tenant and
/// epoch.
pub struct LocalRoots {
    folder: PathBuf,
    roots: RwLock<Roots>,
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
        key_files::check_owner_only(metadata.permissions().mode(), "the folder of root keys")?;
        let roots = RwLock::new(key_files::read_all(&folder)?);
        Ok(Self { folder, roots, entropy: Arc::new(OsEntropy) })
    }

    /// Opens the folder and makes the first version of `root` if it never had any.
    ///
    /// For the first time, and for tests. A service that goes on opens its folder with [`open`](Self::open): on a day when the
    /// disk of the keys is not there this would make another key, under which nothing opens and which looks like tampering.
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
        let mut roots = self.write();
        *roots = key_files::read_all(&self.folder)?;
        let number = next_number(roots.get(root));
        let path = key_files::path_of(&self.folder, root, number);
        key_files::write_key_file(&path, &key)
            .map_err(|error| Error::io("a root-key file cannot be written", error))?;
        // The folder's own entry too: whoever made the folder may not have synced it.
        [Some(self.folder.as_path()), self.folder.parent()]
            .into_iter()
            .flatten()
            .try_for_each(folder::sync)
            .map_err(|error| Error::io("the folder of root keys cannot be synced", error))
            // Best effort: a file that may not last is worse than none.
            .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        roots.entry(root.clone()).or_default().insert(number, Version::Living(Arc::new(key)));
        Ok(label(number))
    }

    /// Destroys a version of `root` for good, the current one too: what it wrapped can never be unwrapped again. The
    /// file is renamed, overwritten in place and emptied, each synced before this returns; on a medium that copies
    /// (copy-on-write, snapshots, flash) the overwritten bytes may live on.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such living version;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the disk fails: then the next opening of the folder ends
    /// what has begun, and the version may already be out of use.
    pub fn destroy(&self, root: &RootId, version: &str) -> Result<()> {
        let mut roots = self.write();
        *roots = key_files::read_all(&self.folder)?;
        let number = parse_label(version).filter(|number| living(&roots, root, *number).is_ok());
        let number = number.ok_or_else(|| {
            Error::new(crate::error::ErrorKind::NotFound, "there is no such version of this root key")
        })?;
        roots.entry(root.clone()).or_default().insert(number, Version::Destroyed);
        key_files::destroy_key_file(&key_files::path_of(&self.folder, root, number))
            .map_err(|error| Error::io("a root-key file cannot be destroyed", error))
    }

    /// The roots that have a version, or once had one, ascending.
    #[must_use]
    pub fn roots(&self) -> Vec<RootId> {
        self.read().keys().cloned().collect()
    }

    /// The living versions of `root`, oldest first; the last is current.
    #[must_use]
    pub fn versions(&self, root: &RootId) -> Vec<String> {
        let roots = self.read();
        let versions = roots.get(root).into_iter().flatten();
        versions.filter(|(_, version)| version.key().is_some()).map(|(&number, _)| label(number)).collect()
    }

    /// The version that wraps now.
    fn current(&self, root: &RootId) -> Result<(u32, Arc<Key32>), RootError> {
        let is_next_there = |number: u32| self.is_file(root, number + 1);
        let known = newest(&self.read(), root);
        match known {
            Ok((number, key)) if self.is_file(root, number)? && !is_next_there(number)? => Ok((number, key)),
            _ => {
                self.read_again()?;
                newest(&self.read(), root)
            }
        }
    }

    fn version(&self, root: &RootId, number: u32) -> Result<Arc<Key32>, RootError> {
        let known = living(&self.read(), root, number);
        match known {
            Ok(key) if self.is_file(root, number)? => Ok(key),
            _ => {
                self.read_again()?;
                living(&self.read(), root, number)
            }
        }
    }

    fn is_file(&self, root: &RootId, number: u32) -> Result<bool, RootError> {
        key_files::path_of(&self.folder, root, number).try_exists().map_err(|_| RootError::Unreachable)
    }

    /// Another process may have made or destroyed versions meanwhile.
    fn read_again(&self) -> Result<(), RootError> {
        let mut roots = self.write();
        *roots = key_files::read_all(&self.folder).map_err(|error| {
            tracing::warn!(%error, "the folder of root keys cannot be read");
            RootError::Unreachable
        })?;
        Ok(())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Roots> {
        self.roots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Roots> {
        self.roots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `Disabled` for a root or version of which there is no trace, `Destroyed` for one whose trace says so.
fn living(roots: &Roots, root: &RootId, number: u32) -> Result<Arc<Key32>, RootError> {
    let version = roots.get(root).and_then(|versions| versions.get(&number)).ok_or(RootError::Disabled)?;
    version.key().cloned().ok_or(RootError::Destroyed)
}

/// The highest number. If that was destroyed, no older one takes its place.
fn newest(roots: &Roots, root: &RootId) -> Result<(u32, Arc<Key32>), RootError> {
    let newest = roots.get(root).and_then(BTreeMap::last_key_value).ok_or(RootError::Disabled)?;
    Ok((*newest.0, newest.1.key().cloned().ok_or(RootError::Destroyed)?))
}

fn next_number(versions: Option<&BTreeMap<u32, Version>>) -> u32 {
    versions.and_then(BTreeMap::last_key_value).map_or(1, |(last, _)| last + 1)
}

impl RootKeys for LocalRoots {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        check_is_of(context, root)?;
        let (number, key) = self.current(root)?;
        let version = label(number);
        let sealed = wrapping_key(&key, root, &version, context)
            .seal_key(&*self.entropy, associated(root, &version, context).as_slice(), secret.expose_secret())
            .map_err(|_| RootError::Unreachable)?;
        Ok(Wrapped { version, bytes: sealed })
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        check_is_of(context, root)?;
        let number = parse_label(&wrapped.version).ok_or(RootError::Tampered)?;
        let key = self.version(root, number)?;
        let secret = wrapping_key(&key, root, &wrapped.version, context)
            .open_key(associated(root, &wrapped.version, context).as_slice(), &wrapped.bytes)
            .map_err(|_| RootError::Tampered)?;
        WrapSecret::from_slice(&secret).ok_or(RootError::Tampered)
    }

    fn describe(&self, root: &RootId, _: &Call) -> Result<RootDescription, RootError> {
        let (number, _) = self.current(root)?;
        Ok(RootDescription {
            algorithm: Some("kc-xaes-256-gcm".to_owned()),
            binds_context: Some(true),
            anyone_can_wrap: Some(false),
            current_version: Some(label(number)),
            oldest_usable_version: self.versions(root).into_iter().next(),
            // Whoever may read a file may copy and remove it.
            deletion_allowed: Some(true),
            exportable: Some(true),
            recreates_missing_keys: Some(false),
            location: Some(self.folder.display().to_string()),
            ..RootDescription::new("local")
        })
    }

    fn locations(&self) -> Vec<&Path> {
        vec![&self.folder]
    }
}

impl std::fmt::Debug for LocalRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalRoots").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A key service binds the whole context; here the root that is bound is the one that is asked.
fn check_is_of(context: &WrapContext, root: &RootId) -> Result<(), RootError> {
    if context.root == *root { Ok(()) } else { Err(RootError::Tampered) }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::fs;

    fn context(root: &RootId, epoch: u32) -> WrapContext {
        WrapContext::new([7; 16], root.clone(), epoch, Call::new().unwrap())
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
        let stranger = WrapContext::new([8; 16], root.clone(), 1, Call::new().unwrap());
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

    #[test]
    fn a_destroyed_version_is_gone_for_good_and_its_number_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let roots = LocalRoots::open_with_root(&keys, "service").unwrap();
        let root = RootId::new("service").unwrap();
        let old = roots.wrap(&root, &secret(), &context(&root, 1)).unwrap();
        let elsewhere = LocalRoots::open(&keys).unwrap();
        assert_eq!(roots.generate(&root).unwrap(), "v2");
        assert_eq!(elsewhere.wrap(&root, &secret(), &context(&root, 1)).unwrap().version, "v2", "seen at once");
        let bytes = fs::read(keys.join("service.v1.key")).unwrap();
        let link = folder.path().join("the same inode");
        fs::hard_link(keys.join("service.v1.key"), &link).unwrap();
        roots.destroy(&root, "v1").unwrap();
        assert!(!fs::read(&link).unwrap().windows(4).any(|part| part == &bytes[..4]), "overwritten in place");
        for roots in [&roots, &elsewhere, &LocalRoots::open(&keys).unwrap()] {
            assert_eq!(roots.unwrap(&root, &old, &context(&root, 1)).unwrap_err(), RootError::Destroyed);
            assert_eq!(roots.versions(&root), ["v2"]);
        }
        assert_eq!(roots.destroy(&root, "v1").unwrap_err().kind(), ErrorKind::NotFound);
        roots.destroy(&root, "v2").unwrap();
        assert_eq!(roots.wrap(&root, &secret(), &context(&root, 1)).unwrap_err(), RootError::Destroyed);
        let again = LocalRoots::open_with_root(&keys, "service").unwrap();
        assert_eq!(
            again.wrap(&root, &secret(), &context(&root, 1)).unwrap_err(),
            RootError::Destroyed,
            "not made anew"
        );
        assert_eq!(again.generate(&root).unwrap(), "v3");
    }

    #[test]
    fn a_destruction_that_a_crash_cut_short_is_ended_by_the_next_opening() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        LocalRoots::open_with_root(&keys, "service").unwrap();
        fs::rename(keys.join("service.v1.key"), keys.join("service.v1.destroyed")).unwrap();
        LocalRoots::open(&keys).unwrap();
        assert_eq!(fs::read(keys.join("service.v1.destroyed")).unwrap(), [0; 0]);
    }

    #[test]
    fn a_folder_that_is_taken_away_is_out_of_reach_until_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let roots = LocalRoots::open_with_root(&keys, "service").unwrap();
        let root = RootId::new("service").unwrap();
        let wrapped = roots.wrap(&root, &secret(), &context(&root, 1)).unwrap();
        fs::rename(&keys, folder.path().join("away")).unwrap();
        assert_eq!(roots.unwrap(&root, &wrapped, &context(&root, 1)).unwrap_err(), RootError::Unreachable);
        assert_eq!(roots.wrap(&root, &secret(), &context(&root, 1)).unwrap_err(), RootError::Unreachable);
        fs::rename(folder.path().join("away"), &keys).unwrap();
        assert!(roots.unwrap(&root, &wrapped, &context(&root, 1)).is_ok());
    }

    #[test]
    fn a_check_proves_a_local_root_and_says_what_files_are() {
        use crate::kms::RootFinding::{DeletionAllowed, Exportable, OldVersionsUnwrap};
        let folder = tempfile::tempdir().unwrap();
        let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
        let root = RootId::new("service").unwrap();
        let check = crate::kms::check_root(&roots, &root).unwrap();
        assert_eq!((check.findings.as_slice(), check.version.as_str()), (&[Exportable, DeletionAllowed][..], "v1"));
        check.prove().unwrap();
        roots.generate(&root).unwrap();
        let check = crate::kms::check_root(&roots, &root).unwrap();
        assert_eq!(check.findings, [Exportable, DeletionAllowed, OldVersionsUnwrap]);
        assert_eq!(check.description.oldest_usable_version.as_deref(), Some("v1"));
        let nobody = RootId::new("nobody").unwrap();
        assert_eq!(crate::kms::check_root(&roots, &nobody).unwrap_err(), RootError::Disabled);
    }
}
