//! Tests through the public doors, in one binary because RocksDB links statically into each.
#![expect(
    clippy::cast_possible_truncation,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::format_collect,
    clippy::needless_range_loop,
    clippy::option_option,
    clippy::type_complexity,
    reason = "numbers, names and shapes of tests are known and small"
)]

mod budgets;
mod bulk;
mod access_kills;
mod active_tenants;
#[cfg(feature = "tokio")]
mod aio;
mod answers;
mod backup;
mod chance;
mod child;
mod children;
mod collections;
mod contention;
mod crash;
mod custody;
mod custody_kills;
mod dated;
mod desk;
mod deadlines;
mod drill;
mod durability;
mod engines;
mod expiry;
mod expiry_kills;
mod fences;
mod folders;
mod golden;
mod heard;
mod isolation;
#[cfg(feature = "oidc")]
mod issuers;
mod keepers;
mod key_states;
mod kills;
mod late_roots;
mod lifecycle;
mod limits;
mod long_values;
mod matrix;
#[path = "../support/mint.rs"]
#[cfg_attr(not(feature = "oidc"), expect(dead_code, reason = "what else the tests of tokens need of it"))]
mod mint;
mod model;
mod nonces;
mod own_cells;
#[cfg(feature = "transit")]
mod openbao;
mod opening;
mod plain_tools;
mod plaintext;
mod program;
#[cfg(feature = "transit")]
mod proxy;
mod purge;
mod regions;
mod reseals;
#[cfg(feature = "transit")]
mod revocation;
mod root_keys;
mod rotation_kills;
mod shelves;
mod smoke;
mod steward;
mod support;
mod tamper;
mod threads;
#[cfg(feature = "transit")]
mod transit;
#[cfg(feature = "transit")]
mod transit_faults;
mod tidy;
mod trails;
mod transactions;
mod tool;
mod toolbox;
mod witness;
