//! kill -9 before and within every call of a purge to the file system: what was acknowledged holds, what was not can be
//! taken back or goes on, and in the end it is proven.

use std::time::Duration;

use strongroom::purge::PurgeStage;
use strongroom::{ErrorKind, Rules};

use super::*;
use crate::children;
use crate::folders;
use crate::kills::{self, OPENED, Victim};

/// What the child does, and at least how many kills each act gets.
pub const ACTS: [(&str, usize); 4] = [("requested", 6), ("approved", 4), ("destroyed", 40), ("purged", 8)];

/// A store whose tenant can be purged as soon as two custodians want it.
fn template() -> tempfile::TempDir {
    let (folder, clock) = (folders::in_memory(), clock());
    let room = with_tenants(on_disk(folder.path(), &clock));
    let anna = custody(&room, ANNA);
    let hasty = anna.propose_rules(Rules::default().cooling_off(Duration::ZERO), "for the test").unwrap();
    anna.apply(hasty).unwrap();
    folder
}

/// The child: a purge from its request to its receipt, each step said when it is acknowledged.
pub fn purge_until_killed() {
    let room = on_disk(&children::folder(), &clock()).open().expect("a store that opens without help");
    let notes = room.session(USER, "contoso").unwrap().collection(&NOTES).unwrap();
    notes.put(&0, &b"contoso 0".to_vec()).expect("a write");
    drop(notes);
    kills::done(OPENED);
    custody(&room, ANNA).request_purge("the contract has ended").expect("a request");
    kills::done("requested");
    custody(&room, BERT).approve_purge("so it has").expect("an approval");
    kills::done("approved");
    // The search begins when nothing is left to be destroyed.
    let mut is_searching = false;
    let searching = |_: &strongroom::purge::SearchReport| {
        if !std::mem::replace(&mut is_searching, true) {
            kills::done("destroyed");
        }
    };
    custody(&room, BERT).execute_purge_with(searching).expect("a purge");
    kills::done("purged");
}

/// Opens what a kill left and holds it to what was acknowledged. Then half of those that can be taken back are, and the
/// others go on to their receipt. Returns how far it had come.
fn check(folder: &Path, said: &[String], takes_back: bool) -> Option<PurgeStage> {
    let has_said = |word: &str| said.iter().any(|said| said == word);
    let room = on_disk(folder, &clock()).open().expect("a store that opens without help");
    neighbour_is_whole(&room);
    let Ok(anna) = room.tenant_custody(ANNA, "contoso") else {
        assert!(has_said("approved"), "nobody had approved it");
        let purged = purged(&room);
        let stage = purged.status().unwrap().stage;
        assert!(stage == PurgeStage::Proven || !has_said("purged"), "{stage:?}");
        assert_eq!(purged.prove(|_| {}).unwrap().stage, PurgeStage::Proven);
        assert!(receipt(&room).proven);
        return Some(stage);
    };
    assert!(!has_said("destroyed"), "it has come back");
    let found = anna.purge_status().unwrap();
    match &found {
        None => {
            assert!(!has_said("requested"));
            assert_eq!(room.session(USER, "contoso").unwrap().collection(&NOTES).unwrap().count().unwrap(), 10);
            return None;
        }
        Some(status) => {
            assert_eq!(room.session(USER, "contoso").unwrap_err().kind(), ErrorKind::KeyRevoked);
            assert!(status.stage == PurgeStage::Approved || !has_said("approved"), "{status:?}");
        }
    }
    if takes_back {
        anna.cancel_purge("after a crash").unwrap();
        assert_eq!(room.session(USER, "contoso").unwrap().collection(&NOTES).unwrap().count().unwrap(), 10);
    } else {
        custody(&room, BERT).approve_purge("so it has").unwrap();
        assert_eq!(anna.execute_purge().unwrap().stage, PurgeStage::Proven);
        assert!(receipt(&room).proven);
    }
    found.map(|status| status.stage)
}

#[test]
fn a_kill_before_or_within_any_call_to_the_file_system_leaves_a_purge_that_goes_on_or_back() {
    let template = template();
    let (mut checked, mut found) = (0, std::collections::BTreeMap::<String, u32>::new());
    Victim { role: "purger", template: template.path(), acts: &ACTS }.kill_at_every_call(|folder, said| {
        let stage = check(folder, said, checked % 2 == 0);
        *found.entry(format!("{stage:?}")).or_default() += 1;
        checked += 1;
    });
    println!("found: {found:?}");
    assert!(found.len() >= 4, "{found:?}");
}

#[test]
fn control_a_purge_that_was_acknowledged_and_is_not_there_is_noticed() {
    let template = template();
    let is_noticed = |said: &[&str]| {
        let said: Vec<String> = said.iter().map(|&word| word.to_owned()).collect();
        std::panic::catch_unwind(|| check(template.path(), &said, true)).is_err()
    };
    assert!(!is_noticed(&[]));
    assert!(is_noticed(&["requested"]));
    assert!(is_noticed(&["requested", "approved", "destroyed"]));
    assert!(is_noticed(&["requested", "approved", "destroyed", "purged"]));
}
