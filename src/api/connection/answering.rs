//! The body of an answer on its way to the client, and what is known of it meanwhile.

use super::activity::AnswerProgress;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;

/// The most bytes that are handed on at once. HTTP asks for more when the client has taken most of
/// what came before.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// The body of an answer in pieces. Until it is dropped, a client waits for it.
pub(super) struct AnswerBody {
    body: Body,
    /// What is left of a frame.
    rest: Bytes,
    progress: AnswerProgress,
}

impl AnswerBody {
    pub(super) fn new(body: Body, mut progress: AnswerProgress) -> Self {
        progress.answered();
        Self {
            body,
            rest: Bytes::new(),
            progress,
        }
    }

    pub(super) fn progress(&self) -> &AnswerProgress {
        &self.progress
    }

    fn piece(&mut self) -> Frame<Bytes> {
        if self.rest.len() <= PIECE_BYTES {
            return Frame::data(std::mem::take(&mut self.rest));
        }
        Frame::data(self.rest.split_to(PIECE_BYTES))
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = polled else {
            return polled;
        };
        match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                Poll::Ready(Some(Ok(self.piece())))
            }
            Err(trailers) => Poll::Ready(Some(Ok(trailers))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
