//! Tests through the public doors, in one binary because RocksDB links statically into each.

mod chance;
mod children;
mod folders;
mod support;

mod crash;
mod durability;
mod smoke;
mod tidy;
