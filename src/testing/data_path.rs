//! The data path of a server without its listeners, monitoring and rechecks: what is left does the same
//! for each request. Connections are served on the caller's thread, over a pair of sockets that are in
//! no network.

use crate::api::limits::Limits;
use crate::api::listen::ConnectionServer;
use crate::api::oip::options::OipOptions;
use crate::api::stop::Stop;
use crate::api::{Budget, Front, FrontOptions};
use crate::core::error::Result;
use crate::core::model::ModelName;
use crate::core::request::id::Mint;
use crate::core::tensor::{Tensor, View, ViewData};
use crate::observe::logging::LogFormat;
use crate::observe::metrics::Metrics;
use crate::observe::metrics::aliases::MetricAliases;
use crate::onnx::runtime::{Engine, Session, SessionOptions, SessionSource};
use crate::registry::directory::Directory;
use crate::registry::directory::refusals::Refusals;
use crate::registry::directory::served_path::ServedPath;
use crate::registry::pbtxt::ModelConfig;
use crate::serve::manager::{Control, Manager, ManagerParts, ModelSource, ServingState, Settings};
use crate::serve::predict::{Predictor, PredictorParts};
use crate::serve::settings::{InPlace, ModelOverrides};
use bytes::Bytes;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// A server's data path.
pub struct DataPath {
    front: Arc<Front>,
    connections: ConnectionServer,
    _models: TempDir,
}

impl DataPath {
    /// Loads models, each a name and the bytes of its file. Panics if one does not load.
    pub fn start(engine: Arc<dyn Engine>, models: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in models {
            let version = folder.path().join(name).join("1");
            std::fs::create_dir_all(&version).expect("a folder");
            std::fs::write(version.join("model.onnx"), bytes).expect("written");
        }

        let front = Arc::new(front(engine, folder.path()));
        let health = HealthService::from_health_reporter(HealthReporter::new());
        let connections = ConnectionServer::new(&front, HealthServer::new(health));
        Self {
            front,
            connections,
            _models: folder,
        }
    }

    /// Opens a connection. Returns the client's end, and what serves the other end until it closes.
    /// Must be called in a runtime.
    pub fn connect(&self) -> (UnixStream, impl Future<Output = ()> + use<>) {
        let (client, server) = UnixStream::pair().expect("a pair of sockets");
        let server = StdStream::from(OwnedFd::from(server));
        server.set_nonblocking(true).expect("set");
        let server = tokio::net::TcpStream::from_std(server).expect("registered");
        (client, self.connections.serve(server))
    }

    /// Requests that are being answered.
    pub fn requests_in_flight(&self) -> usize {
        self.front.stop.requests.count()
    }

    /// Bytes that requests are charged with.
    pub fn bytes_in_flight(&self) -> i64 {
        self.front.metrics.listeners.bytes_in_flight.get()
    }
}

fn front(engine: Arc<dyn Engine>, folder: &Path) -> Front {
    let metrics = Metrics::new().expect("registers");
    let predictor = Arc::new(predictor(&metrics));
    let path = ServedPath::find(folder.to_owned(), None).expect("readable");
    let directory = Directory::new(
        path,
        Duration::ZERO,
        Duration::ZERO,
        None,
        Refusals::open(None, folder),
    );
    let (manager, mut end) = Manager::start(ManagerParts {
        source: ModelSource::Directory(Box::new(directory)),
        control: Control::None,
        strict_readiness: true,
        in_place: InPlace::Refuse,
        settings: Box::new(settings),
        cores: 1,
        lane_niceness: 0,
        engine,
        probe: None,
        metrics: Arc::clone(&metrics),
        monitor: None,
        predictor: Arc::clone(&predictor),
    })
    .expect("starts");
    super::block_on(end.first_pass()).expect("loads");
    for version in manager.status().iter() {
        assert!(
            matches!(version.state, ServingState::Ready),
            "{}: {:?}",
            version.name,
            version.state
        );
    }

    Front {
        oip: OipOptions::plain(),
        options: FrontOptions {
            metric_aliases: MetricAliases::None,
            metrics_path: None,
            accepts_reload: false,
            accepts_settings: false,
            log_format: LogFormat::Text,
        },
        predictor,
        manager,
        metrics,
        limits: Limits::default(),
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        config: String::new(),
        registry: None,
        monitor: None,
        labels: None,
        in_flight: Budget::default(),
        stop: Stop::default(),
    }
}

fn predictor(metrics: &Arc<Metrics>) -> Predictor {
    let parts = PredictorParts {
        routes: Arc::default(),
        metrics: Arc::clone(metrics),
        mint: Arc::new(Mint::new()),
        tracer: None,
        slow: None,
    };
    Predictor::new(parts).expect("starts")
}

/// One lane, whose batches no timer runs again.
fn settings(_: &ModelName, _: Option<&ModelConfig>) -> Settings {
    let mut model = ModelOverrides::default().resolve();
    model.lanes = 1;
    model.batch_recheck = Duration::ZERO;
    Settings {
        model,
        golden: false,
        declared: ModelConfig::default(),
    }
}

/// Opens sessions that answer their inputs, whatever the model is: no work of ONNX Runtime, which
/// depends on the processor.
pub struct EchoEngine;

struct EchoSession;

impl Engine for EchoEngine {
    fn open(&self, _: &SessionSource, _: &SessionOptions) -> Result<Box<dyn Session>> {
        Ok(Box::new(EchoSession))
    }
}

impl Session for EchoSession {
    fn run(&mut self, inputs: &[View<'_>]) -> Result<Vec<Tensor>> {
        inputs.iter().map(copied).collect()
    }

    fn provider(&self) -> &'static str {
        "echo"
    }
}

fn copied(view: &View<'_>) -> Result<Tensor> {
    let shape = view.shape.to_vec();
    match view.data {
        ViewData::Fixed(bytes) => Tensor::fixed(view.dtype, shape, Bytes::copy_from_slice(bytes)),
        ViewData::Strings(strings) => Tensor::strings(shape, strings.clone()),
    }
}
