//! Records that move to new generations under load and through kills: none is lost, none comes back, no version changes,
//! and what was destroyed opens nothing.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use strongroom::{
    CanDestroy, Collection, CollectionDef, Durability, ErrorKind, Expected, ResealPlan, Session, Strongroom,
    TenantCustody, Version,
};

use crate::chance::Chance;
use crate::children::{self, Playing};
use crate::folders;
use crate::support::{self, user};

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").durability(Durability::Buffered);
const COUNTS: CollectionDef<u64, u64> = CollectionDef::bincode("counts").durability(Durability::Buffered);
/// Writers at once, each with keys of its own.
const WRITERS: u64 = 3;
const RECORDS: u64 = 60_000;
/// Bytes a second.
const RATE: u64 = 4 << 20;
const OURS: &str = "https://issuer.example|contoso|custodian";

fn custody(room: &Strongroom) -> TenantCustody {
    room.tenant_custody(OURS, "contoso").unwrap()
}

fn session(room: &Strongroom) -> Session {
    room.session(&user("contoso"), "contoso").unwrap()
}

/// Retires every generation that can go. Returns how many went.
fn retire_all(custody: &TenantCustody) -> usize {
    let old = custody.keys().unwrap().generations;
    let old = old.iter().rev().skip(1).map(|generation| generation.number);
    let retired = old.filter(|&number| match custody.can_destroy(number).unwrap() {
        CanDestroy::Yes(proof) => custody.retire(proof).is_ok(),
        CanDestroy::No(_) => false,
    });
    retired.count()
}

/// Writes keys that are its own, and expects of each exactly what it wrote last.
struct Writer {
    notes: Collection<u64, Vec<u8>>,
    chance: Chance,
    first: u64,
    mirror: BTreeMap<u64, (Vec<u8>, Version)>,
}

impl Writer {
    fn value(&mut self) -> Vec<u8> {
        let length = if self.chance.happens(2) { 300_000 } else { self.chance.below(400) };
        self.chance.number().to_be_bytes().repeat(length / 8 + 1)
    }

    fn step(&mut self) {
        let key = self.first + self.chance.below(60) as u64;
        let (known, value) = (self.mirror.get(&key).cloned(), self.value());
        match (self.chance.below(10), known) {
            (0..4, _) => {
                let version = self.notes.put(&key, &value).unwrap();
                self.mirror.insert(key, (value, version));
            }
            (4..7, known) => {
                // Nobody else writes this key, so no conflict is one.
                let expected = known.map_or(Expected::Absent, |(_, version)| version.into());
                let version = self.notes.put_if(&key, &value, expected).expect("a conflict that is none");
                self.mirror.insert(key, (value, version));
            }
            (7, Some((_, version))) => {
                self.notes.delete_if(&key, version).expect("a conflict that is none");
                self.mirror.remove(&key);
            }
            (_, known) => {
                let found = self.notes.entry(&key).unwrap().map(|entry| (entry.value().clone(), entry.version()));
                assert!(found == known, "record {key}");
            }
        }
    }
}

/// Adds one to a number that all of them share.
fn count_up(counts: &Collection<u64, u64>) {
    loop {
        let entry = counts.entry(&0).unwrap();
        let expected = entry.as_ref().map_or(Expected::Absent, |entry| entry.version().into());
        match counts.put_if(&0, &(entry.map_or(0, strongroom::Entry::into_value) + 1), expected) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
}

/// Drops a collection and makes it again while its records move: none of the old ones comes back.
fn churn(session: &Session, round: u64) {
    const BRIEF: CollectionDef<u64, u64> = CollectionDef::bincode("brief").durability(Durability::Buffered);
    let brief = session.collection(&BRIEF).unwrap();
    assert_eq!(brief.count().unwrap(), 0);
    (0..20).for_each(|key| assert!(brief.put(&key, &round).is_ok()));
    assert_eq!(brief.count().unwrap(), 20);
    session.drop_collection("brief").unwrap();
}

/// Rotates, moves the records and retires, again and again. Returns how often it rotated and retired.
fn roll_until(room: &Strongroom, done: &AtomicBool) -> (usize, usize) {
    let (custody, mut rotations, mut retired) = (custody(room), 0, 0);
    while !done.load(Ordering::SeqCst) {
        if custody.keys().unwrap().generations.len() < 16 {
            custody.rotate_keys().unwrap();
            rotations += 1;
        }
        custody.reseal(ResealPlan::new()).unwrap();
        retired += retire_all(&custody);
    }
    (rotations, retired)
}

fn load(room: &Strongroom, steps: usize) {
    support::make_tenants(room, &["contoso"]);
    let (done, counted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mirrors, rotations, retired) = std::thread::scope(|scope| {
        let write = |number: u64| {
            let session = session(room);
            let (notes, counts) = (session.collection(&NOTES).unwrap(), session.collection(&COUNTS).unwrap());
            let mut writer =
                Writer { notes, chance: Chance::new(number), first: number * 1000, mirror: BTreeMap::new() };
            for step in 0..steps {
                writer.step();
                if step % 4 == 0 {
                    count_up(&counts);
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
            writer.mirror
        };
        let writers: Vec<_> = (0..WRITERS).map(|number| scope.spawn(move || write(number))).collect();
        let done = &done;
        let others = [
            scope.spawn(move || {
                let session = session(room);
                let mut round = 0;
                while !done.load(Ordering::SeqCst) {
                    churn(&session, round);
                    round += 1;
                }
            }),
            scope.spawn(move || {
                let notes = session(room).collection(&NOTES).unwrap();
                while !done.load(Ordering::SeqCst) {
                    notes.iter().unwrap().for_each(|row| assert!(row.is_ok(), "{row:?}"));
                }
            }),
        ];
        let custodian = scope.spawn(move || roll_until(room, done));
        let mirrors: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        done.store(true, Ordering::SeqCst);
        others.into_iter().for_each(|other| other.join().unwrap());
        let (rotations, retired) = custodian.join().unwrap();
        (mirrors, rotations, retired)
    });
    let expected: BTreeMap<u64, (Vec<u8>, Version)> = mirrors.into_iter().flatten().collect();
    let custody = custody(room);
    custody.rotate_keys().unwrap();
    assert!(custody.reseal(ResealPlan::new()).unwrap().is_complete);
    retire_all(&custody);
    assert_eq!(custody.keys().unwrap().generations.len(), 1, "everything old is gone");
    assert_eq!(custody.census().unwrap().generations.len(), 1);
    let notes = session(room).collection(&NOTES).unwrap();
    assert_eq!(notes.count().unwrap(), expected.len() as u64);
    for (key, (value, version)) in &expected {
        let entry = notes.entry(key).unwrap().unwrap();
        assert!(entry.value() == value && entry.version() == *version, "record {key}");
    }
    let total = session(room).collection(&COUNTS).unwrap().get(&0).unwrap().unwrap();
    assert_eq!(total, counted.load(Ordering::SeqCst) as u64, "a count was lost or came twice");
    assert!(rotations > 2 && retired > 0, "{rotations} rotations, {retired} retired");
    println!("records: {}, rotations: {rotations}, retired: {retired}, counted: {total}", expected.len());
}

#[test]
fn a_reseal_under_load_loses_nothing_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    load(&support::in_memory(folder.path()).open().unwrap(), 2000);
}

#[test]
fn a_reseal_under_load_loses_nothing_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    load(&support::on_disk(folder.path()).open().unwrap(), 1500);
}

/// A store that does next to nothing by itself.
fn slowly(folder: &tempfile::TempDir) -> strongroom::StrongroomBuilder {
    support::on_disk(folder.path()).budgets(strongroom::Budgets::default().reseal_rate(1))
}

#[test]
fn an_interrupted_reseal_goes_on_where_it_stopped_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let room = slowly(&folder).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let batches = (0..RECORDS).collect::<Vec<_>>();
    for keys in batches.chunks(1000) {
        let batch = session(&room).batch().durability(Durability::Buffered);
        let filled = keys.iter().fold(batch, |batch, key| batch.put(&NOTES, key, &vec![7; 200]).unwrap());
        filled.commit().unwrap();
    }
    custody(&room).rotate_keys().unwrap();
    let mut seen = 0;
    let half = ResealPlan::new().on_progress(|progress| {
        seen = progress.records;
        if seen > RECORDS / 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(!custody(&room).reseal(half).unwrap().is_complete);
    drop(room);
    let room = slowly(&folder).open().unwrap();
    let mut of_the_first_sweep = 0;
    let rest = ResealPlan::new().on_progress(|progress| {
        if progress.sweep == 1 {
            of_the_first_sweep = progress.records;
        }
        ControlFlow::Continue(())
    });
    let report = custody(&room).reseal(rest).unwrap();
    assert!(report.is_complete && report.progress.sweep >= 2, "what began in the middle proves nothing: {report:?}");
    assert!(of_the_first_sweep <= RECORDS - seen + 100, "{of_the_first_sweep} looked at again, after {seen}");
    assert_eq!(retire_all(&custody(&room)), 1);
    assert_eq!(session(&room).collection(&NOTES).unwrap().count().unwrap(), RECORDS);
}

#[test]
fn a_reseal_keeps_to_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::in_memory(folder.path()).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let notes = session(&room).collection(&NOTES).unwrap();
    (0..4000).for_each(|key| assert!(notes.put(&key, &vec![1; 500]).is_ok()));
    custody(&room).rotate_keys().unwrap();
    let clock = strongroom::SystemClock::new();
    let now_ms = || strongroom::Clock::monotonic_ms(&*clock);
    let began_ms = now_ms();
    let watch = |progress: &strongroom::ResealProgress| {
        // What a page has too much is waited for before the next one.
        let allowed = (now_ms() - began_ms + 1) * RATE / 1000 + (512 << 10);
        assert!(progress.bytes <= allowed, "{} bytes, and {allowed} are allowed", progress.bytes);
        ControlFlow::Continue(())
    };
    let report = custody(&room).reseal(ResealPlan::new().bytes_per_second(RATE).on_progress(watch)).unwrap();
    assert!(report.progress.bytes > 6 << 20, "{report:?}: there was something to slow down");
}

/// The child: writes, rotates, moves and destroys, and says what is done.
pub fn reseal_until_killed() {
    let room = support::on_disk(&children::folder()).open().expect("the store opens without help");
    let rounds = if children::which() == 0 { 2 } else { u64::MAX };
    let custody = custody(&room);
    let notes = session(&room).collection(&NOTES).expect("a collection");
    for round in 1..=rounds {
        notes.put(&(round % 7), &round.to_be_bytes().to_vec()).expect("a write");
        children::say(&format!("wrote {round}"));
        if custody.keys().expect("keys").generations.len() < 16 {
            custody.rotate_keys().expect("a generation");
        }
        custody.reseal(ResealPlan::new()).expect("a reseal");
        children::say(&format!("resealed {}", custody.keys().expect("keys").generations.len()));
        retire_all(&custody);
    }
}

const LARGE: u64 = 1000;

fn prepare(folder: &Path) {
    let room = support::on_disk(folder).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let notes = session(&room).collection(&NOTES).unwrap();
    (100..140).for_each(|key| assert!(notes.put(&key, &vec![1; 900]).is_ok()));
    notes.put(&LARGE, &vec![2; 600_000]).unwrap();
}

/// Opens what a kill left: every record opens and is what was written last, and the same acts come to their end.
fn check(folder: &Path, said: &[String]) {
    let room = support::on_disk(folder).open().expect("the store opens without help");
    let notes = session(&room).collection(&NOTES).unwrap();
    let found: BTreeMap<u64, Vec<u8>> = notes.iter().unwrap().map(|row| row.expect("a record that opens")).collect();
    let wrote = said.iter().filter_map(|word| word.strip_prefix("wrote ")?.parse::<u64>().ok());
    let mut last = BTreeMap::new();
    wrote.for_each(|round| _ = last.insert(round % 7, round));
    for (key, round) in last {
        let value = u64::from_be_bytes(found[&key].as_slice().try_into().unwrap());
        assert!(value >= round, "record {key} is of round {value}, not {round}");
    }
    assert!((100..140).all(|key| found[&key] == vec![1; 900]) && found[&LARGE] == vec![2; 600_000]);
    let custody = custody(&room);
    if custody.keys().unwrap().generations.len() < 16 {
        custody.rotate_keys().unwrap();
    }
    assert!(custody.reseal(ResealPlan::new()).unwrap().is_complete);
    retire_all(&custody);
    assert_eq!(custody.keys().unwrap().generations.len(), 1);
    assert_eq!(notes.iter().unwrap().map(Result::unwrap).count(), found.len());
}

#[test]
fn a_kill_while_records_move_and_keys_go_loses_nothing() {
    const ROUNDS: usize = 15;
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let mut chance = Chance::of_this_run("resealers");
    let (mut rounds, mut acts) = (0, 0);
    while rounds < ROUNDS || acts <= ROUNDS * 2 {
        assert!(rounds < ROUNDS * 10, "too little was done to show anything: {acts}");
        rounds += 1;
        let child = Playing::begin(children::command("resealer", folder.path(), 1));
        let heard: Vec<String> = child.hear().into_iter().collect();
        std::thread::sleep(Duration::from_micros(chance.below(150_000) as u64));
        let said: Vec<String> = heard.into_iter().chain(child.kill()).collect();
        acts += said.len();
        check(folder.path(), &said);
    }
    println!("kills: {rounds}; acts of the children: {acts}");
}

#[test]
fn a_kill_before_or_within_any_call_while_records_move_leaves_everything_readable() {
    let template = tempfile::tempdir().unwrap();
    prepare(template.path());
    let (mut calls, mut kills) = (0, 0);
    for (tear, first) in [(false, 1), (true, 2)] {
        for call in (first..).step_by(3) {
            let folder = folders::in_memory();
            folders::copy(template.path(), folder.path());
            let mut command = children::command("resealer", folder.path(), 0);
            command.env("LD_PRELOAD", children::syncwatch()).env("SYNCWATCH_FOLDER", folder.path());
            command.env("SYNCWATCH_KILL_AT", call.to_string());
            if tear {
                command.env("SYNCWATCH_TEAR", "1");
            }
            let (status, said) = Playing::begin(command).wait();
            if status.success() {
                calls = call.max(calls);
                break;
            }
            kills += 1;
            check(folder.path(), &said);
        }
    }
    assert!(calls > 60 && kills > 30, "the calls of the child are not seen: {calls}, {kills} kills");
    println!("calls: about {calls}; kills: {kills}");
}

#[test]
fn control_a_lost_record_is_noticed() {
    let is_noticed = |said: &str, lose: u64| {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let room = support::on_disk(folder.path()).open().unwrap();
        let notes = session(&room).collection(&NOTES).unwrap();
        notes.put(&1, &1u64.to_be_bytes().to_vec()).unwrap();
        notes.delete(&lose).unwrap();
        drop((notes, room));
        let said = [said.to_owned()];
        std::panic::catch_unwind(|| check(folder.path(), &said)).is_err()
    };
    assert!(is_noticed("wrote 8", 99_999), "an older write than was acknowledged");
    assert!(is_noticed("wrote 1", 120), "a record that is gone");
    assert!(!is_noticed("wrote 1", 99_999));
}
