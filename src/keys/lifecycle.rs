//! The life of a tenant's generations: what may happen next, and when a generation's key can go.
//!
//! One pure function of what happens ([`Lifecycle::after`]). Everything that rotates, reseals and retires asks it, and
//! the model checker runs it through every interleaving of writers, sweeps, scans and crashes.
//!
//! A generation is *writing* until another one takes its place; then *draining*, while writes that had begun go on; then
//! *drained*: records of it may be left, and none is added. A sweep that began after that, saw every row and met none of
//! it makes it *clean*: from then on only a scan that began before the sweep's end, or a backup under way, can still need
//! its key. Since none is added, a sweep needs no snapshot: a row that it has seen under another generation is never again
//! under this one.
//!
//! Nothing of this is on the disk but the generations themselves. After a crash what was clean is to be swept again: a
//! sweep costs less than trust in a note of it, which a restored cell would make a lie.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::Incarnation;

/// A tenant's living generations, and the sweep that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lifecycle {
    stages: BTreeMap<u32, Stage>,
    /// What the sweep under way proves if it comes to its end.
    sweep: Option<BTreeSet<u32>>,
}

/// How far a generation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Everything that is written now is sealed under it.
    Writing,
    /// Nothing begins to be written under it; what had begun may still be.
    Draining,
    /// No write under it is under way, and none will be. Records of it may be left.
    Drained,
    /// No record of it is left. Scans of eras before this one may still see some.
    Clean { era: u64 },
}

/// What happens to a tenant's generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A generation is durable, and every write that begins from now on is under it.
    Added(u32),
    /// Every write that had begun before `Added` of this generation has ended.
    Drained(u32),
    /// A sweep begins, at the first row, or where one before it was cut short.
    SweepBegan { at_first_row: bool },
    /// The sweep has met a record of this generation.
    Found(u32),
    /// The sweep has seen the last row, and everything that it saw is durable. Scans that begin from now on are of `era`.
    SweepEnded { era: u64 },
    /// The key of this generation is in no slot any more.
    Retired(u32),
}

/// What did not happen, because it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Who can still need keys that no record names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Holders {
    /// How many scans are open, by the era in which they began.
    pub(crate) scans: BTreeMap<u64, usize>,
    pub(crate) backups: usize,
}

/// What keeps a generation's key from being destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hindrance {
    /// No such generation lives.
    Unknown,
    Writing,
    Draining,
    /// Records may be left: no whole sweep has ended without meeting one.
    Unproven,
    /// Scans that may still see records of it.
    Scans(usize),
    Backups(usize),
}

/// The proof that nothing needs a generation's key any more. Its one constructor is [`Lifecycle::can_destroy`]; it holds
/// for one tenant and one state of its ring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    incarnation: Incarnation,
    generation: u32,
    sequence: u64,
}

impl Lifecycle {
    /// As it is when a tenant's ring has been opened. Who is writing is not known yet.
    pub(crate) fn of(living: impl IntoIterator<Item = u32>) -> Self {
        let mut stages: BTreeMap<u32, Stage> = living.into_iter().map(|number| (number, Stage::Draining)).collect();
        if let Some(mut newest) = stages.last_entry() {
            newest.insert(Stage::Writing);
        }
        Self { stages, sweep: None }
    }

    /// As it is when a later ring than was known has been opened: what its writer did not live to tell.
    pub(crate) fn met(&self, living: &[u32]) -> Self {
        let mut met = self.clone();
        met.stages.retain(|number, _| living.contains(number));
        living.iter().fold(met, |met, &number| met.after(Event::Added(number)).unwrap_or(met))
    }

    /// What is after `event`.
    ///
    /// # Errors
    /// `Refused` if it cannot happen now.
    pub(crate) fn after(&self, event: Event) -> Result<Self, Refused> {
        let mut next = self.clone();
        match event {
            Event::Added(generation) => {
                if self.newest().is_some_and(|newest| newest >= generation) {
                    return Err(Refused);
                }
                next.restage(|_, stage| if stage == Stage::Writing { Stage::Draining } else { stage });
                next.stages.insert(generation, Stage::Writing);
            }
            Event::Drained(since) => next.restage(|number, stage| match stage {
                Stage::Draining if number < since => Stage::Drained,
                _ => stage,
            }),
            Event::SweepBegan { at_first_row } => {
                let settled = |(_, stage): &(&u32, &Stage)| matches!(stage, Stage::Drained | Stage::Clean { .. });
                let proves = self.stages.iter().filter(settled).map(|(&number, _)| number);
                next.sweep = Some(if at_first_row { proves.collect() } else { BTreeSet::new() });
            }
            Event::Found(generation) => {
                next.sweep.as_mut().ok_or(Refused)?.remove(&generation);
                // A cell that was put back, or a defect: whatever was proven, it is here.
                next.restage(|number, stage| match stage {
                    Stage::Clean { .. } if number == generation => Stage::Drained,
                    _ => stage,
                });
            }
            Event::SweepEnded { era } => {
                let proves = next.sweep.take().ok_or(Refused)?;
                next.restage(|number, stage| match stage {
                    Stage::Drained if proves.contains(&number) => Stage::Clean { era },
                    _ => stage,
                });
            }
            Event::Retired(generation) => match next.stages.remove(&generation) {
                Some(Stage::Clean { .. }) => {}
                _ => return Err(Refused),
            },
        }
        Ok(next)
    }

    /// The proof that a generation's key can be destroyed, or everything that is in the way of it.
    pub(crate) fn can_destroy(
        &self,
        generation: u32,
        holders: &Holders,
        (incarnation, sequence): (Incarnation, u64),
    ) -> Result<Proof, Vec<Hindrance>> {
        let clean_since = match self.stages.get(&generation) {
            None => return Err(vec![Hindrance::Unknown]),
            Some(Stage::Writing) => return Err(vec![Hindrance::Writing]),
            Some(Stage::Draining) => return Err(vec![Hindrance::Draining]),
            Some(Stage::Drained) => None,
            Some(Stage::Clean { era }) => Some(*era),
        };
        let mut hindrances = Vec::new();
        if clean_since.is_none() {
            hindrances.push(Hindrance::Unproven);
        }
        // Until there is a proof, every scan that is open could see such a record.
        let scans: usize = holders.scans.range(..clean_since.unwrap_or(u64::MAX)).map(|(_, count)| count).sum();
        if scans > 0 {
            hindrances.push(Hindrance::Scans(scans));
        }
        if holders.backups > 0 {
            hindrances.push(Hindrance::Backups(holders.backups));
        }
        match hindrances.is_empty() {
            true => Ok(Proof { incarnation, generation, sequence }),
            false => Err(hindrances),
        }
    }

    pub(crate) fn newest(&self) -> Option<u32> {
        self.stages.last_key_value().map(|(&number, _)| number)
    }

    pub(crate) fn stage(&self, generation: u32) -> Option<Stage> {
        self.stages.get(&generation).copied()
    }

    /// Whether every generation but the newest is clean.
    pub(crate) fn is_clean(&self) -> bool {
        self.stages.values().all(|stage| matches!(stage, Stage::Writing | Stage::Clean { .. }))
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.stages.values().any(|stage| *stage == Stage::Draining)
    }

    fn restage(&mut self, stage: impl Fn(u32, Stage) -> Stage) {
        self.stages.iter_mut().for_each(|(&number, known)| *known = stage(number, *known));
    }
}

impl Proof {
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether it is of this tenant and this state of its ring.
    pub(crate) fn is_of(&self, incarnation: Incarnation, sequence: u64) -> bool {
        (self.incarnation, self.sequence) == (incarnation, sequence)
    }
}

#[cfg(test)]
mod tests;
