//! Reproducible random numbers: a hash of a seed and a counter, so that a run
//! with the same specification and data draws the same numbers.

/// Hashes a seed and a number (SplitMix64, Steele et al. 2014).
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    let mut z =
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
