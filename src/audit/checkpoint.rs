//! The head of a trail at one moment (c2sp.org/tlog-checkpoint), as the text of a signed note:
//!
//! ```text
//! strongroom/<store id in hex>/<incarnation in hex>
//! <size in decimal>
//! <base64 of the root hash>
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::note::{self, VerifierKey};
use super::tree::{Hash, Tree};
use crate::error::{Error, Result};
use crate::name::Incarnation;
use crate::signing::Signer;

/// How long a trail was, and what it held: whoever keeps one will know whether the trail was ever cut or rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    pub(super) fn new(origin: String, tree: &Tree) -> Self {
        Self { origin, size: tree.size(), root: tree.root() }
    }

    /// Reads a checkpoint that `key` has signed, and whose trail is the one that the key is named after.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is no checkpoint, or another trail's;
    /// [`Tampered`](crate::ErrorKind::Tampered) if the key has not signed it.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self> {
        let checkpoint = Self::parse(key.open(note)?)?;
        if checkpoint.origin != key.name() {
            return Err(Error::invalid("the checkpoint is that of another trail"));
        }
        Ok(checkpoint)
    }

    /// Reads a checkpoint, whoever signed it or did not.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is no checkpoint.
    pub fn read_unverified(note: &str) -> Result<Self> {
        Self::parse(note::text_of(note)?)
    }

    /// Which trail of which store: `strongroom/<store id>/<incarnation>`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many events the trail had.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root hash of their tree.
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.root
    }

    pub(super) fn sign(&self, signer: &Signer) -> Result<String> {
        let text = format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root));
        note::sign(signer, &self.origin, &text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let parse = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            // Lines behind these are allowed by the standard, and nothing that a store has signed.
            let is_plain =
                lines.next().is_none() && !origin.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
            let has_leading_zero = size.len() > 1 && size.starts_with('0');
            let root = STANDARD.decode(root).ok()?.try_into().ok()?;
            let checkpoint = Self { origin: origin.to_owned(), size: size.parse().ok()?, root };
            (is_plain && !has_leading_zero).then_some(checkpoint)
        };
        parse().ok_or_else(|| Error::invalid("this is no checkpoint of a trail"))
    }
}

/// The name of a trail, wherever it is read.
pub(super) fn origin(store: Incarnation, trail: Incarnation) -> String {
    format!("strongroom/{store:?}/{trail:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Key32;
    use crate::test_kit::{array, hex as unhex, text};

    const TEXT: &str = "strongroom/a/b\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

    #[test]
    fn a_checkpoint_is_read_to_the_letter() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!((checkpoint.origin(), checkpoint.size(), checkpoint.root()), ("strongroom/a/b", 7, &[0; 32]));
        assert!(Checkpoint::parse(&TEXT.replace('7', "0")).is_ok(), "an empty trail");
        let wrong = [
            TEXT.trim_end().to_owned(),
            format!("{TEXT}\n"),
            format!("{TEXT}more\n"),
            TEXT.replace("AAA=", "AAB="),
            TEXT.replace("AAA=", "AA=="),
            TEXT.replace("strongroom/a/b", ""),
        ];
        let sizes = ["07", "+7", "-7", "", " 7", "7 ", "18446744073709551616", "7.0", "\u{0667}"];
        for wrong in wrong.into_iter().chain(sizes.map(|size| TEXT.replace('7', size))) {
            assert!(Checkpoint::parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_checkpoint_is_the_references() {
        for entry in crate::test_kit::section("audit_checkpoint", 1) {
            let (store, trail) = (Incarnation::new(array(&entry["store"])), Incarnation::new(array(&entry["trail"])));
            let mut tree = Tree::default();
            entry["leaves"].as_array().unwrap().iter().for_each(|leaf| tree.push(&unhex(leaf)));
            let signer = Signer::new(&Key32::from_slice(&unhex(&entry["seed"])).unwrap()).unwrap();
            let checkpoint = Checkpoint::new(origin(store, trail), &tree);
            let (note, key) = (text(&entry["note"]), text(&entry["verifier_key"]).parse().unwrap());
            assert_eq!(checkpoint.sign(&signer).unwrap(), note);
            assert_eq!(Checkpoint::open(note, &key).unwrap(), checkpoint);
            assert_eq!(Checkpoint::read_unverified(note).unwrap(), checkpoint);
        }
    }

    #[test]
    fn a_key_opens_the_checkpoints_of_its_own_trail_alone() {
        let signer = Signer::new(&Key32::with(|seed| seed.fill(5))).unwrap();
        let key = VerifierKey::new("strongroom/a/c", signer.public().unwrap()).unwrap();
        let ours = note::sign(&signer, "strongroom/a/c", &TEXT.replace("a/b", "a/c")).unwrap();
        assert!(Checkpoint::open(&ours, &key).is_ok(), "the control");
        let others = note::sign(&signer, "strongroom/a/c", TEXT).unwrap();
        assert_eq!(Checkpoint::open(&others, &key).unwrap_err().kind(), crate::ErrorKind::Invalid);
    }
}
