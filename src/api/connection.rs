//! Serves one connection over HTTP/1 or HTTP/2: the limits of both, and the
//! timeouts that close it. Owns no listener. Leaves a client that still sends to `unread`.
//!
//! [`protocol`] tells the versions of HTTP apart, hyper speaks HTTP/1, [`http2`] speaks HTTP/2.

mod activity;
mod answering;
mod clocks;
pub(super) mod http2;
mod protocol;
mod socket;
#[cfg(test)]
mod tests;

use super::limits::Limits;
use super::request_body::RequestBody;
use super::stop::{RequestCounter, Stop};
use super::unread;
use activity::Activity;
pub(crate) use activity::AnswerProgress;
use bytes::Bytes;
use clocks::{Clocks, IDLE_AT_STOP, IdleVerdict, Sight};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use protocol::HttpConnection;
use socket::CountedSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tonic::body::Body;

/// The longest that a client which still sends keeps a stopping server waiting.
const LINGER_AT_STOP: Duration = Duration::from_secs(2);

/// How long a client over HTTP/2 without a request may leave `GOAWAY` unanswered when the server
/// stops. Some clients read only while they wait for an answer.
const SILENT_AT_STOP: Duration = Duration::from_secs(5);

/// The answer to a request, once it is known.
pub(crate) type BoxedAnswer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers any request.
pub(crate) type Answer = Arc<dyn Fn(Request<RequestBody>) -> BoxedAnswer + Send + Sync>;

/// A call of the data path over HTTP/2, which answers itself.
pub(crate) struct DataCall {
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
    pub progress: AnswerProgress,
}

/// What answers the requests of a connection.
pub(crate) struct Handlers<C> {
    /// Answers any request.
    pub answer: Answer,
    /// Tells whether a request over HTTP/2 is a call of the data path.
    pub is_call: fn(&Request<RecvStream>) -> bool,
    /// Answers such a call.
    pub call: C,
}

impl Handlers<fn(DataCall) -> std::future::Ready<()>> {
    /// A connection without data calls.
    pub(crate) fn without_calls(answer: Answer) -> Self {
        Self {
            answer,
            is_call: |_| false,
            call: |_| std::future::ready(()),
        }
    }
}

/// What the parts of a connection share.
pub(super) struct ConnectionParts<C> {
    handlers: Handlers<C>,
    activity: Arc<Activity>,
    requests: Option<RequestCounter>,
}

impl<C> ConnectionParts<C> {
    fn begin(&self) -> AnswerProgress {
        AnswerProgress::begin(
            &self.activity,
            self.requests.as_ref().map(RequestCounter::enter),
        )
    }
}

/// Serves until the client closes the connection, a timeout passes, or the server
/// stops. `requests` counts the requests whose answer is not sent yet.
pub(super) async fn serve<C, F>(
    stream: TcpStream,
    handlers: Handlers<C>,
    limits: Limits,
    stop: Stop,
    requests: Option<RequestCounter>,
) where
    C: Fn(DataCall) -> F + Unpin,
    F: Future<Output = ()>,
{
    let seen = Arc::new(Activity::default());
    let parts = ConnectionParts {
        handlers,
        activity: Arc::clone(&seen),
        requests,
    };
    let socket = CountedSocket::new(stream, Arc::clone(&seen));
    let connection = HttpConnection::new(socket, parts, limits.clone());
    let ended = drive(connection, &seen, &limits, &stop).await;

    let socket = seen.socket.lock().take();
    if let (Ended::Unread, Some(socket)) = (ended, socket) {
        tokio::select! {
            () = unread::linger(socket, &limits) => {}
            () = stopping(&stop) => {}
        }
    }
}

/// A connection, which ends by itself or when it is asked to.
trait Graceful: Future<Output = Result<(), ConnectionError>> {
    /// Lets it end once its requests are answered.
    fn end_gracefully(self: Pin<&mut Self>);
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
    C: Graceful,
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
                connection.as_mut().end_gracefully();
                asked = Some(sight);
                grace.as_mut().reset((Instant::now() + SILENT_AT_STOP).into());
            }
            () = look.as_mut() => {
                match clocks.check_idle(&Sight::of(seen), Instant::now()) {
                    IdleVerdict::Stay => {}
                    IdleVerdict::Leave if !ending => {
                        ending = true;
                        connection.as_mut().end_gracefully();
                    }
                    IdleVerdict::Leave | IdleVerdict::Cut => return Ended::Read,
                }
                look.as_mut().reset((Instant::now() + clocks.period).into());
            }
        }
    }
}

/// Asks a connection to end, and tells whether nothing holds it back.
async fn ends_at_once<C: Graceful>(mut connection: Pin<&mut C>) -> bool {
    connection.as_mut().end_gracefully();
    std::future::poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx).is_ready())).await
}
