//! What a reseal moves, what it leaves as it is, and when it proves that nothing is left.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::*;
use crate::directory::Tenant;
use crate::engine::{Batch, Durability, Opaque, Row};
use crate::error::ErrorKind;
use crate::keys::Ring;
use crate::seal::{self, Place};
use crate::test_kit::in_memory;
use crate::{Blocker, CanDestroy, CollectionDef, Expected, Strongroom, TenantCustody, TenantSpec};

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();
const EPHEMERAL: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("ephemeral");
const FILES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("files");

struct World {
    room: Strongroom,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let room = in_memory(folder.path()).open().unwrap();
        room.custody("service").unwrap().create_tenant(TenantSpec::new("contoso", "i", "contoso")).unwrap();
        Self { room, _folder: folder }
    }

    fn custody(&self) -> TenantCustody {
        self.room.tenant_custody("contoso", "contoso").unwrap()
    }

    fn notes(&self) -> crate::Collection<u64, Vec<u8>> {
        self.room.session("contoso", "contoso").unwrap().collection(&NOTES).unwrap()
    }

    fn files(&self) -> crate::Collection<&'static str, Vec<u8>> {
        self.room.session("contoso", "contoso").unwrap().collection(&FILES).unwrap()
    }

    fn tenant(&self) -> Arc<Tenant> {
        self.room.directory().find("contoso").unwrap()
    }

    fn rows(&self) -> Vec<Row> {
        let tenant = self.tenant();
        tenant.reader().unwrap().view().unwrap().page(tenant.keyspace(), &[], None, usize::MAX).unwrap().rows
    }

    /// Writes a row as whoever holds the disk can.
    fn plant(&self, (key, bytes): Row) {
        let tenant = self.tenant();
        let mut batch = Batch::new(Durability::Buffered);
        batch.put(tenant.keyspace(), key, Planted(bytes));
        tenant.writer().unwrap().apply(batch).unwrap();
    }
}

struct Planted(Vec<u8>);

impl Opaque for Planted {
    fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

fn generations(custody: &TenantCustody) -> Vec<(u32, u64)> {
    let census = custody.census().unwrap();
    census.generations.iter().map(|counted| (counted.generation, counted.records)).collect()
}

#[track_caller]
fn blockers(custody: &TenantCustody, generation: u32) -> Vec<Blocker> {
    match custody.can_destroy(generation).unwrap() {
        CanDestroy::Yes(_) => Vec::new(),
        CanDestroy::No(blockers) => blockers,
    }
}

#[track_caller]
fn retire(custody: &TenantCustody, generation: u32) {
    match custody.can_destroy(generation).unwrap() {
        CanDestroy::Yes(proof) => drop(custody.retire(proof).unwrap()),
        CanDestroy::No(blockers) => panic!("{blockers:?}"),
    }
}

#[test]
fn every_record_moves_and_its_value_and_version_stay() {
    let world = World::new();
    let (notes, files, custody) = (world.notes(), world.files(), world.custody());
    let long = vec![7; 700_000];
    let first = notes.put(&1, &b"one".to_vec()).unwrap();
    let versions: Vec<_> = (2..500).map(|key| notes.put(&key, &vec![1; 300]).unwrap()).collect();
    let of_long = files.put(&"long", &long).unwrap();
    for generation in 2..=4 {
        assert_eq!(custody.rotate_keys().unwrap(), generation);
        let before = generations(&custody);
        let report = custody.reseal(ResealPlan::new()).unwrap();
        assert!(report.is_complete && report.progress.sweep == 2, "{report:?}");
        let all: u64 = before.iter().map(|(_, records)| records).sum();
        assert_eq!(generations(&custody), [(generation, all)]);
        assert_eq!(report.progress.resealed, all);
        assert_eq!(notes.entry(&1).unwrap().unwrap().version(), first);
        assert_eq!(files.entry(&"long").unwrap().unwrap().version(), of_long);
        assert!(*files.get(&"long").unwrap().unwrap() == long);
    }
    // Versions from before three reseals are what a client compares with.
    notes.put_if(&2, &b"two".to_vec(), versions[0]).unwrap();
    assert_eq!(notes.put_if(&2, &b"no".to_vec(), versions[0]).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(notes.put_if(&1, &b"no".to_vec(), Expected::Absent).unwrap_err().kind(), ErrorKind::Conflict);
    notes.delete_if(&1, first).unwrap();
    files.put_if(&"long", &b"short".to_vec(), of_long).unwrap();
    let chunks = world.rows().iter().filter(|(key, _)| key.starts_with(&1u32.to_be_bytes())).count();
    assert_eq!(chunks, 0, "the chunks of a value that is replaced go, though they were sealed again");
    assert_eq!(notes.count().unwrap(), 498);
}

#[test]
fn a_generation_goes_when_nothing_needs_it_and_not_before() {
    let world = World::new();
    let (notes, custody) = (world.notes(), world.custody());
    notes.put(&1, &b"one".to_vec()).unwrap();
    let old: Vec<Row> = world.rows();
    assert_eq!(blockers(&custody, 1), [Blocker::Newest]);
    custody.rotate_keys().unwrap();
    let nothing_known = Blocker::Records { met: 0, bytes: 0, unreadable: 0, percent: None };
    assert_eq!(blockers(&custody, 1), [nothing_known]);
    assert_eq!(blockers(&custody, 2), [Blocker::Newest]);
    assert_eq!(custody.can_destroy(3).unwrap_err().kind(), ErrorKind::Invalid);
    custody.reseal(ResealPlan::new()).unwrap();
    retire(&custody, 1);
    assert_eq!(custody.can_destroy(1).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(notes.get(&1).unwrap().unwrap(), b"one");
    old.into_iter().for_each(|row| world.plant(row));
    assert_eq!(notes.get(&1).unwrap_err().kind(), ErrorKind::KeyDestroyed, "the record of before does not open again");
}

#[test]
fn a_proof_is_of_one_tenant_and_one_state_of_its_keys() {
    let world = World::new();
    world.room.custody("service").unwrap().create_tenant(TenantSpec::new("fabrikam", "i", "fabrikam")).unwrap();
    let (ours, theirs) = (world.custody(), world.room.tenant_custody("fabrikam", "fabrikam").unwrap());
    let proof = |custody: &TenantCustody| match custody.can_destroy(1).unwrap() {
        CanDestroy::Yes(proof) => proof,
        CanDestroy::No(blockers) => panic!("{blockers:?}"),
    };
    for custody in [&ours, &theirs] {
        custody.rotate_keys().unwrap();
        assert!(custody.reseal(ResealPlan::new()).unwrap().is_complete);
    }
    assert_eq!(theirs.retire(proof(&ours)).unwrap_err().kind(), ErrorKind::Conflict);
    let early = proof(&ours);
    ours.rotate_roots().unwrap();
    assert_eq!(ours.retire(early).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(ours.retire(proof(&ours)).unwrap().generation, 1, "asked again, it holds");
    theirs.retire(proof(&theirs)).unwrap();
}

#[test]
fn a_scan_from_before_the_end_of_the_sweep_holds_on_to_the_key() {
    let world = World::new();
    let (notes, custody) = (world.notes(), world.custody());
    (0..10).for_each(|key| _ = notes.put(&key, &vec![1; 300]).unwrap());
    custody.rotate_keys().unwrap();
    let mut early = notes.iter().unwrap();
    early.next().unwrap().unwrap();
    let during = std::cell::RefCell::new(None);
    let open_one = |_: &ResealProgress| {
        during.borrow_mut().get_or_insert_with(|| notes.iter().unwrap());
        ControlFlow::Continue(())
    };
    custody.reseal(ResealPlan::new().on_progress(open_one)).unwrap();
    let late = notes.iter().unwrap();
    assert_eq!(blockers(&custody, 1), [Blocker::Scans(2)]);
    assert_eq!(early.map(Result::unwrap).count(), 9, "it reads to its end");
    assert_eq!(blockers(&custody, 1), [Blocker::Scans(1)]);
    drop(during);
    retire(&custody, 1);
    assert_eq!(late.map(Result::unwrap).count(), 10, "one that began later needs no key that is gone");
}

#[test]
fn a_record_that_nobody_can_read_keeps_its_key_and_is_named() {
    let world = World::new();
    let (notes, custody) = (world.notes(), world.custody());
    notes.put(&1, &b"one".to_vec()).unwrap();
    notes.put(&2, &b"two".to_vec()).unwrap();
    let (key, mut bytes) = world.rows().pop().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let damaged_len = (key.len() + bytes.len()) as u64;
    world.plant((key, bytes));
    custody.rotate_keys().unwrap();
    let report = custody.reseal(ResealPlan::new()).unwrap();
    assert!(!report.is_complete && report.progress.unreadable == 1, "{report:?}");
    let damaged = Blocker::Records { met: 1, bytes: damaged_len, unreadable: 1, percent: None };
    assert_eq!(blockers(&custody, 1), [damaged]);
    notes.delete(&2).unwrap();
    assert!(custody.reseal(ResealPlan::new()).unwrap().is_complete);
    retire(&custody, 1);
    assert_eq!(notes.get(&1).unwrap().unwrap(), b"one");
}

#[test]
fn what_comes_back_is_found_and_a_proof_of_before_is_worth_nothing() {
    let world = World::new();
    let (notes, custody) = (world.notes(), world.custody());
    notes.put(&1, &b"one".to_vec()).unwrap();
    let old = world.rows();
    custody.rotate_keys().unwrap();
    custody.reseal(ResealPlan::new()).unwrap();
    let proof = match custody.can_destroy(1).unwrap() {
        CanDestroy::Yes(proof) => proof,
        CanDestroy::No(blockers) => panic!("{blockers:?}"),
    };
    custody.rotate_keys().unwrap();
    old.into_iter().for_each(|row| world.plant(row));
    custody.reseal(ResealPlan::new().on_progress(|_| ControlFlow::Break(()))).unwrap();
    assert!(matches!(*blockers(&custody, 1), [Blocker::Records { met: 3, .. }]), "{:?}", blockers(&custody, 1));
    assert_eq!(custody.retire(proof).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(custody.reseal(ResealPlan::new()).unwrap().is_complete);
    retire(&custody, 1);
    assert_eq!(notes.get(&1).unwrap().unwrap(), b"one");
}

#[test]
fn sweepers_take_turns_and_none_takes_a_generation_for_the_newest_that_is_not() {
    let world = World::new();
    let (notes, custody, tenant) = (world.notes(), world.custody(), world.tenant());
    (0..2000).for_each(|key| _ = notes.put(&key, &vec![1; 500]).unwrap());
    custody.rotate_keys().unwrap();
    let directory = world.room.directory();
    let mut first = Sweeper::new(directory, &tenant).unwrap();
    first.step().unwrap();
    custody.rotate_keys().unwrap();
    let mut second = Sweeper::new(directory, &tenant).unwrap();
    let mut outcomes = Vec::new();
    while outcomes.last() != Some(&Outcome::Complete) {
        outcomes.push(second.step().unwrap().outcome);
        outcomes.push(first.step().unwrap().outcome);
        assert!(outcomes.len() < 1000);
    }
    assert!(outcomes.contains(&Outcome::Again));
    assert_eq!(generations(&custody).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3]);
    retire(&custody, 1);
    retire(&custody, 2);
    assert_eq!(notes.count().unwrap(), 2000);
}

/// As a write of before the rotation would be that had not waited for the gate.
fn late_write(world: &World, ring: &Ring, key: u64) {
    let (tenant, catalog_id) = (world.tenant(), 256u32);
    let engine_key = [&catalog_id.to_be_bytes()[..], &key.to_be_bytes()].concat();
    let place = Place { collection: catalog_id, engine_key: &engine_key };
    let envelope = seal::seal(ring, place, &[9; 24], b"late").unwrap();
    let mut batch = Batch::new(Durability::Buffered);
    batch.put(tenant.keyspace(), engine_key.clone(), envelope);
    tenant.writer().unwrap().apply(batch).unwrap();
}

/// Writers of every kind beside rotations: when a rotation has returned, nothing new is of an older generation.
fn late_records(world: &World, plant_one: bool) -> usize {
    let stop = std::sync::atomic::AtomicBool::new(false);
    world.notes().put(&0, &Vec::new()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4u64 {
            let stop = &stop;
            scope.spawn(move || {
                let (notes, files) = (world.notes(), world.files());
                for round in 0.. {
                    if stop.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    notes.put(&(writer * 8 + round % 8), &vec![1; 100]).unwrap();
                    if writer == 0 {
                        files.put(&"long", &vec![7; 300_000]).unwrap();
                    }
                    if writer == 1 && round % 16 == 0 {
                        let session = world.room.session("contoso", "contoso").unwrap();
                        session.collection(&EPHEMERAL).unwrap().put(&1, &vec![2]).unwrap();
                        session.drop_collection("ephemeral").unwrap();
                    }
                }
            });
        }
        let custody = world.custody();
        let mut late = 0;
        for _ in 0..12 {
            let stale = world.tenant().ring().unwrap();
            let newest = custody.rotate_keys().unwrap();
            let is_old = |row: &Row| seal::peek_generation(&row.1).unwrap() < newest;
            let at_return: std::collections::HashSet<Row> = world.rows().into_iter().filter(is_old).collect();
            if plant_one {
                late_write(world, &stale, 77);
            }
            for _ in 0..20 {
                late += world.rows().into_iter().filter(|row| is_old(row) && !at_return.contains(row)).count();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        late
    })
}

#[test]
fn nothing_is_written_under_a_generation_whose_rotation_has_returned() {
    assert_eq!(late_records(&World::new(), false), 0);
}

#[test]
fn control_a_write_that_did_not_take_its_ring_in_the_gate_is_noticed() {
    assert!(late_records(&World::new(), true) > 0);
}

#[test]
fn who_holds_the_ring_of_before_reads_what_is_written_after() {
    let world = World::new();
    let (notes, custody, tenant) = (world.notes(), world.custody(), world.tenant());
    let held = tenant.ring().unwrap();
    custody.rotate_keys().unwrap();
    custody.rotate_keys().unwrap();
    notes.put(&1, &b"one".to_vec()).unwrap();
    let (key, bytes) = world.rows().pop().unwrap();
    let place = Place { collection: 256, engine_key: &key };
    assert_eq!(seal::open(&held, place, &bytes).unwrap().value(), b"one");
    let mut later = bytes.clone();
    later[5] = 4;
    assert!(seal::open(&held, place, &later).is_err(), "a generation that was never made is still none");
}

#[test]
fn a_cursor_does_not_show_the_store_what_records_are_called() {
    let world = World::new();
    let (notes, custody, tenant) = (world.notes(), world.custody(), world.tenant());
    (0..2000).for_each(|key| _ = notes.put(&key, &vec![1; 500]).unwrap());
    custody.rotate_keys().unwrap();
    custody.reseal(ResealPlan::new().on_progress(|_| ControlFlow::Break(()))).unwrap();
    let saved = world.room.directory().upkeep(&tenant).sweep.unwrap();
    let sweep = saved.resume(&tenant.ring().unwrap());
    assert!(sweep.from.starts_with(&256u32.to_be_bytes()), "the control: it is a record's engine key");
    let stored = crate::metadata::encode(&saved).unwrap();
    assert!(!stored.windows(sweep.from.len()).any(|window| window == sweep.from));
}

/// Rows of the box that open with these keys alone.
fn opened_by(ring: &Ring, world: &World) -> usize {
    let opens = |(key, bytes): &Row| {
        let place = Place { collection: u32::from_be_bytes(*key.first_chunk().unwrap()), engine_key: key };
        seal::open_record(ring, place, bytes.clone()).is_ok()
    };
    world.rows().iter().filter(|row| opens(row)).count()
}

#[test]
fn keys_of_before_in_an_attackers_hand_open_nothing_that_is_there_after() {
    let world = World::new();
    let (notes, custody, tenant) = (world.notes(), world.custody(), world.tenant());
    (0..50).for_each(|key| _ = notes.put(&key, &vec![1; 300]).unwrap());
    world.files().put(&"long", &vec![7; 700_000]).unwrap();
    // As whoever copied a slot of then, and has the root key of then: opened by itself, so that it learns of nothing later.
    tenant.forget_keys();
    let theirs = tenant.ring_for_custody().unwrap();
    let all = world.rows().len();
    assert_eq!(opened_by(&theirs, &world), all, "the control: before, they open everything");
    custody.rotate_keys().unwrap();
    assert_eq!(opened_by(&theirs, &world), all, "and a rotation alone changes nothing of what was there");
    notes.put(&1, &b"new".to_vec()).unwrap();
    assert_eq!(opened_by(&theirs, &world), all - 1);
    assert!(custody.reseal(ResealPlan::new()).unwrap().is_complete);
    retire(&custody, 1);
    assert_eq!(opened_by(&theirs, &world), 0);
    assert_eq!(notes.count().unwrap(), 50);
}
