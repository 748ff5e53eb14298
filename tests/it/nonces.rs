//! Nonces, as they lie on the disk: all 24 bytes of each are fresh, whoever writes and whatever the record.

use std::collections::HashMap;
use std::path::Path;

use strongroom::{CollectionDef, Session};

use crate::folders;
use crate::plain_tools::RawDatabase;
use crate::support::{self, CUSTODIAN, user};

const NOTES: CollectionDef<u64, String> = CollectionDef::cbor("notes");
const TRACES: CollectionDef<u64, String> = CollectionDef::cbor("traces").ordered();
const TENANTS: [&str; 2] = ["contoso", "fabrikam"];

/// Where the nonce lies in an envelope; each half is to be as fresh as the whole.
const HALVES: [std::ops::Range<usize>; 2] = [6..18, 18..30];

/// The envelopes that each half of a nonce was seen in.
#[derive(Default)]
struct Seen([HashMap<Vec<u8>, Vec<u8>>; 2]);

impl Seen {
    /// Every envelope of these boxes. Returns how many there are.
    fn read(&mut self, database: &Path, boxes: u32) -> usize {
        let database = RawDatabase::open(database);
        let envelopes: Vec<Vec<u8>> = (0..boxes).flat_map(|number| database.rows(number).into_values()).collect();
        envelopes.iter().for_each(|envelope| assert!(self.is_fresh(envelope), "a nonce, or half of one, came twice"));
        envelopes.len()
    }

    /// An envelope that is still there is no second write.
    fn is_fresh(&mut self, envelope: &[u8]) -> bool {
        HALVES.into_iter().zip(&mut self.0).all(|(half, seen)| {
            let first = seen.entry(envelope[half].to_vec()).or_insert_with(|| envelope.to_vec());
            *first == envelope
        })
    }
}

/// The same records every time: one by one, and several in a batch of two collections.
fn write(session: &Session) {
    let notes = session.collection(&NOTES).unwrap();
    for number in 0..10 {
        notes.put(&number, &"the same".to_owned()).unwrap();
    }
    let mut batch = session.batch();
    for number in 10..20 {
        batch = batch.put(&NOTES, &number, &"the same".to_owned()).unwrap();
        batch = batch.put(&TRACES, &number, &"the same".to_owned()).unwrap();
    }
    batch.commit().unwrap();
}

#[test]
fn no_two_writes_of_a_store_share_a_nonce_or_half_of_one() {
    let folder = folders::in_memory();
    let mut seen = Seen::default();
    for round in 0..3 {
        let room = support::on_disk(folder.path()).open().unwrap();
        if round == 0 {
            support::make_tenants(&room, &TENANTS);
        }
        let custody = room.custody(CUSTODIAN).unwrap();
        for tenant in TENANTS {
            write(&room.session(&user(tenant), tenant).unwrap());
            // Two more rows of the directory.
            custody.suspend_tenant(tenant).unwrap();
            custody.resume_tenant(tenant).unwrap();
        }
        drop((custody, room));
        let copy = folders::in_memory();
        folders::copy(&folder.path().join("store"), copy.path());
        // Two rows of the store and two of tenants; heads of three trails; what each was told when a tenant was made; and of
        // each suspension and resumption.
        let (rows, heads, made, changes) = (4, 3, 4, 4 * (round + 1));
        assert_eq!(seen.read(&copy.path().join("zero/db"), 1), rows + heads + made + changes);
        // 20 notes, 10 traces, two collections of the catalog and its counter, twice.
        assert_eq!(seen.read(&copy.path().join("cells/0000/db"), 2), 66);
    }
}

#[test]
fn control_a_nonce_that_comes_again_with_another_record_is_found() {
    let mut seen = Seen::default();
    let envelope = |nonce: [u8; 24], rest: u8| [&[1, 1, 0, 0, 0, 1], &nonce[..], &[rest; 48]].concat();
    assert!(seen.is_fresh(&envelope([1; 24], 1)) && seen.is_fresh(&envelope([1; 24], 1)), "the same write");
    assert!(!seen.is_fresh(&envelope([1; 24], 2)));
    let mut half_fresh = [2; 24];
    half_fresh[12..].fill(1);
    assert!(!seen.is_fresh(&envelope(half_fresh, 1)));
}
