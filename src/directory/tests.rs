//! What the directory lets go of.

use super::*;
use crate::clock::ManualClock;
use crate::testing::in_memory;

#[test]
fn the_keys_of_an_idle_tenant_go_when_anybody_signs_in_after_their_expiry() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(1_000_000);
    let room = in_memory(folder.path()).clock(clock.clone()).open().unwrap();
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
