//! Exported trails: verified anywhere, and only as they were written.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom::fuzz::audit_export(data));
