//! What is measured outside a server's request path. Run with `cargo bench`,
//! or `cargo bench -- push` for one group; prints a line of JSON for each figure. The request path is `loadtest/`'s.

#![allow(clippy::print_stdout)]

/// Counting what is asked and answered.
mod monitor;
/// Publishing, following and knowing many models.
mod registry;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only wants to know that it builds and starts.
    if arguments.iter().any(|a| a == "--test") {
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let groups: [(&str, fn()); 4] = [
        ("push", registry::push_against_copy_hash_and_sync),
        ("promote", registry::promotion_to_first_answer),
        ("monitor", monitor::counting),
        ("many-models", registry::many_models_known),
    ];
    for (name, group) in groups {
        if wanted.is_empty() || wanted.iter().any(|w| *w == name) {
            group();
        }
    }
}
