#![no_main]
//! See `tiding_fuzz::decoder::decoder`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_fuzz::decoder::decoder(bytes));
