//! The envelope of a record, version 1, suite 1 (KC-XAES-256-GCM), parsed strictly.
//!
//! | offset | length | what |
//! |---|---|---|
//! | 0 | 1 | format = 1 |
//! | 1 | 1 | suite = 1 |
//! | 2 | 4 | generation |
//! | 6 | 24 | nonce N |
//! | 30 | 32 | key commitment KC |
//! | 62 | n | ciphertext |
//! | 62+n | 16 | GCM tag |

use crate::aead::{COMMITMENT_LEN, NONCE_LEN, TAG_LEN};
use crate::engine::Opaque;

pub(super) const FORMAT: u8 = 1;
pub(super) const SUITE: u8 = 1;
/// Bytes of format, suite and generation: the part of the envelope that is in the AAD.
pub(super) const HEADER_LEN: usize = 6;
/// Bytes of header and nonce: what tells one write from every other.
pub(crate) const HEAD_LEN: usize = HEADER_LEN + NONCE_LEN;
/// Where the ciphertext begins.
pub(super) const CIPHERTEXT_AT: usize = HEAD_LEN + COMMITMENT_LEN;

/// A sealed record, as it goes to the engine.
#[derive(Debug)]
pub(crate) struct Envelope(Vec<u8>);

#[cfg(feature = "backup")]
impl Envelope {
    /// A record that was sealed before and has been away: in a backup. Whether it authenticates shows when it is read.
    ///
    /// `None` if the bytes are no envelope.
    pub(crate) fn from_backup(mut bytes: Vec<u8>) -> Option<Self> {
        Parts::parse(&mut bytes)?;
        Some(Self(bytes))
    }
}

/// The parts of an envelope, unauthenticated; the ciphertext to be decrypted where it is.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) header: &'a [u8; HEADER_LEN],
    pub(super) generation: u32,
    pub(super) nonce: &'a [u8; NONCE_LEN],
    pub(super) commitment: &'a [u8; COMMITMENT_LEN],
    pub(super) ciphertext: &'a mut [u8],
    pub(super) tag: &'a [u8; TAG_LEN],
}

/// An envelope under construction: everything but the ciphertext and the tag.
pub(super) struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    /// Room for a plaintext of `length` bytes.
    pub(super) fn new(
        generation: u32,
        nonce: &[u8; NONCE_LEN],
        commitment: &[u8; COMMITMENT_LEN],
        length: usize,
    ) -> Self {
        let mut bytes = Vec::with_capacity(CIPHERTEXT_AT + length + TAG_LEN);
        bytes.extend_from_slice(&header(generation));
        bytes.extend_from_slice(nonce);
        bytes.extend_from_slice(commitment);
        Self { bytes }
    }

    /// Writes the plaintext in its place, where `encrypt` turns it into ciphertext and returns the tag.
    pub(super) fn fill(mut self, plaintext: &[&[u8]], encrypt: impl FnOnce(&mut [u8]) -> [u8; TAG_LEN]) -> Envelope {
        plaintext.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let tag = encrypt(&mut self.bytes[CIPHERTEXT_AT..]);
        self.bytes.extend_from_slice(&tag);
        Envelope(self.bytes)
    }
}

impl<'a> Parts<'a> {
    /// `None` if the bytes are too short or of a format or suite that is not known.
    pub(super) fn parse(bytes: &'a mut [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk_mut::<HEADER_LEN>()?;
        let &mut [FORMAT, SUITE, a, b, c, d] = header else { return None };
        let (nonce, rest) = rest.split_first_chunk_mut::<NONCE_LEN>()?;
        let (commitment, rest) = rest.split_first_chunk_mut::<COMMITMENT_LEN>()?;
        let (ciphertext, tag) = rest.split_last_chunk_mut::<TAG_LEN>()?;
        let generation = u32::from_be_bytes([a, b, c, d]);
        Some(Self { header, generation, nonce, commitment, ciphertext, tag })
    }
}

pub(super) fn header(generation: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = generation.to_be_bytes();
    [FORMAT, SUITE, a, b, c, d]
}

impl Opaque for Envelope {
    fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
