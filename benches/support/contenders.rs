//! The same records three times: in a strongroom, in RocksDB with the strongroom's settings, and in RocksDB as it
//! comes.

#[path = "../../src/engine/rocks/options.rs"]
mod options;

use std::path::Path;

use rocksdb::{DB, IteratorMode, Options, WriteOptions};
use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{Budgets, Collection, CollectionDef, Durability, LocalRoots, Session, Strongroom, TenantSpec};

/// What is measured.
pub trait Contender {
    fn get(&self, number: u64) -> Option<Vec<u8>>;
    #[expect(clippy::ptr_arg, reason = "the values of a collection of bytes are vectors")]
    fn put(&self, number: u64, value: &Vec<u8>, durability: Durability);
    /// One write of these records, atomic and buffered.
    fn put_all(&self, records: &[(u64, Vec<u8>)]);
    /// Every record, key and value owned by whoever asks.
    fn scan(&self, each: &mut dyn FnMut(u64, Vec<u8>));
}

/// A collection of hidden keys: the default.
pub struct Ours {
    session: Session,
    synced: Collection<u64, Vec<u8>>,
    buffered: Collection<u64, Vec<u8>>,
}

pub struct Plain(DB);

/// Large enough for every record of a bench: what is compared is the work of a processor.
const CACHE_BYTES: usize = 256 << 20;
const RECORDS: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("records");
const BUFFERED: CollectionDef<u64, Vec<u8>> = RECORDS.durability(Durability::Buffered);

impl Ours {
    pub fn open(folder: &Path) -> Self {
        let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
        let room = Strongroom::builder(folder.join("store"), roots, EveryoneIsCustodian)
            .service_speaker("bench", "tenant")
            .boxes_per_cell(1)
            .budgets(Budgets::default().memory_bytes(CACHE_BYTES * 4))
            .open()
            .unwrap();
        room.custody("").unwrap().create_tenant(TenantSpec::new("tenant", "bench", "tenant")).unwrap();
        let session = room.session("", "tenant").unwrap();
        let [synced, buffered] = [RECORDS, BUFFERED].map(|definition| session.collection(&definition).unwrap());
        Self { session, synced, buffered }
    }
}

impl Contender for Ours {
    fn get(&self, number: u64) -> Option<Vec<u8>> {
        self.synced.get(&number).unwrap()
    }

    fn put(&self, number: u64, value: &Vec<u8>, durability: Durability) {
        let collection = if durability == Durability::Synced { &self.synced } else { &self.buffered };
        collection.put(&number, value).unwrap();
    }

    fn put_all(&self, records: &[(u64, Vec<u8>)]) {
        let mut batch = self.session.batch().durability(Durability::Buffered);
        for (number, value) in records {
            batch = batch.put(&RECORDS, number, value).unwrap();
        }
        batch.commit().unwrap();
    }

    fn scan(&self, each: &mut dyn FnMut(u64, Vec<u8>)) {
        self.synced.iter().unwrap().map(Result::unwrap).for_each(|(number, value)| each(number, value));
    }
}

impl Plain {
    /// With the settings of the strongroom's own engine, to the letter.
    pub fn with_our_settings(folder: &Path) -> Self {
        let sizes = options::Sizes { wal_bytes: 64 << 20, open_files: 1024, background_rate: 256 << 20 };
        let cache = rocksdb::Cache::new_lru_cache(CACHE_BYTES);
        let memtables = rocksdb::WriteBufferManager::new_write_buffer_manager(CACHE_BYTES, false);
        let mut options = options::database(sizes, &cache, &memtables).unwrap();
        options.create_if_missing(true);
        Self(DB::open(&options, folder).unwrap())
    }

    /// With none.
    pub fn with_defaults(folder: &Path) -> Self {
        let mut options = Options::default();
        options.create_if_missing(true);
        Self(DB::open(&options, folder).unwrap())
    }
}

impl Contender for Plain {
    fn get(&self, number: u64) -> Option<Vec<u8>> {
        self.0.get(number.to_be_bytes()).unwrap()
    }

    fn put(&self, number: u64, value: &Vec<u8>, durability: Durability) {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.0.put_opt(number.to_be_bytes(), value, &options).unwrap();
    }

    fn put_all(&self, records: &[(u64, Vec<u8>)]) {
        let mut batch = rocksdb::WriteBatch::default();
        records.iter().for_each(|(number, value)| batch.put(number.to_be_bytes(), value));
        self.0.write(batch).unwrap();
    }

    fn scan(&self, each: &mut dyn FnMut(u64, Vec<u8>)) {
        for row in self.0.iterator(IteratorMode::Start) {
            let (key, value) = row.unwrap();
            each(u64::from_be_bytes((*key).try_into().unwrap()), value.into_vec());
        }
    }
}

struct EveryoneIsCustodian;

impl Verifier for EveryoneIsCustodian {
    fn verify(&self, _: &str, now_secs: u64) -> Result<Claims, Rejection> {
        Ok(Claims {
            issuer: "bench".to_owned(),
            tenant: "tenant".to_owned(),
            subject: "somebody".to_owned(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 3600,
            roles: ["read", "write", "custodian"].map(|role| format!("strongroom.{role}")).into(),
            scopes: None,
        })
    }
}

/// For the settings, which convert RocksDB's errors.
fn foreign(error: rocksdb::Error) -> rocksdb::Error {
    error
}
