//! One conformance suite over every engine.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

use super::*;
use crate::error::ErrorKind;

/// Bytes that may be handed to an engine in a test.
struct Raw(&'static [u8]);

impl Opaque for Raw {
    fn into_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

type Promise = fn(&dyn Engine);

/// What every engine promises, by name.
const PROMISES: [(&str, Promise); 10] = [
    ("a batch happens together and in order", batches_happen_in_order),
    ("keyspaces are separate", keyspaces_are_separate),
    ("expectations hold or nothing happens", expectations_hold_or_nothing_happens),
    ("a view stands still", a_view_stands_still),
    ("pages cover a range without gap or repetition", pages_cover_a_range),
    ("ranges are deleted to their end and no further", ranges_are_deleted),
    ("many keys are read in their places", many_keys_are_read),
    ("a wiped keyspace is empty and usable", a_wiped_keyspace_is_empty),
    ("unknown keyspaces are refused", unknown_keyspaces_are_refused),
    ("conditional writers lose no update", conditional_writers_lose_no_update),
];

#[test]
fn the_memory_engine_keeps_every_promise() {
    for (_, promise) in PROMISES {
        promise(&MemoryEngine::new(3));
    }
}

#[cfg(feature = "rocksdb")]
#[test]
fn the_rocksdb_engine_keeps_every_promise() {
    for (name, promise) in PROMISES {
        let folder = tempfile::tempdir().unwrap();
        let shared = rocks::Shared::for_tests();
        let engine = rocks::RocksEngine::make(&folder.path().join(name), 3, &shared).unwrap();
        promise(&engine);
    }
}

fn put(engine: &dyn Engine, keyspace: Keyspace, rows: &[(&[u8], &'static [u8])]) {
    let mut batch = Batch::new(Durability::Buffered);
    rows.iter().for_each(|(key, value)| batch.put(keyspace, key.to_vec(), Raw(value)));
    engine.apply(batch).unwrap();
}

fn get(engine: &dyn Engine, keyspace: Keyspace, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = None;
    let found = engine.get(keyspace, key, &mut |bytes| value = Some(bytes.to_vec())).unwrap();
    assert_eq!(found, value.is_some());
    value
}

fn keys(view: &dyn View, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>) -> Vec<Vec<u8>> {
    let page = view.page(keyspace, from, to, usize::MAX).unwrap();
    assert!(!page.more);
    page.rows.into_iter().map(|(key, _)| key).collect()
}

fn batches_happen_in_order(engine: &dyn Engine) {
    let mut batch = Batch::new(Durability::Synced);
    batch.put(0, b"a".to_vec(), Raw(b"1"));
    batch.put(1, b"b".to_vec(), Raw(b""));
    batch.put(0, b"c".to_vec(), Raw(b"3"));
    batch.delete(0, b"c".to_vec());
    batch.put(0, b"a".to_vec(), Raw(b"2"));
    batch.delete(0, b"never there".to_vec());
    engine.apply(batch).unwrap();
    assert_eq!(get(engine, 0, b"a").unwrap(), b"2");
    assert_eq!(get(engine, 1, b"b").unwrap(), b"");
    assert_eq!(get(engine, 0, b"c"), None);
    engine.sync().unwrap();
}

fn keyspaces_are_separate(engine: &dyn Engine) {
    put(engine, 0, &[(b"k", b"zero")]);
    put(engine, 1, &[(b"k", b"one")]);
    assert_eq!(get(engine, 0, b"k").unwrap(), b"zero");
    assert_eq!(get(engine, 1, b"k").unwrap(), b"one");
    assert_eq!(get(engine, 2, b"k"), None);
}

fn expectations_hold_or_nothing_happens(engine: &dyn Engine) {
    put(engine, 0, &[(b"k", b"head and tail")]);
    let attempt = |expect: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new(Durability::Buffered);
        batch.put(0, b"side".to_vec(), Raw(b"effect"));
        expect(&mut batch);
        engine.apply(batch).map_err(|error| error.kind())
    };
    let conflict = Err(ErrorKind::Conflict);
    assert_eq!(attempt(&|batch| batch.expect_absent(0, b"k".to_vec())), conflict);
    assert_eq!(attempt(&|batch| batch.expect_head(0, b"k".to_vec(), b"tail".to_vec())), conflict);
    assert_eq!(attempt(&|batch| batch.expect_head(0, b"absent".to_vec(), Vec::new())), conflict);
    let both = |batch: &mut Batch| {
        batch.expect_head(0, b"k".to_vec(), b"head".to_vec());
        batch.expect_head(0, b"k".to_vec(), b"HEAD".to_vec());
    };
    assert_eq!(attempt(&both), conflict);
    assert_eq!(get(engine, 0, b"side"), None, "nothing happened");
    assert_eq!(attempt(&|batch| batch.expect_head(0, b"k".to_vec(), b"head".to_vec())), Ok(()));
    assert_eq!(attempt(&|batch| batch.expect_absent(0, b"absent".to_vec())), Ok(()));
    assert_eq!(get(engine, 0, b"side").unwrap(), b"effect");
}

fn a_view_stands_still(engine: &dyn Engine) {
    put(engine, 0, &[(b"a", b"1"), (b"b", b"2")]);
    let view = engine.view().unwrap();
    put(engine, 0, &[(b"c", b"3")]);
    let mut batch = Batch::new(Durability::Buffered);
    batch.delete(0, b"a".to_vec());
    engine.apply(batch).unwrap();
    assert_eq!(keys(&*view, 0, b"", None), [b"a", b"b"]);
    assert_eq!(keys(&*engine.view().unwrap(), 0, b"", None), [b"b", b"c"]);
    let get = |key: &[u8]| {
        let mut value = None;
        let found = view.get(0, key, &mut |bytes| value = Some(bytes.to_vec())).unwrap();
        assert_eq!(found, value.is_some());
        value
    };
    assert_eq!([get(b"a"), get(b"b"), get(b"c")], [Some(b"1".to_vec()), Some(b"2".to_vec()), None]);
}

fn pages_cover_a_range(engine: &dyn Engine) {
    let names: Vec<Vec<u8>> = (0..100u8).map(|number| vec![number]).collect();
    for name in &names {
        put(engine, 0, &[(name, b"0123456789")]);
    }
    let view = engine.view().unwrap();
    let (mut from, mut seen) = (vec![10], Vec::new());
    loop {
        let page = view.page(0, &from, Some(&[90]), 40).unwrap();
        assert!(page.rows.len() <= 4, "a page ends soon after its limit");
        seen.extend(page.rows.into_iter().map(|(key, _)| key));
        from = [seen.last().unwrap().as_slice(), &[0]].concat();
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, names[10..90]);
    assert_eq!(keys(&*view, 0, &[99], None), [[99]]);
    assert_eq!(keys(&*view, 0, &[9], Some(&[9])), Vec::<Vec<u8>>::new());
    assert_eq!(keys(&*view, 0, &[9], Some(&[8])), Vec::<Vec<u8>>::new(), "a range turned round is empty");
}

fn ranges_are_deleted(engine: &dyn Engine) {
    put(engine, 0, &[(b"a", b""), (b"b", b""), (b"b\xff", b""), (b"c", b"")]);
    put(engine, 1, &[(b"b", b"")]);
    let mut batch = Batch::new(Durability::Buffered);
    batch.delete_range(0, b"b".to_vec(), end_of_prefix(b"b"));
    engine.apply(batch).unwrap();
    assert_eq!(keys(&*engine.view().unwrap(), 0, b"", None), [b"a", b"c"]);
    assert!(get(engine, 1, b"b").is_some(), "the neighbour's");
    let mut batch = Batch::new(Durability::Buffered);
    batch.delete_range(0, b"b".to_vec(), None);
    engine.apply(batch).unwrap();
    assert_eq!(keys(&*engine.view().unwrap(), 0, b"", None), [b"a"]);
}

fn many_keys_are_read(engine: &dyn Engine) {
    put(engine, 0, &[(b"a", b"1"), (b"c", b"3")]);
    let mut values = vec![None; 4];
    let keys = [&b"c"[..], b"b", b"a", b"c"].map(<[u8]>::to_vec);
    engine.multi_get(0, &keys, &mut |place, value| values[place] = Some(value.to_vec())).unwrap();
    assert_eq!(values, [Some(b"3".to_vec()), None, Some(b"1".to_vec()), Some(b"3".to_vec())]);
}

fn a_wiped_keyspace_is_empty(engine: &dyn Engine) {
    put(engine, 0, &[(b"", b"the empty key"), (b"a", b"1"), (&[0xFF; 4], b"2")]);
    put(engine, 1, &[(b"a", b"neighbour")]);
    assert!(engine.wipe(0).unwrap());
    assert!(keys(&*engine.view().unwrap(), 0, b"", None).is_empty());
    assert_eq!(get(engine, 1, b"a").unwrap(), b"neighbour");
    assert!(engine.wipe(0).unwrap());
    put(engine, 0, &[(b"a", b"new")]);
    assert_eq!(get(engine, 0, b"a").unwrap(), b"new");
}

fn unknown_keyspaces_are_refused(engine: &dyn Engine) {
    let mut batch = Batch::new(Durability::Buffered);
    batch.put(0, b"a".to_vec(), Raw(b""));
    batch.put(3, b"a".to_vec(), Raw(b""));
    assert!(engine.apply(batch).is_err());
    assert_eq!(get(engine, 0, b"a"), None, "nothing of the batch happened");
    assert!(engine.get(3, b"a", &mut |_| ()).is_err());
    assert!(engine.multi_get(3, &[], &mut |_, _| ()).is_err());
    assert!(engine.view().unwrap().page(3, b"", None, 1).is_err());
    assert!(engine.view().unwrap().get(3, b"", &mut |_| ()).is_err());
    assert!(engine.wipe(3).is_err());
}

fn conditional_writers_lose_no_update(engine: &dyn Engine) {
    const WRITERS: u8 = 4;
    const STEPS: usize = 25;
    static VALUES: [[u8; 1]; 256] = {
        let mut values = [[0]; 256];
        let mut number = 0;
        while number < 256 {
            values[number] = [number as u8];
            number += 1;
        }
        values
    };
    put(engine, 0, &[(b"n", &VALUES[0])]);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut done = 0;
                while done < STEPS {
                    let seen = get(engine, 0, b"n").unwrap();
                    let mut batch = Batch::new(Durability::Buffered);
                    batch.expect_head(0, b"n".to_vec(), seen.clone());
                    batch.put(0, b"n".to_vec(), Raw(&VALUES[usize::from(seen[0]) + 1]));
                    match engine.apply(batch) {
                        Ok(()) => done += 1,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
                    }
                }
            });
        }
    });
    assert_eq!(get(engine, 0, b"n").unwrap(), [WRITERS * STEPS as u8]);
}

#[test]
fn the_end_of_a_prefix() {
    assert_eq!(end_of_prefix(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(end_of_prefix(&[1, 0xFF, 0xFF]), Some(vec![2]));
    assert_eq!(end_of_prefix(&[0xFF, 0xFF]), None);
    assert_eq!(end_of_prefix(&[]), None);
}
