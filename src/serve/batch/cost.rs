//! S(b), the time that a batch of b rows takes. Zero for now; the policy uses
//! this type, so that a learned curve can replace it.

use std::time::Duration;

/// S(b) = fixed + per_row × b.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The time of the smallest batch.
    pub fixed: Duration,
    /// The time that each row adds.
    pub per_row: Duration,
}

impl Cost {
    /// Estimates the time of a batch of `rows`.
    pub(crate) fn of(&self, rows: usize) -> Duration {
        self.fixed + self.per_row * u32::try_from(rows).unwrap_or(u32::MAX)
    }
}
