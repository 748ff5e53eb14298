//! Tests through the public doors, in one binary because RocksDB links statically into each.

mod chance;
mod child;
mod children;
mod collections;
mod crash;
mod dated;
mod durability;
mod engines;
mod folders;
mod golden;
mod isolation;
mod limits;
mod matrix;
mod model;
mod plain_tools;
mod plaintext;
mod program;
mod shelves;
mod smoke;
mod support;
mod tamper;
mod threads;
mod tidy;
mod witness;
