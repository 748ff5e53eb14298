//! Backups and what comes back from them.

mod cells;
mod damage;
mod deleted;
mod escrows;
pub mod kills;
mod moment;
mod regions;
mod links;
mod stores;
mod tenants;
