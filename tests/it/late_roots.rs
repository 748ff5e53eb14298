//! Root keys that answer late: what happens to a tenant meanwhile holds, whoever was waiting for its keys.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use strongroom::{
    Collection, CollectionDef, Custody, ErrorKind, Fence, LocalRoots, ManualClock, Policy, Result, RootError, RootId,
    RootKeys, Strongroom, WrapContext, WrapSecret, Wrapped,
};

use crate::dated::{self, Dated};
use crate::support::ISSUER;

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();

/// How far an answer has come that is held back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    Open,
    /// The next answer stops here.
    Shut,
    /// An answer is waiting.
    Held,
}

struct LateRoots {
    roots: LocalRoots,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

impl RootKeys for LateRoots {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.roots.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        let secret = self.roots.unwrap(root, wrapped, context);
        let (gate, changed) = &*self.gate;
        let mut gate = gate.lock().unwrap();
        if *gate == Gate::Shut {
            *gate = Gate::Held;
            changed.notify_all();
            drop(changed.wait_while(gate, |gate| *gate != Gate::Open).unwrap());
        }
        secret
    }
}

struct World {
    room: Strongroom,
    clock: Arc<ManualClock>,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

impl World {
    fn open(folder: &Path) -> Self {
        let (clock, gate) = (dated::clock(), Arc::new((Mutex::new(Gate::Open), Condvar::new())));
        let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
        let builder = Strongroom::builder(folder.join("store"), LateRoots { roots, gate: gate.clone() }, Dated);
        let room = builder.service_speaker(ISSUER, "service").boxes_per_cell(1).clock(clock.clone()).open().unwrap();
        Self { room, clock, gate }
    }

    fn make(&self, name: &str) {
        let custody = self.room.custody(&dated::custodian()).unwrap();
        custody.create_tenant(strongroom::TenantSpec::new(name, ISSUER, name)).unwrap();
    }

    fn write(&self, name: &str) {
        let session = self.room.session(&dated::user(name), name).unwrap();
        session.collection(&NOTES).unwrap().put(&1, &name.as_bytes().to_vec()).unwrap();
    }

    fn set_gate(&self, to: Gate) {
        *self.gate.0.lock().unwrap() = to;
        self.gate.1.notify_all();
    }

    /// Runs `meanwhile` beside `waiting`, which waits for its root key until `meanwhile` is done or has waited for
    /// it long enough.
    fn during<T: Send>(&self, waiting: impl FnOnce() -> T + Send, meanwhile: impl FnOnce() + Send) -> T {
        self.set_gate(Gate::Shut);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(waiting);
            let gate = self.gate.1.wait_while(self.gate.0.lock().unwrap(), |gate| *gate != Gate::Held).unwrap();
            drop(gate);
            let meanwhile = scope.spawn(meanwhile);
            for _ in 0..50 {
                if meanwhile.is_finished() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            self.set_gate(Gate::Open);
            meanwhile.join().unwrap();
            waiting.join().unwrap()
        })
    }

    /// The notes of contoso, whose ring is due to be asked for again, and a custodian.
    fn due(&self) -> (Collection<u64, Vec<u8>>, Custody) {
        self.make("contoso");
        self.write("contoso");
        let session = self.room.session(&dated::user("contoso"), "contoso").unwrap();
        let notes = session.collection(&NOTES).unwrap();
        let custody = self.room.custody(&dated::custodian()).unwrap();
        self.clock.advance(Duration::from_secs(301));
        (notes, custody)
    }
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_read_that_waited_through_the_deletion_finds_a_shut_door() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    let (notes, custody) = world.due();
    let read = world.during(|| kind(notes.get(&1)), || custody.delete_tenant("contoso").unwrap());
    assert_eq!(read, Some(ErrorKind::Denied));
    world.make("heir");
    world.write("heir");
    assert_eq!(kind(notes.get(&1)), Some(ErrorKind::Denied));
}

#[test]
fn a_read_that_waited_through_a_suspension_finds_a_shut_door() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    let (notes, custody) = world.due();
    let read = world.during(|| kind(notes.get(&1)), || custody.suspend_tenant("contoso").unwrap());
    assert_eq!(read, Some(ErrorKind::Denied));
    custody.resume_tenant("contoso").unwrap();
    assert_eq!(kind(notes.get(&1)), Some(ErrorKind::Closed), "ended for good");
    let session = world.room.session(&dated::user("contoso"), "contoso").unwrap();
    assert_eq!(session.collection(&NOTES).unwrap().get(&1).unwrap(), Some(b"contoso".to_vec()));
}

/// The two slots of the first box, behind a header of the same length.
const SLOT_A: std::ops::Range<usize> = 8192..16384;
const SLOT_B: std::ops::Range<usize> = 16384..24576;

#[test]
fn a_repair_under_way_brings_no_purged_ring_back() {
    let folder = tempfile::tempdir().unwrap();
    let rings = folder.path().join("store/cells/0000/rings");
    {
        let world = World::open(folder.path());
        world.make("contoso");
        world.write("contoso");
    }
    let live = fs::read(&rings).unwrap();
    assert!(live[SLOT_A] == live[SLOT_B], "at rest both slots are equal");
    let mut damaged = live.clone();
    damaged[SLOT_B.start + 100] ^= 1;
    fs::write(&rings, damaged).unwrap();

    let world = World::open(folder.path());
    let custody = world.room.custody(&dated::custodian()).unwrap();
    let session = || kind(world.room.session(&dated::user("contoso"), "contoso"));
    let outcome = world.during(session, || custody.delete_tenant("contoso").unwrap());
    assert!(matches!(outcome, None | Some(ErrorKind::Denied | ErrorKind::Corrupt)), "{outcome:?}");
    let left = fs::read(&rings).unwrap();
    assert!(left[SLOT_A] != live[SLOT_A] && left[SLOT_B] != live[SLOT_B], "the deleted tenant's ring is back");
    world.make("heir");
    world.write("heir");
}

#[test]
fn an_answer_from_before_a_refusal_lifts_no_fence_and_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    let keys = LocalRoots::open(folder.path().join("keys")).unwrap();
    keys.generate(&RootId::new("customer").unwrap()).unwrap();
    let policy = Policy::any_of([["customer"]]).unwrap().expiries(Duration::from_secs(10), Duration::from_secs(20));
    let policy = policy.unwrap();
    let spec = strongroom::TenantSpec::new("contoso", ISSUER, "contoso").policy(policy);
    world.room.custody(&dated::custodian()).unwrap().create_tenant(spec).unwrap();
    world.write("contoso");
    let session = world.room.session(&dated::user("contoso"), "contoso").unwrap();
    let notes = session.collection(&NOTES).unwrap();
    let own = dated::credential(ISSUER, "contoso", "custodian");
    let custodian = world.room.tenant_custody(&own, "contoso").unwrap();
    world.clock.advance(Duration::from_secs(21));
    // The root key allows the read, but its answer is on the way while the owner takes the key away, and a custodian
    // hears of that first.
    let key = folder.path().join("keys/customer.v1.key");
    let read = world.during(
        || kind(notes.get(&1)),
        || {
            fs::rename(&key, key.with_extension("away")).unwrap();
            assert_eq!(kind(custodian.keys()), Some(ErrorKind::KeyRevoked));
        },
    );
    assert_eq!(read, Some(ErrorKind::KeyRevoked));
    assert_eq!(custodian.access().unwrap().fence, Some(Fence::Observed));
    fs::rename(key.with_extension("away"), &key).unwrap();
    world.clock.advance(Duration::from_secs(1));
    world.room.session(&dated::user("contoso"), "contoso").unwrap();
    assert_eq!(custodian.access().unwrap().fence, None);
}
