//! The threads that a store keeps for itself: one flushes and closes cells, one recovers them after a crash and ends.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::pool::{Pool, TICKS_PER_SECOND};
use crate::error::{Error, Result};

/// The threads; they end when this is dropped.
pub(super) struct Keeper {
    pool: Arc<Pool>,
    /// Dropped to end the first.
    leave: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    /// The process that they run in: a forked child has not inherited them.
    process: u32,
}

impl Keeper {
    pub(super) fn start(pool: Arc<Pool>) -> Result<Self> {
        let (leave, left) = mpsc::channel();
        let tick = Duration::from_millis(1000 / TICKS_PER_SECOND);
        let keeping = pool.clone();
        let keep = move || {
            while matches!(left.recv_timeout(tick), Err(RecvTimeoutError::Timeout)) {
                keeping.tick();
            }
        };
        let recovering = pool.clone();
        let threads = vec![spawn(keep)?, spawn(move || recovering.recover())?];
        Ok(Self { pool, leave: Some(leave), threads, process: std::process::id() })
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name("strongroom".into()).spawn(work);
    thread.map_err(|error| Error::io("the store's own threads cannot be started", error))
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.leave = None;
        self.pool.leave();
        for thread in self.threads.drain(..) {
            if self.process == std::process::id() {
                // A panic of it has been reported by the thread itself.
                drop(thread.join());
            }
        }
    }
}
