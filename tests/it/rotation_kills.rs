//! kill -9 at any instant while a thousand tenants move to a new version of their root key and are written to: each is in
//! its old epoch or in the new one, and every record of every tenant is the one that was acknowledged last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom::{
    Clock, CollectionDef, LocalRoots, RootId, RootRotation, Strongroom, StrongroomBuilder, SystemClock, TenantSpec,
};

use crate::chance::Chance;
use crate::children::{self, Playing};
use crate::folders;
use crate::support::{CUSTODIAN, ISSUER, Plain, user};

const NOTES: CollectionDef<u64, u64> = CollectionDef::bincode("notes");
const THOUSAND: u64 = 1000;
const RECORDS: u64 = 3;
/// A record before anybody has written it again.
const FIRST: u64 = 0;

/// How many rotations are killed; `STRONGROOM_ROTATION_KILLS` says otherwise.
fn rounds() -> usize {
    std::env::var("STRONGROOM_ROTATION_KILLS").map_or(6, |rounds| rounds.parse().expect("a number"))
}

/// What there is to be, record by record, and whose ring is known to have moved.
struct Ledger {
    tenants: u64,
    records: BTreeMap<(u64, u64), u64>,
    moved: BTreeSet<u64>,
    /// The number of the next write.
    next: u64,
    version: u32,
}

fn root() -> RootId {
    RootId::new("service").expect("a good name")
}

fn roots(folder: &Path) -> LocalRoots {
    LocalRoots::open_with_root(folder.join("keys"), "service").expect("root keys")
}

fn builder(folder: &Path) -> StrongroomBuilder {
    Strongroom::builder(folder.join("store"), roots(folder), Plain).service_speaker(ISSUER, "service")
}

fn name(tenant: u64) -> String {
    format!("t{tenant:04}")
}

/// The tenant and the record that a write goes to: neighbours are in different cells.
fn place(write: u64, tenants: u64) -> (u64, u64) {
    (write * 389 % tenants, write % RECORDS)
}

fn put(room: &Strongroom, write: u64) {
    let (tenant, key) = place(write, THOUSAND);
    let session = room.session(&user(&name(tenant)), &name(tenant)).expect("a session");
    session.collection(&NOTES).expect("a collection").put(&key, &write).expect("a write");
}

/// The child: moves every tenant, and meanwhile writes from its number on, and says what is done.
pub fn move_until_killed() {
    let room = builder(&children::folder()).open().expect("the store opens without help");
    children::say("opened");
    let is_moved = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for write in children::which().. {
                if is_moved.load(Ordering::SeqCst) {
                    return;
                }
                put(&room, write);
                children::say(&format!("wrote {write}"));
            }
        });
        let report = room.custody(CUSTODIAN).unwrap().rotate_root(RootRotation::new("service")).expect("a rotation");
        assert!(report.left.is_empty(), "{report:?}");
        children::say("moved");
        is_moved.store(true, Ordering::SeqCst);
    });
}

impl Ledger {
    /// A store of so many tenants, each with its records.
    fn begin(folder: &Path, tenants: u64) -> Self {
        let room = builder(folder).open().unwrap();
        let specs = (0..tenants).map(|tenant| TenantSpec::new(name(tenant), ISSUER, name(tenant))).collect();
        room.custody(CUSTODIAN).unwrap().create_tenants(specs).unwrap();
        for tenant in 0..tenants {
            let batch = room.session(&user(&name(tenant)), &name(tenant)).unwrap().batch();
            let batch = batch.durability(strongroom::Durability::Buffered);
            let filled = (0..RECORDS).fold(batch, |batch, key| batch.put(&NOTES, &key, &FIRST).unwrap());
            filled.commit().unwrap();
        }
        let records = (0..tenants).flat_map(|tenant| (0..RECORDS).map(move |key| ((tenant, key), FIRST))).collect();
        Self { tenants, records, moved: BTreeSet::new(), next: FIRST + 1, version: 1 }
    }

    /// A version of the root key that nobody is under, unless a rotation is still to be finished.
    fn replace_root(&mut self, folder: &Path) {
        let is_finished = self.version == 1 || self.moved.len() as u64 == self.tenants;
        if is_finished {
            self.version += 1;
            assert_eq!(roots(folder).generate(&root()).unwrap(), format!("v{}", self.version));
            self.moved.clear();
        }
    }

    /// What a child has said it has done.
    fn hear(&mut self, said: &[String]) {
        for write in said.iter().filter_map(|word| word.strip_prefix("wrote ")) {
            let write: u64 = write.parse().expect("a number");
            assert_eq!(write, self.next);
            self.records.insert(place(write, self.tenants), write);
            self.next += 1;
        }
        if said.iter().any(|word| word == "moved") {
            self.moved = (0..self.tenants).collect();
        }
    }

    /// Opens what a kill left and compares every record of every tenant. Only the write that was under way, and
    /// everything of it, may be there although nobody has said so.
    fn compare(&mut self, folder: &Path) -> Strongroom {
        let room = builder(folder).open().expect("the store opens without help");
        let (old, new) = (format!("v{}", self.version - 1), format!("v{}", self.version));
        for tenant in 0..self.tenants {
            let name = name(tenant);
            let custodian = room.tenant_custody(&format!("{ISSUER}|{name}|custodian"), &name).unwrap();
            let version = custodian.keys().unwrap().roots[0].1.clone();
            assert!(version == new || version == old && !self.moved.contains(&tenant), "{name} is under {version}");
            if version == new {
                self.moved.insert(tenant);
            }
            let notes = room.session(&user(&name), &name).unwrap().collection(&NOTES).unwrap();
            for key in 0..RECORDS {
                let (found, known) = (notes.get(&key).expect("a record that opens"), self.records[&(tenant, key)]);
                if found == Some(self.next) && place(self.next, self.tenants) == (tenant, key) {
                    self.records.insert((tenant, key), self.next);
                } else {
                    assert_eq!(found, Some(known), "record {key} of {name}");
                }
            }
            assert_eq!(notes.count().unwrap(), RECORDS);
        }
        self.next += 1;
        room
    }

    /// Finishes the rotation, and takes every older version of the root key away: nothing depends on it.
    fn finish(&mut self, folder: &Path) {
        let room = self.compare(folder);
        let report = room.custody(CUSTODIAN).unwrap().rotate_root(RootRotation::new("service")).unwrap();
        assert_eq!(report.moved.len() + self.moved.len(), self.tenants as usize);
        self.moved = (0..self.tenants).collect();
        drop(room);
        for version in roots(folder).versions(&root()) {
            if version != format!("v{}", self.version) {
                std::fs::remove_file(folder.join(format!("keys/service.{version}.key"))).unwrap();
            }
        }
        drop(self.compare(folder));
    }
}

#[test]
fn a_kill_at_any_instant_of_the_rotation_of_a_thousand_tenants_changes_no_record() {
    let folder = folders::in_memory();
    let (mut ledger, mut chance) = (Ledger::begin(folder.path(), THOUSAND), Chance::of_this_run("movers"));
    // How long a rotation takes that nobody kills.
    ledger.replace_root(folder.path());
    let child = Playing::begin(children::command("mover", folder.path(), ledger.next));
    assert_eq!(child.hear().as_deref(), Some("opened"));
    let clock = SystemClock::new();
    let began_ms = clock.monotonic_ms();
    let mut said: Vec<String> = std::iter::from_fn(|| child.hear().filter(|word| word != "moved")).collect();
    let mut span_ms = clock.monotonic_ms() - began_ms + 1;
    said.push("moved".to_owned());
    let (status, rest) = child.wait();
    assert!(status.success(), "{status}");
    said.extend(rest);
    ledger.hear(&said);
    drop(ledger.compare(folder.path()));
    let (mut begun, mut halfway, mut left) = (0, 0, Vec::new());
    while left.len() < rounds() {
        begun += 1;
        assert!(begun < 20 + 10 * rounds(), "only {} were killed while their tenants moved", left.len());
        ledger.replace_root(folder.path());
        let child = Playing::begin(children::command("mover", folder.path(), ledger.next));
        assert_eq!(child.hear().as_deref(), Some("opened"));
        std::thread::sleep(Duration::from_millis(chance.below(span_ms as usize) as u64));
        let said = child.kill_or_wait().1;
        ledger.hear(&said);
        drop(ledger.compare(folder.path()));
        if said.iter().any(|word| word == "moved") {
            // Rotations are faster than the first one was.
            span_ms = span_ms * 4 / 5 + 1;
            continue;
        }
        let still_old = THOUSAND as usize - ledger.moved.len();
        halfway += usize::from((1..THOUSAND as usize).contains(&still_old));
        left.push(still_old);
    }
    ledger.finish(folder.path());
    println!("{span_ms} ms; killed in a rotation: {} of {begun}; in the old epoch after each: {left:?}", left.len());
    println!("with some in either epoch: {halfway}; writes: {}; root versions: {}", ledger.next, ledger.version);
}

#[test]
fn control_a_record_or_a_ring_of_before_is_noticed() {
    let folder = folders::in_memory();
    let mut ledger = Ledger::begin(folder.path(), 20);
    ledger.replace_root(folder.path());
    let is_noticed = |change: fn(&mut Ledger)| {
        let mut told = Ledger { records: ledger.records.clone(), moved: BTreeSet::new(), ..ledger };
        change(&mut told);
        let compare = std::panic::AssertUnwindSafe(|| drop(told.compare(folder.path())));
        std::panic::catch_unwind(compare).is_err()
    };
    assert!(!is_noticed(|_| {}));
    assert!(is_noticed(|ledger| ledger.hear(&["wrote 1".to_owned()])), "a write that is gone");
    assert!(is_noticed(|ledger| ledger.hear(&["moved".to_owned()])), "a ring in its old epoch");
}
