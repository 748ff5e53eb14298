//! Damage of every kind against logs from a second, plain writer of the format.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::logfile::{BLOCK_LEN, HEADER_LEN};
use super::*;
use crate::error::ErrorKind as Kind;

#[cfg(feature = "rocksdb")]
mod real;

/// Writes the format, and remembers where each record begins and ends.
#[derive(Clone, Default)]
struct Log {
    bytes: Vec<u8>,
    records: Vec<std::ops::Range<usize>>,
}

impl Log {
    fn add(&mut self, payload: &[u8]) -> &mut Self {
        let mut left = payload;
        let (mut start, mut first) = (None, true);
        loop {
            let room = BLOCK_LEN - self.bytes.len() % BLOCK_LEN;
            if room < HEADER_LEN {
                self.bytes.extend(std::iter::repeat_n(0, room));
                continue;
            }
            start = start.or(Some(self.bytes.len()));
            let (fragment, rest) = left.split_at(left.len().min(room - HEADER_LEN));
            let kind = match (first, rest.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            self.fragment(kind, &[], fragment);
            (left, first) = (rest, false);
            if left.is_empty() {
                break;
            }
        }
        self.records.extend(start.map(|start| start..self.bytes.len()));
        self
    }

    fn fragment(&mut self, kind: u8, number: &[u8], payload: &[u8]) {
        let summed = [&[kind], number, payload].concat();
        let masked = crc32c::crc32c(&summed).rotate_right(15).wrapping_add(0xa282_ead8);
        self.bytes.extend(masked.to_le_bytes());
        self.bytes.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
        self.bytes.extend(summed);
    }

    fn batch(&mut self, sequence: u64, count: u32, len: usize) -> &mut Self {
        self.add(&batch(sequence, count, len))
    }
}

/// A batch of `len` bytes; the body is noise, as sealed values are.
fn batch(sequence: u64, count: u32, len: usize) -> Vec<u8> {
    let mut bytes = [&sequence.to_le_bytes()[..], &count.to_le_bytes()].concat();
    let mut noise = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < len {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        bytes.push((noise >> 32) as u8);
    }
    bytes
}

/// `last_sequence` and the smallest WAL number kept, as one MANIFEST edit among the fields that stand beside them.
fn edit(last_sequence: u8, min_wal: u8) -> Vec<u8> {
    let mut edit = vec![0x81, 0x40, 3, b'i', b'd', b'0', 1, 2, b'c', b'c', 2, 4, 9, 0, 3, 0x90, 1, 0xcb, 1, 0];
    edit.extend([10, min_wal, 4, last_sequence]);
    edit.extend([6, 0, 77, 200]);
    edit
}

fn manifest() -> Log {
    let mut log = Log::default();
    log.add(&edit(0, 0)).add(&edit(3, 4)).add(&edit(3, 4)).clone()
}

/// A database folder with WALs 5 and 7.
fn folder(wals: [&[u8]; 2], manifest: &[u8]) -> TempDir {
    let db = tempfile::tempdir().unwrap();
    fs::write(db.path().join("CURRENT"), "MANIFEST-000004\n").unwrap();
    fs::write(db.path().join("MANIFEST-000004"), manifest).unwrap();
    fs::write(db.path().join("000005.log"), wals[0]).unwrap();
    fs::write(db.path().join("000007.log"), wals[1]).unwrap();
    db
}

/// The verdict on WALs alone: `Err` is `Corrupt`.
fn judge(wals: &[&[u8]]) -> Result<LogState, Kind> {
    let mut sequence = Sequence { accept: 0..=4, ending: Ending::Clean };
    for (number, &wal) in wals.iter().enumerate() {
        sequence.follow_wal(&mut LogReader::new(wal, number as u64)).map_err(|error| error.kind())?;
    }
    Ok(if sequence.ending == Ending::Clean { LogState::Whole } else { LogState::TornTail })
}

const WHOLE: Result<LogState, Kind> = Ok(LogState::Whole);
const TORN: Result<LogState, Kind> = Ok(LogState::TornTail);
const CORRUPT: Result<LogState, Kind> = Err(Kind::Corrupt);

fn pair() -> [Log; 2] {
    let mut old = Log::default();
    old.batch(4, 1, 30).batch(5, 2, 12).batch(7, 1, 41);
    let mut new = Log::default();
    new.batch(8, 3, 50).batch(11, 1, 20).batch(12, 1, 33);
    [old, new]
}

#[test]
fn every_flip_in_small_wals_is_classified() {
    let [old, new] = pair();
    assert_eq!(judge(&[&old.bytes, &new.bytes]), WHOLE);
    let last = new.records[2].clone();
    for mask in [1, 2, 4, 8, 16, 32, 64, 128, 0xff] {
        for (file, log) in [&old, &new].into_iter().enumerate() {
            for at in 0..log.bytes.len() {
                let mut damaged = [old.bytes.clone(), new.bytes.clone()];
                damaged[file][at] ^= mask;
                // The one exception: a type that makes RocksDB read for ever is never let through.
                let hangs = at == last.start + 6 && mask == 4;
                let expected = if file == 1 && last.contains(&at) && !hangs { TORN } else { CORRUPT };
                assert_eq!(judge(&[&damaged[0], &damaged[1]]), expected, "file {file} byte {at} mask {mask:#x}");
            }
        }
    }
}

#[test]
fn every_flip_in_large_records_is_classified() {
    let mut log = Log::default();
    // The second record ends 4 bytes before a block does, the third is in four blocks, the last in two.
    log.batch(4, 1, 100).batch(5, 1, BLOCK_LEN - 4 - 107 - 7).batch(6, 1, 3 * BLOCK_LEN + 5000).batch(7, 1, 30_000);
    assert_eq!(judge(&[&log.bytes]), WHOLE);
    let last = log.records[3].clone();
    assert!(last.start / BLOCK_LEN < last.end / BLOCK_LEN);
    let padding = BLOCK_LEN - 4..BLOCK_LEN;
    let near = |at: usize| {
        at % BLOCK_LEN < 40 || at % BLOCK_LEN > BLOCK_LEN - 20 || log.records.iter().any(|r| at.abs_diff(r.start) < 24)
    };
    for at in (0..log.bytes.len()).filter(|&at| near(at) || at % 97 == 0) {
        for mask in [1, 4, 0x40, 0xff] {
            let mut damaged = log.bytes.clone();
            damaged[at] ^= mask;
            let kind = damaged[at];
            let header = at == last.start + 6 || at == last.end / BLOCK_LEN * BLOCK_LEN + 6;
            let expected = match at {
                _ if padding.contains(&at) => WHOLE,
                _ if header && matches!(kind, 5..=8 | 11 | 131) => CORRUPT,
                _ if last.contains(&at) => TORN,
                _ => CORRUPT,
            };
            assert_eq!(judge(&[&damaged]), expected, "byte {at} mask {mask:#x}");
        }
    }
}

#[test]
fn every_truncation_of_the_last_wal_opens_and_of_an_earlier_one_does_not() {
    let [old, new] = pair();
    let ends = |log: &Log| [0].into_iter().chain(log.records.iter().map(|record| record.end)).collect::<Vec<_>>();
    for len in 0..=new.bytes.len() {
        let expected = if ends(&new).contains(&len) { WHOLE } else { TORN };
        assert_eq!(judge(&[&old.bytes, &new.bytes[..len]]), expected, "{len}");
        let zeros = [&new.bytes[..len], &vec![0; 3 * BLOCK_LEN]].concat();
        assert_eq!(judge(&[&old.bytes, &zeros]), TORN, "{len} and zeros");
    }
    for len in 0..old.bytes.len() {
        assert_eq!(judge(&[&old.bytes[..len], &new.bytes]), CORRUPT, "{len}");
        // Nothing follows in a later WAL that is empty.
        let expected = if ends(&old).contains(&len) { WHOLE } else { TORN };
        assert_eq!(judge(&[&old.bytes[..len], &[]]), expected, "{len}");
    }
}

#[test]
fn every_truncation_of_large_records_opens() {
    let mut log = Log::default();
    log.batch(4, 1, 20_000).batch(5, 1, 2 * BLOCK_LEN).batch(6, 1, 50);
    for len in (0..log.bytes.len()).filter(|len| len % 13 == 0 || len % BLOCK_LEN < 12) {
        let ends = len == 0 || log.records.iter().any(|record| record.end == len);
        assert_eq!(judge(&[&log.bytes[..len]]), if ends { WHOLE } else { TORN }, "{len}");
        let zeros = [&log.bytes[..len], &vec![0; 40_000]].concat();
        assert_eq!(judge(&[&zeros]), TORN, "{len}");
    }
}

#[test]
fn records_end_anywhere_near_the_end_of_a_block() {
    for short in 0..=20 {
        let mut log = Log::default();
        log.batch(4, 1, BLOCK_LEN - HEADER_LEN - short).batch(5, 1, 12).batch(6, 1, 70_000).batch(7, 1, 12);
        assert_eq!(log.records[0].end, BLOCK_LEN - short);
        assert_eq!(judge(&[&log.bytes]), WHOLE, "{short}");
        for (number, record) in log.records.iter().enumerate() {
            let mut damaged = log.bytes.clone();
            damaged[record.end - 1] ^= 1;
            assert_eq!(judge(&[&damaged]), if number == 3 { TORN } else { CORRUPT }, "{short} {number}");
        }
        for cut in 0..=short {
            assert!(judge(&[&log.bytes[..BLOCK_LEN - cut]]).is_ok(), "{short} {cut}");
        }
    }
}

#[test]
fn blocks_of_the_write_in_flight_may_arrive_in_any_order() {
    let mut log = Log::default();
    log.batch(4, 1, 100).batch(5, 1, 4 * BLOCK_LEN);
    let last = log.records[1].clone();
    // Each subset of the 4 KiB pages that the last record touches is missing.
    for missing in 1_u64..(1 << 10) {
        let mut torn = log.bytes.clone();
        for page in (0..33).filter(|page| ((missing * 0x1_0421) >> page) & 1 == 1) {
            let range = (page * 4096).max(last.start)..((page + 1) * 4096).min(last.end).max(last.start);
            torn[range].fill(0);
        }
        if torn != log.bytes {
            assert_eq!(judge(&[&torn]), TORN, "{missing:b}");
        }
    }
    // A damaged record that ends before the block does is not the one that the later fragments are of.
    let mut sector = log.bytes.clone();
    sector[90..512].fill(0);
    assert_eq!(judge(&[&sector]), CORRUPT);
}

#[test]
fn zeros_in_the_middle_are_a_hole() {
    let mut log = Log::default();
    for sequence in 4..400 {
        log.batch(sequence, 1, 300);
    }
    for start in (0..log.bytes.len() - 4096).step_by(512) {
        let mut damaged = log.bytes.clone();
        damaged[start..start + 512].fill(0);
        assert_eq!(judge(&[&damaged]), CORRUPT, "{start}");
    }
    let whole_block = [&log.bytes[..BLOCK_LEN], &vec![0; BLOCK_LEN], &log.bytes[2 * BLOCK_LEN..]].concat();
    assert_eq!(judge(&[&whole_block]), CORRUPT);
    let spliced = [&log.bytes[..BLOCK_LEN], &log.bytes[2 * BLOCK_LEN..]].concat();
    assert_eq!(judge(&[&spliced]), CORRUPT);
}

#[test]
fn a_gap_in_the_numbers_is_a_hole() {
    let [old, new] = pair();
    let log = |batches: &[(u64, u32)]| {
        let mut log = Log::default();
        batches.iter().for_each(|&(sequence, count)| _ = log.batch(sequence, count, 20));
        log.bytes
    };
    assert_eq!(judge(&[&log(&[(4, 1), (6, 1)])]), CORRUPT);
    assert_eq!(judge(&[&log(&[(4, 2), (5, 1)])]), CORRUPT);
    assert_eq!(judge(&[&new.bytes]), CORRUPT, "the MANIFEST covers nothing after 3");
    assert_eq!(judge(&[&old.bytes, &log(&[(9, 1)])]), CORRUPT);
    assert_eq!(judge(&[&log(&[(4, 0), (4, 1)])]), WHOLE, "an empty batch uses no number");
    assert_eq!(judge(&[&log(&[(4, 0), (90, 1), (91, 1)])]), WHOLE, "recovery's mark lets the numbers leap");
    assert_eq!(judge(&[&log(&[(4, 0), (90, 1), (92, 1)])]), CORRUPT);
    assert_eq!(judge(&[&log(&[(4, 1), (5, 0), (90, 1)])]), CORRUPT, "only at the start of a WAL");
    assert_eq!(judge(&[&log(&[(4, 0), (3, 1)])]), CORRUPT);
    assert_eq!(judge(&[&log(&[(u64::MAX, 7)])]), CORRUPT);
    let mut short = Log::default();
    assert_eq!(judge(&[&short.add(b"elevenbytes").bytes]), CORRUPT);
}

#[test]
fn a_tear_that_was_recovered_from_is_healed_by_the_wal_that_continues_there() {
    let [old, _] = pair();
    let torn = &old.bytes[..old.bytes.len() - 5];
    let mut next = Log::default();
    next.batch(7, 0, 12);
    assert_eq!(judge(&[torn, &next.bytes]), WHOLE, "recovery's mark alone");
    next.batch(7, 1, 30);
    assert_eq!(judge(&[torn, &next.bytes]), WHOLE);
    assert_eq!(judge(&[torn, &[], &next.bytes]), WHOLE);
    let mut gap = Log::default();
    assert_eq!(judge(&[torn, &gap.batch(8, 1, 30).bytes]), CORRUPT);
    // Recovery finds no number before the tear, and drops what comes after it.
    let start = Log::default().batch(4, 1, 30).bytes.clone();
    assert_eq!(judge(&[&old.bytes[..20], &start]), CORRUPT);
    assert_eq!(judge(&[&old.bytes[..20], &[0; 50], &start]), CORRUPT);
    assert_eq!(judge(&[&old.bytes[..20], &Log::default().batch(0, 4, 30).bytes]), CORRUPT);
    assert_eq!(judge(&[&[0; 50], &start]), WHOLE, "recovery reads on after zeros");
}

#[test]
fn a_record_whose_end_is_missing_is_a_hole() {
    let mut log = Log::default();
    log.batch(4, 1, 2 * BLOCK_LEN);
    log.bytes.truncate(BLOCK_LEN);
    assert_eq!(judge(&[&log.bytes]), TORN);
    assert_eq!(judge(&[&log.batch(4, 1, 50).bytes]), CORRUPT);
}

#[test]
fn an_old_block_after_a_tear_proves_nothing() {
    let mut log = Log::default();
    log.batch(2, 1, 50).batch(3, 1, 50).batch(4, 1, 50);
    let stale = [&log.bytes[..120], &[0xee; 30], &log.bytes[log.records[0].clone()]].concat();
    assert_eq!(judge(&[&stale]), TORN);
    let newer = [&log.bytes[..120], &[0xee; 30], &log.bytes[log.records[2].clone()]].concat();
    assert_eq!(judge(&[&newer]), CORRUPT);
}

#[test]
fn recyclable_notes_and_alien_records() {
    let number = 0_u32.to_le_bytes();
    let mut recycled = Log::default();
    recycled.fragment(5, &number, &batch(4, 1, 40));
    recycled.fragment(5, &number, &batch(5, 1, 40));
    assert_eq!(judge(&[&recycled.bytes]), WHOLE);
    recycled.fragment(5, &9_u32.to_le_bytes(), &batch(6, 1, 40));
    assert_eq!(judge(&[&recycled.bytes]), TORN, "of an earlier use of the file");

    let mut noted = pair()[0].clone();
    for kind in [10, 130, 200] {
        noted.fragment(kind, &[], b"note");
    }
    assert_eq!(judge(&[&noted.batch(8, 1, 20).bytes]), WHOLE);
    for kind in [9, 12, 127] {
        let mut alien = pair()[0].clone();
        alien.fragment(kind, &[], b"what");
        assert_eq!(judge(&[&alien.bytes]), CORRUPT, "{kind}");
    }
    let mut hangs = pair()[0].clone();
    hangs.fragment(5, &number, &batch(8, 1, 20));
    assert_eq!(judge(&[&hangs.bytes]), CORRUPT);
}

#[test]
fn a_folder_without_a_database_passes_and_one_with_remains_does_not() {
    let db = tempfile::tempdir().unwrap();
    assert_eq!(check_before_open(db.path()).unwrap().wals, 0);
    assert_eq!(check_before_open(&db.path().join("missing")).unwrap().wals, 0);
    fs::write(db.path().join("LOG"), "").unwrap();
    assert!(check_before_open(db.path()).is_ok());
    for name in ["000003.log", "MANIFEST-000001", "000009.sst"] {
        fs::write(db.path().join(name), "").unwrap();
        assert_eq!(check_before_open(db.path()).unwrap_err().kind(), Kind::Corrupt, "{name}");
        fs::remove_file(db.path().join(name)).unwrap();
    }
}

#[test]
fn current_is_exact() {
    let [old, new] = pair();
    let db = folder([&old.bytes, &new.bytes], &manifest().bytes);
    let report = Report { wal: LogState::Whole, manifest: LogState::Whole, wals: 2, wal_bytes: 0 };
    let wal_bytes = (old.bytes.len() + new.bytes.len()) as u64;
    assert_eq!(check_before_open(db.path()).unwrap(), Report { wal_bytes, ..report });
    let long = format!("MANIFEST-000004{}\n", " ".repeat(100));
    let texts =
        ["", "MANIFEST-000004", "MANIFEST-000004\n\n", "MANIFEST-4\n", "MANIFEST-0000004\n", "MANIFEST-+00004\n"];
    for bad in texts.into_iter().chain(["MANIFEST-000005\n", "../MANIFEST-000004\n", "\u{fffd}\n", &long]) {
        fs::write(db.path().join("CURRENT"), bad).unwrap();
        assert_eq!(check_before_open(db.path()).unwrap_err().kind(), Kind::Corrupt, "{bad:?}");
    }
}

/// Checks a folder with this MANIFEST, and that a torn one is left at `kept` and is whole then.
fn check_manifest(manifest: &[u8], kept: &[u8], expected: Result<LogState, Kind>, what: usize) {
    let [old, new] = pair();
    let db = folder([&old.bytes, &new.bytes], manifest);
    let found = check_before_open(db.path()).map(|report| report.manifest).map_err(|error| error.kind());
    assert_eq!(found, expected, "{what}");
    let left = fs::read(db.path().join("MANIFEST-000004")).unwrap();
    assert_eq!(left, if expected == TORN { kept } else { manifest }, "{what}");
    assert!(!db.path().join("000004.dbtmp").exists());
    assert!(expected != TORN || check_before_open(db.path()).unwrap().manifest == LogState::Whole);
}

#[test]
fn every_flip_and_cut_of_the_manifest_is_classified_and_a_torn_edit_cut_off() {
    let log = manifest();
    let last = log.records[2].clone();
    let kept = &log.bytes[..last.start];
    for at in 0..log.bytes.len() {
        let mut damaged = log.bytes.clone();
        damaged[at] ^= 4;
        check_manifest(&damaged, kept, if last.contains(&at) { TORN } else { CORRUPT }, at);
    }
    for len in last.start + 1..last.end {
        check_manifest(&log.bytes[..len], kept, TORN, len);
        check_manifest(&[&log.bytes[..len], &[0; 5000]].concat(), kept, TORN, len);
    }
    for len in 0..log.records[0].end {
        check_manifest(&log.bytes[..len], kept, CORRUPT, len);
    }
}

#[test]
fn an_edit_that_the_wals_show_to_have_been_committed_is_not_cut_off() {
    let mut log = Log::default();
    log.add(&edit(0, 0)).add(&edit(2, 0)).add(&edit(3, 4));
    // Without the last edit the MANIFEST covers what was written up to 2, and the WALs begin with 4.
    for at in log.records[2].clone() {
        check_manifest(&log.bytes[..at], &[], CORRUPT, at);
    }
}

#[test]
fn wals_below_the_smallest_kept_are_not_read() {
    let [_, new] = pair();
    let mut covers = Log::default();
    let db = folder([b"a leftover that was torn", &new.bytes], &covers.add(&edit(7, 6)).bytes);
    let report = check_before_open(db.path()).unwrap();
    assert_eq!((report.wals, report.wal), (1, LogState::Whole));
    fs::remove_file(db.path().join("000005.log")).unwrap();
    assert_eq!(check_before_open(db.path()).unwrap(), report);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..70_000), keep in 0..500_usize) {
        let [old, _] = pair();
        _ = judge(&[&bytes]);
        _ = judge(&[&old.bytes[..keep.min(old.bytes.len())], &bytes]);
        let db = folder([&bytes, &bytes], &[&manifest().bytes, &bytes[..]].concat());
        _ = check_before_open(db.path());
        let db = folder([&old.bytes, &[]], &bytes);
        prop_assert!(check_before_open(db.path()).is_err());
        let mut edits = &bytes[..];
        while varint(&mut edits).is_some() {}
    }

    #[test]
    fn headers_of_every_shape_never_panic(headers in proptest::collection::vec((any::<u32>(), 0..300_u16, 0..14_u8), 0..300)) {
        let mut bytes = Vec::new();
        for (checksum, length, kind) in headers {
            bytes.extend(checksum.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.push(kind);
        }
        _ = judge(&[&bytes]);
    }

    #[test]
    fn sound_logs_are_whole(lens in proptest::collection::vec(12..50_000_usize, 0..12), split in 0..12_usize) {
        let mut logs = [Log::default(), Log::default()];
        for (at, &len) in lens.iter().enumerate() {
            logs[usize::from(at >= split)].batch(4 + at as u64, 1, len);
        }
        prop_assert_eq!(judge(&[&logs[0].bytes, &logs[1].bytes]), WHOLE);
    }
}

/// Run with `--ignored --nocapture`: how fast 64 MB are read.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn throughput_of_64_mb() {
    for len in [200, 1100, 100_000] {
        let mut log = Log::default();
        let mut sequence = 4;
        while log.bytes.len() < 64 << 20 {
            log.batch(sequence, 1, len);
            sequence += 1;
        }
        let db = folder([&log.bytes, &[]], &manifest().bytes);
        let start = std::time::Instant::now();
        assert_eq!(check_before_open(db.path()).unwrap().wal, LogState::Whole);
        println!("records of {len}: {:?}", start.elapsed());
    }
    let noise = batch(4, 1, 64 << 20);
    let db = folder([&noise, &[]], &manifest().bytes);
    let start = std::time::Instant::now();
    assert_eq!(check_before_open(db.path()).unwrap().wal, LogState::TornTail);
    println!("noise: {:?}", start.elapsed());
}
