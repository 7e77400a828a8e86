//! What a client still sends when its request was refused before the body was read.
//! A client that sends first and reads afterwards would get a broken pipe instead of
//! the answer. So a short body is read and dropped; for a longer one the answer
//! announces the close, and the connection lingers (RFC 9112, 9.6). Over HTTP/2 the answer does not
//! wait for the body, and what is read and dropped after it is no error of the client.

use super::Front;
use super::body::{Metered, UnreadSlot};
use super::limits::Limits;
use super::request_body::{Http2Body, RequestBody};
use h2::RecvStream;
use http::{HeaderMap, HeaderValue, Response, Version, header, request};
use http_body::Body;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The body of an HTTP/1 request, as far as its handler leaves it unread.
pub(crate) struct UnreadBody {
    /// `None` with HTTP/2: see [`RefusedBody`].
    slot: Option<UnreadSlot>,
    /// The client waits for the status before it sends the body.
    expects_continue: bool,
}

impl UnreadBody {
    /// Watches the body of a request.
    pub(crate) fn of(request: &request::Parts, body: &mut Metered) -> Self {
        let is_http1 = request.version <= Version::HTTP_11;
        Self {
            slot: (is_http1 && !body.is_end_stream()).then(|| body.unread()),
            expects_continue: request.headers.contains_key(header::EXPECT),
        }
    }

    /// Reads and drops what is left, or announces the close in the answer. To be
    /// called after the handler has dropped the body.
    pub(crate) async fn settle<B>(self, answer: &mut Response<B>, front: &Front) {
        let Some(rest) = self.slot.and_then(|slot| slot.lock().take()) else {
            return;
        };

        // To read the body would ask the client to send it.
        let refused = RefusedBody::new(&front.limits);
        let is_read = !self.expects_continue
            && tokio::select! {
                is_read = refused.is_read(rest) => is_read,
                () = front.stop.bodies.cancelled() => false,
            };
        if !is_read {
            announce_close(answer);
        }
    }
}

/// How much of the body of a refused request is read and dropped.
#[derive(Clone, Copy)]
pub(crate) struct RefusedBody {
    bytes_max: usize,
    timeout: Duration,
}

impl RefusedBody {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            bytes_max: limits.refused_body_bytes_max,
            timeout: limits.refused_body_timeout,
        }
    }

    /// Reads and drops a body. Returns whether it ended within the limits.
    async fn is_read(self, rest: RequestBody) -> bool {
        if rest.size_hint().lower() > self.bytes_max as u64 {
            return false;
        }

        let read = timeout(self.timeout, read_up_to(rest, self.bytes_max));
        read.await.unwrap_or(false)
    }

    /// Reads and drops the rest of a body over HTTP/2, once its request is answered. Beyond the limits
    /// the stream is reset.
    pub(crate) async fn drop_stream(self, rest: RecvStream) {
        let rest = Http2Body::new(rest, &HeaderMap::new());
        self.is_read(RequestBody::Http2(rest)).await;
    }
}

/// Reads and drops a body. Returns whether it ended within `max` bytes.
async fn read_up_to(mut rest: RequestBody, max: usize) -> bool {
    let mut left = max;
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await {
        let Ok(frame) = frame else {
            return false;
        };
        let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
        let Some(fewer) = left.checked_sub(bytes) else {
            return false;
        };
        left = fewer;
    }

    true
}

/// Announces in an answer over HTTP/1 that the connection is closed after it.
pub(super) fn announce_close<B>(answer: &mut Response<B>) {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
}

/// Tells whether an answer announces that the connection is closed after it.
pub(crate) fn announces_close<B>(answer: &Response<B>) -> bool {
    let connection = answer.headers().get(header::CONNECTION);
    connection.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// The buffer that dropped bytes pass through.
const CHUNK_BYTES: usize = 64 << 10;

/// Closes the server's side, then reads and drops what the client sends until it closes its
/// own, within the limits.
pub(crate) async fn linger(mut socket: TcpStream, limits: &Limits) {
    let dropped = timeout(
        limits.linger_timeout,
        drop_up_to(&mut socket, limits.linger_bytes_max),
    );
    // Too slow or too much: the connection is closed as it is.
    let _ = dropped.await;
}

async fn drop_up_to(socket: &mut TcpStream, max: usize) {
    // Most often HTTP has closed it already.
    let _ = socket.shutdown().await;

    let mut buffer = vec![0; CHUNK_BYTES];
    let mut left = max;
    while let Ok(count) = socket.read(&mut buffer).await {
        if count == 0 || count > left {
            return;
        }
        left -= count;
    }
}
