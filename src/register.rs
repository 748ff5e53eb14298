//! Tenant zero: the store's own cell, ring and sealed rows, in which it keeps what it knows of itself.
//!
//! It has no row of its own. The builder's configuration stands for it, and its root wraps with a secret key.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroize;

use crate::cells::{Cell, Cells};
use crate::clock::{Clock, Deadline};
use crate::engine::{Batch, Durability, View};
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, Belief, CachedRing, Change, Loaded, Policy, Ring};
use crate::kms::{Calls, RootId, RootKeys, Witnessed};
use crate::name::Incarnation;
use crate::seal::Table;
use crate::secret::Key32;

/// Where the store writes down what it knows.
pub(crate) struct Register {
    zero: Cell,
    store: Incarnation,
    policy: Policy,
    belief: RwLock<Belief>,
    ring: CachedRing,
    /// Whose calls are remembered.
    roots: Arc<dyn RootKeys>,
    witnessed: Arc<Witnessed>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Held by whoever makes the signing key.
    signing: Mutex<()>,
}

/// What the store knows of itself as a whole.
pub(crate) const STORE: Table = Table { keyspace: 0, collection: 0 };
const SIGNING_KEY: &[u8] = b"signing key";

impl Register {
    /// Opens tenant zero, making its ring in a new store.
    pub(crate) fn open(
        cells: &Cells,
        roots: Arc<dyn RootKeys>,
        policy: Policy,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self> {
        let zero = cells.zero()?;
        let asked = Deadline::now(&*clock);
        let witnessed = Witnessed::new(roots);
        let roots: Arc<dyn RootKeys> = witnessed.clone();
        let (belief, opened) = match keys::peek_zero(&zero.rings, &policy)? {
            Some(belief) => {
                let ring = keys::load(&zero.rings, 0, &belief, &roots)?;
                (belief, ring)
            }
            None => make(&zero, cells, &policy, &*roots, &*entropy, clock.wall_ms() / 1000)?,
        };
        let ring = CachedRing::new(clock.clone());
        ring.put(opened, asked);
        Ok(Self {
            store: belief.incarnation,
            belief: RwLock::new(belief),
            zero,
            policy,
            ring,
            roots,
            witnessed,
            clock,
            entropy,
            signing: Mutex::default(),
        })
    }

    /// The store's id: the incarnation of tenant zero.
    pub(crate) fn store_id(&self) -> Incarnation {
        self.store
    }

    /// The policy of the store's own ring, and of tenants that are made without one.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn belief(&self) -> Belief {
        self.belief.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store's own cell.
    #[cfg(feature = "backup")]
    pub(crate) fn cell(&self) -> &Cell {
        &self.zero
    }

    pub(crate) fn roots(&self) -> &Arc<dyn RootKeys> {
        &self.roots
    }

    pub(crate) fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn now_secs(&self) -> u64 {
        self.now_ms() / 1000
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    /// The store's own ring. No root key is asked while it is in memory, because this is called while locks are held:
    /// see [`refresh`](Self::refresh).
    pub(crate) fn ring(&self) -> Result<Arc<Ring>> {
        self.ring.held().map_or_else(|| self.refresh(), Ok)
    }

    /// Asks the root keys again if it is time. Called before a lock is taken, and at every sign-in.
    pub(crate) fn refresh(&self) -> Result<Arc<Ring>> {
        self.ring.get(|| self.load()).map_err(|error| self.advise(&self.policy, error))
    }

    /// An error of loading a ring, with the longest time that whoever keeps its policy's root keys has asked for: those of
    /// other tenants say nothing of theirs.
    pub(crate) fn advise(&self, policy: &Policy, error: Error) -> Error {
        match policy.roots().into_iter().filter_map(|root| self.roots.retry_after(root)).max() {
            Some(wait) if error.kind() == ErrorKind::Throttled => error.with_retry_after(wait),
            _ => error,
        }
    }

    fn load(&self) -> Result<Loaded> {
        let loaded = keys::load(&self.zero.rings, 0, &self.belief(), &self.roots);
        if loaded.is_err() && self.policy.roots().into_iter().any(|root| self.roots.is_external(root)) {
            // Whoever comes while it is away, and with whatever token, buys no call.
            self.ring.begin_rest();
        }
        loaded.map(Loaded::Whole)
    }

    /// Has the root keys asked now if they would be soon.
    pub(crate) fn lease(&self) -> Result<Deadline> {
        self.ring.lease(|| self.load()).map_err(|error| self.advise(&self.policy, error))
    }

    /// Calls of root keys out of this process that have not been written down yet.
    pub(crate) fn take_calls(&self) -> Calls {
        self.witnessed.take_calls()
    }

    /// Counts calls that could not be written down, to be told of by the next entry that can.
    pub(crate) fn leave_untold(&self, calls: u64) {
        self.witnessed.leave_untold(calls);
    }

    /// Begins a new epoch of the store's own ring, under what are its root's newest version.
    pub(crate) fn begin_epoch(&self) -> Result<()> {
        let ring = self.refresh()?;
        let change = Change::epoch(&ring, self.policy.clone(), ring.epoch() + 1, &*self.roots, &*self.entropy)?;
        let mut belief = self.belief.write().unwrap_or_else(PoisonError::into_inner);
        keys::write_all(&self.zero.rings, [(0, &change)])?;
        *belief = change.belief();
        self.ring.replace(&Arc::new(change.into_ring()));
        Ok(())
    }

    /// The version of each root key that wraps the store's own ring.
    pub(crate) fn root_versions(&self) -> Result<Vec<(RootId, String)>> {
        Ok(self.ring()?.root_versions().map(|(root, version)| (root.clone(), version.to_owned())).collect())
    }

    /// Drops the store's keys if nobody has asked for them past their hard expiry.
    pub(crate) fn expire(&self) {
        self.ring.expire();
    }

    /// A snapshot of the store's own rows.
    pub(crate) fn view(&self) -> Result<Box<dyn View>> {
        self.zero.engine.view()
    }

    pub(crate) fn apply(&self, batch: Batch) -> Result<()> {
        self.zero.engine.apply(batch)
    }

    /// Makes durable what was written without a sync.
    pub(crate) fn sync(&self) -> Result<()> {
        self.zero.engine.sync()
    }

    /// The secret half of the key that signs what leaves the store, made at first need.
    pub(crate) fn signing_seed(&self) -> Result<Key32> {
        let _signing = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut seed) = self.get::<[u8; 32]>(STORE, &[SIGNING_KEY])? {
            let secret = Key32::with(|bytes| bytes.copy_from_slice(&seed));
            seed.zeroize();
            return Ok(secret);
        }
        let seed = Key32::random(&*self.entropy)?;
        self.write(STORE, &[SIGNING_KEY], seed.expose_secret())?;
        Ok(seed)
    }

    /// Whether that key has been made.
    #[cfg(feature = "backup")]
    pub(crate) fn has_signing_key(&self) -> Result<bool> {
        let mut seed = self.get::<[u8; 32]>(STORE, &[SIGNING_KEY])?;
        let is_there = seed.is_some();
        seed.zeroize();
        Ok(is_there)
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, table: Table, key: &[&[u8]]) -> Result<Option<T>> {
        table.get(&*self.zero.engine, &*self.ring()?, key)
    }

    /// Adds a row to `batch`.
    pub(crate) fn put<T: Serialize>(&self, batch: &mut Batch, table: Table, key: &[&[u8]], row: &T) -> Result<()> {
        table.put(batch, &*self.ring()?, &*self.entropy, key, row)
    }

    /// Adds the removal of a row to `batch`.
    pub(crate) fn delete(&self, batch: &mut Batch, table: Table, key: &[&[u8]]) -> Result<()> {
        table.delete(batch, &*self.ring()?, key)
    }

    /// Writes one row, durably.
    pub(crate) fn write<T: Serialize>(&self, table: Table, key: &[&[u8]], row: &T) -> Result<()> {
        let mut batch = Batch::new(Durability::Synced);
        self.put(&mut batch, table, key, row)?;
        self.apply(batch)
    }

    pub(crate) fn list<T: DeserializeOwned>(&self, table: Table, prefix: &[&[u8]]) -> Result<Vec<T>> {
        table.list(&*self.view()?, &*self.ring()?, prefix)
    }
}

/// Makes the store's own ring, in a store that holds nothing yet: what is in the slots then is nothing, or what a
/// crash left of the first attempt.
fn make(
    zero: &Cell,
    cells: &Cells,
    policy: &Policy,
    roots: &dyn RootKeys,
    entropy: &dyn Entropy,
    now_secs: u64,
) -> Result<(Belief, Ring)> {
    let rows_left = !zero.engine.view()?.page(0, &[], None, 1)?.rows.is_empty();
    if rows_left || !cells.numbers().is_empty() {
        return Err(Error::corrupt("the store's own ring is gone or damaged, and its records are not"));
    }
    let incarnation = Incarnation::new(entropy.bytes()?);
    keys::create(&zero.rings, 0, incarnation, policy.clone(), roots, entropy, now_secs)
}
