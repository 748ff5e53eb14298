//! Deleted tenants do not come back, from however old a backup.

use std::fs;

use strongroom::ErrorKind;
use strongroom::backup::BackupPlan;

use crate::drill::{Drill, everything, fill};
use crate::support::{self, CUSTODIAN};

#[test]
fn who_was_deleted_before_any_newer_backup_stays_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b", "c"]);
    ["a", "b", "c"].iter().for_each(|name| fill(&room, name, 0, 20));
    drill.backup(&room);
    let old_escrow = fs::read(drill.escrow_file()).unwrap();
    let mut expected = everything(&room);
    let custody = room.custody(CUSTODIAN).unwrap();
    // The control: while no backup knows better, the first brings everybody back.
    custody.delete_tenant("b").unwrap();
    assert_eq!(drill_of_first(&drill, &old_escrow).0, 3);
    // A backup of one tenant is enough to know.
    custody.backup(BackupPlan::tenant(drill.backups(), "a")).unwrap();
    let (tenants, deleted, elsewhere) = drill_of_first(&drill, &old_escrow);
    assert_eq!((tenants, deleted), (2, 1));
    expected.remove("b");
    let store = elsewhere.path().join("store");
    assert!(drill.read(&store) == expected);
    // Nor does anything of it: its box is clean when it is handed out, and its ring is not there.
    let roots = drill.roots();
    let room = strongroom::Strongroom::builder(&store, roots, support::Plain);
    let room = room.service_speaker(support::ISSUER, "service").open().unwrap();
    support::make_tenants(&room, &["b", "d"]);
    assert_eq!(everything(&room)["b"].len(), 0);
    fill(&room, "b", 1, 3);
    fill(&room, "d", 1, 3);
    assert_eq!(everything(&room)["b"].len(), 6);
}

/// Restores the first backup with the escrow of that time.
fn drill_of_first(drill: &Drill, escrow: &[u8]) -> (u64, u64, tempfile::TempDir) {
    let now = fs::read(drill.escrow_file()).unwrap();
    fs::write(drill.escrow_file(), escrow).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let report = drill.restore().backup(1).store_into(elsewhere.path().join("store")).unwrap();
    fs::write(drill.escrow_file(), now).unwrap();
    (report.tenants, report.deleted, elsewhere)
}

#[test]
fn a_damaged_newer_backup_might_know_of_a_deletion_and_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    drill.backup(&room);
    drill.backup(&room);
    drop(room);
    let newest = super::damage::backup_folder(&drill, 2);
    fs::write(newest.join("manifest"), "nothing").unwrap();
    let elsewhere = folder.path().join("elsewhere");
    let refused = drill.restore().backup(1).store_into(&elsewhere).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert_eq!(drill.restore().backup(1).accept_gaps().store_into(&elsewhere).unwrap().tenants, 2);
}

#[test]
fn a_newer_escrow_shows_who_was_deleted_since_the_newest_backup() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    fill(&room, "a", 0, 3);
    drill.backup(&room);
    room.custody(CUSTODIAN).unwrap().delete_tenant("b").unwrap();
    drill.export(&room);
    drill.hold(1, &everything(&room));
    let report = drill.restore().store_into(folder.path().join("elsewhere")).unwrap();
    assert_eq!((report.tenants, report.deleted, report.incomplete), (1, 1, 0));
}

#[test]
fn a_deletion_that_could_not_be_finished_counts() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b", "c", "d", "e"]);
    drill.backup(&room);
    let escrow = fs::read(drill.escrow_file()).unwrap();
    drop(room);
    // The cell of e is away: its deletion is written down, and goes on when the cell is back.
    let (cell, aside) = (folder.path().join("store/cells/0001"), folder.path().join("aside"));
    fs::rename(&cell, &aside).unwrap();
    let room = drill.open();
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.delete_tenant("e").unwrap_err();
    drop((custody, room));
    fs::rename(&aside, &cell).unwrap();
    fs::write(cell.join("db/CURRENT"), "nothing").unwrap();
    let room = drill.open();
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.backup(BackupPlan::tenant(drill.backups(), "a")).unwrap();
    let (tenants, deleted, _) = drill_of_first(&drill, &escrow);
    assert_eq!((tenants, deleted), (4, 1));
}
