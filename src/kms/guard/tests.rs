use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::clock::ManualClock;
use crate::kms::{CALL_DEADLINE, check_root};

thread_local! {
    /// Sleeping moves this on instead of waiting.
    static CLOCK: std::cell::RefCell<Option<Arc<ManualClock>>> = const { std::cell::RefCell::new(None) };
}

/// A provider that answers from a script, taking some time over it.
struct Scripted {
    answers: Mutex<VecDeque<Result<(), RootError>>>,
    takes: Duration,
    retry_after: Mutex<Option<Duration>>,
    asked: AtomicU64,
    patience: Mutex<Vec<Duration>>,
    clock: Arc<ManualClock>,
}

impl RootKeys for Scripted {
    fn wrap(&self, _: &RootId, _: &WrapSecret, _: &WrapContext) -> Result<Wrapped, RootError> {
        Err(RootError::Denied)
    }

    fn unwrap(&self, _: &RootId, _: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.patience.lock().unwrap().push(context.call().patience());
        self.clock.advance(self.takes.min(context.call().patience()));
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()));
        answer.map(|()| WrapSecret::from_slice(&[1; 32]).unwrap())
    }

    fn connections(&self) -> Vec<Connection> {
        vec![Connection::new("scripted", "kms.example", 443, "root keys", true)]
    }

    fn retry_after(&self, _: &RootId) -> Option<Duration> {
        *self.retry_after.lock().unwrap()
    }
}

struct Scene {
    guarded: Guarded<Arc<Scripted>>,
    provider: Arc<Scripted>,
    clock: Arc<ManualClock>,
}

impl Scene {
    fn new(answers: impl IntoIterator<Item = Result<(), RootError>>, takes: Duration) -> Self {
        let clock = ManualClock::new(1_000_000);
        CLOCK.with_borrow_mut(|there| *there = Some(clock.clone()));
        let provider = Arc::new(Scripted {
            answers: Mutex::new(answers.into_iter().collect()),
            takes,
            retry_after: Mutex::default(),
            asked: AtomicU64::new(0),
            patience: Mutex::default(),
            clock: clock.clone(),
        });
        let mut guarded = Guarded::new(provider.clone()).clock(clock.clone());
        guarded.sleep = |_, span| CLOCK.with_borrow(|clock| clock.as_ref().unwrap().advance(span));
        Self { guarded, provider, clock }
    }

    fn ask(&self) -> Result<(), RootError> {
        let root = RootId::new("customer").unwrap();
        let context = WrapContext::new([1; 16], root.clone(), 1, Call::new().unwrap());
        let wrapped = Wrapped { version: "v1".to_owned(), bytes: vec![1] };
        self.guarded.unwrap(&root, &wrapped, &context).map(drop)
    }

    fn asked(&self) -> u64 {
        self.provider.asked.swap(0, Ordering::SeqCst)
    }
}

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn what_may_pass_is_tried_again_and_what_is_final_is_not() {
    for passing in [RootError::Unreachable, RootError::Throttled] {
        let scene = Scene::new([Err(passing), Err(passing), Ok(())], MOMENT);
        assert_eq!((scene.ask(), scene.asked()), (Ok(()), 3), "{passing}");
        let scene = Scene::new([Err(passing); 3], MOMENT);
        assert_eq!((scene.ask(), scene.asked()), (Err(passing), 3), "{passing}");
    }
    for last in [RootError::Denied, RootError::Disabled, RootError::Destroyed, RootError::Tampered] {
        let scene = Scene::new([Err(last), Ok(())], MOMENT);
        assert_eq!((scene.ask(), scene.asked()), (Err(last), 1), "{last}");
    }
}

#[test]
fn a_call_ends_within_its_deadline_however_slow_the_provider() {
    let scene = Scene::new([Err(RootError::Unreachable); 9], Duration::from_secs(60));
    let begun = scene.clock.monotonic_ms();
    assert_eq!(scene.ask(), Err(RootError::Unreachable));
    assert!(Duration::from_millis(scene.clock.monotonic_ms() - begun) <= CALL_DEADLINE);
    assert!(scene.provider.patience.lock().unwrap().iter().all(|patience| *patience <= ATTEMPT_MAX));
}

#[test]
fn an_answer_that_comes_late_is_not_used() {
    let scene = Scene::new([Ok(())], MOMENT);
    let root = RootId::new("customer").unwrap();
    let context = WrapContext::new([1; 16], root.clone(), 1, Call::new().unwrap().within(MOMENT));
    let wrapped = Wrapped { version: "v1".to_owned(), bytes: vec![1] };
    assert_eq!(scene.guarded.unwrap(&root, &wrapped, &context).unwrap_err(), RootError::Unreachable);
    assert_eq!(scene.ask(), Ok(()), "the control: with time to spare the same answer counts");
}

#[test]
fn a_provider_that_asks_for_peace_has_it() {
    let scene = Scene::new([], MOMENT);
    *scene.provider.retry_after.lock().unwrap() = Some(Duration::from_secs(3));
    let begun = scene.clock.monotonic_ms();
    assert_eq!((scene.ask(), scene.asked()), (Ok(()), 1));
    assert!(scene.clock.monotonic_ms() - begun >= 3_000, "it waited");
    *scene.provider.retry_after.lock().unwrap() = Some(CALL_DEADLINE);
    assert_eq!((scene.ask(), scene.asked()), (Err(RootError::Throttled), 0), "no time to wait, so no call");
}

#[test]
fn silence_opens_the_breaker_and_one_probe_closes_it() {
    let scene = Scene::new([Err(RootError::Unreachable); 6], MOMENT);
    assert_eq!((scene.ask(), scene.asked()), (Err(RootError::Unreachable), 3));
    assert_eq!((scene.ask(), scene.asked()), (Err(RootError::Unreachable), 2), "the fifth silence opens it");
    assert_eq!((scene.ask(), scene.asked()), (Err(RootError::Unreachable), 0), "nobody asks while it is open");
    scene.clock.advance(BREAKER_PAUSE);
    assert_eq!((scene.ask(), scene.asked()), (Err(RootError::Unreachable), 1), "a probe is not tried again");
    assert_eq!((scene.ask(), scene.asked()), (Err(RootError::Unreachable), 0), "open for another pause");
    scene.clock.advance(BREAKER_PAUSE);
    assert_eq!((scene.ask(), scene.asked()), (Ok(()), 1));
    assert_eq!((scene.ask(), scene.asked()), (Ok(()), 1), "closed");
}

#[test]
fn only_one_caller_probes_at_a_time_and_one_that_vanished_does_not_block() {
    let clock = ManualClock::new(1_000_000);
    let breaker = Breaker::new(clock.clone());
    assert_eq!((0..5).filter_map(|_| breaker.note(false)).collect::<Vec<_>>(), [Change::Opened]);
    clock.advance(BREAKER_PAUSE);
    assert_eq!(breaker.admit(), Ok(Admission::Probe));
    assert_eq!(breaker.admit(), Err(RootError::Unreachable), "the others wait");
    clock.advance(CALL_DEADLINE);
    assert_eq!(breaker.admit(), Ok(Admission::Probe), "the first never came back");
    assert_eq!(breaker.note(true), Some(Change::Closed));
    assert_eq!(breaker.admit(), Ok(Admission::Ordinary));
}

#[test]
fn a_refusal_or_a_throttle_is_an_answer_and_never_opens_the_breaker() {
    let answers = [RootError::Denied, RootError::Disabled, RootError::Destroyed, RootError::Tampered];
    let scene = Scene::new(answers.repeat(10).into_iter().map(Err), MOMENT);
    for _ in 0..40 {
        assert!(scene.ask().is_err());
        assert_eq!(scene.asked(), 1);
    }
    let scene = Scene::new([Err(RootError::Throttled); 60], MOMENT);
    for _ in 0..20 {
        assert_eq!((scene.ask(), scene.asked()), (Err(RootError::Throttled), 3));
    }
    let flapping = [Err(RootError::Unreachable), Err(RootError::Unreachable), Err(RootError::Denied)];
    let scene = Scene::new(flapping.repeat(10), MOMENT);
    for _ in 0..10 {
        assert_eq!((scene.ask(), scene.asked()), (Err(RootError::Denied), 3), "never five in a row");
    }
}

#[test]
fn waits_before_another_attempt_differ_and_are_bounded() {
    let waits: std::collections::BTreeSet<_> = (0..32).map(|_| backoff(1)).collect();
    assert!(waits.len() > 16 && waits.iter().all(|wait| *wait <= BACKOFF), "{waits:?}");
    assert!((0..32).all(|_| backoff(1000) <= BACKOFF * 16));
}

#[test]
fn a_guard_changes_nothing_of_what_local_keys_answer() {
    let folder = tempfile::tempdir().unwrap();
    let local = Arc::new(crate::kms::LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap());
    let guarded = Guarded::new(local.clone());
    let root = RootId::new("service").unwrap();
    let (bare, behind) = (check_root(&*local, &root).unwrap(), check_root(&guarded, &root).unwrap());
    assert_eq!((bare.findings, bare.description), (behind.findings, behind.description));
    assert_eq!((guarded.locations(), guarded.connections()), (local.locations(), Vec::new()));
}
