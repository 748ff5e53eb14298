//! Key rings: a tenant's keys, how they are sealed, and how they come back. Told by the caller which ring to believe.

mod cache;
#[cfg(feature = "backup")]
mod escrow;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod policy;
mod reader;
mod ring;
mod slot;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use cache::CachedRing;
#[cfg(feature = "backup")]
pub(crate) use escrow::{export, import, import_zero, is_believed};
pub(crate) use policy::Policy;
pub(crate) use ring::Ring;
pub(crate) use store::{Belief, EpochBelief, create, create_all, load, peek_zero, purge};
