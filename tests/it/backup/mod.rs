//! Backups and what comes back from them.

mod cells;
mod damage;
mod deleted;
mod escrows;
mod stores;
mod tenants;
