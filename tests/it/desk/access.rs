//! Access that is taken away and given back over the desk.

use strongroom::desk::AccessAct;
use strongroom::{Fence, Policy};

use super::*;

const OURS: &str = "https://issuer.example|contoso|custodian|anna";
const OTHER: &str = "https://issuer.example|contoso|custodian|bert";

fn own(act: AccessAct) -> Act {
    Act::ForTenant { tenant: "contoso".into(), act: TenantAct::Access(act) }
}

fn because(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_custodian_takes_access_away_over_the_desk_and_gives_it_back() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    let fence = || match ask_as(&desk, OURS, own(AccessAct::Show), false) {
        Ok(Done::Access(access)) => access.fence,
        other => panic!("{other:?}"),
    };
    let revoke = |reason: &str| own(AccessAct::Revoke { reason: because(reason) });
    let restore = |reason: &str| own(AccessAct::Restore { reason: because(reason) });
    assert_eq!(fence(), None);
    assert_eq!(ask_as(&desk, OURS, restore("nothing to restore"), true), Err(ErrorKind::Conflict));
    assert_eq!(ask_as(&desk, OURS, revoke(""), true), Err(ErrorKind::Invalid));
    let planned = ask_as(&desk, OURS, revoke("stolen"), true);
    assert!(matches!(planned, Ok(Done::Planned(changes)) if changes.len() == 1 && !changes[0].is_final));
    room.session(&user("contoso"), "contoso").expect("a dry run shuts nobody out");
    assert_eq!(ask_as(&desk, OURS, revoke("stolen"), false), Ok(Done::Acknowledged));
    assert_eq!(room.session(&user("contoso"), "contoso").unwrap_err().kind(), ErrorKind::KeyRevoked);
    assert_eq!(fence(), Some(Fence::Ordered));
    let Ok(Done::Tenant(tenant)) = ask_as(&desk, CUSTODIAN, Act::ShowTenant { name: "contoso".into() }, false) else {
        panic!("a tenant")
    };
    assert_eq!(tenant.fence, Some(Fence::Ordered), "the service's custodians see it, too");
    assert_eq!(ask_as(&desk, OURS, revoke("stolen"), true), Ok(Done::Planned(Vec::new())));
    assert!(matches!(ask_as(&desk, OURS, restore("found"), true), Ok(Done::Planned(changes)) if changes.len() == 1));
    assert_eq!(fence(), Some(Fence::Ordered));
    // The other way: proposed by one, applied by another.
    let proposed = ask_as(&desk, OURS, own(AccessAct::ProposeRestore { reason: because("found") }), false);
    assert_eq!(proposed, Ok(Done::Proposed(1)));
    let apply = Act::ForTenant { tenant: "contoso".into(), act: TenantAct::Apply { proposal: 1 } };
    assert_eq!(ask_as(&desk, OTHER, apply, false), Ok(Done::Acknowledged));
    assert_eq!(fence(), None);
    room.session(&user("contoso"), "contoso").unwrap();
}

#[test]
fn a_recovery_is_proposed_over_the_desk_and_needs_another_custodian() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    let policy = Policy::any_of([["service"]]).unwrap();
    let recovery = || AccessAct::ProposeRecovery { policy: policy.clone(), reason: because("both vaults burned") };
    let planned = ask_as(&desk, OURS, own(recovery()), true);
    assert!(matches!(planned, Ok(Done::Planned(changes)) if changes.len() == 1));
    assert_eq!(ask_as(&desk, OURS, own(recovery()), false), Ok(Done::Proposed(1)));
    let apply = || Act::ForTenant { tenant: "contoso".into(), act: TenantAct::Apply { proposal: 1 } };
    assert_eq!(ask_as(&desk, OURS, apply(), true), Err(ErrorKind::Denied));
    assert_eq!(ask_as(&desk, OURS, apply(), false), Err(ErrorKind::Denied));
    assert_eq!(ask_as(&desk, OTHER, apply(), false), Err(ErrorKind::Conflict), "the root keys are not lost");
}

#[test]
fn nobody_else_takes_access_away_or_gives_it_back() {
    let (_folder, room) = in_memory();
    let desk = room.custody_desk();
    ask_as(&desk, OURS, own(AccessAct::Revoke { reason: because("stolen") }), false).unwrap();
    for stranger in [CUSTODIAN.to_owned(), user("contoso"), format!("{ISSUER}|fabrikam|custodian")] {
        for dry_run in [false, true] {
            let policy = Policy::any_of([["service"]]).unwrap();
            for act in [
                AccessAct::Show,
                AccessAct::Revoke { reason: because("why not") },
                AccessAct::Restore { reason: because("why not") },
                AccessAct::ProposeRestore { reason: because("why not") },
                AccessAct::ProposeRecovery { policy, reason: because("why not") },
            ] {
                assert_eq!(ask_as(&desk, &stranger, own(act), dry_run), Err(ErrorKind::Denied));
            }
        }
    }
    assert_eq!(room.session(&user("contoso"), "contoso").unwrap_err().kind(), ErrorKind::KeyRevoked);
}
