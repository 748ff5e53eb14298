//! The keys of an OpenID Connect issuer, fetched from where the issuer publishes them.

use std::fmt;
use std::sync::Arc;

pub use builder::OidcKeysBuilder;

use super::jwks::{Jwks, KeySource};
use crate::error::Result;
use crate::https::Origin;
use crate::kms::Connection;
use cache::Cache;

mod builder;
mod cache;
mod document;
mod fetch;

/// The keys of an issuer, found by `OpenID` Connect Discovery 1.0, fetched over HTTPS and kept for a while. Cheap to clone:
/// clones share what was fetched.
///
/// Whatever the bearers of tokens do, the issuer is asked at most once per
/// [`cool_down`](OidcKeysBuilder::cool_down), by one thread, which is not a caller's:
///
/// - A set counts for [`refresh`](OidcKeysBuilder::refresh) from when it was asked for, on the wall clock *and* on the
///   monotonic one, so that a key that the issuer takes out is dead by then. From half of that time on it is renewed in
///   the background, while tokens are verified with what is there.
/// - A token with a key that is not in the set has the issuer asked once more. Whoever brought that token waits for the
///   answer; who comes meanwhile with another unknown key is told that it is
///   [`Unavailable`](crate::identity::Rejection::Unavailable).
/// - While the issuer does not answer, or answers what is not sound, the last set counts on, and no longer than
///   [`stale_limit`](OidcKeysBuilder::stale_limit) from when it was asked for.
/// - Callers wait only if there is nothing that counts: for the very first set, and for the first after a long silence; and
///   once the issuer is known not to answer, one of them. An attempt ends within [`FETCH_PATIENCE`](Self::FETCH_PATIENCE).
///
/// It connects to the issuer's own host, and to those named by [`allow_host`](OidcKeysBuilder::allow_host); follows no
/// redirect, heeds no proxy of the environment, and reads at most 1 MiB of each answer. The keys are read as strictly as
/// [`Jwks`] says.
///
/// Counts and times attempts (`strongroom_issuer_fetches_total`, `strongroom_issuer_fetch_seconds`), shows how many keys
/// there are (`strongroom_issuer_keys`), and tells of failures in events of level `WARN`, of changed keys in events of
/// level `INFO`.
///
/// ```
/// # fn verifier() -> strongroom::Result<strongroom::identity::JwtVerifier> {
/// use strongroom::identity::{Entra, JwtVerifier, Oidc, OidcKeys};
///
/// let issuer = "https://id.contoso.example";
/// let keys = OidcKeys::discover(issuer).build()?;
/// JwtVerifier::builder()
///     .oidc(Oidc::new(issuer, "mail"), keys)
///     .entra(Entra::new("6e74172b-be56-4843-9ff4-e66a39bb12e3"), OidcKeys::entra().build()?)
///     .build()
/// # }
/// ```
#[derive(Clone)]
pub struct OidcKeys {
    cache: Arc<Cache>,
    /// Every host that is connected to.
    origins: Arc<[Origin]>,
}

impl OidcKeys {
    /// The longest that an attempt to fetch keys takes, and so the longest that a caller ever waits.
    pub const FETCH_PATIENCE: std::time::Duration = fetch::PATIENCE;

    /// The keys of `issuer`: its `iss` to the byte, `https://host[:port][/path]`, without query or fragment.
    pub fn discover(issuer: impl Into<String>) -> OidcKeysBuilder {
        OidcKeysBuilder::of_issuer(issuer.into())
    }

    /// The keys of Entra ID, worldwide cloud, for tenants of every organisation (and for personal accounts, whose key says
    /// that it is for these only).
    pub fn entra() -> OidcKeysBuilder {
        Self::entra_at(super::entra::WORLDWIDE)
    }

    /// The same of another cloud, for instance `https://login.microsoftonline.us`; see
    /// [`Entra::authority`](super::Entra::authority).
    pub fn entra_at(authority: impl Into<String>) -> OidcKeysBuilder {
        OidcKeysBuilder::of_entra(authority.into())
    }

    /// Fetches the keys if there are none that count, and says whether tokens can be verified at present: for the start of
    /// a service, so that a mistake in its configuration is found there, and for its readiness. It may wait, for
    /// [`FETCH_PATIENCE`](Self::FETCH_PATIENCE) at most: async callers call it on a thread that may block.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), with what went wrong last.
    pub fn ready(&self) -> Result<()> {
        self.cache.ready()
    }
}

impl KeySource for OidcKeys {
    fn keys(&self, kid: &str, now_secs: u64) -> Result<Jwks> {
        self.cache.keys(kid, now_secs)
    }

    fn issuer(&self) -> Option<&str> {
        Some(self.cache.issuer())
    }

    fn connections(&self) -> Vec<Connection> {
        let connection = |Origin { host, port, is_tls }: &Origin| {
            Connection::new("oidc", host.as_str(), *port, "the keys that verify tokens", *is_tls)
        };
        self.origins.iter().map(connection).collect()
    }
}

impl fmt::Debug for OidcKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcKeys").field("issuer", &self.cache.issuer()).finish_non_exhaustive()
    }
}
