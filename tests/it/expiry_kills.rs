//! kill -9 before and within every call to the file system while expired records are removed: each is there whole or gone
//! whole, those that have not expired stay, and the next search goes on to the end.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use strongroom::{CollectionDef, ManualClock, PutOptions, Strongroom, StrongroomBuilder};
use tempfile::TempDir;

use crate::children;
use crate::folders;
use crate::kills::{self, OPENED, Victim};
use crate::plain_tools::RawDatabase;
use crate::support::{self, user};

/// What the child does, and at least how many kills it gets.
pub const ACTS: [(&str, usize); 1] = [("collected", 10)];

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes");
const START_MS: u64 = 1_800_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);
/// Several pages of them, and every eighth has chunks.
const RECORDS: u64 = 48;

fn value(key: u64) -> Vec<u8> {
    vec![u8::try_from(key).expect("a small key"); if key % 8 == 7 { 300_000 } else { 8_000 }]
}

/// Two of three expire, the second of them not yet when the search comes.
fn options(key: u64) -> PutOptions {
    let at = |days: u32| PutOptions::new().expires_at(UNIX_EPOCH + Duration::from_millis(START_MS) + DAY * days);
    match key % 3 {
        0 => PutOptions::new(),
        1 => at(1),
        _ => at(9),
    }
}

fn has_expired(key: u64) -> bool {
    key % 3 == 1
}

fn builder(folder: &Path, clock: &Arc<ManualClock>) -> StrongroomBuilder {
    support::on_disk(folder).clock(clock.clone())
}

fn template() -> TempDir {
    let folder = folders::in_memory();
    let room = builder(folder.path(), &ManualClock::new(START_MS)).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let notes = room.session(&user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
    (0..RECORDS).for_each(|key| assert!(notes.put_with(&key, &value(key), options(key)).is_ok()));
    folder
}

/// The keys that are there, each with its whole value.
fn found(room: &Strongroom) -> Vec<u64> {
    let notes = room.session(&user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
    let rows = notes.iter().unwrap().map(|row| row.expect("a whole record"));
    let mut keys: Vec<u64> = rows.map(|(key, found)| (key, assert_eq!(found, value(key), "{key}")).0).collect();
    keys.sort_unstable();
    keys
}

/// Goes on an hour at a time, after which a tenant is looked through again, until all is gone that has expired.
fn collect(room: &Strongroom, clock: &ManualClock) {
    for _ in 0..100 {
        clock.set_wall_ms(START_MS);
        if !found(room).into_iter().any(has_expired) {
            return;
        }
        clock.set_wall_ms(START_MS + 2 * 86_400_000);
        clock.advance(Duration::from_secs(3600));
        assert!(!found(room).into_iter().any(has_expired), "nobody sees it");
        room.tend();
    }
    panic!("it is still there");
}

/// The child: a store with a day behind it, in which what has expired goes.
pub fn collect_until_killed() {
    let clock = ManualClock::new(START_MS);
    let room = builder(&children::folder(), &clock).open().expect("a store that opens without help");
    let notes = room.session(&user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
    notes.put(&0, &value(0)).expect("a write");
    kills::done(OPENED);
    collect(&room, &clock);
    kills::done("collected");
}

/// Holds what a kill left to what was acknowledged, and has the search come to its end. Returns how many of the expired
/// records were left.
fn check(folder: &Path, said: &[String]) -> usize {
    let clock = ManualClock::new(START_MS);
    let room = builder(folder, &clock).open().expect("a store that opens without help");
    let (expired, living): (Vec<u64>, Vec<u64>) = found(&room).into_iter().partition(|key| has_expired(*key));
    assert!(living.into_iter().eq((0..RECORDS).filter(|key| !has_expired(*key))), "one that has not expired is gone");
    // Its rows may come back with the machine's power, but not with the process.
    assert!(expired.is_empty() || said.iter().all(|word| word != "collected"), "{expired:?} have come back");
    collect(&room, &clock);
    assert_eq!(found(&room).len() as u64, RECORDS - RECORDS / 3);
    drop(room);
    let rows = RawDatabase::open(&folder.join("store/cells/0000/db")).rows(0);
    let of_records = rows.keys().filter(|key| !key.starts_with(&[0; 4])).count();
    let chunked = (0..RECORDS).filter(|key| !has_expired(*key) && value(*key).len() > 256 << 10).count();
    assert_eq!(of_records as u64, RECORDS - RECORDS / 3 + 2 * chunked as u64, "rows that belong to nothing");
    expired.len()
}

#[test]
fn a_kill_before_or_within_any_call_of_the_search_leaves_every_record_whole_or_gone() {
    let template = template();
    let (mut all, mut some, mut none) = (0, 0, 0);
    Victim { role: "collector", template: template.path(), acts: &ACTS }.kill_at_every_call(
        |folder, said| match check(folder, said) {
            0 => none += 1,
            left if left as u64 == RECORDS / 3 => all += 1,
            _ => some += 1,
        },
    );
    println!("left of what had expired: all {all}, some {some}, nothing {none}");
    assert!(all > 0 && some > 0 && none > 0, "all {all}, some {some}, nothing {none}");
}

#[test]
fn control_a_record_that_has_come_back_or_gone_is_noticed() {
    let is_noticed = |said: &[&str], change: fn(&Strongroom)| {
        let template = template();
        change(&builder(template.path(), &ManualClock::new(START_MS)).open().unwrap());
        let said: Vec<String> = said.iter().map(|&word| word.to_owned()).collect();
        std::panic::catch_unwind(|| check(template.path(), &said)).is_err()
    };
    assert!(!is_noticed(&[], |_| {}));
    assert!(is_noticed(&["collected"], |_| {}));
    assert!(is_noticed(&[], |room| {
        room.session(&user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap().delete(&2).unwrap();
    }));
}
