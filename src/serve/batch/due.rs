//! Until when a waiting request can be served. Pure.

use std::time::{Duration, Instant};

/// Until when a waiting request can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    /// The moment.
    pub at: Instant,
    /// By then the answer must be there; else the run must have begun.
    is_of_answer: bool,
}

impl Due {
    /// By then the answer must be there.
    pub(crate) fn answer(at: Instant) -> Self {
        Self {
            at,
            is_of_answer: true,
        }
    }

    /// By then the run must have begun.
    pub(crate) fn start(at: Instant) -> Self {
        Self {
            at,
            is_of_answer: false,
        }
    }

    /// Tells whether the answer must be there by then.
    pub(crate) fn is_of_answer(self) -> bool {
        self.is_of_answer
    }

    /// Tells whether a run that starts at `start` and takes `need` is in time.
    pub(crate) fn allows(self, start: Instant, need: Duration) -> bool {
        let until = if self.is_of_answer {
            start + need
        } else {
            start
        };
        until <= self.at
    }

    /// The latest start of a run that takes `need`.
    pub(crate) fn latest_start(self, need: Duration) -> Option<Instant> {
        match self.is_of_answer {
            true => self.at.checked_sub(need),
            false => Some(self.at),
        }
    }
}
