#![no_main]
//! See `tiding_fuzz::content::attributes`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_fuzz::content::attributes(bytes));
