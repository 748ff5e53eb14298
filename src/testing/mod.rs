//! For the tests of services: a store in memory, with an issuer of tokens that are real and count nowhere else.
//!
//! Feature `testing`, for `[dev-dependencies]`:
//!
//! ```toml
//! [dev-dependencies]
//! strongroom = { version = "0.1", features = ["testing"] }
//! ```
//!
//! A [`World`] is all that a test needs. Nothing in it is a mock: tokens are signed, and verified by
//! [`JwtVerifier`]; records are sealed; root keys lie in files, of a folder that goes with the store.
//!
//! ```
//! use strongroom::testing::World;
//! use strongroom::{CollectionDef, ErrorKind};
//!
//! const NOTES: CollectionDef<u64, String> = CollectionDef::cbor("notes");
//!
//! # fn main() -> strongroom::Result<()> {
//! let world = World::new();
//! world.tenant("contoso");
//! world.tenant("fabrikam");
//!
//! let token = world.issuer().token("contoso").role("read").role("write").sign();
//! let contoso = world.room().session(&token, "contoso")?;
//! contoso.collection(&NOTES)?.put(&1, &"hello".to_owned())?;
//!
//! // What a service must refuse, it can be shown.
//! let refused = world.room().session(&token, "fabrikam").unwrap_err();
//! assert_eq!(refused.kind(), ErrorKind::Denied);
//! let expired = world.issuer().token("contoso").role("read").expired().sign();
//! assert_eq!(world.room().session(&expired, "contoso").unwrap_err().kind(), ErrorKind::Denied);
//! # Ok(())
//! # }
//! ```
//!
//! # It is not for production
//!
//! Whoever holds a [`World`] can be anybody in it, and what is in it is gone with it. So that it is never taken for more:
//! - its store is in memory. Neither the issuer's keys nor its verifier nor its root keys can be had for a
//!   [`Strongroom::builder`];
//! - its issuer is [`ISSUER`], below a name that nobody can own (`.invalid`, RFC 2606), and its key is made anew in every
//!   `World` and never leaves it;
//! - it says so at every construction, in an event of level `WARN`;
//! - without the feature none of it is compiled, and with the feature nothing else changes.

mod issuer;
mod roots;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use issuer::{ISSUER, Issuer, Token};
use roots::Roots;

use crate::clock::{Clock, ManualClock, SystemClock};
use crate::custody::{Custody, TenantCustody, TenantSpec};
use crate::identity::{Jwks, JwtVerifier, Oidc};
use crate::kms::{RootError, RootId};
use crate::session::Session;
use crate::strongroom::Strongroom;

/// A store in memory with everything around it: an [`Issuer`], root keys, a clock. For tests, and never for anything else:
/// see [the module](self).
///
/// Its methods panic where a test would call `expect`, and say at which line of the test.
pub struct World {
    room: Strongroom,
    issuer: Issuer,
    clock: Option<Arc<ManualClock>>,
    roots: Arc<Roots>,
}

impl World {
    /// A store without tenants, at the present time. Its clocks stand still until they are told to
    /// [go on](Self::advance).
    ///
    /// # Panics
    /// If there is no folder for temporary files.
    #[must_use]
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it makes files and threads: nothing to come by unasked")]
    pub fn new() -> Self {
        let clock = ManualClock::new(SystemClock::new().wall_ms());
        Self::at(clock.clone(), Some(clock))
    }

    /// A store whose time is that of the machine, for tests that run a whole service.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    #[track_caller]
    pub fn in_real_time() -> Self {
        Self::at(SystemClock::new(), None)
    }

    #[track_caller]
    fn at(clock: Arc<dyn Clock>, manual: Option<Arc<ManualClock>>) -> Self {
        tracing::warn!("strongroom::testing: a store for TESTS, whose tokens anybody in this process can make");
        let issuer = Issuer::new(clock.clone());
        let keys = Jwks::from_json(&issuer.jwks_json()).expect("the key of the toy issuer is one");
        let oidc = Oidc::new(ISSUER, issuer::AUDIENCE).access_tokens_only();
        let verifier = JwtVerifier::builder().oidc(oidc, keys).build().expect("the toy issuer is one");
        let roots = Arc::new(Roots::new().expect("a folder of root keys among the temporary files"));
        let room = Strongroom::in_memory(roots.clone(), verifier)
            .service_speaker(ISSUER, issuer::SERVICE)
            .clock(clock)
            .open()
            .expect("a store in memory");
        Self { room, issuer, clock: manual, roots }
    }

    /// The store. Handles of it may outlive the `World`.
    #[must_use]
    pub fn room(&self) -> &Strongroom {
        &self.room
    }

    /// Who signs the tokens of this store.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Makes a tenant for which tokens of its own name speak.
    ///
    /// # Panics
    /// If the name is none, or is taken.
    #[track_caller]
    pub fn tenant(&self, name: &str) {
        let made = self.custody().create_tenant(TenantSpec::new(name, ISSUER, name));
        made.expect("a new tenant");
    }

    /// A session of somebody who reads and writes.
    ///
    /// # Panics
    /// If there is no such tenant, or it is closed.
    #[must_use]
    #[track_caller]
    pub fn session(&self, tenant: &str) -> Session {
        let token = self.issuer.token(tenant).role("read").role("write").sign();
        self.room.session(&token, tenant).expect("a session of a tenant of this world")
    }

    /// The door of the service's custodian, for instance to make a tenant with a
    /// [policy](crate::TenantSpec::policy): as issuer it has [`ISSUER`].
    ///
    /// # Panics
    /// If the store has been closed.
    #[must_use]
    #[track_caller]
    pub fn custody(&self) -> Custody {
        self.room.custody(&self.issuer.custodian().sign()).expect("the custodian of this world")
    }

    /// The door of a tenant's own custodian.
    ///
    /// # Panics
    /// If there is no such tenant.
    #[must_use]
    #[track_caller]
    pub fn tenant_custody(&self, tenant: &str) -> TenantCustody {
        let token = self.issuer.token(tenant).role("custodian").sign();
        self.room.tenant_custody(&token, tenant).expect("a custodian of a tenant of this world")
    }

    /// Both clocks go on by `span`, and the store does what it does by itself as time goes by: tokens and sessions end, keys
    /// in memory expire.
    ///
    /// # Panics
    /// In a world in real time.
    #[track_caller]
    pub fn advance(&self, span: Duration) {
        self.clock().advance(span);
        self.room.tend();
    }

    /// The clocks of the store and of its issuer.
    ///
    /// # Panics
    /// In a world in real time.
    #[must_use]
    #[track_caller]
    pub fn clock(&self) -> &Arc<ManualClock> {
        self.clock.as_ref().expect("a world whose clocks stand still, and not one in real time")
    }

    /// Makes a root key, beside that of the service which is called `service`, for the
    /// [policies](crate::Policy) of tenants.
    ///
    /// # Panics
    /// If `name` is no name of a root key.
    #[track_caller]
    pub fn root_key(&self, name: &str) {
        let root = RootId::new(name).expect("the name of a root key");
        self.roots.make(&root).expect("a new root key");
    }

    /// From now on every root key answers `error`: [`Unreachable`](RootError::Unreachable) for an outage,
    /// [`Denied`](RootError::Denied) for owners who refuse. Who has keys in memory, a new tenant too, is served until they
    /// expire ([`Policy`](crate::Policy)): [`advance`](Self::advance) by a little more than an hour, and sign new tokens, to see
    /// what an outage does to who has none.
    pub fn root_keys_fail(&self, error: RootError) {
        self.roots.fail(Some(error));
    }

    /// The root keys answer again.
    pub fn root_keys_recover(&self) {
        self.roots.fail(None);
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
