#![no_main]

#[path = "../captures.rs"]
mod captures;

libfuzzer_sys::fuzz_target!(|data: &[u8]| captures::capture(data));
