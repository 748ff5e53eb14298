//! The trails of a store, in tenant zero: events by number, and of every tree its right edge.
//!
//! Who acts hands over a batch with what the act writes, and the entries that say so: one write, so that there is never
//! an act without its entry, nor an entry of what was not done. What happens outside the store and cannot be taken back
//! (a recovery root is asked) has an entry before it, [`Begun`](super::Outcome::Begun), and another one after it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Checkpoint};
use super::event::Event;
use super::note::{self, VerifierKey};
use super::refusals::Refusals;
use super::tree::Tree;
use crate::engine::{Batch, Durability, View};
use crate::error::{Error, ErrorKind, Result};
use crate::name::Incarnation;
use crate::register::Register;
use crate::seal::Table;
use crate::signing::Signer;

/// Events by trail and number.
pub(super) const EVENTS: Table = Table { keyspace: 0, collection: 5 };
/// Trees by trail.
pub(super) const TREES: Table = Table { keyspace: 0, collection: 6 };

/// Trails of one shard wait for each other while one of them is written.
const SHARDS: usize = 64;
/// Heads in memory, for each shard.
const HEADS_MAX: usize = 256;

/// Where everything is written down that must not be forgotten. Every tenant has a trail, by its incarnation, and the
/// store has one, by its id.
pub(crate) struct Trails {
    pub(super) register: Arc<Register>,
    heads: [Mutex<Heads>; SHARDS],
    pub(super) refusals: Refusals,
}

/// The heads that are known to be those on the disk.
type Heads = HashMap<Incarnation, Tree>;

/// An event as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) leaf: Vec<u8>,
}

impl Trails {
    pub(crate) fn new(register: Arc<Register>) -> Self {
        Self { register, heads: std::array::from_fn(|_| Mutex::default()), refusals: Refusals::default() }
    }

    /// The trail of the store itself.
    pub(crate) fn of_store(&self) -> Incarnation {
        self.register.store_id()
    }

    /// Writes a batch and the entries of what it does, together or not at all, and as durably as the batch is to be.
    ///
    /// Nothing may be held that whoever asks for the store's ring could wait for. Trails are locked while the batch is
    /// written, because the order of a tree is that of its writes.
    ///
    /// # Errors
    /// `Tampered` if a trail is not what its head says: then nothing is written to it, nor by this batch. Else those of
    /// the engine, with the outcome unknown.
    pub(crate) fn apply(
        &self,
        mut batch: Batch,
        entries: impl IntoIterator<Item = (Incarnation, Event)>,
    ) -> Result<()> {
        // Before any trail is locked: root keys may be asked.
        self.register.ring()?;
        let entries: Vec<_> = entries.into_iter().collect();
        let mut held = Held::lock(&self.heads, entries.iter().map(|(trail, _)| *trail));
        let mut grown: HashMap<Incarnation, Tree> = HashMap::with_capacity(entries.len());
        for (trail, event) in entries {
            let mut tree = match grown.remove(&trail).or_else(|| held.take(trail)) {
                Some(tree) => tree,
                None => self.read_head(trail)?,
            };
            self.append(&mut batch, trail, &mut tree, event)?;
            grown.insert(trail, tree);
        }
        for (trail, tree) in &grown {
            self.register.put(&mut batch, TREES, &[trail.as_bytes()], tree)?;
        }
        // From here to the end of the write no head is known: after a failure it is read again.
        self.register.apply(batch)?;
        grown.into_iter().for_each(|(trail, tree)| held.keep(trail, tree));
        Ok(())
    }

    /// Writes an event that changes nothing else.
    pub(crate) fn record(&self, trail: Incarnation, event: Event, durability: Durability) -> Result<()> {
        self.apply(Batch::new(durability), [(trail, event)])
    }

    /// The head of a trail, signed. Every event of it is on the disk then: no power cut can make the store sign
    /// another trail of the same length.
    pub(crate) fn checkpoint(&self, trail: Incarnation) -> Result<String> {
        let head = self.head(trail)?;
        self.register.sync()?;
        head.sign(&self.signer()?)
    }

    /// Signs a text in the name of a trail, as its checkpoints are signed. The text must not be taken for one.
    pub(crate) fn sign(&self, trail: Incarnation, text: &str) -> Result<String> {
        note::sign(&self.signer()?, &self.origin(trail), text)
    }

    /// Whose signature the checkpoints of a trail bear.
    pub(crate) fn verifier_key(&self, trail: Incarnation) -> Result<VerifierKey> {
        VerifierKey::new(&self.origin(trail), self.signer()?.public()?)
    }

    pub(crate) fn is_empty(&self, trail: Incarnation) -> Result<bool> {
        Ok(self.head(trail)?.size() == 0)
    }

    pub(super) fn head(&self, trail: Incarnation) -> Result<Checkpoint> {
        self.head_and_view(trail).map(|(head, _)| head)
    }

    /// The head, and a snapshot of the moment in which it was that.
    pub(super) fn head_and_view(&self, trail: Incarnation) -> Result<(Checkpoint, Box<dyn View>)> {
        self.register.ring()?;
        let mut held = Held::lock(&self.heads, [trail]);
        let tree = match held.take(trail) {
            Some(tree) => tree,
            None => self.read_head(trail)?,
        };
        let head = Checkpoint::new(self.origin(trail), &tree);
        held.keep(trail, tree);
        Ok((head, self.register.view()?))
    }

    /// The leaf of an event.
    ///
    /// # Errors
    /// `Tampered` if it is not there, or not what was written.
    pub(super) fn leaf(&self, trail: Incarnation, sequence: u64) -> Result<Vec<u8>> {
        let row = self.get(trail, sequence)?;
        row.map(|row| row.leaf).ok_or_else(|| tampered(format!("event {sequence} of the audit trail is missing")))
    }

    /// As if the store had been opened anew.
    #[cfg(test)]
    pub(super) fn forget_heads(&self) {
        self.heads.iter().for_each(|heads| heads.lock().unwrap_or_else(PoisonError::into_inner).clear());
    }

    fn append(&self, batch: &mut Batch, trail: Incarnation, tree: &mut Tree, event: Event) -> Result<()> {
        let event = Event { time_ms: self.register.now_ms(), ..event };
        let row = Row { leaf: event.encode(self.register.entropy().bytes()?) };
        let sequence = tree.size().to_be_bytes();
        self.register.put(batch, EVENTS, &[trail.as_bytes(), &sequence], &row)?;
        tree.push(&row.leaf);
        Ok(())
    }

    /// Reads a head, and whether the trail ends where it says: no entry is ever written over another.
    fn read_head(&self, trail: Incarnation) -> Result<Tree> {
        let tree: Tree = self.register.get(TREES, &[trail.as_bytes()])?.unwrap_or_default();
        let has_last = match tree.size().checked_sub(1) {
            Some(last) => self.get(trail, last)?.is_some(),
            None => true,
        };
        if !tree.is_whole() || !has_last || self.get(trail, tree.size())?.is_some() {
            return Err(tampered("the audit trail does not end where its head says"));
        }
        Ok(tree)
    }

    fn get(&self, trail: Incarnation, sequence: u64) -> Result<Option<Row>> {
        self.register.get(EVENTS, &[trail.as_bytes(), &sequence.to_be_bytes()])
    }

    fn origin(&self, trail: Incarnation) -> String {
        checkpoint::origin(self.register.store_id(), trail)
    }

    fn signer(&self) -> Result<Signer> {
        Signer::new(&self.register.signing_seed()?)
    }
}

/// The shards of some trails, locked in their order, so that nobody waits in a circle.
struct Held<'t>(Vec<(usize, MutexGuard<'t, Heads>)>);

impl<'t> Held<'t> {
    fn lock(heads: &'t [Mutex<Heads>; SHARDS], trails: impl IntoIterator<Item = Incarnation>) -> Self {
        let mut shards: Vec<usize> = trails.into_iter().map(shard).collect();
        shards.sort_unstable();
        shards.dedup();
        let lock = |shard: usize| (shard, heads[shard].lock().unwrap_or_else(PoisonError::into_inner));
        Self(shards.into_iter().map(lock).collect())
    }

    /// The head of a trail, if it is known. From then on it is not.
    fn take(&mut self, trail: Incarnation) -> Option<Tree> {
        self.shard(trail)?.remove(&trail)
    }

    fn keep(&mut self, trail: Incarnation, tree: Tree) {
        let Some(heads) = self.shard(trail) else { return };
        if heads.len() >= HEADS_MAX
            && let Some(some) = heads.keys().next().copied()
        {
            heads.remove(&some);
        }
        heads.insert(trail, tree);
    }

    fn shard(&mut self, trail: Incarnation) -> Option<&mut Heads> {
        let number = shard(trail);
        self.0.iter_mut().find(|(held, _)| *held == number).map(|(_, heads)| &mut **heads)
    }
}

/// Incarnations are random: any byte spreads them.
fn shard(trail: Incarnation) -> usize {
    usize::from(trail.as_bytes()[0]) % SHARDS
}

pub(super) fn tampered(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Tampered, text)
}

impl Drop for Trails {
    fn drop(&mut self) {
        self.write_refusals(None);
        self.write_calls();
    }
}
