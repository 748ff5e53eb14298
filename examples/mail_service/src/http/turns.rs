//! Turns: whoever sends very many requests at once waits for their own, and not everybody else for them.
//!
//! The store lets tenants take turns too. But before it knows whose a request is, a token must be verified, and before that the
//! request takes a place in every queue there is; so requests of one token stand in a line of their own from the beginning.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// Requests of one token that are answered at once.
const AT_ONCE: usize = 8;
/// Requests of one token that wait; one more is refused.
const WAITING_MAX: usize = 256;
/// From so many lines on, those are looked for that nobody stands in.
const SWEEP_FROM: usize = 1024;

/// The lines, by the SHA-256 of the token: what it says has not been verified yet.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<[u8; 32], Weak<Line>>>);

struct Line {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A request that is being answered. The next in line follows when it is dropped.
pub struct Turn {
    _place: OwnedSemaphorePermit,
    _line: Arc<Line>,
}

impl Turns {
    /// Waits for the turn of a request with this token.
    ///
    /// # Errors
    /// 429 if too many wait already.
    pub async fn take(&self, token: &str) -> Result<Turn, Problem> {
        let line = self.line(token);
        let waiting = Waiting::stand_in(line)?;
        let place = waiting.0.places.clone().acquire_owned().await;
        let place = place.map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the service is ending"))?;
        Ok(Turn { _place: place, _line: waiting.0.clone() })
    }

    fn line(&self, token: &str) -> Arc<Line> {
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&name).and_then(Weak::upgrade) {
            return line;
        }
        if lines.len() >= SWEEP_FROM {
            lines.retain(|_, line| line.strong_count() > 0);
        }
        let line = Arc::new(Line { places: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) });
        lines.insert(name, Arc::downgrade(&line));
        line
    }
}

/// Somebody in line, who leaves it when this is dropped: with a place, or because the client has gone.
struct Waiting(Arc<Line>);

impl Waiting {
    fn stand_in(line: Arc<Line>) -> Result<Self, Problem> {
        let waiting = Self(line);
        match waiting.0.waiting.fetch_add(1, Ordering::Relaxed) {
            0..WAITING_MAX => Ok(waiting),
            _ => Err(Problem::too_many()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn one_token_waits_for_itself_and_nobody_else_for_it() {
        let turns = Turns::default();
        let take = |token: &'static str| Box::pin(turns.take(token));
        let taken: Vec<Turn> = (0..AT_ONCE)
            .map(|_| match now(take("flood").as_mut()) {
                std::task::Poll::Ready(Ok(turn)) => turn,
                _ => panic!("there is a place"),
            })
            .collect();
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| take("flood")).collect();
        assert!(waiting.iter_mut().all(|next| now(next.as_mut()).is_pending()));
        assert!(matches!(now(take("flood").as_mut()), std::task::Poll::Ready(Err(_))), "one too many");
        assert!(now(take("other").as_mut()).is_ready());
        // Who goes away makes room, in line and at the front.
        waiting.pop();
        assert!(now(take("flood").as_mut()).is_pending());
        drop(taken);
        assert!(now(waiting[0].as_mut()).is_ready());
        drop(waiting);
        assert_eq!(turns.0.lock().unwrap().values().filter(|line| line.strong_count() > 0).count(), 0);
    }
}
