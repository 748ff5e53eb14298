//! The main job, once, on both engines.

use serde::{Deserialize, Serialize};
use strongroom::{CollectionDef, ErrorKind, Expected, Strongroom};

use crate::support::{self, user};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Message {
    text: String,
}

const MAIL: CollectionDef<(&str, u64), Message> = CollectionDef::cbor("mail");
const FILES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("files");
const EVENTS: CollectionDef<u64, Message> = CollectionDef::bincode("events").ordered();

fn message(text: &str) -> Message {
    Message { text: text.to_owned() }
}

fn main_job(room: &Strongroom) {
    support::make_tenants(room, &["contoso", "fabrikam"]);
    let contoso = room.session(&user("contoso"), "contoso").unwrap();
    let mail = contoso.collection(&MAIL).unwrap();
    let first = mail.put(&("inbox", 1), &message("one")).unwrap();
    mail.put(&("inbox", 2), &message("two")).unwrap();
    mail.put(&("sent", 1), &message("three")).unwrap();
    assert_eq!(mail.get(&("inbox", 1)).unwrap(), Some(message("one")));
    assert_eq!(mail.get(&("inbox", 3)).unwrap(), None);
    let entry = mail.entry(&("inbox", 1)).unwrap().unwrap();
    assert_eq!(entry.version(), first);
    mail.put_if(&("inbox", 1), &message("edited"), entry.version()).unwrap();
    assert_eq!(mail.put_if(&("inbox", 1), &message("late"), first).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(mail.put_if(&("inbox", 1), &message("x"), Expected::Absent).unwrap_err().kind(), ErrorKind::Conflict);
    let mut inbox: Vec<_> = mail.prefix(("inbox",)).unwrap().map(Result::unwrap).collect();
    inbox.sort_by_key(|(key, _)| key.clone());
    assert_eq!(inbox, [(("inbox".to_owned(), 1), message("edited")), (("inbox".to_owned(), 2), message("two"))]);
    assert_eq!(mail.count().unwrap(), 3);
    let many = mail.get_many(&[("sent", 1), ("sent", 2), ("inbox", 2)]).unwrap();
    assert_eq!(many, [Some(message("three")), None, Some(message("two"))]);

    let files = contoso.collection(&FILES).unwrap();
    files.put(&"a/b/c", &b"bytes".to_vec()).unwrap();
    files.put(&"a/d", &vec![]).unwrap();
    assert_eq!(files.prefix("a/b/").unwrap().count(), 1);
    assert_eq!(files.prefix("a/").unwrap().count(), 2);
    assert_eq!(files.prefix("a/b").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(files.get(&"a/d").unwrap(), Some(vec![]));

    let events = contoso.collection(&EVENTS).unwrap();
    for number in [5, 1, 300] {
        events.put(&number, &message(&number.to_string())).unwrap();
    }
    let numbers: Vec<u64> = events.range(2..).unwrap().map(|row| row.unwrap().0).collect();
    assert_eq!(numbers, [5, 300]);

    contoso
        .batch()
        .put(&MAIL, &("sent", 2), &message("four"))
        .unwrap()
        .delete(&FILES, &"a/d")
        .unwrap()
        .commit()
        .unwrap();
    assert_eq!(files.get(&"a/d").unwrap(), None);
    assert!(mail.contains(&("sent", 2)).unwrap());

    let fabrikam = room.home_session(&user("fabrikam")).unwrap();
    assert_eq!(fabrikam.tenant().as_str(), "fabrikam");
    assert_eq!(fabrikam.collection(&MAIL).unwrap().get(&("inbox", 1)).unwrap(), None);
    assert_eq!(room.session(&user("fabrikam"), "contoso").unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(room.session(&user("fabrikam"), "nobody").unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn the_main_job_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    main_job(&support::in_memory(folder.path()).open().unwrap());
}

#[test]
fn the_main_job_on_disk_and_again_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    main_job(&room);
    assert_eq!(support::on_disk(folder.path()).open().unwrap_err().kind(), ErrorKind::Conflict);
    drop(room);
    let room = support::on_disk(folder.path()).open().unwrap();
    let contoso = room.session(&user("contoso"), "contoso").unwrap();
    assert_eq!(contoso.collection(&MAIL).unwrap().get(&("inbox", 1)).unwrap(), Some(message("edited")));
    assert_eq!(contoso.collections().unwrap().len(), 3);
    contoso.drop_collection("mail").unwrap();
    assert_eq!(contoso.collection(&MAIL).unwrap().count().unwrap(), 0);

    let custody = room.custody(support::CUSTODIAN).unwrap();
    custody.suspend_tenant("contoso").unwrap();
    assert_eq!(contoso.collections().unwrap_err().kind(), ErrorKind::Denied);
    custody.resume_tenant("contoso").unwrap();
    assert_eq!(contoso.collections().unwrap_err().kind(), ErrorKind::Closed, "a suspension ends its sessions for good");
    let contoso = room.session(&user("contoso"), "contoso").unwrap();
    assert_eq!(contoso.collections().unwrap().len(), 3);
    custody.delete_tenant("contoso").unwrap();
    assert_eq!(contoso.collections().unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(room.session(&user("contoso"), "contoso").unwrap_err().kind(), ErrorKind::Denied);
    support::make_tenants(&room, &["contoso"]);
    let contoso = room.session(&user("contoso"), "contoso").unwrap();
    assert_eq!(contoso.collection(&FILES).unwrap().count().unwrap(), 0);
}
