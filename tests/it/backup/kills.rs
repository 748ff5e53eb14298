//! kill -9 during backups and restores: what is there is whole, what is not there can be made again, and nothing is
//! left lying about.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use strongroom::TenantState;
use strongroom::backup::{self, BackupPlan, TenantRestore};

use super::regions::make_in_region;
use crate::chance::Chance;
use crate::children::{self, Playing};
use crate::drill::{Drill, Everything, everything, fill, region_of};
use crate::folders;
use crate::support::{self, CUSTODIAN};

const PER_ROUND: usize = 30;

/// How many children are killed in all; `STRONGROOM_KILL_ROUNDS` says otherwise.
fn rounds() -> u64 {
    std::env::var("STRONGROOM_KILL_ROUNDS").map_or(42, |rounds| rounds.parse().expect("a number"))
}

/// The child that writes a round of records, exports the rings and makes a backup, again and again.
pub fn back_up_until_killed() {
    let drill = Drill::again(&children::folder());
    let room = drill.open();
    let custody = room.custody(CUSTODIAN).unwrap();
    for round in children::which().. {
        fill(&room, "a", usize::try_from(round).unwrap(), PER_ROUND);
        children::say(&format!("filled {round}"));
        drill.export(&room);
        let number = custody.backup(BackupPlan::store(drill.backups())).unwrap().number;
        children::say(&format!("backup {number} {round}"));
    }
}

/// The child that restores the newest backup into a folder of its own, and its region beside it.
pub fn restore_until_killed() {
    let (drill, target) = (Drill::again(&children::folder()), children::folder().join("restored"));
    drill.restore().region("eu", region_of(&target)).store_into(&target).unwrap();
    children::say("restored");
}

/// The child that restores a tenant beside the living.
pub fn restore_tenant_until_killed() {
    let drill = Drill::again(&children::folder());
    let room = drill.open();
    children::say("open");
    let restore = TenantRestore::new(drill.backups(), "a", format!("again-{}", children::which()));
    room.custody(CUSTODIAN).unwrap().restore_tenant(&restore).unwrap();
    children::say("restored");
}

/// Runs a child and kills it: after a while, or before or within a call to the file system. Returns what it said.
fn kill_one(role: &str, folder: &Path, which: u64, chance: &mut Chance) -> Vec<String> {
    let mut command = children::command(role, folder, which);
    if chance.happens(50) {
        command.env("LD_PRELOAD", children::syncwatch()).env("SYNCWATCH_FOLDER", folder);
        command.env("SYNCWATCH_KILL_AT", (1 + chance.below(250)).to_string());
        if chance.happens(50) {
            command.env("SYNCWATCH_TEAR", "1");
        }
        let (status, said) = Playing::begin(command).wait();
        assert!(status.success() || status.signal() == Some(9), "{role} failed: {status}");
        return said;
    }
    let child = Playing::begin(command);
    std::thread::sleep(Duration::from_micros(20_000 + chance.below(250_000) as u64));
    child.kill_if_alive()
}

#[test]
fn a_backup_that_is_killed_at_any_instant_loses_and_leaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    support::make_tenants(&drill.open(), &["a", "b"]);
    let mut chance = Chance::of_this_run("kills of backups");
    let (mut filled, mut made, mut next) = (BTreeSet::new(), Vec::new(), 0);
    for _ in 0..rounds() / 3 {
        for word in kill_one("backer", folder.path(), next, &mut chance) {
            let numbers: Vec<u64> = word.split(' ').filter_map(|part| part.parse().ok()).collect();
            match numbers[..] {
                [round] => drop(filled.insert(round)),
                [number, round] => made.push((number, round)),
                _ => panic!("{word}"),
            }
        }
        next = filled.last().map_or(0, |last| last + 2);
        if drill.backups().join("FORMAT").exists() && drill.escrow_file().exists() {
            check_all(&drill, &filled, &made);
        }
    }
    assert!(!made.is_empty(), "no child came as far as a backup");
    let room = drill.open();
    assert!(!folder.path().join("store/.backup").exists());
    let last = drill.backup(&room);
    check_all(&drill, &filled, &made);
    // Files that no manifest names are gone with the first backup that was made.
    let everywhere: u64 = folders::files(&drill.backups().join("objects")).len() as u64;
    let named = backup::list(drill.backups(), &drill.escrow()).unwrap().iter().map(|one| one.files).sum::<u64>();
    assert!(everywhere <= named, "{everywhere} files, of which {named} are named");
    let left: Vec<_> =
        folders::files(&drill.backups()).into_iter().filter(|path| folders::name(path) == ".incoming").collect();
    assert!(left.is_empty() && last.number > made.len() as u64 - 1, "{left:?}");
    println!("kills: {}; backups made and checked: {}", rounds() / 3, made.len());
}

/// Every backup that is there verifies, every one that was reported is there and holds just what had been written.
fn check_all(drill: &Drill, filled: &BTreeSet<u64>, made: &[(u64, u64)]) {
    let there = backup::list(drill.backups(), &drill.escrow()).unwrap();
    for one in &there {
        backup::verify(drill.backups(), &drill.escrow(), Some(one.number)).unwrap();
    }
    let Some((number, round)) = made.last() else { return };
    assert!(made.iter().all(|(number, _)| there.iter().any(|one| one.number == *number)), "{made:?} {there:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    drill.restore().backup(*number).store_into(elsewhere.path().join("store")).unwrap();
    let found = drill.read(&elsewhere.path().join("store"));
    let rounds_of = |everything: &Everything| -> BTreeSet<u64> {
        everything["a"].keys().filter_map(|(_, key)| key.split('/').next()?.parse().ok()).collect()
    };
    let held = rounds_of(&found);
    let whole = |round: &u64| {
        let start = format!("{round}/");
        found["a"].keys().filter(|(_, key)| key.starts_with(&start)).count() == 2 * PER_ROUND
    };
    assert!(filled.iter().filter(|one| *one <= round).all(whole), "backup {number} lacks records");
    assert!(held.iter().all(|one| one <= round), "backup {number} holds what was written after it");
}

#[test]
fn a_restore_that_is_killed_at_any_instant_leaves_nothing_or_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::with_region(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b", "c", "d", "e"]);
    ["paris", "lyon"].iter().for_each(|name| make_in_region(&room, name));
    ["a", "e", "paris"].iter().for_each(|name| fill(&room, name, 0, 100));
    drill.backup(&room);
    let expected = everything(&room);
    let target = folder.path().join("restored");
    let region = region_of(&target);
    let mut chance = Chance::of_this_run("kills of restores");
    let (mut nothing, mut whole, mut begun, mut marked) = (0, 0, 0, 0);
    for _ in 0..rounds() / 3 {
        let said = kill_one("restorer", folder.path(), 0, &mut chance);
        let has_marker = usize::from(region.join(".restoring").exists());
        if target.exists() {
            whole += 1;
            marked += has_marker;
        } else {
            nothing += 1;
            begun += has_marker;
            assert!(said.is_empty(), "it said that it was done");
            let report = drill.restore().region("eu", &region).store_into(&target).unwrap();
            assert_eq!((report.tenants, report.incomplete), (7, 0));
        }
        assert!(drill.read(&target) == expected);
        assert!(!region.join(".restoring").exists());
        fs::remove_dir_all(&target).unwrap();
        fs::remove_dir_all(&region).unwrap();
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    // What a kill after the last step leaves is an empty folder with a lock, and the next restore removes it.
    drill.restore_to(1, &target);
    assert!(!folder.path().join(".restoring-restored").exists(), "{left:?}");
    println!(
        "kills that left nothing: {nothing}, {begun} of them part of a region; the whole: {whole}, {marked} marked"
    );
}

#[test]
fn a_restore_that_is_killed_beside_its_commit_leaves_a_region_that_goes_with_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::with_region(folder.path());
    let room = drill.open();
    make_in_region(&room, "paris");
    fill(&room, "paris", 0, 20);
    drill.backup(&room);
    let expected = everything(&room);
    let target = folder.path().join("restored");
    let marker = region_of(&target).join(".restoring");
    let is_killed_at = |call: u64| {
        for path in [&target, &region_of(&target)] {
            drop(fs::remove_dir_all(path));
        }
        let mut command = children::command("restorer", folder.path(), 0);
        command.env("LD_PRELOAD", children::syncwatch()).env("SYNCWATCH_FOLDER", folder.path());
        command.env("SYNCWATCH_KILL_AT", call.to_string());
        let (status, _) = Playing::begin(command).wait();
        !status.success()
    };
    // The call after which there is no other: somewhat before it is the commit.
    let (mut killed, mut survived) = (1, 4096);
    while survived - killed > 1 {
        let middle = u64::midpoint(killed, survived);
        *(if is_killed_at(middle) { &mut killed } else { &mut survived }) = middle;
    }
    let (mut before, mut after) = (0, 0);
    for call in killed.saturating_sub(5)..=killed {
        is_killed_at(call);
        match (target.exists(), marker.exists()) {
            (false, true) => before += 1,
            (true, true) => after += 1,
            _ => {}
        }
        if !target.exists() {
            drill.restore_to(1, &target);
        }
        assert!(drill.read(&target) == expected && !marker.exists());
    }
    assert!(before > 0 && after > 0, "{before} kills before the commit, {after} after it");
    println!(
        "calls: {killed}; kills between marker and commit: {before}; between commit and the marker's end: {after}"
    );
}

#[test]
fn a_tenant_whose_restore_is_killed_at_any_instant_is_not_there_or_whole() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    fill(&room, "a", 0, 300);
    drill.backup(&room);
    let expected = everything(&room)["a"].clone();
    drop(room);
    let mut chance = Chance::of_this_run("kills of restores of tenants");
    let (mut absent, mut whole) = (0, 0);
    for which in 0..rounds() / 3 {
        let said = kill_one("borrower", folder.path(), which, &mut chance);
        let room = drill.open();
        let custody = room.custody(CUSTODIAN).unwrap();
        assert!(custody.tenants().unwrap().iter().all(|tenant| tenant.state == TenantState::Active));
        let name = format!("again-{which}");
        let found = everything(&room);
        match found.get(&name) {
            Some(records) => {
                assert!(*records == expected);
                custody.delete_tenant(&name).unwrap();
                whole += 1;
            }
            None => {
                assert!(!said.contains(&"restored".to_owned()), "it said that it was done");
                absent += 1;
            }
        }
        assert!(found["a"] == expected && found.len() <= 3);
        // The boxes are clean: what is made next has nothing in it.
        support::make_tenants(&room, &["next"]);
        assert!(everything(&room)["next"].is_empty());
        custody.delete_tenant("next").unwrap();
    }
    println!("kills that left no tenant: {absent}; a whole one: {whole}");
}
