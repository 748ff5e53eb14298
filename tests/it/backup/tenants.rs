//! One tenant beside the living ones.

use strongroom::backup::{BackupPlan, TenantRestore};
use strongroom::{ErrorKind, TenantSpec};

use crate::drill::{Drill, NOTES, everything, fill};
use crate::support::{self, CUSTODIAN, ISSUER, user};

/// Two tenants in one cell, `a` with records of three rounds.
fn two_tenants(drill: &Drill) -> strongroom::Strongroom {
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    (0..3).for_each(|round| fill(&room, "a", round, 400));
    fill(&room, "b", 0, 10);
    drill.export(&room);
    room
}

#[test]
fn a_tenant_comes_back_beside_itself_from_either_kind_of_backup() {
    for kind in ["store", "cell", "tenant"] {
        let folder = tempfile::tempdir().unwrap();
        let drill = Drill::new(folder.path());
        let room = two_tenants(&drill);
        let custody = room.custody(CUSTODIAN).unwrap();
        let plan = match kind {
            "store" => BackupPlan::store(drill.backups()),
            "cell" => BackupPlan::cell(drill.backups(), 0),
            _ => BackupPlan::tenant(drill.backups(), "a"),
        };
        custody.backup(plan).unwrap();
        let then = everything(&room)["a"].clone();
        let notes = room.session(&user("a"), "a").unwrap().collection(&NOTES).unwrap();
        (0..400).for_each(|number| notes.delete(&format!("1/{number}").as_str()).unwrap());
        let (now, others) = (everything(&room)["a"].clone(), everything(&room)["b"].clone());

        let made = custody.restore_tenant(&TenantRestore::new(drill.backups(), "a", "a-last-week")).unwrap();
        assert_eq!(made.speakers[0].tenant, "a", "those of the original");
        let found = everything(&room);
        assert!(found["a-last-week"] == then, "{kind}: as it was");
        assert!(found["a"] == now && found["b"] == others && now != then, "{kind}: the living are as they are");

        // Each has a ring of its own: what becomes of one does not touch the other.
        custody.delete_tenant("a").unwrap();
        assert!(everything(&room)["a-last-week"] == then, "{kind}: after the original's end");
        fill(&room, "b", 1, 5);
        let session = room.session(&user("a"), "a-last-week").unwrap();
        session.collection(&NOTES).unwrap().put(&"new", &b"new".to_vec()).unwrap();
        drop((notes, session, custody, room));
        let room = drill.open();
        assert_eq!(everything(&room)["a-last-week"].len(), then.len() + 1, "{kind}: after opening again");
        drill.backup(&room);
    }
}

#[test]
fn nobody_speaks_for_what_comes_back_who_does_not_speak_for_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.create_tenant(TenantSpec::new("a", ISSUER, "a").speaker(ISSUER, "auditors")).unwrap();
    fill(&room, "a", 0, 20);
    drill.export(&room);
    custody.backup(BackupPlan::store(drill.backups())).unwrap();
    let restore = |claim: &str| {
        custody.restore_tenant(&TenantRestore::new(drill.backups(), "a", "evidence").speaker(ISSUER, claim))
    };
    // A custodian reads no record, not even by way of a tenant of his own.
    assert_eq!(restore("service").unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(custody.tenants().unwrap().len(), 1);
    restore("auditors").unwrap();
    assert_eq!(room.session(&user("a"), "evidence").unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(room.session(&user("auditors"), "evidence").unwrap().collection(&NOTES).unwrap().count().unwrap(), 20);
}

#[test]
fn what_cannot_come_back_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = two_tenants(&drill);
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.backup(BackupPlan::tenant(drill.backups(), "a")).unwrap();
    let restore = |tenant: &str, name: &str| {
        let restored = custody.restore_tenant(&TenantRestore::new(drill.backups(), tenant, name));
        restored.unwrap_err().kind()
    };
    assert_eq!(restore("b", "x"), ErrorKind::NotFound, "not in this backup");
    assert_eq!(restore("a", "b"), ErrorKind::Conflict, "the name is taken");
    assert_eq!(restore("a", "No Name"), ErrorKind::Invalid);
    let unknown = custody.restore_tenant(&TenantRestore::new(drill.backups(), "a", "x").backup(7));
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
    custody.suspend_tenant("a").unwrap();
    assert_eq!(restore("a", "x"), ErrorKind::Denied, "the original is suspended");
    custody.resume_tenant("a").unwrap();
    custody.delete_tenant("a").unwrap();
    assert_eq!(restore("a", "x"), ErrorKind::KeyDestroyed, "the original was deleted");
    support::make_tenants(&room, &["a"]);
    assert_eq!(restore("a", "x"), ErrorKind::KeyDestroyed, "and another of its name is another");
    let names: Vec<_> = custody.tenants().unwrap().into_iter().map(|tenant| tenant.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn the_backup_of_a_tenant_is_copied_once_and_grows_by_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    drill.export(&room);
    (0..10).for_each(|round| fill(&room, "a", round, 500));
    let custody = room.custody(CUSTODIAN).unwrap();
    let backup = || custody.backup(BackupPlan::tenant(drill.backups(), "a")).unwrap();
    let (first, second) = (backup(), backup());
    assert!(first.bytes_copied > 3_000_000 && second.bytes_copied == 0, "{first:?} {second:?}");
    let notes = room.session(&user("a"), "a").unwrap().collection(&NOTES).unwrap();
    notes.put(&"one more", &vec![7; 100]).unwrap();
    let third = backup();
    assert!(third.bytes_copied > 0 && third.bytes_copied < first.bytes_copied, "{third:?}");
}

#[test]
fn a_tenant_that_had_its_cell_to_itself_comes_back_into_one_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = support::on_disk(folder.path()).region("eu", folder.path().join("eu")).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.create_tenant(TenantSpec::new("a", ISSUER, "a").region("eu").own_cell()).unwrap();
    custody.create_tenant(TenantSpec::new("b", ISSUER, "b").region("eu")).unwrap();
    ["a", "b"].iter().for_each(|name| fill(&room, name, 0, 20));
    drill.export(&room);
    custody.backup(BackupPlan::store(drill.backups())).unwrap();
    let cells = || std::fs::read_dir(folder.path().join("eu/cells")).unwrap().count();
    let before = cells();
    custody.restore_tenant(&TenantRestore::new(drill.backups(), "a", "a-then")).unwrap();
    assert_eq!(cells(), before + 1);
    custody.restore_tenant(&TenantRestore::new(drill.backups(), "b", "b-then")).unwrap();
    assert_eq!(cells(), before + 1, "among others, as it was");
    let found = everything(&room);
    assert!(found["a-then"] == found["a"] && found["b-then"] == found["b"]);
}
