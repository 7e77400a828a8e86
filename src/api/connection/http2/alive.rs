//! Finds out whether the client of a connection that sends nothing is still there. The time is passed by
//! its timer.

use h2::{Ping, PingPong};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// A client that sent nothing for so long is asked.
const QUIET: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// The pings of one connection.
pub(super) struct Alive {
    pings: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    /// Reads at the last look.
    reads: u32,
    is_asked: bool,
}

impl Alive {
    pub(super) fn new(pings: Option<PingPong>, now: Instant) -> Self {
        Self {
            pings,
            timer: Box::pin(tokio::time::sleep_until((now + QUIET).into())),
            reads: 0,
            is_asked: false,
        }
    }

    /// Tells whether the client did not answer. `reads` counts what it sent.
    pub(super) fn poll_dead(&mut self, cx: &mut Context<'_>, reads: impl Fn() -> u32) -> bool {
        let Some(pings) = &mut self.pings else {
            return false;
        };
        if self.is_asked && pings.poll_pong(cx).is_ready() {
            self.is_asked = false;
            self.timer.as_mut().reset((Instant::now() + QUIET).into());
        }

        while let Poll::Ready(()) = self.timer.as_mut().poll(cx) {
            if self.is_asked {
                self.pings = None;
                return true;
            }
            let reads = reads();
            let is_quiet = reads == self.reads;
            self.reads = reads;
            self.is_asked = is_quiet && pings.send_ping(Ping::opaque()).is_ok();
            // Registers for the answer.
            self.is_asked &= pings.poll_pong(cx).is_pending();
            let wait = if self.is_asked { ANSWER } else { QUIET };
            self.timer.as_mut().reset((Instant::now() + wait).into());
        }

        false
    }
}
