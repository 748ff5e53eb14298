//! Stores, backed up while they work and restored whole.

use strongroom::ErrorKind;
use strongroom::backup::{self, BackupPlan};

use crate::drill::{Drill, everything, fill};
use crate::support::{self, CUSTODIAN};

#[test]
fn a_store_comes_back_from_its_backup_record_by_record() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    // Two cells, one tenant without records, one that is suspended.
    support::make_tenants(&room, &["a", "b", "c", "d", "e"]);
    ["a", "b", "e"].iter().for_each(|name| fill(&room, name, 0, 50));
    room.custody(CUSTODIAN).unwrap().suspend_tenant("c").unwrap();
    let report = drill.backup(&room);
    assert_eq!((report.number, report.uncovered), (1, 0));
    assert!(report.missing_cells.is_empty() && report.files > 5, "{report:?}");
}

#[test]
fn each_backup_brings_back_its_own_moment() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    let mut moments = Vec::new();
    for round in 0..4 {
        fill(&room, if round % 2 == 0 { "a" } else { "b" }, round, 40);
        drill.backup(&room);
        moments.push(everything(&room));
    }
    drop(room);
    for (place, moment) in moments.iter().enumerate() {
        drill.hold(place as u64 + 1, moment);
    }
}

#[test]
fn an_unchanged_store_is_not_copied_again() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    ["a", "b"].iter().for_each(|name| fill(&room, name, 0, 2000));
    drill.export(&room);
    // Nothing is scanned in between: when its last snapshot goes, RocksDB may write a young table once more.
    let backup = || room.custody(CUSTODIAN).unwrap().backup(BackupPlan::store(drill.backups())).unwrap();
    let (first, second) = (backup(), backup());
    assert!(first.bytes_copied > 2_000_000, "{first:?}");
    assert!(second.bytes_copied < 200_000, "{second:?}");
    // The control: what is new is copied.
    fill(&room, "a", 1, 2000);
    let third = backup();
    assert!((1_000_000..first.bytes_copied).contains(&third.bytes_copied), "{third:?}");
    println!("copied: {} bytes, then {}, then {}", first.bytes_copied, second.bytes_copied, third.bytes_copied);
    drill.hold(third.number, &everything(&room));
}

#[test]
fn without_an_escrow_of_all_rings_there_is_no_backup() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    let custody = room.custody(CUSTODIAN).unwrap();
    let plan = || BackupPlan::store(drill.backups());
    support::make_tenants(&room, &["a"]);
    assert_eq!(custody.backup(plan()).unwrap_err().kind(), ErrorKind::Invalid, "none was ever made");
    drill.export(&room);
    custody.backup(plan()).unwrap();
    support::make_tenants(&room, &["b"]);
    assert_eq!(custody.backup(plan()).unwrap_err().kind(), ErrorKind::Invalid, "it lacks a tenant");
    assert_eq!(custody.backup(plan().escrow_never()).unwrap().uncovered, 1);
    custody.delete_tenant("a").unwrap();
    support::make_tenants(&room, &["a"]);
    assert_eq!(custody.backup(plan()).unwrap_err().kind(), ErrorKind::Invalid, "the name is the same, the ring not");
    drill.backup(&room);
}

#[test]
fn progress_is_told_file_by_file_and_ends_at_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    fill(&room, "a", 0, 10);
    drill.export(&room);
    let mut told = Vec::new();
    let plan = BackupPlan::store(drill.backups()).on_progress(|progress| told.push(*progress));
    let report = room.custody(CUSTODIAN).unwrap().backup(plan).unwrap();
    assert!(told.is_sorted_by_key(|progress| (progress.files, progress.bytes)));
    let last = told.last().unwrap();
    assert_eq!((last.files, last.bytes, last.bytes_copied), (report.files, report.bytes, report.bytes_copied));
    assert_eq!((last.files, last.bytes), (last.files_total, last.bytes_total));
    drill.hold(report.number, &everything(&room));
}

#[test]
fn writers_tenants_and_backups_at_once_give_backups_that_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let is_running = || !stop.load(std::sync::atomic::Ordering::SeqCst);
    let numbers: Vec<u64> = std::thread::scope(|scope| {
        // Each round is one batch: it is in a backup wholly or not at all.
        scope.spawn(|| {
            let mut round = 0;
            while is_running() {
                fill(&room, "a", round, 1);
                round += 1;
            }
        });
        // Tenants come and go, and their boxes are handed out again.
        scope.spawn(|| {
            while is_running() {
                support::make_tenants(&room, &["guest"]);
                fill(&room, "guest", 0, 3);
                room.custody(CUSTODIAN).unwrap().delete_tenant("guest").unwrap();
            }
        });
        let backup = |_| {
            let custody = room.custody(CUSTODIAN).unwrap();
            drill.export(&room);
            custody.backup(BackupPlan::store(drill.backups()).escrow_never()).unwrap().number
        };
        let numbers = (0..5).map(backup).collect();
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        numbers
    });
    // One more, that knows of every deletion: whoever was a guest stays away.
    drill.backup(&room);
    for number in numbers {
        let elsewhere = tempfile::tempdir().unwrap();
        let store = elsewhere.path().join("store");
        drill.restore().backup(number).store_into(&store).unwrap();
        let found = drill.read(&store);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b"]);
        let counts: Vec<usize> = ["notes", "traces"]
            .map(|collection| found["a"].keys().filter(|(name, _)| name == collection).count())
            .to_vec();
        assert_eq!(counts[0], counts[1], "half a batch in backup {number}");
    }
}

#[test]
fn removing_the_folder_of_a_backup_frees_its_files_at_the_next_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    let mut moments = Vec::new();
    for round in 0..3 {
        fill(&room, "a", round, 30);
        drill.backup(&room);
        moments.push(everything(&room));
    }
    // A backup that was given another name is no backup, and its files stay nevertheless.
    let (named, renamed) = (super::damage::backup_folder(&drill, 1), drill.backups().join("backups/keep-this"));
    std::fs::rename(&named, &renamed).unwrap();
    drill.backup(&room);
    std::fs::rename(&renamed, &named).unwrap();
    drill.hold(1, &moments[0]);
    let objects = || crate::folders::files(&drill.backups().join("objects"));
    let before = objects();
    std::fs::remove_dir_all(super::damage::backup_folder(&drill, 1)).unwrap();
    std::fs::write(drill.backups().join("objects").join("0".repeat(64)), "of nobody").unwrap();
    drill.backup(&room);
    let after = objects();
    assert!(before.iter().any(|file| !after.contains(file)), "nothing was freed");
    assert!(after.iter().all(|file| !crate::folders::name(file).starts_with("0000000")), "nor what nobody names");
    drill.hold(2, &moments[1]);
    drill.hold(3, &moments[2]);
    assert!(drill.restore().backup(1).store_into(folder.path().join("elsewhere")).is_err());
}

#[test]
fn a_backup_that_was_cut_short_goes_on_from_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    let names = ["a", "b", "c", "d", "e", "f"];
    support::make_tenants(&room, &names);
    names.iter().for_each(|name| fill(&room, name, 0, 300));
    drill.export(&room);
    let custody = room.custody(CUSTODIAN).unwrap();
    let elsewhere = custody.backup(BackupPlan::store(folder.path().join("whole"))).unwrap();
    let mut copied = 0;
    let cut_short = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let plan = BackupPlan::store(drill.backups()).on_progress(|progress| {
            copied = progress.bytes_copied;
            assert!(progress.bytes < elsewhere.bytes / 2, "cut short");
        });
        drop(custody.backup(plan));
    }));
    assert!(cut_short.is_err() && copied > 400_000, "{copied}");
    assert_eq!(backup::list(drill.backups(), &drill.escrow()).unwrap(), [], "half a backup is none");
    let report = custody.backup(BackupPlan::store(drill.backups())).unwrap();
    let left = elsewhere.bytes_copied - copied;
    assert!(report.bytes_copied < left + 100_000, "{} copied anew, {left} were left", report.bytes_copied);
    drill.hold(report.number, &everything(&room));
}
