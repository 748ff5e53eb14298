//! Changes to several records that happen together or not at all.

use super::turns::{Pace, Turn};
use crate::collection::{self, CollectionDef, Expected, Key, PutOptions};
use crate::engine::Durability;
use crate::error::Result;
use crate::seal::Version;
use crate::session::Session;

type Step = Box<dyn FnOnce(collection::WriteBatch) -> Result<collection::WriteBatch> + Send>;

/// A batch under construction: a [`WriteBatch`](crate::WriteBatch) for async callers. [`commit`](Self::commit) applies it;
/// dropping it changes nothing. Nothing is looked at before the commit, collections and limits included.
#[must_use = "a batch changes nothing until it is committed"]
pub struct WriteBatch {
    session: Session,
    turn: Turn,
    steps: Vec<Step>,
    durability: Durability,
}

impl WriteBatch {
    pub(super) fn new(session: Session, turn: Turn) -> Self {
        Self { session, turn, steps: Vec::new(), durability: Durability::Synced }
    }

    /// Sets the value of `key`.
    pub fn put<K: Key + 'static, V: Send + 'static>(
        self,
        to: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        value: V,
    ) -> Self {
        let (to, key) = (*to, K::own(key));
        self.step(move |batch| batch.put(&to, &K::lend(&key), &value))
    }

    /// Sets the value of `key` as the options say; an expectation of theirs is one of the whole batch.
    pub fn put_with<K: Key + 'static, V: Send + 'static>(
        self,
        to: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        value: V,
        options: PutOptions,
    ) -> Self {
        let (to, key) = (*to, K::own(key));
        self.step(move |batch| batch.put_with(&to, &K::lend(&key), &value, options))
    }

    /// Sets the value of `key`, and makes the whole batch depend on what was there before it.
    pub fn put_if<K: Key + 'static, V: Send + 'static>(
        self,
        to: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        value: V,
        expected: impl Into<Expected>,
    ) -> Self {
        let (to, key, expected) = (*to, K::own(key), expected.into());
        self.step(move |batch| batch.put_if(&to, &K::lend(&key), &value, expected))
    }

    /// Removes the record of `key`, if there is one.
    pub fn delete<K: Key + 'static, V: 'static>(self, from: &CollectionDef<K, V>, key: &K::Ref<'_>) -> Self {
        let (from, key) = (*from, K::own(key));
        self.step(move |batch| batch.delete(&from, &K::lend(&key)))
    }

    /// Removes the record of `key`, and makes the whole batch depend on what was there before it.
    pub fn delete_if<K: Key + 'static, V: 'static>(
        self,
        from: &CollectionDef<K, V>,
        key: &K::Ref<'_>,
        expected: impl Into<Expected>,
    ) -> Self {
        let (from, key, expected) = (*from, K::own(key), expected.into());
        self.step(move |batch| batch.delete_if(&from, &K::lend(&key), expected))
    }

    /// How durable the batch is when [`commit`](Self::commit) returns; [`Durability::Synced`] unless said here.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Applies every change, atomically, in the order in which they were added. Returns the version of every value that was
    /// put, in that order.
    ///
    /// # Errors
    /// As the methods and the [`commit`](crate::WriteBatch::commit) of a [`WriteBatch`](crate::WriteBatch).
    pub async fn commit(self) -> Result<Vec<Version>> {
        let Self { session, turn, steps, durability } = self;
        let work = move || {
            let batch = session.batch().durability(durability);
            steps.into_iter().try_fold(batch, |batch, step| step(batch))?.commit()
        };
        turn.run(Pace::of_writes(durability), work).await
    }

    fn step(
        mut self,
        step: impl FnOnce(collection::WriteBatch) -> Result<collection::WriteBatch> + Send + 'static,
    ) -> Self {
        self.steps.push(Box::new(step));
        self
    }
}

impl std::fmt::Debug for WriteBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBatch").field("steps", &self.steps.len()).finish_non_exhaustive()
    }
}
