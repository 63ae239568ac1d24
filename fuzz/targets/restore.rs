#![no_main]

#[path = "../restorer.rs"]
mod restorer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| restorer::restore(data));
