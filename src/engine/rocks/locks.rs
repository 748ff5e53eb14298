//! Locks for keys, so that a compare-and-swap sees no write come between its comparison and its write.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::Keyspace;

/// A mutex per shard of keys. Every write of a key takes its shard's, conditional or not.
pub(super) struct KeyLocks {
    shards: Box<[Mutex<()>]>,
    hasher: RandomState,
}

impl KeyLocks {
    const SHARDS: usize = 1024;

    pub(super) fn new() -> Self {
        Self { shards: (0..Self::SHARDS).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }

    /// Takes the locks of all these keys, in one order for everybody, so that no two batches wait for each other.
    #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash are as good as others")]
    pub(super) fn lock<'k>(&self, keys: impl Iterator<Item = (Keyspace, &'k [u8])>) -> Vec<MutexGuard<'_, ()>> {
        let mut shards: Vec<usize> = keys.map(|key| self.hasher.hash_one(key) as usize % Self::SHARDS).collect();
        shards.sort_unstable();
        shards.dedup();
        self.lock_shards(shards)
    }

    /// Takes every lock: for who removes a range of keys.
    pub(super) fn lock_all(&self) -> Vec<MutexGuard<'_, ()>> {
        self.lock_shards(0..Self::SHARDS)
    }

    /// Ascending.
    fn lock_shards(&self, shards: impl IntoIterator<Item = usize>) -> Vec<MutexGuard<'_, ()>> {
        // What a lock protects is in the engine, so that a panic under it leaves nothing half done here.
        shards.into_iter().map(|shard| self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}
