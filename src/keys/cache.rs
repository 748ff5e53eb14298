//! A ring in memory: unwrapped once however many ask, asked for again at its refresh, gone at its hard expiry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use super::ring::Ring;
use crate::clock::{Clock, Deadline};
use crate::error::{Error, ErrorKind, Result};

/// How long after an unanswered refresh the roots are asked again.
const RETRY: Duration = Duration::from_secs(5);

/// One tenant's ring, or its absence.
pub(crate) struct CachedRing {
    clock: Arc<dyn Clock>,
    /// Held by the one thread that asks the roots; how it last failed.
    loading: Mutex<Option<ErrorKind>>,
    /// How often it has failed: whoever waited for a load that failed takes its answer, and does not ask again.
    failures: AtomicU64,
    held: RwLock<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    ring: Arc<Ring>,
    refresh: Deadline,
    expiry: Deadline,
}

impl CachedRing {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, loading: Mutex::default(), failures: AtomicU64::new(0), held: RwLock::default() }
    }

    /// The ring, loaded by one caller if it is absent or due. During an outage of the roots the held ring serves
    /// until its hard expiry; a refusal ends it at once.
    pub(crate) fn get(&self, load: impl FnOnce() -> Result<Ring>) -> Result<Arc<Ring>> {
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
        if let (Some(kind), true) = (*last, self.failures.load(Ordering::SeqCst) > failures_before) {
            return Err(Error::new(kind, "the ring could not be loaded"));
        }
        let outcome = self.reload(held, load);
        if let Err(error) = &outcome {
            *last = Some(error.kind());
            self.failures.fetch_add(1, Ordering::SeqCst);
        }
        outcome
    }

    /// Puts in a ring that its maker already holds open, unless a later one is there.
    pub(crate) fn put(&self, ring: Ring) {
        let policy = ring.policy();
        let held = Held {
            refresh: Deadline::after(&*self.clock, policy.refresh()),
            expiry: Deadline::after(&*self.clock, policy.hard_expiry()),
            ring: Arc::new(ring),
        };
        let mut there = self.held.write().unwrap_or_else(PoisonError::into_inner);
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
        let mut there = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = there.as_mut().filter(|held| held.ring.sequence() < ring.sequence()) {
            held.ring.succeeded_by(ring);
            held.ring = ring.clone();
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
        self.peek().filter(|held| !held.expiry.has_passed(&*self.clock)).map(|held| held.ring)
    }

    /// Drops a ring that is past its hard expiry, so that the keys of an idle tenant do not stay in memory.
    pub(crate) fn expire(&self) {
        if self.peek().is_some_and(|held| held.expiry.has_passed(&*self.clock)) {
            self.clear();
        }
    }

    pub(crate) fn clear(&self) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn peek(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reload(&self, usable: Option<Held>, load: impl FnOnce() -> Result<Ring>) -> Result<Arc<Ring>> {
        metrics::counter!("strongroom_ring_loads_total").increment(1);
        match (load(), usable) {
            (Ok(ring), _) => {
                self.put(ring);
                self.peek().map(|held| held.ring).ok_or_else(closed)
            }
            (Err(error), Some(held)) if is_outage(&error) => {
                tracing::warn!(kind = %error.kind(), "the root keys do not answer; serving from cache");
                let refresh = Deadline::after(&*self.clock, RETRY);
                let ring = held.ring.clone();
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Held { refresh, ..held });
                Ok(ring)
            }
            (Err(error), _) => {
                self.clear();
                Err(error)
            }
        }
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

    fn outage() -> Result<Ring> {
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
                                Ok(ring())
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
        cached.put(ring());
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
        cached.get(|| Ok(ring())).unwrap();
        clock.advance(Duration::from_secs(301));
        assert!(cached.get(outage).is_ok());
        clock.advance(Duration::from_secs(3300));
        assert_eq!(cached.get(outage).unwrap_err().kind(), ErrorKind::Unavailable);
        cached.get(|| Ok(ring())).unwrap();
        clock.advance(Duration::from_secs(301));
        let refused = || Err(Error::new(ErrorKind::KeyRevoked, "no"));
        assert_eq!(cached.get(refused).unwrap_err().kind(), ErrorKind::KeyRevoked);
        assert_eq!(cached.get(outage).unwrap_err().kind(), ErrorKind::Unavailable, "nothing is left to serve");
    }
}
