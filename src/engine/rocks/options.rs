//! The integrity profile: every RocksDB option that this crate relies on, each with its reason. A test reads each
//! back from the OPTIONS file that RocksDB writes.

use rocksdb::{BlockBasedOptions, Cache, ChecksumType, DBRecoveryMode, LogLevel, Options};

use crate::error::Result;

/// What all cells of a process share.
#[derive(Clone)]
pub(crate) struct Shared {
    cache: Cache,
}

impl Shared {
    /// `cache_bytes`: the size of the one block cache.
    pub(crate) fn new(cache_bytes: usize) -> Self {
        Self { cache: Cache::new_lru_cache(cache_bytes) }
    }
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

/// The settings of a cell's database, used for its column families too.
pub(super) fn database(shared: &Shared) -> Result<Options> {
    let mut options = Options::default().get_options_from_string(PROFILE).map_err(super::foreign)?;
    // A database that is missing is damage; only `RocksEngine::make` makes one.
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    integrity(&mut options);
    quiet(&mut options);
    sizes(&mut options);
    options.set_block_based_table_factory(&tables(shared));
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
fn sizes(options: &mut Options) {
    options.set_write_buffer_size(16 << 20);
    options.set_max_write_buffer_number(4);
    options.set_arena_block_size(16 << 10);
    options.set_max_bytes_for_level_base(64 << 20);
    options.set_max_total_wal_size(64 << 20);
    options.set_max_manifest_file_size(16 << 20);
    options.set_max_file_opening_threads(1);
    options.set_max_background_jobs(2);
}

fn tables(shared: &Shared) -> BlockBasedOptions {
    let mut tables = BlockBasedOptions::default();
    tables.set_format_version(7);
    tables.set_checksum_type(ChecksumType::XXH3);
    tables.set_block_cache(&shared.cache);
    tables.set_cache_index_and_filter_blocks(true);
    tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
    tables.set_bloom_filter(10.0, false);
    tables
}
