#![no_main]
//! See `tiding_delta::fuzzing::arm64`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_delta::fuzzing::arm64(bytes));
