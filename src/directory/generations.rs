//! A tenant's generations in this process: how far each has come, and which scans may still see what no sweep finds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Tenant;
use super::upkeep::{Found, Sweep};
use crate::engine::{Keyspace, Page, View};
use crate::error::{Error, Result};
use crate::keys::Ring;
use crate::keys::lifecycle::{Event, Hindrance, Holders, Lifecycle, Proof};

/// What is known of a tenant's generations.
#[derive(Default)]
pub(super) struct Generations {
    /// With the sequence of the ring that it was last told of; `None` until somebody asks.
    lifecycle: Mutex<Option<(u64, Lifecycle)>>,
    eras: Mutex<Eras>,
    /// The sweep under way: who holds this takes its next step.
    sweep: Mutex<Option<Sweep>>,
    /// What the last sweep that came to its end had met.
    last_found: Mutex<BTreeMap<u32, Found>>,
    /// How many custodians have its records moved at their own pace.
    attended: AtomicUsize,
}

/// Spans of time that scans begin in, so that those of before some moment can be told from those of after it.
#[derive(Default)]
struct Eras {
    current: Arc<Era>,
    past: Vec<Weak<Era>>,
}

/// Held by every scan that began in it.
#[derive(Default)]
struct Era(u64);

/// A snapshot, and when it was taken.
struct DatedView {
    view: Box<dyn View>,
    _era: Arc<Era>,
}

/// Counts what goes on while it lives.
pub(crate) struct Tally<'t>(&'t AtomicUsize);

impl Tenant {
    /// A snapshot of this tenant's records, which hinders the destruction of keys that its rows need.
    pub(crate) fn view(&self) -> Result<Box<dyn View>> {
        // The era first: a snapshot counts as older than it is, never as younger.
        let era = self.generations().eras().current.clone();
        Ok(Box::new(DatedView { view: self.undated_view()?, _era: era }))
    }

    /// How far the generations of `ring` have come.
    pub(crate) fn lifecycle(&self, ring: &Ring) -> Lifecycle {
        self.generations().meet(ring).1.clone()
    }

    /// Waits until nothing is written under any but the newest generation of `ring`.
    pub(crate) fn drain(&self, ring: &Ring) -> Result<Lifecycle> {
        let lifecycle = self.lifecycle(ring);
        let (true, Some(newest)) = (lifecycle.is_draining(), lifecycle.newest()) else { return Ok(lifecycle) };
        self.wait_for_writers();
        self.happened(Event::Drained(newest), ring)
    }

    /// Tells of something that has happened, of which `ring` is what it happened to or what came of it.
    pub(crate) fn happened(&self, event: Event, ring: &Ring) -> Result<Lifecycle> {
        let mut known = self.generations().lock();
        let (sequence, lifecycle) = known.get_or_insert_with(|| first_seen(ring));
        let next = lifecycle.after(event).map_err(|_| Error::internal("that cannot happen to a generation now"))?;
        *lifecycle = next.clone();
        *sequence = ring.sequence().max(*sequence);
        Ok(next)
    }

    /// Ends a sweep that has seen every row: scans that begin from now on see no record of what it proves to be gone.
    pub(crate) fn sweep_ended(&self, sweep: &Sweep, ring: &Ring) -> Result<Lifecycle> {
        *self.generations().last_found.lock().unwrap_or_else(PoisonError::into_inner) = sweep.found.clone();
        let era = self.generations().eras().begin();
        self.happened(Event::SweepEnded { era }, ring)
    }

    /// The sweep under way, for who takes its next step.
    pub(crate) fn sweep(&self) -> MutexGuard<'_, Option<Sweep>> {
        self.generations().sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A custodian has its records moved at a pace of their own while the tally lives.
    pub(crate) fn attend(&self) -> Tally<'_> {
        Tally::of(&self.generations().attended)
    }

    /// Whether the sweep is somebody's own business now.
    pub(crate) fn is_attended(&self) -> bool {
        self.generations().attended.load(Ordering::SeqCst) > 0
    }

    /// How much of the sweep under way is done, if one is.
    pub(crate) fn percent_swept(&self) -> Option<u8> {
        self.sweep().as_ref().map(Sweep::percent)
    }

    /// What is known of the records of a generation: by the sweep under way, and how much of it is done, else by the last.
    pub(crate) fn records_left(&self, generation: u32) -> (Found, Option<u8>) {
        if let Some(sweep) = &*self.sweep() {
            return (sweep.found.get(&generation).copied().unwrap_or_default(), Some(sweep.percent()));
        }
        let last = self.generations().last_found.lock().unwrap_or_else(PoisonError::into_inner);
        (last.get(&generation).copied().unwrap_or_default(), None)
    }

    /// The proof that the key of a generation can be destroyed, or what is in the way of it.
    pub(super) fn can_destroy(&self, generation: u32, ring: &Ring, backups: usize) -> Result<Proof, Vec<Hindrance>> {
        let holders = Holders { scans: self.generations().eras().open(), backups };
        let lifecycle = self.lifecycle(ring);
        lifecycle.can_destroy(generation, &holders, (self.incarnation(), ring.sequence()))
    }
}

impl Generations {
    fn meet(&self, ring: &Ring) -> (u64, Lifecycle) {
        let mut known = self.lock();
        let (sequence, lifecycle) = known.get_or_insert_with(|| first_seen(ring));
        if *sequence < ring.sequence() {
            let living: Vec<u32> = ring.generations().map(|(number, _)| number).collect();
            *lifecycle = lifecycle.met(&living);
            *sequence = ring.sequence();
        }
        (*sequence, lifecycle.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u64, Lifecycle)>> {
        self.lifecycle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn eras(&self) -> MutexGuard<'_, Eras> {
        self.eras.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first_seen(ring: &Ring) -> (u64, Lifecycle) {
    (ring.sequence(), Lifecycle::of(ring.generations().map(|(number, _)| number)))
}

impl Eras {
    fn begin(&mut self) -> u64 {
        let next = Arc::new(Era(self.current.0 + 1));
        let past = std::mem::replace(&mut self.current, next);
        self.past.retain(|era| era.strong_count() > 0);
        self.past.push(Arc::downgrade(&past));
        self.current.0
    }

    /// How many scans are open, by the era in which they began.
    fn open(&self) -> BTreeMap<u64, usize> {
        let past = self.past.iter().filter_map(Weak::upgrade);
        // One of each is held here.
        let counts = past.chain([self.current.clone()]).map(|era| (era.0, Arc::strong_count(&era) - 1));
        let own = self.current.0;
        let counts = counts.map(|(era, count)| (era, if era == own { count - 1 } else { count }));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

impl View for DatedView {
    fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.view.get(keyspace, key, read)
    }

    fn page(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, limit_bytes: usize) -> Result<Page> {
        self.view.page(keyspace, from, to, limit_bytes)
    }
}

impl<'t> Tally<'t> {
    pub(super) fn of(count: &'t AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
