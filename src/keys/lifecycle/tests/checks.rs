//! The model, checked: what must hold holds in every state, and every planted defect is found.

use stateright::{Checker, HasDiscoveries, Model};

use super::model::{Defect, Protocol, ROWS};

/// What must always hold and does not.
fn violated(checker: &impl Checker<Protocol>) -> Option<&'static str> {
    let always = |name: &&'static str| {
        name.starts_with("every row") || name.starts_with("every record") || name.starts_with("no ")
    };
    checker.discoveries().into_keys().find(always)
}

fn say(checker: &impl Checker<Protocol>) {
    println!("unique states: {}, depth: {}", checker.unique_state_count(), checker.max_depth());
}

/// States to be looked at of two tenants at least; all of them are too many for every run.
fn states_wanted() -> usize {
    let wanted = std::env::var("STRONGROOM_MODEL_STATES").ok();
    wanted.map_or(1_100_000, |wanted| wanted.parse().expect("a number of states"))
}

#[test]
fn no_interleaving_of_two_tenants_destroys_a_key_that_is_needed() {
    let protocol = Protocol { generations: &[3, 3], rows: 1, writes: 2, scans: 1, crashes: 1, defect: None };
    // Generated states, of which most are generated more than once.
    let checker = protocol.checker().threads(2).target_state_count(states_wanted() * 5).spawn_bfs().join();
    say(&checker);
    assert_eq!(violated(&checker), None);
    assert!(checker.unique_state_count() >= 1_000_000, "{}", checker.unique_state_count());
}

#[test]
fn interleavings_of_one_tenant_come_to_every_end_and_lose_nothing() {
    let protocol = Protocol { generations: &[2], rows: ROWS, writes: 1, scans: 1, crashes: 1, defect: None };
    let checker = protocol.checker().threads(2).target_state_count(states_wanted() * 5).spawn_bfs().join();
    say(&checker);
    assert_eq!(violated(&checker), None);
    checker.assert_properties();
}

#[test]
fn control_every_step_that_is_left_out_is_found() {
    let defects = [
        Defect::NoDrain,
        Defect::SweepBeforeDrain,
        Defect::ResumedSweepProves,
        Defect::ScansForgotten,
        Defect::EraOfTheBeginning,
        Defect::NoSync,
        Defect::BlindReseal,
        Defect::RingBeforeGate,
    ];
    for defect in defects {
        let protocol =
            Protocol { generations: &[3], rows: ROWS, writes: 2, scans: 1, crashes: 1, defect: Some(defect) };
        let checker = protocol.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let found = violated(&checker).unwrap_or_else(|| panic!("{defect:?} is not found"));
        println!("{defect:?}: not so: {found} (within {} states)", checker.unique_state_count());
    }
    println!("planted defects found: {}", defects.len());
}
