//! What the directory lets go of.

use super::*;
use crate::clock::ManualClock;
use crate::test_kit::in_memory;

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

#[test]
fn a_suspension_acts_at_once_though_somebody_holds_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let room = in_memory(folder.path()).open().unwrap();
    room.custody("service").unwrap().create_tenant(crate::TenantSpec::new("contoso", "i", "contoso")).unwrap();
    let directory = room.directory();
    std::thread::scope(|scope| {
        let held = directory.begin_change();
        let suspending = scope.spawn(|| directory.suspend("contoso", &Actor::Store));
        while room.session("contoso", "contoso").is_ok() {
            assert!(!suspending.is_finished());
            std::thread::yield_now();
        }
        assert!(!suspending.is_finished(), "it is not written down yet");
        drop(held);
        suspending.join().unwrap().unwrap();
    });
    assert_eq!(directory.find("contoso").unwrap().status(), Status::Suspended);
    directory.resume("contoso", &Actor::Store).unwrap();
    room.session("contoso", "contoso").unwrap();
}

#[test]
fn a_suspension_takes_no_deletion_back() {
    let folder = tempfile::tempdir().unwrap();
    let room = in_memory(folder.path()).open().unwrap();
    room.custody("service").unwrap().create_tenant(crate::TenantSpec::new("contoso", "i", "contoso")).unwrap();
    let tenant = room.directory().find("contoso").unwrap();
    tenant.set_status(Status::Destroying);
    assert_eq!(tenant.suspend().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(tenant.status(), Status::Destroying);
}

#[cfg(feature = "backup")]
mod veiled {
    use super::*;
    use crate::name::TenantName;

    fn newcomer() -> Newcomer {
        let (name, speakers) = (TenantName::new("then").unwrap(), vec![Speaker::new("i", "then")]);
        Newcomer { name, speakers, region: None, own_cell: false, policy: None }
    }

    #[test]
    fn what_a_failed_restore_removes_is_its_own_tenant_and_no_other_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let room = in_memory(folder.path()).open().unwrap();
        let directory = room.directory();
        let (first, _) = directory.create_veiled(&newcomer()).unwrap();
        directory.delete_veiled(&first).unwrap();
        assert!(directory.find("then").is_none(), "the control");
        let (second, _) = directory.create_veiled(&newcomer()).unwrap();
        directory.delete("then", &Actor::Store).unwrap();
        directory.create(newcomer(), &Actor::Store).unwrap();
        directory.delete_veiled(&second).unwrap();
        assert_eq!(directory.find("then").unwrap().status(), Status::Active);
    }

    #[test]
    fn a_veil_is_not_lifted_from_a_tenant_whose_deletion_has_begun() {
        let folder = tempfile::tempdir().unwrap();
        let room = in_memory(folder.path()).open().unwrap();
        let directory = room.directory();
        let (tenant, _) = directory.create_veiled(&newcomer()).unwrap();
        // A deletion that could not be finished.
        tenant.set_status(Status::Destroying);
        assert_eq!(
            directory
                .unveil(&tenant, false, &ComesFrom { original: tenant.incarnation(), backup: 1, by: &Actor::Store })
                .unwrap_err()
                .kind(),
            ErrorKind::Conflict
        );
        assert_eq!(tenant.status(), Status::Destroying);
    }

    #[test]
    fn a_mark_wipes_no_box_that_a_row_names() {
        let folder = tempfile::tempdir().unwrap();
        let room = in_memory(folder.path()).open().unwrap();
        let directory = room.directory();
        let marks = || -> Vec<(u32, u32)> { directory.register.list(DIRTY, &[]).unwrap() };
        let living = directory.create(newcomer(), &Actor::Store).unwrap();
        let place = (living.cell_number(), living.box_number());
        directory.soil(place.0, &[place.1]).unwrap();
        assert_eq!(marks(), [place]);
        directory.clean_boxes().unwrap();
        assert!(directory.known().placement.is_occupied(place.0, place.1));
        assert_eq!(marks(), [], "of a living tenant");
        living.set_status(Status::Destroying);
        directory.soil(place.0, &[place.1]).unwrap();
        directory.clean_boxes().unwrap();
        assert!(directory.known().placement.is_occupied(place.0, place.1), "it is its tenant's until that is gone");
        assert_eq!(marks(), [place]);
        directory.delete("then", &Actor::Store).unwrap();
        assert_eq!(marks(), [], "it goes with the deletion");
        assert!(!directory.known().placement.is_occupied(place.0, place.1));
    }
}
