#![no_main]
//! See `tiding_fuzz::wire::bulk`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_fuzz::wire::bulk(bytes));
