//! However many tenants come by, the keys and catalogs of a bounded number of them stay in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use strongroom::{
    Budgets, CollectionDef, LocalRoots, Result, RootError, RootId, RootKeys, Strongroom, WrapContext, WrapSecret,
    Wrapped,
};

use crate::support::{ISSUER, Plain, make_tenants, user};

const NOTES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("notes");
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Counts how often a root is asked to unwrap: once for each load of a ring.
struct Counting {
    roots: LocalRoots,
    unwraps: Arc<AtomicUsize>,
}

impl RootKeys for Counting {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.roots.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        self.roots.unwrap(root, wrapped, context)
    }
}

/// How often roots are asked while each tenant has a session in turn, round after round.
fn unwraps_with(active_tenants: usize, rounds: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let unwraps = Arc::new(AtomicUsize::new(0));
    let open = || {
        let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
        let roots = Counting { roots, unwraps: unwraps.clone() };
        let builder = Strongroom::builder(folder.path().join("store"), roots, Plain);
        let builder = builder.service_speaker(ISSUER, "service").boxes_per_cell(8);
        builder.budgets(Budgets::default().active_tenants(active_tenants)).open().unwrap()
    };
    make_tenants(&open(), &NAMES);
    let room = open();
    let kept = room.session(&user("a"), "a").unwrap().collection(&NOTES).unwrap();
    kept.put(&"k", &b"kept".to_vec()).unwrap();
    let before = unwraps.load(Ordering::SeqCst);
    for round in 0..rounds {
        for name in &NAMES[1..] {
            let notes = room.session(&user(name), name).unwrap().collection(&NOTES).unwrap();
            let value = format!("{name} {round}").into_bytes();
            notes.put(&"k", &value).unwrap();
            assert_eq!(notes.get(&"k").unwrap(), Some(value));
        }
        assert_eq!(kept.get(&"k").unwrap().unwrap(), b"kept", "whoever has a session goes on");
    }
    unwraps.load(Ordering::SeqCst) - before
}

#[test]
fn keys_of_tenants_without_a_session_go_when_others_need_the_room() {
    assert_eq!(unwraps_with(100, 10), 5, "the control: there is room for all");
    let unwraps = unwraps_with(2, 10);
    assert!((40..=50).contains(&unwraps), "five tenants take turns in one seat, ten times: {unwraps}");
}
