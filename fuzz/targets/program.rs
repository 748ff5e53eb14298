//! Programs of operations on a store in memory, through the public doors only, against a model of a few lines.
//!
//! With `STRONGROOM_PLANT_A_BUG` set the model is wrong in one place, and `fuzz/run` sees to it that this is found.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{
    Collection, CollectionDef, ErrorKind, Expected, RootError, RootId, RootKeys, Scan, Session, Strongroom, TenantSpec,
    Version, WrapContext, WrapSecret, Wrapped,
};

const TENANTS: [&str; 2] = ["contoso", "fabrikam"];
const HIDDEN: CollectionDef<(&str, u8), Vec<u8>> = CollectionDef::bytes("hidden");
const ORDERED: CollectionDef<(&str, u8), Vec<u8>> = CollectionDef::bytes("ordered").ordered();

static PLANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("STRONGROOM_PLANT_A_BUG").is_some());

/// Of which tenant, and which of its two collections.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    second_tenant: bool,
    ordered: bool,
}

/// Few, so that programs come back to them, and hard to keep apart.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Folder {
    Empty,
    Nul,
    NulNul,
    Slash,
    A,
    Ab,
}

type Name = (Folder, u8);

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Condition {
    Absent,
    Latest,
    /// A version that was the record's, or another record's, some writes ago.
    Older(u8),
}

#[derive(Arbitrary, Debug)]
enum Op {
    Put(Target, Name, Vec<u8>),
    PutIf(Target, Name, Vec<u8>, Condition),
    Delete(Target, Name),
    DeleteIf(Target, Name, Condition),
    Get(Target, Name),
    GetMany(Target, Vec<Name>),
    Prefix(Target, Folder),
    Range(Target, Name, Name),
    Count(Target),
    Batch(bool, Vec<(bool, Name, Option<Vec<u8>>, Option<Condition>)>),
    DropCollection(Target),
    DeleteTenant(bool),
    Suspend(bool),
    /// A scan that is read to its end after whatever comes in between.
    BeginScan(Target),
    EndScan,
}

fuzz_target!(|ops: Vec<Op>| {
    let mut world = World::new();
    ops.into_iter().take(200).for_each(|op| world.run(op));
    world.check_everything();
});

type Records = BTreeMap<(Folder, u8), (Vec<u8>, Version)>;
type Rows = Vec<((String, u8), Vec<u8>)>;

struct World {
    room: Strongroom,
    sessions: [Session; 2],
    model: BTreeMap<Target, Records>,
    versions: Vec<Version>,
    scan: Option<(Scan<(&'static str, u8), Vec<u8>>, Rows, bool)>,
}

impl World {
    fn new() -> Self {
        let room = Strongroom::in_memory(Glass, Plain).service_speaker("issuer", "service").boxes_per_cell(2);
        let room = room.open().unwrap();
        let sessions = TENANTS.map(|tenant| make(&room, tenant));
        Self { room, sessions, model: BTreeMap::new(), versions: vec![], scan: None }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Put(target, name, value) => {
                let value = grown(value);
                let version = self.collection(target).put(&key(name), &value).unwrap();
                self.wrote(target, name, value, version);
            }
            Op::PutIf(target, name, value, condition) => {
                let value = grown(value);
                let (expected, holds) = self.expected(target, name, condition);
                match self.collection(target).put_if(&key(name), &value, expected) {
                    Ok(version) if holds => self.wrote(target, name, value, version),
                    outcome => assert_eq!((outcome.unwrap_err().kind(), holds), (ErrorKind::Conflict, false)),
                }
            }
            Op::Delete(target, name) => {
                self.collection(target).delete(&key(name)).unwrap();
                self.records(target).remove(&name);
            }
            Op::DeleteIf(target, name, condition) => {
                let (expected, holds) = self.expected(target, name, condition);
                let outcome = self.collection(target).delete_if(&key(name), expected).map_err(|error| error.kind());
                assert_eq!(outcome, if holds { Ok(()) } else { Err(ErrorKind::Conflict) });
                if holds || *PLANTED {
                    self.records(target).remove(&name);
                }
            }
            Op::Get(target, name) => self.check(target, name),
            Op::GetMany(target, names) => {
                let keys: Vec<_> = names.iter().map(|&name| key(name)).collect();
                let records = self.records(target);
                let known: Vec<_> =
                    names.iter().map(|name| records.get(name).map(|(value, _)| value.clone())).collect();
                assert_eq!(self.collection(target).get_many(&keys).unwrap(), known);
            }
            Op::Prefix(target, folder) => {
                let found = rows(self.collection(target).prefix((text(folder),)).unwrap(), target.ordered);
                assert_eq!(found, self.known(target, |name| name.0 == folder));
            }
            Op::Range(target, from, to) => match self.collection(target).range(key(from)..=key(to)) {
                Ok(scan) => {
                    let found = rows(scan, true);
                    assert_eq!(found, self.known(target, |name| key(from) <= key(name) && key(name) <= key(to)));
                }
                Err(error) => assert_eq!((error.kind(), target.ordered), (ErrorKind::Invalid, false)),
            },
            Op::Count(target) => {
                let count = self.collection(target).count().unwrap();
                assert_eq!(count, self.records(target).len() as u64);
            }
            Op::Batch(second_tenant, mut changes) => {
                changes.iter_mut().for_each(|(_, _, value, _)| *value = value.take().map(grown));
                self.batch(second_tenant, changes);
            }
            Op::DropCollection(target) => {
                let name = if target.ordered { "ordered" } else { "hidden" };
                self.collection(target);
                self.session(target.second_tenant).drop_collection(name).unwrap();
                self.model.remove(&target);
                self.scan = None;
            }
            Op::DeleteTenant(second) => self.delete_tenant(second),
            Op::Suspend(second) => {
                let (custody, tenant) = (self.room.custody("issuer|service|custodian").unwrap(), tenant(second));
                custody.suspend_tenant(tenant).unwrap();
                assert_eq!(self.session(second).collections().unwrap_err().kind(), ErrorKind::Denied);
                custody.resume_tenant(tenant).unwrap();
                assert_eq!(self.session(second).collections().unwrap_err().kind(), ErrorKind::Closed);
                self.sessions[usize::from(second)] = self.room.session(&user(tenant), tenant).unwrap();
                // A scan of either tenant may be of this one's ended session.
                self.scan = None;
            }
            Op::BeginScan(target) => {
                let scan = self.collection(target).iter().unwrap();
                self.scan = Some((scan, self.known(target, |_| true), target.ordered));
            }
            Op::EndScan => {
                if let Some((scan, known, ordered)) = self.scan.take() {
                    assert_eq!(rows(scan, ordered), known, "a scan is of the moment when it began");
                }
            }
        }
    }

    /// All or nothing, each condition against what was there before the batch.
    fn batch(&mut self, second_tenant: bool, changes: Vec<(bool, Name, Option<Vec<u8>>, Option<Condition>)>) {
        let mut batch = self.session(second_tenant).batch();
        let mut all_hold = true;
        for (ordered, name, value, condition) in &changes {
            let definition = if *ordered { &ORDERED } else { &HIDDEN };
            let target = Target { second_tenant, ordered: *ordered };
            let expected = condition.map(|condition| self.expected(target, *name, condition));
            all_hold &= expected.is_none_or(|(_, holds)| holds);
            batch = match (value, expected) {
                (Some(value), None) => batch.put(definition, &key(*name), value),
                (Some(value), Some((expected, _))) => batch.put_if(definition, &key(*name), value, expected),
                (None, None) => batch.delete(definition, &key(*name)),
                (None, Some((expected, _))) => batch.delete_if(definition, &key(*name), expected),
            }
            .unwrap();
        }
        let outcome = batch.commit().map_err(|error| error.kind());
        let puts = changes.iter().filter(|(_, _, value, _)| value.is_some()).count();
        assert_eq!(outcome.as_ref().map(Vec::len), if all_hold { Ok(puts) } else { Err(&ErrorKind::Conflict) });
        if let Ok(versions) = outcome {
            let mut versions = versions.into_iter();
            // Of several changes of one record the last one stands.
            let told: BTreeMap<_, _> = changes
                .iter()
                .map(|(ordered, name, value, _)| ((*ordered, *name), value.as_ref().and_then(|_| versions.next())))
                .collect();
            for (ordered, name, value, _) in changes {
                let target = Target { second_tenant, ordered };
                let found = self.collection(target).entry(&key(name)).unwrap();
                assert_eq!(found.as_ref().map(|entry| entry.version()), told[&(ordered, name)]);
                match found {
                    // The value is compared after the last change of the batch.
                    Some(entry) => self.wrote(target, name, value.unwrap_or_default(), entry.version()),
                    None => drop(self.records(target).remove(&name)),
                }
            }
        }
    }

    /// The other tenant sees nothing of it, and a new one of the same name finds nothing.
    fn delete_tenant(&mut self, second: bool) {
        let tenant = tenant(second);
        self.scan = None;
        self.room.custody("issuer|service|custodian").unwrap().delete_tenant(tenant).unwrap();
        assert_eq!(self.session(second).collections().unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(self.room.session(&user(tenant), tenant).unwrap_err().kind(), ErrorKind::Denied);
        self.sessions[usize::from(second)] = make(&self.room, tenant);
        self.model.retain(|target, _| target.second_tenant != second);
    }

    fn check_everything(&mut self) {
        for second_tenant in [false, true] {
            for ordered in [false, true] {
                let target = Target { second_tenant, ordered };
                let found = rows(self.collection(target).iter().unwrap(), ordered);
                assert_eq!(found, self.known(target, |_| true));
            }
        }
    }

    fn check(&mut self, target: Target, name: Name) {
        let entry = self.collection(target).entry(&key(name)).unwrap();
        let found = entry.map(|entry| (entry.version(), entry.into_value()));
        let known = self.records(target).get(&name).map(|(value, version)| (*version, value.clone()));
        assert_eq!(found, known);
    }

    fn wrote(&mut self, target: Target, name: Name, value: Vec<u8>, version: Version) {
        self.records(target).insert(name, (value, version));
        self.versions.push(version);
    }

    fn expected(&mut self, target: Target, name: Name, condition: Condition) -> (Expected, bool) {
        let latest = self.records(target).get(&name).map(|(_, version)| *version);
        let older = |back: u8| self.versions.iter().rev().nth(back.into()).copied();
        let version = match condition {
            Condition::Absent => None,
            Condition::Latest => latest,
            Condition::Older(back) => older(back),
        };
        (version.map_or(Expected::Absent, Expected::Version), version == latest)
    }

    fn known(&mut self, target: Target, wanted: impl Fn(Name) -> bool) -> Rows {
        let named =
            |(name, (value, _)): (&Name, &(Vec<u8>, Version))| ((text(name.0).to_owned(), name.1), value.clone());
        let mut rows: Rows = self.records(target).iter().filter(|(name, _)| wanted(**name)).map(named).collect();
        rows.sort();
        rows
    }

    fn records(&mut self, target: Target) -> &mut Records {
        self.model.entry(target).or_default()
    }

    fn session(&self, second_tenant: bool) -> &Session {
        &self.sessions[usize::from(second_tenant)]
    }

    fn collection(&self, target: Target) -> Collection<(&'static str, u8), Vec<u8>> {
        let definition = if target.ordered { &ORDERED } else { &HIDDEN };
        self.session(target.second_tenant).collection(definition).unwrap()
    }
}

/// What a scan returns; sorted here only where the order means nothing.
fn rows(scan: Scan<(&'static str, u8), Vec<u8>>, ordered: bool) -> Rows {
    let mut rows: Rows = scan.map(Result::unwrap).collect();
    if !ordered {
        rows.sort();
    }
    rows
}

/// The value that is written: a few bytes of a program can stand for one that lies in chunks.
fn grown(mut value: Vec<u8>) -> Vec<u8> {
    if value.first() == Some(&b'L') {
        value.resize(300_000, b'L');
    }
    value
}

fn key((folder, number): Name) -> (&'static str, u8) {
    (text(folder), number)
}

fn text(folder: Folder) -> &'static str {
    match folder {
        Folder::Empty => "",
        Folder::Nul => "\0",
        Folder::NulNul => "\0\0",
        Folder::Slash => "a/",
        Folder::A => "a",
        Folder::Ab => "ab",
    }
}

fn make(room: &Strongroom, tenant: &str) -> Session {
    let custody = room.custody("issuer|service|custodian").unwrap();
    custody.create_tenant(TenantSpec::new(tenant, "issuer", tenant)).unwrap();
    room.session(&user(tenant), tenant).unwrap()
}

fn tenant(second: bool) -> &'static str {
    TENANTS[usize::from(second)]
}

fn user(tenant: &str) -> String {
    format!("issuer|{tenant}|read,write")
}

/// Credentials of the form `issuer|tenant|role,role`.
struct Plain;

impl Verifier for Plain {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let [issuer, tenant, roles] = credential.split('|').collect::<Vec<_>>()[..] else {
            return Err(Rejection::Malformed);
        };
        Ok(Claims {
            issuer: issuer.to_owned(),
            tenant: tenant.to_owned(),
            subject: "somebody".to_owned(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 600,
            roles: roles.split(',').map(|role| format!("strongroom.{role}")).collect(),
            scopes: None,
        })
    }
}

/// A root key of glass: it wraps a secret as itself.
struct Glass;

impl RootKeys for Glass {
    fn wrap(&self, _: &RootId, secret: &WrapSecret, _: &WrapContext) -> Result<Wrapped, RootError> {
        Ok(Wrapped { version: "v1".to_owned(), bytes: secret.expose_secret().to_vec() })
    }

    fn unwrap(&self, _: &RootId, wrapped: &Wrapped, _: &WrapContext) -> Result<WrapSecret, RootError> {
        WrapSecret::from_slice(&wrapped.bytes).ok_or(RootError::Tampered)
    }
}
