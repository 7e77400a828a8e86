//! Serves one connection over HTTP/1 or HTTP/2: the limits of both, and the
//! timeouts that close it. Owns no listener. Leaves a client that still sends to `unread`.

mod answering;
#[cfg(test)]
mod tests;

use super::limits::Limits;
use super::stop::{RequestCounter, Stop};
use super::unread;
use answering::AnswerBody;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::body::Body;

/// The longest that a client which still sends keeps a stopping server waiting.
const LINGER_AT_STOP: Duration = Duration::from_secs(2);

/// How long an open connection over HTTP/1 without a request is kept once the delay of the stop is
/// over. A request that its client sends meanwhile is answered.
const IDLE_AT_STOP: Duration = Duration::from_secs(1);

/// How long a client over HTTP/2 without a request may leave `GOAWAY` unanswered when the server
/// stops. Some clients read only while they wait for an answer.
const SILENT_AT_STOP: Duration = Duration::from_secs(5);

/// What a connection is doing.
#[derive(Default)]
struct Activity {
    /// Requests being answered.
    active: AtomicU32,
    /// Requests ever begun: their headers are complete.
    begun: AtomicU32,
    /// Answers of which HTTP has not yet taken the whole body.
    unsent: AtomicU32,
    /// Pieces of bodies that HTTP took.
    pieces: AtomicU32,
    /// Reads that brought bytes.
    reads: AtomicU32,
    /// Whether the last write had to wait for the client.
    blocked: AtomicBool,
    /// Whether the first bytes were those of HTTP/2.
    is_h2: AtomicBool,
    /// Whether an answer announced the close, with a body possibly unread.
    announced: AtomicBool,
    /// The socket, once HTTP is done with it.
    socket: Mutex<Option<TcpStream>>,
}

struct Active(Arc<Activity>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves until the client closes the connection, a timeout passes, or the server
/// stops. `requests` counts the requests whose answer is not sent yet.
pub(super) async fn serve<F>(
    stream: TcpStream,
    answer: impl Fn(Request<Incoming>) -> F,
    limits: Limits,
    stop: Stop,
    requests: Option<RequestCounter>,
) where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let seen = Arc::clone(&activity);
    let watched = TokioIo::new(CountedSocket {
        stream: Some(stream),
        activity: Arc::clone(&activity),
    });
    let service = service_fn(move |request: Request<Incoming>| {
        let answered = answer(request);
        activity.active.fetch_add(1, Ordering::Relaxed);
        activity.begun.fetch_add(1, Ordering::Relaxed);
        let active = Active(Arc::clone(&activity));
        let counted = requests.as_ref().map(RequestCounter::enter);
        async move {
            let answer = answered.await;
            if unread::announces_close(&answer) {
                active.0.announced.store(true, Ordering::Relaxed);
            }
            let activity = Arc::clone(&active.0);
            Ok::<_, Infallible>(answer.map(|body| AnswerBody::new(body, activity, counted)))
        }
    });

    let builder = builder(&limits);
    let connection = builder.serve_connection(watched, service);
    let ended = drive(connection, &seen, &limits, &stop).await;

    let socket = seen.socket.lock().take();
    if let (Ended::Unread, Some(socket)) = (ended, socket) {
        tokio::select! {
            () = unread::linger(socket, &limits) => {}
            () = stopping(&stop) => {}
        }
    }
}

/// Waits for the stop, and leaves a client some time more to read its answer.
async fn stopping(stop: &Stop) {
    stop.gently.cancelled().await;
    tokio::select! {
        () = tokio::time::sleep(LINGER_AT_STOP) => {}
        () = stop.now.cancelled() => {}
    }
}

/// How a connection ended.
enum Ended {
    /// Nothing that the client sent is of interest.
    Read,
    /// The client may still be sending, and must be able to read the last answer.
    Unread,
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

impl Ended {
    /// `stopping` tells whether the server was.
    fn of(ended: &Result<(), ConnectionError>, seen: &Activity, stopping: bool) -> Self {
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
            return Self::Unread;
        }

        // A client of HTTP/2 may have sent more before it reads GOAWAY. Unread bytes would reset
        // the connection, and the client would lose answers that it has not read.
        let said_goaway = stopping && seen.is_h2.load(Ordering::Relaxed);
        match said_goaway || seen.announced.load(Ordering::Relaxed) {
            true => Self::Unread,
            false => Self::Read,
        }
    }
}

/// Drives a connection to its end, and drops it, which frees the socket.
async fn drive<C>(connection: C, seen: &Activity, limits: &Limits, stop: &Stop) -> Ended
where
    C: GracefulConnection<Error = ConnectionError>,
{
    let mut connection = std::pin::pin!(connection);
    let mut gently = std::pin::pin!(stop.gently.cancelled());
    let mut now = std::pin::pin!(stop.now.cancelled());
    let mut clocks = Clocks::start(limits, Instant::now());
    let mut look = std::pin::pin!(tokio::time::sleep(clocks.period));
    let mut grace = std::pin::pin!(tokio::time::sleep(IDLE_AT_STOP));
    let (mut ending, mut stopping, mut asked) = (false, false, None::<Sight>);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                return Ended::of(&ended, seen, stopping);
            }
            () = now.as_mut() => {
                if !ends_at_once(connection.as_mut()).await && Sight::of(seen).may_owe() {
                    stop.cut.fetch_add(1, Ordering::Relaxed);
                }
                return Ended::Read;
            }
            () = gently.as_mut(), if !stopping => {
                stopping = true;
                let wait = Sight::of(seen).wait_for_request();
                grace.as_mut().reset((Instant::now() + wait).into());
            }
            () = grace.as_mut(), if stopping => {
                let sight = Sight::of(seen);
                if asked.is_some_and(|asked| sight.is_silent_since(&asked)) {
                    return Ended::Read;
                }
                ending = true;
                connection.as_mut().graceful_shutdown();
                asked = Some(sight);
                grace.as_mut().reset((Instant::now() + SILENT_AT_STOP).into());
            }
            () = look.as_mut() => {
                match clocks.check_idle(&Sight::of(seen), Instant::now()) {
                    IdleVerdict::Stay => {}
                    IdleVerdict::Leave if !ending => {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    IdleVerdict::Leave | IdleVerdict::Cut => return Ended::Read,
                }
                look.as_mut().reset((Instant::now() + clocks.period).into());
            }
        }
    }
}

/// Asks a connection to end, and tells whether nothing holds it back.
async fn ends_at_once<C: GracefulConnection>(mut connection: Pin<&mut C>) -> bool {
    connection.as_mut().graceful_shutdown();
    std::future::poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx).is_ready())).await
}

/// The activity of a connection at one moment.
struct Sight {
    active: bool,
    /// Whether the client has not taken all answers.
    unsent: bool,
    pieces: u32,
    begun: u32,
    reads: u32,
    blocked: bool,
    is_h2: bool,
}

impl Sight {
    fn of(activity: &Activity) -> Self {
        Self {
            active: activity.active.load(Ordering::Relaxed) > 0,
            unsent: activity.unsent.load(Ordering::Relaxed) > 0,
            pieces: activity.pieces.load(Ordering::Relaxed),
            begun: activity.begun.load(Ordering::Relaxed),
            reads: activity.reads.load(Ordering::Relaxed),
            blocked: activity.blocked.load(Ordering::Relaxed),
            is_h2: activity.is_h2.load(Ordering::Relaxed),
        }
    }

    /// Tells whether a client over HTTP/2 that was asked to end its connection at an earlier moment
    /// has neither a request nor an answer to read, and has sent nothing since.
    fn is_silent_since(&self, asked: &Self) -> bool {
        self.is_h2 && !self.active && !self.unsent && !self.blocked && self.reads == asked.reads
    }

    /// How long a connection that is open when the server stops waits for a request. HTTP/2 tells
    /// its client first which requests are still answered; HTTP/1 cannot.
    fn wait_for_request(&self) -> Duration {
        match self.is_h2 {
            true => Duration::ZERO,
            false => IDLE_AT_STOP,
        }
    }

    /// Tells whether the client of a connection that does not end when it is asked to may wait for
    /// an answer, or for the rest of one. Without a request, only headers or the client's part in
    /// the end of HTTP/2 are missing. With requests, HTTP/2 does not tell whether the client has
    /// read its answers.
    fn may_owe(&self) -> bool {
        self.begun > 0
    }
}

#[derive(Debug, PartialEq, Eq)]
enum IdleVerdict {
    Stay,
    /// No request for too long: close gracefully.
    Leave,
    /// Headers arrive too slowly: close at once.
    Cut,
}

/// When a connection last received a request, and since when headers are
/// incomplete. Decides when to close it; the caller passes the time.
struct Clocks {
    period: Duration,
    idle_timeout: Duration,
    header_timeout: Duration,
    begun: u32,
    /// Pieces of answers that were taken by then.
    pieces: u32,
    /// Reads when the last request was seen.
    reads: u32,
    quiet_since: Instant,
    head_since: Option<Instant>,
}

impl Clocks {
    fn start(limits: &Limits, now: Instant) -> Self {
        let (idle_timeout, header_timeout) = (limits.idle_timeout, limits.header_timeout);
        let period = (header_timeout.min(idle_timeout) / 2).max(Duration::from_millis(10));
        Self {
            period,
            idle_timeout,
            header_timeout,
            begun: 0,
            pieces: 0,
            reads: 0,
            quiet_since: now,
            head_since: None,
        }
    }

    fn check_idle(&mut self, sight: &Sight, now: Instant) -> IdleVerdict {
        if sight.active || sight.begun != self.begun || sight.pieces != self.pieces {
            self.pieces = sight.pieces;
            (self.begun, self.reads, self.quiet_since, self.head_since) =
                (sight.begun, sight.reads, now, None);
            return IdleVerdict::Stay;
        }

        // Bytes without a request: on HTTP/1 they are the start of headers.
        if !sight.is_h2 && sight.reads != self.reads {
            let since = *self.head_since.get_or_insert(now);
            if now - since >= self.header_timeout {
                return IdleVerdict::Cut;
            }
        }

        if now - self.quiet_since >= self.idle_timeout {
            IdleVerdict::Leave
        } else {
            IdleVerdict::Stay
        }
    }
}

/// Speaks HTTP/1 and HTTP/2 within the limits.
fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper's timeout would also cut idle connections; `Clocks` tells slow
        // headers from idleness.
        .header_read_timeout(None)
        .max_buf_size((limits.header_list_bytes_max as usize).max(8192))
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.header_list_bytes_max)
        .max_concurrent_streams(limits.concurrent_streams_max)
        .max_local_error_reset_streams(limits.local_error_reset_streams_max)
        .max_pending_accept_reset_streams(limits.pending_accept_reset_streams_max)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// A socket that counts its reads, and that is left to `Activity` when it is dropped.
struct CountedSocket {
    /// Taken at the drop.
    stream: Option<TcpStream>,
    activity: Arc<Activity>,
}

impl CountedSocket {
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
        let before = buffer.filled().len();
        let polled = self.stream().poll_read(cx, buffer);
        if buffer.filled().len() > before
            && self.activity.reads.fetch_add(1, Ordering::Relaxed) == 0
        {
            let is_h2 = buffer.filled()[before..].starts_with(b"PRI");
            self.activity.is_h2.store(is_h2, Ordering::Relaxed);
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
