//! See `smallrtc_sim::fuzz::player`: ordinary tests run the same code.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| smallrtc_sim::fuzz::player(data));
