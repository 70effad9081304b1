#![no_main]
//! See `tiding_fuzz::executable::executable`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_fuzz::executable::executable(bytes));
