//! Builds the server from its parts, starts it and stops it in order. Decides nothing about
//! models or requests.

pub(crate) mod end;
pub mod engine;
mod front;
mod health;
mod last;
pub(crate) mod settings;
pub(crate) mod signals;
mod source;
pub(crate) mod watching;

use crate::api::listen::{self, DataPorts, Listening};
use crate::api::side::{self, SidePort};
use crate::api::stop::Stop;
use crate::api::{Budget, Front, operator, ops};
use crate::config::{Config, DrainConnections, ModelControl};
use crate::core::error::{Error, Result};
use crate::core::model::Version;
use crate::core::request::id::Mint;
use crate::core::spread::cores;
use crate::observe::capture::Capture;
use crate::observe::metrics::Metrics;
use crate::onnx::first_run::Prober;
use crate::onnx::runtime::Engine;
use crate::onnx::runtime::onnx::OnnxRuntime;
use crate::registry::servers::Addresses;
use crate::sandbox::limits::raise_open_files;
use crate::serve::manager::{self, Manager, ManagerEnd};
use crate::serve::predict::{self, Predictor};
use parking_lot::Mutex;
use signals::Signals;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
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
    manager_end: ManagerEnd,
    capture: Option<Arc<Mutex<Capture>>>,
    drain: Drain,
}

/// How the server stops.
#[derive(Clone, Copy)]
struct Drain {
    delay: Duration,
    connections: DrainConnections,
    /// How long bodies may take that are still arriving.
    bodies: Duration,
    requests: Duration,
}

impl Drain {
    fn of(config: &Config) -> Self {
        Self {
            delay: config.server.drain_delay,
            connections: config.server.drain_connections,
            // What a body leaves of the time is for the answer.
            bodies: config.server.drain_bodies.min(config.server.drain / 2),
            requests: config.server.drain,
        }
    }
}

/// How long the manager may take to end while it reads its source or loads a version, which is then
/// abandoned. Reading takes milliseconds, loading minutes.
const MANAGER_BUSY: Duration = Duration::from_millis(500);
/// How long lanes may take to end once nothing uses them.
const LANES_END: Duration = Duration::from_secs(10);
/// How long clients that were refused may take to read the refusal and close.
const REFUSED_END: Duration = Duration::from_secs(1);
/// How long I/O threads may take to end once their connections are closed.
const IO_THREADS_END: Duration = Duration::from_secs(2);

/// Makes first runs in the sandbox, if that is on.
fn probe(config: &Config, library: &Path) -> Option<Prober> {
    let prober = || engine::prober(config, library.to_owned());
    config.models.probe.then(prober)
}

impl App {
    /// Starts the server. Returns when every model that the source has is loaded or refused, or
    /// when a signal asks for the stop before. `say` receives messages for people.
    ///
    /// After an error, models may be loading: end the process with [`end::end_process`].
    pub(crate) fn start(config: &Config, signals: Signals, say: &dyn Fn(&str)) -> Result<Self> {
        let stop = signals.stop();
        let files = raise_open_files();
        tracing::debug!(files, "files and connections that may be open");
        let addresses = Arc::default();
        let source = source::open(config, &addresses)?;
        let library = engine::locate(config, say)?;
        let background = background()?;
        // What cannot listen fails before ONNX Runtime is loaded.
        let bound = bind(config, &background)?;
        let engine: Arc<dyn Engine> = Arc::new(OnnxRuntime::load(&library)?);

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
            strict_readiness: config.models.strict_readiness,
            in_place: config.models.in_place,
            settings: settings::settings(config.clone()),
            cores: cores(),
            lane_niceness: config.server.lane_niceness,
            engine,
            probe: probe(config, &library),
            metrics: Arc::clone(&metrics),
            monitor: monitor.clone(),
            predictor: Arc::clone(&predictor),
        })?;

        let front = Arc::new(Front {
            oip: front::oip_options(config),
            options: front::options(config),
            predictor,
            manager,
            metrics,
            limits: config.limits.clone(),
            http: bound.data.http,
            config: front::as_json(config)?,
            registry: followed(config),
            monitor,
            labels: feedback,
            in_flight: Budget::default(),
            stop: stop.clone(),
        });

        signals.start_listening();
        let ports = bound.addresses();
        let listening = listen(bound, &front, &stop, &background)?;
        let mut app = Self {
            ports,
            library,
            front,
            listening,
            stop,
            background,
            signals,
            manager_end,
            capture,
            drain: Drain::of(config),
        };
        app.wait_until_loaded()?;

        // Other servers of the fleet see this server from now on. Nothing else sets the cell.
        let _ = addresses.set(ports.addresses());
        Ok(app)
    }

    /// Waits until the manager has loaded or refused every model, or a signal asks for the stop.
    fn wait_until_loaded(&mut self) -> Result<()> {
        let (signals, loaded) = (&self.signals, self.manager_end.first_pass());
        self.background.block_on(async {
            tokio::select! {
                loaded = loaded => loaded,
                () = signals.asked() => Ok(()),
            }
        })
    }

    /// Blocks until a signal asks for the stop. A second one ends the process at once.
    pub(crate) fn wait_for_signal(&self) {
        self.background.block_on(self.signals.asked());
    }

    /// Tells whether a signal asked for the stop.
    pub(crate) fn is_asked_to_stop(&self) -> bool {
        self.signals.is_asked()
    }

    /// Tells whether load balancers should send requests here.
    pub(crate) fn is_ready(&self) -> bool {
        self.front.predictor.is_ready()
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

    /// Warns of settings for models that are not here: a misspelt name would leave a model with other settings
    /// than were written for it. Where clients load the models, they may come at any time.
    pub(crate) fn warn_of_unmatched(&self, config: &Config) {
        if config.models.control == ModelControl::Explicit {
            return;
        }
        let status = self.front.manager.status();
        for name in config.model.keys() {
            if !status.iter().any(|s| s.name.as_str() == name) {
                tracing::warn!(
                    "the settings of [model.{name}] apply to no model: there is none of this name yet"
                );
            }
        }
    }

    /// Returns how many folders and files of the model directory are not served.
    pub(crate) fn count_unserved(&self) -> usize {
        self.front.manager.unserved().len()
    }

    /// Stops in order: not ready, new connections refused, finish, close by force,
    /// drop the models. A load in progress is abandoned. Fails with what did not finish in time.
    ///
    /// Models may still be loading or running afterwards: end the process with
    /// [`end::end_process`].
    pub(crate) fn stop(self) -> Result<()> {
        self.announce_stop();
        self.stop.refuse.cancel();
        self.stop.gently.cancel();
        self.finish_connections();
        let left = self.stop.connections.len();
        self.close_refused();

        self.stop.now.cancel();
        let hung = self.listening.join(Instant::now() + IO_THREADS_END);
        // A thread that hangs has not counted.
        let cut = if hung.is_empty() {
            self.stop.cut.load(Ordering::Relaxed)
        } else {
            left
        };
        let running = running(&self.front);
        last::write(&self.front, self.capture.as_deref(), &self.background);

        self.background.shutdown_timeout(Duration::from_secs(1));
        // The manager's thread ends when its last handle is dropped, which is this one. A hung
        // I/O thread has a handle too: then the manager never ends.
        drop(self.front);
        let ended = hung.is_empty() && has_ended(self.manager_end, running.is_empty());
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

impl App {
    /// Waits until the connections that were open before the stop have ended, at most as long as
    /// the drain may take.
    fn finish_connections(&self) {
        let connections = &self.stop.connections;
        connections.close();
        let Drain {
            bodies, requests, ..
        } = self.drain;

        self.background.block_on(async {
            if tokio::time::timeout(bodies, connections.wait())
                .await
                .is_ok()
            {
                return;
            }
            self.stop.bodies.cancel();
            // What is left then is closed by force.
            let rest = requests.saturating_sub(bodies);
            let _ = tokio::time::timeout(rest, connections.wait()).await;
        });
    }

    /// Accepts no more connections, and gives clients that were refused time to read why.
    fn close_refused(&self) {
        self.stop.closing.cancel();
        self.stop.refused.close();
        let refused = self.stop.refused.wait();
        // The others were refused: nothing of them is lost.
        let _ = self
            .background
            .block_on(async { tokio::time::timeout(REFUSED_END, refused).await });
    }

    /// Reports that the server is not ready, and gives load balancers time to notice. Whoever was
    /// never told that the server is ready needs no time.
    fn announce_stop(&self) {
        let was_ready = self.front.predictor.is_ready();
        let delay = if was_ready {
            self.drain.delay
        } else {
            Duration::ZERO
        };
        // Whoever sees that the server is not ready sees the rest, too.
        self.stop.begun.store(true, Ordering::SeqCst);
        if self.drain.connections == DrainConnections::Refuse {
            self.stop.refuse.cancel();
        }
        self.front.predictor.begin_stop();
        tracing::info!(
            delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "stopping; a second signal ends the process at once"
        );

        std::thread::sleep(delay);
    }
}

/// Returns the registry that the server follows, and the namespace in it.
fn followed(config: &Config) -> Option<(String, String)> {
    let registry = &config.registry;
    let url = registry.url.clone()?;
    Some((url, registry.namespace.clone()))
}

/// Every port, bound.
struct BoundPorts {
    data: DataPorts,
    ops: SidePort,
    operator: SidePort,
}

impl BoundPorts {
    fn addresses(&self) -> Ports {
        Ports {
            http: self.data.http,
            grpc: self.data.grpc,
            ops: self.ops.address,
            operator: self.operator.address,
        }
    }
}

/// Binds every port.
fn bind(config: &Config, background: &tokio::runtime::Runtime) -> Result<BoundPorts> {
    let server = &config.server;
    let addresses = listen::DataAddresses {
        http: server.http,
        grpc: server.grpc,
    };
    let io_threads = match server.io_threads {
        0 => cores(),
        threads => threads,
    };

    background.block_on(async {
        Ok(BoundPorts {
            data: listen::bind(addresses, io_threads)?,
            ops: side::bind(server.ops, "ops").await?,
            operator: side::bind(server.operator, "operator").await?,
        })
    })
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

/// Answers on every port.
fn listen(
    bound: BoundPorts,
    front: &Arc<Front>,
    stop: &Stop,
    background: &tokio::runtime::Runtime,
) -> Result<Listening> {
    let health = health::start(front.predictor.follow_ready(), stop, background);
    bound.ops.start(front, background, ops::answer);
    bound.operator.start(front, background, operator::answer);

    listen::start(bound.data, front, &health, stop)
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

/// Waits for the end of the manager, and tells whether nothing is left that matters. A load in
/// progress is abandoned: no request waits for it. `is_idle` says that no version runs a batch.
fn has_ended(mut manager: ManagerEnd, is_idle: bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < LANES_END {
        if manager.has_ended() {
            return true;
        }
        if manager.is_busy() && start.elapsed() >= MANAGER_BUSY {
            tracing::info!("a load in progress was abandoned");
            return is_idle;
        }
        std::thread::sleep(Duration::from_millis(2));
    }

    false
}
