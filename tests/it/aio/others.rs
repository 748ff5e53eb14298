//! Nobody waits for anybody else: not the runtime for the disk, not a tenant for another's key service.
#![expect(clippy::disallowed_methods, reason = "how long something really took")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use strongroom::{
    LocalRoots, Policy, RootError, RootId, RootKeys, Strongroom, TenantSpec, WrapContext, WrapSecret, Wrapped, aio,
};

use super::{NOTES, notes, open};
use crate::support::{CUSTODIAN, ISSUER, Plain, user};

/// Root keys of which one does not answer while the gate is shut.
struct Stuck {
    roots: LocalRoots,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl RootKeys for Stuck {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.roots.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        if root.as_str() == "slow" {
            let (shut, changed) = &*self.gate;
            drop(changed.wait_while(shut.lock().unwrap(), |shut| *shut).unwrap());
        }
        self.roots.unwrap(root, wrapped, context)
    }
}

const SLOW_TENANTS: u64 = 6;

/// A store with a tenant of the service's root, and several whose root key hangs once their keys are asked for again.
fn world(folder: &std::path::Path, gate: &Arc<(Mutex<bool>, Condvar)>, limits: aio::Limits) -> aio::Strongroom {
    let build = || {
        let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
        if !roots.roots().iter().any(|root| root.as_str() == "slow") {
            roots.generate(&RootId::new("slow").unwrap()).unwrap();
        }
        let stuck = Stuck { roots, gate: gate.clone() };
        let builder = Strongroom::builder(folder.join("store"), stuck, Plain).service_speaker(ISSUER, "service");
        builder.boxes_per_cell(1).open().unwrap()
    };
    let room = build();
    let custody = room.custody(CUSTODIAN).unwrap();
    custody.create_tenant(TenantSpec::new("quick", ISSUER, "quick")).unwrap();
    for number in 0..SLOW_TENANTS {
        let (name, policy) = (format!("slow-{number}"), Policy::any_of([["slow"]]).unwrap());
        custody.create_tenant(TenantSpec::new(&name, ISSUER, &name).policy(policy)).unwrap();
    }
    for name in ["quick".to_owned()].into_iter().chain((0..SLOW_TENANTS).map(|number| format!("slow-{number}"))) {
        room.session(&user(&name), &name).unwrap().collection(&NOTES).unwrap().put(&1, &vec![1]).unwrap();
    }
    drop((custody, room));
    aio::Strongroom::new(build(), limits)
}

#[tokio::test]
async fn tenants_whose_key_service_hangs_hold_up_nobody_else() {
    let (folder, gate) = (tempfile::tempdir().unwrap(), Arc::new((Mutex::new(false), Condvar::new())));
    // Fewer threads for what is quick than there are tenants that hang.
    let limits = aio::Limits::default().threads(2).sign_ins(2).per_tenant(2);
    let room = world(folder.path(), &gate, limits);
    *gate.0.lock().unwrap() = true;
    let hanging: Vec<_> = (0..SLOW_TENANTS * 4)
        .map(|number| {
            let (room, name) = (room.clone(), format!("slow-{}", number % SLOW_TENANTS));
            tokio::spawn(async move { notes(&room, &name).await.get(&1).await.unwrap() })
        })
        .collect();
    while room.under_way() < 6 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let others = async {
        let quick = notes(&room, "quick").await;
        for number in 0..100 {
            quick.put(&number, vec![2]).await.unwrap();
            assert_eq!(quick.get(&number).await.unwrap(), Some(vec![2]));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), others).await.expect("the others wait for a key service");
    assert!(hanging.iter().all(|task| !task.is_finished()), "the root key did answer");
    *gate.0.lock().unwrap() = false;
    gate.1.notify_all();
    for task in hanging {
        assert_eq!(task.await.unwrap(), Some(vec![1]));
    }
}

/// The longest that a task that sleeps a millisecond at a time is kept from waking while `work` runs on the same thread.
async fn longest_pause(work: impl Future<Output = ()>) -> Duration {
    let (is_over, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let heartbeat = {
        let (is_over, longest) = (is_over.clone(), longest.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let before = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                longest.fetch_max(before.elapsed().as_micros() as u64, Ordering::SeqCst);
            }
        })
    };
    work.await;
    is_over.store(true, Ordering::SeqCst);
    heartbeat.await.unwrap();
    Duration::from_micros(longest.load(Ordering::SeqCst))
}

#[tokio::test]
async fn the_runtime_goes_on_while_a_key_service_and_the_disk_take_their_time() {
    let (folder, gate) = (tempfile::tempdir().unwrap(), Arc::new((Mutex::new(true), Condvar::new())));
    *gate.0.lock().unwrap() = false;
    let room = world(folder.path(), &gate, aio::Limits::default());
    let shut_for_a_while = |gate: Arc<(Mutex<bool>, Condvar)>| {
        *gate.0.lock().unwrap() = true;
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1_500));
            *gate.0.lock().unwrap() = false;
            gate.1.notify_all();
        })
    };
    let waker = shut_for_a_while(gate.clone());
    let pause = longest_pause(async {
        assert_eq!(notes(&room, "slow-0").await.get(&1).await.unwrap(), Some(vec![1]));
    });
    let pause = pause.await;
    waker.join().unwrap();
    assert!(pause < Duration::from_millis(1_000), "the runtime stood still for {pause:?}");

    // The positive control: the store itself, called on the runtime's thread.
    let waker = shut_for_a_while(gate.clone());
    let pause = longest_pause(async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        room.blocking().session(&user("slow-1"), "slow-1").unwrap();
    });
    let pause = pause.await;
    waker.join().unwrap();
    assert!(pause >= Duration::from_millis(1_000), "a blocking call was not noticed: {pause:?}");
}

#[tokio::test]
async fn a_task_that_finds_everything_in_memory_lets_others_have_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let room = open(folder.path(), aio::Limits::default());
    let notes = notes(&room, "contoso").await;
    notes.put(&1, vec![1]).await.unwrap();
    let turns = Arc::new(AtomicU64::new(0));
    let other = {
        let turns = turns.clone();
        tokio::spawn(async move {
            loop {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        })
    };
    for _ in 0..10_000 {
        assert_eq!(notes.get(&1).await.unwrap(), Some(vec![1]));
    }
    other.abort();
    assert!(turns.load(Ordering::SeqCst) >= 10, "{turns:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_operations_of_a_tenant_are_under_way_than_it_may_have() {
    let folder = tempfile::tempdir().unwrap();
    let room = open(folder.path(), aio::Limits::default().per_tenant(3));
    let session = room.session(&user("contoso"), "contoso").await.unwrap();
    let (running, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..60)
        .map(|_| {
            let (session, running, most) = (session.clone(), running.clone(), most.clone());
            tokio::spawn(async move {
                let work = move |_: &strongroom::Session| {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                };
                session.with(work).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn who_finds_too_many_of_its_tenant_waiting_is_told_so_and_nobody_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let room = open(folder.path(), aio::Limits::default().per_tenant(1).waiting(2));
    let session = room.session(&user("contoso"), "contoso").await.unwrap();
    let other = room.session(&user("fabrikam"), "fabrikam").await.unwrap();
    let (release, hold) = std::sync::mpsc::channel::<()>();
    let busy = {
        let session = session.clone();
        tokio::spawn(async move { session.with(move |_| Ok(hold.recv().is_err())).await })
    };
    while room.under_way() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(session.with(|_| Ok(())))).collect();
    for next in &mut waiting {
        assert!(std::future::poll_fn(|context| std::task::Poll::Ready(next.as_mut().poll(context).is_pending())).await);
    }
    assert_eq!(session.with(|_| Ok(())).await.unwrap_err().kind(), strongroom::ErrorKind::Throttled);
    other.with(|_| Ok(())).await.unwrap();
    // Who goes away makes room.
    waiting.pop();
    let mut next = Box::pin(session.with(|_| Ok(())));
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(next.as_mut().poll(context).is_pending())).await);
    drop(release);
    assert!(busy.await.unwrap().unwrap());
    waiting.pop().unwrap().await.unwrap();
    next.await.unwrap();
}
