//! Sealed records: what opens is, to the bit, what was sealed, and for this place.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongroom::fuzz::envelope(data));
