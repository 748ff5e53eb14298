//! One cell of a store that is otherwise whole.

use std::fs;

use strongroom::ErrorKind;
use strongroom::backup::BackupPlan;

use crate::drill::{Drill, everything, fill};
use crate::support::{self, CUSTODIAN, user};

/// Two cells of four boxes; tenants with records in both.
fn two_cells(drill: &Drill) -> strongroom::Strongroom {
    let room = drill.open();
    support::make_tenants(&room, &["a", "b", "c", "d", "e", "f"]);
    ["a", "b", "e"].iter().for_each(|name| fill(&room, name, 0, 60));
    drill.export(&room);
    room
}

#[test]
fn a_lost_or_broken_cell_comes_back_and_the_other_is_not_touched() {
    for loss in ["missing", "broken"] {
        let folder = tempfile::tempdir().unwrap();
        let drill = Drill::new(folder.path());
        let room = two_cells(&drill);
        let custody = room.custody(CUSTODIAN).unwrap();
        custody.backup(BackupPlan::cell(drill.backups(), 0)).unwrap();
        fill(&room, "e", 1, 10);
        let expected = everything(&room);
        let store = folder.path().join("store");
        let open = drill.restore().cell_into(&store, 0);
        assert_eq!(open.unwrap_err().kind(), ErrorKind::Conflict, "while the store is open");
        drop((custody, room));
        let cell = store.join("cells/0000");
        match loss {
            "missing" => fs::remove_dir_all(&cell).unwrap(),
            _ => fs::write(cell.join("db/CURRENT"), "nothing").unwrap(),
        }
        let broken = drill.open();
        assert_eq!(broken.session(&user("a"), "a").unwrap_err().kind(), ErrorKind::Corrupt, "{loss}: the control");
        drop(broken);
        let report = drill.restore().cell_into(&store, 0).unwrap();
        assert_eq!((report.tenants, report.deleted, report.incomplete), (4, 0, 0));
        let room = drill.open();
        assert!(everything(&room) == expected, "{loss}");
        drill.backup(&room);
    }
}

#[test]
fn the_living_directory_says_who_lives_in_a_restored_cell() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = two_cells(&drill);
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.backup(BackupPlan::store(drill.backups())).unwrap();
    // c had no records then, and has some now; b is deleted.
    fill(&room, "c", 1, 3);
    custody.delete_tenant("b").unwrap();
    drop((custody, room));
    let store = folder.path().join("store");
    fs::remove_dir_all(store.join("cells/0000")).unwrap();
    let report = drill.restore().cell_into(&store, 0).unwrap();
    assert_eq!((report.tenants, report.deleted), (3, 1));
    let room = drill.open();
    let found = everything(&room);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "c", "d", "e", "f"]);
    assert_eq!((found["a"].len(), found["c"].len()), (120, 0));
    // The box of b is clean when it is handed out.
    support::make_tenants(&room, &["b", "g", "h"]);
    ["b", "g", "h", "c"].iter().for_each(|name| fill(&room, name, 2, 2));
    assert_eq!(everything(&room)["b"].len(), 4);
    drill.backup(&room);
}

#[test]
fn a_tenant_younger_than_the_backup_is_not_lost_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    fill(&room, "a", 0, 5);
    drill.backup(&room);
    support::make_tenants(&room, &["b"]);
    fill(&room, "b", 0, 5);
    drop(room);
    let store = folder.path().join("store");
    let refused = drill.restore().cell_into(&store, 0).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    let room = drill.open();
    assert_eq!(everything(&room).len(), 2, "the cell is as it was");
    drop(room);
    let report = drill.restore().accept_gaps().cell_into(&store, 0).unwrap();
    assert_eq!((report.tenants, report.incomplete), (1, 1));
}

#[test]
fn a_cell_that_is_away_is_named_and_never_left_out_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    drop(two_cells(&drill));
    fs::write(folder.path().join("store/cells/0001/db/CURRENT"), "nothing").unwrap();
    let room = drill.open();
    let custody = room.custody(CUSTODIAN).unwrap();
    let refused = custody.backup(BackupPlan::store(drill.backups())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains("cell 1"), "{refused}");
    let report = custody.backup(BackupPlan::store(drill.backups()).accept_gaps()).unwrap();
    assert_eq!(report.missing_cells, [1]);
    drop((custody, room));
    let elsewhere = folder.path().join("elsewhere");
    assert_eq!(drill.restore().store_into(&elsewhere).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(!elsewhere.exists());
    let report = drill.restore().accept_gaps().store_into(&elsewhere).unwrap();
    assert_eq!((report.tenants, report.incomplete), (4, 2));
}

#[test]
fn a_mark_of_a_deleted_tenants_box_does_not_outlive_the_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["x", "y"]);
    ["x", "y"].iter().for_each(|name| fill(&room, name, 0, 5));
    drill.backup(&room);
    drop(room);
    let current = folder.path().join("store/cells/0000/db/CURRENT");
    let (store, away) = (folder.path().join("store"), folder.path().join("away"));
    // The cell breaks; a deletion is written down and cannot be finished.
    fs::write(&current, "nothing").unwrap();
    let room = drill.open();
    assert!(room.custody(CUSTODIAN).unwrap().delete_tenant("x").is_err());
    drop(room);
    // While the restore looks, the deletion cannot be finished either.
    drill.restore().cell_into(&store, 0).unwrap();
    // At the next opening the cell is out of reach, and then it is not.
    fs::rename(&current, &away).unwrap();
    let room = drill.open();
    fs::rename(&away, &current).unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    // Whether the deletion is tried again here or was finished before, in the end there is no such tenant.
    let is_gone = || !custody.delete_tenant("x").is_err_and(|error| error.kind() != ErrorKind::NotFound);
    let comes_back = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        is_gone()
    });
    assert!(comes_back, "the cell does not come back");
    support::make_tenants(&room, &["z"]);
    fill(&room, "z", 0, 20);
    let expected = everything(&room);
    assert_eq!((expected["y"].len(), expected["z"].len()), (10, 40));
    drop((custody, room));
    assert!(everything(&drill.open()) == expected, "the next tenant of the box keeps its records");
}
