//! Envelopes and hidden names against the reference, and every way of moving or changing them.

use serde_json::Value;

use super::record::seal_for_tests;
use super::*;
use crate::aead::NONCE_LEN;
use crate::engine::Opaque;
use crate::error::ErrorKind;
use crate::keys::Ring;
use crate::name::Incarnation;
use crate::test_kit::{array, hex, number, section};

const INCARNATION: Incarnation = Incarnation::new([1; 16]);
const NAME_SECRET: [u8; 32] = [2; 32];

fn ring() -> Ring {
    Ring::for_tests(INCARNATION, NAME_SECRET, &[(2, [3; 32]), (4, [4; 32])])
}

fn place(collection: u32, engine_key: &[u8]) -> Place<'_> {
    Place { collection, engine_key }
}

fn sealed(ring: &Ring, place: Place<'_>, value: &[u8]) -> Vec<u8> {
    sealed_until(ring, place, None, value)
}

fn sealed_until(ring: &Ring, place: Place<'_>, expires_ms: Option<u64>, value: &[u8]) -> Vec<u8> {
    let terms = Terms { version: None, expires_ms };
    seal_with(ring, place, &[7; NONCE_LEN], terms, value).unwrap().into_bytes()
}

fn ring_of(input: &Value) -> Ring {
    let key = (number(&input["generation"]), array(&input["tenant_key"]));
    Ring::for_tests(Incarnation::new(array(&input["incarnation"])), NAME_SECRET, &[key])
}

#[test]
fn envelopes_are_the_references() {
    for entry in section("envelopes", 12) {
        let (input, output) = (&entry["in"], &entry["out"]);
        let (ring, engine_key) = (ring_of(input), hex(&input["engine_key"]));
        let place = place(number(&input["collection"]), &engine_key);
        let (nonce, envelope) = (array(&input["nonce"]), hex(&output["envelope"]));
        let plaintext = hex(&output["plaintext"]);
        assert_eq!(seal_for_tests(&ring, ring.write_generation(), place, &nonce, &plaintext), envelope);
        let expires_ms = input["expires"].as_u64();
        let told = input["version"].as_str().map(|_| Version::of_write(&array(&input["version"])));
        let terms = Terms { version: told, expires_ms };
        let version = told.unwrap_or(Version::of_write(&nonce));
        let record = open_record(&ring, place, envelope.clone()).unwrap();
        assert_eq!((record.version(), record.expires_ms()), (version, expires_ms), "{}", entry["name"]);
        match record {
            Record::Whole(opened) => {
                assert_eq!(opened.value(), hex(&input["value"]), "{}", entry["name"]);
                assert_eq!((opened.version(), &input["head"]), (version, &Value::Null));
                let sealed = seal_with(&ring, place, &nonce, terms, opened.value()).unwrap();
                assert_eq!(sealed.into_bytes(), envelope);
            }
            Record::Head(head) => {
                let (object, length) = (array(&input["head"]["object"]), input["head"]["length"].as_u64().unwrap());
                assert_eq!((head.object, head.length, head.version), (object, length, version), "{}", entry["name"]);
                let head = seal_head(&ring, place, &nonce, terms, &object, length).unwrap();
                assert_eq!(head.into_bytes(), envelope);
            }
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(miri, ignore = "Miri has no /proc/self/mem")]
fn nothing_of_an_opened_record_is_left_where_it_was() {
    let (ring, place) = (ring(), place(300, b"key"));
    let opened = open(&ring, place, &sealed(&ring, place, &[0xA7; 64])).unwrap();
    let value = opened.value().as_ptr();
    assert!(!crate::test_kit::left_behind(value, 64, || drop(opened)).contains(&0xA7));
    // One that was put together, as one is that then fails.
    let part = open(&ring, place, &sealed(&ring, place, &[0xA7; 32])).unwrap();
    let head = Head { object: [0; 16], length: 64, version: part.version(), expires_ms: None };
    let mut whole = Opened::with_room(&head, 64);
    whole.append(&part);
    whole.append(&part);
    let value = whole.value().as_ptr();
    assert_eq!((whole.value(), whole.version()), (&[0xA7; 64][..], part.version()));
    assert!(!crate::test_kit::left_behind(value, 64, || drop(whole)).contains(&0xA7));
}

#[test]
fn hidden_names_are_the_references() {
    for entry in section("hidden", 9) {
        let input = &entry["in"];
        let incarnation = Incarnation::new(array(&input["incarnation"]));
        let ring = Ring::for_tests(incarnation, array(&input["name_secret"]), &[(1, [0; 32])]);
        let names = HiddenNames::new(&ring, number(&input["collection"])).unwrap();
        let components: Vec<Vec<u8>> = input["components"].as_array().unwrap().iter().map(hex).collect();
        let engine_key = names.encode(components.iter().map(Vec::as_slice));
        assert_eq!(engine_key, hex(&entry["out"]["engine_key"]), "{}", entry["name"]);
        assert_eq!(names.decode(&engine_key).unwrap(), components);
    }
}

#[test]
fn every_bit_of_an_envelope_counts() {
    let (ring, place) = (ring(), place(256, b"key"));
    let mut flips = 0;
    let lengths = [0, 1, 15, 16, 17, 100, 1000];
    for (expires_ms, length) in
        [None, Some(1_800_000_000_000)].iter().flat_map(|at| lengths.map(|length| (*at, length)))
    {
        let whole = sealed_until(&ring, place, expires_ms, &vec![9; length]);
        let opened = open(&ring, place, &whole).unwrap();
        assert_eq!((opened.value(), opened.expires_ms()), (&*vec![9; length], expires_ms));
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let generation = u32::from_be_bytes(changed[2..6].try_into().unwrap());
            let expected = match generation {
                // A flip in the generation can name one that was retired.
                1 | 3 => ErrorKind::KeyDestroyed,
                _ => ErrorKind::Tampered,
            };
            let error = open(&ring, place, &changed).err().unwrap_or_else(|| panic!("bit {bit} of {length} counts"));
            assert_eq!(error.kind(), expected, "bit {bit} of {length}");
            flips += 1;
        }
        for cut in 0..whole.len() {
            assert_eq!(open(&ring, place, &whole[..cut]).err().unwrap().kind(), ErrorKind::Tampered);
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(open(&ring, place, &longer).err().unwrap().kind(), ErrorKind::Tampered);
    }
    assert_eq!(flips, (2 * 1149 + 7 * (79 + 87)) * 8);
}

#[test]
fn an_envelope_opens_in_its_own_place_and_in_no_other() {
    let home = ring();
    let envelope = sealed(&home, place(256, b"key"), b"value");
    let tampered = |ring: &Ring, place: Place<'_>, what: &str| {
        assert_eq!(open(ring, place, &envelope).err().expect(what).kind(), ErrorKind::Tampered, "{what}");
    };
    tampered(&home, place(256, b"kez"), "another key");
    tampered(&home, place(256, b"key\0"), "a longer key");
    tampered(&home, place(257, b"key"), "another collection");
    let keys = [(2, [3; 32]), (4, [4; 32])];
    let stranger = Ring::for_tests(Incarnation::new([8; 16]), NAME_SECRET, &keys);
    tampered(&stranger, place(256, b"key"), "another tenant with, somehow, the same tenant keys");
    let other_keys = Ring::for_tests(INCARNATION, NAME_SECRET, &[(2, [3; 32]), (4, [5; 32])]);
    tampered(&other_keys, place(256, b"key"), "another tenant key");
    let swapped = Ring::for_tests(INCARNATION, NAME_SECRET, &[(2, [4; 32]), (4, [3; 32])]);
    tampered(&swapped, place(256, b"key"), "the key of another generation");
}

/// What is in the AAD and in the key's derivation, each part shown to count by itself: the same key and nonce, and a
/// context without the part, do not give the same tag.
#[test]
fn each_part_of_the_context_binds_by_itself() {
    use crate::aead::XaesKey;
    use crate::context::Context;
    use crate::derive;
    use crate::secret::Key32;
    let envelope = sealed(&ring(), place(256, b"key"), b"value");
    let key = derive::record_key(&Key32::with(|key| key.fill(4)), INCARNATION, 4, 256, 1);
    let key = XaesKey::new(&key);
    let opens = |aad: Context| {
        let mut message = envelope[62..envelope.len() - 16].to_vec();
        let tag = envelope[envelope.len() - 16..].try_into().unwrap();
        key.open(&[7; 24], &envelope[30..62].try_into().unwrap(), aad.as_slice(), &mut message, &tag).is_ok()
    };
    let aad = || Context::new("strongroom/v1/record-aad");
    let header = [1, 1, 0, 0, 0, 4];
    assert!(opens(aad().bytes(&header).bytes(&[1; 16]).u32(256).bytes(b"key")), "the control");
    assert!(!opens(aad().bytes(&[1; 16]).u32(256).bytes(b"key")), "no header");
    assert!(!opens(aad().bytes(&header).u32(256).bytes(b"key")), "no incarnation");
    assert!(!opens(aad().bytes(&header).bytes(&[1; 16]).bytes(b"key")), "no collection");
    assert!(!opens(aad().bytes(&header).bytes(&[1; 16]).u32(256)), "no engine key");
    assert!(!opens(Context::new("strongroom/v1/record").bytes(&header).bytes(&[1; 16]).u32(256).bytes(b"key")));
}

#[test]
fn unknown_inner_flags_are_refused() {
    let (ring, place) = (ring(), place(256, b"key"));
    for flags in 0..=u8::MAX {
        let plaintext = [&[flags][..], &[5; 40]].concat();
        let envelope = seal_for_tests(&ring, 4, place, &[7; NONCE_LEN], &plaintext);
        let opened = open(&ring, place, &envelope);
        let length = match flags {
            0 => 40,
            1 => 40 - 24,
            2 => 40 - 8,
            3 => 40 - 32,
            _ => {
                assert_eq!(opened.err().unwrap().kind(), ErrorKind::Tampered, "flags {flags:08b}");
                continue;
            }
        };
        assert_eq!(opened.unwrap().value().len(), length);
    }
    for short in [&[][..], &[1], &[1, 2, 3], &[2, 0], &[3; 32]] {
        let envelope = seal_for_tests(&ring, 4, place, &[7; NONCE_LEN], short);
        assert!(open(&ring, place, &envelope).is_err(), "{short:?}");
    }
}

#[test]
fn a_head_has_an_object_and_a_length_and_nothing_else() {
    let (ring, place) = (ring(), place(256, b"key"));
    let mut heads = 0;
    for flags in 16..=u8::MAX {
        for length in 0..=60 {
            let plaintext = [&[flags][..], &vec![5; length]].concat();
            let envelope = seal_for_tests(&ring, 4, place, &[7; NONCE_LEN], &plaintext);
            match (open_record(&ring, place, envelope.clone()), flags, length) {
                (Ok(Record::Head(head)), 16, 24) | (Ok(Record::Head(head)), 17, 48) => {
                    assert_eq!((head.object, head.length), ([5; 16], u64::from_be_bytes([5; 8])));
                    heads += 1;
                }
                (Ok(Record::Head(_)), 18, 32) | (Ok(Record::Head(_)), 19, 56) => heads += 1,
                (outcome, ..) => {
                    assert_eq!(outcome.err().unwrap().kind(), ErrorKind::Tampered, "flags {flags:08b}, {length}");
                }
            }
            let error = open(&ring, place, &envelope).err().expect("a head is no whole value");
            assert_eq!(error.kind(), ErrorKind::Tampered);
        }
    }
    assert_eq!(heads, 4);
}

#[test]
fn a_retired_generation_is_destroyed_and_an_older_one_still_opens() {
    let (ring, place) = (ring(), place(256, b"key"));
    let older = seal_for_tests(&ring, 2, place, &[7; NONCE_LEN], b"\0value");
    assert_eq!(open(&ring, place, &older).unwrap().value(), b"value");
    let retired = Ring::for_tests(INCARNATION, NAME_SECRET, &[(4, [4; 32])]);
    assert_eq!(open(&retired, place, &older).err().unwrap().kind(), ErrorKind::KeyDestroyed);
}

#[test]
fn hidden_names_show_no_component_and_differ_by_parent() {
    let ring = ring();
    let names = HiddenNames::new(&ring, 256).unwrap();
    let encode = |components: &[&[u8]]| names.encode(components.iter().copied());
    let (a, b) = (encode(&[b"inbox", b"same"]), encode(&[b"outbox", b"same"]));
    assert!(!a.windows(5).any(|window| window == b"inbox"));
    assert_ne!(a[a.len() - 20..], b[b.len() - 20..], "one component under two parents");
    assert!(a.starts_with(&encode(&[b"inbox"])), "a prefix of the key is a prefix of its bytes");
    let elsewhere = HiddenNames::new(&ring, 257).unwrap();
    assert_ne!(a[4..], elsewhere.encode([&b"inbox"[..], b"same"].into_iter())[4..]);
    assert!(elsewhere.decode(&a).is_err());
    for bit in 0..a.len() * 8 {
        let mut changed = a.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(names.decode(&changed).is_err(), "bit {bit}");
    }
    assert!((0..4).all(|cut| names.decode(&a[..cut]).is_err()));
}
