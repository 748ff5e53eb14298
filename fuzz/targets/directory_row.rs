//! Rows of the directory, and with them every document of the store.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom::fuzz::directory_row(data));
