//! The socket of a connection: counts what a client sends and whether it reads.

use super::activity::Activity;
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket that counts its reads, and that is left to [`Activity`] when it is dropped.
pub(super) struct CountedSocket {
    /// Taken at the drop.
    stream: Option<TcpStream>,
    /// What was read before, and is read again first.
    before: Bytes,
    activity: Arc<Activity>,
}

impl CountedSocket {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self {
            stream: Some(stream),
            before: Bytes::new(),
            activity,
        }
    }

    /// Lets the next reads return these bytes first.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        self.before = bytes;
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("taken by the drop alone"))
    }

    fn note_blocked(&self, is_blocked: bool) {
        self.activity.blocked.store(is_blocked, Ordering::Relaxed);
    }
}

impl Drop for CountedSocket {
    fn drop(&mut self) {
        *self.activity.socket.lock() = self.stream.take();
    }
}

impl AsyncRead for CountedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let count = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before.split_to(count));
            return Poll::Ready(Ok(()));
        }

        let before = buffer.filled().len();
        let polled = self.stream().poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.reads.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for CountedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream().poll_write(cx, bytes);
        self.note_blocked(polled.is_pending());
        polled
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream().poll_write_vectored(cx, slices);
        self.note_blocked(polled.is_pending());
        polled
    }
    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }
}
