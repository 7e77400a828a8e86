//! Pauses of an I/O thread while it mostly refuses requests. Requests that arrive one by one each cost a wake-up,
//! system calls and two switches between threads, which under overload would take a large share of the cores from
//! the lanes. After a refusal the thread sleeps a little before it looks for more, so that it finds several. What
//! waits already keeps the lanes busy meanwhile.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A pause, over the time after which a refused request is worth sending again.
const SHARE: u32 = 16;
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(1);
/// How long there are no pauses after a request that found a lane idle, as the next one may be alike.
const ALERT: Duration = Duration::from_millis(10);

thread_local!(static OWN: Cell<Moderation> = const { Cell::new(Moderation::new()) });

/// Notes on this thread that a request was refused, and when it is worth sending again.
pub(super) fn note_refused(retry_after: Duration) {
    OWN.set(OWN.get().refused(retry_after));
}

/// Notes on this thread that a request arrived then and found a lane idle.
pub(super) fn note_served(at: Instant) {
    OWN.set(OWN.get().served(at));
}

/// Pauses this thread, which has nothing to do now, if it refused requests since the last pause.
pub(crate) fn pause() {
    let before = OWN.get();
    if before.pause.is_zero() {
        return;
    }
    let (after, pause) = before.take(Instant::now());
    OWN.set(after);
    if !pause.is_zero() {
        std::thread::sleep(pause);
    }
}

/// What one thread refused. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moderation {
    /// The next pause.
    pause: Duration,
    /// When a request found a lane idle.
    served: Option<Instant>,
}

impl Moderation {
    const fn new() -> Self {
        Self {
            pause: Duration::ZERO,
            served: None,
        }
    }

    fn refused(self, retry_after: Duration) -> Self {
        let pause = (retry_after / SHARE).min(PAUSE_MAX);
        // The shortest of those that were refused since.
        let pause = match self.pause.is_zero() {
            true => pause,
            false => pause.min(self.pause),
        };
        Self { pause, ..self }
    }

    fn served(self, at: Instant) -> Self {
        Self {
            served: Some(at),
            ..self
        }
    }

    /// The pause that is due, which is then over.
    fn take(self, now: Instant) -> (Self, Duration) {
        let alert = |at: Instant| now.saturating_duration_since(at) < ALERT;
        let pause = match self.served.is_some_and(alert) {
            true => Duration::ZERO,
            false => self.pause,
        };
        let after = Self {
            pause: Duration::ZERO,
            ..self
        };
        (after, pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_pause_follows_refusals_and_is_short_beside_the_wait() {
        let now = Instant::now();
        let (none, pause) = Moderation::new().take(now);
        assert_eq!(pause, Duration::ZERO);
        let (after, pause) = none.refused(MS * 8).refused(MS * 4).take(now);
        assert_eq!(pause, MS / 4);
        assert_eq!(after.take(now).1, Duration::ZERO, "one for all refusals");
        assert_eq!(after.refused(MS * 60_000).take(now).1, PAUSE_MAX);
    }

    #[test]
    fn requests_that_find_a_lane_idle_end_the_pauses() {
        let at = Instant::now();
        let mixed = Moderation::new().served(at).refused(MS * 8);
        assert_eq!(mixed.take(at + ALERT / 2).1, Duration::ZERO);
        assert_eq!(mixed.take(at + ALERT).1, MS / 2);
    }
}
