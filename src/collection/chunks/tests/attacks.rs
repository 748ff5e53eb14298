//! Chunks and heads as an attacker with the engine leaves them: refused, with nothing of the value handed out.

use super::*;

/// How a read of `files` fails, the same in every way of reading.
#[track_caller]
fn refusal(files: &Collection<&'static str, Vec<u8>>, key: &'static str) -> ErrorKind {
    let kinds = [
        files.get(&key).map(drop),
        files.entry(&key).map(drop),
        files.contains(&key).map(drop),
        files.get_many(&[key]).map(drop),
        files.count().map(drop),
        files.iter().unwrap().collect::<Result<Vec<_>>>().map(drop),
    ]
    .map(|outcome| outcome.err().map(|error| error.kind()));
    assert_eq!(kinds, [kinds[0]; 6]);
    kinds[0].expect("it was read")
}

#[test]
fn chunks_that_were_moved_changed_or_taken_away_are_refused() {
    type Attack = fn(&mut Batch, Keyspace, &[Row]);
    use ErrorKind::{Corrupt, Tampered};
    let attacks: [(&str, ErrorKind, Attack); 8] = [
        ("swapped", Tampered, |batch, place, rows| {
            batch.put(place, rows[0].0.clone(), Moved(rows[1].1.clone()));
            batch.put(place, rows[1].0.clone(), Moved(rows[0].1.clone()));
        }),
        ("the first is missing", Corrupt, |batch, place, rows| batch.delete(place, rows[0].0.clone())),
        ("the last is missing", Corrupt, |batch, place, rows| batch.delete(place, rows[2].0.clone())),
        ("all are missing", Corrupt, |batch, place, rows| {
            rows.iter().for_each(|(key, _)| batch.delete(place, key.clone()));
        }),
        ("the first came twice", Tampered, |batch, place, rows| {
            batch.put(place, rows[1].0.clone(), Moved(rows[0].1.clone()));
        }),
        ("cut", Tampered, |batch, place, rows| {
            batch.put(place, rows[2].0.clone(), Moved(rows[2].1[..rows[2].1.len() - 1].to_vec()));
        }),
        ("empty", Tampered, |batch, place, rows| batch.put(place, rows[1].0.clone(), Moved(vec![]))),
        ("a bit of the last", Tampered, |batch, place, rows| {
            let mut bytes = rows[2].1.clone();
            *bytes.last_mut().unwrap() ^= 1;
            batch.put(place, rows[2].0.clone(), Moved(bytes));
        }),
    ];
    for (name, expected, attack) in attacks {
        let world = World::in_memory();
        let files = world.files();
        let whole = value(2 * CHUNK_LEN + 7, 1);
        files.put(&"k", &whole).unwrap();
        let rows = world.rows("contoso").remove(&CHUNKS).unwrap();
        assert!(files.get(&"k").unwrap() == Some(whole.clone()), "the control");
        world.edit("contoso", |batch, place| attack(batch, place, &rows));
        assert_eq!(refusal(&files, "k"), expected, "{name}");
        files.put(&"k", &whole).unwrap();
        world.check_chunks(name);
        assert!(files.get(&"k").unwrap() == Some(whole), "what is damaged can be written anew: {name}");
    }
}

#[test]
fn chunks_of_another_record_collection_write_or_tenant_are_refused() {
    let world = World::in_memory();
    let others = world.session("contoso").collection(&OTHERS).unwrap();
    let theirs = world.session("fabrikam").collection(&FILES).unwrap();
    let same = value(2 * CHUNK_LEN, 1);
    let chunks = |tenant: &str| world.rows(tenant).remove(&CHUNKS).unwrap_or_default();
    // The same value everywhere: it is the place that is refused.
    world.files().put(&"k", &same).unwrap();
    let older = chunks("contoso");
    world.files().put(&"k", &same).unwrap();
    let ours = chunks("contoso");
    let added = |write: &dyn Fn()| {
        let before = chunks("contoso");
        write();
        chunks("contoso").into_iter().filter(|row| !before.contains(row)).collect::<Vec<_>>()
    };
    let beside = added(&|| world.files().put(&"beside", &same).map(drop).unwrap());
    let elsewhere = added(&|| others.put(&"k", &same).map(drop).unwrap());
    theirs.put(&"k", &same).unwrap();
    let foreign = chunks("fabrikam");
    for strangers in [&older, &beside, &elsewhere, &foreign] {
        assert_eq!(strangers.len(), 2);
        for (stranger, own) in strangers.iter().zip(&ours) {
            world.edit("contoso", |batch, place| batch.put(place, own.0.clone(), Moved(stranger.1.clone())));
            assert_eq!(refusal(&world.files(), "k"), ErrorKind::Tampered);
            world.edit("contoso", |batch, place| batch.put(place, own.0.clone(), Moved(own.1.clone())));
            assert!(world.files().get(&"k").unwrap().as_ref() == Some(&same), "the control");
        }
    }
}

/// Even from whoever has the tenant's keys, only a head that this crate could have written is taken: nothing else
/// leads to memory being taken, or to a look at another key.
#[test]
fn heads_of_impossible_lengths_are_refused() {
    let world = World::in_memory();
    let files = world.files();
    let length = 2 * CHUNK_LEN + 1;
    files.put(&"k", &value(length, 1)).unwrap();
    let ring = world.tenant("contoso").ring().unwrap();
    let (key, _) = world.rows("contoso").remove(&FIRST_ID).unwrap().remove(0);
    let object: ObjectId = world.chunk_keys()[0][8..24].try_into().unwrap();
    let put_head = |length: u64| {
        let place = Place { collection: FIRST_ID, engine_key: &key };
        let head = seal::seal_head(&ring, place, &[9; NONCE_LEN], seal::Terms::default(), &object, length).unwrap();
        world.edit("contoso", |batch, keyspace| batch.put(keyspace, key.clone(), head));
    };
    let impossible = [0, 1, CHUNK_LEN as u64, VALUE_MAX_LEN as u64 + 1, u64::from(u32::MAX) + 1, u64::MAX];
    // Possible, but not the length of these chunks.
    let other = [CHUNK_LEN + 1, length + 1].map(|length| length as u64);
    for wrong in impossible.into_iter().chain(other) {
        put_head(wrong);
        assert_eq!(refusal(&files, "k"), ErrorKind::Tampered, "{wrong}");
    }
    put_head(length as u64 + CHUNK_LEN as u64);
    assert_eq!(refusal(&files, "k"), ErrorKind::Tampered, "the third chunk is not full");
    put_head(length as u64);
    assert!(files.get(&"k").unwrap() == Some(value(length, 1)), "the control");
}

#[test]
fn a_head_in_the_place_of_a_chunk_is_refused() {
    let world = World::in_memory();
    let files = world.files();
    files.put(&"k", &value(2 * CHUNK_LEN, 1)).unwrap();
    let ring = world.tenant("contoso").ring().unwrap();
    let key = world.chunk_keys().remove(1);
    let place = Place { collection: CHUNKS, engine_key: &key };
    let head =
        seal::seal_head(&ring, place, &[9; NONCE_LEN], seal::Terms::default(), &[1; 16], 2 * CHUNK_LEN as u64).unwrap();
    world.edit("contoso", |batch, keyspace| batch.put(keyspace, key.clone(), head));
    assert_eq!(refusal(&files, "k"), ErrorKind::Tampered);
}

/// Where records must be looked at before they are changed, one that cannot be read can still be replaced.
#[test]
fn a_head_that_does_not_open_can_be_replaced_and_deleted() {
    let world = World::in_memory();
    let files = world.files();
    for deletes in [false, true] {
        files.put(&"k", &value(2 * CHUNK_LEN, 1)).unwrap();
        let (key, mut head) = world.rows("contoso").remove(&FIRST_ID).unwrap().remove(0);
        head[40] ^= 1;
        world.edit("contoso", |batch, keyspace| batch.put(keyspace, key, Moved(head)));
        assert_eq!(refusal(&files, "k"), ErrorKind::Tampered);
        let expecting = files.put_if(&"k", &vec![1], Expected::Absent);
        assert_eq!(expecting.unwrap_err().kind(), ErrorKind::Tampered, "whoever expects something is told");
        if deletes {
            files.delete(&"k").unwrap();
        } else {
            files.put(&"k", &vec![1]).unwrap();
        }
        assert_eq!(files.get(&"k").unwrap(), (!deletes).then(|| vec![1]));
    }
    world.session("contoso").drop_collection("files").unwrap();
    assert_eq!(world.count(CHUNKS), 0, "what nobody could name goes with the collection");
}
