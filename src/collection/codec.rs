//! How a value becomes bytes. Named in the definition of a collection and pinned in the catalog.

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error::{Error, Result};
use crate::seal::Opened;
use crate::secret::Plaintext;

/// The longest encoded value, in bytes: 16 MiB.
pub const VALUE_MAX_LEN: usize = 16 << 20;

/// The deepest nesting of a CBOR value.
const NESTING_MAX: usize = 200;

/// A codec for values of one type.
pub(crate) struct Codec<V> {
    pub(crate) id: CodecId,
    pub(crate) encode: fn(&V) -> Result<Plaintext>,
    pub(crate) decode: fn(Opened) -> Result<V>,
}

/// Which codec, as the catalog pins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum CodecId {
    Bytes,
    Cbor,
    Bincode,
}

impl<V: Serialize + DeserializeOwned> Codec<V> {
    pub(crate) const CBOR: Self = Self { id: CodecId::Cbor, encode: encode_cbor, decode: decode_cbor };
    pub(crate) const BINCODE: Self = Self { id: CodecId::Bincode, encode: encode_bincode, decode: decode_bincode };
}

impl Codec<Vec<u8>> {
    pub(crate) const BYTES: Self = Self {
        id: CodecId::Bytes,
        encode: |value| bounded(value.len()).map(|()| Plaintext::copy_of(value)),
        decode: |opened| Ok(opened.into_value()),
    };
}

impl<V> Clone for Codec<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Codec<V> {}

/// Writes no further than the limit, so that a value past it costs no memory past it.
struct Bounded(Plaintext);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > VALUE_MAX_LEN {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn encode_cbor<V: Serialize>(value: &V) -> Result<Plaintext> {
    let mut out = Bounded(Plaintext::default());
    ciborium::into_writer(value, &mut out).map_err(|_| unencodable())?;
    check_nesting(&out.0)?;
    Ok(out.0)
}

/// What could be written and not read again is refused when it is written. Every level takes a byte at least.
fn check_nesting(bytes: &[u8]) -> Result<()> {
    if bytes.len() <= NESTING_MAX {
        return Ok(());
    }
    let read = ciborium::de::from_reader_with_recursion_limit::<IgnoredAny, _>(bytes, NESTING_MAX);
    read.map(drop).map_err(|_| Error::invalid("the value is nested more than 200 levels deep"))
}

fn decode_cbor<V: DeserializeOwned>(opened: Opened) -> Result<V> {
    let mut bytes = opened.value();
    let value = ciborium::from_reader(&mut bytes).map_err(|_| undecodable())?;
    if bytes.is_empty() { Ok(value) } else { Err(undecodable()) }
}

fn encode_bincode<V: Serialize>(value: &V) -> Result<Plaintext> {
    let mut out = Bounded(Plaintext::default());
    bincode::serde::encode_into_std_write(value, &mut out, bincode::config::legacy()).map_err(|_| unencodable())?;
    Ok(out.0)
}

fn decode_bincode<V: DeserializeOwned>(opened: Opened) -> Result<V> {
    let bytes = opened.value();
    let config = bincode::config::legacy().with_limit::<VALUE_MAX_LEN>();
    let (value, read) = bincode::serde::decode_from_slice(bytes, config).map_err(|_| undecodable())?;
    if read == bytes.len() { Ok(value) } else { Err(undecodable()) }
}

fn bounded(length: usize) -> Result<()> {
    if length <= VALUE_MAX_LEN { Ok(()) } else { Err(unencodable()) }
}

fn unencodable() -> Error {
    Error::invalid("the value cannot be encoded, or is longer than 16 MiB")
}

/// The record authenticated, so these are the bytes that were written; the type is what does not fit them.
fn undecodable() -> Error {
    Error::invalid(
        "the record is whole, and does not decode as this type: the definition of the collection has changed",
    )
}
