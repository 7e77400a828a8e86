//! When something that was refused is tried again. Pure.

use crate::core::error::Kind;
use std::time::{Duration, Instant};

/// Least time before a refused version is tried again; it doubles up to 64 times this.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// When something refused is tried again, and how often it was.
pub(super) type Retry = (Instant, u32);

/// Decides when something that was refused is tried again; never where only other files help.
pub(super) fn retry_of(kind: Kind, before: Option<Retry>, now: Instant) -> Option<Retry> {
    let passing = matches!(
        kind,
        Kind::Unavailable
            | Kind::ResourceExhausted
            | Kind::DeadlineExceeded
            | Kind::PermissionDenied
            | Kind::Internal
    );

    let times = before.map_or(0, |(_, times)| times);
    passing.then(|| (now + RETRY_MIN * (1 << times.min(6)), times + 1))
}
