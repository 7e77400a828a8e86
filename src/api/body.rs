//! The body of a request while it arrives: charges its bytes to the budget, ends
//! it at a deadline or when the server stops, and collects it. Does not decompress or decode it.

use super::Charge;
use super::headers::RequestHeaders;
use super::request_body::{BodyError, RequestBody};
use crate::core::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Where the unread rest of a body goes when its reader drops it.
pub(crate) type UnreadSlot = Arc<Mutex<Option<RequestBody>>>;

/// A body whose bytes are charged, and that must arrive in time.
pub(crate) struct Metered {
    /// Taken when the body is dropped.
    inner: Option<RequestBody>,
    ended: bool,
    /// None unless somebody asked for the unread rest.
    unread: Option<UnreadSlot>,
    charge: Arc<Charge>,
    until: BodyDeadline,
}

/// When a body is waited for no longer.
pub(crate) struct BodyDeadline {
    at: Instant,
    /// The stop of the server, which may come first.
    stop: Arc<CancellationToken>,
    /// Set when the body first has to be waited for.
    overdue: Option<Pin<Box<dyn Future<Output = Error> + Send>>>,
}

impl BodyDeadline {
    /// The deadline of the request, but at most `read_timeout` after it arrived.
    pub(crate) fn new(
        headers: &RequestHeaders<'_>,
        arrived: Instant,
        read_timeout: Duration,
        stop: &Arc<CancellationToken>,
    ) -> Self {
        let latest = arrived + read_timeout;
        Self {
            at: match headers.deadline(arrived) {
                Ok(Some(deadline)) => deadline.0.min(latest),
                // A malformed timeout is refused by the protocol's handler, in the form of its errors.
                _ => latest,
            },
            stop: Arc::clone(stop),
            overdue: None,
        }
    }

    /// Waits for it. Returns why the request is refused.
    pub(crate) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let (at, stop) = (self.at, &self.stop);
        let overdue = self
            .overdue
            .get_or_insert_with(|| Box::pin(overdue(at, Arc::clone(stop))));
        overdue.as_mut().poll(cx)
    }
}

async fn overdue(at: Instant, stop: Arc<CancellationToken>) -> Error {
    tokio::select! {
        () = tokio::time::sleep_until(at.into()) => {
            Error::late("the request body did not arrive in time")
        }
        () = stop.cancelled() => Error::unavailable(
            "the request body did not arrive before the server stopped; send the request again",
        ),
    }
}

/// The error of a body that cannot be read to its end.
pub(crate) fn broken(cause: impl Into<BodyError>) -> Error {
    Error::invalid("the request body ended early or is malformed").with_source(cause)
}

impl Metered {
    /// Wraps a body that must be complete by then.
    pub(crate) fn new(inner: RequestBody, charge: Arc<Charge>, until: BodyDeadline) -> Self {
        Self {
            ended: inner.is_end_stream(),
            inner: Some(inner),
            unread: None,
            charge,
            until,
        }
    }

    /// The time by which it must be complete.
    pub(crate) fn deadline(&self) -> Instant {
        self.until.at
    }

    /// The slot that holds what is unread once this body is dropped.
    pub(crate) fn unread(&mut self) -> UnreadSlot {
        Arc::clone(self.unread.get_or_insert_default())
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if let Some(slot) = self.unread.take().filter(|_| !self.ended) {
            *slot.lock() = self.inner.take();
        }
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(
                    this.charge.add(bytes).map(|()| frame).map_err(Status::from),
                ))
            }
            Poll::Ready(Some(Err(error))) => {
                this.ended = true;
                Poll::Ready(Some(Err(broken(error).into())))
            }
            Poll::Ready(None) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => this
                .until
                .poll_overdue(cx)
                .map(|error| Some(Err(error.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

/// Collects a whole body of at most `max` bytes.
pub(crate) async fn collect(mut body: Metered, max: usize) -> Result<Bytes> {
    let announced = body.size_hint().lower();
    if announced > max as u64 {
        return Err(too_large(max));
    }

    let announced = usize::try_from(announced).unwrap_or(0);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(chunk) = frame.map_err(from_status)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + chunk.len() > max {
            return Err(too_large(max));
        }

        if first.is_empty() && rest.is_empty() {
            // Most bodies are one chunk, which then is not copied.
            first = chunk;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(announced.max(first.len() + chunk.len()));
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&chunk);
    }

    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

fn too_large(max: usize) -> Error {
    Error::too_large(format!("the request body is over the limit of {max} bytes"))
}

fn from_status(status: Status) -> Error {
    let message = status.message().to_owned();
    match status.code() {
        tonic::Code::ResourceExhausted => Error::overloaded(message),
        tonic::Code::DeadlineExceeded => Error::late(message),
        tonic::Code::Unavailable => Error::unavailable(message),
        _ => Error::invalid(message),
    }
}
