//! kill -9 while keys change: every tenant is in its old epoch or in the new one, with every generation that was
//! acknowledged, every record opens, and the same acts finish what was begun.

use std::path::Path;

use strongroom::{
    Builder, CollectionDef, ErrorKind, LocalRoots, Policy, ProposedChange, Result, RootId, RootRotation, Strongroom,
    TenantSpec,
};

use crate::children::{self, Playing};
use crate::folders;
use crate::support::{CUSTODIAN, ISSUER, Plain, user};

const NOTES: CollectionDef<u64, u64> = CollectionDef::bincode("notes");
/// In two cells, of two boxes each.
const TENANTS: [&str; 4] = ["contoso", "fabrikam", "adatum", "northwind"];

fn root(name: &str) -> RootId {
    RootId::new(name).expect("a good name")
}

fn builder(folder: &Path) -> Builder {
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
    perform(&room, children::say).expect("every act");
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
        if name == "contoso" {
            assert!(status.generations.len() == 2 || !was_said("generation"), "{status:?}");
            assert!(notes.get(&2).unwrap().is_some() || !was_said("written"));
            let is_double = status.policy.alternatives().concat().len() == 2;
            assert!(is_double || !was_said("policy"), "{status:?}");
        }
    }
    perform(&room, |_| {}).expect("what was begun is finished");
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
    let template = tempfile::tempdir().unwrap();
    prepare(template.path());
    let (mut calls, mut kills) = (0, 0);
    for tear in [false, true] {
        for call in 1.. {
            let folder = folders::in_memory();
            folders::copy(template.path(), folder.path());
            let mut command = children::command("keyholder", folder.path(), 0);
            command.env("LD_PRELOAD", children::syncwatch()).env("SYNCWATCH_FOLDER", folder.path());
            command.env("SYNCWATCH_KILL_AT", call.to_string());
            if tear {
                command.env("SYNCWATCH_TEAR", "1");
            }
            let (status, said) = Playing::begin(command).wait();
            if status.success() {
                calls = call - 1;
                break;
            }
            kills += 1;
            check(folder.path(), &said);
        }
    }
    assert!(calls > 40, "the calls of the child are not seen: {calls}");
    println!("calls: {calls}; kills: {kills}");
}

#[test]
fn control_what_was_not_done_is_noticed() {
    let is_noticed = |act: &str| {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let said = [act.to_owned()];
        std::panic::catch_unwind(|| check(folder.path(), &said)).is_err()
    };
    assert!(is_noticed("moved") && is_noticed("generation") && is_noticed("written") && is_noticed("policy"));
    assert!(!is_noticed("nothing"));
}

#[test]
fn a_ring_file_from_before_the_rotation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
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
