//! What can bring a purged tenant back, if anything can: escrows, each of which the receipt lists until somebody vouches
//! for its end.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use strongroom::backup::{EscrowKey, EscrowLock};
use strongroom::purge::{PurgeStage, RootState};
use strongroom::{ErrorKind, Policy, RootId};

use super::*;

fn export(room: &Strongroom, path: &Path) -> EscrowKey {
    let (secret, recipient) = EscrowKey::generate();
    room.custody(SERVICE).unwrap().export_rings(path, &EscrowLock::recipients([recipient.as_str()]).unwrap()).unwrap();
    EscrowKey::identity(&secret).unwrap()
}

#[test]
fn every_escrow_that_ever_held_the_ring_is_listed() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = on_disk(folder.path(), &clock).open().unwrap();
    let paths: Vec<_> = (0..4).map(|number| folder.path().join(format!("escrow {number}"))).collect();
    let service = room.custody(SERVICE).unwrap();
    service.create_tenant(TenantSpec::new("fabrikam", ISSUER, "fabrikam")).unwrap();
    drop(export(&room, &paths[0]));
    service.create_tenant(TenantSpec::new("contoso", ISSUER, "contoso")).unwrap();
    drop(export(&room, &paths[1]));
    // Another epoch: what is remembered for backups is the last export alone.
    custody(&room, ANNA).rotate_roots().unwrap();
    drop(export(&room, &paths[2]));
    custody(&room, ANNA).request_purge("the contract has ended").unwrap();
    custody(&room, BERT).approve_purge("so it has").unwrap();
    drop(export(&room, &paths[3]));
    clock.advance(WEEK);
    execute(&room);
    let listed = receipt(&room).escrows;
    assert_eq!(
        listed.iter().map(|escrow| escrow.number).collect::<Vec<_>>(),
        [2, 3, 4],
        "not the one of before it was"
    );
    for (escrow, path) in listed.iter().zip(&paths[1..]) {
        use sha2::Digest;
        let sum = sha2::Sha256::digest(fs::read(path).unwrap());
        let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(escrow.sha256.as_ref(), Some(&hex));
        assert!(escrow.exported_secs.is_some() && escrow.destroyed.is_none());
    }
    // What is exported from now on does not hold it, and the list does not grow.
    drop(export(&room, &folder.path().join("later")));
    assert_eq!(purged(&room).finalize().unwrap().receipts, 1);
    assert_eq!(purged(&room).declare_escrow_destroyed(5, "it never was").unwrap_err().kind(), ErrorKind::NotFound);
    for number in [2, 3, 4] {
        purged(&room).declare_escrow_destroyed(number, "shredded by two people").unwrap();
    }
    assert_eq!(purged(&room).finalize().unwrap().receipts, 2);
    let second = receipt(&room);
    assert!(second.escrows.iter().all(|escrow| escrow.destroyed.as_ref().unwrap().subject == "anna"));
    assert_eq!(second.missing.len(), 1, "the root version lives: {:?}", second.missing);
}

#[test]
fn no_receipt_is_final_while_the_root_version_of_an_earlier_epoch_lives() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = on_disk(folder.path(), &clock).open().unwrap();
    let policy = Policy::any_of([["customer"]]).unwrap();
    let spec = TenantSpec::new("contoso", ISSUER, "contoso").policy(policy);
    room.custody(SERVICE).unwrap().create_tenant(spec).unwrap();
    let (elsewhere, customer) =
        (LocalRoots::open(folder.path().join("keys")).unwrap(), RootId::new("customer").unwrap());
    // A copy of the ring as it was in the first epoch, in somebody's hands.
    let stray = fs::read(folder.path().join("store/cells/0000/rings")).unwrap();
    elsewhere.generate(&customer).unwrap();
    custody(&room, ANNA).rotate_roots().unwrap();
    purge(&room, &clock);
    let versions =
        |room: &Strongroom| receipt(room).roots.into_iter().map(|root| (root.version, root.state)).collect::<Vec<_>>();
    let both = |first, second| vec![("v2".to_owned(), second), ("v1".to_owned(), first)];
    assert_eq!(versions(&room), both(RootState::Alive, RootState::Alive));
    // What the earlier version still opens, put where the store looks: it is found, and it opens.
    fs::write(folder.path().join("store/stray"), &stray).unwrap();
    assert_eq!(purged(&room).prove(|_| {}).unwrap().stage, PurgeStage::NeedsAttention, "the control");
    fs::remove_file(folder.path().join("store/stray")).unwrap();
    purged(&room).prove(|_| {}).unwrap();
    elsewhere.destroy(&customer, "v2").unwrap();
    assert_eq!(purged(&room).finalize().unwrap().stage, PurgeStage::Proven, "the version of before lives");
    assert_eq!(versions(&room), both(RootState::Alive, RootState::Destroyed));
    elsewhere.destroy(&customer, "v1").unwrap();
    assert_eq!(purged(&room).finalize().unwrap().stage, PurgeStage::Final);
}

/// Overwrites both slots of a box of the first cell, as a disk might.
fn damage(folder: &Path, number: u64) {
    let rings = OpenOptions::new().write(true).open(folder.join("store/cells/0000/rings")).unwrap();
    [1 + number, 5 + number].iter().for_each(|page| rings.write_all_at(&[0xA5; 4096], page * 8192).unwrap());
}

#[test]
fn a_damaged_ring_comes_back_from_an_escrow_and_a_purged_one_does_not() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    let path = folder.path().join("escrow");
    let key = export(&room, &path);
    drop(room);
    damage(folder.path(), 1);
    let room = on_disk(folder.path(), &clock).open().unwrap();
    let shut = room.session("fabrikam|read,write|uma", "fabrikam").unwrap_err();
    assert_eq!(shut.kind(), ErrorKind::Corrupt, "the control");
    purge(&room, &clock);
    damage(folder.path(), 0);
    let service = room.custody(SERVICE).unwrap();
    let report = service.import_rings(&path, &key, &[]).unwrap();
    assert_eq!(report.imported.iter().map(strongroom::TenantName::as_str).collect::<Vec<_>>(), ["fabrikam"]);
    assert_eq!((report.whole, report.missing.len(), report.dead), (0, 0, 1));
    neighbour_is_whole(&room);
    let refused = service.import_rings(&path, &key, &["contoso"]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::KeyDestroyed);
    assert_eq!(service.import_rings(&path, &key, &["nobody"]).unwrap_err().kind(), ErrorKind::NotFound);
    let again = service.import_rings(&path, &key, &["fabrikam"]).unwrap();
    assert_eq!((again.imported.len(), again.whole), (0, 1), "what opens is left alone");
    // A new tenant of the name has another incarnation: the escrow does not help it, nor hurt it.
    service.create_tenant(TenantSpec::new("contoso", ISSUER, "contoso")).unwrap();
    assert_eq!(service.import_rings(&path, &key, &["contoso"]).unwrap().whole, 1);
    assert_eq!(purged(&room).prove(|_| {}).unwrap().stage, PurgeStage::Proven, "nothing of it came back");
}

#[test]
fn a_ring_of_before_the_last_change_is_not_believed() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    let path = folder.path().join("escrow");
    let key = export(&room, &path);
    custody(&room, ANNA).rotate_keys().unwrap();
    drop(room);
    damage(folder.path(), 0);
    let room = on_disk(folder.path(), &clock).open().unwrap();
    let report = room.custody(SERVICE).unwrap().import_rings(&path, &key, &[]).unwrap();
    assert_eq!(report.missing.iter().map(strongroom::TenantName::as_str).collect::<Vec<_>>(), ["contoso"]);
    assert_eq!(room.session(USER, "contoso").unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn the_escrow_of_another_store_is_refused() {
    let (one, other, clock) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), clock());
    let (room, theirs) = (with_tenants(on_disk(one.path(), &clock)), with_tenants(on_disk(other.path(), &clock)));
    let path = other.path().join("escrow");
    let key = export(&theirs, &path);
    assert_eq!(room.custody(SERVICE).unwrap().import_rings(&path, &key, &[]).unwrap_err().kind(), ErrorKind::Invalid);
}
