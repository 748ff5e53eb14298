//! The ring file of a cell: two fixed slots for each box, written in place, outside the LSM tree, because bytes that
//! are deleted from an LSM tree live on in old tables, logs and backups.
//!
//! A header page, all A slots, all B slots, each 8,192 bytes and so aligned. What a slot means is known above.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};

use crate::engine::Opaque;
use crate::error::{Error, Result};
use crate::name::RegionName;

/// Bytes of a slot, and of the header page.
pub(crate) const SLOT_LEN: usize = 8192;
/// Boxes that a cell may have: what four digits name.
pub(crate) const BOXES_MAX: u32 = 4096;

const MAGIC: &[u8; 16] = b"strongroom rings";
const FORMAT: u8 = 1;
/// One byte of length, then the region's name; zeros for none.
const REGION_AT: usize = 21;
const CHECKSUM_AT: usize = SLOT_LEN - 32;

/// Which of a box's two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

pub(crate) struct RingFile {
    backing: Backing,
    boxes: u32,
    region: Option<RegionName>,
}

enum Backing {
    Disk(File),
    Memory(RwLock<Vec<u8>>),
}

impl RingFile {
    /// Makes the whole file, zeros included, and syncs it. The caller syncs its folder.
    pub(crate) fn create(path: &Path, boxes: u32, region: Option<&RegionName>) -> Result<()> {
        let failed = |error| Error::io("a ring file cannot be made", error);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all_at(&header(boxes, region), 0).map_err(failed)?;
        // In pieces that are neither many nor large.
        let slots = boxes as usize * 2;
        let empty = vec![0; SLOT_LEN * slots.min(128)];
        for first in (0..slots).step_by(128) {
            let piece = &empty[..SLOT_LEN * (slots - first).min(128)];
            file.write_all_at(piece, ((1 + first) * SLOT_LEN) as u64).map_err(failed)?;
        }
        file.sync_all().map_err(failed)
    }

    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("a ring file cannot be opened", error);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut page = [0; SLOT_LEN];
        file.read_exact_at(&mut page, 0).map_err(|_| damaged())?;
        let (boxes, region) = parse_header(&page)?;
        if length != (1 + u64::from(boxes) * 2) * SLOT_LEN as u64 {
            return Err(damaged());
        }
        Ok(Self { backing: Backing::Disk(file), boxes, region })
    }

    pub(crate) fn in_memory(boxes: u32) -> Self {
        let bytes = vec![0; (1 + boxes as usize * 2) * SLOT_LEN];
        Self { backing: Backing::Memory(RwLock::new(bytes)), boxes, region: None }
    }

    pub(crate) fn boxes(&self) -> u32 {
        self.boxes
    }

    /// The region that the cell was made for.
    pub(crate) fn region(&self) -> Option<&RegionName> {
        self.region.as_ref()
    }

    pub(crate) fn read(&self, number: u32, side: Side) -> Result<Box<[u8; SLOT_LEN]>> {
        let offset = self.offset(number, side)?;
        let mut slot = Box::new([0; SLOT_LEN]);
        self.read_at(offset, &mut *slot)?;
        Ok(slot)
    }

    /// Writes one slot in place, syncs it, and reads it back.
    pub(crate) fn write(&self, number: u32, side: Side, slot: impl Opaque) -> Result<()> {
        self.write_all(side, [(number, slot)])
    }

    /// Writes slots in place, each run of neighbours at once, syncs them together, and reads them back.
    pub(crate) fn write_all<S: Opaque>(&self, side: Side, slots: impl IntoIterator<Item = (u32, S)>) -> Result<()> {
        let runs = self.runs(side, slots)?;
        match &self.backing {
            Backing::Disk(file) => runs
                .iter()
                .try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset as u64))
                .and_then(|()| file.sync_data())
                .map_err(|error| Error::io("a ring slot cannot be written", error))?,
            Backing::Memory(held) => {
                let mut held = held.write().unwrap_or_else(PoisonError::into_inner);
                runs.iter().for_each(|(offset, bytes)| held[*offset..*offset + bytes.len()].copy_from_slice(bytes));
            }
        }
        for (offset, written) in runs {
            let mut found = vec![0; written.len()];
            self.read_at(offset, &mut found)?;
            if found != written {
                return Err(Error::new(
                    crate::ErrorKind::Unavailable,
                    "the disk returned another ring slot than was written",
                ));
            }
        }
        Ok(())
    }

    /// Slots as the bytes that lie beside each other in the file, each with the offset where they begin.
    fn runs<S: Opaque>(&self, side: Side, slots: impl IntoIterator<Item = (u32, S)>) -> Result<Vec<(usize, Vec<u8>)>> {
        let mut runs: Vec<(usize, Vec<u8>)> = Vec::new();
        for (number, slot) in slots {
            let (offset, bytes) = (self.offset(number, side)?, slot.into_bytes());
            if bytes.len() != SLOT_LEN {
                return Err(Error::internal("a ring slot has another length"));
            }
            match runs.last_mut() {
                Some((start, run)) if *start + run.len() == offset => run.extend_from_slice(&bytes),
                _ => runs.push((offset, bytes)),
            }
        }
        Ok(runs)
    }

    fn read_at(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        match &self.backing {
            Backing::Disk(file) => file
                .read_exact_at(out, offset as u64)
                .map_err(|error| Error::io("a ring slot cannot be read", error))?,
            Backing::Memory(bytes) => {
                let bytes = bytes.read().unwrap_or_else(PoisonError::into_inner);
                out.copy_from_slice(&bytes[offset..offset + out.len()]);
            }
        }
        Ok(())
    }

    fn offset(&self, number: u32, side: Side) -> Result<usize> {
        if number >= self.boxes {
            return Err(Error::internal("no such box in this cell"));
        }
        let place = match side {
            Side::A => 1 + number,
            Side::B => 1 + self.boxes + number,
        };
        Ok(place as usize * SLOT_LEN)
    }
}

fn header(boxes: u32, region: Option<&RegionName>) -> [u8; SLOT_LEN] {
    let mut page = [0; SLOT_LEN];
    page[..16].copy_from_slice(MAGIC);
    page[16] = FORMAT;
    page[17..21].copy_from_slice(&boxes.to_be_bytes());
    if let Some(region) = region.map(RegionName::as_str) {
        page[REGION_AT] = u8::try_from(region.len()).expect("the name of a region has at most 32 bytes");
        page[REGION_AT + 1..][..region.len()].copy_from_slice(region.as_bytes());
    }
    let checksum = Sha256::digest(&page[..CHECKSUM_AT]);
    page[CHECKSUM_AT..].copy_from_slice(&checksum);
    page
}

/// The number of boxes and the region, if the page is to the byte what [`header`] writes for them.
fn parse_header(page: &[u8; SLOT_LEN]) -> Result<(u32, Option<RegionName>)> {
    let mut boxes = [0; 4];
    boxes.copy_from_slice(&page[17..21]);
    let boxes = u32::from_be_bytes(boxes);
    if page[..16] == MAGIC[..] && page[16] != FORMAT {
        return Err(Error::invalid("the ring file has a format that this release does not know"));
    }
    let region = match usize::from(page[REGION_AT]) {
        0 => None,
        length => {
            Some(page.get(REGION_AT + 1..REGION_AT + 1 + length).and_then(RegionName::parse).ok_or_else(damaged)?)
        }
    };
    if boxes == 0 || boxes > BOXES_MAX || header(boxes, region.as_ref()) != *page {
        return Err(damaged());
    }
    Ok((boxes, region))
}

fn damaged() -> Error {
    Error::corrupt("the ring file is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_header_is_refused() {
        for region in [None, Some(RegionName::new("eu-west-1").unwrap())] {
            let page = header(64, region.as_ref());
            assert_eq!(parse_header(&page).unwrap(), (64, region));
            for bit in 0..(SLOT_LEN * 8) {
                let mut page = page;
                page[bit / 8] ^= 1 << (bit % 8);
                assert!(parse_header(&page).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_header_with_a_checksum_that_fits_is_parsed_strictly() {
        let with = |at: usize, bytes: &[u8]| {
            let mut page = header(64, Some(&RegionName::new("eu").unwrap()));
            page[at..at + bytes.len()].copy_from_slice(bytes);
            let checksum = Sha256::digest(&page[..CHECKSUM_AT]);
            page[CHECKSUM_AT..].copy_from_slice(&checksum);
            parse_header(&page)
        };
        assert_eq!(with(22, b"us").unwrap().1.unwrap().as_str(), "us", "the control");
        let refused: [(usize, &[u8], &str); 8] = [
            (22, b"EU", "a name that is none"),
            (21, &[0], "a name without a length"),
            (21, &[1], "a byte behind the name"),
            (21, &[3], "a zero in the name"),
            (21, &[33; 35], "a name that is too long"),
            (21, &[255], "a length far too long"),
            (60, &[1], "something behind"),
            (17, &[0, 0, 0, 0], "no box"),
        ];
        for (at, bytes, what) in refused {
            assert!(with(at, bytes).is_err(), "{what}");
        }
    }

    #[test]
    fn a_ring_file_of_another_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rings");
        RingFile::create(&path, 2, None).unwrap();
        assert_eq!(RingFile::open(&path).unwrap().boxes(), 2);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(5 * SLOT_LEN as u64 - 1).unwrap();
        assert!(RingFile::open(&path).is_err());
    }

    #[test]
    fn a_box_beyond_the_last_has_no_slot() {
        let rings = RingFile::in_memory(2);
        for side in [Side::A, Side::B] {
            assert!(rings.read(1, side).is_ok());
            assert!(rings.read(2, side).is_err(), "not that of another box");
        }
    }

    struct Page(u8);

    impl Opaque for Page {
        fn into_bytes(self) -> Vec<u8> {
            vec![self.0; SLOT_LEN]
        }
    }

    #[test]
    fn slots_written_together_lie_where_each_alone_would() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rings");
        RingFile::create(&path, 200, None).unwrap();
        for rings in [RingFile::open(&path).unwrap(), RingFile::in_memory(200)] {
            let numbers: [u8; 8] = [0, 1, 2, 7, 9, 10, 199, 4];
            rings.write_all(Side::B, numbers.map(|number| (number.into(), Page(number + 1)))).unwrap();
            for number in 0..200 {
                let written = if numbers.contains(&number) { number + 1 } else { 0 };
                assert_eq!(*rings.read(number.into(), Side::B).unwrap(), [written; SLOT_LEN], "box {number}");
                assert_eq!(*rings.read(number.into(), Side::A).unwrap(), [0; SLOT_LEN], "box {number}");
            }
            assert!(rings.write_all(Side::A, [(0, Page(1)), (200, Page(1))]).is_err());
            assert_eq!(*rings.read(0, Side::A).unwrap(), [0; SLOT_LEN], "nothing of a list with a mistake");
        }
    }

    #[test]
    fn a_slot_that_comes_back_as_another_is_not_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rings");
        RingFile::create(&path, 1, None).unwrap();
        assert!(RingFile::open(&path).unwrap().write(0, Side::A, Page(1)).is_ok(), "the control");
        // A file that is open for appending puts every write at its end, wherever it was meant to go.
        let file = OpenOptions::new().read(true).append(true).open(&path).unwrap();
        let rings = RingFile { backing: Backing::Disk(file), boxes: 1, region: None };
        assert_eq!(rings.write(0, Side::B, Page(1)).unwrap_err().kind(), crate::ErrorKind::Unavailable);
    }
}
