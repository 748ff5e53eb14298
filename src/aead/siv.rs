//! AES-SIV (RFC 5297) with two AES-256 keys: deterministic, so that equal names meet, and authenticated.

use aes_siv::KeyInit;
use aes_siv::aead::array::Array;
use aes_siv::siv::Aes256Siv;

use crate::error::{Error, Result};
use crate::secret::Secret;

/// A 512-bit AES-SIV key.
#[derive(Debug)]
pub(crate) struct SivKey(Secret<64>);

impl SivKey {
    pub(crate) fn new(key: Secret<64>) -> Self {
        Self(key)
    }

    /// SIV first, then the ciphertext, with one part of associated data.
    pub(crate) fn seal(&self, associated: &[u8], message: &[u8]) -> Vec<u8> {
        self.cipher().encrypt([associated], message).expect("one part of associated data is within the limit")
    }

    /// What [`seal`](Self::seal) made, or `Tampered`.
    pub(crate) fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        self.cipher().decrypt([associated], sealed).map_err(|_| Error::tampered())
    }

    fn cipher(&self) -> Aes256Siv {
        Aes256Siv::new(&Array(*self.0.expose_secret()))
    }
}
