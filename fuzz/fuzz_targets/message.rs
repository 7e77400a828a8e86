//! The body of ModelInfer and of Predict: length prefix, message, contents.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ortus::testing::fuzzed::message(bytes));
