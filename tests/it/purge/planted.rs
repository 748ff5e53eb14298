//! The store attacks itself: what is planted in its folder is found, opened if it can be, and told of.

use std::fs;

use strongroom::purge::{PurgeStage, TraceKind};

use super::*;

/// Purges contoso after `plant` has seen the ring file of before. Returns how it went.
fn purge_with(folder: &Path, plant: impl FnOnce(&Path, Vec<u8>)) -> (Strongroom, PurgeStatus) {
    let clock = clock();
    let room = with_tenants(on_disk(folder, &clock));
    let store = folder.join("store");
    ask(&room);
    plant(&store, fs::read(store.join("cells/0000/rings")).unwrap());
    clock.advance(WEEK);
    let status = execute(&room);
    (room, status)
}

/// The slot A of the first box, in which contoso lives.
fn slot(rings: &[u8]) -> &[u8] {
    &rings[8192..2 * 8192]
}

#[test]
fn a_copy_of_a_slot_is_found_wherever_it_lies_and_opens() {
    for place in ["quarantine/0000/rings", "zero/db/LOG.old.1", "lost"] {
        let folder = tempfile::tempdir().unwrap();
        let (room, status) = purge_with(folder.path(), |store, rings| {
            let path = store.join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [&[7; 1234], slot(&rings)].concat()).unwrap();
        });
        assert_eq!(status.stage, PurgeStage::NeedsAttention, "{place}");
        let found = receipt(&room);
        assert!(!found.proven && !found.is_final);
        assert_eq!(
            (found.samples.rings_opened, found.samples.opened),
            (1, found.samples.tried),
            "with the root in hand"
        );
        let slot = found.search.hits.iter().find(|hit| hit.kind == TraceKind::RingSlot).unwrap();
        assert_eq!((slot.file.as_str(), slot.offset), (format!("store/{place}").as_str(), 1234));
        let sealed = [TraceKind::WrappedSecret, TraceKind::SealedRingKey, TraceKind::SealedKeyset];
        assert!(sealed.iter().all(|kind| found.search.hits.iter().any(|hit| hit.kind == *kind)));

        fs::remove_file(folder.path().join("store").join(place)).unwrap();
        let status = purged(&room).prove(|_| {}).unwrap();
        assert_eq!((status.stage, status.receipts), (PurgeStage::Proven, 2), "searched again");
        assert!(receipt(&room).proven);
        neighbour_is_whole(&room);
    }
}

#[test]
fn a_slot_with_a_broken_checksum_is_found_and_opened_too() {
    let folder = tempfile::tempdir().unwrap();
    let (room, status) = purge_with(folder.path(), |store, rings| {
        let mut slot = slot(&rings).to_vec();
        slot[8191] ^= 1;
        fs::write(store.join("lost"), slot).unwrap();
    });
    assert_eq!(status.stage, PurgeStage::NeedsAttention);
    assert_eq!(receipt(&room).samples.rings_opened, 1);
}

#[test]
fn a_slot_of_an_earlier_epoch_is_found_too() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let room = with_tenants(on_disk(folder.path(), &clock));
    let rings = folder.path().join("store/cells/0000/rings");
    let before = fs::read(&rings).unwrap();
    custody(&room, ANNA).rotate_roots().unwrap();
    assert_ne!(slot(&before), slot(&fs::read(&rings).unwrap()));
    fs::write(folder.path().join("store/lost"), slot(&before)).unwrap();
    assert_eq!(purge(&room, &clock).stage, PurgeStage::NeedsAttention);
    let found = receipt(&room);
    assert_eq!((&found.epochs[..], found.samples.rings_opened), (&[2][..], 1), "its keys are those of the records");
    assert!(found.search.hits.iter().all(|hit| hit.file == "store/lost"));
}

#[test]
fn a_file_that_cannot_be_searched_proves_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (room, status) = purge_with(folder.path(), |store, _| {
        // A folder that nobody may look into, not even its owner; whoever is root may, and a full pipe stands for it.
        let path = store.join("shut");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    });
    let is_root = fs::read_dir(folder.path().join("store/shut")).is_ok();
    let expected = if is_root { PurgeStage::Proven } else { PurgeStage::NeedsAttention };
    assert_eq!(status.stage, expected);
    assert_eq!(receipt(&room).search.unread_total, u64::from(!is_root));
}

#[test]
fn the_keys_of_neighbours_are_no_finding() {
    let folder = tempfile::tempdir().unwrap();
    let (room, status) = purge_with(folder.path(), |store, rings| {
        // The slot of the second box, in which fabrikam lives: wrapped under the same root key.
        fs::write(store.join("lost"), &rings[2 * 8192..3 * 8192]).unwrap();
    });
    assert_eq!(status.stage, PurgeStage::Proven);
    neighbour_is_whole(&room);
}
