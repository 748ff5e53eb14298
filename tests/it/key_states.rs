//! The table of key states: what is in memory x what is on the disk x what each root key answers x the policy. Every
//! combination has one outcome and one number of calls, and a second, plain telling of both is what the store is held to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use strongroom::{Collection, CollectionDef, ErrorKind, Fence, ManualClock, Policy, RootError, Strongroom, TenantSpec};

use crate::dated::{self, Dated};
use crate::keepers::Keepers;
use crate::support::ISSUER;

const NOTES: CollectionDef<u64, u64> = CollectionDef::bincode("notes");
const REFRESH: Duration = Duration::from_secs(20);
const HARD_EXPIRY: Duration = Duration::from_secs(60);
const RECOVERY_LIMIT: Duration = Duration::from_secs(120);

/// How a root key can answer.
const ANSWERS: [Option<RootError>; 7] = [
    None,
    Some(RootError::Unreachable),
    Some(RootError::Throttled),
    Some(RootError::Denied),
    Some(RootError::Disabled),
    Some(RootError::Destroyed),
    Some(RootError::Tampered),
];

/// What is in memory when somebody reads.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Memory {
    /// Nothing: nobody has signed in since the store was opened.
    Cold,
    /// Keys whose root keys were asked just now.
    Fresh,
    /// Keys whose root keys are to be asked again.
    Due,
    /// Keys past their hard expiry.
    Expired,
}

/// What is on the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slots {
    Whole,
    OneDamaged,
    BothDamaged,
}

const MEMORIES: [Memory; 4] = [Memory::Cold, Memory::Fresh, Memory::Due, Memory::Expired];

/// Alternatives of one-letter roots, and whether there is a recovery root `r`.
const POLICIES: [(&[&str], bool); 6] = [
    (&["a"], false),
    (&["a", "b"], false),
    (&["ab"], false),
    (&["a"], true),
    (&["a", "b"], true),
    (&["ab", "b"], false),
];

type Answers = BTreeMap<char, Option<RootError>>;

/// What is to come of it: the error, if any, and how often each root key is asked.
#[derive(Debug, PartialEq)]
struct Outcome {
    error: Option<ErrorKind>,
    unwraps: BTreeMap<String, u32>,
}

/// The plain telling.
fn expected(memory: Memory, slots: Slots, (alternatives, has_recovery): (&[&str], bool), answers: &Answers) -> Outcome {
    let mut unwraps = BTreeMap::new();
    if memory == Memory::Fresh {
        return Outcome { error: None, unwraps };
    }
    if slots == Slots::BothDamaged {
        return Outcome { error: Some(ErrorKind::Corrupt), unwraps };
    }
    let (mut worst, mut throttled) = (0, None);
    for alternative in alternatives {
        let given: Vec<Option<RootError>> = alternative.chars().map(|root| answers[&root]).collect();
        unwraps.extend(alternative.chars().map(|root| (root.to_string(), 1)));
        if given.iter().all(Option::is_none) {
            return Outcome { error: None, unwraps };
        }
        let grade = |error: &RootError| match error {
            RootError::Unreachable | RootError::Throttled => 1,
            RootError::Tampered => 2,
            _ => 3,
        };
        let of_alternative = given.iter().flatten().map(grade).max().unwrap();
        worst = worst.max(of_alternative);
        if of_alternative == 1 {
            throttled = given.into_iter().flatten().next();
        }
    }
    let error = match (worst, memory) {
        (3, _) => Some(ErrorKind::KeyRevoked),
        (2, _) => Some(ErrorKind::Tampered),
        (_, Memory::Due) => None,
        _ if has_recovery => {
            unwraps.insert("r".to_owned(), 1);
            None
        }
        _ if throttled == Some(RootError::Throttled) => Some(ErrorKind::Throttled),
        _ => Some(ErrorKind::Unavailable),
    };
    Outcome { error, unwraps }
}

struct World {
    room: Strongroom,
    keepers: Keepers,
    clock: Arc<ManualClock>,
    cells: Option<PathBuf>,
    made: u32,
}

impl World {
    fn open(folder: &Path, on_disk: bool) -> Self {
        let (clock, keepers) = (dated::clock(), Keepers::open(&folder.join("keys"), &["service", "a", "b", "r"]));
        let builder = match on_disk {
            true => Strongroom::builder(folder.join("store"), keepers.clone(), Dated).boxes_per_cell(1),
            false => Strongroom::in_memory(keepers.clone(), Dated).boxes_per_cell(256),
        };
        let room = builder.service_speaker(ISSUER, "service").clock(clock.clone()).open().unwrap();
        let cells = on_disk.then(|| folder.join("store/cells"));
        Self { room, keepers, clock, cells, made: 0 }
    }

    /// A tenant with one note, whose keys are in no memory.
    fn make(&mut self, (alternatives, has_recovery): (&[&str], bool)) -> String {
        self.made += 1;
        let name = format!("t{}", self.made);
        let alternatives = alternatives.iter().map(|roots| roots.chars().map(String::from).collect::<Vec<_>>());
        let policy = Policy::any_of(alternatives).unwrap().expiries(REFRESH, HARD_EXPIRY).unwrap();
        let policy = if has_recovery { policy.recovery_root("r", RECOVERY_LIMIT).unwrap() } else { policy };
        let custody = self.room.custody(&credential("service", "custodian")).unwrap();
        custody.create_tenant(TenantSpec::new(&name, ISSUER, &name).policy(policy)).unwrap();
        self.notes(&name).unwrap().put(&1, &7).unwrap();
        custody.suspend_tenant(&name).unwrap();
        custody.resume_tenant(&name).unwrap();
        name
    }

    fn notes(&self, tenant: &str) -> strongroom::Result<Collection<u64, u64>> {
        self.room.session(&credential(tenant, "read,write"), tenant)?.collection(&NOTES)
    }

    fn damage(&self, slots: Slots) {
        let Some(cells) = &self.cells else { return };
        let rings = cells.join(format!("{:04}/rings", self.made - 1));
        let mut bytes = fs::read(&rings).unwrap();
        let places: &[usize] = match slots {
            Slots::Whole => &[],
            Slots::OneDamaged => &[1],
            Slots::BothDamaged => &[1, 2],
        };
        places.iter().for_each(|place| bytes[place * 8192 + 100] ^= 1);
        fs::write(&rings, bytes).unwrap();
    }

    fn tell(&self, answers: &Answers) {
        answers.iter().for_each(|(root, answer)| self.keepers.tell(&root.to_string(), *answer));
    }

    fn fence(&self, tenant: &str) -> Option<Fence> {
        let custody = self.room.custody(&credential("service", "custodian")).unwrap();
        custody.tenant(tenant).unwrap().fence
    }

    /// Plays one combination, and holds the store to what was expected.
    fn play(&mut self, memory: Memory, slots: Slots, policy: (&[&str], bool), answers: &Answers) {
        let what = format!("{memory:?}, {slots:?}, {policy:?}, {answers:?}");
        let tenant = self.make(policy);
        let held = (memory != Memory::Cold).then(|| self.notes(&tenant).unwrap());
        held.iter().for_each(|notes| assert_eq!(notes.get(&1).unwrap(), Some(7)));
        self.damage(slots);
        match memory {
            Memory::Cold | Memory::Fresh => {}
            Memory::Due => self.clock.advance(REFRESH),
            Memory::Expired => self.clock.advance(HARD_EXPIRY),
        }
        // The store's own root key is asked for itself, when it is time.
        drop(self.room.custody(&credential("service", "custodian")).unwrap().tenants());
        self.keepers.take_asked();
        self.tell(answers);
        let read = match &held {
            Some(notes) => notes.get(&1),
            None => self.notes(&tenant).and_then(|notes| notes.get(&1)),
        };
        let mut unwraps = self.keepers.take_unwraps();
        unwraps.remove("service");
        if let Ok(note) = &read {
            assert_eq!(*note, Some(7), "{what}");
        }
        let outcome = Outcome { error: read.err().map(|error| error.kind()), unwraps };
        assert_eq!(outcome, expected(memory, slots, policy, answers), "{what}");
        let is_refused = outcome.error == Some(ErrorKind::KeyRevoked);
        assert_eq!(self.fence(&tenant), is_refused.then_some(Fence::Observed), "{what}");
        self.come_back(&tenant, held.as_ref(), is_refused, slots == Slots::BothDamaged, &what);
    }

    /// Whatever was answered, it is over when the root keys allow again, and for nobody else did it ever begin.
    fn come_back(
        &self,
        tenant: &str,
        held: Option<&Collection<u64, u64>>,
        was_refused: bool,
        is_lost: bool,
        what: &str,
    ) {
        self.tell(&BTreeMap::from([('a', None), ('b', None)]));
        self.clock.advance(REFRESH);
        if is_lost {
            let lost = self.notes(tenant).and_then(|notes| notes.get(&1));
            assert_eq!(lost.unwrap_err().kind(), ErrorKind::Corrupt, "{what}");
            return;
        }
        assert_eq!(self.notes(tenant).unwrap().get(&1).unwrap(), Some(7), "{what}");
        assert_eq!(self.fence(tenant), None, "{what}");
        if let Some(held) = held {
            let expected = was_refused.then_some(ErrorKind::Closed);
            assert_eq!(held.get(&1).err().map(|error| error.kind()), expected, "{what}");
        }
    }
}

fn credential(tenant: &str, roles: &str) -> String {
    let expires_secs = dated::START_SECS + 1_000_000_000;
    format!("{ISSUER}|{tenant}|{roles}|{expires_secs}")
}

/// Every way in which the roots of a policy can answer.
fn all_answers(roots: &[char], answers: &[Option<RootError>]) -> Vec<Answers> {
    roots.iter().fold(vec![Answers::new()], |told, root| {
        let with = |told: &Answers, answer| {
            let mut told = told.clone();
            told.insert(*root, answer);
            told
        };
        told.iter().flat_map(|told| answers.iter().map(move |answer| with(told, *answer))).collect()
    })
}

fn roots_of(alternatives: &[&str]) -> Vec<char> {
    let mut roots: Vec<char> = alternatives.iter().flat_map(|alternative| alternative.chars()).collect();
    roots.sort_unstable();
    roots.dedup();
    roots
}

#[test]
fn every_answer_of_every_policy_has_its_outcome_and_its_calls() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), false);
    let mut played = 0;
    for policy in POLICIES {
        for answers in all_answers(&roots_of(policy.0), &ANSWERS) {
            for memory in MEMORIES {
                world.play(memory, Slots::Whole, policy, &answers);
                played += 1;
            }
        }
    }
    assert_eq!(played, 4 * (7 + 49 + 49 + 7 + 49 + 49));
}

#[test]
fn damaged_slots_change_nothing_but_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path(), true);
    let answers = [None, Some(RootError::Unreachable), Some(RootError::Denied)];
    let mut played = 0;
    for policy in [POLICIES[0], POLICIES[1], POLICIES[3]] {
        for answers in all_answers(&roots_of(policy.0), &answers) {
            for memory in MEMORIES {
                for slots in [Slots::OneDamaged, Slots::BothDamaged] {
                    world.play(memory, slots, policy, &answers);
                    played += 1;
                }
            }
        }
    }
    assert_eq!(played, 2 * 4 * (3 + 9 + 3));
}

#[test]
fn control_the_telling_tells_outcomes_apart() {
    let told = |answers: [Option<RootError>; 2], memory| {
        let answers = Answers::from([('a', answers[0]), ('b', answers[1])]);
        expected(memory, Slots::Whole, (&["a", "b"], false), &answers).error
    };
    let (denied, away) = (Some(RootError::Denied), Some(RootError::Unreachable));
    assert_eq!(told([denied, None], Memory::Cold), None);
    assert_eq!(told([denied, away], Memory::Cold), Some(ErrorKind::KeyRevoked));
    assert_eq!(told([away, away], Memory::Cold), Some(ErrorKind::Unavailable));
    assert_eq!(told([away, away], Memory::Due), None);
}
