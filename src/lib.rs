//! Multi-tenant storage in which every tenant is isolated and every record is encrypted.
#![forbid(unsafe_code)]

// Tests of the layers against each other
#[cfg(test)]
mod layers;

// Front door
mod strongroom;

// Doors
mod custody;
mod session;

// What sessions work with
mod collection;

// Guards
mod access;
pub mod identity;

// What the store knows of its tenants
mod directory;

// Storage
mod seal;
mod keys;
mod kms;
mod cells;
mod engine;

// Leaves
mod aead;
mod derive;
mod metadata;
mod context;
#[cfg(test)]
mod testing;
mod secret;
mod name;
mod clock;
mod entropy;
mod error;

pub use access::VerifiedIdentity;
pub use clock::{Clock, ManualClock, SystemClock};
pub use collection::*;
pub use custody::*;
pub use directory::Speaker;
pub use engine::Durability;
pub use error::{Error, ErrorKind, Result};
pub use kms::{LocalRoots, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};
pub use name::{NAME_MAX_LEN, TenantName};
pub use seal::Version;
pub use session::Session;
pub use strongroom::{Builder, Strongroom};
