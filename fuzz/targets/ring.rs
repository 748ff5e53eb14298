//! Ring slots: parsed before they can be authenticated, opened only as they were written.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom::fuzz::ring(data));
