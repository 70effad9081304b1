#![no_main]
//! See `tiding_fuzz::patch::patch`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_fuzz::patch::patch(bytes));
