//! What a collection promises: its shape, its codecs, its keys, its scans, its batches, its end.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use strongroom::{Collection, CollectionDef, ErrorKind, Expected, Key, KeyMode, Result, Scan, Session};

use crate::engines::{on_both, with_session};
use crate::plain_tools::RawDatabase;
use crate::support::{self, ISSUER, user};

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn rows<K: Key<Owned: Ord>, V: Ord>(scan: Scan<K, V>) -> Vec<(K::Owned, V)> {
    let mut rows: Vec<_> = scan.map(Result::unwrap).collect();
    rows.sort_unstable();
    rows
}

const PINNED: CollectionDef<(&str, u64), Vec<u8>> = CollectionDef::bytes("pinned");

fn is_refused<K: Key, V>(session: &Session, definition: CollectionDef<K, V>) -> bool {
    kind(session.collection(&definition)) == Some(ErrorKind::Invalid)
}

fn check_other_shapes_are_refused(session: &Session) {
    assert!(is_refused::<(&str, u32), _>(session, CollectionDef::bytes("pinned")), "another integer");
    assert!(is_refused::<(&[u8], u64), _>(session, CollectionDef::bytes("pinned")), "bytes for a string");
    assert!(is_refused::<(&str, u64, u8), _>(session, CollectionDef::bytes("pinned")), "one element more");
    assert!(is_refused::<(&str,), _>(session, CollectionDef::bytes("pinned")), "one element less");
    assert!(is_refused::<(u64, &str), _>(session, CollectionDef::bytes("pinned")), "another order");
    assert!(is_refused::<&str, _>(session, CollectionDef::bytes("pinned")), "no tuple");
    assert!(is_refused(session, PINNED.ordered()), "another mode");
    assert!(is_refused(session, PINNED.separator(b'.')), "another separator");
    assert!(is_refused::<(&str, u64), Vec<u8>>(session, CollectionDef::cbor("pinned")), "cbor");
    assert!(is_refused::<(&str, u64), Vec<u8>>(session, CollectionDef::bincode("pinned")), "bincode");
    let batch = session.batch().put(&PINNED.ordered(), &("a", 1), &vec![9]);
    assert_eq!(kind(batch), Some(ErrorKind::Invalid), "in a batch");
}

#[test]
fn a_collection_opens_as_it_was_made_or_not_at_all_and_keeps_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let open = || support::on_disk(folder.path()).open().unwrap();
    let check = |session: &Session| {
        check_other_shapes_are_refused(session);
        let pinned = session.collection(&PINNED).unwrap();
        assert_eq!(rows(pinned.iter().unwrap()), [(("a".to_owned(), 1), vec![7])]);
        assert_eq!(session.collections().unwrap()[0].mode, KeyMode::Hidden);
        assert_eq!(session.collections().unwrap().len(), 1);
    };
    let room = open();
    support::make_tenants(&room, &["contoso"]);
    let session = room.session(&user("contoso"), "contoso").unwrap();
    session.collection(&PINNED).unwrap().put(&("a", 1), &vec![7]).unwrap();
    check(&session);
    drop((session, room));
    let room = open();
    let reader = room.session(&format!("{ISSUER}|contoso|read"), "contoso").unwrap();
    check_other_shapes_are_refused_to_a_reader(&reader);
    check(&room.session(&user("contoso"), "contoso").unwrap());
}

fn check_other_shapes_are_refused_to_a_reader(reader: &Session) {
    assert!(is_refused(reader, PINNED.ordered()));
    assert!(is_refused(reader, PINNED.separator(b'.')));
    let absent = CollectionDef::<u64, Vec<u8>>::bytes("absent");
    assert_eq!(kind(reader.collection(&absent)), Some(ErrorKind::NotFound), "a reader makes nothing");
    assert_eq!(reader.collections().unwrap().len(), 1);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct First {
    text: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Grown {
    text: String,
    #[serde(default)]
    stars: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Strict {
    text: String,
    stars: u8,
}

#[test]
fn cbor_lets_fields_be_added() {
    with_session(|session| {
        let first = session.collection(&CollectionDef::<u64, First>::cbor("notes")).unwrap();
        first.put(&1, &First { text: "old".into() }).unwrap();
        let grown = session.collection(&CollectionDef::<u64, Grown>::cbor("notes")).unwrap();
        assert_eq!(grown.get(&1).unwrap(), Some(Grown { text: "old".into(), stars: 0 }));
        grown.put(&2, &Grown { text: "new".into(), stars: 5 }).unwrap();
        assert_eq!(first.get(&2).unwrap(), Some(First { text: "new".into() }));
        let strict = session.collection(&CollectionDef::<u64, Strict>::cbor("notes")).unwrap();
        assert_eq!(kind(strict.get(&1)), Some(ErrorKind::Invalid), "no default");
        assert_eq!(strict.get(&2).unwrap(), Some(Strict { text: "new".into(), stars: 5 }));
        assert_eq!(first.count().unwrap(), 2);
    });
}

#[test]
fn bincode_freezes_the_shape() {
    with_session(|session| {
        let first = session.collection(&CollectionDef::<u64, First>::bincode("notes")).unwrap();
        first.put(&1, &First { text: "old".into() }).unwrap();
        let grown = session.collection(&CollectionDef::<u64, Grown>::bincode("notes")).unwrap();
        assert_eq!(kind(grown.get(&1)), Some(ErrorKind::Invalid), "a field more");
        grown.put(&2, &Grown { text: "new".into(), stars: 5 }).unwrap();
        assert_eq!(kind(first.get(&2)), Some(ErrorKind::Invalid), "a field less: bytes are left over");
        assert_eq!(kind(first.get_many(&[1, 2])), Some(ErrorKind::Invalid));
        let mut scan = first.iter().unwrap();
        let outcomes: Vec<_> = scan.by_ref().map(kind).collect();
        assert_eq!(outcomes.last(), Some(&Some(ErrorKind::Invalid)), "a row that fails ends the scan");
        assert!(scan.next().is_none());
        assert_eq!(first.get(&1).unwrap(), Some(First { text: "old".into() }));
        assert_eq!(first.count().unwrap(), 2, "the records are whole");
    });
}

#[test]
fn keys_are_cut_at_the_separator_of_the_definition_only() {
    with_session(|session| {
        let slashes = session.collection(&CollectionDef::<&str, Vec<u8>>::bytes("slashes")).unwrap();
        let dots = session.collection(&CollectionDef::<&str, Vec<u8>>::bytes("dots").separator(b'.')).unwrap();
        let halves = session.collection(&CollectionDef::<&str, Vec<u8>>::bytes("halves").separator(0xC3)).unwrap();
        let zeros = session.collection(&CollectionDef::<&[u8], Vec<u8>>::bytes("zeros").separator(0)).unwrap();
        for key in ["a/b.c", "a/b.d", "a.x/é", "é"] {
            slashes.put(&key, &vec![]).unwrap();
            dots.put(&key, &vec![]).unwrap();
            halves.put(&key, &vec![]).unwrap();
            zeros.put(&key.replace('.', "\0").as_bytes(), &vec![]).unwrap();
        }
        let count = |scan: Result<Scan<_, _>>| scan.map(|scan| rows(scan).len()).map_err(|error| error.kind());
        assert_eq!(count(slashes.prefix("a/")), Ok(2));
        assert_eq!(count(slashes.prefix("a/b.")), Err(ErrorKind::Invalid));
        assert_eq!(count(dots.prefix("a/b.")), Ok(2));
        assert_eq!(count(dots.prefix("a.")), Ok(1));
        assert_eq!(count(dots.prefix("a/")), Err(ErrorKind::Invalid));
        assert_eq!(count(halves.prefix("")), Ok(4), "a separator within a character");
        assert_eq!(halves.get(&"é").unwrap(), Some(vec![]));
        assert_eq!(zeros.prefix(&b"a/b\0"[..]).unwrap().count(), 2);
        assert_eq!(kind(zeros.prefix(&b"a/b"[..])), Some(ErrorKind::Invalid));
    });
}

#[test]
fn empty_keys_and_values_are_keys_and_values() {
    with_session(|session| {
        let strings = session.collection(&CollectionDef::<&str, Vec<u8>>::bytes("strings")).unwrap();
        let plain = session.collection(&CollectionDef::<&[u8], Vec<u8>>::bytes("plain").ordered()).unwrap();
        let pairs = session.collection(&CollectionDef::<(&str, &[u8]), String>::cbor("pairs")).unwrap();
        let ordered = session.collection(&CollectionDef::<(&str, &str), ()>::bincode("ordered").ordered()).unwrap();
        assert!(!strings.contains(&"").unwrap());
        strings.put(&"", &vec![]).unwrap();
        strings.put(&"/", &vec![]).unwrap();
        plain.put(&&b""[..], &vec![]).unwrap();
        for key in [("", &b""[..]), ("", b"a"), ("a", b"")] {
            pairs.put(&key, &String::new()).unwrap();
        }
        for key in [("", ""), ("", "a"), ("a", ""), ("\0", "")] {
            ordered.put(&key, &()).unwrap();
        }
        assert_eq!(strings.get(&"").unwrap(), Some(vec![]));
        assert_eq!(rows(strings.prefix("").unwrap()).len(), 2);
        assert_eq!(rows(strings.prefix("/").unwrap()), [("/".to_owned(), vec![])]);
        assert_eq!(rows(plain.iter().unwrap()), [(vec![], vec![])]);
        assert_eq!(pairs.get(&("", b"")).unwrap(), Some(String::new()));
        assert_eq!(pairs.prefix(("",)).unwrap().count(), 2);
        let keys: Vec<_> = ordered.iter().unwrap().map(|row| row.unwrap().0).collect();
        assert_eq!(keys, [("", ""), ("", "a"), ("\0", ""), ("a", "")].map(|(a, b)| (a.to_owned(), b.to_owned())));
        strings.delete(&"").unwrap();
        assert_eq!(rows(strings.iter().unwrap()).len(), 1, "the empty key is no prefix to delete by");
    });
}

/// Puts in edge values and their neighbours out of order, and takes every range between two of them.
macro_rules! check_ranges {
    ($session:expr, $($type:ident)*) => {$({
        let numbers = edges_of!($type);
        let definition = CollectionDef::<$type, u8>::bincode(stringify!($type)).ordered();
        let collection = $session.collection(&definition).unwrap();
        let mut model = BTreeMap::new();
        for (place, number) in numbers.iter().rev().enumerate() {
            collection.put(number, &(place as u8)).unwrap();
            model.insert(*number, place as u8);
        }
        let found = |scan: Result<Scan<$type, u8>>| scan.unwrap().map(Result::unwrap).collect::<Vec<_>>();
        let owned = |(number, place): (&$type, &u8)| (*number, *place);
        for from in numbers {
            assert_eq!(found(collection.range(from..)), model.range(from..).map(owned).collect::<Vec<_>>());
            assert_eq!(found(collection.range(..from)), model.range(..from).map(owned).collect::<Vec<_>>());
            assert_eq!(found(collection.range(..=from)), model.range(..=from).map(owned).collect::<Vec<_>>());
            for to in numbers {
                let expected = if from <= to { model.range(from..=to).map(owned).collect() } else { vec![] };
                assert_eq!(found(collection.range(from..=to)), expected, "{from}..={to}");
            }
        }
    })*};
}

macro_rules! edges_of {
    ($type:ident) => {
        [$type::MIN, $type::MIN + 1, $type::MAX / 2 - 1, $type::MAX / 2, $type::MAX / 2 + 1, $type::MAX - 1, $type::MAX]
    };
}

#[test]
fn ranges_of_every_integer_are_in_numeric_order() {
    with_session(|session| {
        check_ranges!(session, u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);
        let signed = session.collection(&CollectionDef::<i64, u8>::bincode("signed").ordered()).unwrap();
        for number in [0, -1, 1, -256, 256, 255, -255] {
            signed.put(&number, &0).unwrap();
        }
        let numbers: Vec<_> = signed.range(-256..256).unwrap().map(|row| row.unwrap().0).collect();
        assert_eq!(numbers, [-256, -255, -1, 0, 1, 255]);
    });
}

#[test]
fn a_part_of_a_component_is_no_prefix_where_keys_are_hidden() {
    with_session(|session| {
        let hidden = session.collection(&CollectionDef::<&str, Vec<u8>>::bytes("hidden")).unwrap();
        let ordered = session.collection(&CollectionDef::<&str, Vec<u8>>::bytes("ordered").ordered()).unwrap();
        for key in ["ab/c", "ab/d", "abc"] {
            hidden.put(&key, &vec![]).unwrap();
            ordered.put(&key, &vec![]).unwrap();
        }
        for part in ["a", "ab", "ab/c", "abc"] {
            assert_eq!(kind(hidden.prefix(part)), Some(ErrorKind::Invalid), "{part}");
        }
        assert_eq!(kind(hidden.range("a".."b")), Some(ErrorKind::Invalid));
        assert_eq!(hidden.prefix("ab/").unwrap().count(), 2);
        assert_eq!(
            [ordered.prefix("a"), ordered.prefix("ab/"), ordered.prefix("b")].map(|scan| scan.unwrap().count()),
            [3, 2, 0]
        );
    });
}

#[test]
fn a_scan_is_of_its_moment_and_can_be_moved_to_a_thread() {
    with_session(|session| {
        let big = session.collection(&CollectionDef::<u64, Vec<u8>>::bytes("big").ordered()).unwrap();
        for number in 0..20 {
            big.put(&number, &vec![1; 50_000]).unwrap();
        }
        let mut scan = big.iter().unwrap();
        assert_eq!(scan.next().unwrap().unwrap(), (0, vec![1; 50_000]));
        for number in 10..30 {
            big.put(&number, &vec![2]).unwrap();
        }
        big.delete(&5).unwrap();
        let rest = std::thread::spawn(move || scan.map(Result::unwrap).collect::<Vec<_>>()).join().unwrap();
        assert_eq!(rest, (1..20).map(|number| (number, vec![1; 50_000])).collect::<Vec<_>>());
        assert_eq!(big.count().unwrap(), 29);
    });
}

const DOOMED: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("doomed").ordered();

fn outcomes_of_every_method(doomed: &Collection<u64, Vec<u8>>) -> Vec<(&'static str, Option<ErrorKind>)> {
    let (key, value) = (1, vec![1]);
    vec![
        ("get", kind(doomed.get(&key))),
        ("entry", kind(doomed.entry(&key))),
        ("contains", kind(doomed.contains(&key))),
        ("get_many", kind(doomed.get_many(&[key]))),
        ("iter", kind(doomed.iter())),
        ("prefix", kind(doomed.prefix(()))),
        ("range", kind(doomed.range(..))),
        ("count", kind(doomed.count())),
        ("put", kind(doomed.put(&key, &value))),
        ("put_if", kind(doomed.put_if(&key, &value, Expected::Absent))),
        ("delete", kind(doomed.delete(&key))),
        ("delete_if", kind(doomed.delete_if(&key, Expected::Absent))),
    ]
}

#[test]
fn nothing_of_a_dropped_collection_answers() {
    with_session(|session| {
        let doomed = session.collection(&DOOMED).unwrap();
        for number in 0..10 {
            doomed.put(&number, &vec![0; 50_000]).unwrap();
        }
        let spared = session.collection(&CollectionDef::<u64, Vec<u8>>::bytes("spared")).unwrap();
        let batch = session.batch().put(&CollectionDef::<u64, Vec<u8>>::bytes("spared"), &1, &vec![]).unwrap();
        let batch = batch.put(&DOOMED, &100, &vec![]).unwrap();
        let mut scan = doomed.iter().unwrap();
        scan.next().unwrap().unwrap();
        session.drop_collection("doomed").unwrap();
        for (method, outcome) in outcomes_of_every_method(&doomed) {
            assert_eq!(outcome, Some(ErrorKind::NotFound), "{method}");
        }
        assert_eq!(kind(scan.next().unwrap()), Some(ErrorKind::NotFound), "a scan under way");
        assert!(scan.next().is_none());
        assert_eq!(kind(batch.commit()), Some(ErrorKind::NotFound), "a batch prepared before");
        assert_eq!(spared.count().unwrap(), 0, "and nothing of that batch");
        assert_eq!(kind(session.drop_collection("doomed")), Some(ErrorKind::NotFound));

        let again = session.collection(&DOOMED).unwrap();
        assert_eq!(again.count().unwrap(), 0);
        again.put(&1, &vec![2]).unwrap();
        for (method, outcome) in outcomes_of_every_method(&doomed) {
            assert_eq!(outcome, Some(ErrorKind::NotFound), "{method} on the handle of before");
        }
    });
}

#[test]
fn nothing_of_a_dropped_collection_is_left_in_its_box() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let session = room.session(&user("contoso"), "contoso").unwrap();
    let doomed = session.collection(&DOOMED).unwrap();
    for number in 0..10 {
        doomed.put(&number, &vec![1]).unwrap();
    }
    session.drop_collection("doomed").unwrap();
    drop((doomed, session, room));
    let rows = RawDatabase::open(&folder.path().join("store/cells/0000/db")).rows(0);
    assert_eq!(rows.len(), 1, "what is left counts the collections that were made");
}

#[test]
fn a_collection_made_again_never_meets_old_rows_even_across_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let mut room = support::on_disk(folder.path()).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    for round in 0..6u64 {
        let session = room.session(&user("contoso"), "contoso").unwrap();
        // Of another kind each time: old rows would not even decode.
        let found = if round % 2 == 0 {
            let ordered = session.collection(&DOOMED).unwrap();
            let found = ordered.count().unwrap();
            ordered.put(&round, &vec![1]).unwrap();
            found
        } else {
            let hidden = session.collection(&CollectionDef::<&str, String>::cbor("doomed")).unwrap();
            let found = hidden.count().unwrap();
            hidden.put(&"key", &String::new()).unwrap();
            found
        };
        assert_eq!(found, 0, "round {round}");
        session.drop_collection("doomed").unwrap();
        assert_eq!(session.collections().unwrap(), []);
        if round % 3 == 1 {
            drop((session, room));
            room = support::on_disk(folder.path()).open().unwrap();
        }
    }
}

const LEFT: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("left");
const RIGHT: CollectionDef<&str, String> = CollectionDef::cbor("right").ordered();

#[test]
fn a_batch_happens_in_all_its_collections_or_in_none() {
    on_both(|room| {
        let session = room.session(&user("contoso"), "contoso").unwrap();
        let (left, right) = (session.collection(&LEFT).unwrap(), session.collection(&RIGHT).unwrap());
        let first = left.put(&1, &vec![1]).unwrap();
        let change = |expected: Expected| {
            let batch = session.batch().put(&LEFT, &2, &vec![2]).unwrap().delete(&LEFT, &1).unwrap();
            batch.put_if(&RIGHT, &"a", &"new".to_owned(), expected).unwrap().commit()
        };
        assert_eq!(kind(change(Expected::Version(first))), Some(ErrorKind::Conflict));
        assert_eq!((left.get(&1).unwrap(), left.get(&2).unwrap()), (Some(vec![1]), None));
        assert_eq!(right.count().unwrap(), 0);
        change(Expected::Absent).unwrap();
        assert_eq!((left.get(&1).unwrap(), left.get(&2).unwrap()), (None, Some(vec![2])));
        assert_eq!(right.get(&"a").unwrap(), Some("new".to_owned()));
        assert_eq!(kind(change(Expected::Absent)), Some(ErrorKind::Conflict));
        drop(session.batch().delete(&LEFT, &2).unwrap());
        assert_eq!(left.get(&2).unwrap(), Some(vec![2]), "a batch that is dropped does nothing");
        session.batch().commit().unwrap();
    });
}

#[test]
fn a_batch_applies_its_changes_in_order_and_judges_by_what_was_before_it() {
    with_session(|session| {
        let left = session.collection(&LEFT).unwrap();
        let batch = session.batch().put(&LEFT, &1, &vec![1]).unwrap().put(&LEFT, &1, &vec![2]).unwrap();
        batch.put(&LEFT, &2, &vec![3]).unwrap().delete(&LEFT, &2).unwrap().commit().unwrap();
        assert_eq!((left.get(&1).unwrap(), left.get(&2).unwrap()), (Some(vec![2]), None));
        let version = left.entry(&1).unwrap().unwrap().version();
        let batch = session.batch().put_if(&LEFT, &1, &vec![4], version).unwrap();
        batch.put_if(&LEFT, &1, &vec![5], version).unwrap().commit().unwrap();
        assert_eq!(left.get(&1).unwrap(), Some(vec![5]));
        let batch = session.batch().put(&LEFT, &9, &vec![]).unwrap();
        assert_eq!(kind(batch.delete_if(&LEFT, &1, version).unwrap().commit()), Some(ErrorKind::Conflict));
        assert!(!left.contains(&9).unwrap());
    });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nest(Vec<Nest>);

#[test]
fn what_cannot_be_read_again_is_not_written() {
    with_session(|session| {
        let nests = session.collection(&CollectionDef::<u64, Nest>::cbor("nests")).unwrap();
        let nested = |depth| (1..depth).fold(Nest(vec![]), |inner, _| Nest(vec![inner]));
        nests.put(&1, &nested(199)).unwrap();
        assert_eq!(nests.get(&1).unwrap(), Some(nested(199)));
        assert_eq!(nests.put(&1, &nested(300)).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(nests.get(&1).unwrap(), Some(nested(199)), "nothing was written");
    });
}
