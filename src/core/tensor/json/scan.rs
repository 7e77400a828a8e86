//! Finds bytes and the ends of strings in JSON text. Checks nothing.

/// Finds the first byte from `start` on that `stops`; the length where none does. Without branches
/// in `stops`, 32 bytes take a few instructions.
#[inline]
pub(super) fn find(bytes: &[u8], start: usize, stops: impl Fn(u8) -> bool) -> usize {
    /// Most stretches end within this many bytes.
    const NEAR: usize = 16;
    /// The compiler tests this many bytes at once.
    const FAR: usize = 32;

    let rest = bytes.get(start..).unwrap_or_default();
    let near = &rest[..rest.len().min(NEAR)];
    if let Some(found) = near.iter().position(|b| stops(*b)) {
        return start + found;
    }

    let far = &rest[near.len()..];
    let passed = far
        .as_chunks::<FAR>()
        .0
        .iter()
        .take_while(|chunk| !chunk.iter().fold(false, |found, b| found | stops(*b)))
        .count();
    let from = near.len() + passed * FAR;
    let last = rest[from..].iter().position(|b| stops(*b));
    start.min(bytes.len()) + last.map_or(rest.len(), |found| from + found)
}

/// Finds where the string that starts at `start` ends.
pub(super) fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        at = find(bytes, at, |b| (b == b'"') | (b == b'\\'));
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(_) => at += 2,
            None => return bytes.len(),
        }
    }
}
