//! Reading what is laid out by hand, strictly: a field is there whole, or nothing is read.

use crate::kms::RootId;

/// A strict reader of big-endian fields.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn u8_bytes(&mut self, limit: usize) -> Option<&'a [u8]> {
        let length = usize::from(self.u8()?);
        (length <= limit).then(|| self.take(length))?
    }

    pub(super) fn u16_bytes(&mut self, limit: usize) -> Option<&'a [u8]> {
        let length = usize::from(self.array().map(u16::from_be_bytes)?);
        (length <= limit).then(|| self.take(length))?
    }

    pub(super) fn root_id(&mut self) -> Option<RootId> {
        RootId::new(std::str::from_utf8(self.u8_bytes(64)?).ok()?).ok()
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
