//! The body of a request while it arrives: charges its bytes to the budget, ends
//! it at a deadline, collects and decompresses it. Does not decode it.

use super::{Charge, Front};
use crate::core::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::Sleep;
use tonic::Status;

/// A body whose bytes are charged, and that must arrive in time.
pub(crate) struct Metered {
    inner: Incoming,
    charge: Arc<Charge>,
    deadline: Instant,
    /// Set when the body first has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    /// Wraps a body that must be complete by `deadline`.
    pub(crate) fn new(inner: Incoming, charge: Arc<Charge>, deadline: Instant) -> Self {
        Self {
            inner,
            charge,
            deadline,
            timer: None,
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
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(
                    this.charge.add(bytes).map(|()| frame).map_err(Status::from),
                ))
            }
            Poll::Ready(Some(Err(error))) => {
                let text = "the request body ended early or is malformed";
                Poll::Ready(Some(Err(Error::invalid(text).with_source(error).into())))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let deadline = this.deadline;
                let timer = this
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
                timer.as_mut().poll(cx).map(|()| {
                    Some(Err(
                        Error::late("the request body did not arrive in time").into()
                    ))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
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
        _ => Error::invalid(message),
    }
}

/// Decompresses a body as `Content-Encoding` says. Refuses a body that decompresses
/// beyond the limits.
pub(crate) fn decoded(
    headers: &HeaderMap,
    body: Bytes,
    front: &Front,
    charge: &Charge,
) -> Result<Bytes> {
    let encoding = headers.get(http::header::CONTENT_ENCODING);
    let encoding = encoding.map(|v| v.to_str().unwrap_or("?").to_ascii_lowercase());
    let max = front.limits.decompressed_bytes_max;
    let ratio = front.limits.decompression_ratio_max;
    let cap = max.min(body.len().saturating_mul(ratio));

    let mut out = Vec::new();
    let read = match encoding.as_deref() {
        None | Some("identity") => return Ok(body),
        Some("gzip") => read_within(cap, flate2::read::GzDecoder::new(&*body), &mut out),
        Some("deflate") => read_within(cap, flate2::read::ZlibDecoder::new(&*body), &mut out),
        Some(_) => {
            return Err(Error::unimplemented(
                "content-encoding must be gzip, deflate or identity",
            ));
        }
    };

    if out.len() > cap {
        return Err(Error::too_large(format!(
            "the body decompresses beyond {ratio} times its size or {max} bytes"
        )));
    }

    read.map_err(|e| {
        Error::invalid("the body does not match its content-encoding").with_source(e)
    })?;

    charge.add(out.len())?;
    Ok(out.into())
}

/// Reads at most one byte more than `cap`, which shows that the limit is passed.
fn read_within(cap: usize, from: impl Read, into: &mut Vec<u8>) -> std::io::Result<usize> {
    from.take(cap as u64 + 1).read_to_end(into)
}
