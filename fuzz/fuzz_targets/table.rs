//! A table or examples, in JSON, in CSV or in a message.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ortus::testing::fuzzed::table(bytes));
