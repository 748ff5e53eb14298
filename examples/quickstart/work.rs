//! The main job: two tenants store, read, scan and delete documents.

use serde::{Deserialize, Serialize};
use strongroom::{CollectionDef, Durability, ErrorKind, Expected, Session, Strongroom, TenantSpec};

use crate::failure::{Outcome, expect, expect_refusal};
use crate::issuer::ISSUER;
use crate::scene::{CONTOSO, Scene, TENANTS};
use crate::screen::{bytes, span, thousands};
use crate::timing::Stopwatch;

/// Documents, as they are, under their paths.
pub const FILES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("files").separator(b'/');
/// What is known of each document, typed.
pub const ABOUT: CollectionDef<&str, About> = CollectionDef::cbor("about").separator(b'/');
/// Small records with a composite key; every write is synced to the disk before it is acknowledged.
pub const NOTES: CollectionDef<(&str, u64), Note> = CollectionDef::cbor("notes");

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    bytes: u64,
    extension: Option<String>,
    crc32c: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub text: String,
}

/// Odd, so that contoso, which alone writes them and deletes documents in pairs of records, never has as many records
/// as fabrikam.
const SYNCED_NOTES: usize = 255;
const BUFFERED: &str = "buffered, then synced";
const SYNCED: &str = "each one synced";

/// A custodian, who can make tenants and read no record of theirs, makes two.
pub fn make_tenants(scene: &mut Scene) -> Outcome<Strongroom> {
    scene.screen.heading("A custodian makes two tenants");
    let (mut opening, mut making) = (Stopwatch::default(), Stopwatch::default());
    let room = opening.time(|| scene.open())?;
    let custody = room.custody(&scene.custodian_token()?)?;
    for tenant in TENANTS {
        making.time(|| custody.create_tenant(TenantSpec::new(tenant, ISSUER, tenant)))?;
    }
    let names: Vec<_> = custody.tenants()?.iter().map(|tenant| tenant.name.to_string()).collect();
    expect(names == TENANTS, || format!("the custodian sees the tenants {names:?}"))?;
    scene.screen.found(&format!("{}: each has keys, a box and a list of who may speak for it", names.join(" and ")));
    scene.measured("make and open a store", 0, 0, opening.total(), "");
    scene.measured("make tenants", TENANTS.len(), 0, making.total(), SYNCED);
    Ok(room)
}

/// Each tenant signs in and stores every document and what is known of it, the two in one batch.
pub fn store_all(scene: &mut Scene, room: &Strongroom) -> Outcome {
    scene.screen.heading("Each signs in with a signed token and stores every document");
    let mut watch = Stopwatch::default();
    for tenant in TENANTS {
        let session = scene.sign_in(room, tenant)?;
        let bar = scene.screen.bar(tenant, scene.documents.bytes);
        for document in &scene.documents.taken {
            let content = document.read()?;
            let about = about(&document.key, &content);
            watch.time(|| {
                let key = document.key.as_str();
                let batch = session.batch().put(&FILES, &key, &content)?.put(&ABOUT, &key, &about)?;
                batch.durability(Durability::Buffered).commit()
            })?;
            bar.inc(content.len() as u64);
        }
        // A synced write also makes every buffered one before it durable.
        let note = Note { text: format!("{} documents stored", scene.documents.taken.len()) };
        watch.time(|| session.collection(&NOTES)?.put(&("loads", 1), &note))?;
        bar.finish_and_clear();
        let (count, size) = (scene.documents.taken.len(), scene.documents.bytes);
        scene.screen.found(&format!("{tenant}: {} documents, {}", thousands(count as u64), bytes(size as u64)));
    }
    let (records, size) =
        (TENANTS.len() * (2 * scene.documents.taken.len() + 1), TENANTS.len() * scene.documents.bytes);
    scene.measured("store documents", records, size, watch.total(), BUFFERED);
    Ok(())
}

/// One record at a time, each on the disk before the call returns.
pub fn synced_writes(scene: &mut Scene, room: &Strongroom) -> Outcome {
    let session = scene.sign_in(room, CONTOSO)?;
    let notes = session.collection(&NOTES)?;
    let mut watch = Stopwatch::default();
    for number in 0..SYNCED_NOTES as u64 {
        let note = Note { text: format!("note {number}") };
        watch.time(|| notes.put(&("diary", number), &note))?;
    }
    scene.screen.found(&format!("{SYNCED_NOTES} small records, each synced to the disk before it is acknowledged"));
    scene.measured("small writes", SYNCED_NOTES, 0, watch.total(), SYNCED);
    Ok(())
}

/// Closes the store and opens it again.
pub fn reopen(scene: &mut Scene, room: Strongroom) -> Outcome<Strongroom> {
    scene.screen.heading("The store is closed, opened again, and everything is read back");
    room.close();
    let mut watch = Stopwatch::default();
    let room = watch.time(|| -> Outcome<Strongroom> {
        let room = scene.open()?;
        scene.sign_in(&room, CONTOSO)?;
        Ok(room)
    })?;
    scene.screen.found(&format!("open again, signed in after {}", span(watch.total())));
    scene.measured("open again and sign in", 0, 0, watch.total(), "");
    Ok(room)
}

/// Reads every document of both tenants and compares it with the file that it came from, byte for byte.
pub fn read_back(scene: &mut Scene, room: &Strongroom) -> Outcome {
    let mut watch = Stopwatch::default();
    for tenant in TENANTS {
        let session = scene.sign_in(room, tenant)?;
        let (files, abouts) = (session.collection(&FILES)?, session.collection(&ABOUT)?);
        let bar = scene.screen.bar(tenant, scene.documents.bytes);
        for document in &scene.documents.taken {
            let key = document.key.as_str();
            let (content, known) = watch.time(|| Ok::<_, strongroom::Error>((files.get(&key)?, abouts.get(&key)?)))?;
            let original = document.read()?;
            let same = content.as_ref() == Some(&original) && known == Some(about(key, &original));
            expect(same, || format!("{tenant} reads {key} differently from what was stored"))?;
            bar.inc(original.len() as u64);
        }
        bar.finish_and_clear();
        scene.screen.found(&format!("{tenant}: every document is equal to its file, byte for byte"));
    }
    let (records, size) = (TENANTS.len() * 2 * scene.documents.taken.len(), TENANTS.len() * scene.documents.bytes);
    scene.measured("read and compare", records, size, watch.total(), "");
    Ok(())
}

/// Lists one folder, out of record keys that are encrypted on the disk.
pub fn scan(scene: &mut Scene, room: &Strongroom) -> Outcome {
    scene.screen.heading("A scan, a batch, deletions");
    let (folder, expected) = scene.documents.fullest_folder();
    let folder = folder.to_owned();
    let files = scene.sign_in(room, CONTOSO)?.collection(&FILES)?;
    let mut watch = Stopwatch::default();
    let rows = watch.time(|| files.prefix(folder.as_str())?.collect::<strongroom::Result<Vec<_>>>())?;
    let right = rows.len() == expected && rows.iter().all(|(key, _)| key.starts_with(&folder));
    expect(right, || format!("the scan of {folder} found {} documents of {expected}", rows.len()))?;
    let size = rows.iter().map(|(_, content)| content.len()).sum();
    let shown = if folder.is_empty() { "everything".to_owned() } else { folder };
    scene.screen.found(&format!("scan of {shown}: {} documents, as there are files", thousands(rows.len() as u64)));
    scene.measured("scan a folder", rows.len(), size, watch.total(), "");
    Ok(())
}

/// Several changes of several collections, all or none of them.
pub fn batch(scene: &mut Scene, room: &Strongroom) -> Outcome {
    let session = scene.sign_in(room, CONTOSO)?;
    let notes = session.collection(&NOTES)?;
    let note = |text: &str| Note { text: text.to_owned() };
    let batch = session.batch().put(&NOTES, &("plans", 1), &note("one"))?.put(&NOTES, &("plans", 2), &note("two"))?;
    batch.delete(&NOTES, &("diary", 0))?.commit()?;
    let kept = notes.get_many(&[("plans", 1), ("plans", 2), ("diary", 0)])?;
    expect(kept == [Some(note("one")), Some(note("two")), None], || "a batch left something undone".to_owned())?;

    let late = session.batch().put(&NOTES, &("plans", 3), &note("three"))?;
    let late = late.put_if(&NOTES, &("plans", 1), &note("mine"), Expected::Absent)?;
    expect_refusal("a batch whose condition does not hold", late.commit(), &[ErrorKind::Conflict])?;
    expect(notes.get(&("plans", 3))?.is_none(), || "a refused batch left something behind".to_owned())?;
    scene.screen.found("a batch of three changes took place; one whose condition did not hold left no trace");
    Ok(())
}

/// Deletes one document in ten, never the longest, which has a part to play yet.
pub fn delete_some(scene: &mut Scene, room: &Strongroom) -> Outcome {
    let session = scene.sign_in(room, CONTOSO)?;
    let (files, longest) = (session.collection(&FILES)?, scene.documents.longest().bytes);
    let before = files.count()?;
    let doomed = scene.documents.taken.iter().step_by(10).filter(|document| document.bytes < longest);
    let doomed: Vec<&str> = doomed.map(|document| document.key.as_str()).collect();
    let mut watch = Stopwatch::default();
    watch.time(|| {
        let mut batch = session.batch();
        for key in &doomed {
            batch = batch.delete(&FILES, key)?.delete(&ABOUT, key)?;
        }
        batch.commit()
    })?;
    let after = files.count()?;
    expect(after + doomed.len() as u64 == before, || format!("{before} documents, then {after}"))?;
    let gone = doomed.iter().map(|key| files.contains(key)).collect::<strongroom::Result<Vec<_>>>()?;
    expect(!gone.contains(&true), || "a deleted document is still there".to_owned())?;
    let counts = (thousands(doomed.len() as u64), thousands(before), thousands(after));
    scene.screen.found(&format!("{} documents deleted: {} before, {} after", counts.0, counts.1, counts.2));
    let records = 2 * doomed.len();
    scene.measured("delete, in one batch", records, 0, watch.total(), "one sync");
    Ok(())
}

/// How many records a tenant's own session finds.
pub fn records(session: &Session) -> Outcome<u64> {
    let (files, about) = (session.collection(&FILES)?.count()?, session.collection(&ABOUT)?.count()?);
    Ok(files + about + session.collection(&NOTES)?.count()?)
}

fn about(key: &str, content: &[u8]) -> About {
    let name = key.rsplit('/').next().unwrap_or(key);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_owned());
    About { bytes: content.len() as u64, extension, crc32c: crc32c::crc32c(content) }
}
