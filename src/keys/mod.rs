//! Key rings: a tenant's keys, how they are sealed, and how they come back. Told by the caller which ring to believe.

mod asking;
mod cache;
mod change;
#[cfg(feature = "backup")]
mod escrow;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
pub(crate) mod lifecycle;
mod open;
mod policy;
mod policy_text;
mod reader;
mod recovery;
mod remains;
mod ring;
mod slot;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use cache::{CachedRing, Loaded};
pub(crate) use change::Change;
#[cfg(feature = "backup")]
pub(crate) use escrow::{export, import, import_zero, is_believed};
pub(crate) use open::{Found, Outline, Repair, load, read};
pub(crate) use policy::Shut;
pub use policy::{Policy, RevocationLatency};
pub(crate) use recovery::{Leave, OutageProof, RecoveryOrder};
pub(crate) use remains::{Remains, RootProbe, copies, copies_of, open_stray};
pub(crate) use ring::Ring;
pub(crate) use store::{Belief, EpochBelief, create, peek_zero, purge, write_all};
