//! Tests through the public doors, in one binary because RocksDB links statically into each.

mod support;

mod smoke;
mod tidy;
