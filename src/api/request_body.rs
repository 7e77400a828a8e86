//! The body of a request as it arrives, over HTTP/1 or HTTP/2. Knows no limit and no deadline.

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Why a body cannot be read.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
pub(crate) enum RequestBody {
    Http1(Incoming),
    Http2(Http2Body),
}

/// Where a stream goes whose body was dropped before its end.
pub(crate) type UnreadStream = Arc<Mutex<Option<RecvStream>>>;

/// The body of a request over HTTP/2.
pub(crate) struct Http2Body {
    /// Taken when the body is dropped.
    stream: Option<RecvStream>,
    unread: UnreadStream,
    /// What the header announces and has not arrived, if it announces anything.
    left: Option<u64>,
    /// Trailers come next.
    is_read: bool,
}

impl Http2Body {
    /// Reads the length from the headers of the request.
    pub(crate) fn new(stream: RecvStream, headers: &HeaderMap) -> Self {
        let length = headers.get(header::CONTENT_LENGTH);
        Self {
            stream: Some(stream),
            unread: UnreadStream::default(),
            left: length.and_then(|value| value.to_str().ok()?.parse().ok()),
            is_read: false,
        }
    }

    /// Holds the stream once this body is dropped, if that is before its end.
    pub(crate) fn unread(&self) -> UnreadStream {
        Arc::clone(&self.unread)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        if !self.is_read {
            if let Some(data) = ready!(poll_data(stream, cx)) {
                if let (Some(left), Ok(data)) = (&mut self.left, &data) {
                    *left = left.saturating_sub(data.len() as u64);
                }
                return Poll::Ready(Some(data.map(Frame::data).map_err(BodyError::from)));
            }
            self.is_read = true;
        }

        let trailers = ready!(stream.poll_trailers(cx));
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(error.into())),
        })
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        if !self.is_end_stream() {
            *self.unread.lock() = self.stream.take();
        }
    }
}

/// Reads data of a stream, and lets its client send as much again.
pub(crate) fn poll_data(
    stream: &mut RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, h2::Error>>> {
    let data = ready!(stream.poll_data(cx));
    if let Some(Ok(bytes)) = &data {
        // The connection is gone where that fails, which the next read says.
        let _ = stream.flow_control().release_capacity(bytes.len());
    }
    // With this reason the client wants no answer; what it sent is complete.
    let is_over = |data: &Result<Bytes, h2::Error>| matches!(data, Err(error) if error.reason() == Some(Reason::NO_ERROR));
    Poll::Ready(data.filter(|data| !is_over(data)))
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body
                .left
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
