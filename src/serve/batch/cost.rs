//! The duration S(b) of a batch of b rows. Zero for now; the policy uses this type, so that a
//! learned curve can replace it.

use std::time::Duration;

/// S(b) = fixed + per_row × b.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The part that does not depend on the rows.
    pub fixed: Duration,
    /// The part that each row adds.
    pub per_row: Duration,
}

impl Cost {
    /// Estimates the duration of a batch.
    pub(crate) fn of(&self, rows: usize) -> Duration {
        self.fixed + self.per_row * u32::try_from(rows).unwrap_or(u32::MAX)
    }
}
