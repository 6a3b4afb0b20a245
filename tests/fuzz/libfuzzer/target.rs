//! One target under libFuzzer: the one that the binary is named after.

#![no_main]

#[path = "../bodies/mod.rs"]
#[expect(dead_code, reason = "how many mutations and of which words is for the tests")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (bodies::target(env!("CARGO_BIN_NAME")).body)(bytes);
});
