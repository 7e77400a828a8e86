//! The configuration: one validated tree, from defaults, then a TOML file, then
//! the environment, then flags; the later wins. Opens no socket and loads no
//! library; the rooms read their section and nothing else.

#[macro_use]
mod section;
pub mod form;
mod load;
pub(crate) mod memory;
pub(crate) mod model;
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
    /// `[server]`: listeners, their threads, and the end of the process. Port 0 asks for a free port.
    Server {
        /// The HTTP listener; default `0.0.0.0:8000`.
        http: SocketAddr = address(Ipv4Addr::UNSPECIFIED, 8000);
        /// The gRPC listener; default `0.0.0.0:8001`.
        grpc: SocketAddr = address(Ipv4Addr::UNSPECIFIED, 8001);
        /// The listener for metrics and probes, where nothing changes anything; default `0.0.0.0:8002`.
        ops: SocketAddr = address(Ipv4Addr::UNSPECIFIED, 8002);
        /// The listener for operators; default `127.0.0.1:8003`. Whoever reaches it may change what is served.
        operator: SocketAddr = address(Ipv4Addr::LOCALHOST, 8003);
        /// Threads that read and write sockets, at most 1024; default 0, one per core.
        io_threads: usize = 0, in 0..=1024;
        /// How long a stopping server still accepts while it says it is not ready, at most 10 m; default 0 s.
        drain_delay: Duration = Duration::ZERO, in Duration::ZERO..=Duration::from_secs(600);
        /// How long accepted requests may take once the server stops, at most 1 h; default 25 s. What is unfinished
        /// then is cut off.
        drain: Duration = Duration::from_secs(25), in Duration::ZERO..=HOUR;
        /// A file that receives the bound addresses; default none.
        ports_file: Option<PathBuf> = None;
    }
}

section! {
    /// `[limits]`: what a client may ask for, and what happens beyond it.
    Limits {
        /// Bytes of one request or answer, 1 KiB to 2 GiB; default 64 MiB. A larger one is refused.
        message_bytes_max: usize as Size = 64 << 20, in 1 << 10..=2 << 30;
        /// Bytes of all requests being read or served, from `message_bytes_max` to 1 TiB; default 0, a quarter of the
        /// memory, which this field holds once it is resolved. Beyond it a request is refused, to be retried.
        bytes_in_flight_max: usize as MemoryShare = memory::quarter(), in 1 << 10..=1 << 40;
        /// Bytes of a request's headers, 4 KiB to 1 MiB; default 16 KiB. More are refused.
        header_list_bytes_max: u32 as Size = 16 << 10, in 4 << 10..=1 << 20;
        /// Time to send the headers, 1 ms to 10 m; default 10 s. The connection is closed beyond it.
        header_timeout: Duration = Duration::from_secs(10), in MILLISECOND..=Duration::from_secs(600);
        /// Time from a request's headers to the end of its body, 1 ms to 1 h; default 30 s. The request is refused beyond it.
        read_timeout: Duration = Duration::from_secs(30), in MILLISECOND..=HOUR;
        /// Time without a request, 1 ms to 24 h; default 120 s. The connection is closed beyond it.
        idle_timeout: Duration = Duration::from_secs(120), in MILLISECOND..=24 * HOUR;
        /// Requests at once on an HTTP/2 connection, 1 to 65536; default 200. A client waits beyond it.
        concurrent_streams_max: u32 = 200, in 1..=65_536;
        /// HTTP/2 streams reset for the client's faults, 1 to 65536; default 1024. The connection is closed beyond it.
        local_error_reset_streams_max: usize = 1024, in 1..=65_536;
        /// HTTP/2 streams reset by the client before they are accepted, 1 to 65536; default 20. The connection is
        /// closed beyond it.
        pending_accept_reset_streams_max: usize = 20, in 1..=65_536;
        /// Connections of all listeners, 1 to 1000000; default 10000. One more is closed at once.
        connections_max: usize = 10_000, in 1..=1_000_000;
        /// Bytes of a request after decompression, 1 KiB to 2 GiB; default 256 MiB. A larger one is refused.
        decompressed_bytes_max: usize as Size = 256 << 20, in 1 << 10..=2 << 30;
        /// Bytes after decompression for each byte before it, 2 to 10000; default 100. A request beyond it is refused.
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
    /// `[models]`: where models come from.
    Models {
        /// The folder of models; default none.
        directory: Option<PathBuf> = None;
        /// Who decides which models are loaded: `none`, `poll` or `explicit`; default `poll`.
        control: ModelControl = ModelControl::Poll;
        /// Time between two looks at the folder, 10 ms to 1 h; default 1 s.
        poll: Duration = Duration::from_secs(1), in Duration::from_millis(10)..=HOUR;
        /// How long a version's files must not change before it is loaded, at most 1 h; default 1 s.
        settle: Duration = Duration::from_secs(1), in Duration::ZERO..=HOUR;
        /// Whether the first run of a model is made in a process of its own, which may crash or hang; default true.
        probe: bool = true;
        /// How long that may take, 1 s to 1 h; default 60 s. The version is refused beyond it.
        probe_timeout: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=HOUR;
        /// Whether a version must answer its golden rows as they say before it serves; default true.
        golden: bool = true;
        /// Address space of that process, at most 16 TiB; default 0, 4 GiB and eight times the model. A model that
        /// asks for more is refused.
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
    /// `[registry]`: the registry that is served from, or that commands change.
    Registry {
        /// Where it is: `file:///path`, `s3://bucket/path`, `gs://bucket/path` or `az://container/path`; default none.
        /// Credentials come from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
        url: Option<String> as Line = None;
        /// The part of the registry; default `default`.
        namespace: String as Line = "default".into();
        /// The models to serve, at most 10000; default none, which stands for all.
        models: Vec<String> = Vec::new();
        /// Where verified copies are kept, so that a restart needs no store; default `ortus/registry` in the user's cache.
        cache: Option<PathBuf> = None;
        /// Time between two looks at the log, 10 ms to 1 h; default 1 s.
        poll: Duration = Duration::from_secs(1), in Duration::from_millis(10)..=HOUR;
        /// What is asked of a version's signatures: `none`, `warn` or `require`; default `none`.
        signatures: Signatures = Signatures::None;
        /// The file of trusted keys that `ortus key trust` writes; default none, which trusts nobody.
        trust: Option<PathBuf> = None;
        /// Approvals by those keys that a version needs to be champion here, whatever the namespace asks for, at most
        /// 100; default 0.
        approvals: u32 = 0, in 0..=100;
        /// How long a version that is only `previous` stays loaded, at most 24 h; default 10 m.
        previous_warm: Duration = Duration::from_secs(600), in Duration::ZERO..=24 * HOUR;
    }
}

section! {
    /// `[monitor]`: what is watched of inputs and answers, and when it is an alarm.
    Monitor {
        /// Whether anything is watched; default true.
        enabled: bool = true;
        /// Bytes of answered requests waiting to be looked at, 1 MiB to 1 TiB; default 64 MiB. What comes beyond is
        /// dropped and counted.
        queue_bytes_max: usize as Size = 64 << 20, in 1 << 20..=1 << 40;
        /// Share of the server's own work that windows may take, 0.001 to 1; default 0.01. Where they would take more,
        /// fewer requests are sampled.
        cpu_share: f64 = 0.01, in 0.001..=1.0;
        /// Rows at which a window closes, 100 to 4294967295; default 1000.
        window_rows: u32 = 1_000, in 100..=u32::MAX;
        /// … but not sooner than this, 1 s to 24 h; default 10 s.
        window_min: Duration = Duration::from_secs(10), in Duration::from_secs(1)..=24 * HOUR;
        /// … and at the latest after this, 1 s to 24 h; default 5 m.
        window_max: Duration = Duration::from_secs(300), in Duration::from_secs(1)..=24 * HOUR;
        /// False alarms that are put up with, for each model and month, 0.001 to 1000; default 1.
        false_alarms_per_month: f64 = 1.0, in 0.001..=1_000.0;
        /// Rows that a version without a baseline makes one of, 100 to 1000000; default 5000.
        own_rows: usize = 5_000, in 100..=1_000_000;
        /// The least Kolmogorov-Smirnov distance that matters; default 0.05.
        ks: f64 = 0.05, in 0.0..=1.0;
        /// The least Wasserstein distance that matters, in interquartile ranges; default 0.1.
        wasserstein: f64 = 0.1, in 0.0..=1e6;
        /// The least population stability index that matters; default 0.1.
        psi: f64 = 0.1, in 0.0..=1e6;
        /// The least Jensen-Shannon distance that matters; default 0.1.
        js: f64 = 0.1, in 0.0..=1.0;
        /// The least change of a category's share that matters; default 0.03.
        largest: f64 = 0.03, in 0.0..=1.0;
        /// The least change of the share of missing values that matters; default 0.01.
        missing: f64 = 0.01, in 0.0..=1.0;
        /// Where alarms are posted, as CloudEvents in JSON: `http://…` or `https://…`; default none.
        webhook: Option<String> as Line = None;
        /// Length of the windows that the servers of one registry or store add up, 1 s to 1 h; default 60 s, 0 s for none.
        fleet_window: Duration = Duration::from_secs(60), in Duration::ZERO..=HOUR;
        /// Columns with series of their own among the metrics, at most 1000; default 20. The operator listener shows all.
        columns_shown: usize = 20, in 0..=1_000;
    }
}

section! {
    /// `[records]`: where servers keep what they record: labels, captured predictions, windows, the fleet's key.
    Records {
        /// `file:///path`, `s3://bucket/path`, …; default none, the registry that is served from, or for a directory of
        /// models `ortus/records` in the user's state folder.
        store: Option<String> as Line = None;
    }
}

section! {
    /// `[feedback]`: labels that come back for predictions.
    Feedback {
        /// Whether labels are taken; default true.
        enabled: bool = true;
        /// The oldest prediction that a label is taken for, 1 m to 365 d; default 90 d.
        age_max: Duration = 90 * 24 * HOUR, in Duration::from_secs(60)..=365 * 24 * HOUR;
        /// How often a label may be corrected, at most 100; default 3.
        corrections_max: u32 = 3, in 0..=100;
        /// Labels of one request, 1 to 1000000; default 10000.
        labels_max: usize = 10_000, in 1..=1_000_000;
        /// Labelled rows kept of each version, 100 to 100000000; default 100000. The oldest go first.
        rows_max: usize = 100_000, in 100..=100_000_000;
        /// Bytes of answers that wait for their labels, 1 MiB to 1 TiB; default 64 MiB. The oldest go first.
        answers_bytes_max: usize as Size = 64 << 20, in 1 << 20..=1 << 40;
        /// Time between two looks at the labels that other servers took, 100 ms to 1 h; default 5 s.
        poll: Duration = Duration::from_secs(5), in Duration::from_millis(100)..=HOUR;
        /// A folder whose Parquet and CSV files of labels are taken, then moved to `taken` in it; default none.
        drop: Option<PathBuf> = None;
        /// The least rise of the share of rows that are lost (wrong, or off by more than nine in ten were) that
        /// matters, 0 to 1; default 0.02.
        loss_margin: f64 = 0.02, in 0.0..=1.0;
    }
}

section! {
    /// `[capture]`: predictions that are kept.
    Capture {
        /// The share of requests that is kept, 0 to 1; default 0.
        share: f64 = 0.0, in 0.0..=1.0;
        /// How they are written: `parquet`, or `cloudevents` as KServe's payload logger posts them; default `parquet`.
        format: CaptureFormat = CaptureFormat::Parquet;
        /// Where CloudEvents are posted: `http://…` or `https://…`; default none.
        url: Option<String> as Line = None;
        /// Rows at which a file is closed, 1 to 1000000; default 100000.
        rows_max: usize = 100_000, in 1..=1_000_000;
        /// … or its bytes in memory, 64 KiB to 1 GiB; default 32 MiB.
        bytes_max: usize as Size = 32 << 20, in 64 << 10..=1 << 30;
        /// … or its age, 1 s to 1 h; default 60 s.
        age_max: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=HOUR;
        /// Bytes in memory, files under way and waiting to be stored together, 1 MiB to 1 TiB; default 256 MiB. What
        /// comes beyond is dropped and counted.
        queue_bytes_max: usize as Size = 256 << 20, in 1 << 20..=1 << 40;
        /// The largest request that is kept, 1 KiB to 1 GiB; default 1 MiB.
        request_bytes_max: usize as Size = 1 << 20, in 1 << 10..=1 << 30;
        /// How long files are kept, 1 h to 3650 d; default 30 d.
        retention: Duration = 30 * 24 * HOUR, in HOUR..=3_650 * 24 * HOUR;
        /// Bytes that files may take in the store, 1 MiB to 1 PiB; default 16 GiB. The oldest go first.
        store_bytes_max: usize as Size = 16 << 30, in 1 << 20..=1 << 50;
        /// Input columns that are left out, as `column` or `model/column`; default none.
        drop: Vec<String> as Line = Vec::new();
        /// Input columns of which a keyed hash is kept in place of the value; default none.
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
    /// `[runtime]`: the ONNX Runtime library.
    Runtime {
        /// The library to load; default none, the one installed with the program.
        library: Option<PathBuf> = None;
        /// Forbids to download anything; default false.
        offline: bool = false;
    }
}

words! { Format { Text = "text", Json = "json" } }

section! {
    /// `[log]`: what is written to standard error.
    Log {
        /// What is logged, such as `info,ortus::batch=debug`; default `info`.
        level: String as Level = "info".into();
        /// `text` or `json`; default `text`.
        format: Format = Format::Text;
        /// How long a prediction takes that is logged with its ids, at most 1 h; default 1 s, 0 s for none. At most ten
        /// a second are.
        slow: Duration = Duration::from_secs(1), in Duration::ZERO..=HOUR;
    }
}

section! {
    /// `[traces]`: predictions followed from end to end.
    Traces {
        /// The collector that takes spans, as OTLP over gRPC: `http://HOST:4317`; default none.
        endpoint: Option<String> as Line = None;
        /// The share of predictions followed whose caller says nothing, 0 to 1; default 0.01. A caller's `traceparent`
        /// decides where it comes.
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
