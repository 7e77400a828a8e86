//! The answer of one stream: sent as the client takes it, and given up when the client resets it.

use super::super::AnswerProgress;
use super::super::answering::PIECE_BYTES;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Error, Reason, SendStream};
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

/// Waits for work until it is done, or until the client resets the stream: then none.
pub(crate) async fn until_reset<T>(
    respond: &mut SendResponse<Bytes>,
    mut work: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    poll_fn(|cx| {
        if let Poll::Ready(done) = work(cx) {
            return Poll::Ready(Some(done));
        }
        respond.poll_reset(cx).map(|_| None)
    })
    .await
}

/// Sends a part of a body, as the client has room for it.
pub(crate) async fn send(
    stream: &mut SendStream<Bytes>,
    mut part: Bytes,
    progress: &AnswerProgress,
) -> Result<(), Error> {
    while !part.is_empty() {
        // A larger claim would keep the connection's window from other streams meanwhile.
        stream.reserve_capacity(1);
        if stream.capacity() == 0 {
            poll_fn(|cx| poll_room(stream, cx)).await?;
        }
        let piece = match part.len() <= PIECE_BYTES {
            true => std::mem::take(&mut part),
            false => part.split_to(PIECE_BYTES),
        };
        stream.send_data(piece, false)?;
        progress.note_piece();
    }
    Ok(())
}

fn poll_room(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    if let Poll::Ready(reason) = stream.poll_reset(cx) {
        return Poll::Ready(Err(reason?.into()));
    }
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(room) => room?,
            None => return Poll::Ready(Err(Reason::CANCEL.into())),
        };
    }
    Poll::Ready(Ok(()))
}
