//! Purges over the desk, from the request to the receipt that is verified elsewhere.

use strongroom::desk::PurgedAct;
use strongroom::purge::{PurgeStage, PurgeStatus, verify_receipt};

use super::*;

const ANNA: &str = "https://issuer.example|contoso|custodian|anna";
const BERT: &str = "https://issuer.example|contoso|custodian|bert";

fn own(tenant: &str, act: TenantAct) -> Act {
    Act::ForTenant { tenant: tenant.into(), act }
}

fn gone(act: PurgedAct) -> Act {
    Act::ForPurgedTenant { tenant: "contoso".into(), act }
}

fn request(reason: &str) -> TenantAct {
    TenantAct::RequestPurge { reason: reason.into() }
}

fn approve(reason: &str) -> TenantAct {
    TenantAct::ApprovePurge { reason: reason.into() }
}

/// What a custodian of a tenant is answered on its purge.
fn status(answer: Result<Done, ErrorKind>) -> PurgeStatus {
    match answer {
        Ok(Done::Purge(Some(status))) => *status,
        other => panic!("{other:?}"),
    }
}

/// Nothing has to be waited for any more.
fn without_cooling_off(desk: &CustodyDesk, tenant: &str) {
    let rules = Rules::default().cooling_off(Duration::ZERO);
    let token = format!("{ISSUER}|{tenant}|custodian|anna");
    let propose = TenantAct::ProposeRules { rules, reason: "we are in a hurry".into() };
    let Ok(Done::Proposed(proposal)) = ask_as(desk, &token, own(tenant, propose), false) else { panic!("proposed") };
    ask_as(desk, &token, own(tenant, TenantAct::Apply { proposal }), false).unwrap();
}

/// Asked for by Anna and approved by Bert.
fn want(desk: &CustodyDesk, tenant: &str) {
    for (who, act) in [("anna", request("the contract has ended")), ("bert", approve("so it has"))] {
        ask_as(desk, &format!("{ISSUER}|{tenant}|custodian|{who}"), own(tenant, act), false).unwrap();
    }
}

#[test]
fn a_purge_is_asked_for_approved_and_taken_back_over_the_desk() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    let ask = |token, act| ask_as(&desk, token, own("contoso", act), false);
    let plan = |token, act| match ask_as(&desk, token, own("contoso", act), true) {
        Ok(Done::Planned(changes)) => Ok(changes),
        Ok(other) => panic!("{other:?}"),
        Err(kind) => Err(kind),
    };
    let cancel = || TenantAct::CancelPurge { reason: "they stay".into() };
    assert_eq!(ask(ANNA, TenantAct::PurgeStatus), Ok(Done::Purge(None)));
    for token in [ANNA, BERT] {
        for act in [approve("why not"), cancel(), TenantAct::ExecutePurge] {
            assert_eq!(plan(token, act), Err(ErrorKind::NotFound), "nobody has asked for it");
        }
    }
    assert_eq!((plan(ANNA, request("")), plan(ANNA, request("r")).unwrap().len()), (Err(ErrorKind::Invalid), 2));
    room.session(&user("contoso"), "contoso").expect("a dry run ends no access");
    assert_eq!(status(ask(ANNA, request("the contract has ended"))).stage, PurgeStage::Requested);
    assert_eq!(room.session(&user("contoso"), "contoso").unwrap_err().kind(), ErrorKind::KeyRevoked);
    for doing in [&ask as &dyn Fn(&'static str, TenantAct) -> Result<Done, ErrorKind>, &|token, act| {
        plan(token, act).map(Done::Planned)
    }] {
        assert_eq!(doing(BERT, request("again")), Err(ErrorKind::Conflict));
        assert_eq!(doing(ANNA, approve("I am sure")), Err(ErrorKind::Denied), "the same person");
        assert_eq!(doing(ANNA, TenantAct::ExecutePurge), Err(ErrorKind::Conflict), "nobody has approved it");
    }
    let changes = plan(BERT, approve("so it has")).unwrap();
    assert_eq!((changes[0].from.as_deref(), changes[0].to.as_deref()), (Some("requested"), Some("approved")));
    assert_eq!(status(ask(BERT, approve("so it has"))).stage, PurgeStage::Approved);
    assert_eq!(plan(BERT, approve("again")), Ok(vec![]));
    assert_eq!(plan(BERT, TenantAct::ExecutePurge), Err(ErrorKind::Conflict), "the cooling-off");
    assert_eq!(ask(BERT, TenantAct::ExecutePurge), Err(ErrorKind::Conflict));
    assert_eq!(plan(BERT, cancel()).unwrap().len(), 1);
    assert_eq!(ask(BERT, cancel()), Ok(Done::Acknowledged));
    assert_eq!(ask(ANNA, TenantAct::PurgeStatus), Ok(Done::Purge(None)));
    room.session(&user("contoso"), "contoso").expect("open again");
}

#[test]
fn the_receipt_of_a_purge_is_fetched_over_the_desk_and_verified_without_it() {
    let (_folder, room, desk) = on_disk();
    room.session(&user("contoso"), "contoso").unwrap().collections().unwrap();
    without_cooling_off(&desk, "contoso");
    want(&desk, "contoso");
    let execute = || own("contoso", TenantAct::ExecutePurge);
    assert!(matches!(ask_as(&desk, BERT, execute(), true), Ok(Done::Planned(changes)) if changes[0].is_final));
    let request = Request::new(BERT, execute()).unwrap().to_json().unwrap();
    let mut lines = replies(&desk, &request);
    let last = match lines.pop() {
        Some(Reply::Done(done)) => done,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(Ok(last)).stage, PurgeStage::Proven);
    assert!(lines.len() > 5 && lines.iter().all(|line| matches!(line, Reply::Progress(_))), "a line for each file");
    assert_eq!(ask_as(&desk, BERT, execute(), false), Err(ErrorKind::Denied), "the tenant is gone");
    let Ok(Done::Receipt(note)) = ask_as(&desk, ANNA, gone(PurgedAct::Receipt { number: None }), false) else {
        panic!("a receipt");
    };
    let Ok(Done::VerifierKey(key)) = ask_as(&desk, ANNA, gone(PurgedAct::ReceiptKey), false) else { panic!("a key") };
    let export = Request::new(ANNA, gone(PurgedAct::ExportTrail)).unwrap().to_json().unwrap();
    let parts = replies(&desk, &export).into_iter().filter_map(|line| match line {
        Reply::Part(part) => Some(part),
        _ => None,
    });
    let trail: String = parts.collect();
    let verified = verify_receipt(&note, &key.parse().unwrap(), Some(&mut trail.as_bytes())).unwrap();
    assert!(verified.receipt.proven && verified.sequence.is_some());
    let first = gone(PurgedAct::Receipt { number: Some(1) });
    assert_eq!(ask_as(&desk, ANNA, first, false), Ok(Done::Receipt(note.clone())));
    let second = || gone(PurgedAct::Receipt { number: Some(2) });
    assert_eq!(ask_as(&desk, ANNA, second(), false), Err(ErrorKind::NotFound));
    for dry_run in [false, true] {
        let declare = gone(PurgedAct::DeclareEscrowDestroyed { escrow: 1, reason: "shredded".into() });
        assert_eq!(ask_as(&desk, ANNA, declare, dry_run), Err(ErrorKind::NotFound), "none was exported");
    }
    assert!(matches!(ask_as(&desk, ANNA, gone(PurgedAct::Finalize), true), Ok(Done::Planned(_))));
    assert_eq!(status(ask_as(&desk, ANNA, gone(PurgedAct::Finalize), false)).receipts, 1, "nothing has changed");
    assert!(matches!(ask_as(&desk, ANNA, gone(PurgedAct::Prove), true), Ok(Done::Planned(_))));
    assert_eq!(status(ask_as(&desk, ANNA, gone(PurgedAct::Prove), false)).receipts, 2);
    let of_service = Act::PurgedTenant { tenant: "contoso".into(), act: PurgedAct::Receipt { number: Some(2) } };
    assert_eq!(ask_as(&desk, ANNA, second(), false), ask(&desk, of_service));
}

#[test]
fn an_escrow_is_declared_destroyed_and_strangers_are_told_nothing() {
    let (_folder, _room, desk) = on_disk();
    ask(&desk, export("vault", "rings.age")).unwrap();
    without_cooling_off(&desk, "contoso");
    want(&desk, "contoso");
    ask_as(&desk, ANNA, own("contoso", TenantAct::ExecutePurge), false).unwrap();
    for stranger in [user("contoso"), format!("{ISSUER}|fabrikam|custodian"), CUSTODIAN.to_owned(), "x".into()] {
        for act in [PurgedAct::Status, PurgedAct::ReceiptKey, PurgedAct::Prove, PurgedAct::ExportTrail] {
            assert_eq!(ask_as(&desk, &stranger, gone(act.clone()), false), Err(ErrorKind::Denied), "{act:?}");
            assert_eq!(ask_as(&desk, &stranger, gone(act), true), Err(ErrorKind::Denied));
        }
    }
    let through_the_other = Act::PurgedTenant { tenant: "contoso".into(), act: PurgedAct::Status };
    assert_eq!(ask_as(&desk, ANNA, through_the_other, false), Err(ErrorKind::Denied));
    let declare = |reason: &str| gone(PurgedAct::DeclareEscrowDestroyed { escrow: 1, reason: reason.into() });
    assert_eq!(ask_as(&desk, ANNA, declare(""), true), Err(ErrorKind::Invalid));
    assert!(matches!(ask_as(&desk, ANNA, declare("shredded"), true), Ok(Done::Planned(_))));
    let missing = status(ask_as(&desk, ANNA, gone(PurgedAct::Status), false)).missing;
    assert!(missing.iter().any(|missing| missing.contains("escrow 1")), "{missing:?}");
    ask_as(&desk, ANNA, declare("shredded"), false).unwrap();
    let after = status(ask_as(&desk, ANNA, gone(PurgedAct::Finalize), false));
    assert_eq!(after.receipts, 2);
    assert!(!after.missing.iter().any(|missing| missing.contains("escrow 1")), "{after:?}");
}

#[test]
fn the_service_sees_every_purge_and_carries_out_those_that_are_due() {
    let (_folder, room, desk) = on_disk();
    assert_eq!(
        (ask(&desk, Act::Purges), ask(&desk, Act::RunPurges)),
        (Ok(Done::Purges(vec![])), Ok(Done::PurgesRun(vec![])))
    );
    without_cooling_off(&desk, "fabrikam");
    want(&desk, "contoso");
    want(&desk, "fabrikam");
    let Ok(Done::Purges(purges)) = ask(&desk, Act::Purges) else { panic!("purges") };
    assert_eq!(purges.iter().map(|purge| purge.tenant.as_str()).collect::<Vec<_>>(), ["contoso", "fabrikam"]);
    let Ok(Done::Planned(changes)) = ask_as(&desk, CUSTODIAN, Act::RunPurges, true) else { panic!("planned") };
    assert_eq!((changes.len(), changes[0].of.as_str()), (1, "keys and records of tenant fabrikam"));
    let Ok(Done::PurgesRun(runs)) = ask(&desk, Act::RunPurges) else { panic!("run") };
    assert_eq!((runs.len(), runs[0].status.stage, &runs[0].failure), (1, PurgeStage::Proven, &None));
    let contoso = Act::PurgedTenant { tenant: "contoso".into(), act: PurgedAct::Status };
    assert_eq!(ask(&desk, contoso), Err(ErrorKind::NotFound), "it waits for its week");
    for act in [Act::Purges, Act::RunPurges] {
        assert_eq!(ask_as(&desk, ANNA, act, false), Err(ErrorKind::Denied));
    }
    assert_eq!(room.custody(CUSTODIAN).unwrap().tenants().unwrap().len(), 1);
}
