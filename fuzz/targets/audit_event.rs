//! Leaves of audit trails: read where no key is, written again as they were.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom::fuzz::audit_event(data));
