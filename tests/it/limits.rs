//! Every limit from both sides: what is within it works, what is past it is refused, and nothing of it is written.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use strongroom::{
    CollectionDef, ErrorKind, KEY_MAX_COMPONENTS, KEY_MAX_LEN, NAME_MAX_LEN, Result, Session, TenantSpec, VALUE_MAX_LEN,
};

use crate::child;
use crate::engines::{on_both, with_session};
use crate::support::{self, CUSTODIAN, ISSUER, user};

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

const FILES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("files");
const ORDERED: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("ordered").ordered();
const PAIRS: CollectionDef<(&str, u64), Vec<u8>> = CollectionDef::bytes("pairs");

fn refused_everywhere(session: &Session, definition: &CollectionDef<&'static str, Vec<u8>>, key: &str) {
    let files = session.collection(definition).unwrap();
    let before = files.count().unwrap();
    let outcomes = [
        kind(files.get(&key)),
        kind(files.entry(&key)),
        kind(files.contains(&key)),
        kind(files.get_many(&["a", key])),
        kind(files.put(&key, &vec![])),
        kind(files.put_if(&key, &vec![], strongroom::Expected::Absent)),
        kind(files.delete(&key)),
        kind(files.delete_if(&key, strongroom::Expected::Absent)),
        kind(files.prefix(key)),
        kind(files.range(key..)),
        kind(session.batch().put(definition, &key, &vec![])),
        kind(session.batch().delete(definition, &key)),
    ];
    assert_eq!(outcomes, [Some(ErrorKind::Invalid); 12]);
    assert_eq!(files.count().unwrap(), before);
}

#[test]
fn keys_have_at_most_4096_bytes_and_16_components() {
    assert_eq!((KEY_MAX_LEN, KEY_MAX_COMPONENTS), (4096, 16));
    with_session(|session| {
        for definition in [&FILES, &ORDERED] {
            let files = session.collection(definition).unwrap();
            let parts = "a/".repeat(KEY_MAX_COMPONENTS);
            let longest = "x".repeat(KEY_MAX_LEN);
            for key in [&longest, &parts, &format!("{}b", &parts[2..])] {
                files.put(&key.as_str(), &vec![1]).unwrap();
                assert_eq!(files.get(&key.as_str()).unwrap(), Some(vec![1]));
            }
            assert!(files.iter().unwrap().map(Result::unwrap).any(|(key, _)| key == longest));
            refused_everywhere(session, definition, &format!("{longest}x"));
            refused_everywhere(session, definition, &format!("{parts}b"));
            refused_everywhere(session, definition, &"/".repeat(KEY_MAX_LEN * 1000));
        }
        let pairs = session.collection(&PAIRS).unwrap();
        let longest = "x".repeat(KEY_MAX_LEN - 8);
        pairs.put(&(&longest, 1), &vec![]).unwrap();
        assert_eq!(kind(pairs.put(&(&format!("{longest}x"), 1), &vec![])), Some(ErrorKind::Invalid));
        assert_eq!(kind(pairs.put(&(&longest.repeat(1000), 1), &vec![])), Some(ErrorKind::Invalid));
        assert_eq!(pairs.count().unwrap(), 1);
    });
}

type Sixteen = (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, &'static str);

#[test]
fn a_tuple_of_sixteen_elements_is_a_key() {
    with_session(|session| {
        let wide = session.collection(&CollectionDef::<Sixteen, u8>::bincode("wide")).unwrap();
        let key = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, "end");
        wide.put(&key, &1).unwrap();
        assert_eq!(wide.get(&key).unwrap(), Some(1));
        assert_eq!(wide.prefix((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)).unwrap().count(), 1);
    });
}

/// Text whose encoding, `overhead` bytes longer, is exactly as long as a value may be, and one byte more.
fn longest_and_too_long(overhead: usize) -> (String, String) {
    let longest = "v".repeat(VALUE_MAX_LEN - overhead);
    let too_long = format!("{longest}v");
    (longest, too_long)
}

#[test]
fn values_have_at_most_16_mib_encoded() {
    assert_eq!(VALUE_MAX_LEN, 16 << 20);
    with_session(|session| {
        let bytes = session.collection(&CollectionDef::<u64, Vec<u8>>::bytes("bytes")).unwrap();
        let (longest, too_long) = longest_and_too_long(0);
        bytes.put(&1, &longest.into_bytes()).unwrap();
        assert_eq!(bytes.get(&1).unwrap().unwrap().len(), VALUE_MAX_LEN);
        assert_eq!(kind(bytes.put(&2, &too_long.into_bytes())), Some(ErrorKind::Invalid));
        assert_eq!(bytes.count().unwrap(), 1);

        let cbor = session.collection(&CollectionDef::<u64, String>::cbor("cbor")).unwrap();
        let (longest, too_long) = longest_and_too_long(5);
        cbor.put(&1, &longest).unwrap();
        assert!(cbor.get(&1).unwrap().unwrap() == longest);
        assert_eq!(kind(cbor.put(&2, &too_long)), Some(ErrorKind::Invalid));
        assert_eq!(kind(cbor.put_if(&1, &too_long, strongroom::Expected::Absent)), Some(ErrorKind::Invalid));
        assert_eq!(cbor.count().unwrap(), 1);

        let bincode = session.collection(&CollectionDef::<u64, String>::bincode("bincode")).unwrap();
        let (longest, too_long) = longest_and_too_long(8);
        bincode.put(&1, &longest).unwrap();
        assert!(bincode.get(&1).unwrap().unwrap() == longest);
        assert_eq!(kind(bincode.put(&2, &too_long)), Some(ErrorKind::Invalid));
        assert_eq!(bincode.count().unwrap(), 1);
    });
}

#[test]
fn what_was_written_at_the_limit_is_read_whatever_its_shape() {
    with_session(|session| {
        let words = vec![u64::MAX; (VALUE_MAX_LEN - 8) / 8];
        let collection = session.collection(&CollectionDef::<u64, Vec<u64>>::bincode("words")).unwrap();
        collection.put(&1, &words).unwrap();
        assert!(collection.get(&1).unwrap().unwrap() == words);

        let texts = vec!["text".to_owned(); (VALUE_MAX_LEN - 8) / 12];
        let collection = session.collection(&CollectionDef::<u64, Vec<String>>::bincode("texts")).unwrap();
        collection.put(&1, &texts).unwrap();
        assert!(collection.get(&1).unwrap().unwrap() == texts);

        let options = vec![Some(1u8); (VALUE_MAX_LEN - 8) / 2];
        let collection = session.collection(&CollectionDef::<u64, Vec<Option<u8>>>::bincode("options")).unwrap();
        collection.put(&1, &options).unwrap();
        assert!(collection.get(&1).unwrap().unwrap() == options);

        let bytes = vec![1u8; VALUE_MAX_LEN - 5];
        let collection = session.collection(&CollectionDef::<u64, Vec<u8>>::cbor("bytes")).unwrap();
        collection.put(&1, &bytes).unwrap();
        assert!(collection.get(&1).unwrap().unwrap() == bytes);
    });
}

/// A sequence of 2^30 bytes that exists only while it is written.
#[derive(Deserialize)]
struct Gibibyte;

static ASKED_FOR: AtomicU64 = AtomicU64::new(0);

impl Serialize for Gibibyte {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = serializer.serialize_seq(Some(1 << 30))?;
        for _ in 0..1 << 30 {
            ASKED_FOR.fetch_add(1, Ordering::Relaxed);
            bytes.serialize_element(&1u8)?;
        }
        bytes.end()
    }
}

#[test]
fn a_gibibyte_is_refused_early_and_in_little_memory() {
    if !child::is_child() {
        return child::run("limits::a_gibibyte_is_refused_early_and_in_little_memory", "").assert_success();
    }
    let folder = tempfile::tempdir().unwrap();
    let room = support::in_memory(folder.path()).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let session = room.session(&user("contoso"), "contoso").unwrap();
    let before_kib = child::peak_memory_kib();
    let cbor = session.collection(&CollectionDef::<u64, Gibibyte>::cbor("cbor")).unwrap();
    let bincode = session.collection(&CollectionDef::<u64, Gibibyte>::bincode("bincode")).unwrap();
    let bytes = session.collection(&FILES).unwrap();
    assert_eq!(kind(cbor.put(&1, &Gibibyte)), Some(ErrorKind::Invalid));
    assert_eq!(kind(bincode.put(&1, &Gibibyte)), Some(ErrorKind::Invalid));
    let asked_for = ASKED_FOR.load(Ordering::Relaxed);
    assert!(asked_for <= 2 * (VALUE_MAX_LEN as u64 + 1), "{asked_for} bytes were asked for");
    assert_eq!(kind(bytes.put(&"a", &vec![0; 1 << 30])), Some(ErrorKind::Invalid), "zero pages that nobody touches");
    assert_eq!((cbor.count().unwrap(), bincode.count().unwrap(), bytes.count().unwrap()), (0, 0, 0));
    let grown_kib = child::peak_memory_kib() - before_kib;
    assert!(grown_kib < 128 << 10, "{grown_kib} KiB");
}

#[test]
fn batches_have_at_most_65536_changes() {
    with_session(|session| {
        let files = session.collection(&FILES).unwrap();
        let mut batch = session.batch();
        for number in 0..65_536 {
            batch = match number % 2 {
                0 => batch.put(&FILES, &format!("{number}").as_str(), &vec![]).unwrap(),
                _ => batch.delete(&FILES, &format!("{number}").as_str()).unwrap(),
            };
        }
        batch.commit().unwrap();
        assert_eq!(files.count().unwrap(), 32_768);
        let mut batch = session.batch();
        for _ in 0..65_536 {
            batch = batch.put(&FILES, &"new", &vec![]).unwrap();
        }
        assert_eq!(kind(batch.delete(&FILES, &"new")), Some(ErrorKind::Invalid));
        assert!(!files.contains(&"new").unwrap());
    });
}

#[test]
fn batches_have_at_most_64_mib_of_keys_and_values() {
    with_session(|session| {
        let files = session.collection(&FILES).unwrap();
        let value = vec![7; VALUE_MAX_LEN];
        let full = || {
            let keys = ["1", "2", "3"].into_iter();
            let batch = keys.fold(session.batch(), |batch, key| batch.put(&FILES, &key, &value).unwrap());
            batch.put(&FILES, &"4", &vec![7; VALUE_MAX_LEN - 1024]).unwrap()
        };
        assert_eq!(kind(full().put(&FILES, &"5", &vec![1; 1024])), Some(ErrorKind::Invalid));
        assert_eq!(kind(full().delete(&FILES, &"k".repeat(1024).as_str())), Some(ErrorKind::Invalid), "keys count");
        assert_eq!(files.count().unwrap(), 0);
        full().put(&FILES, &"5", &vec![]).unwrap().commit().unwrap();
        assert_eq!(files.count().unwrap(), 5);
    });
}

const BAD_NAMES: [&str; 12] =
    ["", "-a", ".a", "_a", "Contoso", "con toso", "a\0", "a\n", "é", "\u{430}", "a/b", "../a"];

#[test]
fn tenants_are_named_by_the_rule_only() {
    on_both(|room| {
        let custody = room.custody(CUSTODIAN).unwrap();
        let longest = "x".repeat(NAME_MAX_LEN);
        for name in [longest.as_str(), "0", "a-b_c.d", "9.9"] {
            custody.create_tenant(TenantSpec::new(name, ISSUER, "claim")).unwrap();
            assert_eq!(room.session(&user("claim"), name).unwrap().tenant().as_str(), name);
        }
        let too_long = ["x".repeat(NAME_MAX_LEN + 1), "x".repeat(1 << 20)];
        for name in BAD_NAMES.into_iter().chain(too_long.iter().map(String::as_str)) {
            let outcome = custody.create_tenant(TenantSpec::new(name, ISSUER, "claim"));
            assert_eq!(kind(outcome), Some(ErrorKind::Invalid), "{name:.20?}");
            assert_eq!(kind(custody.suspend_tenant(name)), Some(ErrorKind::NotFound));
            assert_eq!(kind(custody.delete_tenant(name)), Some(ErrorKind::NotFound));
            assert_eq!(kind(room.session(&user("claim"), name)), Some(ErrorKind::Denied));
        }
        assert_eq!(custody.tenants().unwrap().len(), 6);
    });
}

#[test]
fn collections_are_named_by_the_rule_only() {
    on_both(|room| {
        let session = room.session(&user("contoso"), "contoso").unwrap();
        let leak = |name: &str| -> &'static str { String::leak(name.to_owned()) };
        for name in ["0", "a-b_c.d", &"x".repeat(NAME_MAX_LEN)] {
            let definition = CollectionDef::<u64, Vec<u8>>::bytes(leak(name));
            assert!(session.collection(&definition).is_ok() && session.drop_collection(name).is_ok(), "{name}");
        }
        let too_long = [70_000, NAME_MAX_LEN + 1, 5000, 1 << 20].map(|length| "x".repeat(length));
        for name in too_long.iter().map(String::as_str).chain(BAD_NAMES) {
            assert_eq!(kind(session.drop_collection(name)), Some(ErrorKind::Invalid), "{name:.20?}");
            // As a constant it would not compile.
            let named = std::panic::catch_unwind(|| CollectionDef::<u64, Vec<u8>>::bytes(leak(name)));
            assert!(named.is_err(), "{name:.20?}");
        }
        assert_eq!(session.collections().unwrap(), []);
    });
}

#[test]
fn a_tenant_has_one_to_sixteen_speakers_of_512_bytes_each() {
    on_both(|room| {
        let custody = room.custody(CUSTODIAN).unwrap();
        let speakers = |name: &str, count: usize| {
            let first = TenantSpec::new(name, ISSUER, "claim-0");
            (1..count).fold(first, |spec, number| spec.speaker(ISSUER, format!("claim-{number}")))
        };
        custody.create_tenant(speakers("sixteen", 16)).unwrap();
        assert!(room.session(&user("claim-15"), "sixteen").is_ok());
        assert_eq!(kind(custody.create_tenant(speakers("seventeen", 17))), Some(ErrorKind::Invalid));
        let longest = "i".repeat(512);
        custody.create_tenant(TenantSpec::new("longest", &longest, &longest)).unwrap();
        assert!(room.home_session(&format!("{longest}|{longest}|read")).is_ok());
        let too_long = "i".repeat(513);
        let bad =
            [("", "claim"), (ISSUER, ""), (&too_long, "claim"), (ISSUER, &too_long), (ISSUER, "a\nb"), ("a\0", "b")];
        for (issuer, claim) in bad {
            assert_eq!(kind(custody.create_tenant(TenantSpec::new("bad", issuer, claim))), Some(ErrorKind::Invalid));
            let second = TenantSpec::new("bad", ISSUER, "claim").speaker(issuer, claim);
            assert_eq!(kind(custody.create_tenant(second)), Some(ErrorKind::Invalid));
        }
        assert_eq!(custody.tenants().unwrap().len(), 4);
    });
}

#[test]
fn a_cell_has_1_to_4096_boxes() {
    for (boxes, expected) in [(0, Some(ErrorKind::Invalid)), (4097, Some(ErrorKind::Invalid)), (1, None), (4096, None)]
    {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(kind(support::in_memory(folder.path()).boxes_per_cell(boxes).open()), expected, "{boxes} boxes");
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(kind(support::on_disk(folder.path()).boxes_per_cell(0).open()), Some(ErrorKind::Invalid));
    assert!(!folder.path().join("store").exists(), "nothing was made");
}
