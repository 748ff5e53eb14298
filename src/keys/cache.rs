//! A ring in memory: unwrapped once however many ask, asked for again at its refresh, gone at its hard expiry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use super::ring::Ring;
use crate::clock::{Clock, Deadline};
use crate::error::{Error, ErrorKind, Result};

/// How long after an unanswered refresh the roots are asked again.
const RETRY: Duration = Duration::from_secs(5);
/// How long nobody asks again after a load that failed with nothing to serve, where asking leaves the process: every request
/// of a tenant would buy a call, and what is written of it.
const REST: Duration = Duration::from_secs(1);

/// One tenant's ring, or its absence.
pub(crate) struct CachedRing {
    clock: Arc<dyn Clock>,
    /// Held by the one thread that asks the roots; how it last failed.
    loading: Mutex<Option<ErrorKind>>,
    /// How often it has failed: whoever waited for a load that failed takes its answer, and does not ask again.
    failures: AtomicU64,
    /// How often it was cleared: what was asked for before a clearing is not put in after it.
    clears: AtomicU64,
    /// Until when nobody asks again after a load that failed, where asking leaves the process.
    rest: Mutex<Option<Deadline>>,
    held: RwLock<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    ring: Arc<Ring>,
    refresh: Deadline,
    expiry: Deadline,
    /// Whether its root keys are out of reach, so that they are asked again soon, whoever asks.
    in_outage: bool,
    /// Whether it was the recovery root that opened it.
    by_recovery: bool,
}

/// A ring that was opened, and how long that is good for.
pub(crate) enum Loaded {
    /// As long as its policy says.
    Whole(Ring),
    /// By the recovery root, for this long at most. The others are asked again soon.
    Stopgap(Ring, Duration),
}

impl CachedRing {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            loading: Mutex::default(),
            failures: AtomicU64::new(0),
            clears: AtomicU64::new(0),
            rest: Mutex::default(),
            held: RwLock::default(),
        }
    }

    /// The ring, loaded by one caller if it is absent or due. During an outage of the roots the held ring serves
    /// until its hard expiry; a refusal ends it at once.
    pub(crate) fn get(&self, load: impl FnOnce() -> Result<Loaded>) -> Result<Arc<Ring>> {
        let held = self.peek();
        if let Some(held) = &held
            && !held.refresh.has_passed(&*self.clock)
        {
            return Ok(held.ring.clone());
        }
        let usable = held.filter(|held| !held.expiry.has_passed(&*self.clock));
        let failures_before = self.failures.load(Ordering::SeqCst);
        let mut last = match self.loading.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => match usable {
                Some(held) => return Ok(held.ring),
                None => self.loading.lock().unwrap_or_else(PoisonError::into_inner),
            },
        };
        // Somebody else may have loaded it while this thread waited, or have failed to.
        let held = match self.peek() {
            Some(held) if !held.refresh.has_passed(&*self.clock) => return Ok(held.ring),
            held => held.filter(|held| !held.expiry.has_passed(&*self.clock)),
        };
        self.check_failure(*last, failures_before)?;
        self.reload(&mut last, held, load)
    }

    /// Has the root keys asked now if they would be soon, and returns when they are to be asked next: while they are out of
    /// reach, in some seconds.
    pub(crate) fn lease(&self, load: impl FnOnce() -> Result<Loaded>) -> Result<Deadline> {
        let clock = &*self.clock;
        let is_long = |held: &Held| {
            let is_fresh = held.refresh.left(clock) * 2 >= held.ring.policy().refresh();
            !held.expiry.has_passed(clock) && !held.refresh.has_passed(clock) && (held.in_outage || is_fresh)
        };
        if let Some(held) = self.peek().filter(is_long) {
            return Ok(held.refresh);
        }
        let failures_before = self.failures.load(Ordering::SeqCst);
        let mut last = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = self.peek().filter(is_long) {
            return Ok(held.refresh);
        }
        self.check_failure(*last, failures_before)?;
        self.reload(&mut last, self.usable(), load)?;
        self.peek().map(|held| held.refresh).ok_or_else(closed)
    }

    /// Puts in a ring that its maker already holds open, unless a later one is there. Its root keys were asked at `asked`:
    /// an answer is as old as the question, since its owner may have refused while it was on its way.
    pub(crate) fn put(&self, ring: Ring, asked: Deadline) {
        self.put_loaded(Loaded::Whole(ring), asked, self.clears.load(Ordering::SeqCst));
    }

    /// The same, unless the cache was cleared since `clears` was read.
    fn put_loaded(&self, loaded: Loaded, asked: Deadline, clears: u64) {
        let (ring, refresh, serves, by_recovery) = match loaded {
            Loaded::Whole(ring) => {
                let (refresh, serves) = (ring.policy().refresh(), ring.policy().hard_expiry());
                (ring, refresh, serves, false)
            }
            Loaded::Stopgap(ring, left) => {
                let serves = left.min(ring.policy().hard_expiry());
                (ring, RETRY, serves, true)
            }
        };
        let expiry = asked.plus(serves);
        // A ring that serves no more is due, whatever else was said.
        let refresh = asked.plus(refresh).min(expiry);
        let held = Held { ring: Arc::new(ring), refresh, expiry, in_outage: by_recovery, by_recovery };
        let mut there = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if self.clears.load(Ordering::SeqCst) != clears {
            return;
        }
        if there.as_ref().is_none_or(|there| there.ring.sequence() <= held.ring.sequence()) {
            if let Some(there) = &*there {
                there.ring.succeeded_by(&held.ring);
            }
            *there = Some(held);
        }
    }

    /// Puts a later ring of the same tenant in the place of the one that is there, if one is. When the root keys are
    /// asked again stays as it was: nobody has asked them.
    pub(crate) fn replace(&self, ring: &Arc<Ring>) {
        let now = Deadline::now(&*self.clock);
        let mut there = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = there.as_mut().filter(|held| held.ring.sequence() < ring.sequence()) {
            held.ring.succeeded_by(ring);
            held.ring = ring.clone();
            // A stricter policy holds from now on, and a laxer one once somebody has asked.
            held.expiry = held.expiry.min(now.plus(ring.policy().hard_expiry()));
            held.refresh = held.refresh.min(now.plus(ring.policy().refresh())).min(held.expiry);
        }
    }

    /// Drops a ring that is earlier than this sequence: one that was being loaded while it was changed.
    pub(crate) fn forget_before(&self, sequence: u64) {
        let mut there = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if there.as_ref().is_some_and(|held| held.ring.sequence() < sequence) {
            *there = None;
        }
    }

    /// The ring, if it is there and good for use without asking anybody.
    pub(crate) fn held(&self) -> Option<Arc<Ring>> {
        self.usable().map(|held| held.ring)
    }

    /// The same, unless it was the recovery root that opened it: that is for reading in an outage, and no act of custody.
    pub(crate) fn held_for_custody(&self) -> Option<Arc<Ring>> {
        self.usable().filter(|held| !held.by_recovery).map(|held| held.ring)
    }

    /// The same, if it is not due.
    pub(crate) fn fresh(&self) -> Option<Arc<Ring>> {
        let held = self.usable().filter(|held| !held.by_recovery && !held.refresh.has_passed(&*self.clock));
        held.map(|held| held.ring)
    }

    /// Lets nobody ask again for a moment, if nothing is there to serve meanwhile: a load that failed is known to all.
    pub(crate) fn begin_rest(&self) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Deadline::after(&*self.clock, REST));
    }

    /// Whoever waited for a load that failed takes its answer, and so does whoever comes while nobody asks again.
    fn check_failure(&self, last: Option<ErrorKind>, failures_before: u64) -> Result<()> {
        let rest = *self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = rest.is_some_and(|until| !until.has_passed(&*self.clock));
        match last {
            Some(kind) if rests || self.failures.load(Ordering::SeqCst) > failures_before => {
                Err(Error::new(kind, "the ring could not be loaded just now"))
            }
            _ => Ok(()),
        }
    }

    /// How long the ring that is there serves on, if one does.
    pub(crate) fn serves_for(&self) -> Option<Duration> {
        self.peek().map(|held| held.expiry.left(&*self.clock)).filter(|left| !left.is_zero())
    }

    /// The ring, if [`get`](Self::get) would return it without asking or waiting: it is not due, or somebody else is
    /// asking and it serves meanwhile.
    #[cfg(feature = "tokio")]
    pub(crate) fn at_hand(&self) -> Option<Arc<Ring>> {
        let is_asked = || matches!(self.loading.try_lock(), Err(TryLockError::WouldBlock));
        let held = self.usable()?;
        (!held.refresh.has_passed(&*self.clock) || is_asked()).then_some(held.ring)
    }

    /// Drops a ring that is past its hard expiry, so that the keys of an idle tenant do not stay in memory.
    pub(crate) fn expire(&self) {
        let mut there = self.held.write().unwrap_or_else(PoisonError::into_inner);
        // No clearing: what is being loaded meanwhile is as good as ever.
        if there.as_ref().is_some_and(|held| held.expiry.has_passed(&*self.clock)) {
            *there = None;
        }
    }

    pub(crate) fn clear(&self) {
        let mut there = self.held.write().unwrap_or_else(PoisonError::into_inner);
        self.clears.fetch_add(1, Ordering::SeqCst);
        *there = None;
    }

    /// What is there and serves, whether it is due or not.
    fn usable(&self) -> Option<Held> {
        self.peek().filter(|held| !held.expiry.has_passed(&*self.clock))
    }

    fn peek(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reload(
        &self,
        last: &mut Option<ErrorKind>,
        usable: Option<Held>,
        load: impl FnOnce() -> Result<Loaded>,
    ) -> Result<Arc<Ring>> {
        metrics::counter!("strongroom_ring_loads_total").increment(1);
        let (asked, clears) = (Deadline::now(&*self.clock), self.clears.load(Ordering::SeqCst));
        let error = match (load(), usable) {
            (Ok(loaded), _) => {
                // How it failed before is no answer any more.
                *last = None;
                self.put_loaded(loaded, asked, clears);
                return self.peek().map(|held| held.ring).ok_or_else(closed);
            }
            (Err(error), Some(held)) if is_outage(&error) => {
                tracing::warn!(kind = %error.kind(), "the root keys do not answer; serving from cache");
                let refresh = Deadline::after(&*self.clock, RETRY).min(held.expiry);
                let ring = held.ring.clone();
                let mut there = self.held.write().unwrap_or_else(PoisonError::into_inner);
                // Unless somebody has dropped it meanwhile, or changed it.
                if let Some(there) = there.as_mut().filter(|there| Arc::ptr_eq(&there.ring, &ring)) {
                    *there = Held { refresh, in_outage: true, ..held };
                }
                return there.as_ref().map(|there| there.ring.clone()).ok_or_else(closed);
            }
            (Err(error), _) => error,
        };
        self.clear();
        *last = Some(error.kind());
        self.failures.fetch_add(1, Ordering::SeqCst);
        Err(error)
    }
}

fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Throttled)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the keys of this tenant were dropped")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::name::Incarnation;
    use std::sync::atomic::AtomicU32;

    fn ring() -> Ring {
        Ring::for_tests(Incarnation::new([1; 16]), [2; 32], &[(1, [3; 32])])
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands where a load does")]
    fn loaded() -> Result<Loaded> {
        Ok(Loaded::Whole(ring()))
    }

    fn outage() -> Result<Loaded> {
        Err(Error::new(ErrorKind::Unavailable, "down"))
    }

    #[test]
    fn a_thousand_cold_reads_load_once() {
        let cached = CachedRing::new(ManualClock::new(0));
        let loads = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..64 {
                        cached
                            .get(|| {
                                loads.fetch_add(1, Ordering::SeqCst);
                                std::thread::sleep(Duration::from_millis(20));
                                loaded()
                            })
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn whoever_waited_for_a_load_that_failed_does_not_ask_again() {
        let cached = CachedRing::new(ManualClock::new(0));
        let loads = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let refused = cached.get(|| {
                        loads.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(200));
                        outage()
                    });
                    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
                });
            }
        });
        assert!(loads.load(Ordering::SeqCst) <= 4, "{loads:?}: only who came after a failure asks again");
    }

    #[test]
    fn an_idle_ring_is_dropped_after_its_hard_expiry() {
        let clock = ManualClock::new(0);
        let cached = CachedRing::new(clock.clone());
        cached.put(ring(), Deadline::now(&*clock));
        clock.advance(Duration::from_secs(3599));
        cached.expire();
        assert!(cached.peek().is_some());
        clock.advance(Duration::from_secs(1));
        cached.expire();
        assert!(cached.peek().is_none());
    }

    #[test]
    fn an_outage_is_served_from_cache_until_the_hard_expiry_and_a_refusal_is_not() {
        let clock = ManualClock::new(0);
        let cached = CachedRing::new(clock.clone());
        cached.get(loaded).unwrap();
        clock.advance(Duration::from_secs(301));
        assert!(cached.get(outage).is_ok());
        clock.advance(Duration::from_secs(3300));
        assert_eq!(cached.get(outage).unwrap_err().kind(), ErrorKind::Unavailable);
        cached.get(loaded).unwrap();
        clock.advance(Duration::from_secs(301));
        let refused = || Err(Error::new(ErrorKind::KeyRevoked, "no"));
        assert_eq!(cached.get(refused).unwrap_err().kind(), ErrorKind::KeyRevoked);
        assert_eq!(cached.get(outage).unwrap_err().kind(), ErrorKind::Unavailable, "nothing is left to serve");
    }

    #[test]
    fn an_answer_is_as_old_as_the_question() {
        let clock = ManualClock::new(0);
        let cached = CachedRing::new(clock.clone());
        let slow = || {
            clock.advance(Duration::from_secs(9));
            loaded()
        };
        cached.get(slow).unwrap();
        clock.advance(Duration::from_secs(291));
        let asked = AtomicU32::new(0);
        let count = || {
            asked.fetch_add(1, Ordering::SeqCst);
            loaded()
        };
        cached.get(count).unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1, "300 s after the root keys were asked, they are asked again");
    }

    #[test]
    fn a_lease_asks_ahead_of_time_and_then_nobody_asks() {
        let clock = ManualClock::new(0);
        let cached = CachedRing::new(clock.clone());
        let lease = |load: fn() -> Result<Loaded>| cached.lease(load).map(|until| until.left(&*clock).as_secs());
        let never = || -> Result<Loaded> { panic!("nobody is to be asked") };
        assert_eq!(lease(loaded).unwrap(), 300);
        clock.advance(Duration::from_secs(150));
        assert_eq!(lease(never).unwrap(), 150);
        clock.advance(Duration::from_secs(1));
        assert_eq!(lease(loaded).unwrap(), 300);
        clock.advance(Duration::from_secs(299));
        cached.get(never).unwrap();
        clock.advance(Duration::from_secs(2));
        assert_eq!(lease(outage).unwrap(), 5, "what is in memory serves, and nothing more is promised");
        assert_eq!(lease(never).unwrap(), 5, "an outage is not asked about by everybody");
        clock.advance(Duration::from_secs(3600));
        assert_eq!(lease(outage).unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn what_the_recovery_root_has_opened_serves_for_as_long_as_it_may() {
        let clock = ManualClock::new(0);
        let cached = CachedRing::new(clock.clone());
        cached.get(|| Ok(Loaded::Stopgap(ring(), Duration::from_secs(60)))).unwrap();
        clock.advance(Duration::from_secs(6));
        assert!(cached.get(outage).is_ok(), "the other root keys were asked again, and are still away");
        clock.advance(Duration::from_secs(53));
        assert!(cached.get(outage).is_ok());
        clock.advance(Duration::from_secs(1));
        assert_eq!(cached.get(outage).unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn what_was_asked_for_before_a_clearing_is_not_kept_after_it() {
        let clock = ManualClock::new(0);
        let cached = CachedRing::new(clock.clone());
        let refused = cached.get(|| {
            cached.clear();
            loaded()
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
        assert!(cached.held().is_none());
    }

    #[test]
    fn what_the_recovery_root_has_opened_is_for_no_act_of_custody() {
        let cached = CachedRing::new(ManualClock::new(0));
        cached.get(|| Ok(Loaded::Stopgap(ring(), Duration::from_secs(60)))).unwrap();
        assert!(cached.held().is_some() && cached.held_for_custody().is_none());
        cached.clear();
        cached.get(loaded).unwrap();
        assert!(cached.held_for_custody().is_some());
    }

    #[test]
    fn after_a_failure_elsewhere_nobody_asks_for_a_second() {
        let clock = ManualClock::new(0);
        let cached = CachedRing::new(clock.clone());
        let failing = || {
            cached.begin_rest();
            outage()
        };
        assert_eq!(cached.get(failing).unwrap_err().kind(), ErrorKind::Unavailable);
        let never = || -> Result<Loaded> { panic!("nobody is to be asked") };
        assert_eq!(cached.get(never).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(cached.lease(never).unwrap_err().kind(), ErrorKind::Unavailable);
        clock.advance(Duration::from_secs(1));
        cached.get(loaded).unwrap();
    }

    #[test]
    fn what_is_dropped_during_a_load_does_not_come_back_with_an_outage() {
        let clock = ManualClock::new(0);
        let cached = CachedRing::new(clock.clone());
        cached.get(loaded).unwrap();
        clock.advance(Duration::from_secs(301));
        let refused = cached.get(|| {
            cached.clear();
            outage()
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
        assert!(cached.held().is_none());
    }
}
