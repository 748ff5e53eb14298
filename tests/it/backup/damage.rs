//! Damaged and foreign backups are refused with a clear word and never half restored.

use std::fs;
use std::path::{Path, PathBuf};

use strongroom::backup::{self, BackupPlan, Escrow};
use strongroom::{ErrorKind, Strongroom};

use crate::chance::Chance;
use crate::drill::{Drill, everything, fill};
use crate::folders;
use crate::support::{self, CUSTODIAN};

fn backed_up(folder: &Path) -> (Drill, Strongroom) {
    let drill = Drill::new(folder);
    let room = drill.open();
    support::make_tenants(&room, &["a", "b"]);
    fill(&room, "a", 0, 30);
    drill.backup(&room);
    (drill, room)
}

pub fn backup_folder(drill: &Drill, number: u64) -> PathBuf {
    let start = format!("{number:06}-");
    let entries = fs::read_dir(drill.backups().join("backups")).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| folders::name(path).starts_with(&start)).unwrap()
}

#[test]
fn no_byte_of_a_manifest_or_signature_can_be_changed_cut_or_added() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, room) = backed_up(folder.path());
    drop(room);
    let escrow = drill.escrow();
    let list = || backup::list(drill.backups(), &escrow).map(drop).map_err(|error| error.kind());
    let mut changes = 0;
    for name in ["manifest", "manifest.sig"] {
        let path = backup_folder(&drill, 1).join(name);
        let whole = fs::read(&path).unwrap();
        assert_eq!(list(), Ok(()), "the control");
        let refused = |bytes: &[u8], what: &str| {
            fs::write(&path, bytes).unwrap();
            let found = list();
            // A changed public key looks like another store's, and everything else like damage.
            assert!(found == Err(ErrorKind::Corrupt) || found == Err(ErrorKind::Invalid), "{name} {what}: {found:?}");
        };
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            refused(&changed, &format!("byte {at}"));
            changes += 1;
        }
        (0..whole.len()).step_by(7).for_each(|cut| refused(&whole[..cut], &format!("cut at {cut}")));
        refused(&[&whole[..], b"\0"].concat(), "a byte more");
        fs::write(&path, &whole).unwrap();
    }
    println!("changed bytes of manifest and signature: {changes}");
}

#[test]
fn a_damaged_cut_or_missing_file_is_found_and_nothing_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, room) = backed_up(folder.path());
    drop(room);
    let (escrow, elsewhere) = (drill.escrow(), folder.path().join("elsewhere"));
    let mut chance = Chance::of_this_run("damaged objects");
    let verify = || backup::verify(drill.backups(), &escrow, None).map_err(|error| error.kind());
    let whole = verify().unwrap();
    assert!(whole.files > 5 && whole.bytes > 10_000, "{whole:?}");
    let mut tried = 0;
    for object in folders::files(&drill.backups().join("objects")) {
        let bytes = fs::read(&object).unwrap();
        let mut damaged: Vec<Option<Vec<u8>>> = vec![None, Some([&bytes[..], b"x"].concat())];
        if !bytes.is_empty() {
            damaged.push(Some(bytes[..chance.below(bytes.len())].to_vec()));
            for _ in 0..4 {
                let mut changed = bytes.clone();
                changed[chance.below(bytes.len())] ^= 1 << chance.below(8);
                damaged.push(Some(changed));
            }
        }
        for content in damaged {
            match content {
                Some(content) => fs::write(&object, content).unwrap(),
                None => fs::remove_file(&object).unwrap(),
            }
            assert_eq!(verify().unwrap_err(), ErrorKind::Corrupt);
            let restored = drill.restore().store_into(&elsewhere);
            assert_eq!(restored.unwrap_err().kind(), ErrorKind::Corrupt);
            let left: Vec<_> = folders::everything(folder.path());
            assert!(!elsewhere.exists() && !left.iter().any(|path| folders::name(path).starts_with(".restoring")));
            tried += 1;
        }
        fs::write(&object, bytes).unwrap();
    }
    assert_eq!(verify().unwrap(), whole, "the control");
    drill.restore().store_into(&elsewhere).unwrap();
    println!("damaged files tried: {tried}");
}

#[test]
fn backups_and_escrows_of_another_store_are_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((ours, room), (theirs, their_room)) = (backed_up(one.path()), backed_up(other.path()));
    let elsewhere = one.path().join("elsewhere");
    let kind = |outcome: strongroom::Result<()>| outcome.unwrap_err().kind();
    assert_eq!(kind(backup::verify(theirs.backups(), &ours.escrow(), None).map(drop)), ErrorKind::Invalid);
    let restore = backup::Restore::new(theirs.backups(), ours.escrow(), ours.roots());
    assert_eq!(kind(restore.store_into(&elsewhere).map(drop)), ErrorKind::Invalid);
    let custody = room.custody(CUSTODIAN).unwrap();
    let into_theirs = custody.backup(BackupPlan::store(theirs.backups()));
    assert_eq!(kind(into_theirs.map(drop)), ErrorKind::Invalid, "nor are they mixed with ours");
    assert_eq!(kind(custody.backups(theirs.backups()).map(drop)), ErrorKind::Invalid);
    // Their manifest in our folder.
    folders::copy(&backup_folder(&theirs, 1), &ours.backups().join("backups/000007-1"));
    assert_eq!(kind(ours.restore().store_into(&elsewhere).map(drop)), ErrorKind::Invalid);
    // Our own under another number.
    fs::remove_dir_all(ours.backups().join("backups/000007-1")).unwrap();
    folders::copy(&backup_folder(&ours, 1), &ours.backups().join("backups/000007-1"));
    assert_eq!(kind(ours.restore().store_into(&elsewhere).map(drop)), ErrorKind::Corrupt);
    fs::remove_dir_all(ours.backups().join("backups/000007-1")).unwrap();
    // Their root keys with our backup.
    let restore = backup::Restore::new(ours.backups(), ours.escrow(), theirs.roots());
    assert_eq!(kind(restore.store_into(&elsewhere).map(drop)), ErrorKind::Tampered);
    assert_eq!(kind(Escrow::open(theirs.escrow_file(), &ours.key()).map(drop)), ErrorKind::Invalid);
    assert!(!elsewhere.exists());
    ours.hold(1, &everything(&room));
    theirs.hold(1, &everything(&their_room));
}

#[test]
fn a_folder_that_holds_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, room) = backed_up(folder.path());
    let custody = room.custody(CUSTODIAN).unwrap();
    let strange = folder.path().join("strange");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("letter"), "dear").unwrap();
    let backup = |path: &Path| custody.backup(BackupPlan::store(path)).unwrap_err().kind();
    assert_eq!(backup(&strange), ErrorKind::Invalid);
    assert_eq!(backup(&folder.path().join("store/backups")), ErrorKind::Invalid, "within the store");
    assert_eq!(backup(&folder.path().join("keys/backups")), ErrorKind::Invalid, "with the root keys");
    assert_eq!(drill.restore().store_into(&strange).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(drill.restore().store_into(drill.backups().join("x")).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(folders::files(&strange).len(), 1);
    let escrow = custody.export_rings(folder.path().join("store/rings.age"), &drill.lock());
    assert_eq!(escrow.unwrap_err().kind(), ErrorKind::Invalid, "an escrow within the store is lost with it");
}

#[test]
fn a_manifest_that_was_exchanged_for_another_of_ours_breaks_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (drill, room) = backed_up(folder.path());
    let custody = room.custody(CUSTODIAN).unwrap();
    // Another history that the store signed too: another first backup.
    let other = folder.path().join("other");
    custody.backup(BackupPlan::tenant(&other, "a")).unwrap();
    let second = drill.backup(&room);
    let verify = || backup::verify(drill.backups(), &drill.escrow(), Some(second.number)).map_err(|error| error.kind());
    verify().unwrap();
    let place = backup_folder(&drill, 1);
    let aside = folder.path().join("aside");
    fs::rename(&place, &aside).unwrap();
    verify().expect("one that was removed is missed by nobody");
    let foreign = fs::read_dir(other.join("backups")).unwrap().next().unwrap().unwrap().path();
    folders::copy(&foreign, &place);
    assert_eq!(verify().unwrap_err(), ErrorKind::Corrupt);
    fs::remove_dir_all(&place).unwrap();
    fs::rename(&aside, &place).unwrap();
    verify().unwrap();
}
