//! Writes that end before their head is there: whatever ends them, their chunks go.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// What a process leaves that ends between the chunks and the head: their destructor does not run.
fn crash_before_the_head(authority: &Authority, long: &[u8]) {
    let files = Collection::open(authority, &FILES).unwrap();
    authority.catalog().mark_chunked(&files.info, authority.entropy()).unwrap();
    let ring = authority.tenant().ring().unwrap();
    let mut headless = Headless::new(authority, &ring, Durability::Buffered);
    headless.write(files.info.id, long).unwrap();
    std::mem::forget(headless);
}

#[test]
fn the_first_write_of_the_next_process_removes_what_a_crash_left() {
    let world = World::in_memory();
    let kept = value(2 * CHUNK_LEN, 1);
    world.files().put(&"kept", &kept).unwrap();
    let before = world.rows("contoso");
    for _ in 0..3 {
        crash_before_the_head(&world.of_another_process("contoso"), &value(3 * CHUNK_LEN, 2));
    }
    assert_eq!((world.count(CHUNKS), world.count(PENDING)), (2 + 9, 3), "the control: a crash leaves chunks");
    let next = world.of_another_process("contoso");
    let files = Collection::open(&next, &FILES).unwrap();
    assert!(files.get(&"kept").unwrap().as_ref() == Some(&kept));
    assert_eq!((files.count().unwrap(), world.count(CHUNKS)), (1, 11), "reading removes nothing");
    files.delete(&"nothing").unwrap();
    assert!(world.rows("contoso") == before, "exactly what the crashes left is gone");
    assert!(files.get(&"kept").unwrap() == Some(kept));
}

#[test]
fn a_crash_while_leftovers_are_removed_is_no_worse() {
    let world = World::in_memory();
    crash_before_the_head(&world.of_another_process("contoso"), &value(3 * CHUNK_LEN, 2));
    let keys = world.chunk_keys();
    world.edit("contoso", |batch, keyspace| batch.delete(keyspace, keys[1].clone()));
    Collection::open(&world.of_another_process("contoso"), &FILES).unwrap().put(&"k", &vec![]).unwrap();
    assert_eq!((world.count(CHUNKS), world.count(PENDING)), (0, 0));
}

#[cfg(feature = "rocksdb")]
#[test]
fn on_disk_too_the_next_process_removes_what_a_crash_left() {
    let world = World::on_disk();
    let kept = value(2 * CHUNK_LEN, 1);
    world.files().put(&"kept", &kept).unwrap();
    let before = world.rows("contoso");
    crash_before_the_head(&world.of_another_process("contoso"), &value(40 * CHUNK_LEN, 2));
    let World { room, folder } = world;
    drop(room);
    let world = World { room: World::open(folder.path()), folder };
    assert_eq!((world.count(CHUNKS), world.count(PENDING)), (2 + 40, 1), "the control");
    world.files().delete(&"nothing").unwrap();
    assert!(world.rows("contoso") == before);
    assert!(world.files().get(&"kept").unwrap() == Some(kept));
}

/// Closes the store at its call of this number.
struct Closing(AtomicU32, Arc<AtomicBool>);

impl Entropy for Closing {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.1.store(false, Ordering::SeqCst);
        }
        OsEntropy.fill(buffer)
    }
}

/// Fails at its call of this number.
struct Failing(AtomicU32);

impl Entropy for Failing {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Err(Error::internal("no random bytes"));
        }
        OsEntropy.fill(buffer)
    }
}

/// A write asks for random bytes for its mark, object, chunks, intent and head; this ends it at each of them.
#[test]
fn a_write_that_fails_or_is_closed_at_any_step_leaves_nothing() {
    let (mut failed, mut closed) = (0, 0);
    for step in 1..=5 {
        let world = World::in_memory();
        world.files().put(&"k", &value(2 * CHUNK_LEN, 1)).unwrap();
        let before = world.rows("contoso");
        let check = |error: Error, expected: ErrorKind| {
            assert_eq!(error.kind(), expected, "step {step}");
            assert!(world.rows("contoso") == before, "step {step}");
        };
        let open = Arc::new(AtomicBool::new(true));
        let authority = world.authority("contoso", Failing(AtomicU32::new(step)), &open);
        let long = value(3 * CHUNK_LEN, 2);
        if let Err(error) = Collection::open(&authority, &FILES).unwrap().put(&"k", &long) {
            check(error, ErrorKind::Internal);
            failed += 1;
        }
        let world = World::in_memory();
        world.files().put(&"k", &value(2 * CHUNK_LEN, 1)).unwrap();
        let before = world.rows("contoso");
        let authority = world.authority("contoso", Closing(AtomicU32::new(step), open.clone()), &open);
        if let Err(error) = Collection::open(&authority, &FILES).unwrap().put(&"k", &long) {
            assert_eq!(error.kind(), ErrorKind::Closed, "step {step}");
            assert!(world.rows("contoso") == before, "step {step}");
            closed += 1;
        }
    }
    assert_eq!(
        (failed, closed),
        (4, 3),
        "object, chunks, intent, head; past the last chunk a write is no longer ended"
    );
}

#[test]
fn a_suspension_does_not_wait_for_a_long_value() {
    /// Says when the first chunk is about to be written, and waits until the tenant is no longer active.
    struct Waiting(AtomicU32, Arc<Tenant>, std::sync::mpsc::Sender<()>);
    impl Entropy for Waiting {
        fn fill(&self, buffer: &mut [u8]) -> Result<()> {
            if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.2.send(()).expect("somebody listens");
                while self.1.check_active().is_ok() {
                    std::thread::yield_now();
                }
            }
            OsEntropy.fill(buffer)
        }
    }
    let world = World::in_memory();
    world.files().put(&"k", &value(2 * CHUNK_LEN, 1)).unwrap();
    let before = world.rows("contoso");
    let (said, heard) = std::sync::mpsc::channel();
    let entropy = Waiting(AtomicU32::new(3), world.tenant("contoso"), said);
    let authority = world.authority("contoso", entropy, &Arc::new(AtomicBool::new(true)));
    std::thread::scope(|scope| {
        let files = Collection::open(&authority, &FILES).unwrap();
        let put = scope.spawn(move || files.put(&"k", &value(VALUE_MAX_LEN, 2)));
        heard.recv().unwrap();
        world.room.custody("service").unwrap().suspend_tenant("contoso").unwrap();
        assert!(world.rows("contoso") == before, "the write has ended and cleaned up when the suspension returns");
        assert_eq!(put.join().unwrap().unwrap_err().kind(), ErrorKind::Denied);
    });
}
