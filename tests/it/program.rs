//! Random programs over three collections of one tenant, run on a session and on a `BTreeMap` at once.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use strongroom::{Durability, ErrorKind, Expected, Result, Session, Version};

use crate::shelves::{SHELVES, Shelf};

/// splitmix64: small, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// A tenant's principal who runs a program, and the model of what it must find.
pub struct Actor {
    session: Option<Session>,
    seed: u64,
    rng: Rng,
    model: [ModelShelf; SHELVES.len()],
    versions: Versions,
    writes: u64,
    steps: u64,
}

#[derive(Clone, Default)]
struct ModelShelf {
    exists: bool,
    rows: BTreeMap<usize, Record>,
}

#[derive(Clone, Copy)]
struct Record {
    number: u64,
    write: u64,
}

/// Which version stands for which write. That of a write in a batch is learned when the record is first read.
#[derive(Default)]
struct Versions {
    of_write: HashMap<u64, Version>,
    write_of: HashMap<Version, u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Write(Change),
    Batch(Vec<Change>, Durability),
    Get(usize, usize),
    Entry(usize, usize),
    Contains(usize, usize),
    GetMany(usize, Vec<usize>),
    Iter(usize),
    Prefix(usize, usize),
    Range(usize, (Bound<usize>, Bound<usize>)),
    Count(usize),
    Drop(usize),
    Collections,
}

#[derive(Clone, Debug)]
struct Change {
    shelf: usize,
    key: usize,
    /// `None` deletes.
    number: Option<u64>,
    /// `Some(None)` expects no record, `Some(Some(write))` that of a write.
    expected: Option<Option<u64>>,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Done,
    Wrote(u64),
    Found(Option<u64>),
    FoundEntry(Option<(u64, u64)>),
    Is(bool),
    FoundMany(Vec<Option<u64>>),
    Rows(Vec<(usize, u64)>),
    Count(u64),
    Names(Vec<String>),
    Fails(ErrorKind),
}

impl Actor {
    pub fn new(session: Session, seed: u64) -> Self {
        let (model, versions) = (Default::default(), Versions::default());
        Self { session: Some(session), seed, rng: Rng::new(seed), model, versions, writes: 0, steps: 0 }
    }

    /// Lets go of the session, so that the store can be closed.
    pub fn leave(&mut self) {
        self.session = None;
    }

    pub fn enter(&mut self, session: Session) {
        self.session = Some(session);
    }

    /// How many operations were compared with the model.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One operation, its outcome compared with the model's. Returns both as text.
    pub fn step(&mut self) -> String {
        let op = self.generate();
        self.check(&op)
    }

    /// Compares all that is there.
    pub fn check_everything(&mut self) {
        for shelf in 0..SHELVES.len() {
            self.check(&Op::Iter(shelf));
            self.check(&Op::Count(shelf));
            (0..SHELVES[shelf].keys()).for_each(|key| drop(self.check(&Op::Entry(shelf, key))));
        }
        self.check(&Op::Collections);
    }

    fn check(&mut self, op: &Op) -> String {
        let expected = self.run_on_model(op);
        let found = self.run_on_session(op, &expected).unwrap_or_else(|error| Outcome::Fails(error.kind()));
        assert_eq!(found, expected, "seed {}, step {}: {op:?}", self.seed, self.steps);
        self.steps += 1;
        format!("{op:?} -> {found:?}")
    }

    fn generate(&mut self) -> Op {
        let shelf = self.rng.below(SHELVES.len());
        let key = self.rng.below(SHELVES[shelf].keys());
        match self.rng.below(100) {
            0..40 => Op::Write(self.change(shelf, key)),
            40..50 => {
                let durability = [Durability::Synced, Durability::Buffered][self.rng.below(2)];
                let count = self.rng.below(6);
                let mut changes = Vec::new();
                for _ in 0..count {
                    let shelf = self.rng.below(SHELVES.len());
                    let key = self.rng.below(SHELVES[shelf].keys());
                    changes.push(self.change(shelf, key));
                }
                Op::Batch(changes, durability)
            }
            50..58 => Op::Get(shelf, key),
            58..68 => Op::Entry(shelf, key),
            68..72 => Op::Contains(shelf, key),
            72..78 => {
                let count = self.rng.below(8);
                Op::GetMany(shelf, (0..count).map(|_| self.rng.below(SHELVES[shelf].keys())).collect())
            }
            78..82 => Op::Iter(shelf),
            82..88 => Op::Prefix(shelf, self.rng.below(SHELVES[shelf].prefixes())),
            88..93 => Op::Range(shelf, (self.bound(shelf), self.bound(shelf))),
            93..96 => Op::Count(shelf),
            96..98 => Op::Drop(shelf),
            _ => Op::Collections,
        }
    }

    fn bound(&mut self, shelf: usize) -> Bound<usize> {
        let key = self.rng.below(SHELVES[shelf].keys());
        [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded][self.rng.below(3)]
    }

    fn change(&mut self, shelf: usize, key: usize) -> Change {
        let number = (self.rng.below(10) < 7).then(|| self.rng.next() >> 32);
        let current = self.model[shelf].rows.get(&key).map(|record| record.write);
        let stale = self.writes.checked_sub(1).map(|last| self.rng.next() % (last + 1));
        let known = |write: &u64| self.versions.of_write.contains_key(write);
        let expected = match self.rng.below(10) {
            0..5 => None,
            5..7 => Some(None),
            7..9 => Some(current.filter(known)),
            _ => Some(stale.filter(known)),
        };
        Change { shelf, key, number, expected }
    }

    fn run_on_model(&mut self, op: &Op) -> Outcome {
        if let Some(shelf) = op.opened() {
            self.model[shelf].exists = true;
        }
        match op {
            Op::Write(change) => match self.apply(std::slice::from_ref(change)) {
                Outcome::Done if change.number.is_some() => Outcome::Wrote(self.writes - 1),
                outcome => outcome,
            },
            Op::Batch(changes, _) => self.apply(changes),
            Op::Drop(shelf) if !self.model[*shelf].exists => Outcome::Fails(ErrorKind::NotFound),
            Op::Drop(shelf) => {
                self.model[*shelf] = ModelShelf::default();
                Outcome::Done
            }
            Op::Collections => {
                let shelves = SHELVES.iter().zip(&self.model).filter(|(_, model)| model.exists);
                Outcome::Names(shelves.map(|(shelf, _)| shelf.name().to_owned()).collect())
            }
            Op::Range(shelf, _) if !SHELVES[*shelf].is_ordered() => Outcome::Fails(ErrorKind::Invalid),
            reading => self.read(reading),
        }
    }

    fn apply(&mut self, changes: &[Change]) -> Outcome {
        for change in changes {
            self.model[change.shelf].exists = true;
        }
        let holds = |change: &Change| {
            let found = self.model[change.shelf].rows.get(&change.key).map(|record| record.write);
            change.expected.is_none_or(|expected| expected == found)
        };
        if !changes.iter().all(holds) {
            return Outcome::Fails(ErrorKind::Conflict);
        }
        for &Change { shelf, key, number, .. } in changes {
            let rows = &mut self.model[shelf].rows;
            match number {
                Some(number) => {
                    rows.insert(key, Record { number, write: self.writes });
                    self.writes += 1;
                }
                None => drop(rows.remove(&key)),
            }
        }
        Outcome::Done
    }

    fn read(&self, op: &Op) -> Outcome {
        let rows = |shelf: &usize| &self.model[*shelf].rows;
        let number = |shelf: &usize, key: &usize| rows(shelf).get(key).map(|record| record.number);
        let rows_where = |shelf: &usize, holds: &dyn Fn(usize) -> bool| {
            let found = rows(shelf).iter().filter(|(key, _)| holds(**key));
            Outcome::Rows(found.map(|(key, record)| (*key, record.number)).collect())
        };
        match op {
            Op::Get(shelf, key) => Outcome::Found(number(shelf, key)),
            Op::Entry(shelf, key) => {
                Outcome::FoundEntry(rows(shelf).get(key).map(|record| (record.number, record.write)))
            }
            Op::Contains(shelf, key) => Outcome::Is(rows(shelf).contains_key(key)),
            Op::GetMany(shelf, keys) => Outcome::FoundMany(keys.iter().map(|key| number(shelf, key)).collect()),
            Op::Iter(shelf) => rows_where(shelf, &|_| true),
            Op::Prefix(shelf, prefix) => rows_where(shelf, &|key| SHELVES[*shelf].has_prefix(*prefix, key)),
            Op::Range(shelf, range) => rows_where(shelf, &|key| contains(range, key)),
            Op::Count(shelf) => Outcome::Count(rows(shelf).len() as u64),
            _ => panic!("{op:?} reads nothing"),
        }
    }

    fn run_on_session(&mut self, op: &Op, expected: &Outcome) -> Result<Outcome> {
        let session = self.session.clone().unwrap();
        let shelf = |index: &usize| -> &dyn Shelf { SHELVES[*index] };
        Ok(match op {
            Op::Write(change) => {
                let written = shelf(&change.shelf).write(
                    &session,
                    change.key,
                    change.number,
                    self.versions.expected(change.expected),
                )?;
                written.map_or(Outcome::Done, |version| Outcome::Wrote(self.versions.meet(version, expected.write())))
            }
            Op::Batch(changes, durability) => {
                let mut batch = session.batch().durability(*durability);
                for change in changes {
                    let expected = self.versions.expected(change.expected);
                    batch = shelf(&change.shelf).add(batch, change.key, change.number, expected)?;
                }
                batch.commit().map(|_| Outcome::Done)?
            }
            Op::Get(index, key) => Outcome::Found(shelf(index).get(&session, *key)?),
            Op::Entry(index, key) => {
                let entry = shelf(index).entry(&session, *key)?;
                let meet = |(number, version)| (number, self.versions.meet(version, expected.write()));
                Outcome::FoundEntry(entry.map(meet))
            }
            Op::Contains(index, key) => Outcome::Is(shelf(index).contains(&session, *key)?),
            Op::GetMany(index, keys) => Outcome::FoundMany(shelf(index).get_many(&session, keys)?),
            Op::Iter(index) => Outcome::Rows(shelf(index).iter(&session)?),
            Op::Prefix(index, prefix) => Outcome::Rows(shelf(index).prefix(&session, *prefix)?),
            Op::Range(index, range) => Outcome::Rows(shelf(index).range(&session, *range)?),
            Op::Count(index) => Outcome::Count(shelf(index).count(&session)?),
            Op::Drop(index) => session.drop_collection(shelf(index).name()).map(|()| Outcome::Done)?,
            Op::Collections => Outcome::Names(session.collections()?.into_iter().map(|summary| summary.name).collect()),
        })
    }
}

impl Op {
    /// The collection that the operation opens, and so makes.
    fn opened(&self) -> Option<usize> {
        match self {
            Self::Write(Change { shelf, .. })
            | Self::Get(shelf, _)
            | Self::Entry(shelf, _)
            | Self::Contains(shelf, _)
            | Self::GetMany(shelf, _)
            | Self::Iter(shelf)
            | Self::Prefix(shelf, _)
            | Self::Range(shelf, _)
            | Self::Count(shelf) => Some(*shelf),
            Self::Batch(..) | Self::Drop(_) | Self::Collections => None,
        }
    }
}

impl Outcome {
    fn write(&self) -> Option<u64> {
        match self {
            Self::Wrote(write) | Self::FoundEntry(Some((_, write))) => Some(*write),
            _ => None,
        }
    }
}

impl Versions {
    /// The write that a version stands for. A version not met before is believed to stand for `write`, unless that
    /// has another.
    fn meet(&mut self, version: Version, write: Option<u64>) -> u64 {
        if let Some(known) = self.write_of.get(&version) {
            return *known;
        }
        match write {
            Some(write) if !self.of_write.contains_key(&write) => {
                self.of_write.insert(write, version);
                self.write_of.insert(version, write);
                write
            }
            _ => u64::MAX,
        }
    }

    fn expected(&self, expected: Option<Option<u64>>) -> Option<Expected> {
        expected.map(|write| write.map_or(Expected::Absent, |write| Expected::Version(self.of_write[&write])))
    }
}

/// Whether a key lies in a range, which may be one that ends before it begins.
fn contains((from, to): &(Bound<usize>, Bound<usize>), key: usize) -> bool {
    let after = match from {
        Bound::Included(from) => key >= *from,
        Bound::Excluded(from) => key > *from,
        Bound::Unbounded => true,
    };
    let before = match to {
        Bound::Included(to) => key <= *to,
        Bound::Excluded(to) => key < *to,
        Bound::Unbounded => true,
    };
    after && before
}
