//! Values that lie in chunks, through the public doors and across kills: whole or not at all, and nothing left over.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use strongroom::{CollectionDef, Durability, ErrorKind, Result, Session, VALUE_MAX_LEN};

use crate::children::{self, Playing};
use crate::engines::with_session;
use crate::folders;
use crate::plain_tools::RawDatabase;
use crate::support::{make_tenants, on_disk, user};

const FILES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("files");
const BUFFERED: CollectionDef<&str, Vec<u8>> = FILES.durability(Durability::Buffered);
const NOTES: CollectionDef<u64, String> = CollectionDef::cbor("notes").ordered();

/// Bytes of a value in one chunk, as the format has it.
const CHUNK_LEN: usize = 256 << 10;
/// The collections of chunks and of what is pending, as their keys in a box begin.
const CHUNKS: [u8; 4] = [0, 0, 0, 1];
const PENDING: [u8; 4] = [0, 0, 0, 2];

fn value(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at / CHUNK_LEN) as u8 ^ (at / 977) as u8 ^ seed).collect()
}

#[test]
fn values_around_the_length_of_chunks_come_back_from_both_engines() {
    with_session(|session| {
        let (files, notes) = (session.collection(&FILES).unwrap(), session.collection(&NOTES).unwrap());
        let lengths = [0, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN, 3 * CHUNK_LEN + 1, VALUE_MAX_LEN];
        let keys = lengths.map(|length| format!("{length:08}"));
        for (length, key) in lengths.iter().zip(&keys) {
            files.put(&key.as_str(), &value(*length, 1)).unwrap();
            // The head of an encoded text takes five bytes where it is as long as this.
            notes.put(&(*length as u64), &"n".repeat(length.saturating_sub(5))).unwrap();
        }
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let many = files.get_many(&names).unwrap();
        for ((length, key), found) in lengths.iter().zip(&names).zip(many) {
            let expected = Some(value(*length, 1));
            assert!(found == expected && files.get(key).unwrap() == expected, "{length}");
        }
        let mut scanned: Vec<_> = files.iter().unwrap().map(Result::unwrap).collect();
        scanned.sort();
        assert!(scanned.iter().map(|(key, value)| (key.as_str(), value.len())).eq(names.iter().copied().zip(lengths)));
        let texts: Vec<_> = notes.range(..).unwrap().map(|row| row.unwrap().1.len()).collect();
        assert_eq!(texts, lengths.map(|length| length.saturating_sub(5)));
        assert_eq!((files.count().unwrap(), notes.count().unwrap()), (7, 7));
    });
}

#[test]
fn a_scan_reads_the_long_values_of_its_own_moment() {
    with_session(|session| {
        let files = session.collection(&FILES).unwrap();
        let put = |key, value| files.put(&key, &value).map(drop).unwrap();
        ["a", "b", "c"].iter().for_each(|key| put(key, value(2 * CHUNK_LEN, 1)));
        let scan = files.iter().unwrap();
        ["a", "b"].iter().for_each(|key| put(key, value(3 * CHUNK_LEN, 2)));
        files.delete(&"c").unwrap();
        assert_eq!(scan.filter(|row| row.as_ref().unwrap().1 == value(2 * CHUNK_LEN, 1)).count(), 3);
        assert_eq!(files.iter().unwrap().filter(|row| row.as_ref().unwrap().1.len() == 3 * CHUNK_LEN).count(), 2);
    });
}

#[test]
fn a_batch_with_long_values_happens_whole_or_not_at_all() {
    with_session(|session| {
        let files = session.collection(&FILES).unwrap();
        let version = files.put(&"a", &value(2 * CHUNK_LEN, 1)).unwrap();
        let batch = |session: &Session| {
            let batch = session.batch().put(&FILES, &"b", &value(VALUE_MAX_LEN, 2)).unwrap();
            batch.put(&NOTES, &1, &"n".repeat(CHUNK_LEN)).unwrap()
        };
        let stale = files.put(&"a", &value(2 * CHUNK_LEN, 3)).unwrap();
        let conflict = batch(session).put_if(&FILES, &"a", &vec![], version).unwrap().commit();
        assert_eq!(conflict.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(files.count().unwrap(), 1);
        batch(session).put_if(&FILES, &"a", &vec![], stale).unwrap().commit().unwrap();
        assert!(files.get(&"b").unwrap() == Some(value(VALUE_MAX_LEN, 2)));
        assert_eq!(files.get(&"a").unwrap(), Some(vec![]));
    });
}

/// What the child writes, one after the other, to one key.
const LENGTHS: [usize; 5] = [3 * CHUNK_LEN, 10, 2 * CHUNK_LEN + 1, 4 * CHUNK_LEN, 0];

fn written(number: usize) -> Vec<u8> {
    value(LENGTHS[number], number as u8)
}

/// The child: long values over short ones and long ones, synced and not, and a batch.
pub fn write_long_values() {
    let room = on_disk(&children::folder()).open().expect("a store that opens without help");
    let session = room.session(&user("contoso"), "contoso").expect("a session");
    for number in 0..LENGTHS.len() {
        if number == 3 {
            let batch = session.batch().put(&FILES, &"k", &written(number)).unwrap();
            batch.put(&FILES, &"beside", &written(number)).unwrap().commit().unwrap();
        } else {
            let definition = if number % 2 == 0 { &FILES } else { &BUFFERED };
            session.collection(definition).unwrap().put(&"k", &written(number)).unwrap();
        }
        children::say("ack");
    }
}

/// Rows of the tenant's box whose keys begin so; without changing the store.
fn rows(store: &Path) -> [usize; 2] {
    let copy = folders::in_memory();
    folders::copy(store, copy.path());
    let rows = RawDatabase::open(&copy.path().join("cells/0000/db")).rows(0);
    [CHUNKS, PENDING].map(|prefix| rows.keys().filter(|key| key.starts_with(&prefix)).count())
}

#[test]
fn a_kill_within_any_call_to_the_file_system_leaves_one_whole_value_and_no_chunk_too_many() {
    let made = folders::in_memory();
    let room = on_disk(made.path()).open().unwrap();
    make_tenants(&room, &["contoso"]);
    drop(room);
    let (mut kills, mut with_leftovers) = (0, 0);
    for call in 1.. {
        let folder = folders::in_memory();
        folders::copy(made.path(), folder.path());
        let mut command = children::command("writer of long values", folder.path(), 0);
        command.env("LD_PRELOAD", children::syncwatch()).env("SYNCWATCH_FOLDER", folder.path());
        command.env("SYNCWATCH_KILL_AT", call.to_string());
        let (status, said) = Playing::begin(command).wait();
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(9), "the child failed at call {call}: {status}");
        let acknowledged = said.iter().filter(|text| *text == "ack").count();
        let [_, pending] = rows(&folder.path().join("store"));
        (kills, with_leftovers) = (kills + 1, with_leftovers + usize::from(pending > 0));

        let room = on_disk(folder.path()).open().expect("the store opens without help");
        let files = room.session(&user("contoso"), "contoso").unwrap().collection(&FILES).unwrap();
        let found = files.get(&"k").unwrap();
        let under_way = (acknowledged < LENGTHS.len()).then(|| written(acknowledged));
        let last = acknowledged.checked_sub(1).map(written);
        assert!(found == last || (found.is_some() && found == under_way), "call {call}: neither of two writes");
        files.delete(&"nothing").unwrap();
        let lengths = files.iter().unwrap().map(|row| row.unwrap().1.len());
        let needed: usize = lengths.filter(|&length| length > CHUNK_LEN).map(|length| length.div_ceil(CHUNK_LEN)).sum();
        drop((files, room));
        assert_eq!(rows(&folder.path().join("store")), [needed, 0], "call {call}");
    }
    assert!(with_leftovers > 5, "the control: kills do leave chunks without a head ({with_leftovers} of {kills})");
    println!("kills: {kills}; left chunks without a head for the next process: {with_leftovers}");
}
