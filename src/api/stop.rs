//! How connections are ended when the server stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The signals that end connections, and the connections they are for.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// Refuse the requests of connections that are opened from now on.
    pub refuse: CancellationToken,
    /// Finish what is open.
    pub gently: CancellationToken,
    /// Close what is still open.
    pub now: CancellationToken,
    /// Every connection that was opened before [`Stop::refuse`].
    pub connections: TaskTracker,
    /// Their requests that are being answered.
    pub requests: InFlight,
}

/// Counts requests that are being answered.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

/// One request, counted until it is dropped.
pub(crate) struct CountedRequest(InFlight);

impl InFlight {
    /// Counts a request from now on.
    pub(crate) fn enter(&self) -> CountedRequest {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedRequest(self.clone())
    }

    /// Returns how many are being answered.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for CountedRequest {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
