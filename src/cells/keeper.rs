//! The one thread that a store keeps for itself: it flushes and closes cells, and recovers them after a crash.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::pool::{Pool, TICKS_PER_SECOND};
use crate::error::{Error, Result};

/// The thread; it ends when this is dropped.
pub(super) struct Keeper {
    /// Dropped to end the thread.
    leave: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The process that it runs in: a forked child has not inherited it.
    process: u32,
}

impl Keeper {
    pub(super) fn start(pool: Arc<Pool>) -> Result<Self> {
        let (leave, left) = mpsc::channel();
        let work = move || {
            let tick = Duration::from_millis(1000 / TICKS_PER_SECOND);
            let mut unrecovered = pool.numbers().into_iter();
            let mut pause = Duration::ZERO;
            while matches!(left.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                pause = if pool.recover_next(&mut unrecovered) { Duration::ZERO } else { tick };
                pool.tick();
            }
        };
        let thread = std::thread::Builder::new().name("strongroom".into()).spawn(work);
        let thread = thread.map_err(|error| Error::io("the store's own thread cannot be started", error))?;
        Ok(Self { leave: Some(leave), thread: Some(thread), process: std::process::id() })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.leave = None;
        if let Some(thread) = self.thread.take()
            && self.process == std::process::id()
        {
            // A panic of it has been reported by the thread itself.
            drop(thread.join());
        }
    }
}
