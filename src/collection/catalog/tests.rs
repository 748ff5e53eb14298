//! What waits while a catalog is being changed.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::*;
use crate::clock::SystemClock;
use crate::collection::{Authority, Collection, CollectionDef};
use crate::entropy::OsEntropy;
use crate::session::Session;
use crate::strongroom::Strongroom;
use crate::test_kit::{Gullible, in_memory};

const NOTES: CollectionDef<u64, u64> = CollectionDef::cbor("notes");

/// Says that it has been asked, and takes its time.
struct Slow(Sender<()>);

impl Entropy for Slow {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        self.0.send(()).expect("somebody listens");
        std::thread::sleep(Duration::from_millis(200));
        OsEntropy.fill(buffer)
    }
}

struct World {
    room: Strongroom,
    tenant: Arc<Tenant>,
    catalog: Arc<Catalog>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let room = in_memory(folder.path()).open().unwrap();
        room.custody("service").unwrap().create_tenant(crate::TenantSpec::new("contoso", "i", "contoso")).unwrap();
        let tenant = room.directory().find("contoso").unwrap();
        let catalog = Arc::new(Catalog::open(room.directory().clone(), tenant.clone()).unwrap());
        Self { room, tenant, catalog, _folder: folder }
    }

    fn grant(&self, entropy: impl Entropy) -> Authority {
        let clock = SystemClock::new();
        let identity = Arc::new(crate::access::verify(&Gullible, "contoso", &*clock).unwrap());
        let open = Arc::new(AtomicBool::new(true));
        Authority::grant(identity, self.catalog.clone(), clock, Arc::new(entropy), open).unwrap()
    }

    fn suspend(&self) {
        self.room.custody("service").unwrap().suspend_tenant("contoso").unwrap();
    }
}

#[test]
fn a_suspension_waits_for_a_collection_that_is_being_made() {
    let world = World::new();
    let (asked, answer) = channel();
    let authority = world.grant(Slow(asked));
    std::thread::scope(|scope| {
        let made = scope.spawn(move || Collection::open(&authority, &NOTES).is_ok());
        answer.recv().unwrap();
        world.suspend();
        let view = world.tenant.reader().unwrap().view().unwrap();
        let rows = view.page(world.tenant.keyspace(), &[], None, usize::MAX).unwrap().rows;
        answer.iter().for_each(|()| ());
        assert!(made.join().unwrap());
        assert_eq!(rows.len(), 2, "the counter and the entry were there when the suspension returned");
    });
}

#[test]
fn a_suspension_waits_for_a_collection_that_is_being_dropped() {
    let world = World::new();
    let session = Session::new(world.grant(OsEntropy));
    session.collection(&NOTES).unwrap();
    let info = world.catalog.recall("notes").unwrap();
    std::thread::scope(|scope| {
        // A write under way: the drop waits for it, and the suspension for the drop.
        let writing = info.begin_write().unwrap();
        let dropping = scope.spawn(|| session.drop_collection("notes"));
        while info.dropped.try_read().is_ok() {
            std::thread::yield_now();
        }
        let suspending = scope.spawn(|| world.suspend());
        std::thread::sleep(Duration::from_millis(200));
        let waited = !suspending.is_finished();
        drop(writing);
        suspending.join().unwrap();
        assert!(waited);
        assert!(dropping.join().unwrap().is_ok());
    });
}
