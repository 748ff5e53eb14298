//! The escrow: every ring of a store in one file, sealed through [age](https://age-encryption.org/v1) to recovery
//! keys or a passphrase. Without it a backup restores nothing.
//!
//! Inside, the rings stay wrapped under their root keys: whoever opens an escrow and has not the roots reads nothing.
//! And the whole is signed by the store: anybody can seal a file to a recovery key, who knows its public half.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::str::FromStr;

use age::secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::files;
use super::frames::{self, Frames};
use super::manifest::{Trust, sum};
use crate::clock::Clock;
use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::folder;
use crate::name::Incarnation;
use crate::signing::{self, PublicKey, SIGNATURE_LEN, Signer};

const MAGIC: &str = "strongroom escrow";
const DAMAGED: &str = "the escrow is damaged";
/// `log2 N` of scrypt: what age's own tool takes, and the most that is taken from a file.
const WORK: u8 = 18;
const WORK_MAX: u8 = 20;
/// The longest escrow that is read into memory, in bytes: room for some million tenants.
const ESCROW_MAX_LEN: u64 = 4 << 30;

/// Whom an escrow is sealed to.
pub struct EscrowLock(Lock);

enum Lock {
    Recipients(Vec<age::x25519::Recipient>),
    Passphrase(SecretString),
}

/// What unseals an escrow.
pub struct EscrowKey(Key);

enum Key {
    Identity(Box<age::x25519::Identity>),
    Passphrase(SecretString),
}

/// An opened escrow: who the store is, and its rings as they were when it was made.
pub struct Escrow {
    trust: Trust,
    /// Its number among the exports of the store.
    number: u64,
    exported_secs: u64,
    rings: HashMap<Incarnation, Vec<Vec<u8>>>,
}

/// What an export of rings has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// Tenants whose rings the escrow holds.
    pub tenants: usize,
    /// Tenants whose rings are damaged, so that it does not.
    pub damaged: usize,
}

#[derive(Serialize, Deserialize)]
struct Header {
    magic: String,
    store: Incarnation,
    key: PublicKey,
    number: u64,
    exported_secs: u64,
    rings: u32,
}

#[derive(Serialize, Deserialize)]
struct Ring {
    incarnation: Incarnation,
    slots: Vec<Vec<u8>>,
}

impl EscrowLock {
    /// Sealed to recovery keys, each `age1..` as `age-keygen` prints it; any one of them opens.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is none, or one is no such key.
    pub fn recipients<'r>(recipients: impl IntoIterator<Item = &'r str>) -> Result<Self> {
        let parse = |text| {
            age::x25519::Recipient::from_str(text).map_err(|_| Error::invalid("a recovery key is not of age's X25519"))
        };
        let recipients = recipients.into_iter().map(parse).collect::<Result<Vec<_>>>()?;
        if recipients.is_empty() {
            return Err(Error::invalid("an escrow needs a recovery key"));
        }
        Ok(Self(Lock::Recipients(recipients)))
    }

    /// Sealed to a passphrase, of twelve bytes at least: whoever has the file may try as many as they like.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is shorter.
    pub fn passphrase(passphrase: impl Into<String>) -> Result<Self> {
        let passphrase = passphrase.into();
        if passphrase.len() < 12 {
            return Err(Error::invalid("a passphrase has twelve bytes at least"));
        }
        Ok(Self(Lock::Passphrase(passphrase.into())))
    }

    fn seal(&self, plaintext: &[u8], out: impl Write) -> Result<()> {
        let failed = |error| Error::io("the escrow cannot be written", error);
        let encryptor = match &self.0 {
            Lock::Recipients(recipients) => {
                let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
                age::Encryptor::with_recipients(recipients)
            }
            Lock::Passphrase(passphrase) => {
                let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
                recipient.set_work_factor(WORK);
                age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            }
        };
        let encryptor = encryptor.map_err(|error| Error::internal("the escrow cannot be sealed").with_source(error))?;
        let mut out = encryptor.wrap_output(out).map_err(failed)?;
        out.write_all(plaintext).map_err(failed)?;
        out.finish().map_err(failed)?.flush().map_err(failed)
    }
}

impl EscrowKey {
    /// A recovery key's secret half, `AGE-SECRET-KEY-1..`.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is no such key.
    pub fn identity(secret: &str) -> Result<Self> {
        let identity = age::x25519::Identity::from_str(secret.trim());
        let identity = identity.map_err(|_| Error::invalid("the recovery key is not of age's X25519"))?;
        Ok(Self(Key::Identity(Box::new(identity))))
    }

    /// A new recovery key, and what to seal escrows to.
    #[must_use]
    pub fn generate() -> (Zeroizing<String>, String) {
        use age::secrecy::ExposeSecret;
        let identity = age::x25519::Identity::generate();
        (Zeroizing::new(identity.to_string().expose_secret().to_owned()), identity.to_public().to_string())
    }

    /// The passphrase that the escrow was sealed to.
    #[must_use]
    pub fn passphrase(passphrase: impl Into<String>) -> Self {
        Self(Key::Passphrase(passphrase.into().into()))
    }

    fn unseal(&self, sealed: impl Read, room: usize) -> Result<Zeroizing<Vec<u8>>> {
        let refused = |error: age::DecryptError| match error {
            age::DecryptError::NoMatchingKeys
            | age::DecryptError::KeyDecryptionFailed
            | age::DecryptError::ExcessiveWork { .. }
            | age::DecryptError::DecryptionFailed => {
                Error::invalid("the escrow was sealed to another recovery key or passphrase").with_source(error)
            }
            _ => Error::corrupt(DAMAGED).with_source(error),
        };
        let decryptor = age::Decryptor::new(sealed).map_err(refused)?;
        let opened = match &self.0 {
            Key::Identity(identity) => decryptor.decrypt(std::iter::once(&**identity as &dyn age::Identity)),
            Key::Passphrase(passphrase) => {
                let mut identity = age::scrypt::Identity::new(passphrase.clone());
                identity.set_max_work_factor(WORK_MAX);
                decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
            }
        };
        // Room for the whole, so that no copy is left behind by growing.
        let mut plaintext = Zeroizing::new(Vec::with_capacity(room));
        let mut opened = opened.map_err(refused)?;
        opened.read_to_end(&mut plaintext).map_err(|error| Error::corrupt(DAMAGED).with_source(error))?;
        Ok(plaintext)
    }
}

impl Escrow {
    /// Opens an escrow.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it was sealed to another key; [`Corrupt`](crate::ErrorKind::Corrupt)
    /// if it is damaged or no escrow; [`Unavailable`](crate::ErrorKind::Unavailable) if the disk is.
    pub fn open(path: impl AsRef<Path>, key: &EscrowKey) -> Result<Self> {
        let failed = |error| Error::io("the escrow cannot be read", error);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let room = usize::try_from(length).ok().filter(|_| length <= ESCROW_MAX_LEN);
        let room = room.ok_or_else(|| Error::corrupt(DAMAGED))?;
        Self::decode(&key.unseal(std::io::BufReader::new(file), room)?)
    }

    /// The public key that the escrow is signed with is its own: whether it is the store's is known when a restore has
    /// opened the store's ring.
    fn decode(plaintext: &[u8]) -> Result<Self> {
        let (signed, signature): (_, &[u8; SIGNATURE_LEN]) =
            plaintext.split_last_chunk().ok_or_else(|| Error::corrupt(DAMAGED))?;
        let mut frames = Frames::new(signed, DAMAGED);
        let Header { magic, store, key, number, exported_secs, rings } = frames.next()?;
        if magic != MAGIC || !key.vouches_for(signing::ESCROW, signed, signature) {
            return Err(Error::corrupt(DAMAGED));
        }
        let list: Vec<Ring> = frames.list(rings)?;
        frames.finish()?;
        let count = list.len();
        let rings: HashMap<_, _> = list.into_iter().map(|ring| (ring.incarnation, ring.slots)).collect();
        if rings.len() != count || rings.get(&store).is_none_or(Vec::is_empty) {
            return Err(Error::corrupt(DAMAGED));
        }
        Ok(Self { trust: Trust { store, key }, number, exported_secs, rings })
    }

    /// When it was made, in seconds since 1970.
    #[must_use]
    pub fn exported_secs(&self) -> u64 {
        self.exported_secs
    }

    /// How many tenants' rings it holds.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.rings.values().filter(|slots| !slots.is_empty()).count() - 1
    }

    /// Whether it shows that a tenant of a backup has been deleted since: the escrow is of a later moment than the
    /// backup, and lists every tenant of that moment.
    pub(super) fn shows_deleted(&self, incarnation: Incarnation, exports_before_backup: u64) -> bool {
        self.number > exports_before_backup && !self.rings.contains_key(&incarnation)
    }

    /// Whose rings it holds, the store's own among them.
    pub(super) fn incarnations(&self) -> impl Iterator<Item = Incarnation> {
        self.rings.keys().copied()
    }

    pub(super) fn trust(&self) -> Trust {
        self.trust
    }

    pub(super) fn slots(&self, incarnation: Incarnation) -> &[Vec<u8>] {
        self.rings.get(&incarnation).map_or(&[], Vec::as_slice)
    }
}

/// Whether an escrow may lie there.
pub(crate) fn check_place(directory: &Directory, path: &Path) -> Result<()> {
    if directory.cells().lie_with(path) {
        return Err(Error::invalid("the escrow would lie in a folder of the store, and be lost with it"));
    }
    Ok(())
}

/// Writes every ring of the store into one sealed file, durably, and then remembers that it did.
pub(crate) fn export(directory: &Directory, clock: &dyn Clock, path: &Path, lock: &EscrowLock) -> Result<ExportReport> {
    check_place(directory, path)?;
    let signer = Signer::new(&directory.signing_seed()?)?;
    let number = directory.begin_export()?;
    let (mut body, mut rings) = (Zeroizing::new(Vec::new()), 0);
    let (exported, damaged) = directory.export_rings(|incarnation, slots| {
        rings += 1;
        frames::push(&mut body, &Ring { incarnation, slots })
    })?;
    let (store, key, exported_secs) = (directory.store_id(), signer.public()?, clock.wall_ms() / 1000);
    let plaintext =
        encode(&Header { magic: MAGIC.to_owned(), store, key, number, exported_secs, rings }, &body, &signer)?;
    let mut sealed = Vec::new();
    lock.seal(&plaintext, &mut sealed)?;
    write_durably(path, &sealed).map_err(|error| Error::io("the escrow cannot be written", error))?;
    directory.remember_exports(&exported, number, sum(&sealed))?;
    tracing::info!(tenants = exported.len(), damaged, "exported the rings into an escrow");
    Ok(ExportReport { tenants: exported.len(), damaged })
}

/// `header || rings || signature`
fn encode(header: &Header, rings: &[u8], signer: &Signer) -> Result<Zeroizing<Vec<u8>>> {
    let mut plaintext = Zeroizing::new(Vec::with_capacity(rings.len() + 256 + SIGNATURE_LEN));
    frames::push(&mut plaintext, header)?;
    plaintext.extend_from_slice(rings);
    let signature = signer.sign(signing::ESCROW, &plaintext)?;
    plaintext.extend_from_slice(&signature);
    Ok(plaintext)
}

/// Puts a file (mode 0600) in the place of whatever was there, whole or not at all.
fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
    let unfinished = parent.join(format!(".making-{}", name.to_string_lossy()));
    folder::make(parent)?;
    files::write(&unfinished, bytes)?;
    fs::rename(unfinished, path)?;
    folder::sync(parent)
}

impl std::fmt::Debug for EscrowLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EscrowLock").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for EscrowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EscrowKey").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Escrow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Escrow").field("tenants", &self.tenants()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Key32;

    fn sealed(number: u64, names: Signer, signs: &Signer) -> Zeroizing<Vec<u8>> {
        let store = Incarnation::new([7; 16]);
        let mut rings = Vec::new();
        frames::push(&mut rings, &Ring { incarnation: store, slots: vec![vec![1, 2, 3]] }).unwrap();
        let (magic, key) = (MAGIC.to_owned(), names.public().unwrap());
        encode(&Header { magic, store, key, number, exported_secs: 1, rings: 1 }, &rings, signs).unwrap()
    }

    #[test]
    fn an_escrow_that_its_store_has_not_signed_is_not_read() {
        let signer = |byte: u8| Signer::new(&Key32::with(|seed| seed.fill(byte))).unwrap();
        let ours = sealed(1, signer(1), &signer(1));
        assert_eq!(Escrow::decode(&ours).unwrap().number, 1, "the control");
        for at in 0..ours.len() {
            let mut changed = ours.to_vec();
            changed[at] ^= 1;
            assert!(Escrow::decode(&changed).is_err(), "byte {at}");
        }
        assert!((0..ours.len()).all(|cut| Escrow::decode(&ours[..cut]).is_err()));
        assert!(Escrow::decode(&sealed(9, signer(1), &signer(2))).is_err(), "in our name, by somebody else");
        let theirs = Escrow::decode(&sealed(9, signer(2), &signer(2))).unwrap();
        assert!(theirs.trust().key != signer(1).public().unwrap(), "which a restore compares");
    }
}
