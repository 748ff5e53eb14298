//! Keys taken apart and put together.

use super::*;
use proptest::prelude::*;

fn parts(components: &Components) -> Vec<&[u8]> {
    components.iter().collect()
}

#[test]
fn a_string_is_cut_after_every_separator_and_joined_again() {
    let cut = |key: &str| Components::of::<&'static str>(&key, b'/').unwrap();
    assert_eq!(parts(&cut("inbox/2026/1")), [&b"inbox/"[..], b"2026/", b"1"]);
    assert_eq!(parts(&cut("/a//")), [&b"/"[..], b"a/", b"/"]);
    assert_eq!(parts(&cut("")), [&b""[..]; 0]);
    for key in ["", "/", "a", "a/", "/a", "a//b"] {
        assert_eq!(<&'static str>::join(&cut(key)).unwrap(), key);
    }
}

#[test]
fn limits_hold_for_keys_of_every_kind() {
    let long = "x".repeat(KEY_MAX_LEN);
    assert!(Components::of::<&'static str>(&long.as_str(), b'/').is_ok());
    assert!(Components::of::<&'static str>(&format!("{long}x").as_str(), b'/').is_err());
    assert!(Components::of::<(&'static str, u8)>(&(&long, 1), b'/').is_err());
    assert!(Components::of::<&'static str>(&"a/".repeat(16).as_str(), b'/').is_ok());
    assert!(Components::of::<&'static str>(&"a/".repeat(17).as_str(), b'/').is_err());
}

proptest! {
    #[test]
    fn ordered_bytes_sort_as_their_tuples_and_come_back(
        a in (any::<Vec<u8>>(), any::<i32>(), "[\u{0}-\u{2}]{0,3}"),
        b in (any::<Vec<u8>>(), any::<i32>(), "[\u{0}-\u{2}]{0,3}"),
    ) {
        type K = (&'static [u8], i32, &'static str);
        let encode = |key: &(Vec<u8>, i32, String)| {
            K::ordered(&Components::of::<K>(&(&key.0, key.1, &key.2), b'/').unwrap())
        };
        prop_assert_eq!(a.cmp(&b), encode(&a).cmp(&encode(&b)));
        let back = K::from_ordered(&encode(&a), b'/').and_then(|components| K::join(&components));
        prop_assert_eq!(back, Some(a));
    }

    #[test]
    fn tuples_come_back_from_their_components(key in (any::<u128>(), ".*", any::<i8>())) {
        type K = (u128, &'static str, i8);
        prop_assume!(key.1.len() < 4000);
        let components = Components::of::<K>(&(key.0, &key.1, key.2), b'/').unwrap();
        prop_assert_eq!(K::join(&components), Some(key));
    }
}

#[test]
fn a_key_that_came_back_can_be_passed_in_again() {
    type K = (&'static str, u64, &'static [u8]);
    let key = ("inbox", 7, &b"x"[..]);
    let owned = K::own(&key);
    assert_eq!(owned, ("inbox".to_owned(), 7, b"x".to_vec()));
    assert_eq!(K::lend(&owned), key);
    assert_eq!(<&'static str as Key>::lend(&<&'static str as Key>::own(&"a/b")), "a/b");
    assert_eq!(<u64 as Key>::lend(&<u64 as Key>::own(&7)), 7);
}
