//! Sealing and opening one record.
//!
//! `AAD = ctx("strongroom/v1/record-aad", header bytes 0..6, incarnation, collection id, engine key)`. N and KC need
//! no place in it: the subkey, the GCM nonce and the check of the commitment bind them.
//!
//! `plaintext = flags u8 || [bit 0: version[24]] || [bit 1: expires u64, ms] || [bit 4: object id[16] || length u64]
//! || value`, the value empty where bit 4 is set; the other bits are for features to come and are `Tampered` until then.

use std::ops::Range;

use super::envelope::{CIPHERTEXT_AT, Draft, Envelope, FORMAT, HEAD_LEN, HEADER_LEN, Parts, SUITE, header};
use super::version::Version;
use subtle::ConstantTimeEq;

use crate::aead::{NONCE_LEN, OpenFailure, TAG_LEN, XaesKey};
use crate::context::Context;
use crate::derive;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::Ring;
use crate::name::Incarnation;
use crate::secret::{Key32, wipe};

/// Where a record belongs. What is sealed for one place opens in no other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) collection: u32,
    /// The whole key in the engine, collection id included.
    pub(crate) engine_key: &'a [u8],
}

/// What names the chunks of one value: fresh random bytes at every write.
pub(crate) type ObjectId = [u8; 16];

/// What a record says of itself beside its value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Which write it is, if somebody had to know before it was sealed; else its nonce says so.
    pub(crate) version: Option<Version>,
    /// In milliseconds since 1970.
    pub(crate) expires_ms: Option<u64>,
}

/// A record, opened: its value, or the head of a value that lies elsewhere. A type of its own, so that no head is
/// taken for an empty value.
pub(crate) enum Record {
    Whole(Opened),
    Head(Head),
}

/// The head of a record whose value lies in chunks. That its length is one that a value can have is for those to check
/// who know the limits.
pub(crate) struct Head {
    pub(crate) object: ObjectId,
    pub(crate) length: u64,
    pub(crate) version: Version,
    pub(crate) expires_ms: Option<u64>,
}

/// An opened record: the envelope with the plaintext in place of the ciphertext, wiped when dropped, the version, and
/// when it expires. Whether that has come is not asked here: a clock belongs to whoever reads.
pub(crate) struct Opened {
    bytes: Vec<u8>,
    value: Range<usize>,
    version: Version,
    expires_ms: Option<u64>,
}

const HAS_VERSION: u8 = 1 << 0;
const HAS_EXPIRY: u8 = 1 << 1;
/// Bits 2 and 3 are reserved: a dictionary, padding.
const IS_HEAD: u8 = 1 << 4;

/// Seals a value under the newest generation. `nonce` must be fresh in all its 24 bytes.
pub(crate) fn seal(ring: &Ring, place: Place<'_>, nonce: &[u8; NONCE_LEN], value: &[u8]) -> Result<Envelope> {
    seal_with(ring, place, nonce, Terms::default(), value)
}

/// The same, with what the record says beside its value.
pub(crate) fn seal_with(
    ring: &Ring,
    place: Place<'_>,
    nonce: &[u8; NONCE_LEN],
    terms: Terms,
    value: &[u8],
) -> Result<Envelope> {
    seal_new(ring, place, nonce, 0, terms, [value, &[]])
}

/// Seals the head of a record whose value of `length` bytes lies in the chunks of `object`.
pub(crate) fn seal_head(
    ring: &Ring,
    place: Place<'_>,
    nonce: &[u8; NONCE_LEN],
    terms: Terms,
    object: &ObjectId,
    length: u64,
) -> Result<Envelope> {
    seal_new(ring, place, nonce, IS_HEAD, terms, [object, &length.to_be_bytes()])
}

fn seal_new(
    ring: &Ring,
    place: Place<'_>,
    nonce: &[u8; NONCE_LEN],
    kind: u8,
    Terms { version, expires_ms }: Terms,
    rest: [&[u8]; 2],
) -> Result<Envelope> {
    let (version, expires) = (version.map(|version| version.0), expires_ms.map(u64::to_be_bytes));
    let (version_flag, version) = version.as_ref().map_or((0, &[][..]), |version| (HAS_VERSION, version));
    let (expiry_flag, expires) = expires.as_ref().map_or((0, &[][..]), |expires| (HAS_EXPIRY, expires));
    let plaintext = [&[kind | version_flag | expiry_flag], version, expires, rest[0], rest[1]];
    seal_plaintext(ring, ring.write_generation(), place, nonce, &plaintext)
}

/// Seals what was found at `place` under the newest generation: the same record, of the same version. `nonce` must be
/// fresh in all its 24 bytes.
///
/// # Errors
/// As [`open_record`].
pub(crate) fn reseal(ring: &Ring, place: Place<'_>, nonce: &[u8; NONCE_LEN], mut bytes: Vec<u8>) -> Result<Envelope> {
    let written = decrypt(ring, place, &mut bytes)?;
    let (opened, flags) = Opened::parse(bytes, written).ok_or_else(|| refuse("the inner header is malformed"))?;
    let plaintext = &opened.bytes[CIPHERTEXT_AT..opened.bytes.len() - TAG_LEN];
    let generation = ring.write_generation();
    match flags & HAS_VERSION {
        0 => {
            let rest = &plaintext[1..];
            seal_plaintext(ring, generation, place, nonce, &[&[flags | HAS_VERSION], &opened.version.0, rest])
        }
        _ => seal_plaintext(ring, generation, place, nonce, &[plaintext]),
    }
}

/// The generation that an envelope says it was sealed under: `None` if it is no envelope.
pub(crate) fn peek_generation(bytes: &[u8]) -> Option<u32> {
    match bytes.first_chunk::<HEADER_LEN>()? {
        &[FORMAT, SUITE, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

fn seal_plaintext(
    ring: &Ring,
    generation: u32,
    place: Place<'_>,
    nonce: &[u8; NONCE_LEN],
    plaintext: &[&[u8]],
) -> Result<Envelope> {
    let key = ring.record_key(generation, place.collection, SUITE)?;
    let aad = aad(ring.incarnation(), &header(generation), place);
    let length = plaintext.iter().map(|part| part.len()).sum();
    let draft = Draft::new(generation, nonce, &key.commitment(nonce), length);
    Ok(draft.fill(plaintext, |message| key.seal(nonce, aad.as_slice(), message)))
}

/// Opens the bytes found at `place`, where only a whole value belongs.
///
/// # Errors
/// As [`open_record`]; `Tampered` for a head.
pub(crate) fn open(ring: &Ring, place: Place<'_>, bytes: &[u8]) -> Result<Opened> {
    match open_record(ring, place, bytes.to_vec())? {
        Record::Whole(opened) => Ok(opened),
        Record::Head(_) => Err(refuse("a head stands where a whole value belongs")),
    }
}

/// Opens the bytes found at `place`. They become the record: no copy of a value is made.
///
/// # Errors
/// `Tampered` unless they are, to the bit, what was sealed for this place under this ring; `KeyDestroyed` if their
/// generation was retired.
pub(crate) fn open_record(ring: &Ring, place: Place<'_>, mut bytes: Vec<u8>) -> Result<Record> {
    let written = decrypt(ring, place, &mut bytes)?;
    Record::parse(bytes, written).ok_or_else(|| refuse("the inner header is malformed"))
}

/// Puts the plaintext in the ciphertext's place. Returns what names the write.
fn decrypt(ring: &Ring, place: Place<'_>, bytes: &mut [u8]) -> Result<Version> {
    let parts = Parts::parse(bytes).ok_or_else(|| refuse("the envelope is malformed"))?;
    let key = ring.record_key(parts.generation, place.collection, SUITE).map_err(|error| match error.kind() {
        ErrorKind::Tampered => refuse("the generation was never written: the ring may be older than the records"),
        _ => error,
    })?;
    let aad = aad(ring.incarnation(), parts.header, place);
    key.open(parts.nonce, parts.commitment, aad.as_slice(), parts.ciphertext, parts.tag).map_err(|failure| {
        refuse(match failure {
            OpenFailure::WrongKey => "the key commitment is another key's",
            OpenFailure::ChangedBytes => "the tag does not fit",
        })
    })?;
    Ok(Version(*parts.nonce))
}

/// Whether some bytes are the tenant key under which a record was sealed: for whoever searches for keys that nobody is to
/// find. Told by the commitment, so that no record is opened.
pub(crate) fn is_sealed_under(key: &Key32, incarnation: Incarnation, collection: u32, sealed: &mut [u8]) -> bool {
    let Some(parts) = Parts::parse(sealed) else { return false };
    let key = XaesKey::new(&derive::record_key(key, incarnation, parts.generation, collection, SUITE));
    key.commitment(parts.nonce).ct_eq(parts.commitment).into()
}

/// The bytes of an envelope that tell its write from every other, for compare-and-swap in the engine.
pub(crate) fn peek_head(bytes: &[u8]) -> &[u8] {
    &bytes[..HEAD_LEN.min(bytes.len())]
}

impl Record {
    /// Reads the inner header of an envelope that has been decrypted in place.
    fn parse(bytes: Vec<u8>, written: Version) -> Option<Self> {
        let (mut opened, flags) = Opened::parse(bytes, written)?;
        if flags & IS_HEAD == 0 {
            return Some(Self::Whole(opened));
        }
        let object = *opened.take(size_of::<ObjectId>())?.first_chunk()?;
        let length = u64::from_be_bytes(*opened.take(size_of::<u64>())?.first_chunk()?);
        let head = Head { object, length, version: opened.version, expires_ms: opened.expires_ms };
        opened.value().is_empty().then_some(Self::Head(head))
    }

    /// When it expires, in milliseconds since 1970, if it does.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        match self {
            Self::Whole(opened) => opened.expires_ms,
            Self::Head(head) => head.expires_ms,
        }
    }

    /// Whether that has come at `now_ms`. At the millisecond itself it has.
    pub(crate) fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_ms().is_some_and(|expires_ms| expires_ms <= now_ms)
    }

    pub(crate) fn version(&self) -> Version {
        match self {
            Self::Whole(opened) => opened.version,
            Self::Head(head) => head.version,
        }
    }
}

impl Opened {
    /// Reads the inner header of an envelope that has been decrypted in place, up to what differs between values and
    /// heads. With its flags.
    fn parse(bytes: Vec<u8>, written: Version) -> Option<(Self, u8)> {
        let value = CIPHERTEXT_AT..bytes.len() - TAG_LEN;
        // Owned from here on, so that every way out wipes it.
        let mut opened = Self { bytes, value, version: written, expires_ms: None };
        let flags = *opened.take(1)?.first()?;
        if flags & !(HAS_VERSION | HAS_EXPIRY | IS_HEAD) != 0 {
            return None;
        }
        if flags & HAS_VERSION != 0 {
            opened.version = Version(*opened.take(NONCE_LEN)?.first_chunk()?);
        }
        if flags & HAS_EXPIRY != 0 {
            opened.expires_ms = Some(u64::from_be_bytes(*opened.take(size_of::<u64>())?.first_chunk()?));
        }
        Some((opened, flags))
    }

    /// The record of a head whose value is still to come, with room for `length` bytes of it: more would move it and
    /// leave a copy.
    pub(crate) fn with_room(head: &Head, length: usize) -> Self {
        let Head { version, expires_ms, .. } = *head;
        Self { bytes: Vec::with_capacity(length), value: 0..0, version, expires_ms }
    }

    /// A value that its writer reads before it has been sealed, as it will then be read.
    pub(crate) fn unwritten(value: &[u8], version: Version, expires_ms: Option<u64>) -> Self {
        Self { bytes: value.to_vec(), value: 0..value.len(), version, expires_ms }
    }

    /// Puts the value of another record behind this one's. For what [`with_room`](Self::with_room) made.
    pub(crate) fn append(&mut self, part: &Self) {
        self.bytes.extend_from_slice(part.value());
        self.value.end = self.bytes.len();
    }

    /// Takes the next bytes of the plaintext for the inner header; what is left is the value.
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let start = self.value.start;
        self.value.start = start.checked_add(count).filter(|&end| end <= self.value.end)?;
        self.bytes.get(start..self.value.start)
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.bytes[self.value.clone()]
    }

    /// The value alone, in the buffer that it was decrypted in. Its new owner is not bound to wipe it.
    pub(crate) fn into_value(mut self) -> Vec<u8> {
        let (mut bytes, value) = (std::mem::take(&mut self.bytes), self.value.clone());
        bytes.truncate(value.end);
        bytes.drain(..value.start);
        bytes
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// When it expires, in milliseconds since 1970, if it does.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        self.expires_ms
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

fn aad(incarnation: Incarnation, header: &[u8], place: Place<'_>) -> Context {
    Context::new("strongroom/v1/record-aad")
        .bytes(header)
        .bytes(incarnation.as_bytes())
        .u32(place.collection)
        .bytes(place.engine_key)
}

/// The event says why; the caller hears `Tampered` and no more.
fn refuse(why: &'static str) -> Error {
    tracing::warn!(why, "a record does not authenticate");
    metrics::counter!("strongroom_tampered_total", "why" => why).increment(1);
    Error::tampered()
}

#[cfg(test)]
pub(super) fn seal_for_tests(
    ring: &Ring,
    generation: u32,
    place: Place<'_>,
    nonce: &[u8; 24],
    plaintext: &[u8],
) -> Vec<u8> {
    use crate::engine::Opaque;
    seal_plaintext(ring, generation, place, nonce, &[plaintext]).expect("a living generation").into_bytes()
}
