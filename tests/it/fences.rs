//! What a refusal, an outage and a custodian's word do to access, at once and across restarts; and what is written down
//! of it.

mod recovery;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::audit::{Act, Outcome, Recorded};
use strongroom::{
    Collection, CollectionDef, ErrorKind, Fence, ManualClock, Policy, ResealPlan, Result, RootError, RootRotation,
    Rules, Strongroom, TenantCustody, TenantSpec,
};

use crate::dated::{self, Dated};
use crate::keepers::Keepers;
use crate::support::ISSUER;

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();
const REFRESH: Duration = Duration::from_secs(60);
const HARD_EXPIRY: Duration = Duration::from_secs(600);
const LIMIT: Duration = Duration::from_secs(1200);

struct World {
    room: Strongroom,
    keepers: Keepers,
    clock: Arc<ManualClock>,
}

impl World {
    fn open(folder: &Path) -> Self {
        Self::reopen(folder, &dated::clock())
    }

    fn reopen(folder: &Path, clock: &Arc<ManualClock>) -> Self {
        let keepers = Keepers::open(&folder.join("keys"), &["service", "far-a", "far-b", "far-c", "recovery"]);
        let builder = Strongroom::builder(folder.join("store"), keepers.clone(), Dated).boxes_per_cell(2);
        let room = builder.service_speaker(ISSUER, "service").clock(clock.clone()).open().unwrap();
        Self { room, keepers, clock: clock.clone() }
    }

    /// Makes contoso, whom far-a or far-b open, and the recovery root, and its neighbour, whom the service opens.
    fn make(&self) {
        let policy = Policy::any_of([["far-a"], ["far-b"]]).unwrap().expiries(REFRESH, HARD_EXPIRY).unwrap();
        let policy = policy.recovery_root("recovery", LIMIT).unwrap();
        let custody = self.room.custody(&credential("service", "custodian", "carl")).unwrap();
        custody.create_tenant(TenantSpec::new("contoso", ISSUER, "contoso").policy(policy)).unwrap();
        custody.create_tenant(TenantSpec::new("neighbour", ISSUER, "neighbour")).unwrap();
        for tenant in ["contoso", "neighbour"] {
            (0..200).for_each(|key| self.notes(tenant).unwrap().put(&key, &vec![7; 100]).map(drop).unwrap());
        }
    }

    fn notes(&self, tenant: &str) -> Result<Collection<u64, Vec<u8>>> {
        self.room.session(&credential(tenant, "read,write", "uma"), tenant)?.collection(&NOTES)
    }

    fn read(&self, tenant: &str) -> Result<()> {
        self.notes(tenant)?.get(&1).map(|note| assert_eq!(note, Some(vec![7; 100])))
    }

    fn custodian(&self, subject: &str) -> TenantCustody {
        self.room.tenant_custody(&credential("contoso", "custodian", subject), "contoso").unwrap()
    }

    fn tell(&self, answer: impl Into<Option<RootError>>) {
        let answer = answer.into();
        ["far-a", "far-b"].iter().for_each(|root| self.keepers.tell(root, answer));
    }

    fn trail(&self) -> Vec<Recorded> {
        let custodian = self.custodian("anna");
        let (mut events, mut from) = (Vec::new(), 0);
        loop {
            let page = custodian.audit_events(from, 1000).unwrap();
            if page.is_empty() {
                return events;
            }
            from += page.len() as u64;
            events.extend(page);
        }
    }

    /// The events of one act, as their outcomes.
    fn told(&self, act: &Act) -> Vec<Outcome> {
        let events = self.trail();
        events.iter().filter(|recorded| recorded.event.act == *act).map(|recorded| recorded.event.outcome).collect()
    }
}

fn credential(tenant: &str, roles: &str, subject: &str) -> String {
    format!("{ISSUER}|{tenant}|{roles}|{}|{subject}", dated::START_SECS + 1_000_000)
}

/// So many seconds before a span is over.
fn less(span: Duration, secs: u64) -> Duration {
    span.checked_sub(Duration::from_secs(secs)).unwrap()
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_refusal_ends_sessions_and_scans_everywhere_and_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let notes = world.notes("contoso").unwrap();
    let mut scan = notes.iter().unwrap();
    scan.next().unwrap().unwrap();
    world.tell(RootError::Denied);
    world.read("contoso").unwrap();
    world.clock.advance(REFRESH);
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    assert_eq!(
        kind(scan.next().unwrap()),
        Some(ErrorKind::KeyRevoked),
        "the next row, though it is in the scan's page"
    );
    assert_eq!(kind(notes.put(&1, &vec![1])), Some(ErrorKind::KeyRevoked));
    world.read("neighbour").unwrap();
    assert_eq!(world.custodian("anna").access().unwrap().fence, Some(Fence::Observed));
    assert_eq!(world.told(&Act::FENCE_OBSERVED), [Outcome::Done]);
    drop((scan, notes));
    let clock = world.clock.clone();
    drop(world);

    // Whoever cuts the store off from the customer's key service now gains nothing: the recovery root is not asked.
    let world = World::reopen(folder.path(), &clock);
    world.tell(RootError::Unreachable);
    for _ in 0..3 {
        assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
        clock.advance(Duration::from_secs(2));
    }
    assert_eq!(world.told(&Act::RECOVERY_ROOT_USED), []);
    // The owner allows again: nobody has to do anything.
    world.tell(None);
    world.read("contoso").unwrap();
    assert_eq!(world.told(&Act::FENCE_LIFTED), [Outcome::Done]);
    assert_eq!(world.custodian("anna").access().unwrap().fence, None);
    drop(world);
    let world = World::reopen(folder.path(), &clock);
    assert_eq!(world.custodian("anna").access().unwrap().fence, None, "the lifting is durable too");
}

#[test]
fn a_refused_tenants_root_keys_are_not_asked_by_everybody_who_knocks() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    world.tell(RootError::Disabled);
    world.clock.advance(REFRESH);
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    world.keepers.take_asked();
    (0..50).for_each(|_| assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked)));
    assert_eq!(world.keepers.take_asked().len(), 2, "both root keys once");
    world.clock.advance(Duration::from_secs(1));
    (0..50).for_each(|_| assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked)));
    assert_eq!(world.keepers.take_asked().len(), 2);
}

#[test]
fn what_does_not_open_is_asked_once_a_second_whoever_reads_and_fills_no_trail() {
    for answer in [RootError::Unreachable, RootError::Throttled, RootError::Tampered] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path());
        world.make();
        let notes = world.notes("contoso").unwrap();
        world.tell(answer);
        world.keepers.tell("recovery", RootError::Unreachable);
        world.clock.advance(HARD_EXPIRY);
        let mut asked = Vec::new();
        for _ in 0..3 {
            let (_, before) = (world.keepers.take_asked(), world.trail().len());
            for _ in 0..50 {
                assert!(notes.get(&1).is_err(), "{answer}: whoever has a session");
                assert!(world.read("contoso").is_err(), "{answer}: whoever signs in");
            }
            asked.push((world.keepers.take_asked().len(), world.trail().len() - before));
            world.clock.advance(Duration::from_secs(1));
        }
        // Both root keys, and in an outage the recovery root: asked once, and on the record.
        let is_little = |(asked, told): &(usize, usize)| (2..=3).contains(asked) && *told <= 6;
        assert!(asked.iter().all(is_little), "{answer}: asked and told {asked:?}");
        world.tell(None);
        notes.get(&1).unwrap();
    }
}

#[test]
fn a_refusal_that_is_over_is_no_answer_to_a_later_outage() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    world.tell(RootError::Denied);
    world.clock.advance(REFRESH);
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    world.tell(None);
    world.clock.advance(Duration::from_secs(1));
    world.read("contoso").unwrap();
    world.tell(RootError::Unreachable);
    // Half a second before what is in memory serves no more, the root keys are asked in vain.
    let half_a_second = Duration::from_millis(500);
    world.clock.advance(HARD_EXPIRY.checked_sub(half_a_second).unwrap());
    world.read("contoso").unwrap();
    world.clock.advance(half_a_second);
    assert_eq!(kind(world.read("contoso")), None, "the recovery root serves");
}

#[test]
fn what_a_custodian_has_revoked_stays_shut_whatever_the_root_keys_say() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let notes = world.notes("contoso").unwrap();
    let mut scan = notes.iter().unwrap();
    scan.next().unwrap().unwrap();
    let anna = world.custodian("anna");
    assert_eq!(kind(anna.revoke("")), Some(ErrorKind::Invalid), "nothing without a reason");
    world.read("contoso").unwrap();
    anna.revoke("the laptop of our administrator is gone").unwrap();
    assert_eq!(kind(scan.next().unwrap()), Some(ErrorKind::KeyRevoked));
    assert_eq!(kind(notes.get(&1)), Some(ErrorKind::KeyRevoked));
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    assert_eq!(kind(anna.reseal(ResealPlan::new())), Some(ErrorKind::KeyRevoked));
    world.read("neighbour").unwrap();
    // The service's custodians can neither lift it nor move what is shut.
    let service = world.room.custody(&credential("service", "custodian", "carl")).unwrap();
    service.resume_tenant("contoso").unwrap();
    assert_eq!(service.tenant("contoso").unwrap().fence, Some(Fence::Ordered));
    world.keepers.generate("far-a");
    let report = service.rotate_root(RootRotation::new("far-a")).unwrap();
    assert_eq!(report.left.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), [ErrorKind::KeyRevoked]);
    drop((scan, notes, anna, service));
    let clock = world.clock.clone();
    drop(world);

    let world = World::reopen(folder.path(), &clock);
    world.keepers.take_asked();
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    assert_eq!(world.keepers.take_asked(), [], "nobody is asked for what a custodian has shut");
    // Its own custodian can replace a root key meanwhile; that opens nothing.
    let anna = world.custodian("anna");
    anna.rotate_roots().unwrap();
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    anna.restore("it was found").unwrap();
    world.read("contoso").unwrap();
    assert_eq!(kind(anna.restore("again")), Some(ErrorKind::Conflict));
    assert_eq!(world.told(&Act::REVOKED), [Outcome::Done]);
    assert_eq!(world.told(&Act::RESTORED), [Outcome::Done]);
    // Restoring asks nobody: who refuses still refuses.
    anna.revoke("once more").unwrap();
    world.tell(RootError::Denied);
    anna.restore("and back").unwrap();
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    assert_eq!(anna.access().unwrap().fence, Some(Fence::Observed));
}

#[test]
fn where_the_rules_ask_for_two_one_revokes_and_two_restore() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let (anna, bert) = (world.custodian("anna"), world.custodian("bert"));
    anna.apply(anna.propose_rules(Rules::default().two_custodians(true), "four eyes").unwrap()).unwrap();
    bert.revoke("suspicious reads").unwrap();
    assert_eq!(kind(bert.restore("false alarm")), Some(ErrorKind::Denied));
    let proposal = bert.propose_restore("false alarm").unwrap();
    assert_eq!(kind(bert.apply(proposal)), Some(ErrorKind::Denied));
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    anna.apply(proposal).unwrap();
    world.read("contoso").unwrap();
    assert_eq!(anna.proposals().unwrap(), []);
}

#[test]
fn an_outage_is_served_and_told_with_a_warning_before_it_is_served_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let notes = world.notes("contoso").unwrap();
    world.tell(RootError::Unreachable);
    world.clock.advance(REFRESH);
    notes.get(&1).unwrap();
    assert_eq!(world.told(&Act::OUTAGE_BEGUN), [Outcome::Done]);
    assert_eq!(world.custodian("anna").access().unwrap().outage_since_secs, Some(dated::START_SECS + 60));
    world.clock.advance(less(HARD_EXPIRY, 60 + 151));
    notes.get(&1).unwrap();
    assert_eq!(world.told(&Act::OUTAGE_WARNED), []);
    world.clock.advance(Duration::from_secs(6));
    (0..3).for_each(|_| drop(notes.get(&1).unwrap()));
    assert_eq!(world.told(&Act::OUTAGE_WARNED), [Outcome::Done], "once, 145 s before");
    world.tell(None);
    world.clock.advance(Duration::from_secs(6));
    notes.get(&1).unwrap();
    assert_eq!(world.told(&Act::OUTAGE_ENDED), [Outcome::Done]);
    assert_eq!(world.custodian("anna").access().unwrap().outage_since_secs, None);
    assert_eq!(world.told(&Act::RECOVERY_ROOT_USED), [], "what was in memory has served");
}

#[test]
fn giving_access_back_forgets_no_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    world.tell(RootError::Disabled);
    world.clock.advance(REFRESH);
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    let anna = world.custodian("anna");
    anna.revoke("while the owner refuses").unwrap();
    anna.restore("and back").unwrap();
    assert_eq!(anna.access().unwrap().fence, Some(Fence::Observed));
    assert_eq!(anna.access().unwrap().last_allowed_secs, None);
    // Whoever cuts the store off now finds no way to the recovery root, here or in the next process.
    world.tell(RootError::Unreachable);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    // A refusal that is heard while a custodian's word holds is remembered, too.
    world.tell(None);
    world.clock.advance(Duration::from_secs(1));
    world.read("contoso").unwrap();
    anna.revoke("once more").unwrap();
    world.tell(RootError::Denied);
    assert_eq!(kind(anna.keys()), Some(ErrorKind::KeyRevoked));
    anna.restore("and back").unwrap();
    let clock = world.clock.clone();
    drop((anna, world));
    let world = World::reopen(folder.path(), &clock);
    world.tell(RootError::Unreachable);
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    assert_eq!(world.told(&Act::RECOVERY_ROOT_USED), []);
}

#[test]
fn a_proposal_to_give_access_back_is_good_for_one_revocation() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let (anna, bert) = (world.custodian("anna"), world.custodian("bert"));
    assert_eq!(kind(anna.propose_restore("just in case")), Some(ErrorKind::Conflict));
    anna.revoke("a first time").unwrap();
    let proposal = anna.propose_restore("found").unwrap();
    anna.restore("found").unwrap();
    anna.revoke("a second time").unwrap();
    assert_eq!(kind(bert.apply(proposal)), Some(ErrorKind::NotFound));
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
}

#[test]
fn a_refusal_is_noticed_within_the_bound_that_the_policy_states() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let latency = world.custodian("anna").access().unwrap().latency;
    assert_eq!(latency.reachable, REFRESH + Duration::from_secs(10));
    assert_eq!(latency.unreachable, LIMIT + Duration::from_secs(10));
    let mut worst = 0;
    for moment in [1, 7, 59, 60, 61, 95, 119] {
        world.tell(None);
        world.clock.advance(Duration::from_secs(5));
        let notes = world.notes("contoso").unwrap();
        (0..moment).for_each(|_| {
            notes.get(&1).unwrap();
            world.clock.advance(Duration::from_secs(1));
        });
        world.tell(RootError::Denied);
        let read_on = (0..1000).find(|_| {
            world.clock.advance(Duration::from_secs(1));
            notes.get(&1).is_err()
        });
        worst = worst.max(read_on.unwrap());
    }
    assert!(worst >= 30, "the control: somebody did read on, {worst} s");
    assert!(worst <= latency.reachable.as_secs(), "{worst} s");
    // With nobody in reach: until the recovery root serves no more.
    world.tell(None);
    world.clock.advance(Duration::from_secs(5));
    let notes = world.notes("contoso").unwrap();
    world.tell(RootError::Unreachable);
    let read_on = (0..10_000).find(|_| {
        world.clock.advance(Duration::from_secs(1));
        notes.get(&1).is_err()
    });
    let read_on = read_on.unwrap();
    assert!((HARD_EXPIRY.as_secs()..=latency.unreachable.as_secs()).contains(&read_on), "{read_on} s");
}

#[test]
fn a_stricter_policy_holds_at_once_for_the_keys_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let anna = world.custodian("anna");
    let stricter = Policy::any_of([["far-a"], ["far-b"]]).unwrap();
    let stricter = stricter.expiries(Duration::from_secs(10), Duration::from_secs(20)).unwrap();
    anna.apply(anna.propose_policy(stricter, "refusals are to be heard sooner").unwrap()).unwrap();
    world.tell(RootError::Denied);
    world.read("contoso").unwrap();
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
}

#[test]
fn a_lease_keeps_root_keys_out_of_a_unit_of_work() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let session = world.room.session(&credential("contoso", "read,write", "uma"), "contoso").unwrap();
    world.clock.advance(less(REFRESH, 1));
    world.keepers.take_asked();
    let lease = session.prefetch_keys().unwrap();
    assert_eq!(world.keepers.take_asked().len(), 1);
    assert_eq!(lease.left(), REFRESH);
    world.clock.advance(less(REFRESH, 1));
    assert_eq!(lease.left(), Duration::from_secs(1));
    let made = session.collection(&CollectionDef::<u64, u64>::bincode("made-meanwhile")).unwrap();
    made.put(&1, &1).unwrap();
    session.batch().put(&NOTES, &300, &vec![1]).unwrap().commit().unwrap();
    assert_eq!(world.keepers.take_asked(), [], "not even for another collection");
    world.tell(RootError::Denied);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(kind(session.prefetch_keys()), Some(ErrorKind::KeyRevoked));
}

#[test]
fn every_call_that_leaves_the_process_stands_in_the_trail_under_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let anna = world.custodian("anna");
    for _ in 0..5 {
        world.clock.advance(REFRESH);
        world.read("contoso").unwrap();
    }
    world.keepers.tell("far-a", RootError::Throttled);
    world.clock.advance(REFRESH);
    world.read("contoso").unwrap();
    anna.rotate_roots().unwrap_err();
    world.keepers.tell("far-a", None);
    anna.rotate_roots().unwrap();
    let policy = Policy::any_of([["far-c"]]).unwrap();
    anna.apply(anna.propose_policy(policy, "a new vault").unwrap()).unwrap();
    world.room.tend();
    let service = world.room.custody(&credential("service", "custodian", "carl")).unwrap();
    let of_store = service.audit_events(strongroom::Trail::Store, 0, 1000).unwrap();
    let told = world.trail().into_iter().chain(of_store).filter(|recorded| recorded.event.act == Act::ROOT_KEY_ASKED);
    let detail = |recorded: &Recorded, key: &str| {
        let found = recorded.event.details.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut told: Vec<_> = told
        .map(|recorded| ["call", "root", "operation"].map(|key| detail(&recorded, key)))
        .filter(|[_, _, operation]| operation != "describe")
        .collect();
    let asked = world.keepers.take_asked().into_iter().filter(|asked| asked.root.starts_with("far"));
    let mut asked: Vec<_> = asked.map(|asked| [asked.id.to_string(), asked.root, asked.operation.to_owned()]).collect();
    assert!(asked.len() > 12, "{asked:?}");
    told.sort();
    asked.sort();
    assert_eq!(told, asked);
}
