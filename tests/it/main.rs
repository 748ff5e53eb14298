//! Tests through the public doors, in one binary because RocksDB links statically into each.

mod chance;
mod children;
mod crash;
mod durability;
mod folders;
mod golden;
mod plain_tools;
mod plaintext;
mod smoke;
mod support;
mod tamper;
mod tidy;
mod witness;
