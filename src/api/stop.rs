//! How connections are ended when the server stops.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The signals that end connections, and the connections they are for.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// The stop has begun: each answer over HTTP/1 announces the close of its connection.
    pub begun: Arc<AtomicBool>,
    /// Refuse the requests of connections that are opened from now on.
    pub refuse: CancellationToken,
    /// Finish what is open.
    pub gently: CancellationToken,
    /// Refuse requests whose body is still arriving.
    pub bodies: CancellationToken,
    /// Accept no connections, and finish those that were refused.
    pub closing: CancellationToken,
    /// Close what is still open.
    pub now: CancellationToken,
    /// Every connection that was opened before [`Stop::refuse`].
    pub connections: TaskTracker,
    /// Every connection that was opened after it, and whatever may still open one.
    pub refused: TaskTracker,
    /// How many connections [`Stop::now`] closed that may have been owed an answer.
    pub cut: Arc<AtomicUsize>,
    /// Their requests that are being answered.
    pub requests: InFlight,
}

/// Counts requests that are being answered. Each I/O thread has a counter of its own, so that they do
/// not write to the same memory.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<Vec<RequestCounter>>>);

/// The counter of one I/O thread.
#[derive(Clone, Default)]
pub(crate) struct RequestCounter(Arc<AtomicUsize>);

/// One request, counted until it is dropped.
pub(crate) struct CountedRequest(RequestCounter);

impl InFlight {
    /// Returns a new counter.
    pub(crate) fn counter(&self) -> RequestCounter {
        let counter = RequestCounter::default();
        self.0.lock().push(counter.clone());
        counter
    }

    /// Returns how many are being answered.
    pub(crate) fn count(&self) -> usize {
        let counters = self.0.lock();
        let of = |counter: &RequestCounter| counter.0.load(Ordering::Relaxed);
        counters.iter().map(of).sum()
    }
}

impl RequestCounter {
    /// Counts a request from now on.
    pub(crate) fn enter(&self) -> CountedRequest {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedRequest(self.clone())
    }
}

impl Drop for CountedRequest {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
