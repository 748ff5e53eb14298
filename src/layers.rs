//! Each of the three layers that keep tenants apart holds alone: here the other two are switched off, which only
//! this module can do, and only in a test build.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::clock::{Clock, SystemClock};
use crate::collection::{Authority, Catalog, CollectionDef};
use crate::engine::{Batch, Durability, Opaque};
use crate::entropy::OsEntropy;
use crate::error::{ErrorKind, Result};
use crate::session::Session;
use crate::strongroom::Strongroom;
use crate::test_kit::{Gullible, in_memory};

const NOTES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("notes");

struct World {
    room: Strongroom,
    _folder: tempfile::TempDir,
}

impl World {
    /// Two tenants with a record of the same key.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let room = in_memory(folder.path()).open().unwrap();
        for name in ["contoso", "fabrikam"] {
            room.custody("service").unwrap().create_tenant(crate::TenantSpec::new(name, "i", name)).unwrap();
            let session = room.session(name, name).unwrap();
            session.collection(&NOTES).unwrap().put(&"k", &name.as_bytes().to_vec()).unwrap();
        }
        Self { room, _folder: folder }
    }

    fn catalog(&self, name: &str) -> Arc<Catalog> {
        let directory = self.room.directory().clone();
        let tenant = directory.find(name).unwrap();
        Arc::new(Catalog::open(directory, tenant).unwrap())
    }

    fn grant(&self, identity: &str, catalog: &str) -> Result<Session> {
        let clock: Arc<dyn Clock> = SystemClock::new();
        let identity = Arc::new(crate::access::verify(&Gullible, identity, &*clock).map_err(crate::access::refuse)?);
        let catalog = self.catalog(catalog);
        let open = Arc::new(AtomicBool::new(true));
        Ok(Session::new(Authority::grant(identity, catalog, clock, Arc::new(OsEntropy), open)?))
    }
}

/// Bytes moved as an attacker with the disk moves them.
struct Moved(Vec<u8>);

impl Opaque for Moved {
    fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[test]
fn identity_alone_refuses_a_session_of_another_tenant() {
    // No key and no box takes part: the refusal is of the handle itself.
    let world = World::new();
    assert_eq!(world.grant("contoso", "fabrikam").err().unwrap().kind(), ErrorKind::Denied);
    assert_eq!(world.grant("nobody", "fabrikam").err().unwrap().kind(), ErrorKind::Denied);
    assert!(world.grant("contoso", "contoso").is_ok(), "the control");
}

#[test]
fn the_namespace_alone_keeps_a_tenant_in_its_own_box() {
    // Identity is switched off (any handle is granted) and so is cryptography (only presence of bytes is asked for).
    let world = World::new();
    let (contoso, fabrikam) = (world.catalog("contoso"), world.catalog("fabrikam"));
    assert_ne!(contoso.tenant().keyspace(), fabrikam.tenant().keyspace());
    let rows = |catalog: &Catalog, keyspace| {
        let page = catalog.tenant().reader().unwrap().view().unwrap().page(keyspace, &[], None, usize::MAX).unwrap();
        page.rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let ours = rows(&contoso, contoso.tenant().keyspace());
    let theirs = rows(&fabrikam, fabrikam.tenant().keyspace());
    assert_eq!((ours.len(), theirs.len()), (3, 3), "counter, catalog entry and note");
    let session = world.grant("contoso", "contoso").unwrap();
    session.collection(&NOTES).unwrap().delete(&"k").unwrap();
    session.drop_collection("notes").unwrap();
    assert_eq!(rows(&fabrikam, fabrikam.tenant().keyspace()), theirs, "whatever contoso does");
}

#[test]
fn cryptography_alone_refuses_the_bytes_of_another_tenant() {
    // Identity and namespace are switched off: every row of fabrikam's box is put into contoso's, under its own key
    // and under the key where contoso's note lies.
    let world = World::new();
    let (contoso, fabrikam) = (world.catalog("contoso"), world.catalog("fabrikam"));
    let engine = contoso.tenant().writer().unwrap();
    let (ours, theirs) = (contoso.tenant().keyspace(), fabrikam.tenant().keyspace());
    let page = |keyspace| engine.view().unwrap().page(keyspace, &[], None, usize::MAX).unwrap().rows;
    let is_note = |(key, _): &&(Vec<u8>, Vec<u8>)| key.starts_with(&256u32.to_be_bytes());
    let (our_note, _) = page(ours).iter().find(is_note).cloned().unwrap();
    let (their_note, bytes) = page(theirs).iter().find(is_note).cloned().unwrap();
    let mut batch = Batch::new(Durability::Buffered);
    batch.put(ours, our_note, Moved(bytes.clone()));
    batch.put(ours, their_note, Moved(bytes));
    engine.apply(batch).unwrap();
    let notes = world.grant("contoso", "contoso").unwrap().collection(&NOTES).unwrap();
    assert_eq!(notes.get(&"k").unwrap_err().kind(), ErrorKind::Tampered);
    let mut scan = notes.iter().unwrap();
    assert_eq!(scan.next().unwrap().unwrap_err().kind(), ErrorKind::Tampered);
    assert!(scan.next().is_none(), "nothing follows a failure");
    assert_eq!(notes.count().unwrap_err().kind(), ErrorKind::Tampered);
    assert_eq!(notes.get_many(&["k"]).unwrap_err().kind(), ErrorKind::Tampered);
    let theirs = world.grant("fabrikam", "fabrikam").unwrap().collection(&NOTES).unwrap();
    assert_eq!(theirs.get(&"k").unwrap().unwrap(), b"fabrikam", "the neighbour is whole");
}
