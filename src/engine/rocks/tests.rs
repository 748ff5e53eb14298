//! The integrity profile, read back from what RocksDB itself wrote down.

use std::fs;
use std::path::Path;

use super::*;

struct Raw(Vec<u8>);

impl crate::engine::Opaque for Raw {
    fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Every option that this crate relies on, with the section of the OPTIONS file that it must stand in.
const PROFILE: [(&str, &str); 44] = [
    ("DBOptions", "paranoid_checks=true"),
    ("DBOptions", "track_and_verify_wals_in_manifest=true"),
    ("DBOptions", "verify_manifest_content_on_close=true"),
    ("DBOptions", "verify_sst_unique_id_in_manifest=true"),
    ("DBOptions", "flush_verify_memtable_count=true"),
    ("DBOptions", "compaction_verify_record_count=true"),
    ("DBOptions", "file_checksum_gen_factory=FileChecksumGenCrc32cFactory"),
    ("DBOptions", "wal_recovery_mode=kPointInTimeRecovery"),
    ("DBOptions", "atomic_flush=false"),
    ("DBOptions", "wal_bytes_per_sync=0"),
    ("DBOptions", "recycle_log_file_num=0"),
    ("DBOptions", "manual_wal_flush=false"),
    ("DBOptions", "unordered_write=false"),
    // What the check of the logs presumes.
    ("DBOptions", "wal_compression=kNoCompression"),
    ("DBOptions", "reuse_manifest_on_open=false"),
    ("DBOptions", "avoid_flush_during_recovery=false"),
    ("DBOptions", "two_write_queues=false"),
    ("DBOptions", "best_efforts_recovery=false"),
    ("DBOptions", "allow_mmap_reads=false"),
    ("DBOptions", "allow_mmap_writes=false"),
    ("DBOptions", "allow_data_in_errors=false"),
    ("DBOptions", "allow_fallocate=false"),
    ("DBOptions", "max_bgerror_resume_count=0"),
    ("DBOptions", "info_log_level=WARN_LEVEL"),
    ("DBOptions", "stats_dump_period_sec=0"),
    ("DBOptions", "stats_persist_period_sec=0"),
    ("DBOptions", "persist_stats_to_disk=false"),
    ("DBOptions", "max_total_wal_size=67108864"),
    ("DBOptions", "max_file_opening_threads=1"),
    ("DBOptions", "max_manifest_file_size=16777216"),
    ("CFOptions", "compression=kNoCompression"),
    ("CFOptions", "bottommost_compression=kNoCompression"),
    ("CFOptions", "memtable_protection_bytes_per_key=8"),
    ("CFOptions", "force_consistency_checks=true"),
    ("CFOptions", "paranoid_file_checks=false"),
    ("CFOptions", "enable_blob_files=false"),
    ("CFOptions", "write_buffer_size=16777216"),
    ("CFOptions", "max_write_buffer_number=4"),
    ("CFOptions", "arena_block_size=16384"),
    ("CFOptions", "max_bytes_for_level_base=67108864"),
    ("CFOptions", "inplace_update_support=false"),
    ("TableOptions/BlockBasedTable", "format_version=7"),
    ("TableOptions/BlockBasedTable", "checksum=kXXH3"),
    ("TableOptions/BlockBasedTable", "cache_index_and_filter_blocks=true"),
];

/// The sections of an OPTIONS file: name, and lines.
fn sections(folder: &Path) -> Vec<(String, Vec<String>)> {
    let newest = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("OPTIONS-"))
        .max()
        .expect("RocksDB writes its options down");
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in fs::read_to_string(newest).unwrap().lines().map(str::trim) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => sections.push((name.to_owned(), Vec::new())),
            None => sections.last_mut().into_iter().for_each(|(_, lines)| lines.push(line.to_owned())),
        }
    }
    sections
}

/// What of the profile does not stand in the sections, for every family.
fn missing(sections: &[(String, Vec<String>)], profile: &[(&str, &str)]) -> Vec<String> {
    let mut missing = Vec::new();
    for (section, option) in profile {
        let mut found = sections.iter().filter(|(name, _)| name.starts_with(section)).peekable();
        assert!(found.peek().is_some(), "no section {section}");
        for (name, lines) in found {
            if !lines.iter().any(|line| line == option) {
                missing.push(format!("[{name}] {option}"));
            }
        }
    }
    missing
}

#[test]
fn every_option_of_the_profile_is_in_force_for_every_family() {
    let folder = tempfile::tempdir().unwrap();
    drop(RocksEngine::make(folder.path(), 2, &Shared::for_tests()).unwrap());
    let sections = sections(folder.path());
    for family in ["default", "box-0000", "box-0001"] {
        assert!(sections.iter().any(|(name, _)| *name == format!("CFOptions \"{family}\"")), "{family}");
    }
    assert_eq!(missing(&sections, &PROFILE), Vec::<String>::new());
    // An empty value is not written down; the default would be a line that asks for the machine's name.
    assert!(!sections.iter().flat_map(|(_, lines)| lines).any(|line| line.starts_with("db_host_id=")));
    let control = missing(&sections, &[("CFOptions", "compression=kSnappyCompression")]);
    assert_eq!(control.len(), 3, "the check finds an option that is not in force");
}

/// How many table files there are, and how many of them hold `text`.
fn tables_holding(folder: &Path, text: &str) -> (usize, usize) {
    let tables = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let tables: Vec<_> = tables.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect();
    let holds = |path: &&std::path::PathBuf| {
        fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    };
    (tables.len(), tables.iter().filter(holds).count())
}

#[test]
fn no_table_file_names_the_machine() {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    assert!(!host.is_empty());
    let (ours, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = RocksEngine::make(ours.path(), 1, &Shared::for_tests()).unwrap();
    let mut batch = Batch::new(Durability::Synced);
    batch.put(0, b"key".to_vec(), Raw(vec![7; 100]));
    engine.apply(batch).unwrap();
    engine.db().flush_cf(engine.database.family(0).unwrap()).unwrap();
    drop(engine);
    assert_eq!(tables_holding(ours.path(), &host), (1, 0));
    let db = Db::open_default(plain.path()).unwrap();
    db.put(b"key", b"value").unwrap();
    db.flush().unwrap();
    assert_eq!(tables_holding(plain.path(), &host), (1, 1), "the control: RocksDB's default does");
}

#[test]
fn wiping_leaves_no_byte_of_the_rows_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let engine = RocksEngine::make(folder.path(), 2, &Shared::for_tests()).unwrap();
    let marker = b"a-marker-in-a-sealed-value";
    let holds_marker = || {
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        files.filter(|bytes| bytes.windows(marker.len()).any(|window| window == marker)).count()
    };
    for round in 0..3u8 {
        let mut batch = Batch::new(Durability::Synced);
        (0..50).for_each(|key| batch.put(0, vec![round, key], Raw(marker.to_vec())));
        engine.apply(batch).unwrap();
        engine.db().flush_cf(engine.database.family(0).unwrap()).unwrap();
    }
    let mut batch = Batch::new(Durability::Synced);
    batch.put(0, b"unflushed".to_vec(), Raw(marker.to_vec()));
    batch.put(1, b"neighbour".to_vec(), Raw(b"whole".to_vec()));
    engine.apply(batch).unwrap();
    assert!(holds_marker() >= 2, "the control: tables and log hold it");
    let somebodys_snapshot = engine.view().unwrap();
    assert!(!engine.wipe(0).unwrap(), "a snapshot holds on to the rows, and wiping says so");
    drop(somebodys_snapshot);
    assert!(engine.wipe(0).unwrap());
    let still_held = holds_marker();
    let mut neighbour = false;
    engine.get(1, b"neighbour", &mut |value| neighbour = value == b"whole").unwrap();
    assert!(neighbour);
    drop(engine);
    drop(RocksEngine::open(folder.path(), 2, &Shared::for_tests()).unwrap());
    assert_eq!(holds_marker(), 0, "after reopening ({still_held} before)");
}

fn two_boxes(folder: &Path) -> RocksEngine {
    RocksEngine::make(folder, 2, &Shared::for_tests()).unwrap()
}

fn put(engine: &RocksEngine, keyspace: Keyspace, value: &str) -> Result<()> {
    let mut batch = Batch::new(Durability::Synced);
    batch.put(keyspace, b"key".to_vec(), Raw(value.as_bytes().to_vec()));
    engine.apply(batch)
}

#[test]
fn after_a_write_that_failed_the_cell_is_shut_for_everything() {
    let folder = tempfile::tempdir().unwrap();
    let engine = two_boxes(folder.path());
    put(&engine, 0, "before").unwrap();
    // What RocksDB says when the disk fails it; here of a database that is not there.
    let failure = Db::open_for_read_only(&rocksdb::Options::default(), folder.path().join("none"), false);
    let failure = failure.err().unwrap();
    assert_eq!(engine.observe::<()>(Err(failure)).unwrap_err().kind(), ErrorKind::Unavailable);
    let outcomes = [
        put(&engine, 0, "after").err(),
        engine.get(0, b"key", &mut |_| ()).err(),
        engine.multi_get(0, &[], &mut |_, _| ()).err(),
        engine.view().err(),
        engine.wipe(0).err(),
        engine.sync().err(),
    ];
    for (place, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.map(|error| error.kind()), Some(ErrorKind::Unavailable), "{place}");
    }
}

#[test]
fn a_process_that_did_not_open_the_database_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = two_boxes(folder.path());
    engine.process ^= 1;
    assert_eq!(put(&engine, 0, "value").unwrap_err().kind(), ErrorKind::Closed);
    assert!(!engine.get(0, b"key", &mut |_| ()).unwrap());
}

#[test]
fn an_unconditional_write_waits_for_the_comparison_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let engine = two_boxes(folder.path());
    let comparison = engine.locks.lock([(0, &b"key"[..])].into_iter());
    std::thread::scope(|scope| {
        let write = scope.spawn(|| put(&engine, 0, "value"));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!write.is_finished());
        drop(comparison);
        write.join().unwrap().unwrap();
    });
}

#[test]
fn nothing_of_a_wiped_box_waits_for_the_next_opening_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let engine = two_boxes(folder.path());
    // In a table, and in a log that the neighbour's rows keep.
    put(&engine, 0, "wiped, of a table").unwrap();
    engine.db().flush_cf(engine.database.family(0).unwrap()).unwrap();
    put(&engine, 0, "wiped, of the log").unwrap();
    put(&engine, 1, "kept").unwrap();
    let left = |text: &str| {
        let files = fs::read_dir(folder.path()).unwrap().filter_map(|entry| fs::read(entry.unwrap().path()).ok());
        files.filter(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes())).count()
    };
    assert_eq!([left("wiped, of a table"), left("wiped, of the log"), left("kept")], [1; 3], "the control");
    engine.wipe(0).unwrap();
    // Without reopening; RocksDB's own threads take files away.
    let gone = || left("wiped, of a table") + left("wiped, of the log") == 0;
    let within_a_while = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        gone()
    });
    assert!(within_a_while, "rows of the box are still in some file");
    assert_eq!(left("kept"), 1);
}
