//! Answers a request that is no call of the data path, on a task of its own.

use super::super::answering::AnswerBody;
use super::super::{Answer, AnswerProgress, BoxedAnswer};
use super::stream::{send, until_reset};
use crate::api::request_body::{Http2Body, RequestBody};
use crate::api::unread::RefusedBody;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Error, Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

/// Starts the task.
pub(super) fn exchange(
    answer: &Answer,
    refused: RefusedBody,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    progress: AnswerProgress,
) {
    let is_head = request.method() == Method::HEAD;
    let (head, stream) = request.into_parts();
    let body = Http2Body::new(stream, &head.headers);
    let unread = body.unread();
    let answered = answer(Request::from_parts(head, RequestBody::Http2(body)));
    tokio::spawn(async move {
        if let Err(error) = reply(answered, respond, is_head, progress).await {
            tracing::debug!(%error, "a stream ended");
        }
        let rest = unread.lock().take();
        if let Some(rest) = rest {
            refused.drop_stream(rest).await;
        }
    });
}

async fn reply(
    mut answered: BoxedAnswer,
    mut respond: SendResponse<Bytes>,
    is_head: bool,
    progress: AnswerProgress,
) -> Result<(), Error> {
    let poll = |cx: &mut Context<'_>| answered.as_mut().poll(cx);
    let Some(answer) = until_reset(&mut respond, poll).await else {
        return Ok(());
    };
    let answer = answer.map(|body| AnswerBody::new(body, progress));
    let (parts, mut body) = answer.into_parts();
    let mut head = Response::from_parts(parts, ());
    complete(head.headers_mut(), body.size_hint().exact());
    let is_empty = is_head || body.is_end_stream();
    let mut stream = respond.send_response(head, is_empty)?;
    if is_empty {
        return Ok(());
    }

    loop {
        let polled = poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(cx) {
                return Poll::Ready(Some(frame));
            }
            stream.poll_reset(cx).map(|_| None)
        });
        let frame = match polled.await {
            Some(Some(frame)) => frame,
            Some(None) => break,
            // The client has gone, and what still works on the answer ends with it.
            None => return Ok(()),
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(%error, "the body of an answer failed");
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
        };
        match frame.into_data() {
            Ok(piece) => send(&mut stream, piece, body.progress()).await?,
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                stream.reserve_capacity(0);
                return stream.send_trailers(trailers);
            }
        }
    }
    stream.send_data(Bytes::new(), true)
}

/// Adds what HTTP asks of every answer, and takes out what only HTTP/1 knows.
fn complete(headers: &mut HeaderMap, length: Option<u64>) {
    headers.remove(header::CONNECTION);
    if let Some(length) = length {
        headers
            .entry(header::CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    if let Ok(date) = HeaderValue::try_from(date) {
        headers.entry(header::DATE).or_insert(date);
    }
}
