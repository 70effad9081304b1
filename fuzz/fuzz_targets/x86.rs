#![no_main]
//! See `tiding_delta::fuzzing::x86`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiding_delta::fuzzing::x86(bytes));
