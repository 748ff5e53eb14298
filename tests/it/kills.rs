//! Children that are killed at every one of their calls to the file system: before it and, if it is a write, within it. No
//! point with a name in the code could lie between two such calls and leave anything else behind. What has a name are the
//! acts of the child, and it is counted what each of them was met at.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use tempfile::TempDir;

use crate::children::{self, Playing};
use crate::{access_kills, custody_kills, folders, purge};

/// The first word of every child: its store is open, the cells that it writes to as well, and the acts begin. Who opens a
/// cell, the thread that acts or the store's own, would be left to chance.
pub const OPENED: &str = "opened";
/// How many calls the store's own threads make meanwhile differs from child to child. An act has been met at all of them
/// when so many children in a row have come to its end.
const IN_A_ROW: usize = 3;

/// The acts of a child in their order, each by the word that it says when the act is done, and at least how many kills are
/// to meet it.
pub type Acts = [(&'static str, usize)];

/// A child, and the folder that a copy of is its world.
pub struct Victim<'v> {
    pub role: &'v str,
    pub template: &'v Path,
    pub acts: &'v Acts,
}

/// For the child: tells the parent that an act is done. The calls of the next one are counted from here.
pub fn done(act: &str) {
    children::say(act);
    drop(std::fs::File::open(children::folder().join(format!("ACK-{act}"))));
}

/// What was met while an act was under way.
#[derive(Default)]
struct Met {
    kills: usize,
    /// The calls of the thread that acts, by what they do to which kind of file: there was a kill before each.
    own: BTreeMap<String, usize>,
    /// Those of all threads.
    all: BTreeMap<String, usize>,
}

#[derive(Default)]
pub struct Tally(Vec<(&'static str, Met)>);

/// Which call a child is killed at.
#[derive(Clone, Copy)]
struct At<'a> {
    /// Counted from the end of this act; else from the beginning.
    from: Option<&'a str>,
    number: usize,
    /// Of those that the thread makes that acts.
    is_own: bool,
    /// When half of it is written.
    is_within: bool,
}

/// What a kill has left.
struct Killed {
    folder: TempDir,
    said: Vec<String>,
    /// `None` if the child has come to its end.
    call: Option<String>,
}

impl Victim<'_> {
    /// Kills a child at each of its calls in turn, act by act, and has what is left checked every time.
    pub fn kill_at_every_call(&self, check: impl FnMut(&Path, &[String])) {
        let tally = self.tally(true, check);
        println!("{}: {tally}", self.role);
        tally.check(self.acts);
    }

    fn tally(&self, is_watched: bool, mut check: impl FnMut(&Path, &[String])) -> Tally {
        let acts = self.acts.iter().map(|&(act, _)| (act, act)).collect::<Vec<_>>();
        let acts = [vec![("opening", OPENED)], acts, vec![("closing", "nothing after it")]].concat();
        let (mut tally, mut from) = (Tally::default(), None);
        for (act, last_word) in acts {
            let mut met = Met::default();
            let mut kill = |at: At<'_>| {
                let killed = self.kill(at, is_watched);
                check(killed.folder.path(), &killed.said);
                killed.call.filter(|_| killed.said.iter().all(|word| word != last_word))
            };
            // Before the opening nobody has acknowledged anything; and that is the opening of any store, which `crash` kills
            // at every call.
            let (passes, step) = if from.is_some() { ([true, false].as_slice(), 1) } else { ([false].as_slice(), 5) };
            for &is_own in passes {
                let calls = if is_own { &mut met.own } else { &mut met.all };
                let (mut number, mut ended) = (1, 0);
                while ended < IN_A_ROW {
                    let at = At { from, number, is_own, is_within: false };
                    number += step;
                    let Some(call) = kill(at) else {
                        ended += 1;
                        continue;
                    };
                    ended = 0;
                    let is_write = call.starts_with("write ");
                    met.kills += 1 + usize::from(is_write && kill(At { is_within: true, ..at }).is_some());
                    *calls.entry(call).or_default() += 1;
                }
            }
            tally.0.push((act, met));
            from = Some(last_word);
        }
        tally
    }

    fn kill(&self, at: At<'_>, is_watched: bool) -> Killed {
        let folder = folders::in_memory();
        folders::copy(self.template, folder.path());
        let trace = folder.path().join("trace");
        let mut command = children::command(self.role, folder.path(), 0);
        command.env("SYNCWATCH_FOLDER", folder.path()).env("SYNCWATCH_TRACE", &trace);
        command.env("SYNCWATCH_KILL_AT", at.number.to_string());
        command.envs(at.from.map(|act| ("SYNCWATCH_KILL_FROM", act)));
        if is_watched {
            command.env("LD_PRELOAD", children::syncwatch());
        }
        if at.is_own {
            command.env("SYNCWATCH_KILL_OWN", "1");
        }
        if at.is_within {
            command.env("SYNCWATCH_TEAR", "1");
        }
        let (status, said) = Playing::begin(command).wait();
        if status.success() {
            return Killed { folder, said, call: None };
        }
        assert_eq!(status.signal(), Some(9), "the child failed after {said:?}");
        let trace = std::fs::read_to_string(trace).expect("what the child did");
        let last = trace.lines().rev().find_map(|line| line.strip_prefix("K\t")).expect("what it was killed at");
        let mut parts = last.split('\t');
        let (path, call) = (parts.next().expect("a path"), parts.next().expect("a call"));
        Killed { folder, said, call: Some(format!("{call} {}", kind(Path::new(path)))) }
    }
}

/// The name of a file without its number: `000012.log` and `000013.log` are of one kind.
fn kind(path: &Path) -> String {
    let name: String = folders::name(path).chars().filter(|letter| !letter.is_ascii_digit()).collect();
    name.trim_matches(['.', '-']).to_owned()
}

impl Tally {
    /// # Panics
    /// If an act was met by fewer kills than it should be: then the calls of the child are not seen.
    fn check(&self, acts: &Acts) {
        for (act, at_least) in acts {
            let kills = self.0.iter().find(|(name, _)| name == act).map_or(0, |(_, met)| met.kills);
            assert!(kills >= *at_least, "{act}: {kills} kills, and {at_least} are expected: {self}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |calls: &BTreeMap<String, usize>| calls.values().sum::<usize>();
        let kills: usize = self.0.iter().map(|(_, met)| met.kills).sum();
        let calls: usize = self.0.iter().map(|(_, met)| sum(&met.all)).sum();
        write!(f, "{calls} calls, {kills} kills")?;
        for (act, met) in &self.0 {
            let (own, all) = (sum(&met.own), sum(&met.all));
            write!(f, "\n  {act}: {own} calls of its own {:?}, {all} in all, {} kills", met.own, met.kills)?;
        }
        Ok(())
    }
}

#[test]
fn every_act_of_custody_is_killed_and_all_of_them_more_than_two_hundred_times() {
    let all = [custody_kills::ACTS.as_slice(), &access_kills::ACTS, &purge::kills::ACTS].concat();
    assert!(all.iter().all(|(_, at_least)| *at_least > 0), "an act that nobody is killed in: {all:?}");
    let kills: usize = all.iter().map(|(_, at_least)| at_least).sum();
    println!("{} acts, at least {kills} kills", all.len());
    assert!(kills >= 200, "{kills}");
    for act in ["moved", "generation", "policy", "revoked", "fenced", "recovered", "resealed", "retired", "destroyed"] {
        assert!(all.iter().any(|(name, _)| *name == act), "{act}");
    }
}

#[test]
fn control_a_child_whose_calls_are_not_seen_is_noticed() {
    let template = custody_kills::template();
    let victim = Victim { role: "keyholder", template: template.path(), acts: &custody_kills::ACTS };
    let mut said = Vec::new();
    let tally = victim.tally(false, |_, words| said.extend_from_slice(words));
    assert!(
        custody_kills::ACTS.iter().all(|(act, _)| said.iter().any(|word| word == act)),
        "it did everything: {said:?}"
    );
    assert!(std::panic::catch_unwind(|| tally.check(&custody_kills::ACTS)).is_err());
}
