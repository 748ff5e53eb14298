//! KC-XAES-256-GCM: XAES-256-GCM (C2SP) with the key commitment of ePrint 2025/758, as merged in AWS-LC.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes256Enc, Block};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::secret::{Key32, wipe};

/// Bytes of a nonce. All of them fresh for every message.
pub(crate) const NONCE_LEN: usize = 24;
/// Bytes of a key commitment.
pub(crate) const COMMITMENT_LEN: usize = 32;
/// Bytes of a GCM tag.
pub(crate) const TAG_LEN: usize = 16;
/// What [`XaesKey::seal_key`] adds to its plaintext.
pub(crate) const SEALED_OVERHEAD: usize = NONCE_LEN + COMMITMENT_LEN + TAG_LEN;

/// A 256-bit key, expanded: the AES round keys and XAES's K1. On the heap, wiped when dropped.
pub(crate) struct XaesKey(Box<Expanded>);

/// AES-256-GCM without the round keys of decryption, which no mode used here has a use for: making and wiping them
/// would be a good part of the time that a small record takes.
type Gcm = AesGcm<Aes256Enc, U12>;

struct Expanded {
    aes: Aes256Enc,
    k1: Block,
}

/// Why a message did not open. Callers outside hear `Tampered` either way; the event says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenFailure {
    /// The commitment is another key's.
    WrongKey,
    /// The key is right; nonce, AAD, ciphertext or tag were changed.
    ChangedBytes,
}

impl XaesKey {
    pub(crate) fn new(key: &Key32) -> Self {
        let aes = Aes256Enc::new_from_slice(key.expose_secret()).expect("32 bytes");
        let mut k1 = Block::default();
        aes.encrypt_block(&mut k1);
        double(&mut k1);
        Self(Box::new(Expanded { aes, k1 }))
    }

    /// `KC = AES(C ^ (N[12..24] || 00010001) ^ K1) || AES(C ^ (N[12..24] || 00010002) ^ K1)`, `C = AES("XCMT" || N[0..12])`.
    pub(crate) fn commitment(&self, nonce: &[u8; NONCE_LEN]) -> [u8; COMMITMENT_LEN] {
        let (prefix, suffix) = nonce.split_at(12);
        let mut chain = block(b"XCMT", prefix);
        self.0.aes.encrypt_block(&mut chain);
        let mut halves = [1, 2].map(|half| {
            let mut input = block(suffix, &[0, 1, 0, half]);
            xor(&mut input, &chain);
            xor(&mut input, &self.0.k1);
            input
        });
        self.0.aes.encrypt_blocks(&mut halves);
        join(&halves)
    }

    /// Encrypts `message` in place and returns its tag.
    ///
    /// `aad` and `message` are far below GCM's limits (2^36 - 32 bytes) wherever this crate calls it.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], message: &mut [u8]) -> [u8; TAG_LEN] {
        self.subkey(nonce)
            .encrypt_inout_detached(&gcm_nonce(nonce), aad, message.into())
            .expect("lengths are bounded far below GCM's limits")
            .into()
    }

    /// Checks the commitment (in constant time), then the tag, then decrypts `message` in place. On failure
    /// `message` is wiped.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        commitment: &[u8; COMMITMENT_LEN],
        aad: &[u8],
        message: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), OpenFailure> {
        if !bool::from(self.commitment(nonce).ct_eq(commitment)) {
            wipe(message);
            return Err(OpenFailure::WrongKey);
        }
        self.subkey(nonce).decrypt_inout_detached(&gcm_nonce(nonce), aad, (&mut *message).into(), &Array(*tag)).map_err(
            |_| {
                wipe(message);
                OpenFailure::ChangedBytes
            },
        )
    }

    /// Seals key material: `N[24] || KC[32] || ciphertext || tag[16]`, the nonce fresh.
    pub(crate) fn seal_key(&self, entropy: &dyn Entropy, aad: &[u8], secret: &[u8]) -> Result<Vec<u8>> {
        let nonce = entropy.bytes::<NONCE_LEN>()?;
        let mut sealed = Vec::with_capacity(secret.len() + SEALED_OVERHEAD);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&self.commitment(&nonce));
        sealed.extend_from_slice(secret);
        let tag = self.seal(&nonce, aad, &mut sealed[NONCE_LEN + COMMITMENT_LEN..]);
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens what [`seal_key`](Self::seal_key) made; the bytes are wiped when dropped.
    pub(crate) fn open_key(&self, aad: &[u8], sealed: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(Error::tampered)?;
        let (commitment, rest) = rest.split_first_chunk::<COMMITMENT_LEN>().ok_or_else(Error::tampered)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or_else(Error::tampered)?;
        let mut message = zeroize::Zeroizing::new(ciphertext.to_vec());
        self.open(nonce, commitment, aad, &mut message, tag).map_err(|_| Error::tampered())?;
        Ok(message)
    }

    /// `Kx = AES((00 01 58 00 || N[0..12]) ^ K1) || AES((00 02 58 00 || N[0..12]) ^ K1)`, ready for GCM.
    fn subkey(&self, nonce: &[u8; NONCE_LEN]) -> Gcm {
        let mut halves = [1, 2].map(|half| {
            let mut input = block(&[0, half, b'X', 0], &nonce[..12]);
            xor(&mut input, &self.0.k1);
            input
        });
        self.0.aes.encrypt_blocks(&mut halves);
        let mut key = Array(join(&halves));
        halves.iter_mut().for_each(|half| half.0.zeroize());
        let gcm = Gcm::new(&key);
        key.0.zeroize();
        gcm
    }
}

impl Drop for Expanded {
    fn drop(&mut self) {
        // The round keys wipe themselves (feature `zeroize` of `aes`).
        self.k1.0.zeroize();
    }
}

impl std::fmt::Debug for XaesKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("XaesKey(redacted)")
    }
}

impl From<OpenFailure> for Error {
    fn from(_: OpenFailure) -> Self {
        Self::tampered()
    }
}

/// Doubling in GF(2^128), as in CMAC (NIST SP 800-38B), without a branch on the secret bit.
pub(super) fn double(value: &mut Block) {
    let doubled = u128::from_be_bytes(value.0) << 1;
    let carry = value.0[0] >> 7;
    value.0 = (doubled ^ u128::from(carry * 0x87)).to_be_bytes();
}

fn block(head: &[u8], tail: &[u8]) -> Block {
    let mut block = Block::default();
    let (left, right) = block.0.split_at_mut(head.len());
    left.copy_from_slice(head);
    right.copy_from_slice(tail);
    block
}

pub(super) fn xor(value: &mut [u8], mask: &[u8]) {
    value.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

fn join(halves: &[Block; 2]) -> [u8; 32] {
    let mut joined = [0; 32];
    joined[..16].copy_from_slice(&halves[0].0);
    joined[16..].copy_from_slice(&halves[1].0);
    joined
}

fn gcm_nonce(nonce: &[u8; NONCE_LEN]) -> aes_gcm::Nonce<U12> {
    let mut tail = [0; 12];
    tail.copy_from_slice(&nonce[12..]);
    Array(tail)
}
