//! Futures that are dropped: no half of a write, no permit lost, no scan left behind.

use std::sync::mpsc;
use std::time::Duration;

use strongroom::{ErrorKind, Result, aio};
use tokio::task::JoinHandle;

use super::{NOTES, at_rest, notes, open};
use crate::chance::Chance;
use crate::support::{on_disk, user};

/// Pairs of records that are only ever written together, with the same value.
const PAIRS: u64 = 50;
const FUTURES: u64 = 10_000;

/// One operation that is dropped after so long.
async fn interrupted(room: &aio::Strongroom, seed: u64) {
    let (mut chance, session) = (Chance::new(seed), room.session(&user("contoso"), "contoso").await.unwrap());
    let (pair, value) = (chance.below(PAIRS as usize) as u64, seed.to_be_bytes().to_vec());
    let (first, second) = (pair * 2, pair * 2 + 1);
    let patience = Duration::from_micros(chance.below(400) as u64);
    let work = async {
        match seed % 4 {
            0 | 1 => {
                let batch = session.batch().put(&NOTES, &first, value.clone()).put(&NOTES, &second, value);
                batch.commit().await.unwrap();
            }
            2 => {
                let notes = session.collection(&NOTES).await.unwrap();
                let mut rows = notes.iter().await.unwrap();
                while let Some(row) = rows.next().await {
                    row.unwrap();
                }
            }
            _ => {
                let notes = session.collection(&NOTES).await.unwrap();
                notes.get_many(&[first, second]).await.unwrap();
                // Writes a value of chunks, to a place of its own.
                notes.put(&(PAIRS * 2 + pair), vec![1; 80 << 10]).await.unwrap();
            }
        }
    };
    drop(tokio::time::timeout(patience, work).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_futures_dropped_at_random_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let room = open(folder.path(), aio::Limits::default().per_tenant(4));
    notes(&room, "contoso").await;
    for round in 0..FUTURES / 100 {
        let tasks: Vec<_> = (0..100)
            .map(|place| {
                let room = room.clone();
                tokio::spawn(async move { interrupted(&room, round * 100 + place).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    at_rest(&room).await;
    // Every permit is back: as many operations as there are permits go on at once.
    let notes = notes(&room, "contoso").await;
    let scans = [notes.iter(), notes.iter(), notes.iter(), notes.iter()];
    for scan in scans {
        scan.await.unwrap();
    }
    for pair in 0..PAIRS {
        let both = notes.get_many(&[pair * 2, pair * 2 + 1]).await.unwrap();
        assert_eq!(both[0], both[1], "half of a batch");
        if let Some(long) = notes.get(&(PAIRS * 2 + pair)).await.unwrap() {
            assert_eq!(long, vec![1; 80 << 10], "half of a value");
        }
    }
    // Nothing holds on to the store: it can be opened again as soon as it is closed.
    drop(notes);
    room.close().await;
    let again = on_disk(folder.path()).open().expect("a scan or a handle is left behind");
    assert!(again.session(&user("contoso"), "contoso").is_ok());
}

#[tokio::test]
async fn a_scan_that_is_kept_keeps_the_store() {
    // The positive control of the check above.
    let folder = tempfile::tempdir().unwrap();
    let room = open(folder.path(), aio::Limits::default());
    let notes = notes(&room, "contoso").await;
    notes.put(&1, vec![1]).await.unwrap();
    let scan = notes.iter().await.unwrap();
    drop(notes);
    room.close().await;
    assert_eq!(on_disk(folder.path()).open().unwrap_err().kind(), ErrorKind::Conflict);
    drop(scan);
    assert!(on_disk(folder.path()).open().is_ok());
}

/// An operation of a session that is under way until it is released, by a word or by dropping what releases it.
async fn occupy(session: aio::Session) -> (JoinHandle<Result<()>>, mpsc::Sender<()>) {
    let (release, hold) = mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let work = move |_: &strongroom::Session| {
        begun.send(()).unwrap();
        let _ = hold.recv();
        Ok(())
    };
    let busy = tokio::spawn(async move { session.with(work).await });
    has_begun.await.unwrap();
    (busy, release)
}

#[tokio::test]
async fn who_leaves_and_comes_back_has_no_more_turns_than_before() {
    let folder = tempfile::tempdir().unwrap();
    let room = open(folder.path(), aio::Limits::default().per_tenant(1));
    let (left, release) = occupy(room.session(&user("contoso"), "contoso").await.unwrap()).await;
    // With it goes the last handle of a session.
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    let again = room.session(&user("contoso"), "contoso").await.unwrap();
    let mut second = std::pin::pin!(again.with(|_| Ok(())));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut second).await.is_err(), "two at once");
    release.send(()).unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn a_scan_that_nobody_looks_at_takes_nobodys_turn() {
    let folder = tempfile::tempdir().unwrap();
    let room = open(folder.path(), aio::Limits::default().per_tenant(1));
    let notes = notes(&room, "contoso").await;
    // Of several pages.
    for number in 0..6 {
        notes.put(&number, vec![1; 60 << 10]).await.unwrap();
    }
    let session = room.session(&user("contoso"), "contoso").await.unwrap();
    let mut scan = notes.iter().await.unwrap();
    let (busy, release) = occupy(session).await;
    let mut rows = 0;
    // The page that is not there yet waits for its turn, and then for somebody who looks.
    while let Ok(row) = tokio::time::timeout(Duration::from_millis(200), scan.next()).await {
        row.unwrap().unwrap();
        rows += 1;
    }
    assert!(rows < 6, "it did not have to wait");
    release.send(()).unwrap();
    busy.await.unwrap().unwrap();
    let other = notes.put(&100, vec![2]);
    tokio::time::timeout(Duration::from_secs(20), other).await.expect("the scan keeps its turn").unwrap();
    while let Some(row) = scan.next().await {
        row.unwrap();
        rows += 1;
    }
    assert_eq!(rows, 6);
}
