//! Benchmarks of everything beside the request path, which `loadtest/` measures. Run with `cargo
//! bench`, or `cargo bench -- push` for one group. Prints a line of JSON for each figure.

#![allow(clippy::print_stdout)]

/// Elements of JSON requests read and written.
mod json;
/// Counting values for contracts and windows.
mod monitor;
/// Publishing, following a registry, and many models.
mod registry;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only checks that it builds and starts.
    if arguments.iter().any(|a| a == "--test") {
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let groups: [(&str, fn()); 5] = [
        ("push", registry::push_against_copy_hash_and_sync),
        ("promote", registry::promotion_to_first_answer),
        ("json", json::json_bodies),
        ("monitor", monitor::counting),
        ("many-models", registry::many_models_known),
    ];
    for (name, group) in groups {
        if wanted.is_empty() || wanted.iter().any(|w| *w == name) {
            group();
        }
    }
}
