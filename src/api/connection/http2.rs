//! Speaks HTTP/2 on one connection: accepts requests within the limits, polls the calls of the data path
//! in the task of the connection, and gives every other request a task of its own.

mod alive;
mod calls;
mod exchange;
pub(crate) mod stream;

use super::socket::CountedSocket;
use super::{ConnectionError, ConnectionParts, DataCall};
use crate::api::limits::Limits;
use crate::api::unread::RefusedBody;
use alive::Alive;
use bytes::Bytes;
use calls::Calls;
use exchange::exchange;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// How much a client may send on one stream, and on the connection, before the server has read it.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// How many streams that the server reset are known, and for how long. Data of others count as errors of the client,
/// of which a few are allowed for the whole life of a connection. A server that refuses thousands of requests a
/// second while their bodies arrive resets as many. Each takes less than 1 KiB.
const RESET_STREAMS_KNOWN: usize = 16_384;
const RESET_STREAM_KNOWN: Duration = Duration::from_secs(3);

/// A connection over HTTP/2.
pub(super) struct Http2<C, F> {
    state: State,
    parts: ConnectionParts<C>,
    calls: Calls<F>,
    refused: RefusedBody,
    /// It was asked to end before it was open.
    is_ending: bool,
}

enum State {
    Opening(Handshake<CountedSocket, Bytes>),
    Open(Connection<CountedSocket, Bytes>, Alive),
}

impl<C, F> Http2<C, F>
where
    C: Fn(DataCall) -> F,
{
    pub(super) fn new(socket: CountedSocket, parts: ConnectionParts<C>, limits: &Limits) -> Self {
        let mut builder = Builder::new();
        builder
            .max_header_list_size(limits.header_list_bytes_max)
            .max_concurrent_streams(limits.concurrent_streams_max)
            .max_local_error_reset_streams(Some(limits.local_error_reset_streams_max))
            // What a client sent before it learned of a reset is no error of the client.
            .max_concurrent_reset_streams(RESET_STREAMS_KNOWN)
            .reset_stream_duration(RESET_STREAM_KNOWN)
            .max_pending_accept_reset_streams(limits.pending_accept_reset_streams_max)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        Self {
            state: State::Opening(builder.handshake(socket)),
            parts,
            calls: Calls::default(),
            refused: RefusedBody::new(limits),
            is_ending: false,
        }
    }

    /// Lets the connection end once its requests are answered.
    pub(super) fn end_gracefully(&mut self) {
        match &mut self.state {
            State::Opening(_) => self.is_ending = true,
            State::Open(connection, _) => connection.graceful_shutdown(),
        }
    }
}

impl<C, F> ConnectionParts<C>
where
    C: Fn(DataCall) -> F,
{
    fn start(
        &self,
        calls: &mut Calls<F>,
        refused: RefusedBody,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) {
        let progress = self.begin();
        if (self.handlers.is_call)(&request) {
            calls.push((self.handlers.call)(DataCall {
                request,
                respond,
                progress,
            }));
        } else {
            exchange(&self.handlers.answer, refused, request, respond, progress);
        }
    }
}

impl<C, F> Future for Http2<C, F>
where
    C: Fn(DataCall) -> F + Unpin,
    F: Future<Output = ()>,
{
    type Output = Result<(), ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (connection, alive) = loop {
            match &mut this.state {
                State::Opening(handshake) => {
                    let mut connection = ready!(Pin::new(handshake).poll(cx))?;
                    if this.is_ending {
                        connection.graceful_shutdown();
                    }
                    let alive = Alive::new(connection.ping_pong(), Instant::now());
                    this.state = State::Open(connection, alive);
                }
                State::Open(connection, alive) => break (connection, alive),
            }
        };

        let reads = &this.parts.activity.reads;
        if alive.poll_dead(cx, || reads.load(Ordering::Relaxed)) {
            tracing::debug!("the client does not answer pings");
            connection.abrupt_shutdown(Reason::NO_ERROR);
        }
        loop {
            // Also reads, and writes what the calls have answered.
            while let Poll::Ready(accepted) = connection.poll_accept(cx)? {
                let Some((request, respond)) = accepted else {
                    return Poll::Ready(Ok(()));
                };
                this.parts
                    .start(&mut this.calls, this.refused, request, respond);
            }
            if !this.calls.poll(cx) {
                return Poll::Pending;
            }
        }
    }
}
