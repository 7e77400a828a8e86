//! Builds the server from its parts, starts it and stops it in order. Decides nothing about
//! models or requests.

pub mod engine;
mod health;
mod settings;
mod source;
pub(crate) mod watching;

use crate::api::listen::{self, Listening};
use crate::api::serve::Router;
use crate::api::side::side;
use crate::api::stop::Stop;
use crate::api::{Budget, Front, operator, ops};
use crate::config::Config;
use crate::core::error::{Error, Result};
use crate::core::model::Version;
use crate::core::request::id::Mint;
use crate::observe::capture::Capture;
use crate::observe::metrics::Metrics;
use crate::onnx::runtime::Engine;
use crate::onnx::runtime::onnx::OnnxRuntime;
use crate::registry::servers::Addresses;
use crate::serve::manager::{self, Manager};
use crate::serve::predict::{self, Predictor};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use watching::Watching;

/// Where a running server listens.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Ports {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub ops: SocketAddr,
    pub operator: SocketAddr,
}

impl Ports {
    /// Returns the addresses that other servers of the fleet see.
    fn addresses(&self) -> Addresses {
        Addresses {
            http: self.http.to_string(),
            grpc: self.grpc.to_string(),
            operator: self.operator.to_string(),
        }
    }
}

/// A running server.
pub(crate) struct App {
    /// Where it listens.
    pub ports: Ports,
    /// The ONNX Runtime library in use.
    pub library: PathBuf,
    front: Arc<Front>,
    listening: Listening,
    stop: Stop,
    background: tokio::runtime::Runtime,
    signals: Signals,
    manager_end: oneshot::Receiver<()>,
    capture: Option<Arc<Mutex<Capture>>>,
    drain_delay: Duration,
    drain: Duration,
}

/// The signals that stop the server, caught from the start on.
struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn install() -> Result<Self> {
        let catch = |kind| {
            signal(kind).map_err(|e| Error::internal("install a signal handler").with_source(e))
        };
        Ok(Self {
            term: catch(SignalKind::terminate())?,
            int: catch(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.term.recv() => {}, _ = self.int.recv() => {} }
    }
}

/// How long the monitor may take to pass a prediction to the capture.
const MONITOR_DELAY: Duration = Duration::from_millis(100);
/// How long lanes may take to end once nothing uses them.
const LANES_END: Duration = Duration::from_secs(10);
/// How long I/O threads may take to end once their connections are closed.
const IO_THREADS_END: Duration = Duration::from_secs(2);

impl App {
    /// Starts the server. Returns when every model that the source has is loaded or refused. `say`
    /// receives messages for people.
    pub(crate) fn start(config: &Config, say: &dyn Fn(&str)) -> Result<Self> {
        let addresses = Arc::default();
        let source = source::open(config, &addresses)?;
        let library = engine::locate(config, say)?;
        let engine: Arc<dyn Engine> = Arc::new(OnnxRuntime::load(&library)?);
        let background = background()?;

        let metrics = Metrics::new()?;
        let mint = Arc::new(Mint::new());
        let Watching {
            monitor,
            feedback,
            capture,
        } = watching::start(config, &metrics, &mint, &background)?;

        let predictor = Arc::new(Predictor::new(predict::PredictorParts {
            routes: Arc::default(),
            metrics: Arc::clone(&metrics),
            mint,
            tracer: watching::tracer(config, &metrics, &background)?,
            slow: Some(config.log.slow).filter(|slow| !slow.is_zero()),
        })?);

        let (manager, manager_end) = Manager::start(manager::ManagerParts {
            source,
            control: source::control(config),
            settings: settings::settings(config.clone()),
            engine,
            probe: config
                .models
                .probe
                .then(|| engine::prober(config, library.clone())),
            metrics: Arc::clone(&metrics),
            monitor: monitor.clone(),
            predictor: Arc::clone(&predictor),
        })?;

        let front = Arc::new(Front {
            predictor,
            manager,
            metrics,
            limits: config.limits.clone(),
            config: serde_json::to_string(config)
                .map_err(|e| Error::internal("print the configuration").with_source(e))?,
            registry: config
                .registry
                .url
                .clone()
                .map(|url| (url, config.registry.namespace.clone())),
            monitor,
            labels: feedback,
            in_flight: Budget::default(),
        });

        let signals = background.block_on(async { Signals::install() })?;
        let stop = Stop::default();
        let (listening, ports) = listen(config, &front, &stop, &background)?;
        wait_until_ready(&front, &background)?;

        // Other servers of the fleet see this server from now on. Nothing else sets the cell.
        let _ = addresses.set(ports.addresses());
        Ok(Self {
            ports,
            library,
            front,
            listening,
            stop,
            background,
            signals,
            manager_end,
            capture,
            drain_delay: config.server.drain_delay,
            drain: config.server.drain,
        })
    }

    /// Blocks until SIGTERM or SIGINT. A second one ends the process at once.
    pub(crate) fn wait_for_signal(&mut self) {
        self.background.block_on(self.signals.next());
        if let Ok(mut again) = self.background.block_on(async { Signals::install() }) {
            self.background.spawn(async move {
                again.next().await;
                std::process::exit(1);
            });
        }
    }

    /// Returns how many versions serve, and why the others were refused.
    pub(crate) fn count_serving_and_refused(&self) -> (usize, Vec<String>) {
        let status = self.front.manager.status();
        let ready = status
            .iter()
            .filter(|s| s.state == manager::ServingState::Ready)
            .count();
        let refused = status.iter().filter_map(|s| match &s.state {
            manager::ServingState::Failed(reason) => Some(format!(
                "{}:{}: {reason}",
                s.name,
                s.version.map_or(0, Version::number)
            )),
            _ => None,
        });

        (ready, refused.collect())
    }

    /// Stops in order: not ready, no new connections, finish, close by force,
    /// drop the models. Fails with what did not finish in time.
    pub(crate) fn stop(self) -> Result<()> {
        self.front.predictor.set_ready(false);
        std::thread::sleep(self.drain_delay);

        self.stop.gently.cancel();
        self.stop.connections.close();
        let connections = self.stop.connections.clone();
        let gone = self
            .background
            .block_on(async { tokio::time::timeout(self.drain, connections.wait()).await });
        let cut = if gone.is_err() { connections.len() } else { 0 };

        self.stop.now.cancel();
        let hung = self.listening.join(Instant::now() + IO_THREADS_END);
        let running = running(&self.front);
        if let Some(capture) = self.capture {
            // The monitor still passes the last predictions to the capture.
            std::thread::sleep(MONITOR_DELAY);
            capture.lock().finish();
        }

        self.background.shutdown_timeout(Duration::from_secs(1));
        // The manager's thread ends when its last handle is dropped, which is this one. A hung
        // I/O thread has a handle too: then the manager never ends.
        drop(self.front);
        let ended = hung.is_empty() && wait(self.manager_end, LANES_END);
        if !ended {
            tracing::error!(
                threads = hung.join(", "),
                models = running.join(", "),
                "runs did not finish before the server stopped"
            );
        }

        match (cut, ended) {
            (0, true) => Ok(()),
            (0, false) => Err(Error::unavailable(
                "a model was still running when the server stopped",
            )),
            (n, _) => Err(Error::unavailable(format!(
                "{n} connections outlived the drain and were closed by force"
            ))),
        }
    }
}

/// Builds the runtime of everything beside the data path.
fn background() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("background")
        .enable_all()
        .build()
        .map_err(|e| Error::internal("build the background runtime").with_source(e))
}

/// Starts every listener.
fn listen(
    config: &Config,
    front: &Arc<Front>,
    stop: &Stop,
    background: &tokio::runtime::Runtime,
) -> Result<(Listening, Ports)> {
    let health = health::start(front.predictor.follow_ready(), background);
    let router = Arc::new(Router::new(Arc::clone(front), health));
    let addresses = listen::DataAddresses {
        http: config.server.http,
        grpc: config.server.grpc,
    };
    let io_threads = match config.server.io_threads {
        0 => cores(),
        threads => threads,
    };
    let listening = listen::start(addresses, io_threads, front, &router, stop)?;

    let ops = background.block_on(side(config.server.ops, "ops", front, ops::answer))?;
    let operator = background.block_on(side(
        config.server.operator,
        "operator",
        front,
        operator::answer,
    ))?;

    let ports = Ports {
        http: listening.http,
        grpc: listening.grpc,
        ops,
        operator,
    };
    Ok((listening, ports))
}

/// Waits until the manager has loaded or refused every model. It reports that once, unless it
/// panics.
fn wait_until_ready(front: &Front, background: &tokio::runtime::Runtime) -> Result<()> {
    let mut ready = front.predictor.follow_ready();
    background
        .block_on(ready.wait_for(|is_ready| *is_ready))
        .map_err(|_| Error::internal("the manager ended before it was ready"))?;
    Ok(())
}

/// Names the versions that run a batch at this moment.
fn running(front: &Front) -> Vec<String> {
    let table = front.predictor.routes().table();
    table
        .models
        .values()
        .flat_map(|model| model.versions.values())
        .filter(|servable| servable.is_running())
        .map(|servable| format!("{}:{}", servable.name, servable.version))
        .collect()
}

/// Waits for the end of the manager. Returns whether it ended within the limit.
fn wait(mut end: oneshot::Receiver<()>, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        match end.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => {
                std::thread::sleep(Duration::from_millis(2))
            }
            _ => return true,
        }
    }

    false
}

/// Returns the number of cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
