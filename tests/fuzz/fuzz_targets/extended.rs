//! The target `extended` of `seedbank_bodies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seedbank_fuzz::run("extended", bytes));
