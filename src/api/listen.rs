//! I/O threads, listeners and connections. One single-threaded runtime per
//! thread, each with its own listener on every port; an accepted connection
//! goes to the thread with the fewest, so that a few long-lived ones spread.

use super::serve::Router;
use super::{Front, Limits};
use crate::error::{Error, Result};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How connections are told to end.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// Stop accepting; finish what is open.
    pub gently: CancellationToken,
    /// Close what is still open.
    pub now: CancellationToken,
    /// Every connection.
    pub connections: TaskTracker,
}

/// Ports bound and threads running.
pub(crate) struct Listening {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where gRPC is served.
    pub grpc: SocketAddr,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Listening {
    /// Waits for the threads, which end after [`Stop::now`].
    pub(crate) fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("an I/O thread panicked");
            }
        }
    }
}

/// One thread as the others see it.
struct Peer {
    inbox: UnboundedSender<StdStream>,
    connections: AtomicUsize,
}

/// Binds both ports and starts `count` I/O threads.
pub(crate) fn start(
    (http, grpc): (SocketAddr, SocketAddr),
    count: usize,
    front: &Arc<Front>,
    router: &Arc<Router>,
    stop: &Stop,
) -> Result<Listening> {
    let http = reserve(http, "HTTP")?;
    let grpc = reserve(grpc, "gRPC")?;
    let (peers, inboxes): (Vec<Peer>, Vec<_>) = (0..count)
        .map(|_| {
            let (inbox, letters) = unbounded_channel();
            (Peer { inbox, connections: AtomicUsize::new(0) }, letters)
        })
        .unzip();
    let peers = Arc::new(peers);
    let mut threads = Vec::with_capacity(count);
    for (index, letters) in inboxes.into_iter().enumerate() {
        let io = IoThread {
            index,
            peers: Arc::clone(&peers),
            front: Arc::clone(front),
            router: Arc::clone(router),
            stop: stop.clone(),
        };
        let (bound, is_bound) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("io {index}"))
            .spawn(move || io.main(http, grpc, letters, &bound))
            .map_err(|e| Error::internal("start an I/O thread").with_source(e))?;
        threads.push(thread);
        is_bound.recv().map_err(|_| Error::internal("an I/O thread ended at its start"))??;
    }
    Ok(Listening { http, grpc, threads })
}

/// Makes sure that nobody listens on `address`, and finds a free port for `:0`.
/// The threads share the port with SO_REUSEPORT, which would also let a second
/// server share it silently; a plain bind does not.
fn reserve(address: SocketAddr, what: &str) -> Result<SocketAddr> {
    let bound = std::net::TcpListener::bind(address).and_then(|l| l.local_addr());
    bound.map_err(|e| Error::precondition(format!("the {what} listener cannot bind {address}: {e}")).with_source(e))
}

struct IoThread {
    index: usize,
    peers: Arc<Vec<Peer>>,
    front: Arc<Front>,
    router: Arc<Router>,
    stop: Stop,
}

type Bound = std::sync::mpsc::Sender<Result<()>>;

impl IoThread {
    fn main(self, http: SocketAddr, grpc: SocketAddr, letters: UnboundedReceiver<StdStream>, bound: &Bound) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = bound.send(Err(Error::internal("build an I/O runtime").with_source(error)));
                return;
            }
        };
        runtime.block_on(async move {
            let listeners = listen(http).and_then(|h| Ok((h, listen(grpc)?)));
            let (http, grpc) = match listeners {
                Ok(pair) => pair,
                Err(error) => {
                    let _ = bound.send(Err(error));
                    return;
                }
            };
            let _ = bound.send(Ok(()));
            let gently = self.stop.gently.clone();
            tokio::select! {
                () = self.accept(&http) => {}
                () = self.accept(&grpc) => {}
                () = self.adopt(letters) => {}
                () = gently.cancelled() => {}
            }
            drop((http, grpc));
            // Open connections live on this thread until they end or must.
            tokio::select! {
                () = self.stop.now.cancelled() => {}
                () = async { self.stop.connections.wait().await } => {}
            }
            tokio::task::yield_now().await;
        });
    }

    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.place(stream),
                Err(error) => {
                    // Out of descriptors, most likely: they come back when connections end.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Keeps a connection or hands it to the thread with the fewest.
    fn place(&self, stream: TcpStream) {
        let total: usize = self.peers.iter().map(|p| p.connections.load(Ordering::Relaxed)).sum();
        if total >= self.front.limits.connections_max {
            self.front.metrics.connections_refused.inc();
            return;
        }
        let load = |at: usize| self.peers[at].connections.load(Ordering::Relaxed);
        let least = (0..self.peers.len()).min_by_key(|at| load(*at)).unwrap_or(self.index);
        if load(least) < load(self.index) {
            if let Ok(stream) = stream.into_std() {
                self.peers[least].connections.fetch_add(1, Ordering::Relaxed);
                // A thread that has stopped drops the connection with its inbox.
                let _ = self.peers[least].inbox.send(stream);
            }
        } else {
            self.peers[self.index].connections.fetch_add(1, Ordering::Relaxed);
            self.open(stream);
        }
    }

    async fn adopt(&self, mut letters: UnboundedReceiver<StdStream>) {
        while let Some(stream) = letters.recv().await {
            match TcpStream::from_std(stream) {
                Ok(stream) => self.open(stream),
                Err(error) => {
                    self.peers[self.index].connections.fetch_sub(1, Ordering::Relaxed);
                    tracing::warn!(%error, "a connection cannot be handed over");
                }
            }
        }
        std::future::pending::<()>().await;
    }

    fn open(&self, stream: TcpStream) {
        // Latency is lost without it, nothing else.
        let _ = stream.set_nodelay(true);
        let open = Open { peers: Arc::clone(&self.peers), index: self.index, front: Arc::clone(&self.front) };
        self.front.metrics.connections.inc();
        let connection = serve(stream, Arc::clone(&self.router), self.front.limits.clone(), self.stop.clone());
        self.stop.connections.spawn(async move {
            connection.await;
            drop(open);
        });
    }
}

/// Counts a connection until it ends.
struct Open {
    peers: Arc<Vec<Peer>>,
    index: usize,
    front: Arc<Front>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.peers[self.index].connections.fetch_sub(1, Ordering::Relaxed);
        self.front.metrics.connections.dec();
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        socket.listen(1024)
    };
    bind().map_err(|e| Error::precondition(format!("cannot listen on {address}: {e}")).with_source(e))
}

/// What a connection is doing.
#[derive(Default)]
struct Activity {
    active: AtomicU32,
    /// Requests ever begun; unchanged over an idle period means idle.
    begun: AtomicU32,
}

struct Active(Arc<Activity>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(stream: TcpStream, router: Arc<Router>, limits: Limits, stop: Stop) {
    let activity = Arc::new(Activity::default());
    let seen = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let router = Arc::clone(&router);
        activity.active.fetch_add(1, Ordering::Relaxed);
        activity.begun.fetch_add(1, Ordering::Relaxed);
        let active = Active(Arc::clone(&activity));
        async move {
            let answer = router.answer(request).await;
            drop(active);
            answer
        }
    });
    let builder = builder(&limits);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut gently = std::pin::pin!(stop.gently.cancelled());
    let mut now = std::pin::pin!(stop.now.cancelled());
    let mut idle = std::pin::pin!(tokio::time::sleep(limits.idle_timeout));
    let (mut ending, mut begun) = (false, 0);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = now.as_mut() => return,
            () = gently.as_mut(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = idle.as_mut() => {
                let busy = seen.active.load(Ordering::Relaxed) > 0;
                let since = seen.begun.load(Ordering::Relaxed);
                if !busy && since == begun {
                    if ending {
                        return;
                    }
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                begun = since;
                idle.as_mut().reset((Instant::now() + limits.idle_timeout).into());
            }
        }
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_list_bytes_max.max(8192))
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_list_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.concurrent_streams_max)
        .max_local_error_reset_streams(limits.local_error_reset_streams_max)
        .max_pending_accept_reset_streams(limits.pending_accept_reset_streams_max)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
