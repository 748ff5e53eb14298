//! The door of a tenant's principals.

use std::sync::Arc;

use super::turns::{Floor, Pace, Turn};
use super::{Collection, WriteBatch};
use crate::access::VerifiedIdentity;
use crate::collection::{CollectionDef, CollectionSummary, Key, Transaction};
use crate::error::{Error, Result};
use crate::name::TenantName;
use crate::session::{self, KeyLease};

/// One actor, one tenant, one deadline: a [`Session`](crate::Session) for async callers. A cheap handle: `Clone`, `Send`,
/// `Sync`, `'static`.
#[derive(Clone)]
pub struct Session {
    session: session::Session,
    turn: Turn,
}

impl Session {
    pub(super) fn new(session: session::Session, floor: &Arc<Floor>) -> Self {
        let turn = floor.turn(session.tenant_handle());
        Self { session, turn }
    }

    /// The tenant whose records this session reaches.
    #[must_use]
    pub fn tenant(&self) -> &TenantName {
        self.session.tenant()
    }

    /// Who acts.
    #[must_use]
    pub fn identity(&self) -> &VerifiedIdentity {
        self.session.identity()
    }

    /// Opens a collection; makes it if it is not there and the identity may write.
    ///
    /// # Errors
    /// As [`Session::collection`](crate::Session::collection).
    pub async fn collection<K: Key + 'static, V: Send + 'static>(
        &self,
        definition: &CollectionDef<K, V>,
    ) -> Result<Collection<K, V>> {
        let opened = match self.session.collection_at_hand(definition) {
            Some(opened) => opened?,
            None => {
                let definition = *definition;
                self.run(Pace::Syncs, move |session| session.collection(&definition)).await?
            }
        };
        Ok(Collection::new(opened, self.turn.clone()))
    }

    /// The tenant's collections, by name.
    ///
    /// # Errors
    /// As [`Session::collections`](crate::Session::collections).
    pub async fn collections(&self) -> Result<Vec<CollectionSummary>> {
        self.with(session::Session::collections).await
    }

    /// Removes a collection and all its records, atomically and durably.
    ///
    /// # Errors
    /// As [`Session::drop_collection`](crate::Session::drop_collection).
    pub async fn drop_collection(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.run(Pace::Syncs, move |session| session.drop_collection(&name)).await
    }

    /// Has the tenant's root keys asked now, if they would be asked soon.
    ///
    /// # Errors
    /// As [`Session::prefetch_keys`](crate::Session::prefetch_keys).
    pub async fn prefetch_keys(&self) -> Result<KeyLease> {
        self.run(Pace::Asks, session::Session::prefetch_keys).await
    }

    /// Begins a batch.
    pub fn batch(&self) -> WriteBatch {
        WriteBatch::new(self.session.clone(), self.turn.clone())
    }

    /// Does `work` in a transaction and commits it, on a thread that may block, and again if somebody else has changed
    /// meanwhile what it has read. To share with it, move it in or put it into an `Arc`.
    ///
    /// # Errors
    /// As [`Session::transact`](crate::Session::transact).
    ///
    /// # Panics
    /// As `work` does.
    pub async fn transact<T: Send + 'static, E: From<Error> + Send + 'static>(
        &self,
        work: impl FnMut(&mut Transaction) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        self.run(Pace::Syncs, move |session| Ok(session.transact(work))).await?
    }

    /// Does several things at once on a thread that may block, as one operation of this tenant: a unit of work in which
    /// every step depends on the one before, without a change of threads between them. It holds one of the tenant's turns
    /// until its end: who waited in it for a future of the same tenant could wait for ever.
    ///
    /// # Errors
    /// Those of `work`.
    ///
    /// # Panics
    /// As `work` does.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&session::Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(Pace::Reads, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        pace: Pace,
        work: impl FnOnce(&session::Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let session = self.session.clone();
        self.turn.run(pace, move || work(&session)).await
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("tenant", self.tenant()).finish_non_exhaustive()
    }
}
