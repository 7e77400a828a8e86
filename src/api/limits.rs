//! What the data listeners enforce: the section `[limits]`. Owns the values; each limit is
//! enforced where it applies.

use std::time::Duration;

use super::memory::{self, MemoryShare};
use crate::core::settings::form::Size;
use crate::section;

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

section! {
    /// Limits on what a client may send, and what happens beyond them.
    Limits {
        /// Largest request, in bytes. A larger one is refused. Answers have no limit of their own.
        message_bytes_max: usize as Size = 64 << 20, in 1 << 10..=2 << 30;
        /// Bytes of all requests that are being read or served; at least `message_bytes_max`. 0
        /// stands for a quarter of the memory. Beyond it, requests are refused and may be retried.
        bytes_in_flight_max: usize as MemoryShare = memory::quarter(), in 1 << 10..=1 << 40;
        /// Bytes of a request's headers. A request with more is refused.
        header_list_bytes_max: u32 as Size = 16 << 10, in 4 << 10..=1 << 20;
        /// Time to send the headers. The connection is closed beyond it.
        header_timeout: Duration = Duration::from_secs(10), in MILLISECOND..=Duration::from_secs(600);
        /// Time from a request's headers to the end of its body. The request is refused beyond it.
        read_timeout: Duration = Duration::from_secs(30), in MILLISECOND..=HOUR;
        /// Bytes of the body of a request that is refused before the body was read. They are read
        /// and dropped. Over HTTP/1 that is before the answer, so that the connection stays open; with
        /// more, the answer says `connection: close`. Over HTTP/2 the answer goes first; with more, the
        /// stream is reset.
        refused_body_bytes_max: usize as Size = 1 << 20, in 0..=1 << 30;
        /// Time to wait for these bytes. Beyond it, the answer says `connection: close`, or the stream is
        /// reset.
        refused_body_timeout: Duration = Duration::from_millis(100), in MILLISECOND..=Duration::from_secs(600);
        /// Bytes that are read and dropped after an answer with `connection: close`, so that
        /// clients that send the whole body first can read the answer. The connection is closed
        /// beyond it.
        linger_bytes_max: usize as Size = 1 << 30, in 0..=1 << 40;
        /// Time for the client to close the connection after an answer with `connection: close`.
        /// The connection is closed beyond it.
        linger_timeout: Duration = Duration::from_secs(30), in MILLISECOND..=HOUR;
        /// Time without a request after which a connection is closed.
        idle_timeout: Duration = Duration::from_secs(120), in MILLISECOND..=24 * HOUR;
        /// Concurrent requests on one HTTP/2 connection. Further requests of the client wait.
        concurrent_streams_max: u32 = 200, in 1..=65_536;
        /// HTTP/2 streams that may be reset because of client errors before the connection is
        /// closed.
        local_error_reset_streams_max: usize = 1024, in 1..=65_536;
        /// HTTP/2 streams that the client may reset before they are accepted. The connection is
        /// closed beyond it.
        pending_accept_reset_streams_max: usize = 20, in 1..=65_536;
        /// Open connections of all listeners together. A further connection is closed at once.
        connections_max: usize = 10_000, in 1..=1_000_000;
        /// Bytes of a request after decompression. A larger one is refused.
        decompressed_bytes_max: usize as Size = 256 << 20, in 1 << 10..=2 << 30;
    }
}
