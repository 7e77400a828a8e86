//! The body of a request while it arrives: charges its bytes to the budget, ends
//! it at a deadline or when the server stops, and collects it. Does not decompress or decode it.

use super::Charge;
use super::request_body::RequestBody;
use crate::core::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
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
    /// Set when the body first has to be waited for.
    overdue: Option<Pin<Box<dyn Future<Output = Error> + Send>>>,
}

/// When a body is waited for no longer.
#[derive(Clone)]
pub(crate) struct BodyDeadline {
    pub at: Instant,
    /// The stop of the server, which may come first.
    pub stop: Arc<CancellationToken>,
}

impl BodyDeadline {
    /// Waits for it. Returns why the request is refused.
    pub(crate) async fn overdue(self) -> Error {
        tokio::select! {
            () = tokio::time::sleep_until(self.at.into()) => {
                Error::late("the request body did not arrive in time")
            }
            () = self.stop.cancelled() => Error::unavailable(
                "the request body did not arrive before the server stopped; send the request again",
            ),
        }
    }
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
            overdue: None,
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
                let text = "the request body ended early or is malformed";
                Poll::Ready(Some(Err(Error::invalid(text).with_source(error).into())))
            }
            Poll::Ready(None) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let until = &this.until;
                let overdue = this
                    .overdue
                    .get_or_insert_with(|| Box::pin(until.clone().overdue()));
                overdue
                    .as_mut()
                    .poll(cx)
                    .map(|error| Some(Err(error.into())))
            }
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
