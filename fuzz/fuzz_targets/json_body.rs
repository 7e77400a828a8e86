//! The body of an infer or predict request in JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ortus::testing::fuzzed::json_body(bytes));
