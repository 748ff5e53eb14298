//! Scans: rows of a snapshot, page by page, each row opened and checked on its own.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use super::definition::KeyMode;
use super::key::{Components, Key};
use super::{Collection, chunks, engine_key};
use crate::access::Right;
use crate::engine::{Row, View, end_of_prefix};
use crate::error::{Error, Result};
use crate::keys::Ring;
use crate::seal::{self, HiddenNames, Opened, Place};

/// Bytes of rows that are read from the engine at once.
const PAGE_BYTES: usize = 128 << 10;

/// Rows of a collection, as `Result<(key, value)>`: an iterator that owns its snapshot, `Send` and `'static`.
///
/// A row that fails ends the scan. The session's deadline is checked at every row, and so is whether the record has
/// expired: what expires while a scan is under way is not among its rows any more. Drop a scan that is not read to its
/// end: its snapshot keeps the engine from letting go of older rows.
pub struct Scan<K, V> {
    /// `None` once the scan has ended: a snapshot keeps a cell from letting go of older rows.
    view: Option<Box<dyn View>>,
    collection: Collection<K, V>,
    /// The beginning of every engine key of the collection, or of the prefix.
    prefix: Vec<u8>,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    rows: VecDeque<Row>,
    more: bool,
}

/// Rows that were read together, and the scan that goes on behind them.
#[cfg(feature = "tokio")]
pub(crate) struct Rows<K: Key, V> {
    pub(crate) rows: VecDeque<Result<(K::Owned, V)>>,
    pub(crate) rest: Option<Scan<K, V>>,
}

/// What a row counts besides its value.
#[cfg(feature = "tokio")]
const ROW_BYTES: usize = 64;

impl<K: Key, V> Scan<K, V> {
    pub(super) fn of_prefix(collection: &Collection<K, V>, prefix: &Components) -> Result<Self> {
        collection.authority.check(Right::Read)?;
        collection.info.check_not_dropped()?;
        if prefix.is_partial() && collection.info.shape.mode == KeyMode::Hidden {
            return Err(Error::invalid("a prefix in a hidden collection ends with a separator"));
        }
        let ring = collection.authority.tenant().ring()?;
        let prefix = engine_key::<K>(&ring, &collection.info, prefix)?;
        let (from, to) = (prefix.clone(), end_of_prefix(&prefix));
        Self::new(collection, prefix, from, to)
    }

    pub(super) fn of_range<'r>(collection: &Collection<K, V>, range: &impl RangeBounds<K::Ref<'r>>) -> Result<Self> {
        collection.authority.check(Right::Read)?;
        collection.info.check_not_dropped()?;
        if collection.info.shape.mode == KeyMode::Hidden {
            return Err(Error::invalid("hidden record keys have no order; ranges need an ordered collection"));
        }
        let ring = collection.authority.tenant().ring()?;
        let bound = |key: &K::Ref<'_>, after: bool| {
            let components = Components::of::<K>(key, collection.definition.separator)?;
            let mut bound = engine_key::<K>(&ring, &collection.info, &components)?;
            if after {
                bound.push(0);
            }
            Ok::<_, Error>(bound)
        };
        let prefix = collection.info.id.to_be_bytes().to_vec();
        let from = match range.start_bound() {
            Bound::Included(key) => bound(key, false)?,
            Bound::Excluded(key) => bound(key, true)?,
            Bound::Unbounded => prefix.clone(),
        };
        let to = match range.end_bound() {
            Bound::Included(key) => Some(bound(key, true)?),
            Bound::Excluded(key) => Some(bound(key, false)?),
            Bound::Unbounded => end_of_prefix(&prefix),
        };
        Self::new(collection, prefix, from, to)
    }

    fn new(collection: &Collection<K, V>, prefix: Vec<u8>, from: Vec<u8>, to: Option<Vec<u8>>) -> Result<Self> {
        let view = Some(collection.authority.tenant().view()?);
        let rows = VecDeque::new();
        Ok(Self { collection: collection.clone(), view, prefix, from, to, rows, more: true })
    }

    /// The next page, and the scan unless that was the last.
    #[cfg(feature = "tokio")]
    pub(crate) fn next_page(mut self) -> Rows<K, V> {
        let (mut rows, mut held) = (VecDeque::new(), 0);
        while held < PAGE_BYTES {
            let Some(opened) = self.next_opened() else { return Rows { rows, rest: None } };
            held += ROW_BYTES + opened.as_ref().map_or(0, |(_, opened)| opened.value().len());
            let row = self.decode(opened);
            let is_last = row.is_err();
            rows.push_back(row);
            if is_last {
                return Rows { rows, rest: None };
            }
        }
        Rows { rows, rest: Some(self) }
    }

    /// How many records the next page has, all of them opened, and the scan unless that was the last.
    #[cfg(feature = "tokio")]
    pub(crate) fn count_page(mut self) -> Result<(u64, Option<Self>)> {
        let (mut count, mut held) = (0, 0);
        while held < PAGE_BYTES {
            let Some(opened) = self.next_opened() else { return Ok((count, None)) };
            held += ROW_BYTES + opened?.1.value().len();
            count += 1;
        }
        Ok((count, Some(self)))
    }

    fn decode(&mut self, opened: Result<(Components, Opened)>) -> Result<(K::Owned, V)> {
        let decoded = opened.and_then(|(components, opened)| {
            let key = K::join(&components).ok_or_else(Error::tampered)?;
            Ok((key, self.collection.decode(opened)?))
        });
        decoded.map_err(|error| self.end(error))
    }

    /// The next row, opened and not yet decoded, with its components.
    pub(super) fn next_opened(&mut self) -> Option<Result<(Components, Opened)>> {
        loop {
            let row = match self.next_row() {
                Ok(row) => row?,
                Err(error) => return Some(Err(self.end(error))),
            };
            if let Some(opened) = self.open(row).transpose() {
                return Some(opened.map_err(|error| self.end(error)));
            }
        }
    }

    fn next_row(&mut self) -> Result<Option<Row>> {
        if self.rows.is_empty() && !self.more {
            self.view = None;
            return Ok(None);
        }
        self.collection.authority.check(Right::Read)?;
        self.collection.info.check_not_dropped()?;
        if let (true, Some(view)) = (self.rows.is_empty(), &self.view) {
            let keyspace = self.collection.authority.tenant().keyspace();
            let page = view.page(keyspace, &self.from, self.to.as_deref(), PAGE_BYTES)?;
            if let Some((last, _)) = page.rows.last() {
                self.from = [last.as_slice(), &[0]].concat();
            }
            self.more = page.more;
            self.rows = page.rows.into();
        }
        Ok(self.rows.pop_front())
    }

    /// The record of a row, unless it has expired.
    fn open(&self, (found_key, bytes): Row) -> Result<Option<(Components, Opened)>> {
        if !found_key.starts_with(&self.prefix) {
            return Err(Error::tampered());
        }
        let ring = self.collection.authority.tenant().ring()?;
        let info = &self.collection.info;
        let record = seal::open_record(&ring, Place { collection: info.id, engine_key: &found_key }, bytes)?;
        let Some(record) = self.collection.authority.unexpired(record) else { return Ok(None) };
        let view = self.view.as_deref().ok_or_else(|| Error::internal("a row of a scan that has ended"))?;
        let opened = chunks::read(&self.collection.authority, &ring, view, info.id, record)?;
        Ok(Some((self.components(&ring, &found_key)?, opened)))
    }

    /// The components of an engine key, which is the one that they encode to.
    fn components(&self, ring: &Ring, found_key: &[u8]) -> Result<Components> {
        let info = &self.collection.info;
        match info.shape.mode {
            // Nothing but what these components encode to decodes.
            KeyMode::Hidden => Ok(Components::from_parts(&HiddenNames::new(ring, info.id)?.decode(found_key)?)),
            KeyMode::Ordered => {
                let key = &found_key[info.id.to_be_bytes().len()..];
                K::from_ordered(key, self.collection.definition.separator)
                    .filter(|components| K::ordered(components) == *key)
                    .ok_or_else(Error::tampered)
            }
        }
    }

    /// No row follows a failure.
    fn end(&mut self, error: Error) -> Error {
        self.rows.clear();
        self.more = false;
        self.view = None;
        error
    }
}

impl<K: Key, V> Iterator for Scan<K, V> {
    type Item = Result<(K::Owned, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        let opened = self.next_opened()?;
        Some(self.decode(opened))
    }
}

impl<K: Key, V> std::iter::FusedIterator for Scan<K, V> {}

impl<K, V> std::fmt::Debug for Scan<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("collection", &self.collection).finish_non_exhaustive()
    }
}
