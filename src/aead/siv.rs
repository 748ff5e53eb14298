//! AES-SIV (RFC 5297) with two AES-256 keys and one part of associated data: deterministic, so that equal names meet,
//! and authenticated.
//!
//! On the block cipher itself, because every record key that is read or written passes here: the crate `aes-siv`
//! expands its keys anew for every message. The tests hold this against it.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes256Enc, Block};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::xaes::{double, xor};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Bytes of the synthetic initialization vector.
const SIV_LEN: usize = 16;
/// Blocks of keystream that are made at once.
const STRIDE: usize = 8;

/// A 512-bit AES-SIV key, expanded. On the heap, wiped when dropped.
pub(crate) struct SivKey(Box<Expanded>);

struct Expanded {
    mac: Aes256Enc,
    stream: Aes256Enc,
    /// CMAC's K1 and K2.
    k1: Block,
    k2: Block,
    /// `dbl(CMAC(0^128))`: where S2V is after its first step, whatever the message.
    start: Block,
}

impl SivKey {
    pub(crate) fn new(key: &Secret<64>) -> Self {
        let (mac, stream) = key.expose_secret().split_at(32);
        let cipher = |half: &[u8]| Aes256Enc::new_from_slice(half).expect("half of 64 bytes");
        let (zero, mac) = (Block::default(), cipher(mac));
        let mut expanded = Box::new(Expanded { mac, stream: cipher(stream), k1: zero, k2: zero, start: zero });
        expanded.mac.encrypt_block(&mut expanded.k1);
        double(&mut expanded.k1);
        expanded.k2 = expanded.k1;
        double(&mut expanded.k2);
        expanded.start = expanded.cmac(&zero);
        double(&mut expanded.start);
        Self(expanded)
    }

    /// SIV first, then the ciphertext, with one part of associated data.
    pub(crate) fn seal(&self, associated: &[u8], message: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(SIV_LEN + message.len());
        sealed.extend_from_slice(&[0; SIV_LEN]);
        sealed.extend_from_slice(message);
        let (siv, message) = sealed.split_at_mut(SIV_LEN);
        let computed = self.0.s2v(associated, message);
        siv.copy_from_slice(&computed);
        self.0.apply_keystream(computed, message);
        sealed
    }

    /// What [`seal`](Self::seal) made, or `Tampered`. What opens is what `seal` makes of the message, to the bit.
    pub(crate) fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let (siv, ciphertext) = sealed.split_first_chunk::<SIV_LEN>().ok_or_else(Error::tampered)?;
        let mut message = ciphertext.to_vec();
        self.0.apply_keystream(Block::from(*siv), &mut message);
        if bool::from(self.0.s2v(associated, &mut message).0.ct_eq(siv)) {
            return Ok(message);
        }
        message.zeroize();
        Err(Error::tampered())
    }
}

impl Expanded {
    /// `D = dbl(CMAC(0^128)) ^ CMAC(associated)`; `CMAC(message xorend D)`, or, of a message shorter than a block,
    /// `CMAC(dbl(D) ^ pad(message))`. The message is as it was when this returns.
    fn s2v(&self, associated: &[u8], message: &mut [u8]) -> Block {
        let mut mask = self.start;
        xor(&mut mask, &self.cmac(associated));
        let Some(end) = message.len().checked_sub(SIV_LEN) else {
            double(&mut mask);
            xor(&mut mask, &padded(message));
            return self.cmac(&mask);
        };
        xor(&mut message[end..], &mask);
        let siv = self.cmac(message);
        xor(&mut message[end..], &mask);
        siv
    }

    /// AES-CMAC (RFC 4493).
    fn cmac(&self, message: &[u8]) -> Block {
        // The last block, whole or not, is for the end; of an empty message it is empty.
        let (head, last) = message.split_at(message.len().saturating_sub(1) / SIV_LEN * SIV_LEN);
        let mut chain = Block::default();
        for block in head.chunks_exact(SIV_LEN) {
            xor(&mut chain, block);
            self.mac.encrypt_block(&mut chain);
        }
        match last.len() {
            SIV_LEN => {
                xor(&mut chain, last);
                xor(&mut chain, &self.k1);
            }
            _ => {
                xor(&mut chain, &padded(last));
                xor(&mut chain, &self.k2);
            }
        }
        self.mac.encrypt_block(&mut chain);
        chain
    }

    /// AES-CTR from the SIV on, with two bits of it cleared.
    fn apply_keystream(&self, mut siv: Block, message: &mut [u8]) {
        siv[8] &= 0x7F;
        siv[12] &= 0x7F;
        let mut counter = u128::from_be_bytes(siv.0);
        for part in message.chunks_mut(STRIDE * SIV_LEN) {
            let mut stream = [Block::default(); STRIDE];
            let stream = &mut stream[..part.len().div_ceil(SIV_LEN)];
            for block in &mut *stream {
                block.0 = counter.to_be_bytes();
                counter = counter.wrapping_add(1);
            }
            self.stream.encrypt_blocks(stream);
            part.chunks_mut(SIV_LEN).zip(stream).for_each(|(part, block)| xor(part, &block[..part.len()]));
        }
    }
}

/// `bytes || 80 00..00`, of fewer bytes than a block has.
fn padded(bytes: &[u8]) -> Block {
    let mut block = Block::default();
    block[..bytes.len()].copy_from_slice(bytes);
    block[bytes.len()] = 0x80;
    block
}

impl Drop for Expanded {
    fn drop(&mut self) {
        // The round keys wipe themselves (feature `zeroize` of `aes`).
        let Self { mac: _, stream: _, k1, k2, start } = self;
        [k1, k2, start].into_iter().for_each(|block| block.0.zeroize());
    }
}

impl std::fmt::Debug for SivKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SivKey(redacted)")
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "a second implementation to compare with")]
mod tests {
    use aes_siv::aead::array::Array;
    use aes_siv::siv::Aes256Siv;

    use super::*;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "any bytes will do")]
    fn seals_as_the_crate_aes_siv_does_and_opens_nothing_else() {
        for seed in 0..8 {
            let bytes: [u8; 64] = std::array::from_fn(|place| (place * 7) as u8 ^ (seed * 31));
            let key = SivKey::new(&Secret::with(|key| *key = bytes));
            let mut reference = Aes256Siv::new(&Array(bytes));
            for length in (0..70).chain([127, 128, 129, 255, 256, 4096]) {
                let message: Vec<u8> = (0..length).map(|place| place as u8 ^ seed).collect();
                for associated in [0, 1, 4, 15, 16, 17, 32, 33, 200] {
                    let associated = vec![seed; associated];
                    let sealed = key.seal(&associated, &message);
                    assert_eq!(sealed, reference.encrypt([&associated], &message).unwrap());
                    assert_eq!(key.open(&associated, &sealed).unwrap(), message);
                    let flip = (length * 13 + associated.len()) % sealed.len();
                    let mut changed = sealed.clone();
                    changed[flip] ^= 1 << seed;
                    assert!(key.open(&associated, &changed).is_err());
                    assert!(key.open(&[&associated[..], &[0]].concat(), &sealed).is_err());
                    assert!(key.open(&associated, &sealed[..sealed.len() - 1]).is_err());
                }
            }
        }
    }

    /// RFC 5297 has vectors for AES-128 only. This is the double and the CMAC of RFC 4493 and NIST SP 800-38B with
    /// AES-256, from which everything above is put together.
    #[test]
    fn cmac_is_that_of_sp_800_38b() {
        let key: [u8; 32] = from_hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let text: [u8; 64] = from_hex(concat!(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        ));
        let key = SivKey::new(&Secret::with(|out| out[..32].copy_from_slice(&key)));
        for (length, mac) in [
            (0, "028962f61b7bf89efc6b551f4667d983"),
            (16, "28a7023f452e8f82bd4bf28d8c37c35c"),
            (40, "aaf3d8f1de5640c232f5b169b9c911e6"),
            (64, "e1992190549f6ed5696a2c056c315410"),
        ] {
            assert_eq!(key.0.cmac(&text[..length]).0, from_hex::<16>(mac), "{length} bytes");
        }
    }

    fn from_hex<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|place| u8::from_str_radix(&hex[2 * place..][..2], 16).unwrap())
    }
}
