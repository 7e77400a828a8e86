//! How long the windows of a version take, and so how far apart alarms of one cause may start: a small change is seen
//! only in more windows than a large one. Pure.

#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Alarms that start within this, or so many windows, of the last one of an incident belong to it.
const JOIN: TimeDelta = TimeDelta::minutes(10);
const JOIN_WINDOWS: i32 = 8;
const JOIN_MAX: TimeDelta = TimeDelta::days(7);
/// A column that is in alarm again within this, or so many windows, of the end belongs to the same incident.
const REOPEN: TimeDelta = TimeDelta::hours(24);
const REOPEN_WINDOWS: i32 = 64;
const REOPEN_MAX: TimeDelta = TimeDelta::days(30);

/// How long windows take, from look to look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct WindowPace {
    /// The windows so far, and when there were first as many.
    seen: Option<(u64, DateTime<Utc>)>,
    /// How long one took.
    window_s: i64,
}

impl WindowPace {
    /// Tells whether nothing was seen yet.
    pub(super) fn is_new(&self) -> bool {
        self.seen.is_none()
    }

    /// Takes the number of windows so far.
    pub(super) fn see(&mut self, windows: u64, now: DateTime<Utc>) {
        let Some((before, at)) = self.seen else {
            self.seen = Some((windows, now));
            return;
        };
        if windows == before {
            return;
        }
        // Fewer windows are those of another start.
        if windows > before {
            let more = i64::try_from(windows - before).unwrap_or(i64::MAX);
            self.window_s = (now - at).num_seconds().max(0) / more;
        }
        self.seen = Some((windows, now));
    }

    /// Returns how far apart alarms of one incident may start.
    pub(super) fn join(&self) -> TimeDelta {
        JOIN.max(self.windows(JOIN_WINDOWS).min(JOIN_MAX))
    }

    /// Returns for how long after its end an incident may go on.
    pub(super) fn reopen(&self) -> TimeDelta {
        REOPEN.max(self.windows(REOPEN_WINDOWS).min(REOPEN_MAX))
    }

    fn windows(&self, count: i32) -> TimeDelta {
        TimeDelta::seconds(self.window_s.clamp(0, 86_400 * 30)) * count
    }
}
