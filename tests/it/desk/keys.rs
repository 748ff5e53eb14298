//! The end of generations over the desk, and rings that come back from an escrow.

use std::cell::Cell;
use std::os::unix::fs::FileExt;

use strongroom::backup::EscrowKey;
use strongroom::desk::{Secret, Unseal};
use strongroom::{Blocker, Budgets, CollectionDef};

use super::*;

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes");
const OURS: &str = "https://issuer.example|contoso|custodian";

fn own(act: TenantAct) -> Act {
    Act::ForTenant { tenant: "contoso".into(), act }
}

fn write(room: &Strongroom, notes: u64, length: usize) {
    let session = room.session(&user("contoso"), "contoso").unwrap();
    let collection = session.collection(&NOTES).unwrap();
    for number in 0..notes {
        collection.put(&number, &vec![7; length]).unwrap();
    }
}

/// The generations that records name.
fn census(desk: &CustodyDesk) -> Vec<u32> {
    let Ok(Done::Census(census)) = ask_as(desk, OURS, own(TenantAct::Census), false) else { panic!("a census") };
    assert!(census.generations.iter().all(|counted| counted.records > 0 && counted.bytes > 0));
    census.generations.iter().map(|counted| counted.generation).collect()
}

#[test]
fn a_generation_ends_over_the_desk_when_nothing_needs_it() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    let ask = |act, dry_run| ask_as(&desk, OURS, own(act), dry_run);
    let blockers = |generation| match ask(TenantAct::CanDestroy { generation }, false) {
        Ok(Done::CanDestroy(verdict)) if verdict.generation == generation => verdict.blockers,
        other => panic!("{other:?}"),
    };
    let reseal = || TenantAct::Reseal { bytes_per_second: None };
    write(&room, 10, 10);
    assert_eq!(ask(TenantAct::RotateKeys, false), Ok(Done::Generation(2)));
    assert_eq!((census(&desk), blockers(2)), (vec![1], vec![Blocker::Newest]));
    assert!(matches!(blockers(1)[..], [Blocker::Records { percent: None, .. }]));
    assert_eq!(ask(TenantAct::CanDestroy { generation: 9 }, false), Err(ErrorKind::Invalid));
    let retire = || TenantAct::Retire { generation: 1 };
    assert!(matches!(ask(retire(), false), Ok(Done::NotRetired(verdict)) if verdict.blockers.len() == 1));
    assert_eq!(ask(retire(), true), Err(ErrorKind::Conflict), "records are left");
    assert!(matches!(ask(reseal(), true), Ok(Done::Planned(changes)) if changes.len() == 1 && !changes[0].is_final));
    assert_eq!(census(&desk), [1], "a dry run moves nothing");
    let request = Request::new(OURS, own(reseal())).unwrap().to_json().unwrap();
    let lines = replies(&desk, &request);
    let Some(Reply::Done(Done::Resealed(report))) = lines.last() else { panic!("{lines:?}") };
    assert!(report.is_complete && report.progress.resealed >= 10 && lines.len() > 2, "{lines:?}");
    assert_eq!((census(&desk), blockers(1)), (vec![2], vec![]));
    assert!(matches!(ask(retire(), true), Ok(Done::Planned(changes)) if changes.len() == 1 && changes[0].is_final));
    assert!(matches!(ask(retire(), false), Ok(Done::Retired(report)) if report.generation == 1));
    assert_eq!(ask(retire(), false), Err(ErrorKind::Invalid), "it lives no more");
    let Ok(Done::Keys(keys)) = ask(TenantAct::Keys, false) else { panic!("keys") };
    assert_eq!(keys.generations.iter().map(|generation| generation.number).collect::<Vec<_>>(), [2]);
    let session = room.session(&user("contoso"), "contoso").unwrap();
    assert_eq!(session.collection(&NOTES).unwrap().get(&3).unwrap(), Some(vec![7; 10]));
}

#[test]
fn whoever_is_no_custodian_of_the_tenant_ends_no_generation() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    write(&room, 10, 10);
    ask_as(&desk, OURS, own(TenantAct::RotateKeys), false).unwrap();
    for stranger in [CUSTODIAN.to_owned(), user("contoso"), format!("{ISSUER}|fabrikam|custodian")] {
        for dry_run in [false, true] {
            for act in [
                TenantAct::Census,
                TenantAct::Reseal { bytes_per_second: Some(1) },
                TenantAct::CanDestroy { generation: 1 },
                TenantAct::Retire { generation: 1 },
                TenantAct::RequestPurge { reason: "why not".into() },
                TenantAct::PurgeStatus,
                TenantAct::ExecutePurge,
            ] {
                assert_eq!(ask_as(&desk, &stranger, own(act), dry_run), Err(ErrorKind::Denied));
            }
        }
    }
    assert_eq!(census(&desk), [1]);
    room.session(&user("contoso"), "contoso").expect("nobody has asked for its purge");
}

#[test]
fn a_reseal_stops_when_nobody_listens_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // What the store does by itself meanwhile is next to nothing.
    let room = support::in_memory(folder.path()).budgets(Budgets::default().reseal_rate(1)).open().unwrap();
    support::make_tenants(&room, &["contoso"]);
    let desk = room.custody_desk();
    write(&room, 1000, 2000);
    ask_as(&desk, OURS, own(TenantAct::RotateKeys), false).unwrap();
    let request = Request::new(OURS, own(TenantAct::Reseal { bytes_per_second: None })).unwrap().to_json().unwrap();
    let heard = Cell::new(0);
    let gone = desk.handle(&request, &mut |_| {
        heard.set(heard.get() + 1);
        if heard.get() < 3 { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    });
    assert_eq!((gone.unwrap_err().kind(), heard.get()), (io::ErrorKind::BrokenPipe, 3), "nothing after it");
    assert_eq!(census(&desk), [1, 2], "it has stopped in between");
    let Some(Reply::Done(Done::Resealed(report))) = replies(&desk, &request).pop() else { panic!("resealed") };
    assert!(report.is_complete && report.progress.resealed < 1000, "it has gone on: {report:?}");
    assert_eq!(census(&desk), [2]);
}

#[test]
fn answers_on_keys_are_the_same_in_json() {
    let escrow = r#"{"number":3,"sha256":"00ff","exported_secs":7}"#;
    let json =
        format!(r#"{{"done":{{"retired":{{"generation":1,"roots":[["service","v1"]],"escrows":[{escrow}]}}}}}}"#);
    let reply = Reply::parse(json.as_bytes()).unwrap();
    assert!(matches!(&reply, Reply::Done(Done::Retired(report)) if report.escrows[0].number == 3));
    assert_eq!(serde_json::to_string(&reply).unwrap(), json);
}

/// Damages both slots of the box of the tenant that was made first.
fn damage_a_ring(folder: &Path) {
    let rings = fs::OpenOptions::new().read(true).write(true).open(folder.join("store/cells/0000/rings")).unwrap();
    // A header page, every first slot, every second one.
    let boxes = (rings.metadata().unwrap().len() / 8192 - 1) / 2;
    for page in [1, 1 + boxes] {
        rings.write_all_at(b"damage", page * 8192 + 100).unwrap();
    }
}

#[test]
fn rings_come_back_from_an_escrow_over_the_desk() {
    let (folder, room, desk) = on_disk();
    let (secret, recipient) = EscrowKey::generate();
    let seals = [Seal::Recipients(vec![recipient]), Seal::Passphrase(Secret::new("correct horse battery").unwrap())];
    for (file, seal) in ["by-key.age", "by-phrase.age"].into_iter().zip(seals) {
        ask(&desk, Act::ExportRings { folder: "vault".into(), file: file.into(), seal }).unwrap();
    }
    let identity = || Unseal::Identity(Secret::new(secret.as_str()).unwrap());
    let phrase = |text: &str| Unseal::Passphrase(Secret::new(text).unwrap());
    assert!(!format!("{:?} {:?}", identity(), phrase("secret phrase")).to_lowercase().contains("secret-key"));
    let import = |file: &str, key, tenants: &[&str]| Act::ImportRings {
        folder: "vault".into(),
        file: file.into(),
        key,
        tenants: tenants.iter().map(|&name| name.to_owned()).collect(),
    };
    damage_a_ring(folder.path());
    std::os::unix::fs::symlink(folder.path().join("vault/by-key.age"), folder.path().join("vault/link.age")).unwrap();
    let dry = |act| ask_as(&desk, CUSTODIAN, act, true);
    for refused in [&ask as &dyn Fn(&CustodyDesk, Act) -> Result<Done, ErrorKind>, &|_, act| dry(act)] {
        assert_eq!(refused(&desk, import("../keys/service.v1.key", identity(), &[])), Err(ErrorKind::Invalid));
        assert_eq!(refused(&desk, import("link.age", identity(), &[])), Err(ErrorKind::Invalid), "no file");
        assert_eq!(refused(&desk, import("missing.age", identity(), &[])), Err(ErrorKind::NotFound));
        assert_eq!(
            refused(&desk, import("by-phrase.age", phrase("wrong horse battery"), &[])),
            Err(ErrorKind::Invalid)
        );
        assert_eq!(refused(&desk, import("by-phrase.age", identity(), &[])), Err(ErrorKind::Invalid), "another key");
        assert_eq!(refused(&desk, import("by-key.age", identity(), &["nobody"])), Err(ErrorKind::NotFound));
    }
    assert!(
        matches!(dry(import("by-key.age", identity(), &["contoso"])), Ok(Done::Planned(changes)) if changes.len() == 1)
    );
    assert_eq!(ask_as(&desk, OURS, import("by-key.age", identity(), &[]), false), Err(ErrorKind::Denied));
    let Ok(Done::Imported(report)) = ask(&desk, import("by-key.age", identity(), &[])) else { panic!("imported") };
    assert_eq!((report.imported.len(), report.imported[0].as_str(), report.whole), (1, "contoso", 1));
    damage_a_ring(folder.path());
    let again = ask(&desk, import("by-phrase.age", phrase("correct horse battery"), &["contoso"]));
    assert!(matches!(again, Ok(Done::Imported(report)) if report.imported.len() == 1));
    drop((desk, room));
    let room = support::on_disk(folder.path()).open().unwrap();
    room.session(&user("contoso"), "contoso").unwrap().collections().unwrap();
}
