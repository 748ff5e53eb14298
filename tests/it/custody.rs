//! What a tenant's own custodians can do with its keys, and nobody else.

use std::path::Path;

use strongroom::{
    CollectionDef, ErrorKind, LocalRoots, Policy, ProposedChange, RootId, RootRotation, Rules, Strongroom,
    StrongroomBuilder, TenantSpec,
};

use crate::support::{self, CUSTODIAN, ISSUER, Plain, user};

const NOTES: CollectionDef<u64, String> = CollectionDef::cbor("notes");

/// A custodian of contoso.
const OURS: &str = "https://issuer.example|contoso|custodian";

fn roots(folder: &Path) -> LocalRoots {
    let roots = LocalRoots::open(folder.join("keys")).unwrap();
    for name in ["service", "a", "b", "recovery"] {
        let root = RootId::new(name).unwrap();
        if roots.versions(&root).is_empty() {
            roots.generate(&root).unwrap();
        }
    }
    roots
}

fn builder(folder: &Path) -> StrongroomBuilder {
    Strongroom::builder(folder.join("store"), roots(folder), Plain).service_speaker(ISSUER, "service").boxes_per_cell(4)
}

/// A store with contoso, whose keys need root a or root b, and which has a note.
fn customer_managed(folder: &Path) -> Strongroom {
    let room = builder(folder).open().unwrap();
    let policy = Policy::any_of([["a"], ["b"]]).unwrap();
    room.custody(CUSTODIAN)
        .unwrap()
        .create_tenant(TenantSpec::new("contoso", ISSUER, "contoso").policy(policy))
        .unwrap();
    write(&room, 1);
    room
}

fn write(room: &Strongroom, key: u64) {
    let session = room.session(&user("contoso"), "contoso").unwrap();
    session.collection(&NOTES).unwrap().put(&key, &format!("note {key}")).unwrap();
}

fn read(room: &Strongroom, key: u64) -> strongroom::Result<Option<String>> {
    room.session(&user("contoso"), "contoso")?.collection(&NOTES)?.get(&key)
}

fn remove_version(folder: &Path, root: &str, version: u32) {
    std::fs::remove_file(folder.join("keys").join(format!("{root}.v{version}.key"))).unwrap();
}

#[test]
fn after_a_rotation_of_roots_the_old_versions_are_not_needed_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let room = customer_managed(folder.path());
    let custody = room.tenant_custody(OURS, "contoso").unwrap();
    assert_eq!(custody.keys().unwrap().epoch, 1);
    drop((custody, room));
    for name in ["a", "b"] {
        roots(folder.path()).generate(&RootId::new(name).unwrap()).unwrap();
    }
    let room = builder(folder.path()).open().unwrap();
    room.tenant_custody(OURS, "contoso").unwrap().rotate_roots().unwrap();
    let status = room.tenant_custody(OURS, "contoso").unwrap().keys().unwrap();
    assert_eq!(status.epoch, 2);
    assert!(status.roots.iter().all(|(_, version)| version == "v2"), "{status:?}");
    drop(room);
    remove_version(folder.path(), "a", 1);
    remove_version(folder.path(), "b", 1);
    let room = builder(folder.path()).open().unwrap();
    assert_eq!(read(&room, 1).unwrap().unwrap(), "note 1");
}

#[test]
fn control_without_a_rotation_the_old_versions_are_needed() {
    let folder = tempfile::tempdir().unwrap();
    drop(customer_managed(folder.path()));
    for name in ["a", "b"] {
        roots(folder.path()).generate(&RootId::new(name).unwrap()).unwrap();
        remove_version(folder.path(), name, 1);
    }
    let room = builder(folder.path()).open().unwrap();
    assert_eq!(read(&room, 1).unwrap_err().kind(), ErrorKind::KeyRevoked);
}

#[test]
fn a_new_generation_is_written_under_at_once_and_the_old_one_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let room = customer_managed(folder.path());
    let custody = room.tenant_custody(OURS, "contoso").unwrap();
    assert_eq!(custody.rotate_keys().unwrap(), 2);
    write(&room, 2);
    drop((custody, room));
    let room = builder(folder.path()).open().unwrap();
    assert_eq!(read(&room, 1).unwrap().unwrap(), "note 1");
    assert_eq!(read(&room, 2).unwrap().unwrap(), "note 2");
    let status = room.tenant_custody(OURS, "contoso").unwrap().keys().unwrap();
    assert_eq!(status.generations.iter().map(|generation| generation.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(status.epoch, 1, "no root key was asked");
}

#[test]
fn generations_end_where_a_ring_has_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let room = customer_managed(folder.path());
    let custody = room.tenant_custody(OURS, "contoso").unwrap();
    (2..=16).for_each(|number| assert_eq!(custody.rotate_keys().unwrap(), number));
    assert_eq!(custody.rotate_keys().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(read(&room, 1).unwrap().unwrap(), "note 1");
}

#[test]
fn a_policy_changes_by_the_tenants_custodians_and_no_record_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let room = customer_managed(folder.path());
    let custody = room.tenant_custody(OURS, "contoso").unwrap();
    let both = Policy::any_of([["service", "a"]]).unwrap();
    let number = custody.propose_policy(both.clone(), "double key").unwrap();
    let proposals = custody.proposals().unwrap();
    assert_eq!(proposals[0].change, ProposedChange::Policy(both.clone()));
    assert_eq!(proposals[0].reason, "double key");
    custody.apply(number).unwrap();
    assert!(custody.proposals().unwrap().is_empty());
    assert_eq!(custody.keys().unwrap().policy, both);
    drop((custody, room));
    // Neither can open the keys alone.
    let away = folder.path().join("a.v1.key");
    std::fs::rename(folder.path().join("keys/a.v1.key"), &away).unwrap();
    std::fs::remove_file(folder.path().join("keys/b.v1.key")).unwrap();
    let only_service = || {
        let roots = LocalRoots::open(folder.path().join("keys")).unwrap();
        let builder = Strongroom::builder(folder.path().join("store"), roots, Plain);
        builder.service_speaker(ISSUER, "service").boxes_per_cell(4).open().unwrap()
    };
    assert_eq!(read(&only_service(), 1).unwrap_err().kind(), ErrorKind::KeyRevoked);
    std::fs::rename(&away, folder.path().join("keys/a.v1.key")).unwrap();
    assert_eq!(read(&only_service(), 1).unwrap().unwrap(), "note 1");
}

#[test]
fn two_custodians_where_the_rules_ask_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let room = customer_managed(folder.path());
    let first = room.tenant_custody(&as_subject("first"), "contoso").unwrap();
    let number = first.propose_rules(Rules::default().two_custodians(true), "four eyes").unwrap();
    first.apply(number).unwrap();
    let number = first.propose_rules(Rules::default(), "two eyes again").unwrap();
    assert_eq!(first.apply(number).unwrap_err().kind(), ErrorKind::Denied);
    let second = room.tenant_custody(&as_subject("second"), "contoso").unwrap();
    second.apply(number).unwrap();
    assert_eq!(first.rules().unwrap(), Rules::default());
    assert_eq!(first.apply(number).unwrap_err().kind(), ErrorKind::NotFound, "it is done once");
    let number = second.propose_policy(Policy::any_of([["a"]]).unwrap(), "one root").unwrap();
    first.withdraw(number).unwrap();
    assert_eq!(second.apply(number).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_policy_whose_new_root_does_not_work_is_not_applied() {
    let folder = tempfile::tempdir().unwrap();
    let room = customer_managed(folder.path());
    let custody = room.tenant_custody(OURS, "contoso").unwrap();
    let number = custody.propose_policy(Policy::any_of([["nowhere"]]).unwrap(), "a mistake").unwrap();
    assert_eq!(custody.apply(number).unwrap_err().kind(), ErrorKind::KeyRevoked);
    assert_eq!(custody.keys().unwrap().epoch, 1);
    assert_eq!(read(&room, 1).unwrap().unwrap(), "note 1");
}

#[test]
fn the_service_moves_every_tenant_of_a_root_and_leaves_out_who_cannot_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let room = customer_managed(folder.path());
    let names: Vec<String> = (0..40).map(|number| format!("t{number:02}")).collect();
    support::make_tenants(&room, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let double = TenantSpec::new("double", ISSUER, "double").policy(Policy::any_of([["service", "a"]]).unwrap());
    room.custody(CUSTODIAN).unwrap().create_tenant(double).unwrap();
    drop(room);
    roots(folder.path()).generate(&RootId::new("service").unwrap()).unwrap();
    let a = folder.path().join("keys/a.v1.key");
    std::fs::rename(&a, folder.path().join("a")).unwrap();
    let only_service = LocalRoots::open(folder.path().join("keys")).unwrap();
    let room = Strongroom::builder(folder.path().join("store"), only_service, Plain);
    let room = room.service_speaker(ISSUER, "service").boxes_per_cell(4).open().unwrap();
    let custody = room.custody(CUSTODIAN).unwrap();
    let mut seen = Vec::new();
    let report = custody.rotate_root(RootRotation::new("service").on_progress(|done, _| seen.push(done))).unwrap();
    assert_eq!(report.version, "v2");
    assert_eq!(report.moved.iter().map(strongroom::TenantName::as_str).collect::<Vec<_>>(), names);
    assert_eq!(
        report.left.iter().map(|(name, kind)| (name.as_str(), *kind)).collect::<Vec<_>>(),
        [("double", ErrorKind::KeyRevoked)]
    );
    assert_eq!(seen.last(), Some(&42));
    drop((custody, room));
    // The store itself has moved too: the old version is not needed, except by whom was left.
    std::fs::rename(folder.path().join("a"), &a).unwrap();
    let old = folder.path().join("old");
    std::fs::rename(folder.path().join("keys/service.v1.key"), &old).unwrap();
    let room = builder(folder.path()).open().unwrap();
    for name in &names {
        room.session(&user(name), name).unwrap();
    }
    assert_eq!(room.session(&user("double"), "double").unwrap_err().kind(), ErrorKind::KeyRevoked);
    drop(room);
    std::fs::rename(&old, folder.path().join("keys/service.v1.key")).unwrap();
    let room = builder(folder.path()).open().unwrap();
    let report = room.custody(CUSTODIAN).unwrap().rotate_root(RootRotation::new("service")).unwrap();
    assert_eq!((report.moved.len(), report.already, report.left.len()), (1, 40, 0), "the second run does the rest");
}

#[test]
fn a_restored_tenant_needs_the_consent_of_the_same_roots() {
    use strongroom::backup::{BackupPlan, EscrowKey, EscrowLock, TenantRestore};
    let folder = tempfile::tempdir().unwrap();
    let room = customer_managed(folder.path());
    let custody = room.custody(CUSTODIAN).unwrap();
    let lock = EscrowLock::recipients([EscrowKey::generate().1.as_str()]).unwrap();
    custody.export_rings(folder.path().join("rings.age"), &lock).unwrap();
    custody.backup(BackupPlan::store(folder.path().join("backups"))).unwrap();
    custody.restore_tenant(&TenantRestore::new(folder.path().join("backups"), "contoso", "again")).unwrap();
    let restored = room.tenant_custody(OURS, "again").unwrap().keys().unwrap();
    assert_eq!(restored.policy, Policy::any_of([["a"], ["b"]]).unwrap());
}

#[test]
fn what_custodians_do_with_keys_stands_in_the_tenants_trail() {
    let folder = tempfile::tempdir().unwrap();
    let room = customer_managed(folder.path());
    let (first, second) =
        (room.tenant_custody(&as_subject("first"), "contoso"), room.tenant_custody(&as_subject("second"), "contoso"));
    let (first, second) = (first.unwrap(), second.unwrap());
    first.rotate_roots().unwrap();
    first.rotate_keys().unwrap();
    let number = first.propose_policy(Policy::any_of([["a"]]).unwrap(), "one is enough").unwrap();
    second.apply(number).unwrap();
    let number = first.propose_rules(Rules::default().two_custodians(true), "four eyes").unwrap();
    second.withdraw(number).unwrap();
    let events = second.audit_events(0, 100).unwrap();
    let acts: Vec<_> = events.iter().map(|recorded| recorded.event.act.as_str()).collect();
    assert_eq!(
        acts,
        [
            "tenant made",
            "roots rotated",
            "generation added",
            "policy proposed",
            "policy applied",
            "rules proposed",
            "proposal withdrawn"
        ]
    );
    let text = format!("{events:?}");
    for word in ["one is enough", "four eyes", "first", "second", "a v1, b v1"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    second.audit_verify(None).unwrap();
}

fn as_subject(name: &str) -> String {
    format!("{OURS}|{name}")
}
