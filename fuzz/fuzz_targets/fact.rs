#![no_main]
//! See `tiding_fuzz::content::fact`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_fuzz::content::fact(bytes));
