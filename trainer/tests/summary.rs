//! The last program that `cargo test --workspace` runs: lists the tests that did
//! not run because an optional part is absent, with the reason. It fails
//! nothing; under `ORTUS_TEST_REQUIRE=all` those tests have failed already.

#![allow(clippy::print_stdout, reason = "it prints a summary")]

use std::path::Path;

fn main() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("not-run");
    let notes = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut lines: Vec<String> = notes
        .filter_map(|note| std::fs::read_to_string(note.path()).ok())
        .collect();
    lines.sort();

    if lines.is_empty() {
        println!("\nsummary: every test ran");
        return;
    }
    println!("\nsummary: {} tests were NOT RUN", lines.len());
    for line in lines {
        print!("  {line}");
    }
    // The next run writes notes of its own.
    let _ = std::fs::remove_dir_all(folder);
}
