//! What a provider says of itself: where it connects to, and what a root key is and allows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// One place outside of this process that a provider can connect to. It connects to no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Connection {
    /// The kind of provider, such as `transit`.
    pub provider: String,
    /// The host as it is configured: a name, or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// What is asked there, in a few words.
    pub purpose: String,
    /// Whether the connection is encrypted and the host proves its name.
    pub is_tls: bool,
}

/// What a root key is, as far as its provider knows and this client may see. Whatever is `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RootDescription {
    /// The kind of provider, such as `local` or `transit`.
    pub provider: String,
    /// The algorithm, in the provider's own words.
    pub algorithm: Option<String>,
    /// Whether the key itself binds what it wraps to tenant, root and epoch. Where it cannot (RSA), the key that is
    /// derived from the wrapped secret does.
    pub binds_context: Option<bool>,
    /// Whether a public half of the key exists, with which anybody can wrap (RSA). Such a root cannot be a store's own.
    pub anyone_can_wrap: Option<bool>,
    /// The version that wraps now.
    pub current_version: Option<String>,
    /// The oldest version that still unwraps.
    pub oldest_usable_version: Option<String>,
    /// When the current version was made, in seconds since 1970.
    pub current_since_secs: Option<u64>,
    /// Whether the key can be deleted as it is configured now.
    pub deletion_allowed: Option<bool>,
    /// Whether the key's own bytes can be had from its provider.
    pub exportable: Option<bool>,
    /// Whether wrapping under a key that is gone silently makes a new one of its name.
    pub recreates_missing_keys: Option<bool>,
    /// Where the key is kept, in the provider's own words: a region, a namespace, a folder.
    pub location: Option<String>,
    /// What this client may do with the key.
    pub rights: Option<BTreeSet<RootRight>>,
}

/// Something that a client may be allowed to do with a root key. A store needs no more than the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RootRight {
    /// Wrap under the current version.
    Wrap,
    /// Unwrap.
    Unwrap,
    /// Read what the key is.
    Describe,
    /// Make a new version.
    Rotate,
    /// Change which versions are usable, or whether it can be deleted.
    Configure,
    /// Delete or disable it.
    Delete,
    /// Take its bytes out.
    Export,
}

impl Connection {
    /// A connection of a provider of this kind.
    #[must_use]
    pub fn new(
        provider: impl Into<String>,
        host: impl Into<String>,
        port: u16,
        purpose: impl Into<String>,
        is_tls: bool,
    ) -> Self {
        Self { provider: provider.into(), host: host.into(), port, purpose: purpose.into(), is_tls }
    }
}

impl RootDescription {
    /// A description of which nothing is known but the kind of provider.
    #[must_use]
    pub fn new(provider: impl Into<String>) -> Self {
        Self { provider: provider.into(), ..Self::default() }
    }
}

impl RootRight {
    /// Whether the store uses it.
    #[must_use]
    pub fn is_needed(self) -> bool {
        matches!(self, Self::Wrap | Self::Unwrap | Self::Describe)
    }
}
