//! Transactions: what they read is of one moment, what they change happens whole, and only if that moment still holds.

use std::collections::BTreeMap;
use std::time::Duration;

use strongroom::{
    CollectionDef, Durability, ErrorKind, Expected, ManualClock, PutOptions, ResealPlan, Result, Session, Transaction,
    Version,
};

use crate::chance::Chance;
use crate::engines::{on_both, with_session};
use crate::support::{self, ISSUER, user};

const MAIL: CollectionDef<(&str, u64), String> = CollectionDef::cbor("mail");
const COUNTS: CollectionDef<u64, u64> = CollectionDef::bincode("counts").ordered();
const FILES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("files");

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn set(session: &Session, key: u64, value: u64) -> Version {
    session.collection(&COUNTS).unwrap().put(&key, &value).unwrap()
}

fn count(session: &Session, key: u64) -> Option<u64> {
    session.collection(&COUNTS).unwrap().get(&key).unwrap()
}

#[test]
fn a_transaction_sees_its_own_changes_and_nobody_else_does_before_the_commit() {
    with_session(|session| {
        set(session, 1, 10);
        set(session, 2, 20);
        let mut transaction = session.transaction();
        transaction.put(&COUNTS, &1, &11).unwrap();
        transaction.delete(&COUNTS, &2).unwrap();
        transaction.put(&MAIL, &("inbox", 1), &"hello".to_owned()).unwrap();
        transaction.put(&FILES, &1, &vec![7; 600_000]).unwrap();
        assert_eq!(transaction.get(&COUNTS, &1).unwrap(), Some(11));
        assert_eq!(transaction.get(&COUNTS, &2).unwrap(), None);
        assert!(!transaction.contains(&COUNTS, &2).unwrap() && transaction.contains(&MAIL, &("inbox", 1)).unwrap());
        assert_eq!(transaction.get(&FILES, &1).unwrap(), Some(vec![7; 600_000]));
        assert_eq!((count(session, 1), count(session, 2)), (Some(10), Some(20)));
        assert_eq!(session.collection(&MAIL).unwrap().count().unwrap(), 0);
        transaction.commit().unwrap();
        assert_eq!((count(session, 1), count(session, 2)), (Some(11), None));
        assert_eq!(session.collection(&MAIL).unwrap().get(&("inbox", 1)).unwrap().as_deref(), Some("hello"));
        assert_eq!(session.collection(&FILES).unwrap().get(&1).unwrap(), Some(vec![7; 600_000]));

        let mut dropped = session.transaction();
        dropped.put(&COUNTS, &1, &12).unwrap();
        drop(dropped);
        assert_eq!(count(session, 1), Some(11), "a transaction that is dropped changes nothing");
        session.transaction().commit().unwrap();
    });
}

#[test]
fn the_last_change_of_a_record_counts() {
    with_session(|session| {
        let mut transaction = session.transaction();
        transaction.put(&COUNTS, &1, &1).unwrap();
        transaction.delete(&COUNTS, &1).unwrap();
        transaction.put(&COUNTS, &1, &2).unwrap();
        transaction.put(&COUNTS, &2, &3).unwrap();
        transaction.delete(&COUNTS, &2).unwrap();
        transaction.commit().unwrap();
        assert_eq!((count(session, 1), count(session, 2)), (Some(2), None));
    });
}

/// What is done to the records of keys 1 and 2 between the reads of a transaction and its commit.
fn interfere(what: &str, session: &Session) {
    let counts = session.collection(&COUNTS).unwrap();
    match what {
        "nothing" => {}
        "elsewhere" => drop(counts.put(&9, &9).unwrap()),
        "changed" => drop(counts.put(&1, &100).unwrap()),
        "written again" => drop(counts.put(&1, &10).unwrap()),
        "deleted" => counts.delete(&1).unwrap(),
        "made" => drop(counts.put(&2, &20).unwrap()),
        "made and deleted" => {
            counts.put(&2, &20).unwrap();
            counts.delete(&2).unwrap();
        }
        _ => panic!("no such interference: {what}"),
    }
}

#[test]
fn a_commit_proves_what_was_only_read_and_what_was_not_there() {
    let cases = [
        ("nothing", None),
        ("elsewhere", None),
        ("changed", Some(ErrorKind::Conflict)),
        ("written again", Some(ErrorKind::Conflict)),
        ("deleted", Some(ErrorKind::Conflict)),
        ("made", Some(ErrorKind::Conflict)),
        ("made and deleted", None),
    ];
    with_session(|session| {
        for (what, expected) in cases {
            for changes in [false, true] {
                session.collection(&COUNTS).unwrap().delete(&2).unwrap();
                session.collection(&COUNTS).unwrap().delete(&3).unwrap();
                set(session, 1, 10);
                let mut transaction = session.transaction();
                assert_eq!(transaction.get(&COUNTS, &1).unwrap(), Some(10));
                assert!(!transaction.contains(&COUNTS, &2).unwrap());
                if changes {
                    transaction.put(&COUNTS, &3, &30).unwrap();
                }
                interfere(what, session);
                assert_eq!(kind(transaction.commit()), expected, "{what}, changing something: {changes}");
                let is_there = changes && expected.is_none();
                assert_eq!(count(session, 3), is_there.then_some(30), "{what}: all or nothing");
            }
        }
    });
}

#[test]
fn what_is_moved_keeps_its_time() {
    with_session(|session| {
        let counts = session.collection(&COUNTS).unwrap();
        counts.put_with(&1, &10, PutOptions::new().expires_after(Duration::from_secs(3600))).unwrap();
        set(session, 2, 20);
        let time = counts.entry(&1).unwrap().unwrap().expires_at();
        assert!(time.is_some());
        for (from, to) in [(1, 3), (2, 4)] {
            let moved = session.transact(|transaction| -> Result<()> {
                let found = transaction.entry(&COUNTS, &from)?.unwrap();
                let options = PutOptions::new().expires_as(found.expires_at());
                transaction.put_with(&COUNTS, &to, found.value(), options)?;
                assert_eq!(transaction.entry(&COUNTS, &to)?.unwrap().expires_at(), found.expires_at());
                transaction.delete(&COUNTS, &from)?;
                assert_eq!(transaction.entry(&COUNTS, &from)?, None);
                Ok(())
            });
            moved.unwrap();
        }
        assert_eq!(counts.entry(&3).unwrap().unwrap().expires_at(), time);
        assert_eq!(counts.entry(&4).unwrap().unwrap().expires_at(), None);
    });
}

#[test]
fn whoever_puts_knows_what_version_it_is() {
    with_session(|session| {
        let (counts, mail) = (session.collection(&COUNTS).unwrap(), session.collection(&MAIL).unwrap());
        let files = session.collection(&FILES).unwrap();
        let version = |key| counts.entry(&key).unwrap().unwrap().version();
        let first = set(session, 1, 10);
        let batch = session.batch().put(&FILES, &1, &vec![7; 600_000]).unwrap().put(&COUNTS, &2, &20).unwrap();
        let batch = batch.delete(&COUNTS, &1).unwrap().put(&COUNTS, &2, &21).unwrap();
        let versions = batch.put(&MAIL, &("inbox", 1), &"hello".to_owned()).unwrap().commit().unwrap();
        let of_mail = mail.entry(&("inbox", 1)).unwrap().unwrap().version();
        assert_eq!(versions.len(), 4, "of every value, and of no deletion");
        assert_eq!(
            [versions[0], versions[2], versions[3]],
            [files.entry(&1).unwrap().unwrap().version(), version(2), of_mail]
        );
        assert!(versions[1] != versions[2] && !versions.contains(&first), "one that was replaced has had one too");

        let (mut tries, mut put) = (0, Vec::new());
        let last = session.transact(|transaction| -> Result<(Version, Version)> {
            transaction.get(&COUNTS, &2)?;
            let before = transaction.put(&COUNTS, &3, &30)?;
            let after = transaction.put(&COUNTS, &3, &31)?;
            let entry = transaction.entry(&COUNTS, &3)?.unwrap();
            assert!(before != after && (*entry.value(), entry.version()) == (31, after), "its own, as it will be");
            put.push(after);
            if tries == 0 {
                set(session, 2, 22);
            }
            tries += 1;
            Ok((after, transaction.put(&FILES, &2, &vec![8; 600_000])?))
        });
        let (last, long) = last.unwrap();
        assert_eq!((last, long), (version(3), files.entry(&2).unwrap().unwrap().version()));
        assert_eq!(put.len(), 2);
        assert!(put[0] != put[1], "no two attempts write as one");
        counts.put_if(&3, &32, put[1]).unwrap();
        assert_eq!(files.get(&2).unwrap(), Some(vec![8; 600_000]));
    });
}

#[test]
fn whoever_expects_a_record_and_no_matter_which_finds_one_or_a_conflict() {
    with_session(|session| {
        let counts = session.collection(&COUNTS).unwrap();
        assert_eq!(kind(counts.put_if(&1, &1, Expected::Present)), Some(ErrorKind::Conflict));
        assert_eq!(kind(counts.delete_if(&1, Expected::Present)), Some(ErrorKind::Conflict));
        set(session, 1, 1);
        counts.put_if(&1, &2, Expected::Present).unwrap();
        let mut transaction = session.transaction();
        transaction.expect(&COUNTS, &1, Expected::Present).unwrap();
        assert_eq!(kind(transaction.expect(&COUNTS, &2, Expected::Present)), Some(ErrorKind::Conflict));
        counts.delete_if(&1, Expected::Present).unwrap();
        assert_eq!(count(session, 1), None);
    });
}

#[test]
fn what_was_not_read_may_change() {
    with_session(|session| {
        set(session, 1, 10);
        let mut blind = session.transaction();
        blind.put(&COUNTS, &1, &11).unwrap();
        set(session, 1, 12);
        blind.commit().unwrap();
        assert_eq!(count(session, 1), Some(11));
    });
}

#[test]
fn all_reads_are_of_the_moment_of_the_first() {
    with_session(|session| {
        let files = session.collection(&FILES).unwrap();
        set(session, 1, 1);
        set(session, 2, 1);
        files.put(&1, &vec![1; 600_000]).unwrap();
        let mut transaction = session.transaction();
        assert_eq!(transaction.get(&COUNTS, &1).unwrap(), Some(1));
        set(session, 1, 2);
        set(session, 2, 2);
        set(session, 3, 2);
        files.put(&1, &vec![2; 700_000]).unwrap();
        assert_eq!(transaction.get(&COUNTS, &2).unwrap(), Some(1));
        assert_eq!(transaction.get(&COUNTS, &3).unwrap(), None);
        assert_eq!(transaction.get(&FILES, &1).unwrap(), Some(vec![1; 600_000]), "a value in chunks");
        assert_eq!(kind(transaction.commit()), Some(ErrorKind::Conflict));
    });
}

#[test]
fn an_expectation_is_asked_at_once_and_again_at_the_commit() {
    with_session(|session| {
        let version = set(session, 1, 10);
        let mut transaction = session.transaction();
        assert_eq!(kind(transaction.expect(&COUNTS, &1, Expected::Absent)), Some(ErrorKind::Conflict));
        transaction.expect(&COUNTS, &1, version).unwrap();
        transaction.put_with(&COUNTS, &1, &11, PutOptions::new().expecting(version)).unwrap();
        // Of what was there before the transaction, whatever it has changed itself.
        transaction.put_with(&COUNTS, &1, &12, PutOptions::new().expecting(version)).unwrap();
        let absent = PutOptions::new().expecting(Expected::Absent);
        assert_eq!(kind(transaction.put_with(&COUNTS, &1, &13, absent)), Some(ErrorKind::Conflict));
        transaction.commit().unwrap();
        assert_eq!(count(session, 1), Some(12), "what was refused is not in it");

        let mut transaction = session.transaction();
        transaction.put_with(&COUNTS, &2, &20, absent).unwrap();
        set(session, 2, 21);
        assert_eq!(kind(transaction.commit()), Some(ErrorKind::Conflict));
        assert_eq!(count(session, 2), Some(21));
    });
}

#[test]
fn a_record_that_is_sealed_again_is_the_same_record() {
    on_both(|room| {
        let session = room.session(&user("contoso"), "contoso").unwrap();
        set(&session, 1, 10);
        let mut transaction = session.transaction();
        assert_eq!(transaction.get(&COUNTS, &1).unwrap(), Some(10));
        let custody = room.tenant_custody(&format!("{ISSUER}|contoso|custodian"), "contoso").unwrap();
        custody.rotate_keys().unwrap();
        assert!(custody.reseal(ResealPlan::new()).unwrap().is_complete);
        transaction.put(&COUNTS, &2, &20).unwrap();
        transaction.commit().unwrap();
        assert_eq!(count(&session, 2), Some(20));
    });
}

#[test]
fn nothing_happens_in_a_collection_that_was_dropped() {
    with_session(|session| {
        set(session, 1, 10);
        let mut transaction = session.transaction();
        transaction.get(&COUNTS, &1).unwrap();
        transaction.put(&MAIL, &("inbox", 1), &"hello".to_owned()).unwrap();
        session.drop_collection("counts").unwrap();
        assert_eq!(kind(transaction.commit()), Some(ErrorKind::NotFound));
        assert_eq!(session.collection(&MAIL).unwrap().count().unwrap(), 0);
    });
}

#[test]
fn a_record_that_expires_before_the_commit_is_a_conflict_and_then_absent() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(1_800_000_000_000));
    let room = support::in_memory(folder.path()).clock(clock.clone()).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let session = room.session(&user("contoso"), "contoso").unwrap();
    let second = Duration::from_secs(1);
    let counts = session.collection(&COUNTS).unwrap();
    counts.put_with(&1, &10, PutOptions::new().expires_after(second)).unwrap();
    let mut reading = session.transaction();
    let mut changing = session.transaction();
    assert_eq!((reading.get(&COUNTS, &1).unwrap(), changing.get(&COUNTS, &1).unwrap()), (Some(10), Some(10)));
    changing.put(&COUNTS, &2, &20).unwrap();
    clock.advance(second);
    assert_eq!(reading.get(&COUNTS, &1).unwrap(), None);
    assert_eq!(kind(reading.commit()), Some(ErrorKind::Conflict));
    assert_eq!(kind(changing.commit()), Some(ErrorKind::Conflict));

    let mut transaction = session.transaction();
    assert_eq!(transaction.get(&COUNTS, &1).unwrap(), None);
    transaction.put_with(&COUNTS, &1, &11, PutOptions::new().expires_after(second)).unwrap();
    assert_eq!(transaction.get(&COUNTS, &1).unwrap(), Some(11));
    clock.advance(second);
    assert_eq!(transaction.get(&COUNTS, &1).unwrap(), None, "one's own record expires as any other");
    transaction.commit().unwrap();
    assert_eq!(counts.get(&1).unwrap(), None);
}

#[test]
fn a_transaction_has_limits_and_is_as_it_was_when_one_is_met() {
    with_session(|session| {
        let mut transaction = session.transaction();
        transaction.durability(Durability::Buffered);
        for key in 0..65_536 {
            transaction.put(&COUNTS, &key, &key).unwrap();
        }
        assert_eq!(kind(transaction.put(&COUNTS, &65_536, &0)), Some(ErrorKind::Invalid));
        assert_eq!(kind(transaction.get(&COUNTS, &65_537)), Some(ErrorKind::Invalid));
        transaction.put(&COUNTS, &1, &0).unwrap();
        transaction.commit().unwrap();
        assert_eq!(session.collection(&COUNTS).unwrap().count().unwrap(), 65_536);

        let (mut transaction, large) = (session.transaction(), vec![0; 16 << 20]);
        for key in 0..3 {
            transaction.put(&FILES, &key, &large).unwrap();
        }
        transaction.put(&FILES, &0, &large).unwrap();
        assert_eq!(kind(transaction.put(&FILES, &3, &large)), Some(ErrorKind::Invalid));
        transaction.put(&FILES, &0, &vec![]).unwrap();
        transaction.put(&FILES, &3, &large).unwrap();
    });
}

#[derive(Debug, PartialEq)]
enum Refused {
    Store(ErrorKind),
    Broke,
}

impl From<strongroom::Error> for Refused {
    fn from(error: strongroom::Error) -> Self {
        Self::Store(error.kind())
    }
}

#[test]
fn what_the_work_of_a_transaction_fails_with_comes_out_at_once() {
    with_session(|session| {
        set(session, 1, 10);
        let mut tries = 0;
        let broke = session.transact(|transaction| {
            tries += 1;
            transaction.put(&COUNTS, &1, &0)?;
            if transaction.get(&COUNTS, &2)?.is_none() { Err(Refused::Broke) } else { Ok(()) }
        });
        assert_eq!((broke, tries, count(session, 1)), (Err(Refused::Broke), 1, Some(10)));
        let conflict = session.transact::<(), Refused>(|transaction| {
            tries += 1;
            Ok(transaction.expect(&COUNTS, &1, Expected::Absent)?)
        });
        assert_eq!((conflict, tries), (Err(Refused::Store(ErrorKind::Conflict)), 2), "its own conflict too");
        let answer: Result<u64> = session.transact(|transaction| {
            let found = transaction.get(&COUNTS, &1)?.unwrap_or(0);
            transaction.put(&COUNTS, &1, &(found + 1))?;
            Ok(found)
        });
        assert_eq!((answer.unwrap(), count(session, 1)), (10, Some(11)));
    });
}

#[test]
fn work_is_done_again_while_others_change_what_it_reads_and_not_for_ever() {
    with_session(|session| {
        set(session, 1, 0);
        let until = |conflicts: u64| {
            let mut tries = 0;
            let outcome = session.transact(|transaction| {
                let found = transaction.get(&COUNTS, &1)?.unwrap();
                if tries < conflicts {
                    set(session, 1, found + 1);
                }
                tries += 1;
                transaction.put(&COUNTS, &2, &found)
            });
            (kind(outcome), tries)
        };
        assert_eq!(until(5), (None, 6));
        assert_eq!(count(session, 2), Some(5));
        assert_eq!(until(u64::MAX), (Some(ErrorKind::Throttled), 32));
        assert_eq!(count(session, 2), Some(5), "nothing was changed");
    });
}

/// A transaction under way, and what the model knows of it.
struct Open {
    transaction: Transaction,
    /// All that was there at its first read.
    snapshot: Option<Model>,
    seen: BTreeMap<Key, Option<u64>>,
    changes: BTreeMap<Key, Option<u64>>,
}

type Key = (bool, u64);
/// By key, which write set the record: it is its value too.
type Model = BTreeMap<Key, u64>;

impl Open {
    fn new(session: &Session) -> Self {
        let (seen, changes) = (BTreeMap::new(), BTreeMap::new());
        Self { transaction: session.transaction(), snapshot: None, seen, changes }
    }

    fn step(&mut self, model: &Model, (is_count, key): Key, change: Option<Option<u64>>) {
        let transaction = &mut self.transaction;
        match (change, is_count) {
            (Some(Some(write)), true) => assert!(transaction.put(&COUNTS, &key, &write).is_ok()),
            (Some(Some(write)), false) => assert!(transaction.put(&MAIL, &("in", key), &write.to_string()).is_ok()),
            (Some(None), true) => transaction.delete(&COUNTS, &key).unwrap(),
            (Some(None), false) => transaction.delete(&MAIL, &("in", key)).unwrap(),
            (None, _) => {
                let found = match is_count {
                    true => self.transaction.get(&COUNTS, &key).unwrap(),
                    false => self.transaction.get(&MAIL, &("in", key)).unwrap().map(|text| text.parse().unwrap()),
                };
                let expected = self.changes.get(&(is_count, key)).copied().unwrap_or_else(|| {
                    let snapshot = self.snapshot.get_or_insert_with(|| model.clone());
                    let found = snapshot.get(&(is_count, key)).copied();
                    self.seen.insert((is_count, key), found);
                    found
                });
                assert_eq!(found, expected);
            }
        }
        self.changes.extend(change.map(|change| ((is_count, key), change)));
    }

    /// Returns whether it was committed.
    fn commit(self, model: &mut Model) -> bool {
        let holds = self.seen.iter().all(|(key, seen)| model.get(key).copied() == *seen);
        let outcome = kind(self.transaction.commit());
        assert_eq!(outcome, (!holds).then_some(ErrorKind::Conflict));
        for (key, change) in self.changes.into_iter().filter(|_| holds) {
            match change {
                Some(write) => model.insert(key, write),
                None => model.remove(&key),
            };
        }
        holds
    }
}

#[test]
fn transactions_in_each_others_way_end_as_the_model_does() {
    on_both(|room| {
        let session = room.session(&user("contoso"), "contoso").unwrap();
        let (mut chance, mut model, mut writes) = (Chance::new(1), Model::new(), 0);
        let (mut committed, mut conflicts) = (0, 0);
        let mut open: Vec<Open> = (0..4).map(|_| Open::new(&session)).collect();
        for _ in 0..4000 {
            let turn = chance.below(open.len());
            let key = (chance.happens(50), chance.below(5) as u64);
            match chance.below(10) {
                0..5 => open[turn].step(&model, key, None),
                5..7 => {
                    writes += 1;
                    open[turn].step(&model, key, Some(Some(writes)));
                }
                7 => open[turn].step(&model, key, Some(None)),
                _ => {
                    let done = std::mem::replace(&mut open[turn], Open::new(&session));
                    match done.commit(&mut model) {
                        true => committed += 1,
                        false => conflicts += 1,
                    }
                }
            }
        }
        let mut last = Open::new(&session);
        (0..5).for_each(|key| [true, false].iter().for_each(|kind| last.step(&model, (*kind, key), None)));
        assert!(last.commit(&mut model));
        println!("transactions: {committed} committed, {conflicts} in conflict");
        assert!(committed > 200 && conflicts > 100, "{committed} and {conflicts}");
    });
}
