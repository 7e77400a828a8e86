//! All that a client sends on one connection: preface, frames, requests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ortus::testing::fuzzed::FuzzedConnections;

thread_local! {
    static CONNECTIONS: FuzzedConnections = FuzzedConnections::start();
}

fuzz_target!(|bytes: &[u8]| CONNECTIONS.with(|connections| connections.receive(bytes)));
