//! The audit trail: what custodians did, what the store saw, and whom it refused, in an order that cannot be rewritten
//! unnoticed.
//!
//! Every tenant has a trail of its own, named by its incarnation, and the store has one. They are records of the store
//! itself and not under the tenant's keys: a refusal or a purge must be written when those keys are gone, and stay
//! readable. An act and its entry are written together or not at all, and are on the disk before the act is
//! acknowledged. Each trail is a Merkle tree (RFC 6962), so that one hash vouches for all of it; a signed
//! [`Checkpoint`] of it, kept elsewhere, shows for ever whether the trail was cut or rewritten since.
//!
//! [`verify_export`] verifies an exported trail anywhere, without the store and without a key of it. The chapter
//! [audit](crate::manual::audit) has the rest.

mod act;
mod calls;
mod checkpoint;
mod event;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod line;
mod note;
mod offline;
mod proof;
mod reading;
mod refusals;
mod trails;
mod tree;
#[cfg(test)]
mod tests;

pub use act::Act;
pub use checkpoint::Checkpoint;
pub use event::{Actor, Event, Outcome};
pub use note::VerifierKey;
pub(crate) use offline::verify_events;
pub use offline::{Verified, verify_export};
pub use proof::{prove_consistency, prove_inclusion, verify_consistency, verify_inclusion};
pub use reading::Recorded;
pub(crate) use trails::Trails;
pub use tree::{Hash, Tree, leaf_hash};
