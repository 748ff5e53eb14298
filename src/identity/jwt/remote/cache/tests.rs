//! When keys are fetched and when not, who waits, and until when keys count, on clocks that the tests set.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::*;
use crate::clock::ManualClock;

const NOW_MS: u64 = 1_800_000_000_000;

/// A cache of an issuer whose answers come when the test gives them, one for each attempt.
struct World {
    cache: Arc<Cache>,
    clock: Arc<ManualClock>,
    asked: Arc<AtomicUsize>,
    answers: Sender<Result<Jwks>>,
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A set of keys of these names. What they are does not matter here.
fn keys(kids: &[&str]) -> Jwks {
    let keys: Vec<_> = kids.iter().map(|kid| format!(r#"{{"kid":"{kid}","kty":"AKP"}}"#)).collect();
    Jwks::from_json(&format!(r#"{{"keys":[{}]}}"#, keys.join(","))).unwrap()
}

fn gone() -> Result<Jwks> {
    Err(Error::new(ErrorKind::Unavailable, "nobody there"))
}

impl World {
    fn new() -> Self {
        let bounds = Bounds { refresh: secs(300), stale_limit: secs(3600), cool_down: secs(30) };
        let (clock, asked) = (ManualClock::new(NOW_MS), Arc::new(AtomicUsize::new(0)));
        let (answers, coming): (Sender<Result<Jwks>>, Receiver<_>) = channel();
        let (counted, coming) = (asked.clone(), Mutex::new(coming));
        let fetch = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            coming.lock().unwrap().recv().unwrap_or_else(|_| gone())
        };
        let cache = Arc::new(Cache::new("i".to_owned(), bounds, clock.clone(), Box::new(fetch)));
        Self { cache, clock, asked, answers }
    }

    /// One that has fetched these keys.
    fn with(kids: &[&str]) -> Self {
        let world = Self::new();
        world.answers.send(Ok(keys(kids))).unwrap();
        assert_eq!(world.ask(kids[0]), Some(true));
        world
    }

    /// Whether the key is there; `None` if that cannot be known.
    fn ask(&self, kid: &str) -> Option<bool> {
        self.cache.keys(kid, self.clock.wall_ms() / 1000).ok().map(|keys| keys.contains(kid))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn answer(&self, answer: Result<Jwks>) {
        self.answers.send(answer).unwrap();
        self.until_settled();
    }

    fn until_settled(&self) {
        while self.cache.lock().is_fetching {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn the_first_callers_wait_for_one_attempt_together() {
    let world = World::new();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..20).map(|_| scope.spawn(|| world.ask("a"))).collect();
        while world.asked() == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(20));
        assert!(waiting.iter().all(|caller| !caller.is_finished()));
        world.answer(Ok(keys(&["a"])));
        assert!(waiting.into_iter().all(|caller| caller.join().unwrap() == Some(true)));
    });
    assert_eq!(world.asked(), 1);
}

#[test]
fn an_issuer_that_never_answered_is_asked_once_per_cool_down() {
    let world = World::new();
    world.answers.send(gone()).unwrap();
    assert_eq!(world.ask("a"), None);
    for _ in 0..1000 {
        assert_eq!(world.ask("a"), None, "at once");
    }
    let error = world.cache.ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("nobody there"), "{error}");
    world.clock.advance(secs(29));
    assert_eq!(world.ask("a"), None);
    assert_eq!(world.asked(), 1);
    world.clock.advance(secs(1));
    world.answers.send(Ok(keys(&["a"]))).unwrap();
    assert_eq!(world.ask("a"), Some(true));
    assert!(world.cache.ready().is_ok());
    assert_eq!(world.asked(), 2);
}

#[test]
fn behind_an_issuer_that_never_answered_one_caller_waits_for_each_further_attempt() {
    let world = World::new();
    world.answers.send(gone()).unwrap();
    assert_eq!(world.ask("a"), None);
    world.clock.advance(secs(30));
    thread::scope(|scope| {
        let asking = scope.spawn(|| world.ask("a"));
        while world.asked() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..1000 {
            assert_eq!(world.ask("a"), None, "at once");
        }
        assert!(!asking.is_finished());
        world.answer(Ok(keys(&["a"])));
        assert_eq!(asking.join().unwrap(), Some(true));
    });
    assert_eq!((world.ask("a"), world.asked()), (Some(true), 2));
}

#[test]
fn from_half_of_its_time_on_a_set_is_renewed_and_nobody_waits() {
    let world = World::with(&["a"]);
    world.clock.advance(secs(149));
    assert_eq!((world.ask("a"), world.asked()), (Some(true), 1));
    world.clock.advance(secs(1));
    for _ in 0..100 {
        assert_eq!(world.ask("a"), Some(true), "no answer has come, and none is waited for");
    }
    world.answer(Ok(keys(&["b"])));
    assert_eq!((world.ask("a"), world.ask("b")), (Some(false), Some(true)), "a removed key is dead at once");
    assert_eq!(world.asked(), 2);
}

#[test]
fn a_removed_key_is_dead_within_its_time_even_if_nobody_came_by() {
    let world = World::with(&["a"]);
    world.clock.advance(secs(300));
    world.answers.send(Ok(keys(&["b"]))).unwrap();
    assert_eq!((world.ask("a"), world.asked()), (Some(false), 2), "waited for: there was nothing that counted");
}

#[test]
fn setting_the_clock_back_keeps_no_key_alive() {
    let world = World::with(&["a"]);
    world.clock.set_wall_ms(NOW_MS - 86_400_000);
    world.clock.advance(secs(300));
    world.answers.send(Ok(keys(&["b"]))).unwrap();
    assert_eq!(world.ask("a"), Some(false), "the monotonic clock ends it");

    let world = World::with(&["a"]);
    world.clock.set_wall_ms(NOW_MS + 300_000);
    world.answers.send(Ok(keys(&["b"]))).unwrap();
    assert_eq!(world.ask("a"), Some(false), "the wall clock ends it: the machine was suspended");
}

#[test]
fn a_silent_issuer_is_covered_up_to_the_limit_and_no_longer() {
    let world = World::with(&["a"]);
    world.clock.advance(secs(280));
    assert_eq!(world.ask("a"), Some(true));
    world.answer(gone());
    for step in 0..330 {
        world.clock.advance(secs(10));
        assert_eq!(world.ask("a"), Some(true), "after {step} steps of ten seconds");
        assert_eq!(world.ask("b"), None, "that there is no such key is not known");
        if world.cache.lock().is_fetching {
            world.answer(gone());
        }
    }
    assert_eq!(world.asked(), 2 + 110, "in 3,300 s, one per cool-down");
    world.clock.advance(secs(20));
    assert_eq!(world.ask("a"), None, "3,600 s after it was asked for");
    world.clock.advance(secs(10));
    world.answers.send(Ok(keys(&["a"]))).unwrap();
    assert_eq!(world.ask("a"), Some(true), "it answers again");
}

#[test]
fn after_a_long_silence_an_old_failure_covers_nothing() {
    let world = World::with(&["a"]);
    world.clock.advance(secs(200));
    assert_eq!(world.ask("a"), Some(true));
    world.answer(gone());
    world.clock.advance(secs(300));
    world.answers.send(Ok(keys(&["b"]))).unwrap();
    assert_eq!(world.ask("a"), Some(false), "nobody knew whether the issuer would answer, so it was asked");
}

#[test]
fn a_flood_of_unknown_keys_has_the_issuer_asked_once_per_cool_down() {
    let world = World::with(&["a"]);
    world.clock.advance(secs(30));
    world.answers.send(Ok(keys(&["a"]))).unwrap();
    assert_eq!(world.ask("x"), Some(false), "looked for");
    for number in 0..10_000 {
        assert_eq!(world.ask(&format!("x{number}")), Some(false));
    }
    assert_eq!(world.asked(), 2);
    world.clock.advance(secs(30));
    world.answers.send(Ok(keys(&["a", "new"]))).unwrap();
    assert_eq!(world.ask("new"), Some(true), "a new key is found by the first who brings it");
    assert_eq!(world.asked(), 3);
}

#[test]
fn nobody_but_the_one_who_asks_waits_for_a_slow_issuer() {
    let world = World::with(&["a"]);
    world.clock.advance(secs(30));
    thread::scope(|scope| {
        let asking = scope.spawn(|| world.ask("new"));
        while world.asked() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..1000 {
            assert_eq!(world.ask("a"), Some(true), "known keys are served");
            assert_eq!(world.ask("other"), None, "unknown ones are told to come again");
        }
        assert!(!asking.is_finished());
        world.answer(Ok(keys(&["a", "new"])));
        assert_eq!(asking.join().unwrap(), Some(true));
    });
    assert_eq!((world.ask("other"), world.asked()), (Some(false), 2));
}

#[test]
fn an_attempt_that_panics_is_one_that_failed() {
    let bounds = Bounds::default();
    let clock = ManualClock::new(NOW_MS);
    let cache = Arc::new(Cache::new("i".to_owned(), bounds, clock, Box::new(|| panic!("a defect"))));
    assert!(cache.keys("a", NOW_MS / 1000).is_err());
    assert!(!cache.lock().is_fetching);
}
