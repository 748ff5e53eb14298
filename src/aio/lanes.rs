//! Threads that may block: a queue for each kind of work, and no more threads on it than that kind is worth.
//!
//! The threads are those of the runtime (`spawn_blocking`), taken when there is work and given back when there is none. One
//! that has done its work goes on with the next in the queue: under load nobody is woken for it.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};

type Job = Box<dyn FnOnce() + Send>;

/// A queue, and at most `limit` threads that empty it. A cheap handle.
#[derive(Clone)]
pub(super) struct Lane {
    limit: usize,
    queue_max: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    workers: usize,
}

/// A thread's place at a lane.
struct Worker {
    lane: Lane,
    has_left: bool,
}

impl Lane {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), queue_max: usize::MAX, state: Arc::default() }
    }

    /// For work that needs no permit, whose queue nothing else would bound.
    pub(super) fn with_queue(mut self, max: usize) -> Self {
        self.queue_max = max;
        self
    }

    /// Does `work` on a thread of this lane. `held` is held until the work is done, or it is certain that it never begins:
    /// dropping the future neither stops work that has begun nor lets go of anything before its end.
    ///
    /// # Errors
    /// Those of `work`; `Throttled` if the queue is full, `Invalid` outside of a runtime, `Closed` if the runtime ends first.
    ///
    /// # Panics
    /// As `work` does.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        held: impl Send + 'static,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, done) = oneshot::channel();
        self.push(Box::new(move || {
            // Nobody waits for it any more, and nothing has happened yet.
            if answer.is_closed() {
                return;
            }
            let outcome = panic::catch_unwind(AssertUnwindSafe(work));
            drop(held);
            drop(answer.send(outcome));
        }))?;
        match done.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panicked)) => panic::resume_unwind(panicked),
            Err(_) => Err(Error::new(ErrorKind::Closed, "the runtime has ended")),
        }
    }

    fn push(&self, job: Job) -> Result<()> {
        let runtime = Handle::try_current().map_err(|_| Error::invalid("there is no Tokio runtime here"))?;
        let mut state = self.lock();
        if state.jobs.len() >= self.queue_max {
            drop(state);
            drop(job);
            return Err(Error::new(ErrorKind::Throttled, "more is waiting to be done than may wait"));
        }
        state.jobs.push_back(job);
        if state.workers < self.limit {
            state.workers += 1;
            drop(state);
            let worker = Worker { lane: self.clone(), has_left: false };
            runtime.spawn_blocking(move || worker.work());
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn work(mut self) {
        while let Some(job) = self.next() {
            // What is let go of without having run, or with nobody to take its outcome, may panic as it goes: that is no
            // reason for those behind it to go too.
            drop(panic::catch_unwind(AssertUnwindSafe(job)));
        }
    }

    /// The next job. Whoever finds none has left the lane before anybody can add one.
    fn next(&mut self) -> Option<Job> {
        let mut state = self.lane.lock();
        let job = state.jobs.pop_front();
        if job.is_none() {
            state.workers -= 1;
            self.has_left = true;
        }
        job
    }
}

impl Drop for Worker {
    /// The runtime has ended before this worker began. The last one lets go of what nobody will do now.
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        let mut state = self.lane.lock();
        state.workers -= 1;
        let left_over = if state.workers == 0 { std::mem::take(&mut state.jobs) } else { VecDeque::new() };
        drop(state);
        drop(left_over);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
    }

    #[test]
    fn a_lane_has_no_more_threads_than_it_is_given_and_does_everything() {
        let (lane, running, most, done) = (Lane::new(3), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let counts = Arc::new((running, most, done));
        runtime().block_on(async {
            let tasks: Vec<_> = (0..2_000)
                .map(|number| {
                    let (lane, counts) = (lane.clone(), counts.clone());
                    tokio::spawn(async move {
                        let work = move || {
                            let (running, most, done) = &*counts;
                            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            // Long enough, now and then, for the queue to fill, and else short enough for it to run dry.
                            std::thread::sleep(Duration::from_micros(if number % 50 == 0 { 500 } else { 0 }));
                            running.fetch_sub(1, Ordering::SeqCst);
                            done.fetch_add(1, Ordering::SeqCst);
                            Ok(number)
                        };
                        assert_eq!(lane.run((), work).await.unwrap(), number);
                        tokio::task::yield_now().await;
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(counts.2.load(Ordering::SeqCst), 2_000);
        assert!((2..=3).contains(&counts.1.load(Ordering::SeqCst)), "{:?}", counts.1);
        assert_eq!(lane.lock().workers, 0);
    }

    #[test]
    fn what_nobody_waits_for_any_more_never_begins_and_lets_go() {
        let (lane, runtime) = (Lane::new(1), runtime());
        let (release, hold) = mpsc::channel::<()>();
        let busy = {
            let lane = lane.clone();
            runtime.spawn(async move { lane.run((), move || Ok(hold.recv().is_ok())).await })
        };
        while lane.lock().workers == 0 || !lane.lock().jobs.is_empty() {
            std::thread::yield_now();
        }
        let (held, has_run) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
        let waiting = {
            let (lane, held, has_run) = (lane.clone(), held.clone(), has_run.clone());
            runtime.spawn(async move { lane.run(held, move || Ok(has_run.fetch_add(1, Ordering::SeqCst))).await })
        };
        while lane.lock().jobs.is_empty() {
            std::thread::yield_now();
        }
        waiting.abort();
        assert!(runtime.block_on(waiting).unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&held), 2, "it is in the queue still");
        release.send(()).unwrap();
        assert!(runtime.block_on(busy).unwrap().unwrap());
        while lane.lock().workers > 0 {
            std::thread::yield_now();
        }
        assert_eq!((Arc::strong_count(&held), has_run.load(Ordering::SeqCst)), (1, 0));
    }

    #[test]
    fn work_that_has_begun_keeps_what_it_holds_until_its_end_though_nobody_waits() {
        let (lane, runtime, held) = (Lane::new(1), runtime(), Arc::new(()));
        let (begun, has_begun) = mpsc::channel();
        let (release, hold) = mpsc::channel::<()>();
        let running = {
            let (lane, held) = (lane.clone(), held.clone());
            let work = move || {
                begun.send(()).unwrap();
                let _ = hold.recv();
                Ok(())
            };
            runtime.spawn(async move { lane.run(held, work).await })
        };
        has_begun.recv().unwrap();
        running.abort();
        assert!(runtime.block_on(running).unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(release);
        while Arc::strong_count(&held) > 1 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_finds_the_queue_full_is_told_so() {
        let (lane, runtime) = (Lane::new(1).with_queue(1), runtime());
        let (release, hold) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let run = |work: Box<dyn FnOnce() -> Result<()> + Send>| {
            let lane = lane.clone();
            runtime.spawn(async move { lane.run((), work).await })
        };
        let busy = run(Box::new(move || {
            begun.send(()).unwrap();
            let _ = hold.recv();
            Ok(())
        }));
        has_begun.recv().unwrap();
        let waiting = run(Box::new(|| Ok(())));
        while lane.lock().jobs.is_empty() {
            std::thread::yield_now();
        }
        let refused = runtime.block_on(run(Box::new(|| Ok(())))).unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Throttled);
        drop(release);
        runtime.block_on(async { busy.await.unwrap().and(waiting.await.unwrap()).unwrap() });
    }

    #[test]
    fn a_panic_is_the_callers_and_leaves_the_lane_whole() {
        let (lane, runtime) = (Lane::new(1), runtime());
        let panics = {
            let lane = lane.clone();
            runtime.spawn(async move { lane.run((), || -> Result<()> { panic!("on purpose") }).await })
        };
        assert!(runtime.block_on(panics).unwrap_err().is_panic());
        assert_eq!(runtime.block_on(lane.run((), || Ok(7))).unwrap(), 7);
    }

    /// Panics when it is let go of.
    struct Grenade;

    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }

    #[test]
    fn what_panics_as_it_is_let_go_of_takes_nobody_along() {
        let (lane, runtime) = (Lane::new(1), runtime());
        let (release, hold) = mpsc::channel::<()>();
        let spawn = |work: Box<dyn FnOnce() -> Result<()> + Send>| {
            let lane = lane.clone();
            runtime.spawn(async move { lane.run((), work).await })
        };
        let wait_for_queue_of = |jobs| {
            while lane.lock().jobs.len() != jobs {
                std::thread::yield_now();
            }
        };
        let busy = spawn(Box::new(move || {
            assert!(hold.recv().is_ok());
            Ok(())
        }));
        while lane.lock().workers == 0 || !lane.lock().jobs.is_empty() {
            std::thread::yield_now();
        }
        let grenade = Grenade;
        let abandoned = spawn(Box::new(move || {
            let _held = &grenade;
            Ok(())
        }));
        wait_for_queue_of(1);
        let behind = spawn(Box::new(|| Ok(())));
        wait_for_queue_of(2);
        abandoned.abort();
        assert!(runtime.block_on(abandoned).unwrap_err().is_cancelled());
        release.send(()).unwrap();
        assert!(runtime.block_on(busy).unwrap().is_ok());
        assert!(runtime.block_on(behind).unwrap().is_ok());
    }

    #[test]
    fn without_a_runtime_nothing_hangs() {
        let lane = Lane::new(1);
        let mut outside = std::pin::pin!(lane.run((), || Ok(())));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Err(error)) = outside.as_mut().poll(&mut context) else { panic!("it waits") };
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(lane.lock().jobs.is_empty());

        // One that has ended, and begins nothing any more.
        let ended = runtime();
        let handle = ended.handle().clone();
        ended.shutdown_background();
        let _guard = handle.enter();
        let mut late = std::pin::pin!(lane.run((), || Ok(())));
        let std::task::Poll::Ready(Err(error)) = late.as_mut().poll(&mut context) else { panic!("it waits") };
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(lane.lock().workers, 0);
    }
}
