//! Reproducible random numbers: a hash of a seed and a counter, so that a run
//! with the same specification and data draws the same numbers.

use ortus::core::hash::SPLITMIX_STEP;

/// Hashes a seed and a number (SplitMix64, Steele et al. 2014).
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    let salt = seed.wrapping_mul(SPLITMIX_STEP);
    ortus::core::hash::mix(salt ^ number.wrapping_add(SPLITMIX_STEP))
}
