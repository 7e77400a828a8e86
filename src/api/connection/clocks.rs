//! When a connection is closed: idle for too long, or headers that arrive too slowly. Decides; owns no
//! clock and no connection.

use super::activity::Activity;
use crate::api::limits::Limits;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long an open connection over HTTP/1 without a request is kept once the delay of the stop is
/// over. A request that its client sends meanwhile is answered.
pub(super) const IDLE_AT_STOP: Duration = Duration::from_secs(1);

/// The activity of a connection at one moment.
pub(super) struct Sight {
    pub(super) active: bool,
    /// Whether the client has not taken all answers.
    pub(super) unsent: bool,
    pub(super) pieces: u32,
    pub(super) begun: u32,
    pub(super) reads: u32,
    pub(super) blocked: bool,
    pub(super) is_h2: bool,
}

impl Sight {
    pub(super) fn of(activity: &Activity) -> Self {
        Self {
            active: activity.active.load(Ordering::Relaxed) > 0,
            unsent: activity.unsent.load(Ordering::Relaxed) > 0,
            pieces: activity.pieces.load(Ordering::Relaxed),
            begun: activity.begun.load(Ordering::Relaxed),
            reads: activity.reads.load(Ordering::Relaxed),
            blocked: activity.blocked.load(Ordering::Relaxed),
            is_h2: activity.is_h2.load(Ordering::Relaxed),
        }
    }

    /// Tells whether a client over HTTP/2 that was asked to end its connection at an earlier moment
    /// has neither a request nor an answer to read, and has sent nothing since.
    pub(super) fn is_silent_since(&self, asked: &Self) -> bool {
        self.is_h2 && !self.active && !self.unsent && !self.blocked && self.reads == asked.reads
    }

    /// How long a connection that is open when the server stops waits for a request. HTTP/2 tells
    /// its client first which requests are still answered; HTTP/1 cannot.
    pub(super) fn wait_for_request(&self) -> Duration {
        match self.is_h2 {
            true => Duration::ZERO,
            false => IDLE_AT_STOP,
        }
    }

    /// Tells whether the client of a connection that does not end when it is asked to may wait for
    /// an answer, or for the rest of one. Without a request, only headers or the client's part in
    /// the end of HTTP/2 are missing. With requests, HTTP/2 does not tell whether the client has
    /// read its answers.
    pub(super) fn may_owe(&self) -> bool {
        self.begun > 0
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdleVerdict {
    Stay,
    /// No request for too long: close gracefully.
    Leave,
    /// Headers arrive too slowly: close at once.
    Cut,
}

/// When a connection last received a request, and since when headers are
/// incomplete. Decides when to close it; the caller passes the time.
pub(super) struct Clocks {
    pub(super) period: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) header_timeout: Duration,
    pub(super) begun: u32,
    /// Pieces of answers that were taken by then.
    pub(super) pieces: u32,
    /// Reads when the last request was seen.
    pub(super) reads: u32,
    pub(super) quiet_since: Instant,
    pub(super) head_since: Option<Instant>,
}

impl Clocks {
    pub(super) fn start(limits: &Limits, now: Instant) -> Self {
        let (idle_timeout, header_timeout) = (limits.idle_timeout, limits.header_timeout);
        let period = (header_timeout.min(idle_timeout) / 2).max(Duration::from_millis(10));
        Self {
            period,
            idle_timeout,
            header_timeout,
            begun: 0,
            pieces: 0,
            reads: 0,
            quiet_since: now,
            head_since: None,
        }
    }

    pub(super) fn check_idle(&mut self, sight: &Sight, now: Instant) -> IdleVerdict {
        if sight.active || sight.begun != self.begun || sight.pieces != self.pieces {
            self.pieces = sight.pieces;
            (self.begun, self.reads, self.quiet_since, self.head_since) =
                (sight.begun, sight.reads, now, None);
            return IdleVerdict::Stay;
        }

        // Bytes without a request: on HTTP/1 they are the start of headers.
        if !sight.is_h2 && sight.reads != self.reads {
            let since = *self.head_since.get_or_insert(now);
            if now - since >= self.header_timeout {
                return IdleVerdict::Cut;
            }
        }

        if now - self.quiet_since >= self.idle_timeout {
            IdleVerdict::Leave
        } else {
            IdleVerdict::Stay
        }
    }
}
