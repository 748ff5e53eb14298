//! The integrity profile: every RocksDB option that this crate relies on, each with its reason. A test reads each
//! back from the OPTIONS file that RocksDB writes.

use rocksdb::{BlockBasedOptions, Cache, ChecksumType, DBRecoveryMode, LogLevel, Options, WriteBufferManager};

use crate::error::Result;

/// What the databases of a store may take together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Of one cell's write-ahead log.
    pub(crate) wal_bytes: u64,
    /// Table files that one cell keeps open.
    pub(crate) open_files: u32,
    /// Of flushes and compactions, in bytes a second.
    pub(crate) background_rate: u64,
}

/// Options that have no setter in the Rust crate, as RocksDB's own option string.
const PROFILE: &str = "\
    memtable_protection_bytes_per_key=8;\
    file_checksum_gen_factory=FileChecksumGenCrc32cFactory;\
    verify_manifest_content_on_close=true;\
    verify_sst_unique_id_in_manifest=true;\
    flush_verify_memtable_count=true;\
    compaction_verify_record_count=true;\
    force_consistency_checks=true;\
    max_bgerror_resume_count=0;\
    allow_fallocate=false;\
    db_host_id=";

/// The settings of a cell's database, used for its column families too. Copies share the rate limiter.
pub(super) fn database(sizes: Sizes, cache: &Cache, memtables: &WriteBufferManager) -> Result<Options> {
    let mut options = Options::default().get_options_from_string(PROFILE).map_err(super::foreign)?;
    // A database that is missing is damage; only `RocksEngine::make` makes one.
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    integrity(&mut options);
    quiet(&mut options);
    bounds(&mut options, sizes);
    options.set_write_buffer_manager(memtables);
    options.set_block_based_table_factory(&tables(cache));
    Ok(options)
}

/// What finds damage, and what keeps a write from being half there.
fn integrity(options: &mut Options) {
    options.set_paranoid_checks(true);
    options.set_track_and_verify_wals_in_manifest(true);
    // Our own check of the WAL runs before every open and refuses damage in the middle; what is left is a torn tail.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Every write goes to the WAL, so families need not be flushed together.
    options.set_atomic_flush(false);
    // Each of these has a recorded hole in crash safety.
    options.set_wal_bytes_per_sync(0);
    options.set_recycle_log_file_num(0);
    options.set_manual_wal_flush(false);
    options.set_unordered_write(false);
    options.set_allow_mmap_reads(false);
    options.set_allow_mmap_writes(false);
    // Values are ciphertext: nothing to gain, and lengths that depend on plaintext to lose.
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options.set_bottommost_compression_type(rocksdb::DBCompressionType::None);
}

/// What keeps the folder free of facts about the machine and of noise.
fn quiet(options: &mut Options) {
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
}

/// Measured with many families per database: see the chapter on defaults.
fn bounds(options: &mut Options, sizes: Sizes) {
    options.set_write_buffer_size(16 << 20);
    options.set_max_write_buffer_number(4);
    options.set_arena_block_size(16 << 10);
    options.set_max_bytes_for_level_base(64 << 20);
    options.set_max_total_wal_size(sizes.wal_bytes);
    options.set_max_open_files(i32::try_from(sizes.open_files).unwrap_or(i32::MAX));
    options.set_ratelimiter(i64::try_from(sizes.background_rate).unwrap_or(i64::MAX), 100_000, 10);
    options.set_max_manifest_file_size(16 << 20);
    options.set_max_file_opening_threads(1);
    options.set_max_background_jobs(2);
}

fn tables(cache: &Cache) -> BlockBasedOptions {
    let mut tables = BlockBasedOptions::default();
    tables.set_format_version(7);
    tables.set_checksum_type(ChecksumType::XXH3);
    tables.set_block_cache(cache);
    tables.set_cache_index_and_filter_blocks(true);
    tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
    tables.set_bloom_filter(10.0, false);
    tables
}
