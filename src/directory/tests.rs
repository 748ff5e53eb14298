//! What the directory lets go of.

use super::*;
use crate::clock::ManualClock;
use crate::kms::LocalRoots;
use crate::strongroom::Strongroom;
use crate::testing::Gullible;

#[test]
fn the_keys_of_an_idle_tenant_go_when_anybody_signs_in_after_their_expiry() {
    let folder = tempfile::tempdir().unwrap();
    let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
    let clock = ManualClock::new(1_000_000);
    let builder = Strongroom::in_memory(roots, Gullible).service_speaker("i", "service");
    let room = builder.clock(clock.clone()).open().unwrap();
    for name in ["contoso", "fabrikam"] {
        room.custody("service").unwrap().create_tenant(crate::TenantSpec::new(name, "i", name)).unwrap();
    }
    let keys = Arc::downgrade(&room.directory().find("contoso").unwrap().ring().unwrap());
    clock.advance(Duration::from_secs(3599));
    room.session("fabrikam", "fabrikam").unwrap();
    assert!(keys.upgrade().is_some());
    clock.advance(SWEEP_EVERY);
    room.session("fabrikam", "fabrikam").unwrap();
    assert!(keys.upgrade().is_none());
}
