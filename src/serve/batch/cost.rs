//! S(b): the time a batch of b rows takes. A constant for now; the policy asks
//! through this type, so that a learned curve can take its place.

use std::time::Duration;

/// S(b) = fixed + per_row × b.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// What a batch takes however small.
    pub fixed: Duration,
    /// What each row adds.
    pub per_row: Duration,
}

impl Cost {
    /// Estimates the time of a batch of `rows`.
    pub(crate) fn of(&self, rows: usize) -> Duration {
        self.fixed + self.per_row * u32::try_from(rows).unwrap_or(u32::MAX)
    }
}
