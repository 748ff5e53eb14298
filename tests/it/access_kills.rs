//! kill -9 while access ends and comes back: what was shut stays shut and what was opened opens, as the trail says; a
//! recovery root is on the record before it is asked; no record is lost when its old key goes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::audit::{Act, Outcome};
use strongroom::{
    CanDestroy, CollectionDef, ErrorKind, Fence, ManualClock, Policy, ResealPlan, Result, RootError, RootId, RootKeys,
    Strongroom, TenantCustody, TenantSpec, WrapContext, WrapSecret, Wrapped,
};

use crate::children;
use crate::dated::{self, Dated};
use crate::folders;
use crate::keepers::Keepers;
use crate::kills::{self, OPENED, Victim};
use crate::support::ISSUER;

/// What the child does, and at least how many kills each act gets.
pub const ACTS: [(&str, usize); 10] = [
    ("revoked", 6),
    ("fenced", 6),
    ("restored", 4),
    ("lifted", 6),
    ("proposed", 10),
    ("recovered", 30),
    ("served", 6),
    ("rotated", 12),
    ("resealed", 12),
    ("retired", 12),
];
/// Of these contoso is revoked and restored, fabrikam fenced by the owner of its root key, adatum recovered, and
/// northwind's records are moved. In two cells, of two boxes each.
const TENANTS: [(&str, &str); 4] =
    [("contoso", "service"), ("fabrikam", "far-a"), ("adatum", "far-b"), ("northwind", "service")];
const ROOTS: [&str; 5] = ["service", "far-a", "far-b", "far-c", "recovery"];
const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes");
const RECORDS: u64 = 10;
const REFRESH: Duration = Duration::from_secs(60);
/// Longer than a root key that has refused is left alone.
const PAUSE: Duration = Duration::from_secs(2);

struct World {
    room: Strongroom,
    keepers: Keepers,
    clock: Arc<ManualClock>,
}

/// Root keys that say when the recovery root is asked, before it is.
struct Telling {
    keepers: Keepers,
    say: fn(&str),
}

impl RootKeys for Telling {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.keepers.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        if root.as_str() == "recovery" {
            (self.say)("asked");
        }
        self.keepers.unwrap(root, wrapped, context)
    }

    fn is_external(&self, root: &RootId) -> bool {
        self.keepers.is_external(root)
    }
}

impl World {
    fn open(folder: &Path, say: fn(&str)) -> Self {
        let (keepers, clock) = (Keepers::open(&folder.join("keys"), &ROOTS), dated::clock());
        let roots = Telling { keepers: keepers.clone(), say };
        let builder = Strongroom::builder(folder.join("store"), roots, Dated).boxes_per_cell(2);
        let builder = builder.service_speaker(ISSUER, "service").clock(clock.clone());
        let room = builder.open().expect("the store opens without help");
        Self { room, keepers, clock }
    }

    fn custodian(&self, tenant: &str, subject: &str) -> TenantCustody {
        self.room.tenant_custody(&credential(tenant, "custodian", subject), tenant).expect("a custodian")
    }

    /// Reads every record of a tenant.
    fn read(&self, tenant: &str) -> Result<()> {
        let notes = self.room.session(&credential(tenant, "read,write", "uma"), tenant)?.collection(&NOTES)?;
        for key in 0..RECORDS {
            assert_eq!(notes.get(&key)?, Some(value(tenant, key)), "record {key} of {tenant}");
        }
        Ok(())
    }

    /// Writes a record of a tenant as it is.
    fn write(&self, tenant: &str) -> Result<()> {
        let notes = self.room.session(&credential(tenant, "read,write", "uma"), tenant)?.collection(&NOTES)?;
        notes.put(&0, &value(tenant, 0)).map(drop)
    }

    fn is_refused(&self, tenant: &str) -> bool {
        self.read(tenant).is_err_and(|error| error.kind() == ErrorKind::KeyRevoked)
    }

    fn fence(&self, tenant: &str) -> Option<Fence> {
        self.custodian(tenant, "anna").access().unwrap().fence
    }

    /// The events of one act in a tenant's trail, as their outcomes.
    fn told(&self, tenant: &str, act: &Act) -> Vec<Outcome> {
        let events = self.custodian(tenant, "anna").audit_events(0, 1000).unwrap();
        events.iter().filter(|recorded| recorded.event.act == *act).map(|recorded| recorded.event.outcome).collect()
    }

    /// Whether an act stands in a tenant's trail: or what an opening has found of it, if a kill came before its entry.
    fn has_told(&self, tenant: &str, act: &Act) -> bool {
        [act, &Act::KEYS_SETTLED].iter().any(|act| !self.told(tenant, act).is_empty())
    }

    /// The numbers of the generations of northwind.
    fn generations(&self) -> Vec<u32> {
        let generations = self.custodian("northwind", "anna").keys().unwrap().generations;
        generations.iter().map(|generation| generation.number).collect()
    }
}

fn credential(tenant: &str, roles: &str, subject: &str) -> String {
    format!("{ISSUER}|{tenant}|{roles}|{}|{subject}", dated::START_SECS + 1_000_000)
}

fn value(tenant: &str, key: u64) -> Vec<u8> {
    format!("{tenant} {key}").repeat(20).into_bytes()
}

fn policy(root: &str) -> Policy {
    Policy::any_of([[root]]).unwrap().expiries(REFRESH, REFRESH * 10).unwrap()
}

fn template() -> tempfile::TempDir {
    let folder = folders::in_memory();
    let world = World::open(folder.path(), |_| {});
    let custody = world.room.custody(&credential("service", "custodian", "carl")).unwrap();
    for (name, root) in TENANTS {
        let policy = match root {
            "far-b" => policy(root).recovery_root("recovery", REFRESH * 20).unwrap(),
            _ => policy(root),
        };
        custody.create_tenant(TenantSpec::new(name, ISSUER, name).policy(policy)).unwrap();
        let session = world.room.session(&credential(name, "read,write", "uma"), name).unwrap();
        let filled =
            (0..RECORDS).fold(session.batch(), |batch, key| batch.put(&NOTES, &key, &value(name, key)).unwrap());
        filled.commit().unwrap();
    }
    folder
}

/// Every act once, whatever was done before.
fn perform(world: &World, mut done: impl FnMut(&str)) -> Result<()> {
    let contoso = world.custodian("contoso", "anna");
    contoso.revoke("a laptop is gone")?;
    done("revoked");
    world.keepers.tell("far-a", RootError::Denied);
    world.clock.advance(REFRESH);
    assert!(world.is_refused("fabrikam"));
    done("fenced");
    contoso.restore("it was found")?;
    done("restored");
    world.keepers.tell("far-a", None);
    world.clock.advance(PAUSE);
    world.read("fabrikam")?;
    done("lifted");
    recover(world, &mut done)?;
    reseal(world, &mut done)
}

/// The root key of adatum is lost. Two custodians have the recovery root open its keys, and another key takes over.
fn recover(world: &World, done: &mut impl FnMut(&str)) -> Result<()> {
    let (anna, bert) = (world.custodian("adatum", "anna"), world.custodian("adatum", "bert"));
    world.keepers.tell("far-b", RootError::Destroyed);
    world.clock.advance(REFRESH);
    if !anna.keys().is_ok_and(|keys| keys.policy == policy("far-c")) {
        if anna.proposals()?.is_empty() {
            anna.propose_recovery(policy("far-c"), "our vault burned")?;
        }
        done("proposed");
        bert.apply(anna.proposals()?[0].number)?;
    }
    // Killed in between: what is in force already is still proposed.
    anna.proposals()?.iter().try_for_each(|left| anna.withdraw(left.number))?;
    done("recovered");
    world.clock.advance(PAUSE);
    world.read("adatum")?;
    done("served");
    Ok(())
}

/// The records of northwind move to a new generation, and the old one goes.
fn reseal(world: &World, done: &mut impl FnMut(&str)) -> Result<()> {
    let northwind = world.custodian("northwind", "anna");
    if world.generations() == [1] {
        northwind.rotate_keys()?;
    }
    done("rotated");
    assert!(northwind.reseal(ResealPlan::new())?.is_complete);
    done("resealed");
    for old in northwind.keys()?.generations.iter().rev().skip(1) {
        match northwind.can_destroy(old.number)? {
            CanDestroy::Yes(proof) => drop(northwind.retire(proof)?),
            CanDestroy::No(blockers) => panic!("{blockers:?}"),
        }
    }
    done("retired");
    Ok(())
}

/// The child: performs every act, and says which are done.
pub fn change_access_until_killed() {
    let world = World::open(&children::folder(), children::say);
    world.write("northwind").expect("a write");
    kills::done(OPENED);
    perform(&world, kills::done).expect("every act");
}

/// Who was shut is, although nobody answers now who could say so; and the row and its entry in the trail came together.
fn check_fences(world: &World, has_said: &impl Fn(&str) -> bool) {
    ["far-a", "far-b", "far-c", "recovery"].iter().for_each(|root| world.keepers.tell(root, RootError::Unreachable));
    let count = |tenant, act: &Act| world.told(tenant, act).len();
    let is_ordered = world.fence("contoso") == Some(Fence::Ordered);
    assert_eq!(count("contoso", &Act::REVOKED), count("contoso", &Act::RESTORED) + usize::from(is_ordered));
    assert!(is_ordered || !has_said("revoked") || has_said("fenced"), "what was revoked is open");
    assert!(!is_ordered || !has_said("restored"), "what was restored is shut");
    assert_eq!(world.is_refused("contoso"), is_ordered);
    let is_observed = world.fence("fabrikam") == Some(Fence::Observed);
    assert_eq!(
        count("fabrikam", &Act::FENCE_OBSERVED),
        count("fabrikam", &Act::FENCE_LIFTED) + usize::from(is_observed)
    );
    assert!(is_observed || !has_said("fenced") || has_said("restored"), "a refusal is forgotten");
    assert!(!is_observed || !has_said("lifted"), "a refusal that is over still holds");
    for _ in 0..2 {
        let found = world.read("fabrikam").unwrap_err().kind();
        assert_eq!(found, if is_observed { ErrorKind::KeyRevoked } else { ErrorKind::Unavailable });
        world.clock.advance(PAUSE);
    }
    ROOTS.iter().for_each(|root| world.keepers.tell(root, None));
}

/// The recovery root was asked on the record or not at all, and the ring is in its old epoch or in the new one.
fn check_recovery(world: &World, has_said: &impl Fn(&str) -> bool) {
    let used = world.told("adatum", &Act::RECOVERY_ROOT_USED);
    assert!(used.first() == Some(&Outcome::Begun) || !has_said("asked"), "asked off the record: {used:?}");
    world.clock.advance(PAUSE);
    world.read("adatum").expect("the root key is there");
    let anna = world.custodian("adatum", "anna");
    let is_recovered = anna.keys().unwrap().policy == policy("far-c");
    assert!(is_recovered || !has_said("recovered"));
    let is_on_record = used.contains(&Outcome::Begun) && world.has_told("adatum", &Act::POLICY_APPLIED);
    assert!(!is_recovered || is_on_record, "recovered off the record: {used:?}");
    assert!(is_recovered || !has_said("proposed") || !anna.proposals().unwrap().is_empty());
}

/// Every record opens, and no key has come or gone off the record.
fn check_reseal(world: &World, has_said: &impl Fn(&str) -> bool) {
    world.read("northwind").expect("every record");
    let generations = world.generations();
    let (is_rotated, is_retired) = (generations != [1], generations[0] > 1);
    assert!(is_rotated || !has_said("rotated"));
    assert!(!is_rotated || world.has_told("northwind", &Act::GENERATION_ADDED), "added off the record");
    assert!(!world.told("northwind", &Act::RESEAL_DONE).is_empty() || !(has_said("resealed") || is_retired));
    assert!(is_retired || !has_said("retired"), "a key has come back");
    assert!(!is_retired || world.has_told("northwind", &Act::GENERATION_RETIRED), "retired off the record");
}

/// Opens what a kill left, compares it with what was acknowledged, and finishes it.
fn check(folder: &Path, said: &[String]) {
    let has_said = |word: &str| said.iter().any(|said| said == word);
    let world = World::open(folder, |_| {});
    check_fences(&world, &has_said);
    check_recovery(&world, &has_said);
    check_reseal(&world, &has_said);
    perform(&world, |_| {}).expect("what was begun is finished");
    // The lost root key is still lost.
    TENANTS.iter().for_each(|(name, _)| world.read(name).expect("every record"));
    assert_eq!(TENANTS.map(|(name, _)| world.fence(name)), [None; 4]);
    assert_eq!((world.generations(), world.custodian("adatum", "anna").proposals().unwrap()), (vec![2], vec![]));
    for (name, _) in TENANTS {
        world.custodian(name, "anna").audit_verify(None).expect("a trail without a gap");
    }
}

#[test]
fn a_kill_before_or_within_any_call_while_access_changes_leaves_what_was_acknowledged() {
    let template = template();
    Victim { role: "owner", template: template.path(), acts: &ACTS }.kill_at_every_call(check);
}

#[test]
fn control_what_was_not_done_or_does_not_hold_is_noticed() {
    let template = template();
    let is_noticed = |said: &[&str], change: fn(&World)| {
        let folder = folders::in_memory();
        folders::copy(template.path(), folder.path());
        let world = World::open(folder.path(), |_| {});
        change(&world);
        drop(world);
        let said: Vec<String> = said.iter().map(|&word| word.to_owned()).collect();
        std::panic::catch_unwind(|| check(folder.path(), &said)).is_err()
    };
    assert!(!is_noticed(&[], |_| {}));
    for word in ["revoked", "fenced", "asked", "proposed", "recovered", "rotated", "resealed", "retired"] {
        assert!(is_noticed(&[word], |_| {}), "{word}");
    }
    let everything = ACTS.map(|(act, _)| act);
    let performed: fn(&World) = |world| perform(world, |_| {}).unwrap();
    assert!(!is_noticed(&everything, performed));
    assert!(
        is_noticed(&everything[..3], |world| world.custodian("contoso", "anna").revoke("shut").unwrap()),
        "restored"
    );
    let refuse: fn(&World) = |world| {
        world.keepers.tell("far-a", RootError::Denied);
        world.clock.advance(REFRESH);
        assert!(world.is_refused("fabrikam"));
    };
    assert!(!is_noticed(&everything[..3], refuse));
    assert!(is_noticed(&everything[..4], refuse), "lifted");
    let lose: fn(&World) = |world| {
        let session = world.room.session(&credential("northwind", "read,write", "uma"), "northwind").unwrap();
        session.collection(&NOTES).unwrap().delete(&3).unwrap();
    };
    assert!(is_noticed(&[], lose), "a record");
}
