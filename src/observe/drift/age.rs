//! Moments of the monotonic clock as ages: only these mean the same to the next process.

use std::time::{Duration, Instant};

/// Returns how long ago a moment was, in milliseconds.
pub(crate) fn age_ms(now: Instant, at: Instant) -> u64 {
    let age = now.saturating_duration_since(at).as_millis();
    u64::try_from(age).unwrap_or(u64::MAX)
}

/// Returns the moment that was so long ago; now, where the clock does not reach so far back.
pub(crate) fn moment(now: Instant, age_ms: u64) -> Instant {
    now.checked_sub(Duration::from_millis(age_ms))
        .unwrap_or(now)
}
