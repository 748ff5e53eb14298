//! What fuzzing reaches that no public door leads to. Each function takes bytes as an attacker would send them, and
//! panics if its invariant does not hold. Compiled under `cfg(fuzzing)` only, which `cargo fuzz` sets.

use std::sync::LazyLock;

use crate::context::Context;
use crate::directory::Row;
use crate::engine::Opaque;
use crate::error::ErrorKind;
use crate::keys::{self, Ring};
use crate::metadata;
use crate::name::Incarnation;
use crate::seal::{self, Place};

/// Generations 2 and 5 live; 1, 3 and 4 have been retired.
static RING: LazyLock<Ring> =
    LazyLock::new(|| Ring::for_tests(Incarnation::new([1; 16]), [2; 32], &[(2, [3; 32]), (5, [4; 32])]));

const PLACE: Place<'_> = Place { collection: 256, engine_key: b"\0\0\x01\0\0\x02no" };
const ELSEWHERE: [Place<'_>; 2] =
    [Place { collection: 257, ..PLACE }, Place { engine_key: b"\0\0\x01\0\0\x02nO", ..PLACE }];

/// A sealed value opens as itself, at its own place only. An envelope that was edited in any way does not open, and
/// neither do bytes that nobody sealed.
///
/// `length u8 || value || edits`, see [`edited`].
pub fn envelope(data: &[u8]) {
    let (value, edits) = take_part(data);
    let sealed = seal::seal(&RING, PLACE, &[9; 24], value).expect("a living generation").into_bytes();
    assert_eq!(seal::open(&RING, PLACE, &sealed).expect("unchanged").value(), value);
    for place in ELSEWHERE {
        assert_eq!(refusal(place, &sealed), Some(ErrorKind::Tampered));
    }
    let edited = edited(&sealed, edits);
    match refusal(PLACE, &edited) {
        None => assert_eq!(edited, sealed, "a changed envelope opened"),
        Some(ErrorKind::KeyDestroyed) => assert!(matches!(edited[2..6], [0, 0, 0, 1 | 3 | 4])),
        Some(kind) => assert_eq!(kind, ErrorKind::Tampered),
    }
    assert_ne!(refusal(PLACE, data), None, "bytes that nobody sealed opened");
}

fn refusal(place: Place<'_>, bytes: &[u8]) -> Option<ErrorKind> {
    seal::open(&RING, place, bytes).err().map(|error| error.kind())
}

/// Two tuples of parts encode alike if and only if they are the same tuple, and a plain decoder reads back the parts.
///
/// `cuts u8-length || bytes`: the same bytes, cut in two ways, and one tuple more without its last part.
pub fn context(data: &[u8]) {
    let (cuts, bytes) = take_part(data);
    let (one, other) = cuts.split_at(cuts.len() / 2);
    let tuples =
        [cut(bytes, one), cut(bytes, other), cut(bytes, one).split_last().map_or(vec![], |(_, rest)| rest.to_vec())];
    let encode = |parts: &[&[u8]]| parts.iter().fold(Context::new("fuzz"), |context, part| context.bytes(part));
    for left in &tuples {
        for right in &tuples {
            assert_eq!(left == right, encode(left) == encode(right));
        }
        let encoded = encode(left);
        let mut parts = parts_of(encoded.as_slice());
        assert_eq!(parts.remove(0), b"fuzz");
        assert_eq!(parts, *left);
        let list = Context::new("fuzz").list(left.iter().copied());
        assert_eq!(parts_of(parts_of(list.as_slice())[1]), *left, "a list is one part");
    }
}

fn cut<'a>(mut bytes: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    for &length in lengths {
        let (part, rest) = bytes.split_at(usize::from(length).min(bytes.len()));
        parts.push(part);
        bytes = rest;
    }
    parts.push(bytes);
    parts
}

/// A second reading of `lp(x) = u32 length || x`.
fn parts_of(mut encoded: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = encoded.split_first_chunk() {
        let (part, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        parts.push(part);
        encoded = rest;
    }
    assert!(encoded.is_empty());
    parts
}

/// What is read as a slot, a policy or a keyset is written again as the very same bytes; what was written is read
/// again as the same; a slot that was edited in any way does not open under what the directory believes, though its
/// checksum be right and its root answer.
pub fn ring(data: &[u8]) {
    keys::fuzz::parse(data);
    keys::fuzz::build(data);
    keys::fuzz::open(data);
}

/// What is read as a row is written again as the very same bytes: there is one encoding of each row.
pub fn directory_row(data: &[u8]) {
    if let Ok(row) = metadata::decode::<Row>(data) {
        assert_eq!(metadata::encode(&row).expect("it was read within the limit"), data);
        assert_eq!(row.belief().incarnation, row.incarnation);
    }
}

/// `length u8 || part || rest`, shorter if the bytes end before that.
pub(crate) fn take_part(data: &[u8]) -> (&[u8], &[u8]) {
    match data.split_first() {
        Some((&length, rest)) => rest.split_at(usize::from(length).min(rest.len())),
        None => (&[], &[]),
    }
}

/// `original` after a series of edits, three bytes each: a place, and what to xor there. Zero cuts the bytes off at
/// the place; a place behind the end appends.
pub(crate) fn edited(original: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for &[high, low, change] in edits.as_chunks().0 {
        let place = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
        match (bytes.get_mut(place), change) {
            (_, 0) => bytes.truncate(place),
            (Some(byte), change) => *byte ^= change,
            (None, change) => bytes.push(change),
        }
    }
    bytes
}

/// What is read as a leaf of an audit trail is written again as the very same bytes, and its line of JSON says the same.
pub fn audit_event(data: &[u8]) {
    crate::audit::fuzz::event(data);
}

/// What is read as a checkpoint is one, unsigned or not, and no note that was edited is signed.
pub fn audit_checkpoint(data: &[u8]) {
    crate::audit::fuzz::checkpoint(data);
}

/// An exported trail verifies only as it was written, and nothing that nobody exported verifies with a key.
pub fn audit_export(data: &[u8]) {
    crate::audit::fuzz::export(data);
}
