#![no_main]

#[path = "../remembered.rs"]
mod remembered;

libfuzzer_sys::fuzz_target!(|data: &[u8]| remembered::remembered(data));
