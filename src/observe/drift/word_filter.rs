//! A bounded filter of the known words of a column (a Bloom filter): it may take an unknown word for
//! a known one, but never a known word for an unknown one. Owns its text form in the baseline.

#[cfg(test)]
mod tests;

use crate::core::hash::mix;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bits for each word: about one unknown word in a hundred passes for known.
const BITS_OF_WORD: usize = 10;
/// Most bytes of a filter. Beyond some hundred thousand words, more unknown ones pass.
pub(crate) const FILTER_BYTES_MAX: usize = 128 << 10;
/// Bits that are set for each word.
const PROBES: u64 = 7;

/// The filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WordFilter(Vec<u8>);

impl WordFilter {
    /// Makes a filter of words.
    pub(crate) fn new<'w>(words: impl ExactSizeIterator<Item = &'w str>) -> Self {
        let bytes = (words.len() * BITS_OF_WORD).div_ceil(8);
        let mut bits = vec![0; bytes.clamp(1, FILTER_BYTES_MAX)];
        for word in words {
            for bit in probes(word, bits.len() * 8) {
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        Self(bits)
    }

    /// Tells whether a word may be one of the known ones.
    pub(crate) fn may_have(&self, word: &str) -> bool {
        probes(word, self.0.len() * 8).all(|bit| self.0[bit / 8] & 1 << (bit % 8) != 0)
    }

    /// Writes it as Base64.
    pub(crate) fn text(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// Reads Base64; none if it is damaged, empty or too long.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let bits = STANDARD.decode(text).ok()?;
        (1..=FILTER_BYTES_MAX)
            .contains(&bits.len())
            .then_some(Self(bits))
    }
}

/// Returns the bits of a word: steps of two hashes.
fn probes(word: &str, bits: usize) -> impl Iterator<Item = usize> {
    let first = hash(word);
    let step = mix(first) | 1;
    (0..PROBES).map(move |i| (first.wrapping_add(step.wrapping_mul(i)) % bits as u64) as usize)
}

/// Hashes a word: the same on every machine (FNV-1a, then mixed).
fn hash(word: &str) -> u64 {
    let fnv = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}
