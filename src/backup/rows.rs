//! Rows in files, as they were stored: sealed values under engine keys. `01 || (u32 length || key || u32 length ||
//! value) ..`, ascending.
//!
//! A file ends where a row's key says so, and not after so many bytes: a row that is added moves no boundary but its
//! own, and the files around it are the same as in the backup before.

use super::manifest::{File, Part};
use super::repository::{Incoming, Repository, Stored, Writer};
use crate::engine::{Row, View};
use crate::error::{Error, Result};

const FORMAT: u8 = 1;
/// A file ends after a row whose key's checksum ends in so many zero bits, if it is long enough.
const BOUNDARY_BITS: u32 = 7;
const FILE_MIN_LEN: u64 = 1 << 20;
const FILE_MAX_LEN: u64 = 64 << 20;
/// No key and no sealed value of a store is longer.
const KEY_MAX_LEN: usize = 64 << 10;
const VALUE_MAX_LEN: usize = 64 << 20;
const PAGE_BYTES: usize = 1 << 20;

/// Writes rows into files of a repository.
pub(super) struct RowFiles<'w> {
    writer: &'w Writer<'w>,
    part: Part,
    file: Option<(Incoming<'w>, u64)>,
    pub(super) written: Vec<(File, bool)>,
}

impl<'w> RowFiles<'w> {
    pub(super) fn new(writer: &'w Writer<'w>, part: Part) -> Self {
        Self { writer, part, file: None, written: Vec::new() }
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (mut file, mut length) = match self.file.take() {
            Some(open) => open,
            None => {
                let mut file = self.writer.begin()?;
                file.write(&[FORMAT])?;
                (file, 1)
            }
        };
        for part in [key, value] {
            let count = u32::try_from(part.len()).map_err(|_| Error::internal("a row is longer than any"))?;
            file.write(&count.to_be_bytes())?;
            file.write(part)?;
            length += 4 + part.len() as u64;
        }
        let is_boundary = crc32c::crc32c(key).trailing_zeros() >= BOUNDARY_BITS && length >= FILE_MIN_LEN;
        self.file = Some((file, length));
        if is_boundary || length >= FILE_MAX_LEN { self.close() } else { Ok(()) }
    }

    /// Every row of a keyspace in `from..to`.
    pub(super) fn push_range(&mut self, view: &dyn View, keyspace: u32, from: &[u8], to: Option<&[u8]>) -> Result<()> {
        let mut from = from.to_vec();
        loop {
            let page = view.page(keyspace, &from, to, PAGE_BYTES)?;
            page.rows.iter().try_for_each(|(key, value)| self.push(key, value))?;
            match page.rows.last() {
                Some((last, _)) if page.more => from = [last.as_slice(), &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }

    pub(super) fn close(&mut self) -> Result<()> {
        if let Some((file, _)) = self.file.take() {
            let Stored { sum, length, is_new } = file.finish()?;
            self.written.push((File { part: self.part, name: String::new(), length, sum, mark: None }, is_new));
        }
        Ok(())
    }
}

/// Hands every row of one file to `each`, after the whole file has been compared with the manifest.
pub(super) fn read_file(
    repository: &Repository,
    file: &File,
    mut each: impl FnMut(Vec<u8>, Vec<u8>) -> Result<()>,
) -> Result<()> {
    let corrupt = || Error::corrupt("a file of rows in the backup cannot be read");
    if file.length > FILE_MAX_LEN + (KEY_MAX_LEN + VALUE_MAX_LEN) as u64 {
        return Err(corrupt());
    }
    let mut bytes = Vec::new();
    repository.fetch(file, |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })?;
    let Some((&FORMAT, mut rest)) = bytes.split_first() else { return Err(corrupt()) };
    while !rest.is_empty() {
        let (key, after) = take(rest, KEY_MAX_LEN).ok_or_else(corrupt)?;
        let (value, after) = take(after, VALUE_MAX_LEN).ok_or_else(corrupt)?;
        each(key.to_vec(), value.to_vec())?;
        rest = after;
    }
    Ok(())
}

/// The rows of a part of a backup, in order.
pub(super) fn read_part<'f>(
    repository: &Repository,
    files: impl Iterator<Item = &'f File>,
    mut each: impl FnMut(Vec<u8>, Vec<u8>) -> Result<()>,
) -> Result<()> {
    for file in files {
        read_file(repository, file, &mut each)?;
    }
    Ok(())
}

/// Rows of a page and the key to go on from.
pub(super) fn pages(view: &dyn View, keyspace: u32, mut each: impl FnMut(Row) -> Result<()>) -> Result<()> {
    let mut from = Vec::new();
    loop {
        let page = view.page(keyspace, &from, None, PAGE_BYTES)?;
        let last = page.rows.last().map(|(key, _)| key.clone());
        page.rows.into_iter().try_for_each(&mut each)?;
        match last {
            Some(last) if page.more => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

fn take(bytes: &[u8], limit: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if length <= limit { rest.split_at_checked(length) } else { None }
}
