//! Numbers of things in sentences: "1 row", "2 rows". English only; makes no longer sentence.

#[cfg(test)]
mod tests;

use std::fmt::Display;

/// Writes a number with its noun, which is given in the singular: "1 row", "0 rows", "2 entries".
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    if count == N::from(1) {
        return format!("{count} {noun}");
    }
    let of_y = noun
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
    match of_y {
        Some(stem) => format!("{count} {stem}ies"),
        None if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => format!("{count} {noun}es"),
        None => format!("{count} {noun}s"),
    }
}

/// Chooses the form of a word, such as a verb, that goes with a number.
pub fn agreed<N: PartialEq + From<u8>>(
    count: N,
    one: &'static str,
    more: &'static str,
) -> &'static str {
    if count == N::from(1) { one } else { more }
}
