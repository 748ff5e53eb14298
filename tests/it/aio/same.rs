//! It answers as the store itself does.

use std::collections::HashSet;

use strongroom::{CollectionDef, ErrorKind, Expected, aio};

use super::{NOTES, notes, open};
use crate::support::{in_memory, make_tenants, user};

const MAIL: CollectionDef<(&str, u64), String> = CollectionDef::cbor("mail");

#[tokio::test]
async fn every_operation_does_what_it_does_without_async() {
    let folder = tempfile::tempdir().unwrap();
    let room = open(folder.path(), aio::Limits::default());
    let session = room.session(&user("contoso"), "contoso").await.unwrap();
    let mail = session.collection(&MAIL).await.unwrap();

    assert_eq!(mail.get(&("inbox", 1)).await.unwrap(), None);
    assert!(!mail.contains(&("inbox", 1)).await.unwrap());
    let version = mail.put(&("inbox", 1), "one".to_owned()).await.unwrap();
    let entry = mail.entry(&("inbox", 1)).await.unwrap().unwrap();
    assert_eq!((entry.value().as_str(), entry.version()), ("one", version));
    assert!(mail.contains(&("inbox", 1)).await.unwrap());

    let edited = mail.put_if(&("inbox", 1), "edited".to_owned(), version).await.unwrap();
    let late = mail.put_if(&("inbox", 1), "late".to_owned(), version).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    let taken = mail.put_if(&("inbox", 1), "new".to_owned(), Expected::Absent).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    assert_eq!(mail.get(&("inbox", 1)).await.unwrap().as_deref(), Some("edited"));

    session.batch().put(&MAIL, &("sent", 1), "reply".to_owned()).delete(&MAIL, &("inbox", 1)).commit().await.unwrap();
    let stale = session.batch().put(&MAIL, &("sent", 2), "x".to_owned()).delete_if(&MAIL, &("sent", 1), edited);
    assert_eq!(stale.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    let many = mail.get_many(&[("inbox", 1), ("sent", 1), ("sent", 2)]).await.unwrap();
    assert_eq!(many, [None, Some("reply".to_owned()), None]);

    // What one face writes the other reads.
    let blocking = room.blocking().session(&user("contoso"), "contoso").unwrap().collection(&MAIL).unwrap();
    assert_eq!(blocking.get(&("sent", 1)).unwrap().as_deref(), Some("reply"));
    blocking.delete(&("sent", 1)).unwrap();
    assert_eq!(mail.get(&("sent", 1)).await.unwrap(), None);
    assert_eq!(session.with(|session| session.collection(&MAIL)?.count()).await.unwrap(), 0);
    assert_eq!(session.collections().await.unwrap().len(), 1);
    session.drop_collection("mail").await.unwrap();
    assert_eq!(mail.get(&("inbox", 1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(session.prefetch_keys().await.unwrap().left().as_secs() > 1);
}

#[tokio::test]
async fn a_scan_brings_every_row_once_and_reads_no_further_than_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let room = open(folder.path(), aio::Limits::default());
    let notes = notes(&room, "contoso").await;
    let value = vec![7; 1 << 10];
    let mut batch = room.session(&user("contoso"), "contoso").await.unwrap().batch();
    for number in 0..2_000 {
        batch = batch.put(&NOTES, &number, value.clone());
    }
    batch.commit().await.unwrap();

    let mut rows = notes.iter().await.unwrap();
    let mut seen = Vec::new();
    while let Some(row) = rows.next().await {
        let (number, read) = row.unwrap();
        assert_eq!(read, value);
        seen.push(number);
        let ahead = futures_core::Stream::size_hint(&rows).0;
        assert!(ahead <= 150, "{ahead} rows of a KiB lie ready: more than a page");
    }
    assert_eq!(seen, (0..2_000).collect::<Vec<_>>());
    assert!(rows.next().await.is_none(), "it has ended for good");
    assert_eq!(notes.count().await.unwrap(), 2_000);

    let mut some = notes.range(10..20).await.unwrap();
    let mut found = HashSet::new();
    while let Some(row) = some.next().await {
        found.insert(row.unwrap().0);
    }
    assert_eq!(found, (10..20).collect());
    // A snapshot: what comes later is not in it.
    let mut before = notes.iter().await.unwrap();
    notes.put(&5_000, vec![]).await.unwrap();
    let mut count = 0;
    while let Some(row) = before.next().await {
        row.unwrap();
        count += 1;
    }
    assert_eq!(count, 2_000);
}

#[tokio::test]
async fn who_may_not_come_in_is_told_what_the_store_tells() {
    let folder = tempfile::tempdir().unwrap();
    let room = in_memory(folder.path()).open().unwrap();
    make_tenants(&room, &["contoso", "fabrikam"]);
    let room = aio::Strongroom::new(room, aio::Limits::default());
    for (credential, tenant) in [(user("contoso"), "fabrikam"), (user("contoso"), "nobody"), ("x".into(), "contoso")] {
        let here = room.session(&credential, tenant).await.unwrap_err();
        let there = room.blocking().session(&credential, tenant).unwrap_err();
        assert_eq!((here.kind(), here.to_string()), (ErrorKind::Denied, there.to_string()));
    }
    let home = room.home_session(&user("contoso")).await.unwrap();
    assert_eq!(home.tenant().as_str(), "contoso");
    let reader = room.session(&user("contoso").replace(",write", ""), "contoso").await.unwrap();
    assert_eq!(reader.collection(&NOTES).await.unwrap_err().kind(), ErrorKind::NotFound);
    home.collection(&NOTES).await.unwrap();
    let notes = reader.collection(&NOTES).await.unwrap();
    assert_eq!(notes.put(&1, vec![]).await.unwrap_err().kind(), ErrorKind::Denied);
    room.close().await;
    assert_eq!(notes.get(&1).await.unwrap_err().kind(), ErrorKind::Closed);
}
