//! Many threads at once: nothing is lost, nothing outlives its end, nobody waits for ever.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, mpsc};
use std::time::Duration;

use strongroom::{
    Collection, CollectionDef, Custody, Entry, Error, ErrorKind, Expected, Result, Scan, Session, Strongroom,
    TenantSpec, VerifiedIdentity, Version, WriteBatch,
};

use crate::engines::on_both;
use crate::support::{self, CUSTODIAN, ISSUER, user};

const fn is_shared<T: Send + Sync + 'static>() {}

const _: () = {
    is_shared::<Strongroom>();
    is_shared::<Custody>();
    is_shared::<Session>();
    is_shared::<Collection<(&'static str, u64), Vec<u8>>>();
    is_shared::<Scan<(&'static str, u64), Vec<u8>>>();
    is_shared::<WriteBatch>();
    is_shared::<Entry<Vec<u8>>>();
    is_shared::<Version>();
    is_shared::<VerifiedIdentity>();
    is_shared::<Error>();
};

/// A handle is `Send + Sync` whatever its values are: it holds none.
const _: () = is_shared::<Collection<u64, std::cell::Cell<*const u8>>>();

const COUNTERS: CollectionDef<&str, u64> = CollectionDef::bincode("counters");
const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();
const THREADS: usize = 8;

fn session(room: &Strongroom) -> Session {
    room.session(&user("contoso"), "contoso").unwrap()
}

/// Panics if `work` is not done in two minutes: it waits for something that never comes.
fn within_two_minutes(work: impl FnOnce() + Send + 'static) {
    let (done, waiting) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    match waiting.recv_timeout(Duration::from_secs(120)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a deadlock"),
        _ => worker.join().unwrap(),
    }
}

/// Adds one by compare-and-swap. Returns how often it had to begin again.
fn increment(counters: &Collection<&'static str, u64>) -> u64 {
    for conflicts in 0.. {
        let written = match counters.entry(&"hits").unwrap() {
            Some(entry) => counters.put_if(&"hits", &(entry.value() + 1), entry.version()),
            None => counters.put_if(&"hits", &1, Expected::Absent),
        };
        match written.map_err(|error| error.kind()) {
            Ok(_) => return conflicts,
            Err(kind) => assert_eq!(kind, ErrorKind::Conflict),
        }
    }
    unreachable!("the loop has no end but success");
}

#[test]
fn no_increment_is_lost() {
    on_both(|room| {
        let rounds = 200;
        let conflicts = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let counters = session(room).collection(&COUNTERS).unwrap();
                    let met: u64 = (0..rounds).map(|_| increment(&counters)).sum();
                    conflicts.fetch_add(met, Ordering::Relaxed);
                });
            }
        });
        let counters = session(room).collection(&COUNTERS).unwrap();
        assert_eq!(counters.get(&"hits").unwrap(), Some(THREADS as u64 * rounds));
        println!("increments: {}, conflicts: {}", THREADS as u64 * rounds, conflicts.into_inner());
    });
}

#[test]
fn exactly_one_of_many_creates_a_record() {
    on_both(|room| {
        let barrier = Barrier::new(THREADS);
        for round in 0..20 {
            let attempt = || {
                let notes = session(room).collection(&NOTES).unwrap();
                barrier.wait();
                notes.put_if(&round, &vec![], Expected::Absent).is_ok()
            };
            let winners = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(attempt)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won).count()
            });
            assert_eq!(winners, 1);
        }
    });
}

#[test]
fn money_moved_by_batches_is_neither_made_nor_lost() {
    on_both(|room| {
        let accounts = session(room).collection(&COUNTERS).unwrap();
        for account in ["a", "b", "c"] {
            accounts.put(&account, &1000).unwrap();
        }
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let session = session(room);
                scope.spawn(move || (0..60).for_each(|round| transfer(&session, thread + round)));
            }
            scope.spawn(|| {
                for _ in 0..100 {
                    let total: u64 = accounts.iter().unwrap().map(|row| row.unwrap().1).sum();
                    assert_eq!(total, 3000, "a scan shows every batch whole or not at all");
                }
            });
        });
        assert_eq!(accounts.iter().unwrap().map(|row| row.unwrap().1).sum::<u64>(), 3000);
    });
}

fn transfer(session: &Session, turn: usize) {
    let accounts = session.collection(&COUNTERS).unwrap();
    let (from, to) = (["a", "b", "c"][turn % 3], ["b", "c", "a"][turn % 3]);
    let entries = [from, to].map(|account| accounts.entry(&account).unwrap().unwrap());
    let amount = (*entries[0].value()).min(1 + turn as u64 % 7);
    let batch = session.batch().put_if(&COUNTERS, &from, &(entries[0].value() - amount), entries[0].version()).unwrap();
    let batch = batch.put_if(&COUNTERS, &to, &(entries[1].value() + amount), entries[1].version()).unwrap();
    let kind = batch.commit().err().map(|error| error.kind());
    assert!(matches!(kind, None | Some(ErrorKind::Conflict)), "{kind:?}");
}

#[test]
fn exactly_one_of_many_creates_a_tenant() {
    on_both(|room| {
        for round in 0..6 {
            let (name, barrier) = (format!("new-{round}"), Barrier::new(THREADS));
            let attempt = || {
                let custody = room.custody(CUSTODIAN).unwrap();
                barrier.wait();
                custody.create_tenant(TenantSpec::new(&name, ISSUER, &name)).map_err(|error| error.kind())
            };
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(attempt)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
            assert!(
                outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|kind| *kind == ErrorKind::Conflict)
            );
            session_works(&room.home_session(&user(&name)).unwrap());
        }
    });
}

fn session_works(session: &Session) {
    let notes = session.collection(&NOTES).unwrap();
    assert_eq!(notes.count().unwrap(), 0);
    notes.put(&1, &vec![1]).unwrap();
    assert_eq!(notes.get(&1).unwrap(), Some(vec![1]));
}

/// A session with a collection of it that has been opened.
struct Visitor {
    session: Session,
    notes: Collection<u64, Vec<u8>>,
}

impl Visitor {
    fn new(room: &Strongroom) -> Self {
        let session = session(room);
        Self { notes: session.collection(&NOTES).unwrap(), session }
    }

    /// Reads and writes until `ended`; from then on nothing that begins may succeed. Returns how often it had worked.
    fn storm(&self, thread: u64, ended: &AtomicBool, refusal: ErrorKind) -> u64 {
        let notes = &self.notes;
        let mut done = 0;
        loop {
            let over = ended.load(Ordering::SeqCst);
            let key = thread * 1000 + done % 50;
            let batch = self.session.batch();
            let outcomes = [
                notes.put(&key, &vec![thread as u8; 100]).map(drop),
                notes.get(&key).map(drop),
                notes.get_many(&[key, 0]).map(drop),
                notes.count().map(drop),
                batch.put(&COUNTERS, &"batched", &1).and_then(WriteBatch::commit).map(drop),
            ];
            let refused = |outcome: &Result<()>| outcome.as_ref().is_err_and(|error| error.kind() == refusal);
            if over {
                // The batch is of another collection: only the end of the tenant is its end too.
                let batch_goes_on = refusal == ErrorKind::NotFound;
                let mut ended = outcomes.iter().take(if batch_goes_on { 4 } else { 5 });
                assert!(ended.all(refused), "{outcomes:?} after the end");
                return done;
            }
            let good = |outcome: &Result<()>| outcome.is_ok() || refused(outcome);
            assert!(outcomes.iter().all(good), "{outcomes:?}");
            done += 1;
        }
    }
}

#[test]
fn nothing_of_a_deleted_tenant_succeeds_after_its_deletion_has_returned() {
    on_both(|room| {
        for _ in 0..5 {
            let ended = AtomicBool::new(false);
            let visitors: Vec<_> = (0..THREADS).map(|_| Visitor::new(room)).collect();
            let done: u64 = std::thread::scope(|scope| {
                let storm =
                    |(thread, visitor): (usize, &Visitor)| visitor.storm(thread as u64, &ended, ErrorKind::Denied);
                let threads: Vec<_> = visitors.iter().enumerate().map(|it| scope.spawn(move || storm(it))).collect();
                std::thread::sleep(Duration::from_millis(100));
                room.custody(CUSTODIAN).unwrap().delete_tenant("contoso").unwrap();
                ended.store(true, Ordering::SeqCst);
                support::make_tenants(room, &["contoso"]);
                session_works(&session(room));
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert!(done > 0);
            let notes = session(room).collection(&NOTES).unwrap();
            assert_eq!(notes.count().unwrap(), 1, "what the new tenant has written, and nothing else");
            assert_eq!(session(room).collections().unwrap().len(), 1);
            assert!(visitors.iter().all(|visitor| visitor.session.collections().is_err()));
        }
    });
}

#[test]
fn nothing_is_written_to_a_collection_after_it_was_dropped() {
    on_both(|room| {
        for _ in 0..10 {
            let ended = &AtomicBool::new(false);
            let owner = Visitor::new(room);
            let visitors: Vec<_> = (0..THREADS).map(|_| Visitor::new(room)).collect();
            std::thread::scope(|scope| {
                for (thread, visitor) in visitors.iter().enumerate() {
                    scope.spawn(move || visitor.storm(thread as u64, ended, ErrorKind::NotFound));
                }
                while owner.notes.count().unwrap() == 0 {
                    std::thread::yield_now();
                }
                std::thread::sleep(Duration::from_millis(20));
                owner.session.drop_collection("notes").unwrap();
                ended.store(true, Ordering::SeqCst);
            });
            assert_eq!(owner.session.collections().unwrap().len(), 1, "only that of the batches");
            assert_eq!(owner.session.collection(&NOTES).unwrap().count().unwrap(), 0);
        }
    });
}

#[test]
fn a_collection_that_takes_writes_is_in_the_list_however_often_it_was_dropped() {
    let folder = tempfile::tempdir().unwrap();
    support::make_tenants(&support::on_disk(folder.path()).open().unwrap(), &["contoso"]);
    for round in 0..30 {
        let room = support::on_disk(folder.path()).open().unwrap();
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (session, barrier) = (session(&room), &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    if thread == 0 {
                        drop(session.drop_collection("notes"));
                    } else {
                        drop(session.collection(&NOTES).unwrap());
                    }
                });
            }
        });
        let session = session(&room);
        session.collection(&NOTES).unwrap().put(&1, &vec![]).unwrap();
        assert_eq!(session.collections().unwrap().len(), 1, "round {round}");
    }
}

/// Definitions of many collections: a batch over all of them takes a while to get leave to write to each.
fn crowd() -> Vec<CollectionDef<u64, Vec<u8>>> {
    (0..64).map(|number| CollectionDef::bytes(String::leak(format!("c{number:02}")))).collect()
}

fn write_to_all(room: &Strongroom, crowd: &[CollectionDef<u64, Vec<u8>>]) -> Result<()> {
    let session = room.session(&user("contoso"), "contoso")?;
    let batch = crowd.iter().try_fold(session.batch(), |batch, definition| batch.put(definition, &1, &vec![]))?;
    batch.commit().map(drop)
}

#[test]
fn writers_droppers_and_custodians_do_not_wait_for_each_other_for_ever() {
    within_two_minutes(|| {
        on_both(|room| {
            let (crowd, ended) = (&crowd(), &AtomicBool::new(false));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(move || {
                        while !ended.load(Ordering::SeqCst) {
                            drop(write_to_all(room, crowd));
                        }
                    });
                }
                scope.spawn(move || {
                    while !ended.load(Ordering::SeqCst) {
                        let Ok(session) = room.session(&user("contoso"), "contoso") else { continue };
                        drop(session.drop_collection("c63"));
                    }
                });
                let custody = room.custody(CUSTODIAN).unwrap();
                for _ in 0..250 {
                    custody.suspend_tenant("contoso").unwrap();
                    custody.resume_tenant("contoso").unwrap();
                    std::thread::sleep(Duration::from_millis(4));
                }
                ended.store(true, Ordering::SeqCst);
            });
        });
    });
}
