//! Root keys: the joint to whatever keeps them, and the provider that keeps them in local files.
//!
//! A root key wraps 32 random bytes at a time, fresh in every epoch, and nothing else: no record and no tenant key
//! ever leaves this process to be encrypted.

mod breaker;
mod call;
mod check;
mod description;
mod guard;
mod key_files;
mod local;
mod set;
#[cfg(feature = "transit")]
mod transit;
mod witness;

use std::fmt;
use std::path::Path;
use std::time::Duration;

pub(crate) use call::Patience;
pub use call::{CALL_DEADLINE, Call, CallId};
pub use check::{RootCheck, RootFinding, check_root};
pub use description::{Connection, RootDescription, RootRight};
pub use guard::{BREAKER_PAUSE, Guarded};
pub use local::LocalRoots;
use serde::{Deserialize, Serialize};
pub use set::RootSet;
#[cfg(feature = "transit")]
pub use transit::{TransitRoots, TransitRootsBuilder};
pub(crate) use witness::{Calls, RootCall, Witnessed};

use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Incarnation, check_name, name_as_text};
use crate::secret::Key32;

/// The longest version label of a root key, in bytes.
pub(crate) const VERSION_MAX_LEN: usize = 128;
/// The longest wrapped secret, in bytes.
pub(crate) const WRAPPED_MAX_LEN: usize = 1024;

/// What keeps root keys: local files ([`LocalRoots`]), key services, later HSMs; several at once in a [`RootSet`].
///
/// Implementations must be able to bind `context` (as associated data or by derivation) unless their kind of key
/// has no place for it, and must answer failures with the right [`RootError`]: whether an owner has *refused* or a
/// network has *failed* decides whether a tenant is shut out or served from cache. One that leaves the process answers
/// within [`Call::patience`], sends [`Call::id`] along where a log of the other side can show it, names every host that
/// it talks to in [`connections`](Self::connections), and is put into a [`Guarded`].
pub trait RootKeys: Send + Sync + 'static {
    /// Wraps `secret` under the current version of `root`.
    ///
    /// # Errors
    /// See [`RootError`].
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError>;

    /// Unwraps what [`wrap`](Self::wrap) returned, under the version that it names.
    ///
    /// # Errors
    /// See [`RootError`].
    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError>;

    /// What `root` is and allows, as far as the provider knows.
    ///
    /// # Errors
    /// See [`RootError`]; [`Denied`](RootError::Denied) if this client may use the key and not look at it.
    fn describe(&self, root: &RootId, call: &Call) -> Result<RootDescription, RootError> {
        let _ = (root, call);
        Ok(RootDescription::default())
    }

    /// Every place outside of this process that the provider can connect to.
    fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }

    /// Whether using `root` leaves the process. Such calls stand in the audit trail.
    fn is_external(&self, root: &RootId) -> bool {
        let _ = root;
        !self.connections().is_empty()
    }

    /// How long from now whoever keeps `root` has asked to be left alone, if its last answer was
    /// [`Throttled`](RootError::Throttled) and said so.
    fn retry_after(&self, root: &RootId) -> Option<Duration> {
        let _ = root;
        None
    }

    /// The folders that hold the keys, if they are files: a store refuses roots that lie inside it. A provider that
    /// wraps another passes this on.
    fn locations(&self) -> Vec<&Path> {
        Vec::new()
    }
}

/// The name of a root key: 1 to 63 bytes by the rule of [`TenantName`](crate::TenantName).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RootId(String);

/// 32 random bytes on their way to or from a root key. Wiped when dropped.
#[derive(Debug)]
pub struct WrapSecret(Key32);

/// A wrapped secret and the version of the root key that wrapped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The version, as the provider names it: 1 to 128 bytes of UTF-8.
    pub version: String,
    /// What the provider needs to unwrap: 1 to 1,024 bytes.
    pub bytes: Vec<u8>,
}

/// What a wrapped secret is bound to, so that it opens for no other tenant, root or epoch; and the call that asks.
#[derive(Clone, Debug)]
pub struct WrapContext {
    incarnation: Incarnation,
    root: RootId,
    epoch: u32,
    call: Call,
}

/// Why a root key did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootError {
    /// No answer: network, time-out, disk. The owner has not refused.
    Unreachable,
    /// Asked too often. The owner has not refused.
    Throttled,
    /// The owner refuses.
    Denied,
    /// The key or its version is switched off, or no key of this name is there and nothing shows that there ever was.
    Disabled,
    /// The key or its version was there, and is gone for good.
    Destroyed,
    /// The wrapped bytes do not authenticate.
    Tampered,
}

impl<T: RootKeys + ?Sized> RootKeys for std::sync::Arc<T> {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        (**self).wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        (**self).unwrap(root, wrapped, context)
    }

    fn describe(&self, root: &RootId, call: &Call) -> Result<RootDescription, RootError> {
        (**self).describe(root, call)
    }

    fn connections(&self) -> Vec<Connection> {
        (**self).connections()
    }

    fn is_external(&self, root: &RootId) -> bool {
        (**self).is_external(root)
    }

    fn retry_after(&self, root: &RootId) -> Option<Duration> {
        (**self).retry_after(root)
    }

    fn locations(&self) -> Vec<&Path> {
        (**self).locations()
    }
}

impl RootId {
    /// Reads a name.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it breaks the rule.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        check_name(&id)?;
        Ok(Self(id))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

name_as_text!(RootId);

impl From<RootId> for String {
    fn from(id: RootId) -> Self {
        id.0
    }
}

impl WrapSecret {
    /// The secret in `bytes`, whose owner wipes them. `None` unless there are exactly 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Key32::from_slice(bytes).map(Self)
    }

    /// The bytes, for the provider to wrap.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    pub(crate) fn new(key: Key32) -> Self {
        Self(key)
    }

    pub(crate) fn key(&self) -> &Key32 {
        &self.0
    }
}

impl WrapContext {
    /// The context of a tenant's incarnation (16 bytes, random), a root key and an epoch. The store makes its own; this
    /// is for the tests of providers.
    #[must_use]
    pub fn new(incarnation: [u8; 16], root: RootId, epoch: u32, call: Call) -> Self {
        Self { incarnation: Incarnation::new(incarnation), root, epoch, call }
    }

    /// The call that asks: its correlation id, and how long it may take.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The same context for a call with no more time than this.
    #[must_use]
    pub fn within(&self, patience: Duration) -> Self {
        Self { call: self.call.within(patience), ..self.clone() }
    }

    /// The context as associated data: `ctx("strongroom/v1/kms", incarnation, root id, epoch)`.
    #[must_use]
    pub fn associated_data(&self) -> Vec<u8> {
        Context::new("strongroom/v1/kms")
            .bytes(self.incarnation.as_bytes())
            .bytes(self.root.as_str().as_bytes())
            .u32(self.epoch)
            .as_slice()
            .to_vec()
    }

    /// The context as names and values, for services that take an encryption context.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, String); 4] {
        [
            ("strongroom", "v1".to_owned()),
            ("incarnation", format!("{:?}", self.incarnation)),
            ("root", self.root.as_str().to_owned()),
            ("epoch", self.epoch.to_string()),
        ]
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the root key cannot be reached",
            Self::Throttled => "the root key is asked too often",
            Self::Denied => "the owner of the root key refuses",
            Self::Disabled => "the root key is switched off or not there",
            Self::Destroyed => "the root key is destroyed",
            Self::Tampered => "the wrapped secret does not authenticate",
        })
    }
}

impl std::error::Error for RootError {}

impl RootError {
    /// Whether the owner has refused, for now or for ever.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Denied | Self::Disabled | Self::Destroyed)
    }

    /// One word, for metrics.
    fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Disabled => "disabled",
            Self::Destroyed => "destroyed",
            Self::Tampered => "tampered",
        }
    }
}

impl From<RootError> for Error {
    fn from(error: RootError) -> Self {
        let kind = match error {
            RootError::Unreachable => ErrorKind::Unavailable,
            RootError::Throttled => ErrorKind::Throttled,
            RootError::Denied | RootError::Disabled | RootError::Destroyed => ErrorKind::KeyRevoked,
            RootError::Tampered => return Self::tampered(),
        };
        Self::new(kind, error.to_string())
    }
}
