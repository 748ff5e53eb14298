//! Requests to the desk: what is read is written again as what is read as the same.

#![no_main]

use strongroom::desk::Request;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(request) = Request::parse(data) else { return };
    let json = request.to_json().expect("no longer than what was read, but for a few defaults");
    let again = Request::parse(&json).expect("it was written by us").to_json().expect("as before");
    assert_eq!(*json, *again);
});
