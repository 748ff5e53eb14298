//! A store of format 1 as it was written when the format was made, kept in `tests/golden`: every later release opens
//! it and reads everything.
//!
//! `STRONGROOM_WRITE_GOLDEN=1 cargo test --test it golden` writes it anew: only together with a new format.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom::backup::{BackupPlan, TenantRestore};
use strongroom::{CollectionDef, ErrorKind, LocalRoots, RootId, Strongroom, TenantState};

use crate::drill::Drill;
use crate::folders;
use crate::support::{self, CUSTODIAN, ISSUER, user};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Message {
    subject: String,
    read: bool,
    parts: Vec<u32>,
}

const MAIL: CollectionDef<(&str, u64), Message> = CollectionDef::cbor("mail");
const FILES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("files");
const EVENTS: CollectionDef<u64, Message> = CollectionDef::bincode("events").ordered();
const PATHS: CollectionDef<&[u8], Vec<u8>> = CollectionDef::bytes("paths").separator(b'.');

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1")
}

fn message(number: u64) -> Message {
    Message { subject: format!("message {number}"), read: number.is_multiple_of(2), parts: vec![number as u32; 3] }
}

/// `late`: what is written after the store was opened again, so that it lies in the log and not in a table.
fn write_records(room: &Strongroom, late: bool) {
    let session = room.session(&user("contoso"), "contoso").unwrap();
    let numbers = if late { 4..=5 } else { 1..=3 };
    for number in numbers {
        session.collection(&MAIL).unwrap().put(&("inbox", number), &message(number)).unwrap();
        session.collection(&EVENTS).unwrap().put(&number, &message(number)).unwrap();
        session.collection(&FILES).unwrap().put(&format!("a/{number}").as_str(), &vec![number as u8; 40]).unwrap();
        session.collection(&PATHS).unwrap().put(&[b'x', b'.', number as u8].as_slice(), &Vec::new()).unwrap();
    }
}

fn write_golden() {
    let folder = tempfile::tempdir().unwrap();
    let open = || support::on_disk(folder.path()).boxes_per_cell(1).open().unwrap();
    let room = open();
    support::make_tenants(&room, &["contoso"]);
    write_records(&room, false);
    drop(room);
    // A second version of the root: the first has wrapped the rings, and must go on unwrapping them.
    LocalRoots::open(folder.path().join("keys")).unwrap().generate(&RootId::new("service").unwrap()).unwrap();
    let room = open();
    write_records(&room, true);
    support::make_tenants(&room, &["fabrikam"]);
    room.custody(CUSTODIAN).unwrap().suspend_tenant("fabrikam").unwrap();
    drop(room);
    for file in folders::files(folder.path()) {
        let name = folders::name(&file);
        if ["LOG", "OPTIONS", "IDENTITY", "LOCK"].iter().any(|unneeded| name.starts_with(unneeded)) {
            fs::remove_file(&file).unwrap();
        }
    }
    if golden().exists() {
        fs::remove_dir_all(golden()).unwrap();
    }
    folders::copy(folder.path(), &golden());
}

/// A copy with the modes that a checkout does not keep.
fn copy_of_golden() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    folders::copy(&golden(), copy.path());
    for path in folders::everything(copy.path()) {
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    copy
}

#[test]
fn a_store_of_format_1_opens_and_reads_back() {
    if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
        write_golden();
    }
    let bytes: u64 = folders::files(&golden()).iter().map(|path| path.metadata().unwrap().len()).sum();
    println!("bytes of the golden store: {bytes}");
    assert!(bytes < 200 << 10, "the golden store takes {bytes} bytes of everybody's checkout");
    let copy = copy_of_golden();
    assert_eq!(fs::read_to_string(copy.path().join("store/FORMAT")).unwrap(), "strongroom store, format 1\n");
    // Twice: what opening writes must open again.
    for _ in 0..2 {
        let room = support::on_disk(copy.path()).open().unwrap();
        read_records(&room);
        let custody = room.custody(CUSTODIAN).unwrap();
        let states: Vec<_> =
            custody.tenants().unwrap().into_iter().map(|tenant| (tenant.name.to_string(), tenant.state)).collect();
        assert_eq!(
            states,
            [("contoso".to_owned(), TenantState::Active), ("fabrikam".to_owned(), TenantState::Suspended)]
        );
        assert_eq!(room.session(&user("fabrikam"), "fabrikam").unwrap_err().kind(), ErrorKind::Denied);
    }
    let room = support::on_disk(copy.path()).open().unwrap();
    room.custody(CUSTODIAN).unwrap().resume_tenant("fabrikam").unwrap();
    let session = room.session(&user("fabrikam"), "fabrikam").unwrap();
    session.collection(&FILES).unwrap().put(&"new", &vec![1]).unwrap();
    assert_eq!(session.collection(&FILES).unwrap().count().unwrap(), 1);
}

#[test]
fn a_store_that_knew_nothing_of_backups_is_backed_up_and_comes_back() {
    let copy = copy_of_golden();
    let drill = Drill::new(copy.path());
    let room = drill.open();
    drill.export(&room);
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.backup(BackupPlan::store(drill.backups())).unwrap();
    // Every shape of keys beside itself, and the whole store elsewhere.
    custody.restore_tenant(&TenantRestore::new(drill.backups(), "contoso", "contoso-again")).unwrap();
    read_records_of(&room, "contoso-again");
    drop((custody, room));
    let elsewhere = copy.path().join("elsewhere");
    drill.restore().store_into(&elsewhere).unwrap();
    let room = Strongroom::builder(elsewhere, drill.roots(), support::Plain).service_speaker(ISSUER, "service");
    let room = room.open().unwrap();
    read_records(&room);
    assert_eq!(room.session(&user("fabrikam"), "fabrikam").unwrap_err().kind(), ErrorKind::Denied, "still suspended");
}

fn read_records(room: &Strongroom) {
    read_records_of(room, "contoso");
}

fn read_records_of(room: &Strongroom, tenant: &str) {
    let session = room.session(&format!("{ISSUER}|contoso|read"), tenant).unwrap();
    let names: Vec<String> = session.collections().unwrap().into_iter().map(|collection| collection.name).collect();
    assert_eq!(names, ["events", "files", "mail", "paths"]);
    let (mail, events) = (session.collection(&MAIL).unwrap(), session.collection(&EVENTS).unwrap());
    let (files, paths) = (session.collection(&FILES).unwrap(), session.collection(&PATHS).unwrap());
    for number in 1..=5 {
        assert_eq!(mail.get(&("inbox", number)).unwrap(), Some(message(number)));
        assert_eq!(events.get(&number).unwrap(), Some(message(number)));
        assert_eq!(files.get(&format!("a/{number}").as_str()).unwrap(), Some(vec![number as u8; 40]));
        assert_eq!(paths.get(&[b'x', b'.', number as u8].as_slice()).unwrap(), Some(Vec::new()));
    }
    assert_eq!((mail.count().unwrap(), events.count().unwrap()), (5, 5));
    assert_eq!(mail.prefix(("inbox",)).unwrap().count(), 5);
    assert_eq!(files.prefix("a/").unwrap().count(), 5);
    assert_eq!(paths.prefix(b"x.".as_slice()).unwrap().count(), 5);
    let middle: Vec<u64> = events.range(2..4).unwrap().map(|row| row.unwrap().0).collect();
    assert_eq!(middle, [2, 3]);
}
