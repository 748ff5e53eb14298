//! Stores that somebody has changed on the disk: a right answer or an error, never a wrong answer.

mod directory;
mod flips;
mod rings;
mod transplants;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use strongroom::{CollectionDef, ErrorKind, Session, Strongroom, StrongroomBuilder};

use crate::folders;
use crate::support::{self, ISSUER, user};
use crate::witness::Witness;

const FILES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("files");
const EVENTS: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("events").ordered();
const MAIL: CollectionDef<(&str, u64), String> = CollectionDef::cbor("mail");
const BOXES: u32 = 3;
/// The tenants of the sample, in the order of their boxes.
const TENANTS: [&str; 3] = ["contoso", "fabrikam", "tail"];

/// Tenant and record: value.
type Facts = BTreeMap<(&'static str, String), Vec<u8>>;
/// What reading gave, record by record.
type Answers = BTreeMap<(&'static str, String), Result<Option<Vec<u8>>, ErrorKind>>;

/// A small store, closed, with its root keys beside it.
struct Sample {
    folder: tempfile::TempDir,
    facts: Facts,
}

impl Sample {
    /// Records of two tenants in tables and some more in the log; the last record of a cell's log is `last` of
    /// fabrikam, the last of the directory's is the third tenant.
    fn make() -> Self {
        let mut sample = Self { folder: folders::in_memory(), facts: Facts::new() };
        let room = sample.open(&sample.store()).unwrap();
        support::make_tenants(&room, &TENANTS[..2]);
        for tenant in &TENANTS[..2] {
            let session = room.session(&user(tenant), tenant).unwrap();
            ["a/b", "a/c", "d"].iter().for_each(|key| sample.put_file(&session, tenant, key));
            for number in 1..=3u64 {
                let value = format!("event {number} of {tenant}");
                session.collection(&EVENTS).unwrap().put(&number, &value.clone().into_bytes()).unwrap();
                sample.facts.insert((tenant, format!("events {number}")), value.into_bytes());
                let value = format!("mail {number} of {tenant}");
                session.collection(&MAIL).unwrap().put(&("inbox", number), &value).unwrap();
                sample.facts.insert((tenant, format!("mail {number}")), value.into_bytes());
            }
        }
        drop(room);
        let room = sample.open(&sample.store()).unwrap();
        for (tenant, keys) in [("contoso", &["late"][..]), ("fabrikam", &["late", "last"])] {
            let session = room.session(&user(tenant), tenant).unwrap();
            keys.iter().for_each(|key| sample.put_file(&session, tenant, key));
        }
        support::make_tenants(&room, &TENANTS[2..]);
        drop(room);
        sample
    }

    fn put_file(&mut self, session: &Session, tenant: &'static str, key: &str) {
        let value = format!("file {key} of {tenant}").into_bytes();
        session.collection(&FILES).unwrap().put(&key, &value).unwrap();
        self.facts.insert((tenant, format!("files {key}")), value);
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Opens a store, this one or a copy, under the sample's root keys.
    fn open(&self, store: &Path) -> strongroom::Result<Strongroom> {
        open_with(store, Witness::of(&self.keys()))
    }

    /// A copy to damage.
    fn copy(&self) -> tempfile::TempDir {
        let copy = folders::in_memory();
        folders::copy(&self.store(), &copy.path().join("store"));
        copy
    }

    /// Opens a copy and asks for everything that should be in it, by key and by scan.
    fn ask(&self, store: &Path) -> Answers {
        let room = match self.open(store) {
            Ok(room) => room,
            Err(error) => return self.facts.keys().map(|place| (place.clone(), Err(error.kind()))).collect(),
        };
        let places = self.facts.keys();
        let mut answers: Answers =
            places.map(|(tenant, place)| ((*tenant, place.clone()), ask_for(&room, tenant, place))).collect();
        for tenant in &TENANTS[..2] {
            let Ok(found) = scan(&room, tenant) else { continue };
            let files = self.facts.keys().filter(|(owner, place)| owner == tenant && place.starts_with("files "));
            let missing: Vec<_> = files.filter(|(_, place)| !found.contains(&place[6..])).cloned().collect();
            assert!(found.iter().all(|key| self.facts.contains_key(&(*tenant, format!("files {key}")))), "{found:?}");
            // A scan that ends well without a record says that it is absent, whatever its key says.
            missing.into_iter().for_each(|place| drop(answers.insert(place, Ok(None))));
        }
        answers
    }
}

fn open_with(store: &Path, roots: Witness) -> strongroom::Result<Strongroom> {
    builder(store, roots).open()
}

fn builder(store: &Path, roots: Witness) -> StrongroomBuilder {
    let builder = Strongroom::builder(store, roots, support::Plain);
    builder.service_speaker(ISSUER, "service").boxes_per_cell(BOXES)
}

/// A session that may only read, so that nothing that is missing is made.
fn reader(room: &Strongroom, tenant: &str) -> strongroom::Result<Session> {
    room.session(&format!("{ISSUER}|{tenant}|read"), tenant)
}

/// A tenant or collection that is not there has no record: that is an answer, and it may be wrong.
fn ask_for(room: &Strongroom, tenant: &str, place: &str) -> Result<Option<Vec<u8>>, ErrorKind> {
    let answer = reader(room, tenant).and_then(|session| {
        let (collection, key) = place.split_once(' ').expect("a place");
        match collection {
            "files" => session.collection(&FILES)?.get(&key),
            "events" => session.collection(&EVENTS)?.get(&key.parse().expect("a number")),
            _ => {
                Ok(session.collection(&MAIL)?.get(&("inbox", key.parse().expect("a number")))?.map(String::into_bytes))
            }
        }
    });
    match answer {
        Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::NotFound) => Ok(None),
        answer => answer.map_err(|error| error.kind()),
    }
}

/// The keys of every file of the tenant by a scan; an error at the first row that is not in order.
fn scan(room: &Strongroom, tenant: &str) -> Result<BTreeSet<String>, ErrorKind> {
    let rows =
        reader(room, tenant).and_then(|session| session.collection(&FILES)?.iter()?.collect::<Result<Vec<_>, _>>());
    rows.map(|rows| rows.into_iter().map(|(key, _)| key).collect()).map_err(|error| error.kind())
}

/// Whether a failure says that the store is damaged or refused. Others would say that the caller or the crate is wrong.
fn says_damage(kind: ErrorKind) -> bool {
    use ErrorKind::{Corrupt, Invalid, KeyDestroyed, KeyRevoked, Tampered, Unavailable};
    matches!(kind, Corrupt | Invalid | KeyDestroyed | KeyRevoked | Tampered | Unavailable)
}
