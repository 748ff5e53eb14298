//! RocksDB's log format, which the WAL and the MANIFEST share, read so that damage is found and looked behind.
//!
//! RocksDB's own reader stops at damage. This one reports it and goes on: byte by byte through the rest of the
//! damaged block, then at the next block, because whether anything intact *follows* is what tells a torn tail from
//! a hole. Format: `db/log_format.h` of RocksDB 11.8; a file is blocks of 32 KiB, a record is one fragment or several,
//! no fragment crosses a block.

use std::io::{ErrorKind, Read};
use std::ops::Range;

use crate::error::{Error, Result};

/// Reads one log file. Holds one block and the first bytes of one record, whatever the file says its lengths are.
pub(super) struct LogReader<R> {
    source: R,
    /// The low half of the file's number: recyclable fragments carry it, so that those of an earlier use of the file
    /// are not taken for this one's.
    number: u32,
    block: Vec<u8>,
    block_start: u64,
    pos: usize,
    record: Partial,
    /// RocksDB's reader has returned a record of this file, respectively met a recyclable header.
    returned: bool,
    recycled: bool,
}

/// What [`LogReader::next_item`] met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// An intact record: all its fragments are there and match their checksums.
    Record(Record<'a>),
    /// An intact record about the file itself, which RocksDB reads and which holds no write.
    Note,
    /// An intact fragment of a record whose beginning is not there.
    Orphan,
    /// Zeros from where a record should begin to the end of the block. RocksDB skips them without a word.
    Zeros,
    /// Bytes that are no intact record.
    Flaw(Flaw),
    /// An intact record of a kind that this crate's settings never write, such as compressed WAL.
    Alien,
    End,
}

/// The part of a record that is kept: enough for a batch's sequence number or an edit's leading fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) head: &'a [u8],
    /// Where the record ends in the file.
    pub(super) end: u64,
}

/// How a place is damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The header says that its record ends here, before the block does: fragments in later blocks are not of the
    /// same record. A write that was cut cannot look so, since a fragment that continues fills its block.
    pub(super) closed: bool,
    /// RocksDB 11.8 never returns from here: its reader meets a recyclable header in a file that began without, and
    /// reads it again and again.
    pub(super) hangs: bool,
}

/// The record being put together.
#[derive(Default)]
struct Partial {
    open: bool,
    head: Vec<u8>,
}

struct Fragment {
    kind: Kind,
    payload: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    First,
    Middle,
    Last,
    Note,
    Alien,
}

struct Header {
    checksum: u32,
    length: usize,
    kind: u8,
}

impl<R: Read> LogReader<R> {
    pub(super) fn new(source: R, number: u64) -> Self {
        Self {
            source,
            number: u32::try_from(number & u64::from(u32::MAX)).expect("masked to 32 bits"),
            block: Vec::with_capacity(BLOCK_LEN),
            block_start: 0,
            pos: 0,
            record: Partial::default(),
            returned: false,
            recycled: false,
        }
    }

    /// The next thing in the file. Damage is reported once for each place; [`Item::End`] is reported for ever.
    pub(super) fn next_item(&mut self) -> Result<Item<'_>> {
        loop {
            let Some(header) = Header::read(&self.block[self.pos..]) else {
                if let Some(item) = self.next_block()? {
                    return Ok(item);
                }
                continue;
            };
            if self.would_hang(&header) {
                return Ok(self.damaged(Flaw { closed: false, hangs: true }));
            }
            self.recycled |= header.recyclable();
            if header.is_zero() {
                return Ok(self.zeros());
            }
            let Some(fragment) = self.intact(self.pos) else {
                let closed = header.closes() && self.pos + header.extent() < BLOCK_LEN;
                return Ok(self.damaged(Flaw { closed, hangs: false }));
            };
            if self.record.open && fragment.kind.begins() {
                return Ok(self.unfinished());
            }
            let complete = self.take(&fragment);
            if let Some(outcome) = complete {
                return Ok(self.item(outcome));
            }
        }
    }

    /// Leaves the block, whose rest is too short for a header. RocksDB does not look at that rest when the block is
    /// full (the writer pads it), and calls it a cut header when the file ends in it.
    fn next_block(&mut self) -> Result<Option<Item<'static>>> {
        let full = self.block.len() == BLOCK_LEN;
        let cut = !full && self.pos < self.block.len();
        self.pos = self.block.len();
        if cut {
            return Ok(Some(self.damaged(Flaw::default())));
        }
        if (full || self.block_start == 0 && self.block.is_empty()) && self.fill()? > 0 {
            return Ok(None);
        }
        Ok(Some(if self.record.open { self.unfinished() } else { Item::End }))
    }

    /// Reads the next block over the old one. At the end of the file none is left.
    fn fill(&mut self) -> Result<usize> {
        self.block_start += self.block.len() as u64;
        self.pos = 0;
        self.block.resize(BLOCK_LEN, 0);
        let mut len = 0;
        while len < BLOCK_LEN {
            match self.source.read(&mut self.block[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("a log of the database cannot be read", error)),
            }
        }
        self.block.truncate(len);
        Ok(len)
    }

    fn would_hang(&self, header: &Header) -> bool {
        header.recyclable() && self.returned && !self.recycled
    }

    /// The rest of the block is dropped by RocksDB. If it is not all zeros something was there, and is looked for.
    fn zeros(&mut self) -> Item<'static> {
        if self.block[self.pos..].iter().any(|&byte| byte != 0) {
            return self.damaged(Flaw::default());
        }
        if self.record.open {
            return self.unfinished();
        }
        self.pos = self.block.len();
        Item::Zeros
    }

    /// Gives the record up that was being put together and moves on to the next intact fragment of this block.
    fn damaged(&mut self, flaw: Flaw) -> Item<'static> {
        self.record.open = false;
        let found = (self.pos + 1..self.block.len()).find(|&at| self.worth_a_look(at) && self.intact(at).is_some());
        self.pos = found.unwrap_or(self.block.len());
        Item::Flaw(flaw)
    }

    /// Whether the bytes at `at` have the type of a record that holds data. It saves nearly all checksums.
    fn worth_a_look(&self, at: usize) -> bool {
        matches!(self.block.get(at + HEADER_LEN - 1), Some(1..=8))
    }

    /// The record that was being put together has no end; what stands in its place is still to be read.
    fn unfinished(&mut self) -> Item<'static> {
        self.record.open = false;
        Item::Flaw(Flaw::default())
    }

    /// The fragment at `at`, if its checksum matches.
    fn intact(&self, at: usize) -> Option<Fragment> {
        let header = Header::read(&self.block[at..])?;
        let kind = header.kind()?;
        let bytes = self.block.get(at..at + header.extent())?;
        if header.recyclable() && bytes.get(HEADER_LEN..RECYCLABLE_HEADER_LEN)? != self.number.to_le_bytes() {
            return None;
        }
        let checksum = crc32c::crc32c(&bytes[HEADER_LEN - 1..]);
        let payload = at + header.len()..at + header.extent();
        (checksum == unmask(header.checksum)).then_some(Fragment { kind, payload })
    }

    /// Adds a fragment to the record, and says when there is something to report.
    fn take(&mut self, fragment: &Fragment) -> Option<Outcome> {
        self.pos = fragment.payload.end;
        if matches!(fragment.kind, Kind::Full | Kind::First) {
            self.record = Partial { open: true, head: Vec::new() };
        }
        match fragment.kind {
            Kind::Note => return Some(Outcome::Note),
            Kind::Alien => return Some(Outcome::Alien),
            _ if !self.record.open => return Some(Outcome::Orphan),
            _ => {}
        }
        let room = HEAD_LEN - self.record.head.len();
        let payload = &self.block[fragment.payload.clone()];
        self.record.head.extend_from_slice(&payload[..payload.len().min(room)]);
        let ends = matches!(fragment.kind, Kind::Full | Kind::Last);
        self.record.open = !ends;
        self.returned |= ends;
        ends.then_some(Outcome::Record)
    }

    fn item(&self, outcome: Outcome) -> Item<'_> {
        match outcome {
            Outcome::Record => {
                Item::Record(Record { head: &self.record.head, end: self.block_start + self.pos as u64 })
            }
            Outcome::Note => Item::Note,
            Outcome::Orphan => Item::Orphan,
            Outcome::Alien => Item::Alien,
        }
    }
}

/// An [`Item`] that does not borrow yet.
enum Outcome {
    Record,
    Note,
    Orphan,
    Alien,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let &[c0, c1, c2, c3, l0, l1, kind] = bytes.first_chunk::<HEADER_LEN>()?;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        Some(Self { checksum: u32::from_le_bytes([c0, c1, c2, c3]), length, kind })
    }

    fn recyclable(&self) -> bool {
        matches!(self.kind, 5..=8 | 11 | 131)
    }

    fn len(&self) -> usize {
        if self.recyclable() { RECYCLABLE_HEADER_LEN } else { HEADER_LEN }
    }

    fn extent(&self) -> usize {
        self.len() + self.length
    }

    /// What RocksDB takes for untouched space, whatever the checksum says.
    fn is_zero(&self) -> bool {
        self.kind == 0 && self.length == 0
    }

    fn closes(&self) -> bool {
        matches!(self.kind(), Some(Kind::Full | Kind::Last))
    }

    fn kind(&self) -> Option<Kind> {
        Some(match self.kind {
            1 | 5 => Kind::Full,
            2 | 6 => Kind::First,
            3 | 7 => Kind::Middle,
            4 | 8 => Kind::Last,
            // Sizes of timestamps, the WAL before this one, and kinds from the future that are to be skipped.
            10 | 11 | 128..=255 => Kind::Note,
            // 9 says that the file is compressed; the others do not exist.
            9 | 12..=127 => Kind::Alien,
            0 => return None,
        })
    }
}

impl Kind {
    /// Whether this cannot stand inside a record.
    fn begins(self) -> bool {
        !matches!(self, Self::Middle | Self::Last)
    }
}

/// Undoes the masking that keeps a checksum of bytes that contain checksums from being a poor one.
fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(MASK_DELTA).rotate_left(15)
}

pub(super) const BLOCK_LEN: usize = 32 * 1024;
pub(super) const HEADER_LEN: usize = 7;
const RECYCLABLE_HEADER_LEN: usize = 11;
const HEAD_LEN: usize = 512;
const MASK_DELTA: u32 = 0xa282_ead8;
