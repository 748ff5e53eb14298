//! Receipts are good for what they say, to the byte, and for nothing else.

use strongroom::ErrorKind;
use strongroom::audit::VerifierKey;

use super::*;

/// A receipt, whose it is, and the trail of its tenant.
fn issued(folder: &Path) -> (String, VerifierKey, Vec<u8>) {
    let clock = clock();
    let room = with_tenants(on_disk(folder, &clock));
    purge(&room, &clock);
    let purged = purged(&room);
    let mut trail = Vec::new();
    purged.audit_export(&mut trail).unwrap();
    (purged.receipt().unwrap(), purged.receipt_key().unwrap(), trail)
}

#[test]
fn no_byte_of_a_receipt_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (note, key, trail) = issued(folder.path());
    assert!(verify_receipt(&note, &key, Some(&mut trail.as_slice())).is_ok(), "the control");
    let (mut tried, bytes) = (0, note.as_bytes());
    for at in 0..bytes.len() {
        for bit in [0, 3, 5] {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(verify_receipt(&changed, &key, None).is_err(), "byte {at}");
            tried += 1;
        }
    }
    assert!((0..bytes.len()).filter_map(|cut| note.get(..cut)).all(|cut| verify_receipt(cut, &key, None).is_err()));
    println!("changed receipts that were refused: {tried}");
    assert!(tried > 5000);
}

#[test]
fn a_receipt_is_its_own_stores_and_its_own_tenants() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (note, key, trail) = issued(one.path());
    let (others_note, others_key, others_trail) = issued(other.path());
    let kind = |note: &str, key: &VerifierKey| verify_receipt(note, key, None).unwrap_err().kind();
    assert_eq!(kind(&note, &others_key), ErrorKind::Tampered, "another store");
    assert_eq!(kind(&others_note, &key), ErrorKind::Tampered);
    // The same store's key under the name of another tenant's trail.
    let (name, rest) = key.to_string().split_once('+').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(name.starts_with("strongroom/") && !rest.is_empty());
    let against = |trail: &[u8]| verify_receipt(&note, &key, Some(&mut &*trail)).unwrap_err().kind();
    assert_eq!(against(&others_trail), ErrorKind::Tampered, "another tenant's trail");
    assert_eq!(against(&trail[..trail.len() / 2]), ErrorKind::Corrupt, "half of it");
    let text = String::from_utf8(trail.clone()).unwrap();
    assert_eq!(against(text.replacen("contract", "contrast", 1).as_bytes()), ErrorKind::Tampered, "another reason");
}

#[test]
fn a_trail_of_before_the_receipt_does_not_vouch_for_it() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    ask(&room);
    let mut early = Vec::new();
    custody(&room, ANNA).audit_export(&mut early).unwrap();
    clock.advance(WEEK);
    execute(&room);
    let purged = purged(&room);
    let (note, key) = (purged.receipt().unwrap(), purged.receipt_key().unwrap());
    let refused = verify_receipt(&note, &key, Some(&mut early.as_slice())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Tampered);
    let mut late = Vec::new();
    purged.audit_export(&mut late).unwrap();
    assert!(verify_receipt(&note, &key, Some(&mut late.as_slice())).is_ok(), "the control");
}
