//! Records that expire: there until their millisecond and not at it, on every way to them, whatever is done with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use strongroom::backup::{BackupPlan, EscrowKey, EscrowLock, TenantRestore};
use strongroom::{
    Budgets, Collection, CollectionDef, Durability, ErrorKind, Expected, LocalRoots, ManualClock, PutOptions,
    ResealPlan, Result, RootError, RootId, RootKeys, Session, Strongroom, StrongroomBuilder, WrapContext, WrapSecret,
    Wrapped,
};

use crate::chance::Chance;
use crate::plain_tools::RawDatabase;
use crate::support::{self, CUSTODIAN, ISSUER, Plain, user};

const HIDDEN: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("hidden");
const ORDERED: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("ordered").ordered().durability(Durability::Buffered);
const START_MS: u64 = 1_800_000_000_000;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

fn until(ms: u64) -> PutOptions {
    PutOptions::new().expires_at(at(ms))
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn session(room: &Strongroom) -> Session {
    room.session(&user("contoso"), "contoso").unwrap()
}

/// Runs `test` on stores of both kinds that have a tenant `contoso`, on a clock that stands still.
fn on_both(test: impl Fn(&Strongroom, &ManualClock)) {
    for builder in [support::in_memory, support::on_disk] {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START_MS));
        let room = builder(folder.path()).clock(clock.clone()).open().unwrap();
        support::make_tenants(&room, &["contoso"]);
        test(&room, &clock);
    }
}

/// Whether a record is found: on every way to it or on none.
fn is_found(session: &Session, definition: &CollectionDef<u64, Vec<u8>>, key: u64, value: &Vec<u8>) -> bool {
    let collection = session.collection(definition).unwrap();
    let has = |rows: strongroom::Scan<u64, Vec<u8>>| rows.map(Result::unwrap).any(|row| row == (key, value.clone()));
    let mut found = vec![
        collection.get(&key).unwrap().as_ref() == Some(value),
        collection.entry(&key).unwrap().is_some_and(|entry| entry.value() == value),
        collection.contains(&key).unwrap(),
        collection.get_many(&[7777, key]).unwrap()[1].as_ref() == Some(value),
        has(collection.iter().unwrap()),
        has(collection.prefix(()).unwrap()),
        collection.count().unwrap() == 2,
        session.transaction().get(definition, &key).unwrap().as_ref() == Some(value),
        session.transaction().contains(definition, &key).unwrap(),
    ];
    if let Ok(rows) = collection.range(key..=key) {
        found.push(has(rows));
    }
    assert!(found.iter().all(|is| *is == found[0]), "{found:?}");
    found[0]
}

#[test]
fn a_record_is_there_until_its_millisecond_and_not_at_it() {
    on_both(|room, clock| {
        let session = session(room);
        for definition in [HIDDEN, ORDERED] {
            for (key, length) in [(1, 0), (2, 100), (3, 300_000)] {
                clock.set_wall_ms(START_MS);
                let (collection, value) = (session.collection(&definition).unwrap(), vec![key as u8; length]);
                collection.put(&9999, &vec![]).unwrap();
                collection.put_with(&key, &value, until(START_MS + 500)).unwrap();
                assert_eq!(collection.entry(&key).unwrap().unwrap().expires_at(), Some(at(START_MS + 500)));
                assert_eq!(collection.entry(&9999).unwrap().unwrap().expires_at(), None);
                for (now_ms, is_there) in [(0, true), (499, true), (500, false), (501, false)] {
                    clock.set_wall_ms(START_MS + now_ms);
                    if now_ms < 1000 {
                        assert_eq!(is_found(&session, &definition, key, &value), is_there, "{length} bytes, {now_ms}");
                    }
                }
                // Until it has been collected, a clock that is set back shows it again.
                clock.set_wall_ms(START_MS + 499);
                assert!(is_found(&session, &definition, key, &value));
                collection.delete(&key).unwrap();
            }
        }
    });
}

#[test]
fn nothing_is_put_that_nobody_could_read() {
    on_both(|room, _| {
        let session = session(room);
        let hidden = session.collection(&HIDDEN).unwrap();
        let far = PutOptions::new().expires_after(Duration::MAX);
        let before = PutOptions::new().expires_at(UNIX_EPOCH - SECOND);
        for options in [until(START_MS), until(START_MS - 1), until(0), before, far, far.expires_after(Duration::ZERO)]
        {
            assert_eq!(kind(hidden.put_with(&1, &vec![1], options)), Some(ErrorKind::Invalid), "{options:?}");
            assert_eq!(kind(session.batch().put_with(&HIDDEN, &1, &vec![1], options)), Some(ErrorKind::Invalid));
            let put = session.transaction().put_with(&HIDDEN, &1, &vec![1], options);
            assert_eq!(kind(put), Some(ErrorKind::Invalid));
        }
        assert!(!hidden.contains(&1).unwrap());
        hidden.put_with(&1, &vec![1], until(START_MS + 1)).unwrap();
        hidden
            .put_with(&2, &vec![1], PutOptions::new().expires_at(at(START_MS + 1) + Duration::from_nanos(999_999)))
            .unwrap();
        assert_eq!(hidden.entry(&2).unwrap().unwrap().expires_at(), Some(at(START_MS + 1)), "whole milliseconds");
        hidden.put_with(&3, &vec![1], PutOptions::new().expires_after(HOUR)).unwrap();
        assert_eq!(hidden.entry(&3).unwrap().unwrap().expires_at(), Some(at(START_MS) + HOUR));
    });
}

#[test]
fn each_put_says_anew_whether_the_record_expires() {
    on_both(|room, clock| {
        let session = session(room);
        let hidden = session.collection(&HIDDEN).unwrap();
        let expiry = || hidden.entry(&1).unwrap().unwrap().expires_at();
        hidden.put_with(&1, &vec![1], until(START_MS + 10)).unwrap();
        hidden.put_with(&1, &vec![1], until(START_MS + 20)).unwrap();
        assert_eq!(expiry(), Some(at(START_MS + 20)));
        hidden.put(&1, &vec![2]).unwrap();
        assert_eq!(expiry(), None);
        session.batch().put_with(&HIDDEN, &1, &vec![3], until(START_MS + 30)).unwrap().commit().unwrap();
        assert_eq!(expiry(), Some(at(START_MS + 30)));
        let version = hidden.entry(&1).unwrap().unwrap().version();
        hidden.put_if(&1, &vec![4], version).unwrap();
        assert_eq!(expiry(), None);
        let batch = session.batch().put_with(&HIDDEN, &2, &vec![5], until(START_MS + 5)).unwrap();
        clock.set_wall_ms(START_MS + 5);
        batch.commit().unwrap();
        assert!(!hidden.contains(&2).unwrap(), "its time came before the commit");
    });
}

#[test]
fn an_expired_record_is_absent_for_whoever_compares() {
    on_both(|room, clock| {
        let session = session(room);
        let hidden = session.collection(&HIDDEN).unwrap();
        for length in [10, 300_000] {
            let value = vec![1; length];
            let expired = || {
                clock.set_wall_ms(START_MS);
                let version = hidden.put_with(&1, &value, until(START_MS + 10)).unwrap();
                clock.set_wall_ms(START_MS + 9);
                assert_eq!(kind(hidden.put_if(&1, &value, Expected::Absent)), Some(ErrorKind::Conflict));
                clock.set_wall_ms(START_MS + 10);
                version
            };
            let version = expired();
            assert_eq!(kind(hidden.put_if(&1, &value, version)), Some(ErrorKind::Conflict));
            assert_eq!(kind(hidden.delete_if(&1, version)), Some(ErrorKind::Conflict));
            assert_eq!(
                kind(session.batch().delete_if(&HIDDEN, &1, version).unwrap().commit()),
                Some(ErrorKind::Conflict)
            );
            let fresh = hidden.put_if(&1, &value, Expected::Absent).unwrap();
            assert_eq!(hidden.entry(&1).unwrap().unwrap().version(), fresh);

            expired();
            hidden.delete_if(&1, Expected::Absent).unwrap();
            clock.set_wall_ms(START_MS);
            assert!(!hidden.contains(&1).unwrap(), "removed, and not only hidden");
            expired();
            let options = until(START_MS + 20).expecting(Expected::Absent);
            session.batch().put_with(&HIDDEN, &1, &value, options).unwrap().commit().unwrap();
            assert!(hidden.contains(&1).unwrap());
            expired();
            session.transact(|transaction| transaction.put_with(&HIDDEN, &1, &value, options)).unwrap();
            assert!(hidden.contains(&1).unwrap());
            hidden.delete(&1).unwrap();
        }
    });
}

#[test]
fn records_keep_their_time_when_they_are_sealed_again() {
    on_both(|room, clock| {
        let session = session(room);
        let hidden = session.collection(&HIDDEN).unwrap();
        let versions = [(1, 100), (2, 600_000)]
            .map(|(key, length)| hidden.put_with(&key, &vec![key as u8; length], until(START_MS + 10)).unwrap());
        let custody = room.tenant_custody(&format!("{ISSUER}|contoso|custodian"), "contoso").unwrap();
        for _ in 0..2 {
            custody.rotate_keys().unwrap();
            assert!(custody.reseal(ResealPlan::new()).unwrap().is_complete);
            for (key, version) in (1..).zip(versions) {
                let entry = hidden.entry(&key).unwrap().unwrap();
                assert_eq!((entry.version(), entry.expires_at()), (version, Some(at(START_MS + 10))));
            }
        }
        clock.set_wall_ms(START_MS + 10);
        assert_eq!(hidden.count().unwrap(), 0);
    });
}

/// What the model knows of a record: its number, and when it expires.
type Model = BTreeMap<u64, (u64, Option<u64>)>;

#[test]
fn programs_of_records_that_expire_end_as_the_model_does() {
    on_both(|room, clock| {
        let mut chance = Chance::new(3);
        let (mut model, mut now_ms) = (Model::new(), START_MS);
        for number in 0..3000u64 {
            // Sessions end while time goes by.
            let session = session(room);
            let ordered = session.collection(&ORDERED).unwrap();
            let key = chance.below(8) as u64;
            let value = number.to_be_bytes().repeat(if chance.happens(3) { 40_000 } else { 1 });
            let found = model.get(&key).filter(|(_, at)| at.is_none_or(|at| at > now_ms)).copied();
            match chance.below(10) {
                0..3 => {
                    let expires_ms = now_ms + 1 + chance.below(20) as u64;
                    ordered.put_with(&key, &value, until(expires_ms)).unwrap();
                    model.insert(key, (number, Some(expires_ms)));
                }
                3 => {
                    ordered.put(&key, &value).unwrap();
                    model.insert(key, (number, None));
                }
                4 => {
                    let outcome = kind(ordered.put_if(&key, &value, Expected::Absent));
                    assert_eq!(outcome, found.map(|_| ErrorKind::Conflict));
                    model
                        .entry(key)
                        .and_modify(|record| *record = found.unwrap_or((number, None)))
                        .or_insert((number, None));
                }
                5 => {
                    ordered.delete(&key).unwrap();
                    model.remove(&key);
                }
                6 => {
                    now_ms += chance.below(10) as u64;
                    clock.set_wall_ms(now_ms);
                }
                7 => {
                    if chance.happens(10) {
                        clock.advance(HOUR);
                        now_ms += 3_600_000;
                    }
                    // Whoever uses it has it looked through.
                    self::session(room).collection(&ORDERED).unwrap().contains(&key).unwrap();
                    room.tend();
                }
                _ => {
                    let entry = ordered.entry(&key).unwrap();
                    let number = |value: &[u8]| u64::from_be_bytes(value[..8].try_into().unwrap());
                    let seen = entry.map(|entry| (number(entry.value()), entry.expires_at()));
                    assert_eq!(seen, found.map(|(number, expires_ms)| (number, expires_ms.map(at))), "at {now_ms}");
                    let living = model.values().filter(|(_, at)| at.is_none_or(|at| at > now_ms)).count();
                    assert_eq!(ordered.count().unwrap(), living as u64);
                }
            }
        }
    });
}

struct Counting(LocalRoots, Arc<AtomicUsize>);

impl RootKeys for Counting {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.0.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unwrap(root, wrapped, context)
    }
}

/// A store on disk whose root keys are counted when they are asked.
fn counting(folder: &Path, clock: &Arc<ManualClock>, asked: &Arc<AtomicUsize>) -> StrongroomBuilder {
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
    let builder = Strongroom::builder(folder.join("store"), Counting(roots, asked.clone()), Plain);
    let builder = builder.service_speaker(ISSUER, "service").boxes_per_cell(4).clock(clock.clone());
    builder.budgets(Budgets::default().expiry_rate(1 << 20))
}

/// Rows of contoso's box that are no catalog's.
fn rows(folder: &Path) -> usize {
    let rows = RawDatabase::open(&folder.join("store/cells/0000/db")).rows(0);
    rows.keys().filter(|key| !key.starts_with(&[0; 4])).count()
}

fn fill(room: &Strongroom, count: u64, options: PutOptions) -> Collection<u64, Vec<u8>> {
    let ordered = session(room).collection(&ORDERED).unwrap();
    (0..count).for_each(|key| assert!(ordered.put_with(&key, &vec![1; 1000], options).is_ok()));
    ordered.put_with(&count, &vec![2; 1 << 20], options).unwrap();
    ordered
}

/// Goes on for so long, a second at a time, as the store does by itself. Returns how often root keys were asked.
fn pass(room: &Strongroom, clock: &ManualClock, span: Duration, asked: &AtomicUsize) -> usize {
    let before = asked.load(Ordering::SeqCst);
    let step = Duration::from_secs(if span > HOUR { 60 } else { 1 });
    for _ in 0..span.as_secs() / step.as_secs() {
        clock.advance(step);
        room.tend();
    }
    asked.load(Ordering::SeqCst) - before
}

#[test]
fn what_has_expired_is_collected_while_its_tenant_is_used_and_within_the_rate() {
    let (folder, clock, asked) = (tempfile::tempdir().unwrap(), ManualClock::new(START_MS), Arc::default());
    let room = counting(folder.path(), &clock, &asked).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    drop(fill(&room, 8000, PutOptions::new().expires_after(SECOND)));
    session(&room).collection(&ORDERED).unwrap().put(&9999, &vec![3; 10]).unwrap();
    pass(&room, &clock, Duration::from_secs(3599), &asked);
    // Somebody is there, and an hour has passed.
    assert_eq!(session(&room).collection(&ORDERED).unwrap().count().unwrap(), 1);
    let now_ms = START_MS + 3_599_000;
    // What a clock shows that is set back.
    let left = || {
        clock.set_wall_ms(START_MS);
        let count = session(&room).collection(&ORDERED).unwrap().count().unwrap();
        clock.set_wall_ms(now_ms);
        count
    };
    let (mut before, mut seconds) = (left(), 0);
    assert_eq!(before, 8002, "not before the hour");
    while before > 1 {
        clock.advance(SECOND);
        room.tend();
        let now = left();
        assert!(before - now < 2300, "{} records of a kilobyte in a second, after at most two saved up", before - now);
        (before, seconds) = (now, seconds + 1);
        assert!(seconds < 30);
    }
    assert!(seconds > 5, "{seconds}: some 9 MB, a MiB a second");
    drop(room);
    assert_eq!(rows(folder.path()), 1, "records and chunks");
}

#[test]
fn of_a_tenant_whom_nobody_uses_keys_are_asked_once_a_day_and_only_if_something_has_expired() {
    let (folder, clock, asked) = (tempfile::tempdir().unwrap(), ManualClock::new(START_MS), Arc::default());
    let room = counting(folder.path(), &clock, &asked).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    session(&room).collection(&HIDDEN).unwrap().put(&1, &vec![1]).unwrap();
    drop(room);
    let room = counting(folder.path(), &clock, &asked).open().unwrap();
    assert!(session(&room).collection(&HIDDEN).unwrap().contains(&1).unwrap());
    pass(&room, &clock, 2 * HOUR, &asked);
    assert_eq!(pass(&room, &clock, 72 * HOUR, &asked), 0, "nothing of it expires");
    drop(fill(&room, 10, PutOptions::new().expires_after(40 * HOUR)));
    drop(room);
    // Another process does not know what expires when, and looks once.
    let room = counting(folder.path(), &clock, &asked).open().unwrap();
    let store = pass(&room, &clock, 2 * HOUR, &asked);
    assert_eq!(store, 0, "no sooner than a day after");
    let first = pass(&room, &clock, 23 * HOUR, &asked);
    assert!((1..=3).contains(&first), "{first}: the tenant's, and the store's to remember it");
    assert_eq!(pass(&room, &clock, 14 * HOUR, &asked), 0, "now it is known that nothing has expired");
    let second = pass(&room, &clock, 24 * HOUR, &asked);
    assert!((1..=3).contains(&second), "{second}");
    assert_eq!(pass(&room, &clock, 72 * HOUR, &asked), 0, "and that nothing is left");
    drop(room);
    assert_eq!(rows(folder.path()), 1);
}

#[test]
fn a_suspended_tenant_keeps_what_has_expired() {
    let (folder, clock, asked) = (tempfile::tempdir().unwrap(), ManualClock::new(START_MS), Arc::default());
    let room = counting(folder.path(), &clock, &asked).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    drop(fill(&room, 5, PutOptions::new().expires_after(SECOND)));
    room.custody(CUSTODIAN).unwrap().suspend_tenant("contoso").unwrap();
    pass(&room, &clock, 50 * HOUR, &asked);
    room.custody(CUSTODIAN).unwrap().resume_tenant("contoso").unwrap();
    clock.set_wall_ms(START_MS);
    assert_eq!(session(&room).collection(&ORDERED).unwrap().count().unwrap(), 6);
    pass(&room, &clock, 50 * HOUR, &asked);
    drop(room);
    assert_eq!(rows(folder.path()), 0, "the control: then it goes");
}

#[test]
fn a_tenant_that_comes_back_from_a_backup_keeps_its_times_and_brings_nothing_back_to_life() {
    let (folder, clock, asked) = (tempfile::tempdir().unwrap(), ManualClock::new(START_MS), Arc::default());
    let room = counting(folder.path(), &clock, &asked).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let ordered = fill(&room, 5, PutOptions::new().expires_after(HOUR));
    ordered.put_with(&100, &vec![1; 600_000], PutOptions::new().expires_after(10 * HOUR)).unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    let lock = EscrowLock::recipients([EscrowKey::generate().1.as_str()]).unwrap();
    custody.export_rings(folder.path().join("rings.age"), &lock).unwrap();
    custody.backup(BackupPlan::store(folder.path().join("backups"))).unwrap();
    drop((ordered, custody));
    clock.advance(HOUR);
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.restore_tenant(&TenantRestore::new(folder.path().join("backups"), "contoso", "again")).unwrap();
    let again = || room.session(&user("contoso"), "again").unwrap().collection(&ORDERED).unwrap();
    assert_eq!(again().count().unwrap(), 1);
    assert_eq!(again().entry(&100).unwrap().unwrap().expires_at(), Some(at(START_MS) + 10 * HOUR));
    assert_eq!(again().get(&100).unwrap(), Some(vec![1; 600_000]));
    // It is known for it as soon as it is used, and so is what it has brought collected.
    pass(&room, &clock, 30 * HOUR, &asked);
    clock.set_wall_ms(START_MS);
    assert_eq!(again().count().unwrap(), 0);
}
