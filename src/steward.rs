//! The steward: what a store does by itself while nobody asks. One thread, which ends with the store's last handle, and
//! one function for each of its rounds ([`tend`]), which tests call on a clock of their own.
//!
//! A round drops keys that nobody uses, writes down refusals, tries unclean boxes again, carries out purges, goes on with sweeps that are not
//! finished and with the search for records that have expired, each within a budget of bytes for all tenants together, and
//! rotates keys that have reached their age. Of idle tenants it asks no root key before something is due: when, stands in
//! the store's own rows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::audit::{Act, Actor, Event};
use crate::cells::Budgets;
use crate::clock::{Clock, Deadline};
use crate::collection::collect_page;
use crate::directory::{Directory, Tenant, Upkeep};
use crate::engine::Durability;
use crate::error::{Error, Result};
use crate::keys::Ring;
use crate::reseal::{Outcome, Sweeper};

/// How often the thread looks whether something is to be done.
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// How often unclean boxes are tried again, and it is looked whether a purge is due.
const BOXES_EVERY: Duration = Duration::from_secs(60);
/// Rings that are opened in a round because they may be due.
const ROTATIONS_PER_ROUND: usize = 16;
/// Tenants whom nobody uses and whose keys are asked for in a round, to search their records.
const SEARCHES_PER_ROUND: usize = 16;
/// How many times as seldom those are searched.
const SELDOM: u32 = 24;
/// How long a tenant is left alone after something failed for it.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// How much of the budget may be saved up, in seconds: after a pause nothing is made up for at once.
const SAVED_UP_SECS: u64 = 2;

/// What is remembered from round to round.
pub(crate) struct Steward {
    directory: Weak<Directory>,
    clock: Arc<dyn Clock>,
    store_is_open: Arc<AtomicBool>,
    expiry_every: Duration,
    rounds: Mutex<Rounds>,
}

struct Rounds {
    boxes: Deadline,
    reseals: Allowance,
    searches: Allowance,
    /// Tenants to whom something failed.
    resting: Vec<(Weak<Tenant>, Deadline)>,
    /// Whose turn it is.
    turn: usize,
}

/// Bytes a second, and until when the last round has spent them.
#[derive(Clone, Copy)]
struct Allowance {
    bytes_per_second: u64,
    spent_until_ms: u64,
}

/// A page of a tenant's work: bytes that it took, and whether there is more to do.
type Page = (u64, bool);

/// The thread. It ends when this is dropped, and whatever it held of the store is released then.
pub(crate) struct Shift {
    leave: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The process that it runs in: a forked child has not inherited it.
    process: u32,
}

impl Steward {
    pub(crate) fn new(
        directory: &Arc<Directory>,
        clock: Arc<dyn Clock>,
        store_is_open: Arc<AtomicBool>,
        budgets: &Budgets,
    ) -> Arc<Self> {
        let of = |bytes_per_second| Allowance { bytes_per_second, spent_until_ms: clock.monotonic_ms() };
        let rounds = Rounds {
            boxes: Deadline::after(&*clock, BOXES_EVERY),
            reseals: of(budgets.reseal_rate),
            searches: of(budgets.expiry_rate),
            resting: Vec::new(),
            turn: 0,
        };
        let (directory, expiry_every) = (Arc::downgrade(directory), budgets.expiry_every);
        Arc::new(Self { directory, clock, store_is_open, expiry_every, rounds: Mutex::new(rounds) })
    }

    /// Begins to do a round every second.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<Shift> {
        let (leave, left) = mpsc::channel();
        let steward = self.clone();
        let work = move || {
            while matches!(left.recv_timeout(ROUND_EVERY), Err(RecvTimeoutError::Timeout)) {
                steward.tend();
            }
        };
        let thread = std::thread::Builder::new().name("strongroom-steward".into()).spawn(work);
        let thread = thread.map_err(|error| Error::io("the store's own thread cannot be started", error))?;
        Ok(Shift { leave: Some(leave), thread: Some(thread), process: std::process::id() })
    }

    /// One round. What fails is logged, and tried again later.
    pub(crate) fn tend(&self) {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(directory) = self.directory.upgrade().filter(|_| self.is_open()) else { return };
        directory.sweep();
        if rounds.boxes.has_passed(&*self.clock) {
            rounds.boxes = Deadline::after(&*self.clock, BOXES_EVERY);
            directory.try_unclean_boxes();
            self.carry_out_purges(&directory);
        }
        rounds.resting.retain(|(tenant, until)| tenant.strong_count() > 0 && !until.has_passed(&*self.clock));
        let mut tenants = directory.tenants_in_upkeep();
        tenants.retain(|(tenant, _)| tenant.check_active().is_ok() && !rounds.is_resting(tenant));
        let now_secs = self.clock.wall_ms() / 1000;
        for (tenant, _) in tenants.iter().filter(|(_, upkeep)| may_be_due(upkeep, now_secs)).take(ROTATIONS_PER_ROUND) {
            self.attempt(&mut rounds, tenant, || rotate(&directory, tenant, now_secs));
        }
        self.go_on_with_sweeps(&mut rounds, &directory, tenants.into_iter().map(|(tenant, _)| tenant).collect());
        self.search_for_expired(&mut rounds, &directory);
    }

    /// Purges whose time has come, and those that a crash has left. One that fails is tried again after a minute. The search
    /// of a large store takes its time, and ends early when nobody else holds the store any more.
    fn carry_out_purges(&self, directory: &Directory) {
        let goes_on = || self.is_open() && self.directory.strong_count() > 1;
        match directory.run_purges(&Actor::Store, &goes_on) {
            Ok(purges) => {
                for (purge, error) in purges.iter().filter_map(|(purge, done)| Some((purge, done.as_ref().err()?))) {
                    tracing::warn!(incarnation = ?purge.incarnation(), %error, "a purge failed; it is tried again");
                }
            }
            Err(error) => tracing::warn!(%error, "purges cannot be looked through now"),
        }
    }

    fn is_open(&self) -> bool {
        self.store_is_open.load(Ordering::SeqCst)
    }

    /// Does something for a tenant. If it fails, the tenant is left alone for a while.
    fn attempt(&self, rounds: &mut Rounds, tenant: &Arc<Tenant>, work: impl FnOnce() -> Result<()>) {
        if let Err(error) = work() {
            tracing::warn!(incarnation = ?tenant.incarnation(), %error, "the upkeep of a tenant failed; it is tried again");
            metrics::counter!("strongroom_upkeep_failures_total").increment(1);
            rounds.resting.push((Arc::downgrade(tenant), Deadline::after(&*self.clock, RETRY_AFTER)));
        }
    }

    /// A page of each tenant's sweep in turn.
    fn go_on_with_sweeps(&self, rounds: &mut Rounds, directory: &Directory, mut tenants: Vec<Arc<Tenant>>) {
        tenants.retain(|tenant| directory.upkeep(tenant).sweep.is_some() && !tenant.is_attended());
        let allowance = rounds.reseals;
        rounds.reseals = self.take_turns(rounds, allowance, tenants, |tenant| {
            let step = Sweeper::new(directory, tenant)?.step()?;
            if step.outcome == Outcome::Complete {
                finish(directory, tenant)?;
            }
            Ok((step.bytes, matches!(step.outcome, Outcome::UnderWay | Outcome::Again)))
        });
    }

    /// A page of each tenant's records in turn, of those that may expire, so that those that have are removed.
    fn search_for_expired(&self, rounds: &mut Rounds, directory: &Directory) {
        let mut tenants = directory.expiring_tenants();
        tenants.retain(|tenant| {
            let is_due = tenant.expiring().is_due(&*self.clock, self.expiry_every);
            let has_keys = || tenant.ring_in_use().is_some() || self.may_be_asked_for(tenant);
            is_due && tenant.check_active().is_ok() && has_keys() && !rounds.is_resting(tenant)
        });
        let (allowance, mut may_ask) = (rounds.searches, SEARCHES_PER_ROUND);
        rounds.searches = self.take_turns(rounds, allowance, tenants, |tenant| {
            let Some(ring) = self.ring_for_search(tenant, &mut may_ask)? else { return Ok((0, false)) };
            collect_page(directory, tenant, &ring).map(|step| (step.bytes, step.goes_on))
        });
    }

    /// The ring of a tenant whose records are to be searched: as sessions have it in memory, or, for one whom nobody has
    /// used for long, asked for. `None` if it is not time for that.
    fn ring_for_search(&self, tenant: &Tenant, may_ask: &mut usize) -> Result<Option<Arc<Ring>>> {
        if let Some(ring) = tenant.ring_in_use() {
            return Ok(Some(ring));
        }
        if *may_ask == 0 || !self.may_be_asked_for(tenant) {
            return Ok(None);
        }
        *may_ask -= 1;
        tenant.ring_for_upkeep().map(|(ring, _)| Some(ring))
    }

    /// Whether the keys of a tenant may be asked for, though nobody uses them, to search its records.
    fn may_be_asked_for(&self, tenant: &Tenant) -> bool {
        tenant.expiring().has_rested(&*self.clock, self.expiry_every.saturating_mul(SELDOM))
    }

    /// A page of each tenant's work in turn, while the allowance lasts. Returns what is left of it.
    fn take_turns(
        &self,
        rounds: &mut Rounds,
        Allowance { bytes_per_second, spent_until_ms }: Allowance,
        mut tenants: Vec<Arc<Tenant>>,
        mut work: impl FnMut(&Arc<Tenant>) -> Result<Page>,
    ) -> Allowance {
        let now_ms = self.clock.monotonic_ms();
        let mut spent_until_ms = spent_until_ms.max(now_ms.saturating_sub(SAVED_UP_SECS * 1000));
        while spent_until_ms < now_ms && !tenants.is_empty() && self.is_open() {
            rounds.turn = rounds.turn.wrapping_add(1);
            let place = rounds.turn % tenants.len();
            let (mut bytes, mut goes_on) = (0, false);
            self.attempt(rounds, &tenants[place], || {
                (bytes, goes_on) = work(&tenants[place])?;
                Ok(())
            });
            spent_until_ms += (bytes.saturating_mul(1000) / bytes_per_second).max(1);
            if !goes_on {
                tenants.remove(place);
            }
        }
        Allowance { bytes_per_second, spent_until_ms }
    }
}

/// Whether a key has reached its age, as far as is known without opening the ring.
fn may_be_due(upkeep: &Upkeep, now_secs: u64) -> bool {
    let due_secs = |age: u64| upkeep.newest_secs.map_or(0, |made| made.saturating_add(age));
    upkeep.rotate_after_secs.is_some_and(|age| due_secs(age) <= now_secs)
}

/// Rotates a key that has reached its age, and has its records moved.
fn rotate(directory: &Directory, tenant: &Tenant, now_secs: u64) -> Result<()> {
    // What was known without the ring may be older than the truth: somebody rotated by hand, or a crash came between.
    let made = tenant.ring_for_upkeep()?.0.generations().last().map_or(0, |(_, created_secs)| created_secs);
    directory.change_upkeep(tenant, |upkeep| upkeep.newest_secs = Some(made))?;
    if !may_be_due(&directory.upkeep(tenant), now_secs) {
        return Ok(());
    }
    // Before and after: a crash in between leaves a sweep that finds nothing to do, and no generation without one.
    directory.change_upkeep(tenant, Upkeep::begin_sweep)?;
    directory.add_generation(tenant, &Actor::Store)?;
    directory.change_upkeep(tenant, |upkeep| {
        upkeep.newest_secs = Some(now_secs);
        upkeep.begin_sweep();
    })
}

/// What follows a finished sweep: the trail says so, and where the tenant's custodians have agreed that the store rotates
/// by itself, the keys go that nothing needs.
///
/// # Errors
/// `Conflict` while somebody holds on to one of them: then it is tried again later.
fn finish(directory: &Directory, tenant: &Tenant) -> Result<()> {
    let is_agreed = directory.upkeep(tenant).rotate_after_secs.is_some();
    let old: Vec<u32> = tenant.ring_for_upkeep()?.0.generations().map(|(number, _)| number).collect();
    for generation in old.into_iter().rev().skip(1).filter(|_| is_agreed) {
        let retired = match directory.can_destroy(tenant, generation)? {
            Ok(proof) => directory.retire_generation(tenant, proof, &Actor::Store).map(drop),
            Err(_) => Err(Error::conflict("a scan or a backup holds on to a generation")),
        };
        if let Err(error) = retired {
            // It is known to be clean, so that nothing is swept again for this.
            directory.change_upkeep(tenant, Upkeep::begin_sweep)?;
            return Err(error);
        }
    }
    let done = Event::new(Act::RESEAL_DONE, Actor::Store);
    directory.trails().record(tenant.incarnation(), done, Durability::Synced)
}

impl Rounds {
    fn is_resting(&self, tenant: &Arc<Tenant>) -> bool {
        self.resting.iter().any(|(resting, _)| std::ptr::eq(resting.as_ptr(), Arc::as_ptr(tenant)))
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        self.leave = None;
        let Some(thread) = self.thread.take() else { return };
        // The last handle can be dropped by something that the thread itself has called.
        if self.process == std::process::id() && thread.thread().id() != std::thread::current().id() {
            // A panic of it has been reported by the thread itself.
            drop(thread.join());
        }
    }
}
