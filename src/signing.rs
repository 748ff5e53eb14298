//! The store's signature: Ed25519 (RFC 8032) under a key that tenant zero keeps.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
#[cfg(feature = "backup")]
use sha2::{Digest, Sha256};

#[cfg(feature = "backup")]
use crate::context::Context;
use crate::error::{Error, Result};
use crate::secret::Key32;

pub(crate) const SIGNATURE_LEN: usize = 64;
/// What is signed: a signature of the one is none of the other.
#[cfg(feature = "backup")]
pub(crate) const MANIFEST: &str = "strongroom/v1/backup-manifest";
#[cfg(feature = "backup")]
pub(crate) const ESCROW: &str = "strongroom/v1/escrow";

/// Signs for a store.
pub(crate) struct Signer(Ed25519KeyPair);

/// Whose signature a reader of backups believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublicKey(pub(crate) [u8; 32]);

impl Signer {
    pub(crate) fn new(seed: &Key32) -> Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose_secret());
        pair.map(Self).map_err(|_| Error::internal("the signing key of the store cannot be used"))
    }

    pub(crate) fn public(&self) -> Result<PublicKey> {
        let key = <[u8; 32]>::try_from(self.0.public_key().as_ref());
        key.map(PublicKey).map_err(|_| Error::internal("a public key has another length"))
    }

    #[cfg(feature = "backup")]
    pub(crate) fn sign(&self, what: &'static str, bytes: &[u8]) -> Result<[u8; SIGNATURE_LEN]> {
        let signature = self.0.sign(message(what, bytes).as_slice());
        signature.as_ref().try_into().map_err(|_| Error::internal("a signature has another length"))
    }

    /// Signs a text as it stands, for formats that others read. Nothing that is signed for one purpose can be taken for
    /// the other: a text has no NUL in it, and what [`sign`](Self::sign) signs begins with one.
    pub(crate) fn sign_text(&self, text: &str) -> Result<[u8; SIGNATURE_LEN]> {
        let signature = self.0.sign(text.as_bytes());
        signature.as_ref().try_into().map_err(|_| Error::internal("a signature has another length"))
    }
}

impl PublicKey {
    #[cfg(feature = "backup")]
    pub(crate) fn vouches_for(&self, what: &'static str, bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message(what, bytes).as_slice(), signature).is_ok()
    }

    pub(crate) fn vouches_for_text(&self, text: &str, signature: &[u8; SIGNATURE_LEN]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text.as_bytes(), signature).is_ok()
    }
}

/// `ctx(what, SHA-256(bytes))`
#[cfg(feature = "backup")]
fn message(what: &'static str, bytes: &[u8]) -> Context {
    Context::new(what).bytes(&Sha256::digest(bytes))
}

#[cfg(all(test, feature = "backup"))]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_bytes_and_its_key_alone() {
        let signer = |byte: u8| Signer::new(&Key32::with(|seed| seed.fill(byte))).unwrap();
        let (ours, others) = (signer(1), signer(2));
        let signature = ours.sign(MANIFEST, b"manifest").unwrap();
        assert!(ours.public().unwrap().vouches_for(MANIFEST, b"manifest", &signature));
        assert!(!ours.public().unwrap().vouches_for(MANIFEST, b"Manifest", &signature));
        assert!(!ours.public().unwrap().vouches_for(ESCROW, b"manifest", &signature));
        assert!(!others.public().unwrap().vouches_for(MANIFEST, b"manifest", &signature));
        for bit in 0..SIGNATURE_LEN * 8 {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!ours.public().unwrap().vouches_for(MANIFEST, b"manifest", &changed), "bit {bit}");
        }
    }
}
