//! The configuration: one validated tree of sections. Defaults are overridden by a TOML file, the
//! file by environment variables, and these by flags. Rooms declare the sections that only they
//! use; the others are declared here. Opens no socket and loads no library.

mod load;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::api::oip::options::Compat;
use crate::core::settings::section::SettingSection;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};
use toml::{Table, Value};

use crate::api::limits::Limits;
use crate::core::error::Result;
use crate::core::settings::form::{Size, TextLine, UrlPath};
use crate::observe::capture::settings::CaptureSettings;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::labels::settings::FeedbackSettings;
use crate::observe::logging::LogSettings;
use crate::observe::metrics::aliases::MetricAliases;
use crate::observe::traces::TraceSettings;
use crate::registry::settings::Registry;
use crate::serve::settings::{InPlace, Model, ModelOverrides};
use crate::{choice, section};

/// All settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[limits]`.
    pub limits: Limits,
    /// `[models]`.
    pub models: Models,
    /// `[models.defaults]`: settings of every model that does not override them.
    pub defaults: ModelOverrides,
    /// `[registry]`.
    pub registry: Registry,
    /// `[monitor]`.
    pub monitor: MonitorSettings,
    /// `[records]`.
    pub records: Records,
    /// `[feedback]`.
    pub feedback: FeedbackSettings,
    /// `[capture]`.
    pub capture: CaptureSettings,
    /// `[traces]`.
    pub traces: TraceSettings,
    /// `[runtime]`.
    pub runtime: Runtime,
    /// `[model.NAME]`, by name. Holds only models with settings of their own.
    pub model: BTreeMap<String, ModelOverrides>,
    /// `[log]`.
    pub log: LogSettings,
}

section! {
    /// Listeners, I/O threads and shutdown. Port 0 binds a free port.
    Server {
        /// Address of the HTTP listener: the REST forms of the Open Inference Protocol and of
        /// TensorFlow Serving, and labels at `/v1/feedback`.
        http: SocketAddr = address(Ipv4Addr::UNSPECIFIED, 8000);
        /// Address of the gRPC listener.
        grpc: SocketAddr = address(Ipv4Addr::UNSPECIFIED, 8001);
        /// Address of the listener for metrics and health probes. It is read-only.
        ops: SocketAddr = address(Ipv4Addr::UNSPECIFIED, 8002);
        /// Address of the operator API. Every client that can connect to it may change what is
        /// served.
        operator: SocketAddr = address(Ipv4Addr::LOCALHOST, 8003);
        /// Threads that read and write sockets. 0 starts one per core.
        io_threads: usize = 0, in 0..=1024;
        /// How far below the I/O threads the threads of lanes are in priority (`nice`): a core that is busy with
        /// runs still reads requests, refuses some and answers expired ones at once. Other programs of the
        /// same control group come before runs too: set 0 where they are busy.
        lane_niceness: u32 = 5, in 0..=19;
        /// How long a stopping server stays up while it reports that it is not ready, so that load
        /// balancers notice. Open connections are served, new ones as `drain_connections` says.
        drain_delay: Duration = Duration::from_secs(5), in Duration::ZERO..=Duration::from_secs(600);
        /// What happens to requests of connections that are opened during `drain_delay`: `refuse`
        /// (503 or UNAVAILABLE, so that clients try another server) or `serve`. Afterwards they
        /// are refused until the server has finished its requests.
        drain_connections: DrainConnections = DrainConnections::Refuse;
        /// How long a stopping server waits after `drain_delay` for bodies of requests that are
        /// still arriving; at most half of `drain`. Beyond it, such a request is refused with 503
        /// or UNAVAILABLE, so that the client sends it to another server.
        drain_bodies: Duration = Duration::from_secs(5), in Duration::ZERO..=HOUR;
        /// How long accepted requests may take after the server stops. Requests that are
        /// unfinished by then are cut off.
        drain: Duration = Duration::from_secs(25), in Duration::ZERO..=HOUR;
        /// The server whose habits the Open Inference Protocol follows where it leaves them open: `none`, or
        /// `triton` (answers over gRPC always have raw contents, a load call that fails is `INTERNAL`, and the server
        /// calls itself `triton`).
        compat: Compat = Compat::None;
        /// Further names for metrics of models at `/metrics`, for dashboards that exist: `none`, `triton`
        /// (`nv_inference_…`), `tensorflow` (`:tensorflow:serving:…`) or `all`.
        metric_aliases: MetricAliases = MetricAliases::None;
        /// Whether clients may change settings of the log and of traces with Triton's calls; they may read them
        /// anyway.
        client_settings: bool = false;
        /// Path of the metrics on the HTTP listener too, such as `/monitoring/prometheus/metrics`. If it is not
        /// set, they are on the ops listener only.
        metrics_path: Option<String> as UrlPath = None;
        /// Whether clients may register POSIX shared memory, and send tensors in it. Whoever reaches the data
        /// listeners can then read and write every shared memory object that this server's user may open.
        shared_memory: bool = false;
        /// File to which the bound addresses are written as JSON.
        ports_file: Option<PathBuf> = None;
    }
}

choice! {
    /// What a stopping server does with requests of new connections.
    DrainConnections {
        /// It refuses them; clients may retry.
        Refuse = "refuse",
        /// It serves them.
        Serve = "serve",
    }
}

choice! {
    /// What triggers loading and unloading of models.
    ModelControl {
        /// Nothing: the versions in the directory at start are served.
        None = "none",
        /// Changes of the directory.
        Poll = "poll",
        /// Requests of clients.
        Explicit = "explicit",
    }
}

section! {
    /// The model directory, and how new versions are loaded.
    Models {
        /// Model directory, laid out as NAME/VERSION/model.onnx; or with `models.name` the folder of one
        /// model; or a model file.
        directory: Option<PathBuf> = None;
        /// Name of the model in `models.directory`, which then is the folder of this one model, or
        /// its file.
        name: Option<String> as TextLine = None;
        /// What triggers loading: `none` (serve what the directory holds at start), `poll` (follow
        /// changes of the directory) or `explicit` (load and unload on request).
        control: ModelControl = ModelControl::Poll;
        /// Whether the server stays not ready as long as a model that it found at its start was
        /// refused and has no version that serves. With `false`, one model that serves is enough.
        strict_readiness: bool = true;
        /// Interval between two scans of the model directory.
        poll: Duration = Duration::from_secs(1), in Duration::from_millis(10)..=HOUR;
        /// How long a version's files must stay unchanged before the version is loaded.
        settle: Duration = Duration::from_secs(1), in Duration::ZERO..=HOUR;
        /// What happens when the files of a version get other bytes after it was loaded: `refuse`
        /// (the loaded bytes keep serving, also across a restart: new bytes need a new version
        /// number) or `swap` (they replace the loaded ones without losing a request).
        in_place: InPlace = InPlace::Refuse;
        /// Folder in which a server remembers across restarts which bytes it refused because of
        /// `in_place`. If it is not set: `ortus/directories` in the user's state directory.
        state: Option<PathBuf> = None;
        /// Folder for private copies of external data, and of model files over 1 MiB, of each
        /// version that serves. Servers may share it. If it is not set: `ortus/weights` in the
        /// user's cache directory.
        weights_cache: Option<PathBuf> = None;
        /// List of models in the place of `directory`: the text file of TensorFlow Serving's flag of the same name. It is
        /// read again when it changes, unless `control` is `none`.
        config_file: Option<PathBuf> = None;
        /// Whether TensorFlow Serving's call HandleReloadConfigRequest may replace the list of models, and so
        /// serve any folder that the server can read.
        config_reload: bool = false;
        /// The most bytes of all the files that load calls bring (`control = "explicit"`). With 0, a load call
        /// may bring neither files nor a configuration.
        upload_bytes: usize as Size = 4 << 30, in 0..=16 << 40;
        /// Whether links in a model directory may lead out of it, as in the cache of Hugging Face or of DVC. Whoever can
        /// write to the directory can then have any file read as a model or its data that the server can read.
        follow_links: bool = false;
        /// How long the model directory must be without any model before the loaded models are
        /// unloaded. Until then this is taken for a failure, such as a lost mount.
        empty_delay: Duration = Duration::from_secs(30), in Duration::ZERO..=HOUR;
        /// Whether a model's first run happens in a separate process (the sandbox), so that a
        /// crash or hang does not affect the server.
        probe: bool = true;
        /// Time limit of the sandboxed first run: opening a session and its golden rows. The version is
        /// refused beyond it. Runs on generated inputs end before, after 5 s at most, and refuse nothing.
        probe_timeout: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=HOUR;
        /// Whether a version must reproduce its golden rows (stored inputs with expected outputs)
        /// before it serves.
        golden: bool = true;
        /// Address space of the sandbox, in bytes. 0 stands for 4 GiB plus eight times the model
        /// file. A model that needs more is refused.
        probe_memory: usize as Size = 0, in 0..=16 << 40;
    }
}

section! {
    /// The store for labels, captured predictions and windows. The servers of one store form a
    /// fleet.
    Records {
        /// URL of the store: `file:///path`, `s3://bucket/path` and so on. If it is not set: the
        /// registry, or for a model directory `ortus/records` in the user's state directory.
        store: Option<String> as TextLine = None;
    }
}

section! {
    /// The ONNX Runtime library.
    Runtime {
        /// Path of the ONNX Runtime library. If it is not set, the installed one is used; see
        /// `ortus runtime status`.
        library: Option<PathBuf> = None;
        /// Whether downloads are forbidden.
        offline: bool = false;
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn address(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ip), port)
}

impl Config {
    /// Reads `file` (by default `./ortus.toml` if it exists), then the
    /// variables `ORTUS_SECTION__KEY`, then flags as pairs such as
    /// `("server.http", value)`; a later source overrides an earlier one. Refuses an unknown key,
    /// a value out of range and settings that contradict each other, and names the line, the
    /// variable or the flag.
    pub(crate) fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        flags: Vec<(String, Value)>,
    ) -> Result<Self> {
        let text = load::read(file)?;
        let text = text
            .as_ref()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        load::merge(text, env, flags)
    }

    /// Returns every setting of a model: its own section over
    /// `[models.defaults]` over the defaults.
    pub(crate) fn model(&self, name: &str) -> Model {
        self.overrides(name).resolve()
    }

    /// Returns the settings of a model that its own section or `[models.defaults]` set. The
    /// model's `config.pbtxt` may set the others.
    pub(crate) fn overrides(&self, name: &str) -> ModelOverrides {
        self.model
            .get(name)
            .cloned()
            .unwrap_or_default()
            .over(self.defaults.clone())
    }

    /// Writes the effective values, defaults included, as a file that loads to
    /// the same values.
    pub(crate) fn to_toml(&self) -> String {
        toml::to_string(&self.to_table())
            .expect("a table of strings, numbers, lists and tables is TOML")
    }

    fn to_table(&self) -> Table {
        let mut models = self.models.to_table();
        models.insert(
            "defaults".into(),
            Value::Table(self.defaults.clone().resolve().to_table()),
        );
        let mut root = Table::new();
        let mut put = |name: &str, table| root.insert(name.into(), Value::Table(table));
        put("server", self.server.to_table());
        put("limits", self.limits.to_table());
        put("models", models);
        put("registry", self.registry.to_table());
        put("monitor", self.monitor.to_table());
        put("records", self.records.to_table());
        put("feedback", self.feedback.to_table());
        put("capture", self.capture.to_table());
        put("traces", self.traces.to_table());
        put("runtime", self.runtime.to_table());
        put("log", self.log.to_table());
        let one = |name: &String| (name.clone(), Value::Table(self.model(name).to_table()));
        put("model", self.model.keys().map(one).collect());
        root
    }
}

/// Serialises the effective values: durations as strings, sizes as integers,
/// unset values left out.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_table().serialize(serializer)
    }
}
