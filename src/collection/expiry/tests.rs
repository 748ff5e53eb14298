//! What is removed, what stays, and who is not looked through at all: seen in the box itself.

use std::time::Duration;

use super::*;
use crate::collection::{CollectionDef, PutOptions};
use crate::strongroom::Strongroom;
use crate::test_kit::in_memory;
use crate::{Collection, ManualClock, TenantSpec, VALUE_MAX_LEN};

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes");
const START_MS: u64 = 1_800_000_000_000;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    room: Strongroom,
    clock: Arc<ManualClock>,
    tenant: Arc<Tenant>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START_MS));
        let room = in_memory(folder.path()).clock(clock.clone()).open().unwrap();
        room.custody("service").unwrap().create_tenant(TenantSpec::new("contoso", "i", "contoso")).unwrap();
        let tenant = room.directory().find("contoso").unwrap();
        Self { room, clock, tenant, _folder: folder }
    }

    fn notes(&self) -> Collection<u64, Vec<u8>> {
        self.room.session("contoso", "contoso").unwrap().collection(&NOTES).unwrap()
    }

    /// Rows of the box that are no catalog's: records and chunks.
    fn rows(&self) -> usize {
        let view = self.tenant.view().unwrap();
        let rows = view.page(self.tenant.keyspace(), &[], None, usize::MAX).unwrap().rows;
        rows.iter().filter(|(key, _)| !key.starts_with(&CATALOG.to_be_bytes())).count()
    }

    fn ring(&self) -> Arc<Ring> {
        self.tenant.ring().unwrap()
    }

    fn collect(&self) {
        while collect_page(self.room.directory(), &self.tenant, &self.ring()).unwrap().goes_on {}
    }

    fn look(&self) -> Vec<Expired> {
        let view = self.tenant.view().unwrap();
        let from = [0, 0, 1, 0];
        let rows = view.page(self.tenant.keyspace(), &from, None, usize::MAX).unwrap().rows;
        find_expired(&self.tenant, &self.ring(), self.room.directory().now_ms(), rows).unwrap()
    }
}

fn for_a_second() -> PutOptions {
    PutOptions::new().expires_after(SECOND)
}

#[test]
fn what_has_expired_goes_with_its_chunks_and_nothing_else_does() {
    let world = World::new();
    let notes = world.notes();
    for key in 0..3000 {
        notes.put_with(&key, &vec![1; 100], for_a_second()).unwrap();
    }
    notes.put_with(&5000, &vec![2; 1 << 20], for_a_second()).unwrap();
    notes.put_with(&5001, &vec![3; VALUE_MAX_LEN], for_a_second()).unwrap();
    notes.put_with(&6000, &vec![4; 1 << 20], PutOptions::new().expires_after(HOUR)).unwrap();
    notes.put(&6001, &vec![5; 1 << 20]).unwrap();
    assert_eq!(world.rows(), 3000 + 5 + 65 + 5 + 5);
    world.collect();
    assert_eq!(world.rows(), 3000 + 5 + 65 + 5 + 5, "nothing has expired");
    world.clock.advance(SECOND);
    world.collect();
    assert_eq!(world.rows(), 10);
    assert_eq!(notes.count().unwrap(), 2);
    world.clock.set_wall_ms(START_MS);
    assert_eq!(notes.count().unwrap(), 2, "a clock that is set back brings nothing back");
}

#[test]
fn a_record_that_was_written_anew_or_sealed_again_since_it_was_found_stays() {
    let world = World::new();
    let notes = world.notes();
    for key in 0..100 {
        notes.put_with(&key, &vec![1; 100], for_a_second()).unwrap();
    }
    world.clock.advance(SECOND);
    let found = world.look();
    assert_eq!(found.len(), 100);
    notes.put(&7, &vec![2]).unwrap();
    notes.put_with(&8, &vec![2], PutOptions::new().expires_after(HOUR)).unwrap();
    notes.delete(&9).unwrap();
    assert!(remove(&world.tenant, &world.ring(), &found).unwrap());
    assert_eq!(world.rows(), 2);
    assert_eq!((notes.get(&7).unwrap(), notes.get(&8).unwrap()), (Some(vec![2]), Some(vec![2])));
    world.clock.advance(HOUR);
    let notes = world.notes();
    world.collect();
    assert_eq!((world.rows(), notes.get(&7).unwrap()), (1, Some(vec![2])));
}

#[test]
fn under_another_ring_nothing_is_removed_and_the_page_is_looked_at_again() {
    let world = World::new();
    let notes = world.notes();
    notes.put_with(&1, &vec![1], for_a_second()).unwrap();
    world.clock.advance(SECOND);
    let (found, old) = (world.look(), world.ring());
    world.room.tenant_custody("contoso", "contoso").unwrap().rotate_keys().unwrap();
    assert!(!remove(&world.tenant, &old, &found).unwrap());
    assert_eq!(world.rows(), 1);
    let step = collect_page(world.room.directory(), &world.tenant, &old).unwrap();
    assert!(step.goes_on && world.rows() == 1);
    world.collect();
    assert_eq!(world.rows(), 0);
}

#[test]
fn what_does_not_authenticate_stays_for_those_who_read_it() {
    let world = World::new();
    let notes = world.notes();
    for key in 0..3 {
        notes.put_with(&key, &vec![1], for_a_second()).unwrap();
    }
    world.clock.advance(SECOND);
    let found = world.look();
    let (engine, mut batch) = (world.tenant.writer().unwrap(), Batch::new(Durability::Buffered));
    let other = Place { collection: 256, engine_key: b"elsewhere" };
    let moved =
        seal::seal_with(&world.ring(), other, &[7; 24], seal::Terms { version: None, expires_ms: Some(1) }, b"value")
            .unwrap();
    batch.put(world.tenant.keyspace(), found[0].key.clone(), moved);
    engine.apply(batch).unwrap();
    world.collect();
    assert_eq!(world.rows(), 1);
}

#[test]
fn only_tenants_whose_records_expire_are_looked_through_and_not_before_something_has() {
    let world = World::new();
    let directory = world.room.directory();
    let notes = world.notes();
    notes.put(&1, &vec![1]).unwrap();
    assert!(directory.expiring_tenants().is_empty());
    let is_due = || world.tenant.expiring().is_due(&*world.clock, Duration::from_secs(60));
    world.clock.advance(HOUR * 100);
    assert!(!is_due());
    world.notes().put_with(&2, &vec![1], PutOptions::new().expires_after(HOUR)).unwrap();
    assert_eq!(directory.expiring_tenants().len(), 1);
    // What others may have put before is not known yet.
    world.clock.advance(Duration::from_secs(61));
    assert!(is_due());
    world.collect();
    world.clock.advance(Duration::from_secs(61));
    assert!(!is_due(), "nothing can have expired");
    world.clock.advance(HOUR);
    assert!(is_due());
    world.collect();
    assert_eq!(world.rows(), 1);
    world.clock.advance(HOUR * 100);
    assert!(!is_due(), "nothing is left that could expire");
}

#[test]
fn a_collection_that_was_dropped_is_looked_through_no_more() {
    let world = World::new();
    world.notes().put_with(&1, &vec![1], for_a_second()).unwrap();
    world.room.session("contoso", "contoso").unwrap().drop_collection("notes").unwrap();
    let (view, ring) = (world.tenant.view().unwrap(), world.ring());
    let catalog = Table { keyspace: world.tenant.keyspace(), collection: CATALOG };
    assert!(catalog.list::<u32>(&*view, &ring, &[EXPIRING]).unwrap().is_empty());
    assert!(!collect_page(world.room.directory(), &world.tenant, &ring).unwrap().goes_on);
}
