//! I/O threads and listeners. One single-threaded runtime per
//! thread, each with its own listener on every port; an accepted connection
//! goes to the thread with the fewest, so that a few long-lived ones spread.

#[cfg(test)]
mod tests;

use super::connection::{Answer, Handlers};
use super::serve::Router;
use super::stop::{RequestCounter, Stop};
use super::unary::UnaryCalls;
use super::{Front, connection};
use crate::core::error::{Error, Result};
use crate::serve::batch::moderation;

use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

/// The most connections that wait to be accepted, for each listener.
const BACKLOG: u32 = 1024;

/// The running threads.
pub(crate) struct Listening {
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<ThreadEnded>,
}

/// An I/O thread ended.
struct ThreadEnded;

/// Reports the end of a thread when it is dropped, also by a panic.
struct EndReport(Sender<ThreadEnded>);

impl Drop for EndReport {
    fn drop(&mut self) {
        // The receiver is gone where the start failed.
        let _ = self.0.send(ThreadEnded);
    }
}

impl Listening {
    /// Waits until `until` for the threads, which end after [`Stop::now`]. Returns
    /// the names of those that did not end, because a run on them hangs.
    pub(crate) fn join(self, until: Instant) -> Vec<String> {
        for _ in &self.threads {
            let left = until.saturating_duration_since(Instant::now());
            if self.ended.recv_timeout(left).is_err() {
                return self.unfinished();
            }
        }

        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("an I/O thread panicked");
            }
        }

        Vec::new()
    }

    fn unfinished(&self) -> Vec<String> {
        self.threads
            .iter()
            .filter(|thread| !thread.is_finished())
            .map(|thread| thread.thread().name().unwrap_or("io").to_owned())
            .collect()
    }
}

/// Where the data listeners bind.
#[derive(Clone, Copy)]
pub(crate) struct DataAddresses {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
}

/// What the other threads know of one thread.
struct Peer {
    inbox: UnboundedSender<HandedOver>,
    connections: AtomicUsize,
}

/// An accepted connection on its way to another thread. The stop waits for it.
struct HandedOver {
    stream: StdStream,
    open: OpenConnection,
    awaited: TaskTrackerToken,
}

impl Peer {
    /// Also returns the connections that other threads hand over.
    fn new() -> (Self, UnboundedReceiver<HandedOver>) {
        let (inbox, handed_over) = unbounded_channel();
        let peer = Self {
            inbox,
            connections: AtomicUsize::new(0),
        };
        (peer, handed_over)
    }
}

/// The data ports, bound. Connections wait until [`start`] accepts them.
pub(crate) struct DataPorts {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// The listeners of each I/O thread.
    listeners: Vec<ListenerPair>,
}

/// The listeners of one I/O thread.
struct ListenerPair {
    http: StdListener,
    grpc: StdListener,
}

/// Binds both ports for `count` I/O threads. Must be called in a runtime.
pub(crate) fn bind(addresses: DataAddresses, count: usize) -> Result<DataPorts> {
    // Both are held until both are bound, so that one address cannot be given twice.
    let http = reserve(addresses.http, "HTTP")?;
    let grpc = reserve(addresses.grpc, "gRPC")?;
    let local = |held: &StdListener| {
        let unknown = |e| Error::internal("read the address of a listener").with_source(e);
        held.local_addr().map_err(unknown)
    };
    let bound = (local(&http)?, local(&grpc)?);
    drop((http, grpc));
    let (http, grpc) = bound;

    let pair = |_| {
        Ok(ListenerPair {
            http: listen(http)?,
            grpc: listen(grpc)?,
        })
    };
    let listeners = (0..count).map(pair).collect::<Result<_>>()?;

    Ok(DataPorts {
        http,
        grpc,
        listeners,
    })
}

/// Starts the I/O threads, which answer on bound ports.
pub(crate) fn start(
    ports: DataPorts,
    front: &Arc<Front>,
    health: &HealthServer<HealthService>,
    stop: &Stop,
) -> Result<Listening> {
    let count = ports.listeners.len();
    let (peers, inboxes): (Vec<Peer>, Vec<_>) = (0..count).map(|_| Peer::new()).unzip();
    let peers = Arc::new(peers);

    let mut threads = Vec::with_capacity(count);
    let (end, ended) = std::sync::mpsc::channel();
    let each = inboxes.into_iter().zip(ports.listeners).enumerate();
    for (index, (handed_over, listeners)) in each {
        let io = IoThread {
            index,
            peers: Arc::clone(&peers),
            front: Arc::clone(front),
            connections: ConnectionServer::new(front, health.clone()),
            stop: stop.clone(),
        };
        let (bound, is_bound) = std::sync::mpsc::channel();
        let report = EndReport(end.clone());
        let thread = std::thread::Builder::new()
            .name(format!("io {index}"))
            .spawn(move || {
                let _report = report;
                io.main(listeners, handed_over, &bound);
            })
            .map_err(|e| Error::internal("start an I/O thread").with_source(e))?;
        threads.push(thread);

        is_bound
            .recv()
            .map_err(|_| Error::internal("an I/O thread ended at its start"))??;
    }

    Ok(Listening { threads, ended })
}

/// Checks that no process listens on `address`, and finds a free port for `:0`. The
/// threads share the port with SO_REUSEPORT, which would also let a second server
/// share it silently; a plain bind does not.
fn reserve(address: SocketAddr, what: &str) -> Result<StdListener> {
    StdListener::bind(address).map_err(|e| unbound(what, address, &e))
}

/// The error of a listener that cannot bind its address.
pub(super) fn unbound(what: &str, address: SocketAddr, cause: &std::io::Error) -> Error {
    Error::precondition(format!(
        "the {what} listener cannot bind {address}: {cause}; stop the other process, or set \
         server.{} to a free address of this machine",
        what.to_lowercase()
    ))
}

/// Serves the connections of one thread.
pub(crate) struct ConnectionServer {
    front: Arc<Front>,
    router: Arc<Router>,
    calls: Arc<UnaryCalls>,
    requests: RequestCounter,
}

impl ConnectionServer {
    /// Answers over one front.
    pub(crate) fn new(front: &Arc<Front>, health: HealthServer<HealthService>) -> Self {
        Self {
            front: Arc::clone(front),
            router: Arc::new(Router::new(Arc::clone(front), health)),
            calls: Arc::new(UnaryCalls::new(Arc::clone(front))),
            requests: front.stop.requests.counter(),
        }
    }

    /// Serves a connection to its end.
    pub(crate) fn serve(&self, stream: TcpStream) -> impl Future<Output = ()> + use<> {
        let (router, calls) = (Arc::clone(&self.router), Arc::clone(&self.calls));
        let handlers = Handlers {
            answer: Arc::new(move |request| {
                let router = Arc::clone(&router);
                Box::pin(async move { router.answer(request).await })
            }),
            is_call: UnaryCalls::takes,
            call: move |call| Arc::clone(&calls).answer(call),
        };

        let (limits, stop) = (self.front.limits.clone(), self.front.stop.clone());
        connection::serve(stream, handlers, limits, stop, Some(self.requests.clone()))
    }
}

struct IoThread {
    index: usize,
    peers: Arc<Vec<Peer>>,
    front: Arc<Front>,
    connections: ConnectionServer,
    stop: Stop,
}

type Bound = Sender<Result<()>>;

impl IoThread {
    fn main(
        self,
        listeners: ListenerPair,
        handed_over: UnboundedReceiver<HandedOver>,
        bound: &Bound,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(moderation::pause)
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = bound.send(Err(
                    Error::internal("build an I/O runtime").with_source(error)
                ));
                return;
            }
        };

        runtime.block_on(async move {
            let (http, grpc) = match listeners.accept() {
                Ok(pair) => pair,
                Err(error) => {
                    let _ = bound.send(Err(error));
                    return;
                }
            };
            let _ = bound.send(Ok(()));
            // While the server finishes what is open, new connections are still answered.
            tokio::select! {
                () = self.accept_until_closing(http, grpc) => {}
                () = self.serve_handed_over(handed_over) => {}
                () = self.stop.now.cancelled() => {}
            }
            self.let_connections_end().await;
        });
    }

    /// Lets each connection of this thread see [`Stop::now`], too, and say what it owed. It may be
    /// woken later than this thread was.
    async fn let_connections_end(&self) {
        while self.load(self.index) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Accepts connections, and closes the listeners once the server is closing. Never returns.
    async fn accept_until_closing(&self, http: TcpListener, grpc: TcpListener) {
        let awaited = self.stop.refused.token();
        tokio::select! {
            () = self.accept(&http) => {}
            () = self.accept(&grpc) => {}
            () = self.stop.closing.cancelled() => {}
        }
        self.close(http);
        self.close(grpc);
        drop(awaited);

        std::future::pending::<()>().await;
    }

    /// Takes the connections that wait to be accepted, which would be reset otherwise, and closes
    /// the listener.
    fn close(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else {
            return;
        };
        for _ in 0..BACKLOG {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let registered = stream.set_nonblocking(true);
            match registered.and_then(|()| TcpStream::from_std(stream)) {
                Ok(stream) => self.place(stream),
                Err(error) => tracing::warn!(%error, "a connection cannot be accepted"),
            }
        }
    }

    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.place(stream),
                Err(error) => {
                    // Most likely out of file descriptors, which are freed when
                    // connections end.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Keeps a connection or hands it to the thread with the fewest connections.
    fn place(&self, stream: TcpStream) {
        let total: usize = (0..self.peers.len()).map(|at| self.load(at)).sum();
        if total >= self.front.limits.connections_max {
            self.front.metrics.listeners.connections_refused.inc();
            return;
        }

        let least = (0..self.peers.len())
            .min_by_key(|at| self.load(*at))
            .unwrap_or(self.index);
        if self.load(least) < self.load(self.index) {
            if let Ok(stream) = stream.into_std() {
                let handed_over = HandedOver {
                    stream,
                    open: self.count_connection(least),
                    awaited: self.stop.refused.token(),
                };
                // A thread that has stopped drops the connection with its inbox.
                let _ = self.peers[least].inbox.send(handed_over);
            }
        } else {
            self.open(stream, self.count_connection(self.index));
        }
    }

    /// Counts a connection of the thread `at`.
    fn count_connection(&self, at: usize) -> OpenConnection {
        self.peers[at].connections.fetch_add(1, Ordering::Relaxed);
        self.front.metrics.listeners.connections.inc();
        OpenConnection {
            peers: Arc::clone(&self.peers),
            index: at,
            front: Arc::clone(&self.front),
        }
    }

    /// The open connections of a thread.
    fn load(&self, at: usize) -> usize {
        self.peers[at].connections.load(Ordering::Relaxed)
    }

    async fn serve_handed_over(&self, mut handed_over: UnboundedReceiver<HandedOver>) {
        while let Some(connection) = handed_over.recv().await {
            match TcpStream::from_std(connection.stream) {
                Ok(stream) => self.open(stream, connection.open),
                Err(error) => tracing::warn!(%error, "a connection cannot be handed over"),
            }
            drop(connection.awaited);
        }

        std::future::pending::<()>().await;
    }

    fn open(&self, stream: TcpStream, open: OpenConnection) {
        // Without it only latency suffers.
        let _ = stream.set_nodelay(true);
        if self.stop.refuse.is_cancelled() {
            self.refuse(stream, open);
        } else {
            self.serve(stream, open);
        }
    }

    /// Serves a connection. The stop waits for it.
    fn serve(&self, stream: TcpStream, open: OpenConnection) {
        let connection = self.connections.serve(stream);
        self.stop.connections.spawn(async move {
            connection.await;
            drop(open);
        });
    }

    /// Answers a connection that was opened while the server stops: only health, so that the
    /// client tries another server. The stop does not wait for it.
    fn refuse(&self, stream: TcpStream, open: OpenConnection) {
        let router = Arc::clone(&self.connections.router);
        let answer: Answer = Arc::new(move |request| {
            let router = Arc::clone(&router);
            Box::pin(async move { router.answer_while_stopping(request).await })
        });
        // It ends after its answer, and not before the server closes.
        let stop = Stop {
            gently: self.stop.closing.clone(),
            now: self.stop.now.clone(),
            ..Stop::default()
        };

        let handlers = Handlers::without_calls(answer);
        let connection = connection::serve(stream, handlers, self.front.limits.clone(), stop, None);
        self.stop.refused.spawn(async move {
            connection.await;
            drop(open);
        });
    }
}

impl ListenerPair {
    /// Lets this thread's runtime accept connections.
    fn accept(self) -> Result<(TcpListener, TcpListener)> {
        let accepted = TcpListener::from_std(self.http)
            .and_then(|http| Ok((http, TcpListener::from_std(self.grpc)?)));
        accepted.map_err(|e| Error::internal("accept connections").with_source(e))
    }
}

/// Counts a connection until it ends.
struct OpenConnection {
    peers: Arc<Vec<Peer>>,
    index: usize,
    front: Arc<Front>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.peers[self.index]
            .connections
            .fetch_sub(1, Ordering::Relaxed);
        self.front.metrics.listeners.connections.dec();
    }
}

/// Listens on an address that the other threads also listen on.
fn listen(address: SocketAddr) -> Result<StdListener> {
    share(address).map_err(|e| Error::precondition(format!("cannot listen on {address}: {e}")))
}

fn share(address: SocketAddr) -> std::io::Result<StdListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;

    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
