//! Tells HTTP/1 from HTTP/2 by the first bytes of a connection, and drives the one that it is.

use super::answering::AnswerBody;
use super::http2::Http2;
use super::socket::CountedSocket;
use super::{ConnectionError, ConnectionParts, DataCall, Graceful, unread};
use crate::api::limits::Limits;
use crate::api::request_body::RequestBody;
use bytes::BytesMut;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// What a client of HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection of either version.
pub(super) enum HttpConnection<C, F> {
    /// It is not known yet which one.
    New(Box<NewConnection<C>>),
    Http1(Pin<Box<http1::Connection<TokioIo<CountedSocket>, Http1Service<C>>>>),
    Http2(Box<Http2<C, F>>),
    /// It ended before its version was known.
    Ended,
}

/// A connection before its version is known.
pub(super) struct NewConnection<C> {
    socket: CountedSocket,
    parts: ConnectionParts<C>,
    limits: Limits,
    /// What was read, which begins as the preface does.
    read: BytesMut,
}

impl<C, F> HttpConnection<C, F>
where
    C: Fn(DataCall) -> F,
{
    pub(super) fn new(socket: CountedSocket, parts: ConnectionParts<C>, limits: Limits) -> Self {
        Self::New(Box::new(NewConnection {
            socket,
            parts,
            limits,
            read: BytesMut::new(),
        }))
    }
}

impl<C> NewConnection<C> {
    /// Reads until the version is known. Returns whether it is HTTP/2; none if the client closed.
    fn poll_version(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<Option<bool>>> {
        loop {
            let mut part = [0; PREFACE.len()];
            let mut buffer = ReadBuf::new(&mut part[self.read.len()..]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
            let filled = buffer.filled();
            if filled.is_empty() {
                return Poll::Ready(Ok(None));
            }
            self.read.extend_from_slice(filled);

            if !PREFACE.starts_with(&self.read) {
                return Poll::Ready(Ok(Some(false)));
            }
            if self.read.len() == PREFACE.len() {
                return Poll::Ready(Ok(Some(true)));
            }
        }
    }

    fn open<F>(mut self, is_h2: bool) -> HttpConnection<C, F>
    where
        C: Fn(DataCall) -> F,
    {
        self.parts.activity.is_h2.store(is_h2, Ordering::Relaxed);
        self.socket.put_back(self.read.freeze());
        if is_h2 {
            let connection = Http2::new(self.socket, self.parts, &self.limits);
            return HttpConnection::Http2(Box::new(connection));
        }

        let service = Http1Service { parts: self.parts };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper's timeout would also cut idle connections; the clocks tell slow headers from
            // idleness.
            .header_read_timeout(None)
            .max_buf_size((self.limits.header_list_bytes_max as usize).max(8192))
            .keep_alive(true)
            .serve_connection(TokioIo::new(self.socket), service);
        HttpConnection::Http1(Box::pin(connection))
    }
}

impl<C, F> Future for HttpConnection<C, F>
where
    C: Fn(DataCall) -> F + Unpin,
    F: Future<Output = ()>,
{
    type Output = Result<(), ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let is_h2 = match &mut *self {
                Self::New(new) => ready!(new.poll_version(cx))?,
                Self::Http1(connection) => {
                    return connection.as_mut().poll(cx).map_err(ConnectionError::from);
                }
                Self::Http2(connection) => return Pin::new(&mut **connection).poll(cx),
                Self::Ended => return Poll::Ready(Ok(())),
            };
            let Some(is_h2) = is_h2 else {
                return Poll::Ready(Ok(()));
            };
            if let Self::New(new) = std::mem::replace(&mut *self, Self::Ended) {
                *self = new.open(is_h2);
            }
        }
    }
}

impl<C, F> Graceful for HttpConnection<C, F>
where
    C: Fn(DataCall) -> F + Unpin,
    F: Future<Output = ()>,
{
    fn end_gracefully(mut self: Pin<&mut Self>) {
        match &mut *self {
            Self::New(_) => *self = Self::Ended,
            Self::Http1(connection) => connection.as_mut().graceful_shutdown(),
            Self::Http2(connection) => connection.end_gracefully(),
            Self::Ended => {}
        }
    }
}

/// Answers requests over HTTP/1.
pub(super) struct Http1Service<C> {
    parts: ConnectionParts<C>,
}

type Http1Answer = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

impl<C> Service<Request<Incoming>> for Http1Service<C> {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Http1Answer;

    fn call(&self, request: Request<Incoming>) -> Http1Answer {
        let progress = self.parts.begin();
        let answered = (self.parts.handlers.answer)(request.map(RequestBody::Http1));
        Box::pin(async move {
            let answer = answered.await;
            if unread::announces_close(&answer) {
                progress.announce_close();
            }
            Ok(answer.map(|body| AnswerBody::new(body, progress)))
        })
    }
}
