//! Audit trails through the doors: what custodians did stands there, and agrees with what the store knows.

use std::collections::BTreeMap;

use strongroom::audit::{Act, Actor, Event, Outcome, Recorded, verify_export};
use strongroom::backup::TenantRestore;
use strongroom::{Custody, ErrorKind, Strongroom, TenantSpec, TenantState, Trail};

use crate::drill::Drill;
use crate::support::{self, CUSTODIAN, ISSUER, user};

/// How a tenant comes to be there.
const BEGINNINGS: [Act; 2] = [Act::TENANT_MADE, Act::TENANT_RESTORED];

/// Every event of a trail.
fn read(custody: &Custody, trail: Trail<'_>) -> Vec<Recorded> {
    let mut events: Vec<Recorded> = Vec::new();
    loop {
        let page = custody.audit_events(trail, events.len() as u64, 100).expect("a page");
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

fn acts(events: &[Recorded]) -> Vec<(&str, Outcome)> {
    events.iter().map(|Recorded { event, .. }| (event.act.as_str(), event.outcome)).collect()
}

fn detail<'e>(event: &'e Event, key: &str) -> Option<&'e str> {
    event.details.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// Whether the trails agree with the tenants that are there, whatever instant the store was killed in: an act and its
/// entry are there together or not at all. Returns how many events were read.
pub fn agree(room: &Strongroom) -> usize {
    let custody = room.custody(CUSTODIAN).expect("a custodian");
    let events = read(&custody, Trail::Store);
    assert_eq!(custody.audit_verify(Trail::Store, None).expect("a whole trail").size, events.len() as u64);
    let mut told = BTreeMap::new();
    for Recorded { event, .. } in &events {
        match (&event.act, detail(event, "tenant"), detail(event, "incarnation")) {
            (act, Some(name), Some(incarnation)) if BEGINNINGS.contains(act) => {
                assert_eq!(told.insert(name, incarnation), None, "{name} was made twice");
            }
            (act, Some(name), Some(incarnation)) if *act == Act::TENANT_DELETED => {
                assert_eq!(told.remove(name), Some(incarnation), "{name} was deleted and had not been made");
                let own = read(&custody, Trail::Incarnation(incarnation));
                assert_eq!(own.last().map(|last| &last.event.act), Some(&Act::TENANT_DELETED));
            }
            _ => {}
        }
    }
    let tenants = custody.tenants().expect("a list");
    let living = tenants.iter().filter(|tenant| tenant.state != TenantState::Deleting);
    let living: Vec<&str> = living.map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), living, "the trail tells of other tenants than there are");
    let own = living.iter().map(|name| {
        let own = read(&custody, Trail::Tenant(name));
        assert!(own.first().is_some_and(|first| BEGINNINGS.contains(&first.event.act)), "{name}");
        assert_eq!(custody.audit_verify(Trail::Tenant(name), None).expect("a whole trail").size, own.len() as u64);
        own.len()
    });
    events.len() + own.sum::<usize>()
}

#[test]
fn what_custodians_do_stands_in_the_trails_with_who_did_it() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.create_tenant(TenantSpec::new("contoso", ISSUER, "contoso")).unwrap();
    let specs = ["adatum", "fabrikam"].map(|name| TenantSpec::new(name, ISSUER, name));
    custody.create_tenants(specs.to_vec()).unwrap();
    custody.suspend_tenant("contoso").unwrap();
    custody.resume_tenant("contoso").unwrap();
    custody.resume_tenant("contoso").unwrap();
    let contoso = read(&custody, Trail::Tenant("contoso"));
    let done = |names: &[&'static str]| names.iter().map(|name| (*name, Outcome::Done)).collect::<Vec<_>>();
    assert_eq!(acts(&contoso), done(&["tenant made", "tenant suspended", "tenant resumed"]));
    let Actor::Person { issuer, tenant, .. } = &contoso[0].event.actor else { panic!("a custodian") };
    assert_eq!((issuer.as_str(), tenant.as_str()), (ISSUER, "service"));
    custody.delete_tenant("contoso").unwrap();
    let store = read(&custody, Trail::Store);
    assert_eq!(acts(&store), done(&["tenant made", "tenant made", "tenant deleted"]));
    assert_eq!(detail(&store[1].event, "tenants"), Some("2"));
    let gone = detail(&store[2].event, "incarnation").unwrap();
    assert_eq!(acts(&read(&custody, Trail::Incarnation(gone))).last(), Some(&("tenant deleted", Outcome::Done)));
    for absent in [Trail::Tenant("contoso"), Trail::Incarnation("00"), Trail::Incarnation(&"0".repeat(32))] {
        assert_eq!(custody.audit_events(absent, 0, 1).unwrap_err().kind(), ErrorKind::NotFound, "{absent:?}");
    }
}

#[test]
fn a_trail_goes_on_after_a_restart_and_grows_out_of_its_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let (mut kept, mut export, mut key) = (Vec::<String>::new(), Vec::new(), None);
    for round in 0..4 {
        let room = support::on_disk(folder.path()).open().unwrap();
        let custody = room.custody(CUSTODIAN).unwrap();
        custody.create_tenant(TenantSpec::new(format!("t{round}"), ISSUER, "t")).unwrap();
        for earlier in &kept {
            custody.audit_verify(Trail::Store, Some(earlier)).unwrap();
        }
        kept.push(custody.audit_checkpoint(Trail::Store).unwrap());
        key = Some(custody.audit_key(Trail::Store).unwrap());
        export.clear();
        custody.audit_export(Trail::Store, &mut export).unwrap();
    }
    for earlier in &kept {
        let verified = verify_export(&export[..], key.as_ref(), Some(earlier)).unwrap();
        assert_eq!((verified.size, verified.is_signed), (8, true), "four tenants and four exports");
    }
}

#[test]
fn a_store_that_came_back_from_a_backup_says_so_and_a_later_checkpoint_shows_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    let custody = room.custody(CUSTODIAN).unwrap();
    let before = custody.audit_checkpoint(Trail::Store).unwrap();
    let number = drill.backup(&room).number;
    custody.create_tenant(TenantSpec::new("lost", ISSUER, "lost")).unwrap();
    let after = custody.audit_checkpoint(Trail::Store).unwrap();
    assert!(custody.audit_verify(Trail::Store, Some(&after)).is_ok(), "the control");
    let path = folder.path().join("elsewhere/store");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    drill.restore_to(number, &path);
    let restored = drill.builder_at(&path).open().unwrap();
    let custody = restored.custody(CUSTODIAN).unwrap();
    let events = read(&custody, Trail::Store);
    let last = &events.last().unwrap().event;
    assert_eq!((&last.act, detail(last, "backup")), (&Act::STORE_RESTORED, Some(number.to_string().as_str())));
    let backup = acts(&events).into_iter().find(|(act, _)| *act == "backup made");
    assert_eq!(backup, Some(("backup made", Outcome::Begun)), "it held no word yet of how it would end");
    assert!(custody.audit_verify(Trail::Store, Some(&before)).is_ok());
    assert_eq!(custody.audit_verify(Trail::Store, Some(&after)).unwrap_err().kind(), ErrorKind::Tampered);
}

#[test]
fn what_came_back_of_a_tenant_stands_in_its_own_trail_and_in_the_originals() {
    let folder = tempfile::tempdir().unwrap();
    let drill = Drill::new(folder.path());
    let room = drill.open();
    support::make_tenants(&room, &["a"]);
    drill.backup(&room);
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.restore_tenant(&TenantRestore::new(drill.backups(), "a", "again")).unwrap();
    for name in ["a", "again"] {
        let events = read(&custody, Trail::Tenant(name));
        let last = &events.last().unwrap().event;
        assert_eq!((&last.act, detail(last, "tenant")), (&Act::TENANT_RESTORED, Some("again")), "{name}");
    }
    assert!(custody.restore_tenant(&TenantRestore::new(drill.backups(), "b", "c")).is_err());
    agree(&room);
}

#[test]
fn refusals_of_a_closing_store_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::on_disk(folder.path()).open().unwrap();
    support::make_tenants(&room, &["contoso", "fabrikam"]);
    for _ in 0..3 {
        assert_eq!(room.session(&user("fabrikam"), "contoso").unwrap_err().kind(), ErrorKind::Denied);
    }
    drop(room);
    let room = support::on_disk(folder.path()).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    let events = read(&custody, Trail::Tenant("contoso"));
    let refused = events.iter().filter(|event| event.event.act == Act::SESSIONS_REFUSED);
    let counts: Vec<u32> = refused.map(|event| detail(&event.event, "count").unwrap().parse().unwrap()).collect();
    // Two, if a minute ended among them.
    assert_eq!(counts.iter().sum::<u32>(), 3, "{counts:?}");
}
