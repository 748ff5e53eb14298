//! Many tenants at once: all checked before any is made, each whole or absent after a kill, and the same call makes
//! the rest.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use strongroom::{CollectionDef, ErrorKind, Result, Strongroom, TenantSpec, TenantSummary};

use crate::chance::Chance;
use crate::children::{self, Playing};
use crate::support::{self, CUSTODIAN, ISSUER, user};

const NOTES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("notes");
/// Boxes of a cell in `support`.
const BOXES: usize = 4;

fn spec(name: &str) -> TenantSpec {
    TenantSpec::new(name, ISSUER, name)
}

fn specs(names: &[&str]) -> Vec<TenantSpec> {
    names.iter().map(|name| spec(name)).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("t{number:03}")).collect()
}

fn names(summaries: &[TenantSummary]) -> Vec<&str> {
    summaries.iter().map(|summary| summary.name.as_str()).collect()
}

/// Each of these has a box of its own: a record of its own name, which it reads and nobody else changed.
fn assert_each_is_whole(room: &Strongroom, names: &[String]) {
    let notes = |name: &str| room.session(&user(name), name).unwrap().collection(&NOTES).unwrap();
    for name in names {
        notes(name).put(&"name", &name.clone().into_bytes()).unwrap();
    }
    for name in names {
        assert_eq!(notes(name).get(&"name").unwrap(), Some(name.clone().into_bytes()));
        assert_eq!(notes(name).count().unwrap(), 1);
    }
}

#[test]
fn tenants_made_together_are_those_made_alone() {
    let folder = tempfile::tempdir().unwrap();
    let many = numbered(10);
    {
        let room = support::on_disk(folder.path()).open().unwrap();
        support::make_tenants(&room, &["first", "gap", "third"]);
        let custody = room.custody(CUSTODIAN).unwrap();
        custody.delete_tenant("gap").unwrap();
        let mut progress = Vec::new();
        let list = many.iter().rev().map(|name| spec(name)).collect();
        let made = custody.create_tenants_with(list, |done, total| progress.push((done, total))).unwrap();
        assert!(names(&made).into_iter().eq(many.iter().rev()), "in the order of the list");
        // Two free boxes of the first cell, not beside each other, then whole cells.
        assert_eq!(progress, [(0, 10), (2, 10), (6, 10), (10, 10)]);
    }
    let room = support::on_disk(folder.path()).open().unwrap();
    assert_each_is_whole(&room, &many);
    assert_each_is_whole(&room, &["first".to_owned(), "third".to_owned()]);
    assert_eq!(std::fs::read_dir(folder.path().join("store/cells")).unwrap().count(), 3);
    for cell in 0..3 {
        assert_slots_are_twins(&folder.path().join(format!("store/cells/{cell:04}/rings")));
    }
}

/// At rest both slots of a box are the same, and no two boxes have the same.
fn assert_slots_are_twins(rings: &Path) {
    let file = File::open(rings).unwrap();
    let slot = |place: usize| {
        let mut slot = vec![0; 8192];
        file.read_exact_at(&mut slot, place as u64 * 8192).unwrap();
        slot
    };
    let slots: BTreeSet<_> = (0..BOXES).map(|number| slot(1 + number)).collect();
    assert_eq!(slots.len(), BOXES);
    assert!((0..BOXES).all(|number| slot(1 + number) == slot(1 + BOXES + number)));
}

fn refusal(outcome: Result<Vec<TenantSummary>>) -> (ErrorKind, String) {
    outcome.map_err(|error| (error.kind(), error.to_string())).expect_err("a refusal")
}

#[test]
fn a_mistake_anywhere_in_the_list_is_named_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::in_memory(folder.path()).open().unwrap();
    support::make_tenants(&room, &["there", "suspended"]);
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.suspend_tenant("suspended").unwrap();
    let cases: [(ErrorKind, TenantSpec); 6] = [
        (ErrorKind::Invalid, spec("No Name")),
        (ErrorKind::Invalid, spec("t003")),
        (ErrorKind::Invalid, TenantSpec::new("nobody", ISSUER, "")),
        (ErrorKind::Invalid, spec("twice").speaker(ISSUER, "twice")),
        (ErrorKind::Conflict, spec("there").speaker(ISSUER, "somebody-else")),
        (ErrorKind::Conflict, spec("suspended")),
    ];
    for (expected, mistake) in cases {
        let mut list: Vec<_> = numbered(20).iter().map(|name| spec(name)).collect();
        list.insert(7, mistake.clone());
        let (kind, text) = refusal(custody.create_tenants_with(list, |_, _| panic!("nothing is to be done")));
        assert_eq!(kind, expected, "{mistake:?}");
        assert!(text.contains("specs[7]"), "{text}");
        assert_eq!(names(&custody.tenants().unwrap()), ["suspended", "there"]);
    }
    assert_eq!(custody.create_tenants(Vec::new()).unwrap(), []);
}

#[test]
fn the_same_call_again_makes_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::in_memory(folder.path()).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    let first = custody.create_tenants(specs(&["a", "c", "e"])).unwrap();
    let mut progress = Vec::new();
    let all = specs(&["a", "b", "c", "d", "e"]);
    let made = custody.create_tenants_with(all.clone(), |done, total| progress.push((done, total))).unwrap();
    assert_eq!(names(&made), ["a", "b", "c", "d", "e"]);
    assert_eq!(progress, [(3, 5), (4, 5), (5, 5)], "the last box of one cell, then another cell");
    assert!(first.iter().all(|summary| made.contains(summary)), "those that were there are as they were");
    assert_eq!(custody.create_tenants(all).unwrap(), made, "and again");
    assert_eq!(custody.create_tenant(spec("a")).unwrap_err().kind(), ErrorKind::Conflict, "one alone must be new");
}

#[test]
fn an_end_in_the_middle_says_how_many_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    let list: Vec<_> = numbered(12).iter().map(|name| spec(name)).collect();
    let outcome = custody.create_tenants_with(list.clone(), |done, _| {
        if done == 8 {
            room.clone().close();
        }
    });
    let (kind, text) = refusal(outcome);
    assert_eq!(kind, ErrorKind::Closed);
    assert!(text.contains("8 of 12"), "{text}");
    drop((room, custody));
    let room = support::on_disk(folder.path()).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    assert_eq!(custody.tenants().unwrap().len(), 8);
    custody.create_tenants(list).unwrap();
    assert_each_is_whole(&room, &numbered(12));
}

#[test]
fn two_who_make_the_same_list_make_each_tenant_once() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::in_memory(folder.path()).open().unwrap();
    let list: Vec<_> = numbered(40).iter().map(|name| spec(name)).collect();
    let until_all_are_there = || {
        let custody = room.custody(CUSTODIAN).unwrap();
        // Whoever meets the other's tenants in the middle of a cell is told, and calls again.
        while let Err(error) = custody.create_tenants(list.clone()) {
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(until_all_are_there);
        until_all_are_there();
    });
    assert_eq!(room.custody(CUSTODIAN).unwrap().tenants().unwrap().len(), 40);
    assert_each_is_whole(&room, &numbered(40));
}

/// How many tenants a child is to make.
const FOUNDED: usize = 30;

/// The region that the children's tenants live in, in every second test.
const REGIONS: [Option<&str>; 2] = [None, Some("eu")];

fn open_with_region(folder: &Path) -> Strongroom {
    let builder = support::on_disk(folder).region("eu", folder.join("eu"));
    builder.open().expect("the store opens without help")
}

/// What a child is to make.
fn founded(region: Option<&str>) -> Vec<TenantSpec> {
    numbered(FOUNDED).iter().map(|name| region.into_iter().fold(spec(name), TenantSpec::region)).collect()
}

/// The child: makes tenants, and says how many are there.
pub fn found_until_killed() {
    let room = open_with_region(&children::folder());
    let custody = room.custody(CUSTODIAN).expect("a custodian");
    let list = founded(REGIONS[children::which() as usize]);
    custody.create_tenants_with(list, |done, _| children::say(&done.to_string())).expect("tenants");
}

/// Opens what a kill left: as many of the first tenants as were acknowledged, or those of one cell more, each whole;
/// then makes the rest. Returns how many there were.
fn check(folder: &Path, region: Option<&str>, acknowledged: usize) -> usize {
    let room = open_with_region(folder);
    let custody = room.custody(CUSTODIAN).unwrap();
    let there = custody.tenants().unwrap();
    let expected = numbered(FOUNDED);
    assert!(names(&there).into_iter().eq(&expected[..there.len()]), "the first ones, and no others");
    assert!((acknowledged..=acknowledged + BOXES).contains(&there.len()), "{} of {acknowledged}", there.len());
    assert_each_is_whole(&room, &expected[..there.len()]);
    custody.create_tenants(founded(region)).unwrap();
    assert_each_is_whole(&room, &expected);
    there.len()
}

fn last_said(said: &[String]) -> usize {
    said.last().map_or(0, |done| done.parse().expect("a number"))
}

#[test]
fn a_kill_in_the_middle_leaves_each_tenant_whole_or_absent() {
    const ROUNDS: usize = 30;
    let mut chance = Chance::of_this_run("founders");
    let (mut rounds, mut kills, mut partly, mut longest_us) = (0, 0, 0, 120_000);
    while rounds < ROUNDS || kills <= ROUNDS / 3 || partly <= ROUNDS / 10 {
        assert!(rounds < ROUNDS * 10, "{kills} kills, {partly} in the middle");
        let (folder, which) = (tempfile::tempdir().unwrap(), rounds % 2);
        let child = Playing::begin(children::command("founder", folder.path(), which as u64));
        let heard = child.hear();
        std::thread::sleep(Duration::from_micros(chance.below(longest_us) as u64));
        let (died, rest) = child.kill_or_wait();
        let said: Vec<String> = heard.into_iter().chain(rest).collect();
        let there = check(folder.path(), REGIONS[which], last_said(&said));
        rounds += 1;
        kills += usize::from(died);
        partly += usize::from((1..FOUNDED).contains(&there));
        // Whoever was done before the blow is hit earlier the next time, on a fast machine or one on which sleep is long.
        longest_us = if died { longest_us } else { (longest_us * 7 / 8).max(1_000) };
    }
    println!("kills: {kills}; with a part of the tenants made: {partly}");
}

#[test]
fn control_a_missing_tenant_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    support::make_tenants(&room, &["t000", "t001", "t002"]);
    let is_noticed = |acknowledged| std::panic::catch_unwind(|| check(folder.path(), None, acknowledged)).is_err();
    drop(room);
    assert!(is_noticed(4), "fewer than were acknowledged");
    let room = support::on_disk(folder.path()).open().unwrap();
    room.custody(CUSTODIAN).unwrap().delete_tenant("t001").unwrap();
    drop(room);
    assert!(is_noticed(1), "one before the last");
}

#[test]
fn a_kill_before_or_within_any_call_to_the_file_system_halves_no_tenant() {
    let (mut calls, mut kills) = (0, 0);
    for (which, region) in REGIONS.into_iter().enumerate() {
        // Every call would take minutes; torn ones are others than those that never came to be.
        for (tear, first) in [(false, 1), (true, 9)] {
            for call in (first..).step_by(17) {
                let folder = crate::folders::in_memory();
                let mut command = children::command("founder", folder.path(), which as u64);
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
                check(folder.path(), region, last_said(&said));
            }
        }
    }
    assert!(calls > 300 && kills > 30, "the calls of the child are not seen: {calls}, {kills} kills");
    println!("calls: about {calls}; kills: {kills}");
}
