//! Writers and readers at once: one whole write is read, and no chunk is left without its head or taken from it.

use std::sync::Barrier;

use super::*;
use crate::engine::Reader;

const ROUNDS: u8 = 25;

fn worlds() -> Vec<World> {
    vec![
        World::in_memory(),
        #[cfg(feature = "rocksdb")]
        World::on_disk(),
    ]
}

/// Values of lengths that tell which write they are of, two of three in chunks.
fn numbered(number: u8) -> Vec<u8> {
    let length = [2 * CHUNK_LEN, 100, 3 * CHUNK_LEN][usize::from(number) % 3] + usize::from(number);
    vec![number; length]
}

#[track_caller]
fn check_whole(value: &[u8]) {
    assert!(value == numbered(value[0]), "a mixture of two writes");
}

#[test]
fn a_reader_sees_one_whole_write_whatever_writers_do() {
    for world in worlds() {
        world.files().put(&"k", &numbered(0)).unwrap();
        let done = AtomicBool::new(false);
        let reads = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let (files, mut reads) = (world.files(), 0);
                        while !done.load(std::sync::atomic::Ordering::SeqCst) || reads == 0 {
                            check_whole(&files.get(&"k").unwrap().unwrap());
                            check_whole(files.get_many(&["k"]).unwrap()[0].as_ref().unwrap());
                            check_whole(&files.iter().unwrap().next().unwrap().unwrap().1);
                            reads += 3;
                        }
                        reads
                    })
                })
                .collect();
            let writers: Vec<_> = (0..2)
                .map(|writer| {
                    let world = &world;
                    scope.spawn(move || {
                        let files = world.files();
                        for round in 0..ROUNDS {
                            files.put(&"k", &numbered(2 * round + writer)).unwrap();
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u32>()
        });
        println!("reads beside {} writes: {reads}", 2 * ROUNDS);
        world.check_chunks("after all");
    }
}

/// Many writers of few keys, in every way: what is left are exactly the chunks of what is there.
#[test]
fn concurrent_writers_leave_no_orphan_and_take_no_living_chunk() {
    for world in worlds() {
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let world = &world;
                scope.spawn(move || {
                    let (session, files) = (world.session("contoso"), world.files());
                    for round in 0..ROUNDS {
                        let key = ["a", "b"][usize::from(round) % 2];
                        let value = numbered(round * 4 + writer);
                        match (round / 2 + writer) % 5 {
                            0 => files.delete(&key).unwrap(),
                            1 => {
                                let batch = session.batch().put(&FILES, &"a", &value).unwrap();
                                batch.delete(&FILES, &"b").unwrap().commit().unwrap();
                            }
                            2 => drop(files.put_if(&key, &value, Expected::Absent).map(drop)),
                            3 => {
                                let entry = files.entry(&key).unwrap();
                                entry.map(|entry| files.put_if(&key, &value, entry.version()).map(drop));
                            }
                            _ => files.put(&key, &value).map(drop).unwrap(),
                        }
                    }
                });
            }
        });
        world.files().iter().unwrap().for_each(|row| check_whole(&row.unwrap().1));
        world.check_chunks("after all");
        world.files().put(&"a", &numbered(0)).unwrap();
        world.files().put(&"b", &numbered(1)).unwrap();
        world.check_chunks("the control: there are chunks to lose");
        assert_eq!(world.count(CHUNKS), 2);
    }
}

/// A collection's first long value, written while others write the same record without looking at it first.
#[test]
fn the_first_long_value_meets_writers_who_do_not_look() {
    let world = World::in_memory();
    for _ in 0..100 {
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            for long in [true, false] {
                let (world, barrier) = (&world, &barrier);
                scope.spawn(move || {
                    let files = world.files();
                    barrier.wait();
                    let value = if long { value(CHUNK_LEN + 1, 0) } else { vec![1] };
                    for _ in 0..3 {
                        files.put(&"k", &value).unwrap();
                    }
                });
            }
        });
        world.check_chunks("after both");
        world.session("contoso").drop_collection("files").unwrap();
    }
}

/// Replaces the record in the moment after a snapshot was taken.
struct Overwritten {
    reader: Arc<dyn Reader>,
    files: Collection<&'static str, Vec<u8>>,
}

impl Reader for Overwritten {
    fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.reader.get(keyspace, key, read)
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Vec<u8>], read: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.reader.multi_get(keyspace, keys, read)
    }

    fn estimate_rows(&self, keyspace: Keyspace) -> Result<u64> {
        self.reader.estimate_rows(keyspace)
    }

    fn view(&self) -> Result<Box<dyn View>> {
        let view = self.reader.view();
        self.files.put(&"k", &numbered(2))?;
        view
    }
}

#[test]
fn head_and_chunks_are_read_from_one_snapshot() {
    let world = World::in_memory();
    let (files, tenant) = (world.files(), world.tenant("contoso"));
    files.put(&"k", &numbered(0)).unwrap();
    let key = world.rows("contoso").remove(&FIRST_ID).unwrap().remove(0).0;
    let reader = Overwritten { reader: tenant.reader().unwrap(), files: files.clone() };
    let opened = files.read_chunked(&tenant.ring().unwrap(), &reader, &key).unwrap().unwrap();
    assert!(*opened.value() == numbered(0), "what was there when the snapshot was taken");
    assert!(files.get(&"k").unwrap() == Some(numbered(2)), "the control: it was replaced meanwhile");
}

#[test]
fn a_collection_is_marked_while_nobody_writes_to_it() {
    let world = World::in_memory();
    let (authority, files) = (world.of_another_process("contoso"), world.files());
    let mark = || authority.catalog().mark_chunked(&files.info, authority.entropy());
    std::thread::scope(|scope| {
        // A write under way, which does not look at the record that it replaces.
        let writing = files.info.begin_write().unwrap();
        let marking = scope.spawn(mark);
        std::thread::sleep(std::time::Duration::from_millis(200));
        let waited = !marking.is_finished() && !files.info.is_chunked();
        drop(writing);
        marking.join().unwrap().unwrap();
        assert!(waited && files.info.is_chunked());
    });
}

/// Non-interference: whatever a tenant does with long values, its neighbour's box is to the byte what it was.
#[test]
fn the_neighbours_box_stays_as_it_is() {
    for world in worlds() {
        let theirs = world.session("fabrikam").collection(&FILES).unwrap();
        theirs.put(&"k", &numbered(0)).unwrap();
        let before = world.rows("fabrikam");
        let (session, files) = (world.session("contoso"), world.files());
        for number in 0..6 {
            files.put(&"k", &numbered(number)).unwrap();
            session
                .batch()
                .put(&FILES, &"l", &numbered(number))
                .unwrap()
                .delete(&FILES, &"k")
                .unwrap()
                .commit()
                .unwrap();
        }
        session.drop_collection("files").unwrap();
        assert!(world.rows("fabrikam") == before);
        assert!(theirs.get(&"k").unwrap() == Some(numbered(0)));
        assert_eq!(world.count(CHUNKS), 0);
    }
}
