//! The check before every open: the WAL and the MANIFEST must be whole up to a torn tail.
//!
//! RocksDB's point-in-time recovery opens whatever a power cut leaves behind, which is why it is used. But it takes
//! damage in the *middle* of a WAL for the end as well: everything after it, synced and acknowledged, is dropped and
//! the open succeeds. The rule here is therefore: **a bad record is a torn tail if and only if no intact record
//! follows it, in its file or a later WAL; anything else is [`Corrupt`](crate::ErrorKind::Corrupt).**
//!
//! Three refinements, each for a state that a healthy store passes through:
//! - A record counts as intact when all its fragments are. The blocks of the one record in flight reach the disk in
//!   any order, so fragments without their beginning prove nothing, unless the damaged header itself says that its
//!   record ended before them.
//! - Sequence numbers run on without a gap through all WALs that are still needed (every write goes to the WAL, and
//!   nothing is ingested). A gap is a hole, even between files that look whole. A later WAL that continues
//!   *exactly* where a tear stands shows that the tear was healed by an earlier recovery and lost nothing.
//! - WALs below the number that the MANIFEST says is kept are leftovers of an interrupted clean-up. RocksDB does not
//!   read them, and neither does this.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use super::logfile::{Flaw, Item, LogReader};
use crate::error::{Error, Result};

/// What was found in a database that may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) wal: LogState,
    /// `TornTail` says that the tail has been cut off.
    pub(crate) manifest: LogState,
    /// How many WALs recovery will read.
    pub(crate) wals: usize,
    /// Their size.
    pub(crate) wal_bytes: u64,
}

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogState {
    Whole,
    /// The last write did not reach the disk whole, and so was never acknowledged. Recovery drops it.
    TornTail,
}

/// Checks `CURRENT`, the MANIFEST it names and the WALs of the database folder `db`, which nothing has open.
///
/// Changes nothing but a torn last MANIFEST edit, which RocksDB would not open: it is cut off a copy that takes the
/// file's place. A folder without a database passes.
///
/// # Errors
/// `Corrupt` when recovery would drop or miss an acknowledged write, or not end. `Unavailable` when a file cannot be
/// read, or the copy not be written.
pub(crate) fn check_before_open(db: &Path) -> Result<Report> {
    let folder = Folder::list(db)?;
    let Some(manifest_number) = read_current(db)? else {
        return folder.must_be_new();
    };
    let name = format!("MANIFEST-{manifest_number:06}");
    let manifest = Manifest::read(&db.join(&name), manifest_number)?;
    let report = check_wals(db, &folder, &manifest)?;
    // Only now: an edit is not thrown away while the WALs say that it had been committed.
    if manifest.state == LogState::TornTail {
        cut(db, &name, manifest_number, manifest.intact_len)?;
    }
    Ok(report)
}

/// The files that matter here.
#[derive(Default)]
struct Folder {
    /// In the order in which RocksDB reads them.
    wals: Vec<u64>,
    holds_data: bool,
}

/// What the MANIFEST says about the WALs.
struct Manifest {
    state: LogState,
    /// The end of the last intact edit.
    intact_len: u64,
    /// WALs with smaller numbers are not read.
    min_wal: u64,
    /// No write up to here needs a WAL that is gone.
    last_sequence: u64,
}

/// Follows the sequence numbers from record to record and from file to file.
struct Sequence {
    /// What the next record may begin with.
    accept: RangeInclusive<u64>,
    ending: Ending,
}

/// How one log ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Clean,
    /// In zeros after an intact record. RocksDB takes it for clean and reads on in the next file.
    Zeros,
    /// In damage. RocksDB reads the next file only if that continues exactly here.
    Torn(Flaw),
}

impl Folder {
    fn list(db: &Path) -> Result<Self> {
        let mut folder = Self::default();
        let entries = match fs::read_dir(db) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(folder),
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            let is_table = Path::new(&name).extension().is_some_and(|extension| extension == "sst");
            let Some(name) = name.to_str() else { continue };
            let wal = name.strip_suffix(".log").and_then(file_number);
            folder.wals.extend(wal);
            folder.holds_data |= wal.is_some() || is_table || name.starts_with("MANIFEST-");
        }
        folder.wals.sort_unstable();
        Ok(folder)
    }

    fn must_be_new(&self) -> Result<Report> {
        if self.holds_data {
            return Err(Error::corrupt("the database has files but no CURRENT"));
        }
        Ok(Report { wal: LogState::Whole, manifest: LogState::Whole, wals: 0, wal_bytes: 0 })
    }
}

/// The number of the MANIFEST in use, or none if there is no database yet.
fn read_current(db: &Path) -> Result<Option<u64>> {
    let mut text = Vec::new();
    match File::open(db.join("CURRENT")) {
        Ok(file) => file.take(CURRENT_MAX_LEN).read_to_end(&mut text).map_err(unreadable)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.strip_prefix("MANIFEST-")?.strip_suffix('\n'));
    let number = number.and_then(file_number);
    number.map(Some).ok_or_else(|| Error::corrupt("CURRENT does not name a MANIFEST"))
}

impl Manifest {
    fn read(path: &Path, number: u64) -> Result<Self> {
        let file = File::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::corrupt("CURRENT names a MANIFEST that is not there"),
            _ => unreadable(error),
        })?;
        let mut manifest = Self { state: LogState::Whole, intact_len: 0, min_wal: 0, last_sequence: 0 };
        let ending = follow(&mut LogReader::new(file, number), &mut |edit, end, ending| {
            if ending != Ending::Clean {
                return Err(Error::corrupt("the MANIFEST is damaged before its last edit"));
            }
            manifest.intact_len = end;
            manifest.absorb(edit);
            Ok(())
        })?;
        if manifest.intact_len == 0 {
            return Err(Error::corrupt("the MANIFEST has no intact edit"));
        }
        if ending != Ending::Clean {
            manifest.state = LogState::TornTail;
        }
        Ok(manifest)
    }

    /// Reads the leading fields of an edit. Both fields sought are written before any list of files, so the first
    /// tag that is not among the known ones ends the search.
    fn absorb(&mut self, mut edit: &[u8]) {
        while let Some(tag) = varint(&mut edit) {
            let field = match tag {
                TAG_COMPARATOR | TAG_DB_ID => varint(&mut edit).and_then(|len| skip(&mut edit, len)),
                TAG_LOG | TAG_NEXT_FILE | TAG_PREV_LOG | TAG_MAX_FAMILY | TAG_MIN_LOG | TAG_LAST_SEQUENCE => {
                    varint(&mut edit)
                }
                _ => None,
            };
            let Some(field) = field else { return };
            match tag {
                TAG_MIN_LOG => self.min_wal = self.min_wal.max(field),
                TAG_LAST_SEQUENCE => self.last_sequence = self.last_sequence.max(field),
                _ => {}
            }
        }
    }
}

fn check_wals(db: &Path, folder: &Folder, manifest: &Manifest) -> Result<Report> {
    let next = manifest.last_sequence.saturating_add(1);
    let mut sequence = Sequence { accept: 0..=next, ending: Ending::Clean };
    let mut report = Report { wal: LogState::Whole, manifest: manifest.state, wals: 0, wal_bytes: 0 };
    for &number in folder.wals.iter().filter(|&&number| number >= manifest.min_wal) {
        let file = File::open(db.join(format!("{number:06}.log"))).map_err(unreadable)?;
        report.wal_bytes += file.metadata().map_err(unreadable)?.len();
        report.wals += 1;
        sequence.follow_wal(&mut LogReader::new(file, number))?;
    }
    if sequence.ending != Ending::Clean {
        report.wal = LogState::TornTail;
    }
    Ok(report)
}

impl Sequence {
    fn follow_wal<R: Read>(&mut self, log: &mut LogReader<R>) -> Result<()> {
        let mut first = true;
        let ending = follow(log, &mut |batch, _, ending| self.record(batch, ending, std::mem::take(&mut first)))?;
        match ending {
            Ending::Torn(Flaw { hangs: true, .. }) => {
                return Err(Error::corrupt("a WAL is damaged so that recovery would not end"));
            }
            // A tear stays one until a record continues from it.
            Ending::Clean => {}
            Ending::Zeros if self.ending != Ending::Clean => {}
            Ending::Zeros | Ending::Torn(_) => self.ending = ending,
        }
        Ok(())
    }

    /// Takes a record in. `here` is what stands before it in its own file.
    fn record(&mut self, batch: &[u8], here: Ending, first: bool) -> Result<()> {
        let (sequence, count) = batch_numbers(batch)?;
        let next = sequence.checked_add(count).filter(|&next| next <= SEQUENCE_MAX);
        let next = next.ok_or_else(|| Error::corrupt("a WAL has a record with an impossible sequence number"))?;
        if matches!(here, Ending::Torn(_)) {
            // What has a smaller number was written before the damage: the disk returned an old block.
            return if sequence < *self.accept.start() { Ok(()) } else { Err(hole()) };
        }
        let healed = sequence == *self.accept.start() && sequence > 0;
        if matches!(self.ending, Ending::Torn(_)) && !healed || !self.accept.contains(&sequence) {
            return Err(hole());
        }
        self.ending = Ending::Clean;
        // Recovery begins a new WAL with an empty batch, which says where it stopped. The numbers may leap after it:
        // the MANIFEST knew of numbers whose unsynced writes were lost.
        self.accept = if first && count == 0 { next..=SEQUENCE_MAX } else { next..=next };
        Ok(())
    }
}

/// Takes an intact record: its first bytes, where it ends, what stands before it in its file.
type Keep<'a> = dyn FnMut(&[u8], u64, Ending) -> Result<()> + 'a;

/// Reads a log to its end and hands each intact record to `keep`.
fn follow<R: Read>(log: &mut LogReader<R>, keep: &mut Keep<'_>) -> Result<Ending> {
    let mut ending = Ending::Clean;
    loop {
        match (log.next_item()?, ending) {
            (Item::End, _) => return Ok(ending),
            (Item::Record(record), _) => {
                keep(record.head, record.end, ending)?;
                if ending == Ending::Zeros {
                    ending = Ending::Clean;
                }
            }
            (Item::Zeros, Ending::Clean | Ending::Zeros) => ending = Ending::Zeros,
            (Item::Note, Ending::Torn(_)) | (Item::Orphan, Ending::Clean | Ending::Torn(Flaw { closed: true, .. })) => {
                return Err(hole());
            }
            (Item::Note, Ending::Clean | Ending::Zeros) | (Item::Zeros | Item::Orphan, Ending::Torn(_)) => {}
            (Item::Orphan, Ending::Zeros) => ending = Ending::Torn(Flaw::default()),
            (Item::Flaw(flaw), Ending::Torn(before)) => {
                ending = Ending::Torn(Flaw { hangs: flaw.hangs | before.hangs, ..before });
            }
            (Item::Flaw(flaw), _) => ending = Ending::Torn(flaw),
            (Item::Alien, _) => return Err(Error::corrupt("a log has a record that this store never writes")),
        }
    }
}

/// The sequence number of a batch's first write, and how many numbers it uses.
fn batch_numbers(batch: &[u8]) -> Result<(u64, u64)> {
    let numbers = batch.split_first_chunk().and_then(|(sequence, rest)| Some((sequence, rest.first_chunk()?)));
    let (sequence, count) = numbers.ok_or_else(|| Error::corrupt("a WAL has a record that is no batch"))?;
    Ok((u64::from_le_bytes(*sequence), u32::from_le_bytes(*count).into()))
}

/// Puts a copy of the MANIFEST without its torn tail in its place. RocksDB removes a `.dbtmp` that a crash leaves.
fn cut(db: &Path, name: &str, number: u64, len: u64) -> Result<()> {
    let unwritable = |error| Error::io("the torn tail of the MANIFEST cannot be cut off", error);
    let (path, copy) = (db.join(name), db.join(format!("{number:06}.dbtmp")));
    let whole = File::open(&path).map_err(unreadable)?;
    let mut target = File::create(&copy).map_err(unwritable)?;
    target.set_permissions(whole.metadata().map_err(unreadable)?.permissions()).map_err(unwritable)?;
    if io::copy(&mut whole.take(len), &mut target).map_err(unwritable)? != len {
        return Err(Error::conflict("the MANIFEST changed while it was checked"));
    }
    target.sync_all().map_err(unwritable)?;
    fs::rename(&copy, &path).map_err(unwritable)?;
    File::open(db).and_then(|folder| folder.sync_all()).map_err(unwritable)
}

/// The number in a file name, if it is written as RocksDB writes it.
fn file_number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|number| format!("{number:06}") == digits)
}

/// Takes a varint off the front.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn skip(bytes: &mut &[u8], len: u64) -> Option<u64> {
    *bytes = bytes.get(usize::try_from(len).ok()?..)?;
    Some(len)
}

fn hole() -> Error {
    Error::corrupt("a WAL or the MANIFEST is damaged before records that are whole")
}

fn unreadable(error: io::Error) -> Error {
    Error::io("the database cannot be read", error)
}

/// Longer than any `MANIFEST-` with a 64-bit number, so that a longer file cannot pass for a shorter one.
const CURRENT_MAX_LEN: u64 = 64;
/// RocksDB keeps 8 bits of the number for the kind of a write.
const SEQUENCE_MAX: u64 = (1 << 56) - 1;
// Tags of a MANIFEST edit, from `db/version_edit.h`.
const TAG_COMPARATOR: u64 = 1;
const TAG_LOG: u64 = 2;
const TAG_NEXT_FILE: u64 = 3;
const TAG_LAST_SEQUENCE: u64 = 4;
const TAG_PREV_LOG: u64 = 9;
const TAG_MIN_LOG: u64 = 10;
const TAG_MAX_FAMILY: u64 = 203;
const TAG_DB_ID: u64 = 8193;

#[cfg(test)]
mod tests;
