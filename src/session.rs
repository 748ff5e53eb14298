//! The door of a tenant's principals: that tenant's records, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use crate::access::Right;
use crate::access::VerifiedIdentity;
use crate::clock::{Clock, Deadline};
use crate::collection::{
    Authority, Collection, CollectionDef, CollectionSummary, Key, Transaction, WriteBatch, transact,
};
#[cfg(feature = "tokio")]
use crate::directory::Tenant;
use crate::error::{Error, Result};
use crate::name::TenantName;

/// One actor, one tenant, one deadline. Made by [`Strongroom::session`](crate::Strongroom::session) and by nothing
/// else. A cheap handle: `Clone`, `Send`, `Sync`, `'static`.
///
/// It ends when its credential does and after one hour at the latest, on whichever of the wall clock and the
/// monotonic clock gets there first, and at once and for good when its tenant is suspended or deleted; so does
/// everything made from it.
///
/// A session cannot be made by hand:
/// ```compile_fail,E0451
/// fn forge(other: strongroom::Session) -> strongroom::Session {
///     strongroom::Session { ..other }
/// }
/// ```
/// nor without a store that verifies a credential:
/// ```no_run
/// # fn example(room: &strongroom::Strongroom) -> strongroom::Result<()> {
/// let session: strongroom::Session = room.session("a token", "contoso")?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Session {
    authority: Authority,
}

impl Session {
    pub(crate) fn new(authority: Authority) -> Self {
        Self { authority }
    }

    /// The tenant whose records this session reaches.
    #[must_use]
    pub fn tenant(&self) -> &TenantName {
        self.authority.tenant().name()
    }

    /// Who acts.
    #[must_use]
    pub fn identity(&self) -> &VerifiedIdentity {
        self.authority.identity()
    }

    /// Opens a collection; makes it if it is not there and the identity may write.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if it is not there and the identity may only read: for a service whose readers
    /// come before its first writer, an empty list. [`Invalid`](crate::ErrorKind::Invalid) if it exists with another key
    /// shape, separator, mode or codec.
    pub fn collection<K: Key, V>(&self, definition: &CollectionDef<K, V>) -> Result<Collection<K, V>> {
        Collection::open(&self.authority, definition)
    }

    /// The tenant's collections, by name.
    ///
    /// # Errors
    /// Those of the session, and of reading the catalog.
    pub fn collections(&self) -> Result<Vec<CollectionSummary>> {
        self.authority.check(Right::Read)?;
        self.authority.catalog().list()
    }

    /// Removes a collection and all its records, atomically and durably. Handles of it find nothing from then on.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none of this name;
    /// [`Invalid`](crate::ErrorKind::Invalid) for a bad name.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.authority.check(Right::Write)?;
        self.authority.catalog().drop_collection(name)
    }

    /// Has the tenant's root keys asked now, if they would be asked soon, so that no key service is waited for in the middle
    /// of a unit of work: until the lease has ended, only reads and writes of this store happen in it.
    ///
    /// It is as long as the policy's [refresh](crate::Policy::refresh) at most and half of it at least, or some seconds while
    /// the root keys are out of reach and what is in memory serves. It keeps nobody out: a refusal that anybody is told
    /// meanwhile ends access all the same.
    ///
    /// # Errors
    /// Those of the session; as the root keys answer.
    pub fn prefetch_keys(&self) -> Result<KeyLease> {
        self.authority.lease().map(|(until, clock)| KeyLease { until, clock })
    }

    /// As [`collection`](Self::collection), if it has been opened before: without waiting for anybody.
    #[cfg(feature = "tokio")]
    pub(crate) fn collection_at_hand<K: Key, V>(
        &self,
        definition: &CollectionDef<K, V>,
    ) -> Option<Result<Collection<K, V>>> {
        Collection::open_at_hand(&self.authority, definition)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn tenant_handle(&self) -> Arc<Tenant> {
        self.authority.catalog().tenant().clone()
    }

    /// Begins a batch.
    pub fn batch(&self) -> WriteBatch {
        WriteBatch::new(self.authority.clone())
    }

    /// Begins a transaction.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.authority.clone())
    }

    /// Does `work` in a transaction and commits it. If somebody else has changed meanwhile what it has read, it is done
    /// again, in a new transaction and after a short pause, up to 32 times, within a second or so of pauses. So `work` must do
    /// nothing but read and change records through the transaction, or nothing that may not be done twice.
    ///
    /// What `work` fails with is what this fails with, at once, a `Conflict` too; nothing is changed then. Its error can be
    /// of any type that an [`Error`](crate::Error) turns into; where nothing else says of which, the closure does:
    /// `|transaction| -> strongroom::Result<_> { .. }`.
    ///
    /// # Errors
    /// Those of `work`. [`Throttled`](crate::ErrorKind::Throttled) if what it reads is being changed too often: nothing was
    /// changed. Else as [`Transaction::commit`].
    pub fn transact<T, E: From<Error>>(&self, work: impl FnMut(&mut Transaction) -> Result<T, E>) -> Result<T, E> {
        transact(&self.authority, work)
    }
}

/// A span in which no root key is asked for a tenant, unless its keys are changed. Made by
/// [`Session::prefetch_keys`].
#[must_use = "how long it is says what can be done in it"]
pub struct KeyLease {
    until: Deadline,
    clock: Arc<dyn Clock>,
}

impl KeyLease {
    /// How much of it is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.left(&*self.clock)
    }
}

impl std::fmt::Debug for KeyLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyLease").field("left", &self.left()).finish()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("tenant", self.tenant()).finish_non_exhaustive()
    }
}
