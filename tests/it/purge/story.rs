//! A purge from its request to its receipt, and everything that must not happen on the way.

use std::time::Duration;

use strongroom::purge::{PurgeStage, RootState};
use strongroom::{ErrorKind, LocalRoots, Policy, RootId, Rules, Strongroom, TenantSpec};

use super::*;

#[test]
fn two_people_a_week_and_nothing_is_left() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    let notes = room.session(USER, "contoso").unwrap().collection(&NOTES).unwrap();
    let mut scan = notes.iter().unwrap();
    assert!(scan.next().unwrap().is_ok());

    let asked = custody(&room, ANNA).request_purge("the contract has ended").unwrap();
    assert_eq!((asked.stage, asked.due_secs), (PurgeStage::Requested, START_SECS + WEEK.as_secs()));
    assert_eq!(notes.get(&1).unwrap_err().kind(), ErrorKind::KeyRevoked, "a session that was open");
    assert_eq!(scan.next().unwrap().unwrap_err().kind(), ErrorKind::KeyRevoked, "a scan that was open");
    assert_eq!(room.session(USER, "contoso").unwrap_err().kind(), ErrorKind::KeyRevoked, "a new session");

    let approved = custody(&room, BERT).approve_purge("so it has").unwrap();
    assert_eq!(approved.stage, PurgeStage::Approved);
    clock.advance(WEEK.saturating_sub(Duration::from_secs(1)));
    assert_eq!(custody(&room, BERT).execute_purge().unwrap_err().kind(), ErrorKind::Conflict, "a second too early");
    clock.advance(Duration::from_secs(1));
    let done = execute(&room);
    assert_eq!((done.stage, done.receipts, done.destroyed_secs), (PurgeStage::Proven, 1, Some(done.due_secs)));

    let receipt = receipt(&room);
    assert_eq!((receipt.requested.subject.as_str(), receipt.approved.subject.as_str()), ("anna", "bert"));
    assert!(receipt.proven && !receipt.is_final && receipt.keys_were_opened && receipt.records_wiped);
    assert_eq!((&receipt.epochs[..], &receipt.generations[..]), (&[1][..], &[1][..]));
    assert!(receipt.search.files > 10 && receipt.search.searched_for.len() == 8, "{:?}", receipt.search);
    assert_eq!((receipt.samples.tried, receipt.samples.opened), (4, 0));
    assert_eq!(receipt.roots.len(), 1);
    assert_eq!((receipt.roots[0].root.as_str(), receipt.roots[0].state), ("service", RootState::Alive));
    assert_eq!(room.session(USER, "contoso").unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(room.tenant_custody(ANNA, "contoso").unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(room.custody(SERVICE).unwrap().tenants().unwrap().len(), 1);
    neighbour_is_whole(&room);
}

#[test]
fn nobody_approves_their_own_request_and_nothing_happens_before_its_time() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    let anna = custody(&room, ANNA);
    assert_eq!(anna.approve_purge("why not").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(anna.request_purge(" ").unwrap_err().kind(), ErrorKind::Invalid);
    anna.request_purge("the contract has ended").unwrap();
    assert_eq!(anna.request_purge("again").unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(anna.approve_purge("I want it twice").unwrap_err().kind(), ErrorKind::Denied);
    clock.advance(WEEK * 2);
    let anna = custody(&room, ANNA);
    assert_eq!(anna.execute_purge().unwrap_err().kind(), ErrorKind::Conflict, "one person alone");
    assert!(room.custody(SERVICE).unwrap().run_purges().unwrap().is_empty());
    assert_eq!(room.custody(SERVICE).unwrap().delete_tenant("contoso").unwrap_err().kind(), ErrorKind::Conflict);
    anna.cancel_purge("a mistake").unwrap();
    assert_eq!(room.session(USER, "contoso").unwrap().collection(&NOTES).unwrap().count().unwrap(), 10);
}

#[test]
fn one_custodian_for_two_tenant_claims_is_one_person() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = on_disk(folder.path(), &clock).open().unwrap();
    let spec = TenantSpec::new("contoso", ISSUER, "contoso").speaker(ISSUER, "contoso-uk");
    room.custody(SERVICE).unwrap().create_tenant(spec).unwrap();
    custody(&room, ANNA).request_purge("the contract has ended").unwrap();
    let again = custody(&room, "contoso-uk|custodian|anna").approve_purge("somebody else").unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Denied);
    custody(&room, "contoso-uk|custodian|bert").approve_purge("so it has").unwrap();
}

#[test]
fn taking_it_back_opens_the_tenant_again_and_leaves_a_trail() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    let before = room.session(USER, "contoso").unwrap();
    custody(&room, ANNA).request_purge("the contract has ended").unwrap();
    custody(&room, BERT).approve_purge("so it has").unwrap();
    drop(room);
    // A restart lifts nothing.
    drop(before);
    let room = on_disk(folder.path(), &clock).open().unwrap();
    assert_eq!(room.session(USER, "contoso").unwrap_err().kind(), ErrorKind::KeyRevoked);
    let before = custody(&room, ANNA).purge_status().unwrap().unwrap();
    assert_eq!(before.stage, PurgeStage::Approved);
    clock.advance(WEEK);
    custody(&room, ANNA).cancel_purge("they have signed again").unwrap();
    assert!(custody(&room, ANNA).purge_status().unwrap().is_none());
    assert_eq!(custody(&room, BERT).execute_purge().unwrap_err().kind(), ErrorKind::NotFound);
    let notes = room.session(USER, "contoso").unwrap().collection(&NOTES).unwrap();
    assert_eq!(notes.count().unwrap(), 10);
    drop((room, notes));
    let room = on_disk(folder.path(), &clock).open().unwrap();
    assert!(room.session(USER, "contoso").is_ok(), "after another restart");
    let events = custody(&room, ANNA).audit_events(0, 100).unwrap();
    let acts: Vec<_> = events.iter().map(|recorded| recorded.event.act.as_str().to_owned()).collect();
    for act in ["purge requested", "purge approved", "purge cancelled"] {
        assert_eq!(acts.iter().filter(|found| *found == act).count(), 1, "{acts:?}");
    }
}

#[test]
fn other_rules_shorten_no_purge_that_was_asked_for() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    let anna = custody(&room, ANNA);
    anna.request_purge("the contract has ended").unwrap();
    custody(&room, BERT).approve_purge("so it has").unwrap();
    let hasty = anna.propose_rules(Rules::default().cooling_off(Duration::ZERO), "we are in a hurry").unwrap();
    anna.apply(hasty).unwrap();
    assert_eq!(anna.execute_purge().unwrap_err().kind(), ErrorKind::Conflict);
    anna.cancel_purge("once more").unwrap();
    let again = anna.request_purge("under the new rules").unwrap();
    assert_eq!(again.due_secs, again.requested.at_secs, "the control: they hold for the next");
}

#[test]
fn suspended_tenants_are_purged_too_and_a_name_is_free_again() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    room.custody(SERVICE).unwrap().suspend_tenant("contoso").unwrap();
    ask(&room);
    clock.advance(WEEK);
    let done = room.custody(SERVICE).unwrap().run_purges().unwrap();
    assert!(done.iter().all(|(_, outcome)| outcome.is_ok()), "{done:?}");
    assert_eq!(execute(&room).stage, PurgeStage::Proven);
    assert!(room.custody(SERVICE).unwrap().run_purges().unwrap().is_empty(), "done once");
    let custody = room.custody(SERVICE).unwrap();
    custody.create_tenant(TenantSpec::new("contoso", ISSUER, "contoso")).unwrap();
    assert_eq!(room.session(USER, "contoso").unwrap().collections().unwrap().len(), 0);
    assert!(receipt(&room).proven, "the receipts of the one before are still to be had");
    assert!(super::custody(&room, ANNA).purge_status().unwrap().is_none());
}

/// A tenant whose keys need its own root key.
fn with_own_root(room: &Strongroom) {
    let policy = Policy::any_of([["customer"]]).unwrap();
    let spec = TenantSpec::new("contoso", ISSUER, "contoso").policy(policy);
    room.custody(SERVICE).unwrap().create_tenant(spec).unwrap();
    let notes = room.session(USER, "contoso").unwrap().collection(&NOTES).unwrap();
    notes.put(&1, &b"kept".to_vec()).unwrap();
}

#[test]
fn a_tenant_whose_root_keys_are_gone_is_purged_by_what_is_left() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = on_disk(folder.path(), &clock).open().unwrap();
    with_own_root(&room);
    ask(&room);
    let elsewhere = LocalRoots::open(folder.path().join("keys")).unwrap();
    elsewhere.destroy(&RootId::new("customer").unwrap(), "v1").unwrap();
    clock.advance(WEEK);
    let done = execute(&room);
    assert_eq!(done.stage, PurgeStage::Final, "no escrow was made, and no root version lives: {:?}", done.missing);
    let receipt = receipt(&room);
    assert!(receipt.proven && receipt.is_final && !receipt.keys_were_opened);
    assert_eq!(receipt.roots[0].state, RootState::Destroyed);
    let kinds: Vec<_> = receipt.search.searched_for.keys().collect();
    assert_eq!(kinds.len(), 4, "wrapped forms and the slot alone: {kinds:?}");
}

#[test]
fn it_is_final_once_the_root_version_is_destroyed() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = on_disk(folder.path(), &clock).open().unwrap();
    with_own_root(&room);
    let done = purge(&room, &clock);
    assert_eq!((done.stage, done.receipts), (PurgeStage::Proven, 1));
    assert_eq!(purged(&room).finalize().unwrap().receipts, 1, "nothing has changed, and no receipt is issued");
    LocalRoots::open(folder.path().join("keys")).unwrap().destroy(&RootId::new("customer").unwrap(), "v1").unwrap();
    let done = purged(&room).finalize().unwrap();
    assert_eq!((done.stage, done.receipts), (PurgeStage::Final, 2));
    let second = receipt(&room);
    assert!(second.is_final && second.missing.is_empty() && second.number == 2);
    assert!(purged(&room).receipt_numbered(1).is_ok());
    assert_eq!(purged(&room).receipt_numbered(3).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn only_who_spoke_for_it_and_the_service_reach_what_is_left() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    assert_eq!(room.purged_tenant(ANNA, "contoso").unwrap_err().kind(), ErrorKind::Denied, "it lives");
    purge(&room, &clock);
    for stranger in ["fabrikam|custodian|anna", USER, "contoso||anna", SERVICE] {
        assert_eq!(room.purged_tenant(stranger, "contoso").unwrap_err().kind(), ErrorKind::Denied, "{stranger}");
    }
    assert_eq!(room.purged_tenant(ANNA, "fabrikam").unwrap_err().kind(), ErrorKind::Denied);
    let service = room.custody(SERVICE).unwrap();
    assert_eq!(service.purged_tenant("contoso").unwrap().receipt().unwrap(), purged(&room).receipt().unwrap());
    assert_eq!(service.purged_tenant("fabrikam").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(service.purges().unwrap().len(), 1);
}

#[test]
fn tenants_of_a_store_in_memory_are_purged_too() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let builder = Strongroom::in_memory(roots(folder.path()), Named).service_speaker(ISSUER, "service");
    let room = with_tenants(builder.clock(clock.clone()));
    assert_eq!(purge(&room, &clock).stage, PurgeStage::Proven);
    let receipt = receipt(&room);
    assert_eq!((receipt.search.files, receipt.medium.file_system.as_str()), (0, "memory"));
    neighbour_is_whole(&room);
}

#[test]
fn the_store_carries_out_by_itself_what_two_people_want_and_nothing_else() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    room.tenant_custody("fabrikam|custodian|fay", "fabrikam").unwrap().request_purge("one person alone").unwrap();
    ask(&room);
    clock.advance(WEEK.saturating_sub(Duration::from_secs(1)));
    room.tend();
    assert_eq!(custody(&room, ANNA).purge_status().unwrap().unwrap().stage, PurgeStage::Approved, "a second too early");
    clock.advance(Duration::from_secs(61));
    room.tend();
    assert_eq!(purged(&room).status().unwrap().stage, PurgeStage::Proven);
    assert!(receipt(&room).proven);
    let fabrikam = room.tenant_custody("fabrikam|custodian|fay", "fabrikam").unwrap();
    assert_eq!(fabrikam.purge_status().unwrap().unwrap().stage, PurgeStage::Requested);
    fabrikam.cancel_purge("never mind").unwrap();
    neighbour_is_whole(&room);
}

/// What ends access does not look at what there is: as many records as you like. Measured against itself, many times, so
/// that it says something on a busy machine.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn access_ends_as_fast_for_a_large_tenant_as_for_a_small_one() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    let request = || {
        let anna = custody(&room, ANNA);
        let began = std::time::Instant::now();
        anna.request_purge("the contract has ended").unwrap();
        let took = began.elapsed();
        anna.cancel_purge("only measured").unwrap();
        took
    };
    let fastest = || (0..20).map(|_| request()).min().unwrap();
    let small = fastest();
    let session = room.session(USER, "contoso").unwrap();
    for batch in 0..10 {
        let batch = (0..1000)
            .try_fold(session.batch(), |writes, number| writes.put(&NOTES, &(batch * 1000 + number), &vec![7; 1000]));
        batch.unwrap().commit().unwrap();
    }
    let large = fastest();
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    println!("a request with 10 records: {small:?}, with 10,000: {large:?}, ratio {ratio:.2}");
    assert!(ratio < 20.0, "a thousand times the records");
}
