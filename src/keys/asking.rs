//! Asking the root keys of a ring: alternative after alternative, the next as soon as the one before has failed or is
//! slow, until the first has allowed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use super::open::{open_ring_key, prepare};
use super::policy::{Alternative, Shut};
use super::slot::Parsed;
use crate::kms::{Patience, RootError, RootId, RootKeys, WrapSecret};
use crate::secret::Key32;

/// Threads of this process that ask at once. Whoever finds no room asks on its own thread, and no other alternative beside
/// it: that takes longer, and is no outage.
const THREADS_MAX: usize = 64;
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// A place among these threads, while it lives.
struct Place;

/// How long an alternative is waited for before the next is asked beside it. The first answer wins.
const HEDGE_AFTER: Duration = Duration::from_millis(100);

type Answer = Result<WrapSecret, RootError>;

/// Root keys that have been asked, and what they have answered.
struct Asking<'p> {
    parsed: &'p Parsed,
    roots: &'p Arc<dyn RootKeys>,
    patience: &'p Patience,
    /// Of every root key that was asked; `None` until it has answered.
    answers: BTreeMap<&'p RootId, Option<Answer>>,
    arriving: Arriving,
}

/// Answers on their way from the threads that ask.
type Arriving = (Sender<(RootId, Answer)>, Receiver<(RootId, Answer)>);

/// Has the root keys unwrap the ring key of a slot. Each is asked once at most, and those of an alternative together.
///
/// One that leaves the process is asked by a thread of its own, which is not waited for once another alternative has
/// allowed, and ends with its call's patience. What it unwraps then is wiped.
pub(super) fn unwrap_ring_key(parsed: &Parsed, roots: &Arc<dyn RootKeys>, patience: &Patience) -> Result<Key32, Shut> {
    let mut asking = Asking { parsed, roots, patience, answers: BTreeMap::new(), arriving: mpsc::channel() };
    let (mut begun, mut failed) = (Vec::new(), Vec::new());
    let mut alternatives = parsed.policy.ordinary().peekable();
    loop {
        for alternative in std::mem::take(&mut begun) {
            match asking.outcome(&alternative) {
                None => begun.push(alternative),
                Some(Ok(ring_key)) => return Ok(ring_key),
                Some(Err(error)) => failed.push(error),
            }
        }
        if begun.is_empty() && alternatives.peek().is_none() {
            return Err(Shut::fold(failed));
        }
        if begun.is_empty() || !asking.wait(alternatives.peek().is_some()) {
            match alternatives.next() {
                Some(alternative) => {
                    asking.begin(&alternative);
                    begun.push(alternative);
                }
                None => asking.give_up(),
            }
        }
    }
}

impl<'p> Asking<'p> {
    fn begin(&mut self, alternative: &Alternative<'p>) {
        for &root in &alternative.roots {
            if !self.answers.contains_key(root) {
                let answer = self.ask(root).unwrap_or_else(|error| Some(Err(error)));
                self.answers.insert(root, answer);
            }
        }
    }

    /// Asks one root key. `None` if the answer is on its way.
    fn ask(&self, root: &RootId) -> Result<Option<Answer>, RootError> {
        let (wrapped, context) = prepare(self.parsed, root, self.patience.left())?;
        if !self.roots.is_external(root) {
            return Ok(Some(self.roots.unwrap(root, wrapped, &context)));
        }
        let (roots, asked, wrapped) = (self.roots.clone(), root.clone(), wrapped.clone());
        let arriving = self.arriving.0.clone();
        let ask = move |place: Place| {
            let answer = roots.unwrap(&asked, &wrapped, &context);
            drop(place);
            // Nobody listens any more if another alternative was faster.
            drop(arriving.send((asked, answer)));
        };
        let spawn = |place| std::thread::Builder::new().name("strongroom-root".into()).spawn(move || ask(place));
        match Place::take().map(spawn) {
            Some(Ok(_)) => Ok(None),
            Some(Err(_)) | None => {
                // Its share of the patience, so that whoever is silent leaves some for those who are not.
                let others = self.parsed.policy.roots().len().saturating_sub(self.answers.len());
                let share = self.patience.left() / u32::try_from(others.max(1)).unwrap_or(1);
                let (wrapped, context) = prepare(self.parsed, root, share)?;
                Ok(Some(self.roots.unwrap(root, wrapped, &context)))
            }
        }
    }

    /// Waits for an answer: until the next alternative is to be asked, if there is one, else while there is patience.
    fn wait(&mut self, has_next: bool) -> bool {
        let left = self.patience.left();
        let Ok((root, answer)) = self.arriving.1.recv_timeout(if has_next { left.min(HEDGE_AFTER) } else { left })
        else {
            return false;
        };
        if let Some(place) = self.answers.get_mut(&root) {
            *place = Some(answer);
        }
        true
    }

    /// Whoever has not answered by now cannot be reached.
    fn give_up(&mut self) {
        for answer in self.answers.values_mut().filter(|answer| answer.is_none()) {
            *answer = Some(Err(RootError::Unreachable));
        }
    }

    /// What an alternative has come to; `None` while that is open.
    fn outcome(&self, alternative: &Alternative<'p>) -> Option<Result<Key32, RootError>> {
        let answers: Vec<Option<&Answer>> =
            alternative.roots.iter().map(|root| self.answers.get(root).and_then(Option::as_ref)).collect();
        let errors = answers.iter().flatten().filter_map(|answer| answer.as_ref().err());
        match Shut::of_members(errors) {
            Some(error) if error.is_refusal() => return Some(Err(error)),
            _ if answers.iter().any(Option::is_none) => return None,
            Some(error) => return Some(Err(error)),
            None => {}
        }
        let secrets: Vec<&Key32> = answers.into_iter().flatten().flatten().map(WrapSecret::key).collect();
        Some(open_ring_key(self.parsed, alternative, &secrets).map_err(|_| RootError::Tampered))
    }
}

impl Place {
    fn take() -> Option<Self> {
        let one_more = |count| (count < THREADS_MAX).then_some(count + 1);
        THREADS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
