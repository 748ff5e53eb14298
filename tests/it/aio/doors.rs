//! Whoever may not, may not here either: every method against the same one of the store, in every state of the caller.

use std::sync::Arc;
use std::time::Duration;

use strongroom::{
    Collection, Durability, ErrorKind, Expected, LocalRoots, ManualClock, PutOptions, Result, Session, Strongroom,
    TenantSpec, Version, WriteBatch, aio,
};

use super::NOTES;
use crate::dated::{self, Dated};
use crate::support::ISSUER;

type Kinds = Vec<(&'static str, Option<ErrorKind>)>;

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

async fn asynchronously(session: &aio::Session, notes: &aio::Collection<u64, Vec<u8>>, old: Version) -> Kinds {
    let batch = || session.batch().durability(Durability::Buffered);
    vec![
        ("get", kind(notes.get(&1).await)),
        ("entry", kind(notes.entry(&1).await)),
        ("contains", kind(notes.contains(&1).await)),
        ("get_many", kind(notes.get_many(&[1, 2]).await)),
        ("iter", kind(notes.iter().await)),
        ("prefix", kind(notes.prefix(()).await)),
        ("range", kind(notes.range(1..).await)),
        ("count", kind(notes.count().await)),
        ("put", kind(notes.put(&2, vec![2]).await)),
        ("put_if", kind(notes.put_if(&1, vec![2], old).await)),
        ("put_with", kind(notes.put_with(&2, vec![2], PutOptions::new().expecting(Expected::Absent)).await)),
        ("delete", kind(notes.delete(&3).await)),
        ("delete_if", kind(notes.delete_if(&1, old).await)),
        ("collection", kind(session.collection(&NOTES).await)),
        ("collections", kind(session.collections().await)),
        ("drop_collection", kind(session.drop_collection("nothing").await)),
        ("prefetch_keys", kind(session.prefetch_keys().await)),
        ("batch put", kind(batch().put(&NOTES, &4, vec![]).commit().await)),
        ("batch put_if", kind(batch().put_if(&NOTES, &1, vec![], old).commit().await)),
        ("batch put_with", kind(batch().put_with(&NOTES, &4, vec![], PutOptions::new()).commit().await)),
        ("batch delete", kind(batch().delete(&NOTES, &4).commit().await)),
        ("batch delete_if", kind(batch().delete_if(&NOTES, &1, old).commit().await)),
        ("transact", kind(session.transact(|transaction| transaction.put(&NOTES, &5, &vec![])).await)),
        ("with", kind(session.with(|session| session.collection(&NOTES)?.get(&1)).await)),
    ]
}

fn synchronously(session: &Session, notes: &Collection<u64, Vec<u8>>, old: Version) -> Kinds {
    let batch = || session.batch().durability(Durability::Buffered);
    vec![
        ("get", kind(notes.get(&1))),
        ("entry", kind(notes.entry(&1))),
        ("contains", kind(notes.contains(&1))),
        ("get_many", kind(notes.get_many(&[1, 2]))),
        ("iter", kind(notes.iter())),
        ("prefix", kind(notes.prefix(()))),
        ("range", kind(notes.range(1..))),
        ("count", kind(notes.count())),
        ("put", kind(notes.put(&2, &vec![2]))),
        ("put_if", kind(notes.put_if(&1, &vec![2], old))),
        ("put_with", kind(notes.put_with(&2, &vec![2], PutOptions::new().expecting(Expected::Absent)))),
        ("delete", kind(notes.delete(&3))),
        ("delete_if", kind(notes.delete_if(&1, old))),
        ("collection", kind(session.collection(&NOTES))),
        ("collections", kind(session.collections())),
        ("drop_collection", kind(session.drop_collection("nothing"))),
        ("prefetch_keys", kind(session.prefetch_keys())),
        ("batch put", kind(batch().put(&NOTES, &4, &vec![]).and_then(WriteBatch::commit))),
        ("batch put_if", kind(batch().put_if(&NOTES, &1, &vec![], old).and_then(WriteBatch::commit))),
        ("batch put_with", kind(batch().put_with(&NOTES, &4, &vec![], PutOptions::new()).and_then(WriteBatch::commit))),
        ("batch delete", kind(batch().delete(&NOTES, &4).and_then(WriteBatch::commit))),
        ("batch delete_if", kind(batch().delete_if(&NOTES, &1, old).and_then(WriteBatch::commit))),
        ("transact", kind(session.transact(|transaction| transaction.put(&NOTES, &5, &vec![])))),
        ("with", kind(session.collection(&NOTES).and_then(|notes| notes.get(&1)))),
    ]
}

/// What both faces say to a caller with these roles when `befalls` has happened, in a store of each one's own.
async fn answers(roles: &str, befalls: impl Fn(&Strongroom, &ManualClock)) -> (Kinds, Kinds) {
    let open = |folder: &tempfile::TempDir, clock: &Arc<ManualClock>| {
        let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
        let builder = Strongroom::builder(folder.path().join("store"), roots, Dated).service_speaker(ISSUER, "service");
        let room = builder.clock(clock.clone()).boxes_per_cell(1).open().unwrap();
        let custody = room.custody(&dated::custodian()).unwrap();
        custody.create_tenant(TenantSpec::new("contoso", ISSUER, "contoso")).unwrap();
        let notes = room.session(&dated::user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
        // A version that is no longer that of the record: a condition that does not hold.
        let old = notes.put(&1, &vec![1]).unwrap();
        notes.put(&1, &vec![1]).unwrap();
        (room, old)
    };
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let caller = dated::credential(ISSUER, "contoso", roles);

    let clock = dated::clock();
    let (room, old) = open(&here, &clock);
    let face = aio::Strongroom::new(room.clone(), aio::Limits::default());
    let session = face.session(&caller, "contoso").await.unwrap();
    let notes = session.collection(&NOTES).await.unwrap();
    befalls(&room, &clock);
    let ours = asynchronously(&session, &notes, old).await;

    let clock = dated::clock();
    let (room, old) = open(&there, &clock);
    let session = room.session(&caller, "contoso").unwrap();
    let notes = session.collection(&NOTES).unwrap();
    befalls(&room, &clock);
    (ours, synchronously(&session, &notes, old))
}

#[tokio::test]
async fn every_method_answers_as_that_of_the_store_in_every_state() {
    let suspend = |room: &Strongroom, _: &ManualClock| {
        room.custody(&dated::custodian()).unwrap().suspend_tenant("contoso").unwrap();
    };
    let revoke = |room: &Strongroom, _: &ManualClock| {
        let custodian = dated::credential(ISSUER, "contoso", "custodian");
        room.tenant_custody(&custodian, "contoso").unwrap().revoke("for the test").unwrap();
    };
    let end = |_: &Strongroom, clock: &ManualClock| clock.advance(Duration::from_secs(3601));
    let close = |room: &Strongroom, _: &ManualClock| room.clone().close();
    let nothing = |_: &Strongroom, _: &ManualClock| {};
    for (state, (ours, theirs)) in [
        ("allowed", answers("read,write", nothing).await),
        ("reader", answers("read", nothing).await),
        ("writer", answers("write", nothing).await),
        ("ended", answers("read,write", end).await),
        ("suspended", answers("read,write", suspend).await),
        ("revoked", answers("read,write", revoke).await),
        ("closed", answers("read,write", close).await),
    ] {
        assert_eq!(ours, theirs, "{state}");
        let refused = ours.iter().filter(|(_, kind)| kind.is_some()).count();
        match state {
            // Conditions that do not hold, and a collection that is not there.
            "allowed" => assert_eq!(refused, 6, "{ours:?}"),
            "reader" | "writer" => assert!((8..24).contains(&refused), "{state}: {ours:?}"),
            _ => assert_eq!(refused, 24, "{state}: {ours:?}"),
        }
    }
}
