//! What a store does by itself: keys rotate at their age, sweeps come to their end within the budget, and nobody's root
//! keys are asked before something is due.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use strongroom::{
    Budgets, CollectionDef, GenerationState, LocalRoots, ManualClock, ResealPlan, RootError, RootId, RootKeys, Rules,
    Strongroom, StrongroomBuilder, TenantCustody, TenantSpec, WrapContext, WrapSecret, Wrapped,
};

use crate::support::{CUSTODIAN, ISSUER, Plain, user};

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes");
const OURS: &str = "https://issuer.example|contoso|custodian";
const DAY: Duration = Duration::from_secs(24 * 3600);
const RATE: u64 = 1 << 20;

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

fn builder(folder: &Path, clock: &Arc<ManualClock>, unwraps: &Arc<AtomicUsize>) -> StrongroomBuilder {
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
    let roots = Counting { roots, unwraps: unwraps.clone() };
    let builder = Strongroom::builder(folder.join("store"), roots, Plain).service_speaker(ISSUER, "service");
    builder.boxes_per_cell(4).clock(clock.clone()).budgets(Budgets::default().reseal_rate(RATE))
}

fn clock() -> Arc<ManualClock> {
    ManualClock::new(1_800_000_000_000)
}

fn custody(room: &Strongroom) -> TenantCustody {
    room.tenant_custody(OURS, "contoso").unwrap()
}

fn states(room: &Strongroom) -> Vec<(u32, GenerationState)> {
    let keys = custody(room).keys().unwrap();
    keys.generations.iter().map(|generation| (generation.number, generation.state)).collect()
}

fn with_notes(room: &Strongroom, count: u64) {
    let custody = room.custody(CUSTODIAN).unwrap();
    for name in ["contoso", "fabrikam"] {
        custody.create_tenant(TenantSpec::new(name, ISSUER, name)).unwrap();
    }
    let notes = room.session(&user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
    (0..count).for_each(|key| assert!(notes.put(&key, &vec![1; 1000]).is_ok()));
}

fn agree(room: &Strongroom, age: Option<Duration>) {
    let custody = custody(room);
    let number = custody.propose_rules(Rules::default().rotate_keys_after(age), "by age").unwrap();
    custody.apply(number).unwrap();
}

#[test]
fn a_key_that_has_reached_its_age_is_followed_by_another_and_goes() {
    let (folder, clock, unwraps) = (tempfile::tempdir().unwrap(), clock(), Arc::default());
    let room = builder(folder.path(), &clock, &unwraps).open().unwrap();
    with_notes(&room, 100);
    agree(&room, Some(DAY));
    clock.advance(Duration::from_secs(24 * 3600 - 1));
    room.tend();
    assert_eq!(states(&room), [(1, GenerationState::Writing)], "not a second early");
    clock.advance(Duration::from_secs(1));
    (0..5).for_each(|_| {
        room.tend();
        clock.advance(Duration::from_secs(1));
    });
    assert_eq!(states(&room), [(2, GenerationState::Writing)], "its records have moved and its key is gone");
    let notes = room.session(&user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
    assert_eq!(notes.count().unwrap(), 100);
    agree(&room, None);
    clock.advance(DAY * 3);
    room.tend();
    assert_eq!(states(&room), [(2, GenerationState::Writing)], "not without the rule");
}

#[test]
fn a_key_is_held_back_by_a_scan_and_goes_after_it() {
    let (folder, clock, unwraps) = (tempfile::tempdir().unwrap(), clock(), Arc::default());
    let room = builder(folder.path(), &clock, &unwraps).open().unwrap();
    with_notes(&room, 100);
    agree(&room, Some(DAY));
    let notes = room.session(&user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
    let scan = notes.iter().unwrap();
    clock.advance(DAY);
    let tend = |rounds| {
        (0..rounds).for_each(|_| {
            room.tend();
            clock.advance(Duration::from_secs(30));
        });
    };
    tend(6);
    assert_eq!(states(&room), [(1, GenerationState::Rolled), (2, GenerationState::Writing)]);
    drop(scan);
    tend(6);
    assert_eq!(states(&room), [(2, GenerationState::Writing)]);
}

#[test]
fn nobody_is_asked_for_the_keys_of_an_idle_tenant_before_they_are_due() {
    let (folder, clock, unwraps) = (tempfile::tempdir().unwrap(), clock(), Arc::default());
    let room = builder(folder.path(), &clock, &unwraps).open().unwrap();
    with_notes(&room, 10);
    agree(&room, Some(DAY));
    room.tend();
    drop(room);
    let room = builder(folder.path(), &clock, &unwraps).open().unwrap();
    let asked = || unwraps.swap(0, Ordering::SeqCst);
    asked();
    for _ in 0..10 {
        clock.advance(Duration::from_secs(60));
        room.tend();
    }
    assert_eq!(asked(), 0, "neither the store's nor the tenant's");
    clock.advance(DAY);
    room.tend();
    assert!(asked() > 0, "the control: now it is due");
    assert_eq!(states(&room).last(), Some(&(2, GenerationState::Writing)));
}

#[test]
fn what_a_custodian_left_unfinished_comes_to_its_end_within_the_budget() {
    let (folder, clock, unwraps) = (tempfile::tempdir().unwrap(), clock(), Arc::default());
    let room = builder(folder.path(), &clock, &unwraps).open().unwrap();
    with_notes(&room, 6000);
    custody(&room).rotate_keys().unwrap();
    let mut pages = 0;
    let interrupted = ResealPlan::new().on_progress(|_| {
        pages += 1;
        if pages == 2 { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    });
    custody(&room).reseal(interrupted).unwrap();
    assert!(matches!(states(&room)[0], (1, GenerationState::Rolling { .. })));
    drop(room);
    let room = builder(folder.path(), &clock, &unwraps).open().unwrap();
    let moved = || {
        let census = custody(&room).census().unwrap();
        census.generations.iter().find(|counted| counted.generation == 2).map_or(0, |counted| counted.bytes)
    };
    let mut before = moved();
    let mut seconds = 0;
    while states(&room)[0].1 != GenerationState::Rolled {
        clock.advance(Duration::from_secs(1));
        room.tend();
        let now = moved();
        assert!(now - before <= RATE, "{} bytes in a second", now - before);
        before = now;
        seconds += 1;
        assert!(seconds < 100);
    }
    assert!(seconds > 8, "{seconds}: some 6 MB are read, written and read again, a MiB a second");
    assert_eq!(states(&room).len(), 2, "without the rule only a custodian destroys a key");
}

#[test]
fn the_store_does_it_by_itself_and_is_released_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let roots = || LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
    let open = || {
        let builder = Strongroom::builder(folder.path().join("store"), roots(), Plain);
        builder.service_speaker(ISSUER, "service").boxes_per_cell(4).open().unwrap()
    };
    let room = open();
    with_notes(&room, 500);
    custody(&room).rotate_keys().unwrap();
    custody(&room).reseal(ResealPlan::new().on_progress(|_| std::ops::ControlFlow::Break(()))).unwrap();
    while states(&room)[0].1 != GenerationState::Rolled {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(room);
    for round in 0..20 {
        let room = open();
        std::thread::sleep(Duration::from_millis(round * 7));
        room.tend();
        // Whatever the thread is at, the folder is free when the last handle is gone.
        drop(room);
    }
}
