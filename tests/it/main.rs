//! Tests through the public doors, in one binary because RocksDB links statically into each.

mod chance;
mod children;
mod crash;
mod dated;
mod durability;
mod folders;
mod golden;
mod isolation;
mod matrix;
mod model;
mod plain_tools;
mod plaintext;
mod program;
mod shelves;
mod smoke;
mod support;
mod tamper;
mod tidy;
mod witness;
