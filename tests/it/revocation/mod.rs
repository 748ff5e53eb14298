//! Revocation on real time, with a real OpenBao whose owner does what owners do, while a tenant's users go on working: what
//! ends access, how soon, and what is written down of it. The same on a clock set by hand is in `fences`.

mod calls;
mod outages;
mod refusals;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom::audit::{Act, Recorded};
use strongroom::{
    Clock, Collection, CollectionDef, Custody, ErrorKind, Fence, LocalRoots, Policy, Result, RootSet, Strongroom,
    SystemClock, TenantSpec, Trail, TransitRoots,
};

use crate::support::{CUSTODIAN, ISSUER, Plain, user};
use crate::transit::id;

type Notes = Collection<u64, Vec<u8>>;

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();
const COUNT: u64 = 20;

/// A store whose own root key is in a file, as a recovery root is, and whose tenants' root keys are in vaults.
struct World {
    room: Strongroom,
    clock: Arc<dyn Clock>,
}

impl World {
    fn open(folder: &Path, vaults: impl IntoIterator<Item = TransitRoots>) -> Self {
        Self::open_on(folder, vaults, SystemClock::new())
    }

    /// The same on another clock.
    fn open_on(folder: &Path, vaults: impl IntoIterator<Item = TransitRoots>, clock: Arc<dyn Clock>) -> Self {
        let local = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
        local.generate(&id("recovery")).unwrap();
        let roots = vaults.into_iter().fold(RootSet::new(), |set, vault| set.provider(vault.roots(), vault).unwrap());
        let builder = Strongroom::builder(folder.join("store"), roots.local(local).unwrap(), Plain);
        let builder = builder.service_speaker(ISSUER, "service").boxes_per_cell(8).clock(clock.clone());
        Self { room: builder.open().unwrap(), clock }
    }

    /// Makes a tenant with some notes; without a policy it is the service's root key that opens it.
    fn make(&self, tenant: &str, policy: Option<Policy>) {
        let spec = TenantSpec::new(tenant, ISSUER, tenant);
        let spec = match policy {
            Some(policy) => spec.policy(policy),
            None => spec,
        };
        self.custody().create_tenant(spec).unwrap();
        let notes = self.notes(tenant).unwrap();
        (0..COUNT).for_each(|key| notes.put(&key, &vec![7; 100]).map(drop).unwrap());
    }

    fn custody(&self) -> Custody {
        self.room.custody(CUSTODIAN).unwrap()
    }

    fn notes(&self, tenant: &str) -> Result<Notes> {
        self.room.session(&user(tenant), tenant)?.collection(&NOTES)
    }

    fn fence(&self, tenant: &str) -> Option<Fence> {
        self.custody().tenant(tenant).unwrap().fence
    }

    /// From now on no key of the tenant is in memory.
    fn cool(&self, tenant: &str) {
        self.custody().suspend_tenant(tenant).unwrap();
        self.custody().resume_tenant(tenant).unwrap();
    }

    fn trail(&self, trail: Trail<'_>) -> Vec<Recorded> {
        let custody = self.custody();
        let mut events = Vec::new();
        loop {
            let page = custody.audit_events(trail, events.len() as u64, 1000).unwrap();
            if page.is_empty() {
                return events;
            }
            events.extend(page);
        }
    }

    /// The events of one act in a tenant's trail.
    fn told(&self, tenant: &str, act: &Act) -> Vec<Recorded> {
        let events = self.trail(Trail::Tenant(tenant));
        events.into_iter().filter(|recorded| recorded.event.act == *act).collect()
    }

    fn now_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }

    /// Waits until something holds, for a time that it must not take.
    fn until(&self, what: &str, at_most: Duration, mut holds: impl FnMut() -> bool) {
        let begun_ms = self.now_ms();
        while !holds() {
            let waited = Duration::from_millis(self.now_ms() - begun_ms);
            assert!(waited <= at_most, "{what}: not after {waited:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Plays while three users of a tenant work without a pause: one gets, one scans, one writes.
    fn among_users<T>(&self, tenant: &str, play: impl FnOnce(&Seen) -> T) -> T {
        let seen = &Seen::default();
        std::thread::scope(|scope| {
            for work in WORKS {
                scope.spawn(move || self.work(tenant, work, seen));
            }
            let _end = End(seen);
            play(seen)
        })
    }

    /// Does one thing over and over, in a session for as long as it lasts, and in a new one now and then.
    fn work(&self, tenant: &str, work: Work, seen: &Seen) {
        let mut notes = None;
        for turn in 0_u32.. {
            if seen.is_over.load(Ordering::SeqCst) {
                return;
            }
            let begun_ms = self.now_ms();
            let there = notes.take().filter(|_| !turn.is_multiple_of(16)).map_or_else(|| self.notes(tenant), Ok);
            let outcome = there.and_then(|there| {
                work(&there, &|| {
                    seen.last_success_ms.fetch_max(self.now_ms(), Ordering::SeqCst);
                    seen.successes.fetch_add(1, Ordering::SeqCst);
                })?;
                Ok(there)
            });
            seen.longest_ms.fetch_max(self.now_ms() - begun_ms, Ordering::SeqCst);
            match outcome {
                Ok(there) => notes = Some(there),
                Err(error) => drop(seen.errors.lock().unwrap().insert(error.kind())),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a user does, saying so whenever something of it has succeeded.
type Work = fn(&Notes, &dyn Fn()) -> Result<()>;

const WORKS: [Work; 3] = [get, scan, put];

fn get(notes: &Notes, succeeded: &dyn Fn()) -> Result<()> {
    assert_eq!(notes.get(&1)?, Some(vec![7; 100]));
    succeeded();
    Ok(())
}

fn scan(notes: &Notes, succeeded: &dyn Fn()) -> Result<()> {
    for row in notes.iter()? {
        row?;
        succeeded();
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn put(notes: &Notes, succeeded: &dyn Fn()) -> Result<()> {
    notes.put(&COUNT, &vec![8; 100])?;
    succeeded();
    Ok(())
}

/// What a tenant's users have seen.
#[derive(Default)]
struct Seen {
    last_success_ms: AtomicU64,
    successes: AtomicU64,
    /// The longest that one of them had to wait for one thing.
    longest_ms: AtomicU64,
    errors: Mutex<HashSet<ErrorKind>>,
    is_over: AtomicBool,
}

impl Seen {
    fn last_success_ms(&self) -> u64 {
        self.last_success_ms.load(Ordering::SeqCst)
    }

    fn successes(&self) -> u64 {
        self.successes.load(Ordering::SeqCst)
    }

    fn longest(&self) -> Duration {
        Duration::from_millis(self.longest_ms.load(Ordering::SeqCst))
    }

    /// Which errors there were since this was last asked.
    fn take_errors(&self) -> HashSet<ErrorKind> {
        std::mem::take(&mut self.errors.lock().unwrap())
    }
}

/// Sends the users home, also when a test fails: whoever plays among them would wait for them for ever.
struct End<'s>(&'s Seen);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

/// What an event says of something.
fn detail(recorded: &Recorded, key: &str) -> String {
    let found = recorded.event.details.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}
