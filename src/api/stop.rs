//! How connections are ended when the server stops.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The signals that end connections, and the connections they are for.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// Stop accepting; finish what is open.
    pub gently: CancellationToken,
    /// Close what is still open.
    pub now: CancellationToken,
    /// Every connection.
    pub connections: TaskTracker,
}
