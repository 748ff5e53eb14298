//! The recovery root: when it is asked, for how long it serves, and on whose word.

use super::*;

#[test]
fn in_an_outage_the_recovery_root_serves_for_its_limit_on_the_record_and_not_a_second_more() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let clock = world.clock.clone();
    drop(world);
    // After a restart nothing is in memory.
    let world = World::reopen(folder.path(), &clock);
    world.tell(RootError::Unreachable);
    world.read("contoso").unwrap();
    assert_eq!(world.told(&Act::RECOVERY_ROOT_USED), [Outcome::Begun, Outcome::Done]);
    assert_eq!(world.keepers.take_unwraps()["recovery"], 1);
    // It is not asked again while it serves, though the others are.
    clock.advance(less(HARD_EXPIRY, 1));
    world.read("contoso").unwrap();
    assert!(!world.keepers.take_unwraps().contains_key("recovery"));
    clock.advance(Duration::from_secs(1));
    world.read("contoso").unwrap();
    assert_eq!(world.keepers.take_unwraps()["recovery"], 1);
    clock.advance(less(LIMIT, 600 + 1));
    world.read("contoso").unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        kind(world.read("contoso")),
        Some(ErrorKind::Unavailable),
        "its limit counts from the last allowed answer"
    );
    // A clock that is set back does not bring it back, whether to before that answer or to just after it.
    for secs in [dated::START_SECS - 10, dated::START_SECS + 10] {
        clock.advance(Duration::from_secs(1));
        clock.set_wall_ms(secs * 1000);
        assert_eq!(kind(world.read("contoso")), Some(ErrorKind::Unavailable));
    }
}

#[test]
fn what_the_recovery_root_opens_in_an_outage_is_for_reading_and_for_no_act_of_custody() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    world.tell(RootError::Unreachable);
    world.clock.advance(HARD_EXPIRY);
    world.read("contoso").unwrap();
    let anna = world.custodian("anna");
    let mine = Policy::any_of([["far-c"]]).unwrap();
    let proposal = anna.propose_policy(mine, "while nobody is looking").unwrap();
    assert_eq!(kind(anna.apply(proposal)), Some(ErrorKind::Unavailable));
    assert_eq!(kind(anna.rotate_keys()), Some(ErrorKind::Unavailable));
    assert_eq!(kind(anna.reseal(ResealPlan::new())), Some(ErrorKind::Unavailable));
    world.read("contoso").unwrap();
}

#[test]
fn the_recovery_root_is_on_the_record_even_if_it_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    world.tell(RootError::Unreachable);
    world.keepers.tell("recovery", RootError::Denied);
    world.clock.advance(HARD_EXPIRY);
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::Unavailable), "what the tenant suffers is the outage");
    assert_eq!(world.told(&Act::RECOVERY_ROOT_USED), [Outcome::Begun, Outcome::Failed]);
    // Not by everybody who comes in the same second.
    (0..20).for_each(|_| assert_eq!(kind(world.read("contoso")), Some(ErrorKind::Unavailable)));
    assert_eq!(world.told(&Act::RECOVERY_ROOT_USED).len(), 2);
    assert_eq!(world.custodian("anna").access().unwrap().fence, None, "its refusal is not the owner's");
}

#[test]
fn lost_root_keys_are_replaced_by_order_of_two_custodians() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    world.make();
    let (anna, bert) = (world.custodian("anna"), world.custodian("bert"));
    let policy = Policy::any_of([["far-c"]]).unwrap().expiries(REFRESH, HARD_EXPIRY).unwrap();
    let early = anna.propose_recovery(policy.clone(), "just in case").unwrap();
    assert_eq!(kind(bert.apply(early)), Some(ErrorKind::Conflict), "the root keys are there");
    world.tell(RootError::Destroyed);
    world.clock.advance(REFRESH);
    assert_eq!(kind(world.read("contoso")), Some(ErrorKind::KeyRevoked));
    assert_eq!(kind(anna.rotate_roots()), Some(ErrorKind::KeyRevoked));
    let proposal = anna.propose_recovery(policy, "both our vaults burned").unwrap();
    assert_eq!(kind(anna.apply(proposal)), Some(ErrorKind::Denied), "whatever the rules say");
    assert_eq!(world.told(&Act::RECOVERY_ROOT_USED), []);
    bert.apply(proposal).unwrap();
    assert_eq!(world.told(&Act::RECOVERY_ROOT_USED), [Outcome::Begun, Outcome::Done]);
    world.clock.advance(Duration::from_secs(1));
    world.read("contoso").unwrap();
    let status = anna.keys().unwrap();
    assert_eq!((status.policy.alternatives().concat().len(), status.epoch), (1, 2));
    assert_eq!(status.policy.recovery(), None, "what was proposed is what holds");
    assert_eq!(world.custodian("anna").proposals().unwrap().len(), 1, "the early one is still open");
}

#[test]
fn another_claim_of_the_same_issuer_makes_nobody_another_person() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path());
    let policy = Policy::any_of([["far-a"]]).unwrap().recovery_root("recovery", LIMIT).unwrap();
    let spec = TenantSpec::new("contoso", ISSUER, "contoso").speaker(ISSUER, "contoso-gmbh").policy(policy);
    world.room.custody(&credential("service", "custodian", "carl")).unwrap().create_tenant(spec).unwrap();
    let other =
        |subject| world.room.tenant_custody(&credential("contoso-gmbh", "custodian", subject), "contoso").unwrap();
    let anna = world.custodian("anna");
    anna.apply(anna.propose_rules(Rules::default().two_custodians(true), "four eyes").unwrap()).unwrap();
    let proposal = anna.propose_policy(Policy::any_of([["far-b"]]).unwrap(), "alone").unwrap();
    assert_eq!(kind(other("anna").apply(proposal)), Some(ErrorKind::Denied));
    let recovery = anna.propose_recovery(Policy::any_of([["far-b"]]).unwrap(), "alone").unwrap();
    world.keepers.tell("far-a", RootError::Destroyed);
    assert_eq!(kind(other("anna").apply(recovery)), Some(ErrorKind::Denied));
    other("bert").apply(recovery).unwrap();
}
