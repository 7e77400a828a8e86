//! I/O threads and listeners. One single-threaded runtime per
//! thread, each with its own listener on every port; an accepted connection
//! goes to the thread with the fewest, so that a few long-lived ones spread.

#[cfg(test)]
mod tests;

use super::serve::Router;
use super::stop::Stop;
use super::{Front, connection};
use crate::core::error::{Error, Result};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Ports bound and threads running.
pub(crate) struct Listening {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where gRPC is served.
    pub grpc: SocketAddr,
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
    inbox: UnboundedSender<StdStream>,
    connections: AtomicUsize,
}

impl Peer {
    /// Also returns the connections that other threads hand over.
    fn new() -> (Self, UnboundedReceiver<StdStream>) {
        let (inbox, handed_over) = unbounded_channel();
        let peer = Self {
            inbox,
            connections: AtomicUsize::new(0),
        };
        (peer, handed_over)
    }
}

/// Binds both ports and starts `count` I/O threads.
pub(crate) fn start(
    addresses: DataAddresses,
    count: usize,
    front: &Arc<Front>,
    router: &Arc<Router>,
    stop: &Stop,
) -> Result<Listening> {
    let http = reserve(addresses.http, "HTTP")?;
    let grpc = reserve(addresses.grpc, "gRPC")?;
    let (peers, inboxes): (Vec<Peer>, Vec<_>) = (0..count).map(|_| Peer::new()).unzip();
    let peers = Arc::new(peers);

    let mut threads = Vec::with_capacity(count);
    let (end, ended) = std::sync::mpsc::channel();
    for (index, handed_over) in inboxes.into_iter().enumerate() {
        let io = IoThread {
            index,
            peers: Arc::clone(&peers),
            front: Arc::clone(front),
            router: Arc::clone(router),
            stop: stop.clone(),
        };
        let (bound, is_bound) = std::sync::mpsc::channel();
        let report = EndReport(end.clone());
        let thread = std::thread::Builder::new()
            .name(format!("io {index}"))
            .spawn(move || {
                let _report = report;
                io.main(http, grpc, handed_over, &bound);
            })
            .map_err(|e| Error::internal("start an I/O thread").with_source(e))?;
        threads.push(thread);

        is_bound
            .recv()
            .map_err(|_| Error::internal("an I/O thread ended at its start"))??;
    }

    Ok(Listening {
        http,
        grpc,
        threads,
        ended,
    })
}

/// Checks that no process listens on `address`, and finds a free port for `:0`. The
/// threads share the port with SO_REUSEPORT, which would also let a second server
/// share it silently; a plain bind does not.
fn reserve(address: SocketAddr, what: &str) -> Result<SocketAddr> {
    let bound = std::net::TcpListener::bind(address).and_then(|l| l.local_addr());
    bound.map_err(|e| {
        Error::precondition(format!("the {what} listener cannot bind {address}: {e}"))
            .with_source(e)
    })
}

struct IoThread {
    index: usize,
    peers: Arc<Vec<Peer>>,
    front: Arc<Front>,
    router: Arc<Router>,
    stop: Stop,
}

type Bound = Sender<Result<()>>;

impl IoThread {
    fn main(
        self,
        http: SocketAddr,
        grpc: SocketAddr,
        handed_over: UnboundedReceiver<StdStream>,
        bound: &Bound,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
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
                () = self.serve_handed_over(handed_over) => {}
                () = gently.cancelled() => {}
            }
            drop((http, grpc));
            // Open connections stay on this thread until they end or are closed.
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
                let peer = &self.peers[least];
                peer.connections.fetch_add(1, Ordering::Relaxed);
                // A thread that has stopped drops the connection with its inbox.
                let _ = peer.inbox.send(stream);
            }
        } else {
            let own = &self.peers[self.index];
            own.connections.fetch_add(1, Ordering::Relaxed);
            self.open(stream);
        }
    }

    /// The open connections of a thread.
    fn load(&self, at: usize) -> usize {
        self.peers[at].connections.load(Ordering::Relaxed)
    }

    async fn serve_handed_over(&self, mut handed_over: UnboundedReceiver<StdStream>) {
        while let Some(stream) = handed_over.recv().await {
            match TcpStream::from_std(stream) {
                Ok(stream) => self.open(stream),
                Err(error) => {
                    self.peers[self.index]
                        .connections
                        .fetch_sub(1, Ordering::Relaxed);
                    tracing::warn!(%error, "a connection cannot be handed over");
                }
            }
        }

        std::future::pending::<()>().await;
    }

    fn open(&self, stream: TcpStream) {
        // Without it only latency suffers.
        let _ = stream.set_nodelay(true);
        let open = OpenConnection {
            peers: Arc::clone(&self.peers),
            index: self.index,
            front: Arc::clone(&self.front),
        };

        self.front.metrics.listeners.connections.inc();
        let router = Arc::clone(&self.router);
        let answer = move |request| {
            let router = Arc::clone(&router);
            async move { router.answer(request).await }
        };
        let connection =
            connection::serve(stream, answer, self.front.limits.clone(), self.stop.clone());
        self.stop.connections.spawn(async move {
            connection.await;
            drop(open);
        });
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
fn listen(address: SocketAddr) -> Result<TcpListener> {
    share(address)
        .map_err(|e| Error::precondition(format!("cannot listen on {address}: {e}")).with_source(e))
}

fn share(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;

    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}
