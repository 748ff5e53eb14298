//! Whose turn it is: so many operations of one tenant at once, one of them with keys or cells that are not there yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

use super::Limits;
use super::lanes::Lane;
use crate::directory::Tenant;
use crate::engine::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Incarnation;

/// The lanes of a store, and what each of its active tenants may take of them.
pub(super) struct Floor {
    /// Signing in: it may wait for an issuer of tokens.
    pub(super) door: Lane,
    /// Custody, and whatever else is asked of the store itself.
    pub(super) aside: Lane,
    /// What finds its keys and its cell in memory.
    quick: Lane,
    /// The same, and then waits for the disk to sync.
    syncing: Lane,
    /// What may wait for a key service, or for a cell to open.
    cold: Lane,
    per_tenant: usize,
    waiting: usize,
    desks: Mutex<Desks>,
    under_way: Arc<AtomicUsize>,
}

struct Desks {
    known: HashMap<Incarnation, Weak<Desk>>,
    /// When the map has grown to this, it is looked for desks at which nobody is any more.
    look_at: usize,
}

/// A tenant's share.
struct Desk {
    permits: Arc<Semaphore>,
    cold: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// The way of one tenant's operations to the lanes. A cheap handle.
#[derive(Clone)]
pub(super) struct Turn {
    floor: Arc<Floor>,
    desk: Arc<Desk>,
    tenant: Arc<Tenant>,
}

/// What an operation spends its time with, once it has its keys and its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Asking the root keys: they are never at hand.
    Asks,
    /// Reading.
    Reads,
    /// Writing, to the operating system.
    Writes,
    /// Writing, and waiting for the disk to sync: with others, so that many may wait.
    Syncs,
}

/// Counts an operation while it waits, or is under way.
struct Counted {
    counter: Arc<AtomicUsize>,
    before: usize,
}

const LOOK_AT_FIRST: usize = 64;
/// How many wait to sign in, or for custody: whoever nobody has verified yet holds no permit.
const QUEUE_MAX: usize = 4096;
/// Threads for what has no tenant's share. It may take minutes and is rare: a flood of it must leave the runtime threads for
/// everybody else.
const ASIDE: usize = 32;

impl Floor {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            door: Lane::new(limits.sign_ins).with_queue(QUEUE_MAX),
            aside: Lane::new(ASIDE).with_queue(QUEUE_MAX),
            quick: Lane::new(limits.threads),
            syncing: Lane::new(limits.syncs),
            cold: Lane::new(limits.cold),
            per_tenant: limits.per_tenant.clamp(1, Semaphore::MAX_PERMITS),
            waiting: limits.waiting,
            desks: Mutex::new(Desks { known: HashMap::new(), look_at: LOOK_AT_FIRST }),
            under_way: Arc::default(),
        })
    }

    pub(super) fn turn(self: &Arc<Self>, tenant: Arc<Tenant>) -> Turn {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(desk) = desks.known.get(&tenant.incarnation()).and_then(Weak::upgrade) {
            return Turn { floor: self.clone(), desk, tenant };
        }
        if desks.known.len() >= desks.look_at {
            desks.known.retain(|_, desk| desk.strong_count() > 0);
            desks.look_at = LOOK_AT_FIRST.max(desks.known.len() * 2);
        }
        let share = |permits| Arc::new(Semaphore::new(permits));
        let desk = Arc::new(Desk { permits: share(self.per_tenant), cold: share(1), waiting: Arc::default() });
        desks.known.insert(tenant.incarnation(), Arc::downgrade(&desk));
        Turn { floor: self.clone(), desk, tenant }
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }
}

impl Turn {
    /// Does `work` when it is this tenant's turn. If it would not find its keys and its cell in memory, it goes where it keeps
    /// nobody else waiting, one operation of a tenant at a time.
    ///
    /// # Errors
    /// As [`Lane::run`]; `Throttled` if too many of this tenant wait already.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        pace: Pace,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Self { floor, desk, tenant } = self;
        let waiting = Counted::begin(&desk.waiting);
        // Those who are about to be let in have been counted too.
        if waiting.before >= floor.waiting.saturating_add(desk.permits.available_permits()) {
            return Err(Error::new(ErrorKind::Throttled, "too many operations of this tenant wait already"));
        }
        let permit = desk.permits.clone().acquire_owned().await.map_err(|_| shut())?;
        drop(waiting);
        // The desk too: who comes back while this is under way finds the same one, whatever else was let go.
        let permit = (permit, desk.clone(), Counted::begin(&floor.under_way));
        if !pace.is_at_hand(tenant) {
            let alone = desk.cold.clone().acquire_owned().await.map_err(|_| shut())?;
            // Unless whoever was there before has brought it all.
            if !pace.is_at_hand(tenant) {
                return floor.cold.run((permit, alone), work).await;
            }
        }
        let lane = if pace == Pace::Syncs { &floor.syncing } else { &floor.quick };
        lane.run(permit, work).await
    }
}

impl Pace {
    pub(super) fn of_writes(durability: Durability) -> Self {
        match durability {
            Durability::Synced => Self::Syncs,
            Durability::Buffered => Self::Writes,
        }
    }

    /// Whether all that an operation needs before it begins is there.
    fn is_at_hand(self, tenant: &Tenant) -> bool {
        match self {
            Self::Asks => false,
            Self::Reads => tenant.is_at_hand(false),
            Self::Writes | Self::Syncs => tenant.is_at_hand(true),
        }
    }
}

impl Counted {
    fn begin(counter: &Arc<AtomicUsize>) -> Self {
        Self { before: counter.fetch_add(1, Ordering::SeqCst), counter: counter.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::SeqCst);
    }
}

fn shut() -> Error {
    Error::new(ErrorKind::Closed, "the store has been closed")
}
