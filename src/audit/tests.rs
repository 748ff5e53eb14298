//! Trails in a store, and what is done to them by somebody who holds its keys.

use std::sync::Arc;
use std::time::Duration;

use super::trails::{EVENTS, Row, TREES, Trails};
use super::*;
use crate::clock::ManualClock;
use crate::engine::{Batch, Durability};
use crate::error::ErrorKind;
use crate::name::Incarnation;
use crate::strongroom::Strongroom;
use crate::test_kit::in_memory;

const TRAIL: Incarnation = Incarnation::new([7; 16]);

/// A store with a clock that stands still.
struct World {
    room: Strongroom,
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(1_000_000_000_000);
        let room = in_memory(folder.path()).clock(clock.clone()).open().unwrap();
        Self { room, clock, _folder: folder }
    }

    /// A trail of ten events.
    fn with_ten() -> Self {
        let world = Self::new();
        (0..10).for_each(|number| world.record(number));
        world
    }

    fn trails(&self) -> &Trails {
        self.room.directory().trails()
    }

    fn record(&self, number: u64) {
        self.trails().record(TRAIL, numbered(number), Durability::Synced).unwrap();
    }

    fn verdict(&self, earlier: Option<&str>) -> Result<u64, (ErrorKind, String)> {
        let verified = self.trails().verify(TRAIL, earlier).map(|verified| verified.size);
        verified.map_err(|error| (error.kind(), error.context().to_owned()))
    }

    /// Writes as somebody who holds the store's own keys.
    fn tamper(&self, change: impl FnOnce(&Trails, &mut Batch)) {
        let mut batch = Batch::new(Durability::Synced);
        change(self.trails(), &mut batch);
        self.trails().register.apply(batch).unwrap();
        self.trails().forget_heads();
    }

    fn export(&self) -> String {
        let mut out = Vec::new();
        self.trails().export(TRAIL, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}

fn numbered(number: u64) -> Event {
    Event::new(Act::RESEAL_BEGUN, Actor::person("i", "t", "anna")).detail("number", number)
}

fn put(trails: &Trails, batch: &mut Batch, sequence: u64, leaf: &[u8]) {
    let row = Row { leaf: leaf.to_vec() };
    trails.register.put(batch, EVENTS, &[TRAIL.as_bytes(), &sequence.to_be_bytes()], &row).unwrap();
}

fn delete(trails: &Trails, batch: &mut Batch, sequence: u64) {
    trails.register.delete(batch, EVENTS, &[TRAIL.as_bytes(), &sequence.to_be_bytes()]).unwrap();
}

fn put_tree(trails: &Trails, batch: &mut Batch, leaves: &[Vec<u8>]) {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(leaf));
    trails.register.put(batch, TREES, &[TRAIL.as_bytes()], &tree).unwrap();
}

fn edited(leaf: &[u8]) -> Vec<u8> {
    let event = Event::decode(leaf).unwrap();
    Event { details: vec![("number".into(), "99".into())], ..event }.encode([1; 16])
}

#[test]
fn events_come_back_in_order_and_page_by_page() {
    let world = World::with_ten();
    world.trails().record(Incarnation::new([8; 16]), numbered(77), Durability::Buffered).unwrap();
    let numbers = |from, limit| -> Vec<String> {
        let events = world.trails().events(TRAIL, from, limit).unwrap();
        let expected: Vec<u64> = (from..).take(events.len()).collect();
        assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), expected);
        assert!(events.iter().all(|event| Event::decode(&event.leaf).unwrap() == event.event));
        assert!(events.iter().all(|event| event.event.time_ms == 1_000_000_000_000));
        events.into_iter().map(|event| event.event.details[0].1.clone()).collect()
    };
    assert_eq!(numbers(0, 3), ["0", "1", "2"]);
    assert_eq!(numbers(8, usize::MAX), ["8", "9"]);
    assert_eq!(numbers(10, 5), [""; 0]);
    assert_eq!(numbers(u64::MAX, 5), [""; 0]);
    assert_eq!(world.verdict(None), Ok(10));
}

#[test]
fn a_batch_that_is_not_written_leaves_no_entry_and_the_trail_goes_on() {
    let world = World::with_ten();
    let mut batch = Batch::new(Durability::Synced);
    let names = crate::seal::HiddenNames::new(&world.trails().register.ring().unwrap(), EVENTS.collection).unwrap();
    let taken = names.encode([&TRAIL.as_bytes()[..], &0u64.to_be_bytes()].into_iter());
    batch.expect_absent(0, taken);
    let refused = world.trails().apply(batch, [(TRAIL, numbered(10)), (world.trails().of_store(), numbered(10))]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.verdict(None), Ok(10));
    world.record(11);
    assert_eq!(world.verdict(None), Ok(11));
}

#[test]
fn every_change_of_an_event_is_found() {
    let found = |change: &dyn Fn(&Trails, &mut Batch)| {
        let world = World::with_ten();
        world.tamper(|trails, batch| change(trails, batch));
        world.verdict(None).unwrap_err()
    };
    let wrong = (ErrorKind::Tampered, "the events of the trail are not those that its head vouches for".to_owned());
    let leaf = |trails: &Trails, sequence| trails.leaf(TRAIL, sequence).unwrap();
    assert_eq!(found(&|trails, batch| put(trails, batch, 4, &edited(&leaf(trails, 4)))), wrong, "an edit");
    let swap = |trails: &Trails, batch: &mut Batch| {
        put(trails, batch, 4, &leaf(trails, 5));
        put(trails, batch, 5, &leaf(trails, 4));
    };
    assert_eq!(found(&swap), wrong, "another order");
    let missing = found(&|trails, batch| delete(trails, batch, 4));
    assert_eq!(missing, (ErrorKind::Tampered, "event 4 of the audit trail is missing".into()), "a deletion");
    let close_gap = |trails: &Trails, batch: &mut Batch| {
        (4..9).for_each(|sequence| put(trails, batch, sequence, &leaf(trails, sequence + 1)));
        delete(trails, batch, 9);
    };
    let ends = (ErrorKind::Tampered, "the audit trail does not end where its head says".to_owned());
    assert_eq!(found(&close_gap), ends, "a deletion, and the others moved up");
    let insert = |trails: &Trails, batch: &mut Batch| {
        (4..10).for_each(|sequence| put(trails, batch, sequence + 1, &leaf(trails, sequence)));
        put(trails, batch, 4, &edited(&leaf(trails, 4)));
    };
    assert_eq!(found(&insert), ends, "an insertion, and the others moved down");
    let beyond = found(&|trails, batch| put(trails, batch, 1000, &leaf(trails, 4)));
    assert_eq!(beyond, (ErrorKind::Tampered, "the trail has 11 events, and its head counts 10".into()), "a stray one");
}

#[test]
fn control_a_row_that_is_sealed_anew_is_the_same_event() {
    let world = World::with_ten();
    world.tamper(|trails, batch| put(trails, batch, 4, &trails.leaf(TRAIL, 4).unwrap()));
    assert_eq!(world.verdict(None), Ok(10));
}

/// What whoever holds the store's keys can do unseen, and what a checkpoint that was kept shows of it.
#[test]
fn a_trail_that_was_cut_or_rewritten_as_a_whole_is_found_by_a_checkpoint() {
    let rewritten = |change: fn(&mut Vec<Vec<u8>>)| {
        let world = World::with_ten();
        let kept = world.trails().checkpoint(TRAIL).unwrap();
        let early = Checkpoint::read_unverified(&kept).unwrap();
        assert_eq!((early.size(), world.verdict(Some(&kept))), (10, Ok(10)), "the control");
        world.tamper(|trails, batch| {
            let mut leaves: Vec<_> = (0..10).map(|sequence| trails.leaf(TRAIL, sequence).unwrap()).collect();
            (0..10).for_each(|sequence| delete(trails, batch, sequence));
            change(&mut leaves);
            leaves.iter().enumerate().for_each(|(sequence, leaf)| put(trails, batch, sequence as u64, leaf));
            put_tree(trails, batch, &leaves);
        });
        assert!(world.verdict(None).is_ok(), "without a checkpoint it is a trail like any other");
        world.verdict(Some(&kept)).map_err(|(kind, text)| {
            assert_eq!(kind, ErrorKind::Tampered);
            text
        })
    };
    let text = "the trail has 7 events, and had 10 at the earlier checkpoint";
    assert_eq!(rewritten(|leaves| leaves.truncate(7)).unwrap_err(), text);
    let text = "the first 10 events are not those of the earlier checkpoint";
    assert_eq!(rewritten(|leaves| leaves[4] = edited(&leaves[4])).unwrap_err(), text);
    assert_eq!(rewritten(|leaves| leaves.swap(0, 9)).unwrap_err(), text);
    let text = "the trail has 0 events, and had 10 at the earlier checkpoint";
    assert_eq!(rewritten(Vec::clear).unwrap_err(), text);
    assert_eq!(rewritten(|_| {}), Ok(10), "the control");
    let longer = rewritten(|leaves| leaves.push(edited(&leaves[0])));
    assert_eq!(longer, Ok(11), "what was added is an event like any other");
}

#[test]
fn a_checkpoint_of_another_trail_or_store_is_refused() {
    let (world, other) = (World::with_ten(), World::with_ten());
    let kind = |note: &str| world.verdict(Some(note)).unwrap_err().0;
    let of_store = world.trails().checkpoint(world.trails().of_store()).unwrap();
    assert_eq!(kind(&of_store), ErrorKind::Tampered, "not signed by the key of this trail");
    assert_eq!(kind(&other.trails().checkpoint(TRAIL).unwrap()), ErrorKind::Tampered);
    assert_eq!(kind("nothing"), ErrorKind::Invalid);
    assert!(world.verdict(Some(&world.trails().checkpoint(TRAIL).unwrap())).is_ok(), "the control");
}

#[test]
fn no_entry_is_written_over_another_though_the_head_be_lost() {
    let world = World::with_ten();
    let before = world.trails().leaf(TRAIL, 0).unwrap();
    world.tamper(|trails, batch| trails.register.delete(batch, TREES, &[TRAIL.as_bytes()]).unwrap());
    let refused = world.trails().record(TRAIL, numbered(10), Durability::Synced);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Tampered);
    assert_eq!(world.trails().leaf(TRAIL, 0).unwrap(), before);
    world.trails().record(Incarnation::new([8; 16]), numbered(0), Durability::Synced).unwrap();
}

#[test]
fn many_who_write_at_once_write_one_trail_each_and_lose_nothing() {
    let world = World::new();
    let trails: Vec<Incarnation> = (0..5).map(|number| Incarnation::new([number; 16])).collect();
    std::thread::scope(|scope| {
        for writer in 0..4u64 {
            let (world, trails) = (&world, &trails);
            scope.spawn(move || {
                for number in 0..50 {
                    // Several trails in one batch, in an order that differs from writer to writer.
                    let start = usize::try_from(writer).unwrap();
                    let some = trails.iter().cycle().skip(start).take(3);
                    let entries = some.map(|trail| (*trail, numbered(writer * 1000 + number)));
                    world.trails().apply(Batch::new(Durability::Buffered), entries).unwrap();
                }
            });
        }
    });
    let sizes = trails.iter().map(|trail| world.trails().verify(*trail, None).unwrap().size);
    assert_eq!(sizes.sum::<u64>(), 4 * 50 * 3);
}

#[test]
fn an_export_verifies_without_the_store_and_every_change_of_it_is_found() {
    let world = World::with_ten();
    let early = world.trails().checkpoint(TRAIL).unwrap();
    world.record(10);
    let (export, key) = (world.export(), world.trails().verifier_key(TRAIL).unwrap());
    let verify = |export: &str, key: Option<&VerifierKey>, earlier: Option<&str>| {
        verify_export(export.as_bytes(), key, earlier).map_err(|error| error.kind())
    };
    let verified = verify(&export, Some(&key), Some(&early)).unwrap();
    assert_eq!((verified.size, verified.is_signed, verified.grown_from), (11, true, Some(10)));
    assert_eq!(verified.origin, key.name());
    assert!(!verify(&export, None, None).unwrap().is_signed);
    let lines: Vec<&str> = export.lines().collect();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    assert!(verify(&join(&lines), Some(&key), None).is_ok(), "the control");
    for dropped in 0..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(dropped);
        assert!(verify(&join(&fewer), None, None).is_err(), "without line {dropped}");
        let mut twice = lines.clone();
        twice.insert(dropped, lines[dropped]);
        assert!(verify(&join(&twice), None, None).is_err(), "line {dropped} twice");
    }
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    assert_eq!(verify(&join(&swapped), None, None), Err(ErrorKind::Tampered));
    assert_eq!(verify(&export.replacen("anna", "otto", 1), None, None), Err(ErrorKind::Tampered));
    assert_eq!(verify(export.trim_end(), None, None), Err(ErrorKind::Corrupt), "cut off");
    assert_eq!(verify(&format!("{export}\n"), None, None), Err(ErrorKind::Corrupt), "more behind it");
    assert_eq!(verify(&"x".repeat(1 << 20), None, None), Err(ErrorKind::Corrupt), "an endless line");
    // Another store's export of the same trail: right in itself, and not signed by ours, nor grown out of ours.
    let forged = World::with_ten().export();
    assert!(verify(&forged, None, None).is_ok(), "the control");
    assert_eq!(verify(&forged, Some(&key), None), Err(ErrorKind::Tampered));
    assert_eq!(verify(&forged, None, Some(&early)), Err(ErrorKind::Tampered));
    let cut = World::new();
    cut.record(0);
    let replayed = cut.export();
    assert_eq!(verify(&replayed, None, Some(&early)), Err(ErrorKind::Invalid), "of another store");
}

#[test]
fn a_trail_that_is_not_whole_is_not_exported_as_one() {
    let world = World::with_ten();
    world.tamper(|trails, batch| put(trails, batch, 4, &edited(&trails.leaf(TRAIL, 4).unwrap())));
    let mut out = Vec::new();
    assert_eq!(world.trails().export(TRAIL, &mut out).unwrap_err().kind(), ErrorKind::Tampered);
    assert_eq!(verify_export(&out[..], None, None).unwrap_err().kind(), ErrorKind::Corrupt, "it has no last line");
}

#[test]
fn refusals_are_counted_by_reason_and_minute() {
    let world = World::new();
    world.room.custody("service").unwrap().create_tenant(crate::TenantSpec::new("contoso", "i", "contoso")).unwrap();
    let tenant = world.room.directory().find("contoso").unwrap().incarnation();
    let counted = |trail| -> Vec<Vec<String>> {
        let events = world.trails().events(trail, 0, 100).unwrap();
        let refused = events.into_iter().filter(|event| event.event.outcome == Outcome::Refused);
        let mut told: Vec<Vec<String>> =
            refused.map(|event| event.event.details.into_iter().map(|(_, value)| value).collect()).collect();
        told.sort();
        told
    };
    for _ in 0..1000 {
        world.room.session("fabrikam", "contoso").unwrap_err();
    }
    world.room.session("nobody", "nowhere").unwrap_err();
    world.room.custody("fabrikam").unwrap_err();
    assert_eq!(counted(tenant), Vec::<Vec<String>>::new(), "the minute is not over");
    world.clock.advance(Duration::from_secs(60));
    world.room.session("contoso", "contoso").unwrap();
    let reason = "the credential does not speak for the tenant";
    assert_eq!(counted(tenant), [[reason, "2001-09-09T01:46:00.000Z", "1000"]]);
    let of_store = counted(world.trails().of_store());
    assert_eq!(of_store.len(), 2, "{of_store:?}");
    assert!(of_store.iter().all(|details| details[2] == "1"));
    world.room.session("fabrikam", "contoso").unwrap_err();
    world.clock.advance(Duration::from_secs(60));
    world.room.session("fabrikam", "contoso").unwrap_err();
    assert_eq!(counted(tenant)[1], [reason, "2001-09-09T01:47:00.000Z", "1"], "whoever passes writes");
}

#[test]
fn counts_of_refusals_are_bounded() {
    let world = World::new();
    for number in 0..3000u32 {
        let mut trail = [9; 16];
        trail[..4].copy_from_slice(&number.to_be_bytes());
        world.trails().count_refusal(Incarnation::new(trail), Act::SESSIONS_REFUSED, "a reason");
    }
    world.trails().write_refusals(None);
    let of_store = world.trails().events(world.trails().of_store(), 0, 10).unwrap();
    assert_eq!(of_store.len(), 1);
    assert_eq!(of_store[0].event.details[2].1, (3000 - 1024).to_string(), "what does not fit is counted all the same");
}
