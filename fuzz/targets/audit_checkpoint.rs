//! Checkpoints and signed notes: strict, and good only as they were signed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom::fuzz::audit_checkpoint(data));
