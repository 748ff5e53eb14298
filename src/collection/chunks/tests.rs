//! Values in chunks, seen from both sides: through the doors, and as rows of the box.

mod attacks;
mod leftovers;
mod races;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::clock::SystemClock;
use crate::collection::{Catalog, Collection, CollectionDef, Expected};
use crate::engine::{Opaque, Row};
use crate::entropy::{Entropy, OsEntropy};
use crate::error::ErrorKind;
use crate::session::Session;
use crate::strongroom::Strongroom;
use crate::test_kit::{Gullible, in_memory};

const FILES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("files").durability(Durability::Buffered);
const OTHERS: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("others");
const FIRST_ID: u32 = 256;
/// Bytes of an envelope that are not its value.
const OVERHEAD: usize = 62 + 1 + 16;

/// A store with the tenants contoso and fabrikam.
struct World {
    room: Strongroom,
    folder: tempfile::TempDir,
}

/// Bytes put where an attacker with the disk puts them.
struct Moved(Vec<u8>);

impl Opaque for Moved {
    fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl World {
    fn in_memory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { room: in_memory(folder.path()).open().unwrap(), folder }.with_tenants()
    }

    #[cfg(feature = "rocksdb")]
    fn on_disk() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { room: Self::open(folder.path()), folder }.with_tenants()
    }

    #[cfg(feature = "rocksdb")]
    fn open(folder: &std::path::Path) -> Strongroom {
        let roots = crate::LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
        let builder = Strongroom::builder(folder.join("store"), roots, Gullible);
        builder.service_speaker("i", "service").boxes_per_cell(2).open().unwrap()
    }

    fn with_tenants(self) -> Self {
        for name in ["contoso", "fabrikam"] {
            self.room.custody("service").unwrap().create_tenant(crate::TenantSpec::new(name, "i", name)).unwrap();
        }
        self
    }

    fn session(&self, tenant: &str) -> Session {
        self.room.session(tenant, tenant).unwrap()
    }

    fn files(&self) -> Collection<&'static str, Vec<u8>> {
        self.session("contoso").collection(&FILES).unwrap()
    }

    fn tenant(&self, name: &str) -> Arc<Tenant> {
        self.room.directory().find(name).unwrap()
    }

    /// What a process that begins now has in its hands: a catalog that remembers nothing.
    fn authority(&self, tenant: &str, entropy: impl Entropy, open: &Arc<AtomicBool>) -> Authority {
        let catalog = Arc::new(Catalog::open(self.room.directory().clone(), self.tenant(tenant)).unwrap());
        let clock = SystemClock::new();
        let identity = Arc::new(crate::access::verify(&Gullible, tenant, &*clock).unwrap());
        Authority::grant(identity, catalog, clock, Arc::new(entropy), open.clone()).unwrap()
    }

    fn of_another_process(&self, tenant: &str) -> Authority {
        self.authority(tenant, OsEntropy, &Arc::new(AtomicBool::new(true)))
    }

    /// The rows of a tenant's box by the collection that their keys begin with.
    fn rows(&self, tenant: &str) -> BTreeMap<u32, Vec<Row>> {
        let tenant = self.tenant(tenant);
        let page = tenant.reader().unwrap().view().unwrap().page(tenant.keyspace(), &[], None, usize::MAX).unwrap();
        let mut rows = BTreeMap::<u32, Vec<Row>>::new();
        for (key, value) in page.rows {
            rows.entry(u32::from_be_bytes(key[..4].try_into().unwrap())).or_default().push((key, value));
        }
        rows
    }

    fn count(&self, collection: u32) -> usize {
        self.rows("contoso").get(&collection).map_or(0, Vec::len)
    }

    fn chunk_keys(&self) -> Vec<Vec<u8>> {
        self.rows("contoso").remove(&CHUNKS).unwrap_or_default().into_iter().map(|(key, _)| key).collect()
    }

    fn edit(&self, tenant: &str, edit: impl FnOnce(&mut Batch, Keyspace)) {
        let tenant = self.tenant(tenant);
        let mut batch = Batch::new(Durability::Buffered);
        edit(&mut batch, tenant.keyspace());
        tenant.writer().unwrap().apply(batch).unwrap();
    }

    /// Every chunk belongs to a record that is there, as many as it needs, and nothing is pending.
    #[track_caller]
    fn check_chunks(&self, what: &str) {
        let lengths = self.files().iter().unwrap().map(|row| row.unwrap().1.len());
        let needed: usize = lengths.filter(|&length| length > CHUNK_LEN).map(|length| length.div_ceil(CHUNK_LEN)).sum();
        assert_eq!((self.count(CHUNKS), self.count(PENDING)), (needed, 0), "{what}");
    }
}

/// A value in which every chunk is another, and every seed's too.
fn value(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at / 1000).to_le_bytes()[0] ^ (at / CHUNK_LEN).to_le_bytes()[0] ^ seed).collect()
}

#[test]
fn values_of_every_length_come_back_whole() {
    let world = World::in_memory();
    let files = world.files();
    let cases = [
        (0, 0),
        (1, 0),
        (CHUNK_LEN - 1, 0),
        (CHUNK_LEN, 0),
        (CHUNK_LEN + 1, 2),
        (2 * CHUNK_LEN, 2),
        (3 * CHUNK_LEN + 5, 4),
        (VALUE_MAX_LEN, 64),
    ];
    for (length, chunks) in cases {
        let value = value(length, 7);
        let version = files.put(&"k", &value).unwrap();
        assert!(files.get(&"k").unwrap().as_ref() == Some(&value), "{length}");
        let entry = files.entry(&"k").unwrap().unwrap();
        assert!(*entry.value() == value && entry.version() == version, "{length}");
        assert!(files.get_many(&["none", "k", "k"]).unwrap() == [None, Some(value.clone()), Some(value.clone())]);
        assert!(files.iter().unwrap().map(Result::unwrap).eq([("k".to_owned(), value)]), "{length}");
        assert_eq!((files.count().unwrap(), files.contains(&"k").unwrap()), (1, true));
        assert_eq!((world.count(CHUNKS), world.count(PENDING)), (chunks, 0), "{length}");
        let record = world.rows("contoso").remove(&FIRST_ID).unwrap().remove(0).1;
        assert_eq!(record.len(), OVERHEAD + if chunks == 0 { length } else { 16 + 8 }, "{length}");
    }
    let longest = world.rows("contoso").into_values().flatten().map(|(_, bytes)| bytes.len()).max();
    assert_eq!(longest, Some(CHUNK_LEN + OVERHEAD), "no row is longer than a chunk");
}

#[test]
fn a_chunk_and_a_head_lie_where_the_format_says() {
    let world = World::in_memory();
    world.files().put(&"k", &value(CHUNK_LEN + 1, 0)).unwrap();
    let keys = world.chunk_keys();
    assert_eq!(keys[0].len(), 4 + 4 + 16 + 4);
    assert_eq!(keys[0][..8], [0, 0, 0, 1, 0, 0, 1, 0]);
    assert_eq!(keys[0][8..24], keys[1][8..24]);
    assert_eq!((&keys[0][24..], &keys[1][24..]), (&[0, 0, 0, 0][..], &[0, 0, 0, 1][..]));
    world.files().put(&"k", &value(CHUNK_LEN + 1, 0)).unwrap();
    assert_ne!(world.chunk_keys()[0][8..24], keys[0][8..24], "every write has an object of its own");
}

/// From every state of a record to every other, in every way of writing: exactly the rows of the last write are left.
#[test]
fn every_way_of_replacing_a_value_removes_its_chunks() {
    type Write = fn(&Session, Option<&Vec<u8>>);
    let ways: [(&str, Write); 4] = [
        ("put", |session, value| match (session.collection(&FILES).unwrap(), value) {
            (files, Some(value)) => files.put(&"k", value).map(drop).unwrap(),
            (files, None) => files.delete(&"k").unwrap(),
        }),
        ("conditional", |session, value| {
            let files = session.collection(&FILES).unwrap();
            let version = files.entry(&"k").unwrap().map_or(Expected::Absent, |entry| entry.version().into());
            match value {
                Some(value) => files.put_if(&"k", value, version).map(drop).unwrap(),
                None => files.delete_if(&"k", version).unwrap(),
            }
        }),
        ("batch", |session, value| {
            let batch = session.batch().put(&FILES, &"beside", &vec![1]).unwrap();
            let batch = match value {
                Some(value) => batch.put(&FILES, &"k", value),
                None => batch.delete(&FILES, &"k"),
            };
            batch.unwrap().commit().unwrap();
        }),
        ("twice in a batch", |session, last| {
            let batch = session.batch().put(&FILES, &"k", &value(5 * CHUNK_LEN, 9)).unwrap();
            let batch = batch.delete(&FILES, &"k").unwrap().put(&FILES, &"k", &vec![2]).unwrap();
            let batch = match last {
                Some(last) => batch.put(&FILES, &"k", last),
                None => batch.delete(&FILES, &"k"),
            };
            batch.unwrap().commit().unwrap();
        }),
    ];
    let states = [None, Some(value(10, 1)), Some(value(CHUNK_LEN + 1, 2)), Some(value(3 * CHUNK_LEN, 3))];
    for from in &states {
        for to in &states {
            for (name, write) in ways {
                let world = World::in_memory();
                let what = format!("{name}: {:?} -> {:?}", from.as_ref().map(Vec::len), to.as_ref().map(Vec::len));
                write(&world.session("contoso"), from.as_ref());
                write(&world.session("contoso"), to.as_ref());
                assert!(world.files().get(&"k").unwrap() == *to, "{what}");
                world.check_chunks(&what);
            }
        }
    }
}

#[test]
fn a_conflict_changes_nothing_and_leaves_nothing() {
    let world = World::in_memory();
    let (session, files) = (world.session("contoso"), world.files());
    let (first, other) = (value(2 * CHUNK_LEN, 1), value(3 * CHUNK_LEN, 2));
    let version = files.put(&"k", &first).unwrap();
    let before = world.rows("contoso");
    let stale = files.put(&"stale", &vec![]).unwrap();
    files.delete(&"stale").unwrap();
    let batch = || session.batch().put(&FILES, &"new", &other).unwrap();
    let outcomes = [
        files.put_if(&"k", &other, Expected::Absent).map(drop),
        files.put_if(&"k", &other, stale).map(drop),
        files.put_if(&"new", &other, version).map(drop),
        files.delete_if(&"k", stale),
        batch().put_if(&FILES, &"k", &other, stale).unwrap().commit().map(drop),
        batch().delete_if(&FILES, &"k", Expected::Absent).unwrap().commit().map(drop),
    ];
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict)));
    assert!(world.rows("contoso") == before);
    batch().put_if(&FILES, &"k", &other, version).unwrap().commit().unwrap();
    assert!(files.get(&"k").unwrap() == files.get(&"new").unwrap() && files.get(&"k").unwrap() == Some(other));
    world.check_chunks("the control");
}

#[test]
fn only_collections_with_long_values_are_marked_and_for_good() {
    let world = World::in_memory();
    let (files, others) = (world.files(), world.session("contoso").collection(&OTHERS).unwrap());
    files.put(&"k", &value(CHUNK_LEN, 0)).unwrap();
    others.put(&"k", &vec![1]).unwrap();
    assert!(!files.info.is_chunked() && !others.info.is_chunked());
    let catalog = world.count(0);
    files.put(&"k", &value(CHUNK_LEN + 1, 0)).unwrap();
    assert!(files.info.is_chunked() && !others.info.is_chunked());
    assert_eq!(world.count(0), catalog + 1, "one row says so");
    let again = Collection::open(&world.of_another_process("contoso"), &FILES).unwrap();
    assert!(again.info.is_chunked(), "a later process reads it");
    again.delete(&"k").unwrap();
    assert_eq!(world.count(CHUNKS), 0);
}

#[test]
fn a_dropped_collection_takes_its_chunks_and_no_others() {
    let world = World::in_memory();
    let (session, files) = (world.session("contoso"), world.files());
    files.put(&"k", &value(2 * CHUNK_LEN, 1)).unwrap();
    let others = session.collection(&OTHERS).unwrap();
    others.put(&"k", &value(3 * CHUNK_LEN, 2)).unwrap();
    let theirs = world.session("fabrikam").collection(&FILES).unwrap();
    theirs.put(&"k", &value(2 * CHUNK_LEN, 3)).unwrap();
    session.drop_collection("files").unwrap();
    assert_eq!((world.count(CHUNKS), world.count(FIRST_ID), world.count(0)), (3, 0, 3), "counter, entry and mark");
    assert!(others.get(&"k").unwrap() == Some(value(3 * CHUNK_LEN, 2)));
    assert!(theirs.get(&"k").unwrap() == Some(value(2 * CHUNK_LEN, 3)));
    assert_eq!(files.put(&"k", &value(2 * CHUNK_LEN, 1)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!((world.count(CHUNKS), world.count(PENDING)), (3, 0));
    assert!(!world.files().info.is_chunked(), "a new collection of the name begins without a mark");
}
