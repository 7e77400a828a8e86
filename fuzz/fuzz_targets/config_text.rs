//! The text of a configuration, or of a list of models.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ortus::testing::fuzzed::config_text(bytes));
