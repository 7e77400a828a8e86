//! Wiring and stop order: the one place where every room meets.

mod settings;
pub(crate) mod watching;

use crate::api::listen::{self, Listening};
use crate::api::serve::Router;
use crate::api::side::side;
use crate::api::stop::Stop;
use crate::api::{Budget, Front, operator, ops};
use crate::config::{Config, ModelControl};
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::core::request::id::Mint;
use crate::observe::capture::Capture;
use crate::observe::metrics::Metrics;
use crate::onnx::first_run::{self, Prober};
use crate::onnx::graph::Graph;
use crate::onnx::runtime::onnx::OnnxRuntime;
use crate::onnx::runtime::provider::{Provider, ProviderKind};
use crate::onnx::runtime::{Engine, Session, SessionOptions, library};
use crate::registry::directory::Directory;
use crate::registry::follow::{self, Follower};
use crate::registry::log::Log;
use crate::registry::servers::Addresses;
use crate::sandbox::supervise;
use crate::serve::manager::{self, Control, Manager, Source};
use crate::serve::predict::{self, Predictor};
use crate::storage::store::Store;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
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

/// A running server.
pub(crate) struct App {
    /// Where it listens.
    pub ports: Ports,
    /// The ONNX Runtime library in use.
    pub library: std::path::PathBuf,
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

/// What a prediction takes to be seen by what watches.
const WATCHED: Duration = Duration::from_millis(100);
/// How long lanes may take to end once nothing uses them.
const LANES_END: Duration = Duration::from_secs(10);
/// How long I/O threads may take to end once their connections are closed.
const IO_THREADS_END: Duration = Duration::from_secs(2);

impl App {
    /// Starts everything and returns when every model there is has been loaded
    /// or refused. `say` receives lines for a person.
    pub(crate) fn start(config: &Config, say: &dyn Fn(&str)) -> Result<Self> {
        let addresses = Arc::default();
        let source = source(config, &addresses)?;
        let library = library::locate(
            config.runtime.library.as_deref(),
            config.runtime.offline,
            say,
        )?;

        let engine: Arc<dyn Engine> = Arc::new(OnnxRuntime::load(&library)?);
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("background")
            .enable_all()
            .build()
            .map_err(|e| Error::internal("build the background runtime").with_source(e))?;
        let metrics = Metrics::new()?;

        let mint = Arc::new(Mint::new());
        let Watching {
            monitor,
            feedback,
            capture,
        } = watching::start(config, &metrics, &mint, &background)?;

        let predictor = Arc::new(Predictor::new(predict::Parts {
            routes: Arc::default(),
            metrics: Arc::clone(&metrics),
            mint: Arc::clone(&mint),
            tracer: watching::tracer(config, &metrics, &background)?,
            slow: Some(config.log.slow).filter(|slow| !slow.is_zero()),
        })?);

        let (manager, manager_end) = Manager::start(manager::Parts {
            source,
            control: control(config),
            settings: settings::settings(config.clone()),
            engine,
            probe: config.models.probe.then(|| prober(config, library.clone())),
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
        let reporter = tonic_health::server::HealthReporter::new();
        let health = tonic_health::server::HealthService::from_health_reporter(reporter.clone());
        let health = tonic_health::pb::health_server::HealthServer::new(health);
        background.spawn(report_health(reporter, front.predictor.follow_ready()));
        let stop = Stop::default();
        let router = Arc::new(Router::new(Arc::clone(&front), health));
        let io_threads = if config.server.io_threads == 0 {
            cores()
        } else {
            config.server.io_threads
        };

        let listening = listen::start(
            listen::DataAddresses {
                http: config.server.http,
                grpc: config.server.grpc,
            },
            io_threads,
            &front,
            &router,
            &stop,
        )?;

        let ops = background.block_on(side(config.server.ops, "ops", &front, ops::answer))?;
        let operator = background.block_on(side(
            config.server.operator,
            "operator",
            &front,
            operator::answer,
        ))?;

        let mut ready = front.predictor.follow_ready();
        // The manager says ready once; it can only fail to by panicking.
        background
            .block_on(ready.wait_for(|r| *r))
            .map_err(|_| Error::internal("the manager ended before it was ready"))?;
        let ports = Ports {
            http: listening.http,
            grpc: listening.grpc,
            ops,
            operator,
        };

        let known = Addresses {
            http: ports.http.to_string(),
            grpc: ports.grpc.to_string(),
            operator: ports.operator.to_string(),
        };

        // Set once, here; other servers of the fleet see it from now on.
        let _ = addresses.set(known);
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

    /// Counts what serves and what was refused.
    pub(crate) fn standing(&self) -> (usize, Vec<String>) {
        let status = self.front.manager.status();
        let ready = status
            .iter()
            .filter(|s| s.state == manager::State::Ready)
            .count();
        let refused = status.iter().filter_map(|s| match &s.state {
            manager::State::Failed(reason) => Some(format!(
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
            // What was answered last is on its way through the monitor.
            std::thread::sleep(WATCHED);
            capture.lock().finish();
        }

        self.background.shutdown_timeout(Duration::from_secs(1));
        // The last hold on the manager; its thread ends when it is gone. A hung
        // I/O thread holds it too: then the manager never ends.
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

async fn report_health(
    reporter: tonic_health::server::HealthReporter,
    mut ready: tokio::sync::watch::Receiver<bool>,
) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    loop {
        let status = if *ready.borrow_and_update() {
            Serving
        } else {
            NotServing
        };
        for service in [
            "",
            "inference.GRPCInferenceService",
            "tensorflow.serving.PredictionService",
        ] {
            reporter.set_service_status(service, status).await;
        }
        if ready.changed().await.is_err() {
            return;
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What makes the first runs of models.
fn prober(config: &Config, library: PathBuf) -> Prober {
    Prober {
        program: supervise::OWN_PROGRAM.into(),
        library,
        timeout: config.models.probe_timeout,
        memory_bytes: config.models.probe_memory as u64,
        cache: library::user_cache().map(|folder| folder.join("probes")),
    }
}

/// What makes the first run of a model that is pushed; finds or fetches ONNX
/// Runtime as a server would.
pub fn prober_of(config: &Config, say: &dyn Fn(&str)) -> Result<Prober> {
    Ok(prober(
        config,
        library::locate(
            config.runtime.library.as_deref(),
            config.runtime.offline,
            say,
        )?,
    ))
}

/// Builds a session of a file on this machine's processors, for commands.
pub(crate) fn open_session(
    config: &Config,
    path: &Path,
    say: &dyn Fn(&str),
) -> Result<(Graph, Box<dyn Session>)> {
    let unreadable =
        |e| Error::invalid(format!("{} cannot be read", path.display())).with_source(e);
    let bytes: bytes::Bytes = std::fs::read(path).map_err(unreadable)?.into();
    let graph = Graph::read(bytes.clone())?;
    let library = library::locate(
        config.runtime.library.as_deref(),
        config.runtime.offline,
        say,
    )?;

    let whole = path.canonicalize().map_err(unreadable)?;
    let folder = whole.parent().map(Path::to_owned);
    let source = crate::onnx::runtime::Source {
        bytes,
        external_dir: folder.filter(|_| !graph.external.is_empty()),
    };
    let cpu = Provider {
        kind: ProviderKind::Cpu,
        options: Default::default(),
    };
    let options = SessionOptions {
        intra_op_threads: cores(),
        spinning: false,
        providers: vec![cpu],
    };

    let session = OnnxRuntime::load(&library)?.open(&source, &options)?;
    Ok((graph, session))
}

/// Runs as the process that probes a model.
pub fn probe_model() -> Result<()> {
    first_run::run()
}

/// Opens what is served from: a registry or a directory.
fn source(config: &Config, addresses: &Arc<OnceLock<Addresses>>) -> Result<Source> {
    let nothing = "nothing to serve: give --models DIR or --registry URL, or set models.directory or registry.url";
    let registry = &config.registry;
    match (&config.models.directory, &registry.url) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "both a model directory and a registry are set; a server serves from one of them",
        )),
        (Some(folder), None) => Ok(Source::Directory(Directory::new(
            folder.to_owned(),
            config.models.settle,
        )?)),
        (None, None) => Err(Error::invalid(nothing)),
        (None, Some(url)) => {
            if config.models.control == ModelControl::Explicit {
                return Err(Error::invalid(
                    "model control `explicit` is for directories; a registry says what is served",
                ));
            }
            let log = Log::new(Store::open(url, false)?, &registry.namespace)?;
            let models = registry
                .models
                .iter()
                .map(|name| ModelName::parse(name))
                .collect::<Result<_>>()?;
            let cache = match &registry.cache {
                Some(cache) => cache.clone(),
                None => library::user_cache()
                    .ok_or_else(|| {
                        Error::precondition(
                            "neither XDG_CACHE_HOME nor HOME is set; set registry.cache",
                        )
                    })?
                    .join("registry"),
            };
            let options = follow::Options {
                models,
                cache,
                previous_warm: registry.previous_warm,
                signatures: registry.signatures,
                trust: registry.trust.clone(),
                approvals: registry.approvals,
                addresses: Arc::clone(addresses),
            };
            Ok(Source::Registry(Box::new(Follower::open(
                log,
                options,
                Instant::now(),
            )?)))
        }
    }
}

fn control(config: &Config) -> Control {
    if config.registry.url.is_some() && config.models.control == ModelControl::Poll {
        return Control::Poll(config.registry.poll);
    }
    match config.models.control {
        ModelControl::None => Control::None,
        ModelControl::Poll => Control::Poll(config.models.poll),
        ModelControl::Explicit => Control::Explicit,
    }
}
