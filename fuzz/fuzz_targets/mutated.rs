#![no_main]
//! See `tiding_delta::fuzzing::mutated`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_delta::fuzzing::mutated(bytes));
