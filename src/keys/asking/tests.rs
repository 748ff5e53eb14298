//! Which root keys are asked, how often and how long they are waited for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::cells::RingFile;
use crate::clock::{Clock, SystemClock};
use crate::entropy::OsEntropy;
use crate::keys::{Belief, Policy, create, read};
use crate::kms::{LocalRoots, WrapContext, Wrapped};
use crate::name::Incarnation;

/// Local keys of which each answers after its own time, or never, as keys elsewhere do.
struct Elsewhere {
    local: LocalRoots,
    manners: Mutex<BTreeMap<&'static str, Manner>>,
    unwraps: AtomicU32,
}

#[derive(Clone, Copy)]
enum Manner {
    After(u64),
    Fails(u64, RootError),
    /// Answers with a secret that opens nothing.
    Lies,
}

impl RootKeys for Elsewhere {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.local.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        let manner = self.manners.lock().unwrap().get(root.as_str()).copied();
        let pause = |ms| std::thread::sleep(Duration::from_millis(ms));
        match manner {
            None => {}
            Some(Manner::After(ms)) => pause(ms),
            Some(Manner::Fails(ms, error)) => {
                pause(ms);
                return Err(error);
            }
            Some(Manner::Lies) => return Ok(WrapSecret::from_slice(&[7; 32]).unwrap()),
        }
        self.local.unwrap(root, wrapped, context)
    }

    fn is_external(&self, root: &RootId) -> bool {
        !root.as_str().starts_with("near")
    }
}

struct World {
    rings: RingFile,
    belief: Belief,
    roots: Arc<Elsewhere>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new<const N: usize>(alternatives: [&[&str]; N]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalRoots::open(folder.path().join("keys")).unwrap();
        let policy = Policy::any_of(alternatives.map(|roots| roots.iter().copied())).unwrap();
        policy.roots().into_iter().for_each(|root| drop(local.generate(root).unwrap()));
        let roots = Arc::new(Elsewhere { local, manners: Mutex::default(), unwraps: AtomicU32::new(0) });
        let rings = RingFile::in_memory(1);
        let incarnation = Incarnation::new([1; 16]);
        let (belief, _) = create(&rings, 0, incarnation, policy, &*roots, &OsEntropy, 7).unwrap();
        Self { rings, belief, roots, _folder: folder }
    }

    fn with(self, root: &'static str, manner: Manner) -> Self {
        self.roots.manners.lock().unwrap().insert(root, manner);
        self
    }

    /// How it ends, after how many milliseconds, and how many root keys were asked.
    fn open(&self, patience_ms: u64) -> (Result<(), Shut>, u64, u32) {
        let (clock, patience) = (SystemClock::new(), Patience::of(Duration::from_millis(patience_ms)));
        let roots: Arc<dyn RootKeys> = self.roots.clone();
        let outcome = read(&self.rings, 0, &self.belief).unwrap().open(&roots, &patience).map(drop);
        (outcome, clock.monotonic_ms(), self.roots.unwraps.load(Ordering::SeqCst))
    }
}

fn shut(error: RootError) -> Result<(), Shut> {
    Err(Shut::fold([error]))
}

#[test]
fn the_first_alternative_alone_is_asked_if_it_is_quick() {
    let (outcome, _, asked) = World::new([&["a"], &["b"]]).open(10_000);
    assert_eq!((outcome, asked), (Ok(()), 1));
}

#[test]
fn a_slow_alternative_is_overtaken_by_the_next_and_not_waited_for() {
    let world = World::new([&["a"], &["b"]]).with("a", Manner::After(5_000));
    let (outcome, took_ms, asked) = world.open(10_000);
    assert_eq!((outcome, asked), (Ok(()), 2));
    assert!((100..4_000).contains(&took_ms), "{took_ms} ms");
}

#[test]
fn a_slow_alternative_wins_if_the_next_is_slower() {
    let world = World::new([&["a"], &["b"]]).with("a", Manner::After(300)).with("b", Manner::After(5_000));
    let (outcome, took_ms, asked) = world.open(10_000);
    assert_eq!((outcome, asked), (Ok(()), 2));
    assert!(took_ms < 4_000, "{took_ms} ms");
}

#[test]
fn a_failure_goes_on_to_the_next_at_once_and_a_lie_is_no_refusal() {
    for manner in [Manner::Fails(0, RootError::Denied), Manner::Fails(0, RootError::Unreachable), Manner::Lies] {
        let (outcome, _, asked) = World::new([&["a"], &["b"]]).with("a", manner).open(10_000);
        assert_eq!((outcome, asked), (Ok(()), 2));
    }
    let lies = World::new([&["a"], &["b"]]).with("a", Manner::Lies).with("b", Manner::Lies);
    assert_eq!(lies.open(10_000).0, Err(Shut::Tampered));
}

#[test]
fn members_of_an_alternative_are_asked_together_and_a_shared_one_once() {
    let world = World::new([&["a", "b"], &["a", "c"]]).with("a", Manner::After(80)).with("b", Manner::After(80));
    let (outcome, _, asked) = world.open(10_000);
    assert_eq!((outcome, asked), (Ok(()), 2), "both at once, so the next alternative is not due yet");
    let world = World::new([&["a", "b"], &["a", "c"]]).with("b", Manner::Fails(0, RootError::Throttled));
    let (outcome, _, asked) = world.open(10_000);
    assert_eq!((outcome, asked), (Ok(()), 3));
}

#[test]
fn one_refusal_decides_an_alternative_whoever_has_not_answered() {
    let refused = Manner::Fails(0, RootError::Disabled);
    let world = World::new([&["a", "b"]]).with("a", Manner::After(5_000)).with("b", refused);
    let (outcome, took_ms, _) = world.open(10_000);
    assert_eq!(outcome, shut(RootError::Disabled));
    assert!(took_ms < 4_000, "{took_ms} ms");
}

#[test]
fn who_never_answers_is_out_of_reach_when_patience_ends() {
    let world = World::new([&["a"], &["b"]]).with("a", Manner::After(5_000)).with("b", Manner::After(5_000));
    let (outcome, took_ms, asked) = world.open(400);
    assert_eq!((outcome, asked), (shut(RootError::Unreachable), 2));
    assert!((400..4_000).contains(&took_ms), "{took_ms} ms");
    // A refusal that did come counts, though the other alternative is out of reach.
    let refused = Manner::Fails(0, RootError::Destroyed);
    let world = World::new([&["a"], &["b"]]).with("a", Manner::After(5_000)).with("b", refused);
    assert_eq!(world.open(400).0, shut(RootError::Destroyed));
}

#[test]
fn keys_of_this_process_are_asked_in_turn_and_without_a_thread() {
    let world = World::new([&["near-a"], &["near-b"]]).with("near-a", Manner::Fails(0, RootError::Denied));
    let (outcome, _, asked) = world.open(10_000);
    assert_eq!((outcome, asked), (Ok(()), 2));
    let world = World::new([&["near-a"], &["near-b"]]).with("near-a", Manner::After(200));
    assert_eq!(world.open(10_000).2, 1, "it is waited for: nothing is faster than what is here");
}
