#![no_main]
//! See `tiding_fuzz::content::signed`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_fuzz::content::signed(bytes));
