//! kill -9 before and within every call of a purge to the file system: what was acknowledged holds, what was not can be
//! taken back or goes on, and in the end it is proven.

use std::time::Duration;

use strongroom::purge::PurgeStage;
use strongroom::{ErrorKind, Rules};

use super::*;
use crate::children::{self, Playing};
use crate::folders;

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
    custody(&room, ANNA).request_purge("the contract has ended").expect("a request");
    children::say("requested");
    custody(&room, BERT).approve_purge("so it has").expect("an approval");
    children::say("approved");
    custody(&room, BERT).execute_purge().expect("a purge");
    children::say("purged");
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
    assert!(!has_said("purged"));
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

/// Every how many calls a child is killed.
fn stride() -> usize {
    std::env::var("STRONGROOM_KILL_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(9)
}

#[test]
fn a_kill_before_or_within_any_call_to_the_file_system_leaves_a_purge_that_goes_on_or_back() {
    let template = template();
    let (mut kills, mut found) = (0, std::collections::BTreeMap::<String, u32>::new());
    for (tear, first) in [(false, 1), (true, 5)] {
        for call in (first..).step_by(stride()) {
            let folder = folders::in_memory();
            folders::copy(template.path(), folder.path());
            let mut command = children::command("purger", folder.path(), 0);
            command.env("LD_PRELOAD", children::syncwatch()).env("SYNCWATCH_FOLDER", folder.path());
            command.env("SYNCWATCH_KILL_AT", call.to_string());
            if tear {
                command.env("SYNCWATCH_TEAR", "1");
            }
            let (status, said) = Playing::begin(command).wait();
            let stage = check(folder.path(), &said, kills % 2 == 0);
            *found.entry(format!("{stage:?}")).or_default() += 1;
            if status.success() {
                break;
            }
            kills += 1;
        }
    }
    println!("kills: {kills}; found: {found:?}");
    assert!(kills > 10 && found.len() >= 4, "{kills} kills: {found:?}");
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
    assert!(is_noticed(&["requested", "approved", "purged"]));
}
