//! The escrow: sealed, strictly read, and of no use alone.

use std::fs;
use std::process::Command;

use strongroom::ErrorKind;
use strongroom::backup::{Escrow, EscrowKey, EscrowLock, Restore};

use crate::drill::{Drill, everything, fill};
use crate::folders;
use crate::plaintext::hits;
use crate::support::{self, CUSTODIAN};

const PASSPHRASE: &str = "correct horse battery staple";

#[test]
fn an_escrow_opens_for_its_key_or_passphrase_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    let custody = room.custody(CUSTODIAN).unwrap();
    let path = folder.path().join("by-passphrase.age");
    let report = custody.export_rings(&path, &EscrowLock::passphrase(PASSPHRASE).unwrap()).unwrap();
    assert_eq!((report.tenants, report.damaged), (2, 0));
    let kind = |key: EscrowKey| Escrow::open(&path, &key).map(|escrow| escrow.tenants()).map_err(|error| error.kind());
    assert_eq!(kind(EscrowKey::passphrase(PASSPHRASE)), Ok(2));
    assert_eq!(kind(EscrowKey::passphrase("correct horse battery stable")), Err(ErrorKind::Invalid));
    assert_eq!(kind(drill.key()), Err(ErrorKind::Invalid));
    drill.export(&room);
    assert_eq!(drill.escrow().tenants(), 2);
    for bad in [EscrowLock::recipients([]), EscrowLock::recipients(["age1nothing"]), EscrowLock::passphrase("short")] {
        assert_eq!(bad.unwrap_err().kind(), ErrorKind::Invalid);
    }
    // With either, the store comes back.
    drill.backup(&room);
    custody.export_rings(&path, &EscrowLock::passphrase(PASSPHRASE).unwrap()).unwrap();
    let escrow = Escrow::open(&path, &EscrowKey::passphrase(PASSPHRASE)).unwrap();
    Restore::new(drill.backups(), escrow, drill.roots()).store_into(folder.path().join("elsewhere")).unwrap();
}

#[test]
fn a_damaged_or_cut_escrow_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    drill.export(&room);
    let whole = fs::read(drill.escrow_file()).unwrap();
    let open = |bytes: &[u8]| {
        fs::write(drill.escrow_file(), bytes).unwrap();
        Escrow::open(drill.escrow_file(), &drill.key()).map(drop)
    };
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(open(&changed).is_err(), "byte {at}");
    }
    (0..whole.len()).step_by(11).for_each(|cut| assert!(open(&whole[..cut]).is_err(), "cut at {cut}"));
    assert!(open(&[&whole[..], b"x"].concat()).is_err(), "a byte more");
    open(&whole).unwrap();
}

#[test]
fn an_escrow_that_lacks_a_tenant_of_the_backup_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    drill.export(&room);
    let early = fs::read(drill.escrow_file()).unwrap();
    support::make_tenants(&room, &["b"]);
    fill(&room, "b", 0, 3);
    drill.backup(&room);
    fs::write(drill.escrow_file(), early).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    assert_eq!(drill.restore().store_into(&elsewhere).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(!elsewhere.exists());
    let report = drill.restore().accept_gaps().store_into(&elsewhere).unwrap();
    assert_eq!((report.tenants, report.incomplete), (1, 1));
    drill.export(&room);
    drill.hold(1, &everything(&room));
}

#[test]
fn neither_backups_nor_escrows_show_a_name_or_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    let tenant = "marker-of-a-tenant";
    support::make_tenants(&room, &[tenant]);
    fill(&room, tenant, 0, 20);
    drill.backup(&room);
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.backup(strongroom::backup::BackupPlan::tenant(drill.backups(), tenant)).unwrap();
    for folder in [drill.backups(), folder.path().join("escrow")] {
        assert_eq!(hits(&folder, tenant), [""; 0], "and every value begins with it");
        assert_eq!(hits(&folder, "traces"), [""; 0]);
    }
    let control = drill.backups().join("control");
    fs::write(&control, tenant).unwrap();
    assert_eq!(hits(&drill.backups(), tenant).len(), 1, "the control");
}

#[test]
fn no_ring_is_in_a_backup_nor_bare_in_an_escrow() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    fill(&room, "a", 0, 20);
    drill.backup(&room);
    // A piece of what the root has wrapped, out of the slots of tenant zero and of a.
    let pieces = ["zero/rings", "cells/0000/rings"].map(|path| {
        let rings = fs::read(folder.path().join("store").join(path)).unwrap();
        rings[8192 + 200..8192 + 240].to_vec()
    });
    let shows = |root: &std::path::Path| {
        let files = folders::files(root).into_iter().map(|path| fs::read(path).unwrap());
        files.filter(|bytes| pieces.iter().any(|piece| bytes.windows(piece.len()).any(|part| part == piece))).count()
    };
    assert_ne!(pieces[0], pieces[1]);
    assert_eq!(shows(&folder.path().join("store")), 2, "the control");
    assert_eq!((shows(&drill.backups()), shows(&folder.path().join("escrow"))), (0, 0));
}

#[test]
fn the_records_of_a_backup_are_opened_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    fill(&room, "a", 0, 30);
    room.custody(CUSTODIAN).unwrap().suspend_tenant("b").unwrap();
    drill.backup(&room);
    let scratch = folder.path().join("scratch");
    let report = drill.restore().drill(&scratch).unwrap();
    // Thirty records in two collections, and the catalog: its counter and two entries.
    assert_eq!(report.records, 63);
    assert!(!scratch.exists());
}

#[test]
fn the_tool_of_age_opens_an_escrow_where_it_is_installed() {
    if Command::new("age").arg("--version").output().is_err() {
        println!("skipped: age is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    drill.export(&room);
    let identity = folder.path().join("identity");
    fs::write(&identity, drill.secret()).unwrap();
    let output =
        Command::new("age").args(["--decrypt", "-i"]).arg(&identity).arg(drill.escrow_file()).output().unwrap();
    assert!(output.status.success() && output.stdout.windows(17).any(|window| window == b"strongroom escrow"));
}

#[test]
fn neither_backups_nor_escrows_are_laid_into_a_region_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let region = folder.path().join("eu");
    let room = support::on_disk(folder.path()).region("eu", &region).open().unwrap();
    support::make_tenants(&room, &["a"]);
    let custody = room.custody(CUSTODIAN).unwrap();
    let within = custody.export_rings(region.join("rings.age"), &drill.lock()).unwrap_err();
    assert_eq!(within.kind(), ErrorKind::Invalid);
    drill.export(&room);
    let within = custody.backup(strongroom::backup::BackupPlan::store(region.join("backups"))).unwrap_err();
    assert_eq!(within.kind(), ErrorKind::Invalid);
    custody.backup(strongroom::backup::BackupPlan::store(drill.backups())).unwrap();
}

#[test]
fn an_escrow_on_its_way_is_written_through_no_link_and_takes_no_mode_of_another_file() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    let (foreign, parent) = (folder.path().join("foreign"), drill.escrow_file().parent().unwrap().to_path_buf());
    fs::write(&foreign, "theirs").unwrap();
    fs::create_dir(&parent).unwrap();
    symlink(&foreign, parent.join(".making-rings.age")).unwrap();
    drill.export(&room);
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "theirs");
    fs::write(parent.join(".making-rings.age"), "left").unwrap();
    fs::set_permissions(parent.join(".making-rings.age"), fs::Permissions::from_mode(0o666)).unwrap();
    drill.export(&room);
    assert!(drill.escrow_file().symlink_metadata().unwrap().is_file());
    assert_eq!(drill.escrow_file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
}
