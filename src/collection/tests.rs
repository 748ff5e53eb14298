//! What waits while a catalog is being changed.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::*;
use crate::clock::SystemClock;
use crate::entropy::{Entropy, OsEntropy};
use crate::identity::{Claims, Rejection, Verifier};
use crate::kms::LocalRoots;
use crate::strongroom::Strongroom;

/// Takes the tenant from the credential at its word.
struct Gullible;

impl Verifier for Gullible {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        Ok(Claims {
            issuer: "i".into(),
            tenant: credential.into(),
            subject: "s".into(),
            expires_at_secs: now_secs + 60,
            roles: ["write", "custodian"].map(|role| format!("strongroom.{role}")).to_vec(),
            scopes: None,
        })
    }
}

/// Says that it has been asked, and takes its time.
struct Slow(Sender<()>);

impl Entropy for Slow {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        self.0.send(()).expect("somebody listens");
        std::thread::sleep(Duration::from_millis(200));
        OsEntropy.fill(buffer)
    }
}

#[test]
fn a_suspension_waits_for_a_collection_that_is_being_made() {
    let folder = tempfile::tempdir().unwrap();
    let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
    let room = Strongroom::in_memory(roots, Gullible).service_speaker("i", "service").open().unwrap();
    let custody = room.custody("service").unwrap();
    custody.create_tenant(crate::TenantSpec::new("contoso", "i", "contoso")).unwrap();
    let tenant = room.directory().find("contoso").unwrap();
    let catalog = Arc::new(Catalog::open(tenant.clone()).unwrap());
    let clock = SystemClock::new();
    let identity = Arc::new(crate::access::verify(&Gullible, "contoso", &*clock).unwrap());
    let (asked, answer) = channel();
    let authority =
        Authority::grant(identity, catalog, clock, Arc::new(Slow(asked)), Arc::new(AtomicBool::new(true))).unwrap();
    std::thread::scope(|scope| {
        let made = scope.spawn(move || Collection::open(&authority, &CollectionDef::<u64, u64>::cbor("notes")).is_ok());
        answer.recv().unwrap();
        custody.suspend_tenant("contoso").unwrap();
        let rows = tenant.engine().unwrap().view().unwrap().page(tenant.keyspace(), &[], None, 1 << 20).unwrap().rows;
        assert_eq!(rows.len(), 2, "nothing comes after a suspension has returned");
        drop(answer.iter().count());
        assert!(made.join().unwrap());
    });
}
