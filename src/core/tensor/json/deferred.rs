//! Long arrays of numbers or strings, which are read once instead of checked and then read. They are
//! cut out of the text that `serde_json` checks; whoever reads one checks it on the way. Does not
//! read elements.

use super::scan::{find, string_end};
use serde_json::value::RawValue;
use std::cell::Cell;

/// Shorter arrays are not deferred: to remember one would take more memory than its text is worth.
const BYTES_MIN: usize = 128;

/// An array in a body that looks like nested arrays of numbers or strings, and is not checked yet.
#[derive(Debug)]
pub(crate) struct Deferred<'a> {
    text: &'a str,
    is_read: Cell<bool>,
}

impl Deferred<'_> {
    /// The address of its text.
    pub(super) fn start(&self) -> usize {
        self.text.as_ptr().addr()
    }

    /// The length of its text.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Notes that its text was read to the end and is valid.
    pub(super) fn mark_read(&self) {
        self.is_read.set(true);
    }

    /// Tells whether nothing has checked it.
    pub(super) fn is_unread(&self) -> bool {
        !self.is_read.get()
    }
}

/// Finds what to defer in a body, and checks the rest of it. `None` where the body has nothing to
/// defer, and where it is malformed.
pub(super) fn reduced(body: &[u8]) -> Option<(&str, Vec<Deferred<'_>>)> {
    let text = str::from_utf8(body).ok()?;
    let deferred = long_arrays(text);
    if deferred.is_empty() {
        return None;
    }

    // An empty array in the place of each is as valid as a valid one.
    let mut rest = Vec::new();
    let mut kept = 0;
    for array in &deferred {
        let start = array.start() - body.as_ptr().addr();
        rest.extend_from_slice(&body[kept..start]);
        rest.extend_from_slice(b"[]");
        kept = start + array.len();
    }
    rest.extend_from_slice(&body[kept..]);

    serde_json::from_slice::<&RawValue>(&rest).ok()?;
    Some((text, deferred))
}

fn long_arrays(text: &str) -> Vec<Deferred<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    // Nested arrays that turn out to hold something else are looked at again, one level deeper.
    // That must not be repeated for each of a million levels.
    let mut wasted = 0;
    while wasted <= bytes.len() {
        at = find(bytes, at, |b| (b == b'"') | (b == b'['));
        match bytes.get(at) {
            None => break,
            Some(b'"') => at = string_end(bytes, at),
            Some(_) => match array_end(bytes, at) {
                Ok(end) => {
                    if end - at >= BYTES_MIN {
                        found.push(Deferred {
                            text: &text[at..end],
                            is_read: Cell::new(false),
                        });
                    }
                    at = end;
                }
                Err(end) => {
                    wasted += end - at;
                    at += 1;
                }
            },
        }
    }

    found
}

/// Finds where the nested arrays that start at `start` end, as long as they hold nothing but strings
/// and what numbers are made of. Otherwise says where something else stands.
fn array_end(bytes: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start;
    let mut open = 0_usize;
    loop {
        match bytes.get(at) {
            Some(b'[') => open += 1,
            Some(b']') => open -= 1,
            Some(b'"') => at = string_end(bytes, at) - 1,
            // Of exponents, and of NaN, Infinity and null.
            Some(
                b'e' | b'E' | b'N' | b'a' | b'I' | b'n' | b'f' | b'i' | b't' | b'y' | b'u' | b'l',
            ) => {}
            _ => return Err(at),
        }
        at += 1;
        if open == 0 {
            return Ok(at);
        }
        // What is skipped here holds no bracket: punctuation and digits, and bytes for the reader to
        // refuse.
        at = find(bytes, at, |b| (b > b'9') | (b == b'"'));
    }
}
