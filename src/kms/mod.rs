//! Root keys: the joint to whatever keeps them, and the provider that keeps them in local files.
//!
//! A root key wraps 32 random bytes at a time, fresh in every epoch, and nothing else: no record and no tenant key
//! ever leaves this process to be encrypted.

mod local;

use std::fmt;
use std::path::Path;

pub use local::LocalRoots;

use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Incarnation, check_name};
use crate::secret::Key32;

/// The longest version label of a root key, in bytes.
pub(crate) const VERSION_MAX_LEN: usize = 128;
/// The longest wrapped secret, in bytes.
pub(crate) const WRAPPED_MAX_LEN: usize = 1024;

/// What keeps root keys: local files ([`LocalRoots`]), later key services and HSMs.
///
/// Implementations must be able to bind `context` (as associated data or by derivation) unless their kind of key
/// has no place for it, and must answer failures with the right [`RootError`]: whether an owner has *refused* or a
/// network has *failed* decides whether a tenant is shut out or served from cache.
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

    /// The folder that holds the keys, if they are files: a store refuses roots that lie inside it. A provider that
    /// wraps another passes this on.
    fn location(&self) -> Option<&Path> {
        None
    }
}

/// The name of a root key: 1 to 63 bytes by the rule of [`TenantName`](crate::TenantName).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// What a wrapped secret is bound to, so that it opens for no other tenant, root or epoch.
#[derive(Clone, Debug)]
pub struct WrapContext {
    incarnation: Incarnation,
    root: RootId,
    epoch: u32,
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
    /// The key or its version is switched off, or not there.
    Disabled,
    /// The key or its version is gone for good.
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

    fn location(&self) -> Option<&Path> {
        (**self).location()
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
    pub(crate) fn new(incarnation: Incarnation, root: RootId, epoch: u32) -> Self {
        Self { incarnation, root, epoch }
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
