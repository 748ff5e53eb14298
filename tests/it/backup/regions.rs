//! Regions come back where they are told to, whole or not at all, and nowhere else.

use std::fs;
use std::path::Path;

use strongroom::backup::{BackupPlan, TenantRestore};
use strongroom::{ErrorKind, Strongroom, TenantSpec};

use crate::drill::{Drill, Everything, everything, fill, region_of};
use crate::folders;
use crate::support::{self, CUSTODIAN, ISSUER};

pub fn make_in_region(room: &Strongroom, name: &str) {
    let spec = TenantSpec::new(name, ISSUER, name).region("eu");
    room.custody(CUSTODIAN).unwrap().create_tenant(spec).unwrap();
}

/// Two tenants at home and two in `eu`, in a cell each, backed up; and what is in them.
fn at_home_and_in_region(folder: &Path) -> (Drill, Everything) {
    let drill = Drill::with_region(folder);
    let room = drill.open();
    support::make_tenants(&room, &["home", "hearth"]);
    ["paris", "lyon"].iter().for_each(|name| make_in_region(&room, name));
    ["home", "paris"].iter().for_each(|name| fill(&room, name, 0, 60));
    drill.backup(&room);
    let expected = everything(&room);
    assert_eq!((expected["home"].len(), expected["paris"].len()), (120, 120));
    (drill, expected)
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn regions_come_back_in_their_own_folders_and_the_drill_finds_places_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, expected) = at_home_and_in_region(folder.path());
    let (store, eu) = (folder.path().join("new"), folder.path().join("elsewhere/eu"));
    // One that the backup knows nothing of is left alone.
    let restore = drill.restore().region("eu", &eu).region("us", folder.path().join("us"));
    assert_eq!(restore.store_into(&store).unwrap().tenants, 4);
    assert_eq!((names(&store.join("cells")), names(&eu.join("cells"))), (vec!["0000".into()], vec!["0001".into()]));
    assert_eq!(names(&eu), ["LOCK", "REGION", "cells"]);
    assert!(!folder.path().join("us").exists());
    fs::rename(&eu, region_of(&store)).unwrap();
    assert!(drill.read(&store) == expected);

    let scratch = folder.path().join("scratch");
    // Tenant rows, catalogs and the like are records too.
    let report = drill.restore().drill(&scratch).unwrap();
    assert!(report.records >= 240 && !scratch.exists(), "{report:?}");
}

#[test]
fn a_region_without_a_folder_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, expected) = at_home_and_in_region(folder.path());
    let store = folder.path().join("new");
    let before = folders::everything(folder.path());
    let refused = drill.restore().region("us", folder.path().join("us")).store_into(&store).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("region eu"), "{refused}");
    assert_eq!(folders::everything(folder.path()), before);

    let report = drill.restore().accept_gaps().store_into(&store).unwrap();
    assert_eq!((report.tenants, report.incomplete), (2, 2));
    // And later the region too, cell by cell.
    let eu = region_of(&store);
    let refused = drill.restore().cell_into(&store, 1).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("region eu"), "{refused}");
    assert_eq!(drill.restore().region("eu", &eu).cell_into(&store, 1).unwrap().tenants, 2);
    assert!(drill.read(&store) == expected);
}

#[test]
fn a_folder_that_holds_something_is_left_alone_and_so_is_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, expected) = at_home_and_in_region(folder.path());
    let (store, eu) = (folder.path().join("new"), folder.path().join("eu"));
    let restore = |path: &Path| drill.restore().region("eu", path).store_into(&store).map_err(|error| error.kind());
    fs::create_dir(&eu).unwrap();
    fs::write(eu.join("letter"), "dear").unwrap();
    let left_alone = |path: &Path, why: &str| {
        let before = folders::everything(folder.path());
        assert_eq!(restore(path).unwrap_err(), ErrorKind::Invalid, "{why}");
        assert_eq!(folders::everything(folder.path()), before, "{why}");
    };
    left_alone(&eu, "a stranger's");
    left_alone(&folder.path().join("store.eu"), "the region that is in use");
    left_alone(&store.join("eu"), "in the store");
    left_alone(&drill.backups().join("eu"), "among the backups");
    left_alone(&folder.path().join("keys/eu"), "with the root keys");
    fs::remove_file(eu.join("letter")).unwrap();
    // A marker of another restore is a stranger's too.
    fs::write(eu.join(".restoring"), "another").unwrap();
    left_alone(&eu, "another restore's");
    fs::remove_file(eu.join(".restoring")).unwrap();
    fs::create_dir(eu.join("lost+found")).unwrap();
    restore(&eu).unwrap();
    assert_eq!(names(&eu), ["LOCK", "REGION", "cells", "lost+found"], "a new file system");
    fs::rename(&eu, region_of(&store)).unwrap();
    assert!(drill.read(&store) == expected);
}

#[test]
fn a_restore_that_fails_leaves_its_regions_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, _) = at_home_and_in_region(folder.path());
    let (store, absent, empty) = (folder.path().join("new"), folder.path().join("eu"), folder.path().join("empty"));
    fs::create_dir(&empty).unwrap();
    let mut damaged = 0;
    for object in folders::files(&drill.backups().join("objects")) {
        let bytes = fs::read(&object).unwrap();
        fs::write(&object, [&bytes[..], b"x"].concat()).unwrap();
        for eu in [&absent, &empty] {
            let before = folders::everything(folder.path());
            let refused = drill.restore().region("eu", eu).store_into(&store).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt);
            assert_eq!(folders::everything(folder.path()), before);
        }
        assert_eq!(drill.restore().drill(folder.path().join("scratch")).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(!folder.path().join("scratch").exists());
        fs::write(&object, bytes).unwrap();
        damaged += 1;
    }
    println!("damaged files tried: {damaged}");
    assert!(damaged > 5);
}

#[test]
fn the_marker_of_a_restore_goes_when_its_store_is_opened_and_a_live_region_is_never_wiped() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, expected) = at_home_and_in_region(folder.path());
    let store = folder.path().join("new");
    let eu = region_of(&store);
    drill.restore_to(1, &store);
    // As a crash leaves it after the store was given its name.
    fs::copy(eu.join("REGION"), eu.join(".restoring")).unwrap();
    assert!(drill.read(&store) == expected);
    assert_eq!(names(&eu), ["LOCK", "REGION", "cells"]);
    let refused = drill.restore().region("eu", &eu).store_into(folder.path().join("newer")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "it is in use");
    assert!(drill.read(&store) == expected);
    // As a crash leaves it before: what is in it is removed, whoever wrote it.
    fs::copy(eu.join("REGION"), eu.join(".restoring")).unwrap();
    fs::write(eu.join("cells/0001/db/half"), "half").unwrap();
    fs::remove_dir_all(&store).unwrap();
    drill.restore_to(1, &store);
    assert!(drill.read(&store) == expected && !eu.join("cells/0001/db/half").exists());
}

#[test]
fn a_lost_cell_of_a_region_comes_back_though_the_whole_disk_is_new() {
    for loss in ["cell", "disk", "folder"] {
        let folder = tempfile::tempdir().unwrap();
        let (drill, expected) = at_home_and_in_region(folder.path());
        let store = folder.path().join("store");
        let eu = region_of(&store);
        match loss {
            "cell" => fs::remove_dir_all(eu.join("cells/0001")).unwrap(),
            _ => fs::remove_dir_all(&eu).unwrap(),
        }
        if loss == "disk" {
            fs::create_dir(&eu).unwrap();
        }
        let report = drill.restore().region("eu", &eu).cell_into(&store, 1).unwrap();
        assert_eq!((report.tenants, report.incomplete), (2, 0), "{loss}");
        assert!(!store.join("cells/0001").exists() && eu.join("cells/0001").exists());
        assert!(drill.read(&store) == expected, "{loss}");
        drill.backup(&drill.open());
    }
}

#[test]
fn a_tenant_of_a_region_comes_back_in_its_region() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, expected) = at_home_and_in_region(folder.path());
    let (room, store) = (drill.open(), folder.path().join("store"));
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.backup(BackupPlan::tenant(drill.backups(), "paris")).unwrap();
    for number in [1, 2] {
        let name = format!("then-{number}");
        let made = custody.restore_tenant(&TenantRestore::new(drill.backups(), "paris", &name).backup(number));
        assert_eq!(made.unwrap().region.unwrap().as_str(), "eu");
        assert!(everything(&room)[&name] == expected["paris"], "{number}");
    }
    assert_eq!((names(&store.join("cells")).len(), names(&region_of(&store).join("cells")).len()), (1, 1));
    drop((custody, room));
    drill.backup(&drill.open());
}

#[test]
fn a_region_that_is_away_is_never_left_out_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, _) = at_home_and_in_region(folder.path());
    let eu = region_of(&folder.path().join("store"));
    fs::rename(&eu, folder.path().join("aside")).unwrap();
    fs::create_dir(&eu).unwrap();
    let room = drill.open();
    let custody = room.custody(CUSTODIAN).unwrap();
    let refused = custody.backup(BackupPlan::store(drill.backups())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("cell 1"), "{refused}");
    let report = custody.backup(BackupPlan::store(drill.backups()).accept_gaps()).unwrap();
    assert_eq!(report.missing_cells, [1]);
    let report = drill.restore().accept_gaps().store_into(folder.path().join("new")).unwrap();
    assert_eq!((report.tenants, report.incomplete), (2, 2));
}
