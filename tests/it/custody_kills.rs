//! kill -9 while keys change: every tenant is in its old epoch or in the new one, with every generation that was
//! acknowledged, every record opens, and the same acts finish what was begun.

use std::path::Path;

use strongroom::audit::Act;
use strongroom::{
    CollectionDef, ErrorKind, LocalRoots, Policy, ProposedChange, Result, RootId, RootRotation, Strongroom,
    StrongroomBuilder, TenantSpec,
};

use crate::children;
use crate::kills::{self, OPENED, Victim};
use crate::support::{CUSTODIAN, ISSUER, Plain, user};

const NOTES: CollectionDef<u64, u64> = CollectionDef::bincode("notes");
/// What the child does, and at least how many kills each act gets.
pub const ACTS: [(&str, usize); 4] = [("moved", 40), ("generation", 12), ("written", 4), ("policy", 20)];
/// In two cells, of two boxes each.
const TENANTS: [&str; 4] = ["contoso", "fabrikam", "adatum", "northwind"];

fn root(name: &str) -> RootId {
    RootId::new(name).expect("a good name")
}

fn builder(folder: &Path) -> StrongroomBuilder {
    let roots = LocalRoots::open(folder.join("keys")).expect("root keys");
    Strongroom::builder(folder.join("store"), roots, Plain).service_speaker(ISSUER, "service").boxes_per_cell(2)
}

fn custodian(tenant: &str) -> String {
    format!("{ISSUER}|{tenant}|custodian")
}

/// A store whose tenants have a record each, and whose service root has a newer version than they are under.
fn prepare(folder: &Path) {
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service").expect("root keys");
    roots.generate(&root("customer")).expect("a root key");
    let room = builder(folder).open().expect("a new store");
    for name in TENANTS {
        room.custody(CUSTODIAN).unwrap().create_tenant(TenantSpec::new(name, ISSUER, name)).unwrap();
        put(&room, name, 1).unwrap();
    }
    let double = Policy::any_of([["service", "customer"]]).unwrap();
    room.tenant_custody(&custodian("contoso"), "contoso").unwrap().propose_policy(double, "double key").unwrap();
    drop(room);
    roots.generate(&root("service")).expect("a newer version");
}

pub fn template() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    folder
}

fn put(room: &Strongroom, tenant: &str, key: u64) -> Result<()> {
    room.session(&user(tenant), tenant)?.collection(&NOTES)?.put(&key, &key).map(drop)
}

/// Every act once. What was done before is not done again.
fn perform(room: &Strongroom, mut done: impl FnMut(&str)) -> Result<()> {
    room.custody(CUSTODIAN)?.rotate_root(RootRotation::new("service"))?;
    done("moved");
    let contoso = room.tenant_custody(&custodian("contoso"), "contoso")?;
    if contoso.keys()?.generations.len() == 1 {
        contoso.rotate_keys()?;
    }
    done("generation");
    put(room, "contoso", 2)?;
    done("written");
    for proposal in contoso.proposals()? {
        contoso.apply(proposal.number)?;
    }
    done("policy");
    Ok(())
}

/// The child: performs every act, and says which are done.
pub fn change_keys_until_killed() {
    let room = builder(&children::folder()).open().expect("the store opens without help");
    put(&room, "contoso", 3).expect("a write");
    kills::done(OPENED);
    perform(&room, kills::done).expect("every act");
}

/// Whether an act stands in a tenant's trail: or what an opening has found of it, if a kill came before its entry.
fn has_told(room: &Strongroom, tenant: &str, act: &Act) -> bool {
    let events = room.tenant_custody(&custodian(tenant), tenant).unwrap().audit_events(0, 100).unwrap();
    events.iter().any(|recorded| recorded.event.act == *act || recorded.event.act == Act::KEYS_SETTLED)
}

/// Opens what a kill left, compares it with what was acknowledged, and finishes it.
fn check(folder: &Path, said: &[String]) {
    let was_said = |act: &str| said.iter().any(|word| word == act);
    let room = builder(folder).open().expect("the store opens without help");
    for name in TENANTS {
        let status = room.tenant_custody(&custodian(name), name).unwrap().keys().unwrap();
        let notes = room.session(&user(name), name).unwrap().collection(&NOTES).unwrap();
        assert_eq!(notes.get(&1).unwrap(), Some(1), "{name}");
        let version = &status.roots.iter().find(|(id, _)| *id == root("service")).expect("its root").1;
        let is_moved = version == "v2";
        assert!(is_moved || (version == "v1" && status.epoch == 1), "{name} {status:?}");
        assert!(is_moved || !was_said("moved"), "{name} is still in its old epoch");
        assert!(!is_moved || has_told(&room, name, &Act::ROOTS_ROTATED), "{name} has moved off the record");
        if name == "contoso" {
            assert!(status.generations.len() == 2 || !was_said("generation"), "{status:?}");
            assert!(notes.get(&2).unwrap().is_some() || !was_said("written"));
            let is_double = status.policy.alternatives().concat().len() == 2;
            assert!(is_double || !was_said("policy"), "{status:?}");
            assert!(!is_double || has_told(&room, name, &Act::POLICY_APPLIED), "a policy off the record");
            let is_added = status.generations.len() == 2;
            assert!(!is_added || has_told(&room, name, &Act::GENERATION_ADDED), "a key off the record");
        }
    }
    perform(&room, |_| {}).expect("what was begun is finished");
    let of_store = room.custody(CUSTODIAN).unwrap().audit_events(strongroom::Trail::Store, 0, 100).unwrap();
    assert!(of_store.iter().any(|recorded| recorded.event.act == Act::ROOTS_ROTATED), "the store moved off the record");
    let contoso = room.tenant_custody(&custodian("contoso"), "contoso").unwrap();
    assert!(contoso.proposals().unwrap().iter().all(|left| !matches!(left.change, ProposedChange::Policy(_))));
    drop((contoso, room));
    // Nothing depends on the old version any more, the store itself included.
    std::fs::remove_file(folder.join("keys/service.v1.key")).expect("the old version");
    let room = builder(folder).open().expect("the store opens without the old version");
    for name in TENANTS {
        assert_eq!(room.session(&user(name), name).unwrap().collection(&NOTES).unwrap().get(&1).unwrap(), Some(1));
    }
}

#[test]
fn a_kill_before_or_within_any_call_while_keys_change_leaves_the_old_or_the_new() {
    let template = template();
    Victim { role: "keyholder", template: template.path(), acts: &ACTS }.kill_at_every_call(check);
}

#[test]
fn control_what_was_not_done_is_noticed() {
    let is_noticed = |act: &str| {
        let folder = template();
        let said = [act.to_owned()];
        std::panic::catch_unwind(|| check(folder.path(), &said)).is_err()
    };
    assert!(is_noticed("moved") && is_noticed("generation") && is_noticed("written") && is_noticed("policy"));
    assert!(!is_noticed("nothing"));
}

#[test]
fn a_ring_file_from_before_the_rotation_is_refused() {
    let folder = template();
    let rings = folder.path().join("store/cells/0000/rings");
    let before = std::fs::read(&rings).unwrap();
    let room = builder(folder.path()).open().unwrap();
    perform(&room, |_| {}).unwrap();
    drop(room);
    // The whole ring file of before: the row says that a later epoch has come.
    std::fs::write(&rings, &before).unwrap();
    let room = builder(folder.path()).open().unwrap();
    assert_eq!(room.session(&user("contoso"), "contoso").unwrap_err().kind(), ErrorKind::Corrupt);
}
