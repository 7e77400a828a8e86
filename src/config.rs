//! The configuration: one validated tree, from defaults, then a TOML file, then
//! the environment, then flags; the later wins. Opens no socket and loads no
//! library; the rooms read their section and nothing else.

#[macro_use]
mod section;
pub mod form;
mod load;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod reference;
#[cfg(test)]
mod tests;
pub mod text;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};
use toml::{Table, Value};

use self::form::{Level, Line, MemoryShare, Size};
use self::model::{Model, ModelOverrides};
use crate::core::error::Result;
use crate::observe::logging::Format;

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[limits]`.
    pub limits: Limits,
    /// `[models]`.
    pub models: Models,
    /// `[models.defaults]`: what holds for every model that does not say otherwise.
    pub defaults: ModelOverrides,
    /// `[registry]`.
    pub registry: Registry,
    /// `[monitor]`.
    pub monitor: Monitor,
    /// `[records]`.
    pub records: Records,
    /// `[feedback]`.
    pub feedback: Feedback,
    /// `[capture]`.
    pub capture: Capture,
    /// `[traces]`.
    pub traces: Traces,
    /// `[runtime]`.
    pub runtime: Runtime,
    /// `[model.NAME]`, by name. A model that nothing is set for is not listed.
    pub model: BTreeMap<String, ModelOverrides>,
    /// `[log]`.
    pub log: Log,
}

section! {
    /// Listeners, I/O threads and shutdown. Port 0 binds a free port.
    Server {
        /// Address of the HTTP listener: Open Inference Protocol, TensorFlow Serving REST and
        /// MLflow scoring.
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
        /// How long a stopping server still accepts requests while it reports that it is not
        /// ready.
        drain_delay: Duration = Duration::ZERO, in Duration::ZERO..=Duration::from_secs(600);
        /// How long accepted requests may take after the server stops. Requests that are
        /// unfinished by then are cut off.
        drain: Duration = Duration::from_secs(25), in Duration::ZERO..=HOUR;
        /// File to which the bound addresses are written as JSON.
        ports_file: Option<PathBuf> = None;
    }
}

section! {
    /// Limits on what a client may send, and what happens beyond them.
    Limits {
        /// Largest request or response, in bytes. A larger one is refused.
        message_bytes_max: usize as Size = 64 << 20, in 1 << 10..=2 << 30;
        /// Bytes of all requests that are being read or served; at least `message_bytes_max`. 0
        /// stands for a quarter of the memory. Beyond it, requests are refused and may be retried.
        bytes_in_flight_max: usize as MemoryShare = memory::quarter(), in 1 << 10..=1 << 40;
        /// Bytes of a request's headers. A request with more is refused.
        header_list_bytes_max: u32 as Size = 16 << 10, in 4 << 10..=1 << 20;
        /// Time to send the headers. The connection is closed beyond it.
        header_timeout: Duration = Duration::from_secs(10), in MILLISECOND..=Duration::from_secs(600);
        /// Time from a request's headers to the end of its body. The request is refused beyond it.
        read_timeout: Duration = Duration::from_secs(30), in MILLISECOND..=HOUR;
        /// Time without a request after which a connection is closed.
        idle_timeout: Duration = Duration::from_secs(120), in MILLISECOND..=24 * HOUR;
        /// Concurrent requests on one HTTP/2 connection. Further requests of the client wait.
        concurrent_streams_max: u32 = 200, in 1..=65_536;
        /// HTTP/2 streams that may be reset because of client errors before the connection is
        /// closed.
        local_error_reset_streams_max: usize = 1024, in 1..=65_536;
        /// HTTP/2 streams that the client may reset before they are accepted. The connection is
        /// closed beyond it.
        pending_accept_reset_streams_max: usize = 20, in 1..=65_536;
        /// Open connections of all listeners together. A further connection is closed at once.
        connections_max: usize = 10_000, in 1..=1_000_000;
        /// Bytes of a request after decompression. A larger one is refused.
        decompressed_bytes_max: usize as Size = 256 << 20, in 1 << 10..=2 << 30;
        /// Decompressed bytes for each compressed byte. A request with a higher ratio is refused.
        decompression_ratio_max: usize = 100, in 2..=10_000;
    }
}

choice! {
    /// Who decides which models are loaded.
    ModelControl {
        /// Nobody: what the folder holds at the start is served.
        None = "none",
        /// The folder: its changes are followed.
        Poll = "poll",
        /// The client: models are loaded and unloaded by request.
        Explicit = "explicit",
    }
}

section! {
    /// The model directory, and how new versions are loaded.
    Models {
        /// Model directory, laid out as NAME/VERSION/model.onnx.
        directory: Option<PathBuf> = None;
        /// What triggers loading: `none` (serve what the directory holds at start), `poll` (follow
        /// changes of the directory) or `explicit` (load and unload on request).
        control: ModelControl = ModelControl::Poll;
        /// Interval between two scans of the model directory.
        poll: Duration = Duration::from_secs(1), in Duration::from_millis(10)..=HOUR;
        /// How long a version's files must stay unchanged before the version is loaded.
        settle: Duration = Duration::from_secs(1), in Duration::ZERO..=HOUR;
        /// Whether a model's first run happens in a separate process (the sandbox), so that a
        /// crash or hang does not affect the server.
        probe: bool = true;
        /// Time limit of the sandboxed first run. The version is refused beyond it.
        probe_timeout: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=HOUR;
        /// Whether a version must reproduce its golden rows (stored inputs with expected outputs)
        /// before it serves.
        golden: bool = true;
        /// Address space of the sandbox, in bytes. 0 stands for 4 GiB plus eight times the model
        /// file. A model that needs more is refused.
        probe_memory: usize as Size = 0, in 0..=16 << 40;
    }
}

choice! {
    /// What is asked of a version's signatures before it is served.
    Signatures {
        /// Nothing.
        None = "none",
        /// A version that no trusted key vouches for is served, and told.
        Warn = "warn",
        /// A version that no trusted key vouches for is refused.
        Require = "require",
    }
}

section! {
    /// The registry to serve from, which the registry commands also use.
    Registry {
        /// URL of the registry: `file:///path`, `s3://bucket/path`, `gs://bucket/path` or
        /// `az://container/path`. Credentials come from the environment (`AWS_…`, `GOOGLE_…`,
        /// `AZURE_…`).
        url: Option<String> as Line = None;
        /// Namespace of the registry.
        namespace: String as Line = "default".into();
        /// Models to serve. An empty list serves all.
        models: Vec<String> = Vec::new();
        /// Directory for verified copies of versions, with which the server can restart while the
        /// store is unavailable. If it is not set: `ortus/registry` in the user's cache directory.
        cache: Option<PathBuf> = None;
        /// Interval between two reads of the registry log.
        poll: Duration = Duration::from_secs(1), in Duration::from_millis(10)..=HOUR;
        /// Signature policy: `none` (do not check), `warn` (serve a version without a trusted
        /// signature and log a warning) or `require` (refuse it).
        signatures: Signatures = Signatures::None;
        /// File of trusted public keys, written by `ortus key trust`. If it is not set, no key is
        /// trusted.
        trust: Option<PathBuf> = None;
        /// Approvals by trusted keys that a version needs to become champion on this server, in
        /// addition to the namespace's policy.
        approvals: u32 = 0, in 0..=100;
        /// How long the previous champion stays loaded after it was replaced.
        previous_warm: Duration = Duration::from_secs(600), in Duration::ZERO..=24 * HOUR;
    }
}

section! {
    /// Drift monitoring: sampling, windows, thresholds and alarms.
    Monitor {
        /// Whether inputs and predictions are monitored.
        enabled: bool = true;
        /// Bytes of finished requests that wait for the monitor. Requests beyond it are not
        /// monitored, and are counted.
        queue_bytes_max: usize as Size = 64 << 20, in 1 << 20..=1 << 40;
        /// Share of the server's CPU time that monitoring may use. If it needs more, fewer
        /// requests are sampled.
        cpu_share: f64 = 0.01, in 0.001..=1.0;
        /// Rows at which a window closes.
        window_rows: u32 = 1_000, in 100..=u32::MAX;
        /// Shortest time that a window stays open.
        window_min: Duration = Duration::from_secs(10), in Duration::from_secs(1)..=24 * HOUR;
        /// Longest time that a window stays open.
        window_max: Duration = Duration::from_secs(300), in Duration::from_secs(1)..=24 * HOUR;
        /// Accepted number of false alarms for each model and month. A lower number makes the
        /// tests stricter.
        false_alarms_per_month: f64 = 1.0, in 0.001..=1_000.0;
        /// Rows from which a version without a baseline builds its own.
        own_rows: usize = 5_000, in 100..=1_000_000;
        /// Smallest Kolmogorov-Smirnov distance that raises an alarm.
        ks: f64 = 0.05, in 0.0..=1.0;
        /// Smallest Wasserstein distance that raises an alarm, in interquartile ranges.
        wasserstein: f64 = 0.1, in 0.0..=1e6;
        /// Smallest population stability index that raises an alarm.
        psi: f64 = 0.1, in 0.0..=1e6;
        /// Smallest Jensen-Shannon distance that raises an alarm.
        js: f64 = 0.1, in 0.0..=1.0;
        /// Smallest change of one category's share that raises an alarm.
        largest: f64 = 0.03, in 0.0..=1.0;
        /// Smallest change of the share of missing values that raises an alarm.
        missing: f64 = 0.01, in 0.0..=1.0;
        /// URL to which alarms are posted as CloudEvents in JSON: `http://…` or `https://…`.
        webhook: Option<String> as Line = None;
        /// Length of the windows that all servers of one store merge into one result. `"0s"`
        /// switches merging off.
        fleet_window: Duration = Duration::from_secs(60), in Duration::ZERO..=HOUR;
        /// Columns of each model that have metric series of their own. The operator API shows all
        /// columns.
        columns_shown: usize = 20, in 0..=1_000;
    }
}

section! {
    /// The store for labels, captured predictions and windows. The servers of one store form a
    /// fleet.
    Records {
        /// URL of the store: `file:///path`, `s3://bucket/path` and so on. If it is not set: the
        /// registry, or for a model directory `ortus/records` in the user's state directory.
        store: Option<String> as Line = None;
    }
}

section! {
    /// Ground-truth labels, sent by `POST /v1/feedback`.
    Feedback {
        /// Whether labels are accepted.
        enabled: bool = true;
        /// Age of the oldest prediction for which a label is accepted.
        age_max: Duration = 90 * 24 * HOUR, in Duration::from_secs(60)..=365 * 24 * HOUR;
        /// How often a label may be corrected.
        corrections_max: u32 = 3, in 0..=100;
        /// Labels in one request.
        labels_max: usize = 10_000, in 1..=1_000_000;
        /// Labelled rows kept for each version. The oldest are dropped first.
        rows_max: usize = 100_000, in 100..=100_000_000;
        /// Bytes of predictions that wait for their labels. The oldest are dropped first.
        answers_bytes_max: usize as Size = 64 << 20, in 1 << 20..=1 << 40;
        /// Interval between two reads of the labels that other servers accepted.
        poll: Duration = Duration::from_secs(5), in Duration::from_millis(100)..=HOUR;
        /// Directory from which Parquet and CSV files of labels are imported. Imported files are
        /// moved to its subdirectory `taken`.
        drop: Option<PathBuf> = None;
        /// Smallest increase of the error share that raises an alarm. An error is a wrong class,
        /// or a value that is off by more than 90 % of the errors in the baseline.
        loss_margin: f64 = 0.02, in 0.0..=1.0;
    }
}

section! {
    /// Capture: predictions recorded with their inputs.
    Capture {
        /// Share of requests that is captured. 0 switches capture off.
        share: f64 = 0.0, in 0.0..=1.0;
        /// Format of captures: `parquet` (files in the store) or `cloudevents` (events posted to
        /// `url`, in the format of KServe's payload logger).
        format: CaptureFormat = CaptureFormat::Parquet;
        /// URL to which CloudEvents are posted: `http://…` or `https://…`.
        url: Option<String> as Line = None;
        /// Rows at which a capture file is closed.
        rows_max: usize = 100_000, in 1..=1_000_000;
        /// Bytes in memory at which a capture file is closed.
        bytes_max: usize as Size = 32 << 20, in 64 << 10..=1 << 30;
        /// Age at which a capture file is closed.
        age_max: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=HOUR;
        /// Bytes in memory of open files and files that wait for the store. Captures beyond it are
        /// dropped and counted.
        queue_bytes_max: usize as Size = 256 << 20, in 1 << 20..=1 << 40;
        /// Largest request that is captured.
        request_bytes_max: usize as Size = 1 << 20, in 1 << 10..=1 << 30;
        /// How long capture files are kept.
        retention: Duration = 30 * 24 * HOUR, in HOUR..=3_650 * 24 * HOUR;
        /// Bytes of all capture files in the store. The oldest are deleted first.
        store_bytes_max: usize as Size = 16 << 30, in 1 << 20..=1 << 50;
        /// Input columns that are not captured, as `column` or `model/column`.
        drop: Vec<String> as Line = Vec::new();
        /// Input columns that are captured as a keyed hash of the value, as `column` or
        /// `model/column`.
        hash: Vec<String> as Line = Vec::new();
    }
}

choice! {
    /// How captured predictions are written.
    CaptureFormat {
        /// Files in the store.
        Parquet = "parquet",
        /// Events to an address.
        CloudEvents = "cloudevents",
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

words! { Format { Text = "text", Json = "json" } }

section! {
    /// Log messages on standard error.
    Log {
        /// Log level, for everything or for one target, such as `info,ortus::batch=debug`.
        level: String as Level = "info".into();
        /// Log format: `text` or `json`.
        format: Format = Format::Text;
        /// Duration from which a prediction is logged as slow, with its ids, at most ten per
        /// second. `"0s"` switches it off.
        slow: Duration = Duration::from_secs(1), in Duration::ZERO..=HOUR;
    }
}

section! {
    /// Distributed tracing with OpenTelemetry.
    Traces {
        /// OTLP collector to which spans are sent over gRPC, such as `http://HOST:4317`.
        endpoint: Option<String> as Line = None;
        /// Share of predictions that is traced if the client sends no `traceparent`. A client's
        /// `traceparent` decides for its own request.
        share: f64 = 0.01, in 0.0..=1.0;
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn address(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ip), port)
}

impl Config {
    /// Reads `file` (`./ortus.toml` where none is named and it exists), then the
    /// variables `ORTUS_SECTION__KEY`, then flags as pairs such as
    /// `("server.http", value)`; the later wins. Refuses an unknown key, a value
    /// out of range and settings that contradict each other, naming the line,
    /// the variable or the flag.
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

    /// Returns what the configuration sets for a model, in its own section or in
    /// `[models.defaults]`, so that the model's own file may fill the rest.
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
