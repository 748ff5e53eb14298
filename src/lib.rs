//! Embeddable storage for many tenants who do not trust each other, or you.
//!
//! Every tenant of a service gets a box of its own in the store, and keys of its own, derived from a root key that the
//! store does not hold. Every record is encrypted before it reaches the engine, bound to its tenant, collection and key.
//! A read is answered only to an authenticated identity whose tenant matches, and a read across tenants fails three
//! times over: at the session, at the box, and at the cipher.
//!
//! It takes its security model from how Microsoft 365 protects its tenants: all tenants are hostile to each other,
//! breach is assumed, nobody has standing access, customers own their data.
//!
//! It is:
//! - a library: it links into a service, and stores in RocksDB, or in memory for tests;
//! - synchronous, as RocksDB is; handles are `Clone + Send + Sync + 'static`;
//! - without unsafe code of its own.
//!
//! It is not:
//! - a server, a query language, or a secondary index;
//! - an identity provider: it verifies tokens that others issue ([`identity`]);
//! - a defence against whoever controls the running process.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use strongroom::{CollectionDef, LocalRoots, Strongroom, TenantSpec};
//! # use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Message {
//!     text: String,
//! }
//!
//! const MAIL: CollectionDef<(&str, u64), Message> = CollectionDef::cbor("mail");
//!
//! # struct Tokens;
//! # impl Verifier for Tokens {
//! #     fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
//! #         let roles = ["read", "write", "custodian"].map(|role| format!("strongroom.{role}")).to_vec();
//! #         Ok(Claims { issuer: "https://id.example".into(), tenant: credential.into(), subject: "s".into(),
//! #             subject_kind: SubjectKind::Unknown, expires_at_secs: now_secs + 60, roles, scopes: None })
//! #     }
//! # }
//! # fn main() -> strongroom::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let (keys, verifier) = (folder.path().join("keys"), Tokens);
//! # let (custodian_token, token, issuer, tid) = ("service", "contoso-tid", "https://id.example", "contoso-tid");
//! // The first time; `LocalRoots::open(keys)` ever after.
//! let roots = LocalRoots::open_with_root(keys, "service")?;
//! # #[cfg(any())]
//! let room = Strongroom::builder("data", roots, verifier).service_speaker(issuer, "service").open()?;
//! # let room = Strongroom::in_memory(roots, verifier).service_speaker(issuer, "service").open()?;
//!
//! // Once per customer: who may speak for it is part of what a tenant is.
//! room.custody(custodian_token)?.create_tenant(TenantSpec::new("contoso", issuer, tid))?;
//!
//! // Once per request: `Denied`, unless the token speaks for contoso.
//! let contoso = room.session(token, "contoso")?;
//! let mail = contoso.collection(&MAIL)?;
//! mail.put(&("inbox", 1), &Message { text: "hello".into() })?;
//!
//! let entry = mail.entry(&("inbox", 1))?.expect("just written");
//! mail.put_if(&("inbox", 1), &Message { text: "edited".into() }, entry.version())?;
//! contoso.batch().put(&MAIL, &("sent", 1), &Message { text: "reply".into() })?.commit()?;
//!
//! // Everything in it happens together, if what it has read still holds; else it is done again.
//! contoso.transact(|transaction| -> strongroom::Result<()> {
//!     let Some(message) = transaction.get(&MAIL, &("inbox", 1))? else { return Ok(()) };
//!     transaction.put(&MAIL, &("archive", 1), &message)?;
//!     transaction.delete(&MAIL, &("inbox", 1))
//! })?;
//!
//! for row in mail.prefix(("archive",))? {
//!     let ((folder, number), message) = row?;
//!     println!("{folder} {number}: {}", message.text);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The [`manual`] has the format, the keys, the threats and what shows, the defaults and why they are what they are, and
//! what an operator should know.
//!
//! # Features
//!
//! - `rocksdb` (default): the engine on disk. Without it only the engine in memory is there.
//! - `backup` (default): `strongroom::backup`, for stores on disk.
//! - `jwt` (default): `identity::JwtVerifier`, which verifies signed tokens. Without it a service brings a
//!   [`Verifier`](identity::Verifier) of its own.
//! - `oidc`: `OidcKeys` in [`identity`], the keys of OpenID Connect issuers, fetched over HTTPS.
//! - `transit`: `TransitRoots`, root keys in OpenBao or HashiCorp Vault.
//! - `tokio`: `strongroom::aio`, the same for services on Tokio.
//! - `testing`: `strongroom::testing`, a store in memory with an issuer of its own, for the tests of services and nothing
//!   else; and `strongroom::cookbook`, recipes that run.
//!
//! None changes what another does. Minimum Rust version: 1.95.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used)]

pub mod manual;
#[cfg(feature = "testing")]
pub mod cookbook;

// Tests of the layers against each other
#[cfg(test)]
mod layers;

// The inside, for fuzzing and for benches
#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench;
#[cfg(fuzzing)]
pub mod fuzz;

// The front door for async services
#[cfg(feature = "tokio")]
pub mod aio;

// For the tests of services
#[cfg(feature = "testing")]
pub mod testing;

// Front door
mod strongroom;

// What it does by itself
mod steward;

// Doors
mod custody;
mod session;

// Copies of the store, and the way back
#[cfg(feature = "backup")]
pub mod backup;

// What sessions work with
mod collection;

// Records under new keys
mod reseal;

// Guards
mod access;
pub mod identity;

// What the store knows of its tenants
mod directory;

// What is said of a purge
pub mod purge;

// What has been done to it
pub mod audit;

// The store's own records
mod register;

// Storage
mod seal;
mod keys;
mod kms;
mod cells;
mod engine;

// Leaves
mod aead;
mod derive;
mod signing;
mod metadata;
mod traces;
mod folder;
#[cfg(any(feature = "transit", feature = "oidc"))]
mod https;
mod context;
#[cfg(test)]
mod test_kit;
mod secret;
mod name;
mod clock;
mod entropy;
mod error;

pub use access::VerifiedIdentity;
pub use cells::{Budgets, CellStats};
pub use clock::{Clock, ManualClock, SystemClock};
pub use collection::{
    Collection, CollectionDef, CollectionSummary, Component, Entry, Expected, KEY_MAX_COMPONENTS, KEY_MAX_LEN, Key,
    KeyMode, Prefix, PutOptions, Scan, Transaction, VALUE_MAX_LEN, WriteBatch,
};
pub use custody::{
    AccessStatus, Blocker, CanDestroy, Custody, Destroyable, Finding, GenerationState, GenerationStatus, Grade, Health,
    KeyStatus, OutstandingEscrow, PurgedTenant, RetireReport, RootRotation, RotationReport, TenantCustody, TenantSpec,
    TenantState, TenantSummary, Trail, desk,
};
pub use directory::{Fence, Person, Proposal, ProposedChange, Rules, Speaker, Stats};
pub use engine::Durability;
pub use error::{Error, ErrorKind, Result};
pub use keys::{Policy, RevocationLatency};
pub use kms::{
    BREAKER_PAUSE, CALL_DEADLINE, Call, CallId, Connection, Guarded, LocalRoots, RootCheck, RootDescription, RootError,
    RootFinding, RootId, RootKeys, RootRight, RootSet, WrapContext, WrapSecret, Wrapped, check_root,
};
#[cfg(feature = "transit")]
pub use kms::{TransitRoots, TransitRootsBuilder};
pub use name::{NAME_MAX_LEN, RegionName, TenantName};
pub use reseal::{Census, GenerationCensus, ResealPlan, ResealProgress, ResealReport};
pub use seal::Version;
pub use session::{KeyLease, Session};
pub use strongroom::{Strongroom, StrongroomBuilder};
