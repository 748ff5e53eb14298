//! The disk behind the store's back: what somebody can do who has the volume and no key.
#![expect(clippy::disallowed_types, reason = "an attacker does not ask the engine")]

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{DB, DBCompressionType, IteratorMode, Options};

use crate::documents::Documents;
use crate::failure::{Outcome, fail};
use crate::search;

pub type Row = (Vec<u8>, Vec<u8>);

/// A box: the column family that holds one tenant, as RocksDB shows it.
pub struct RawBox {
    pub name: String,
    pub rows: u64,
    /// Among the rows of the first collection that the tenant made: its documents.
    pub longest: Row,
}

/// The one cell of a closed store, opened with plain RocksDB.
pub struct RawCell {
    db: DB,
    names: Vec<String>,
}

impl RawCell {
    pub fn open(store: &Path) -> Outcome<Self> {
        let path = cell(store);
        let options = options();
        let names = DB::list_cf(&options, &path)?;
        let db = DB::open_cf_with_opts(&options, &path, names.iter().map(|name| (name, options.clone())))?;
        Ok(Self { db, names })
    }

    /// The boxes that hold anything. Nothing in them says whose they are.
    pub fn boxes(&self) -> Outcome<Vec<RawBox>> {
        let mut boxes = vec![];
        for name in &self.names {
            let mut found = RawBox { name: name.clone(), rows: 0, longest: Row::default() };
            for row in self.db.iterator_cf(self.family(name)?, IteratorMode::Start) {
                let (key, value) = row?;
                found.rows += 1;
                if key.starts_with(&FIRST_COLLECTION) && value.len() > found.longest.1.len() {
                    found.longest = (key.into(), value.into());
                }
            }
            if found.rows > 0 {
                boxes.push(found);
            }
        }
        Ok(boxes)
    }

    pub fn put(&self, name: &str, key: &[u8], value: &[u8]) -> Outcome {
        Ok(self.db.put_cf(self.family(name)?, key, value)?)
    }

    pub fn delete(&self, name: &str, key: &[u8]) -> Outcome {
        Ok(self.db.delete_cf(self.family(name)?, key)?)
    }

    fn family(&self, name: &str) -> Outcome<&rocksdb::ColumnFamily> {
        self.db.cf_handle(name).ok_or_else(|| "a column family is gone".into())
    }
}

/// What the keys of a tenant's first collection begin with: its number, which is no secret.
const FIRST_COLLECTION: [u8; 4] = 256_u32.to_be_bytes();

/// A value's bytes in the tables of a cell.
pub struct OnDisk {
    file: PathBuf,
    at: usize,
}

/// Where in the cell's tables (SST files) the bytes of `value` lie.
pub fn find_in_tables(store: &Path, value: &[u8]) -> Outcome<Vec<OnDisk>> {
    let mut found = vec![];
    for file in search::files(&cell(store))? {
        if file.extension().is_some_and(|extension| extension == "sst") {
            let content = fs::read(&file)?;
            // The nonce makes the first bytes of every envelope its own.
            let at = content.windows(value.len().min(62)).position(|window| value.starts_with(window));
            found.extend(at.map(|at| OnDisk { file, at }));
        }
    }
    if found.is_empty() { fail("the record is in no table of the cell") } else { Ok(found) }
}

impl OnDisk {
    /// Inverts one bit of the byte `offset` behind the beginning of the value. Done twice, it is undone.
    pub fn flip(&self, offset: usize) -> Outcome {
        let mut content = fs::read(&self.file)?;
        content[self.at + offset] ^= 1;
        Ok(fs::write(&self.file, content)?)
    }
}

/// The same documents for the same tenants in plain RocksDB: what the search must find.
pub fn write_plain(folder: &Path, tenants: &[&str], documents: &Documents) -> Outcome {
    let db = DB::open(&options(), folder)?;
    for tenant in tenants {
        for document in &documents.taken {
            db.put(format!("{tenant}/{}", document.key), document.read()?)?;
        }
    }
    Ok(db.flush()?)
}

fn cell(store: &Path) -> PathBuf {
    store.join("cells/0000/db")
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::None);
    options
}
