//! Documents one after the other, each behind its length: what escrows and manifests are made of. Read only after
//! the whole has been authenticated.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::metadata;

/// Adds `u32 length || document`.
pub(super) fn push<T: Serialize>(out: &mut Vec<u8>, document: &T) -> Result<()> {
    let bytes = Zeroizing::new(metadata::encode(document)?);
    let length = u32::try_from(bytes.len()).map_err(|_| Error::internal("a document is longer than its limit"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes);
    Ok(())
}

/// A strict reader of documents.
pub(super) struct Frames<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Frames<'a> {
    /// `what`: a sentence for the error if the bytes are not what they should be.
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<T> {
        let corrupt = || Error::corrupt(self.what);
        let (length, rest) = self.rest.split_first_chunk().ok_or_else(corrupt)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| corrupt())?;
        let (document, rest) = rest.split_at_checked(length).ok_or_else(corrupt)?;
        self.rest = rest;
        metadata::decode(document).map_err(|error| corrupt().with_source(error))
    }

    /// `count` documents. No memory is taken for more than the bytes can hold.
    pub(super) fn list<T: DeserializeOwned>(&mut self, count: u32) -> Result<Vec<T>> {
        (0..count).map(|_| self.next()).collect()
    }

    pub(super) fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::corrupt(self.what)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_back_in_order_and_nothing_cut_or_added_is_read() {
        let mut bytes = Vec::new();
        (0..3u64).for_each(|number| push(&mut bytes, &number).unwrap());
        let read = |bytes: &[u8]| -> Result<Vec<u64>> {
            let mut frames = Frames::new(bytes, "no list");
            let list = frames.list(3)?;
            frames.finish().map(|()| list)
        };
        assert_eq!(read(&bytes).unwrap(), [0, 1, 2]);
        assert!((0..bytes.len()).all(|cut| read(&bytes[..cut]).is_err()));
        assert!(read(&[&bytes[..], &[0]].concat()).is_err());
        assert!(Frames::new(&bytes, "no list").list::<u64>(u32::MAX).is_err(), "a count that lies");
    }
}
