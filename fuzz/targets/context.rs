//! The injective encoding behind every derivation and every associated data.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom::fuzz::context(data));
