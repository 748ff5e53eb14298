//! What anybody can do to a closed store with plain tools: open its databases with RocksDB and change rows. The one
//! place of these tests that names RocksDB.
#![expect(clippy::disallowed_types, reason = "an attacker with the disk has RocksDB too")]

use std::collections::BTreeMap;
use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode, Options};

/// Engine keys and sealed values.
pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database of a store, open without the store.
pub struct RawDatabase(DB);

impl RawDatabase {
    pub fn open(path: &Path) -> Self {
        let families = DB::list_cf(&Options::default(), path).expect("families");
        let families = families.into_iter().map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
        Self(DB::open_cf_descriptors(&Options::default(), path, families).expect("a database"))
    }

    /// A new database with one family `box-0000`, for what is to be compared with a store.
    pub fn make(path: &Path) -> Self {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let families = ["default", "box-0000"].map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
        Self(DB::open_cf_descriptors(&options, path, families).expect("a database"))
    }

    /// Every row of a box.
    pub fn rows(&self, number: u32) -> Rows {
        let rows = self.0.iterator_cf(self.family(number), IteratorMode::Start);
        rows.map(|row| row.expect("a row")).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    pub fn put(&self, number: u32, key: &[u8], value: &[u8]) {
        self.0.put_cf(self.family(number), key, value).expect("a write");
    }

    pub fn delete(&self, number: u32, key: &[u8]) {
        self.0.delete_cf(self.family(number), key).expect("a write");
    }

    /// Makes the rows of a box these and no others.
    pub fn replace(&self, number: u32, rows: &Rows) {
        self.rows(number).keys().for_each(|key| self.delete(number, key));
        rows.iter().for_each(|(key, value)| self.put(number, key, value));
    }

    pub fn flush(&self) {
        for number in 0.. {
            let Some(family) = self.0.cf_handle(&name(number)) else { break };
            self.0.flush_cf(family).expect("a flush");
        }
    }

    fn family(&self, number: u32) -> &rocksdb::ColumnFamily {
        self.0.cf_handle(&name(number)).expect("a box")
    }
}

fn name(number: u32) -> String {
    format!("box-{number:04}")
}
