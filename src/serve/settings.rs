//! The settings of one model: `[model.NAME]` over `[models.defaults]`.

pub(crate) mod padding;
pub(crate) mod watched;

use crate::core::model::padding::Padding;
use crate::core::settings::section::SettingSection;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::{Table, Value};

use crate::core::error::{Error, Result};
use crate::core::model::task::{TaskKind, Wish};
use crate::core::model::{ModelName, Version};
use crate::core::settings::form::{Form, Plain, TextLine};
use crate::observe::drift::watch::start::ColumnRules;
use crate::onnx::runtime::SessionOptions;
use crate::onnx::runtime::provider::{Provider, ProviderKind};
use crate::onnx::runtime::warnings::RuntimeWarnings;
use crate::registry::version_policy::VersionPolicy;
use crate::{choice, overridable, words};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

overridable! {
    /// Settings of models: defaults for all models in `[models.defaults]`, which `[model.NAME]`
    /// overrides for one model.
    Model, ModelOverrides {
        /// Dynamic batching: `auto` (merge requests if the rows of a batch do not influence each
        /// other), `on` (merge them although that is not shown; a batch may then change answers) or
        /// `off`.
        batching: Batching = Batching::Auto;
        /// Whether a request gets the same answer bit for bit, however many others are served beside it, on
        /// the same machine with the same settings. Batches then have only sizes for which a test at load
        /// (at most 5 s) found that, and are filled up with copies of a row. Models whose graph does not prove
        /// that rows are independent, and inputs with a dynamic axis beyond the first, are not batched.
        batch_invariant: bool = false;
        /// Most rows in one batch. A request with more rows is served in several batches, at most 4,096, unless it
        /// has optional inputs or `config.pbtxt` declares `max_batch_size`: then it is refused. It does not apply to
        /// models whose requests cannot be merged: each request then runs alone, with any number
        /// of rows.
        batch_rows_max: u32 = 64, in 1..=65_536;
        /// Rows that wait in the queue; at least `batch_rows_max`. Beyond it, requests are refused
        /// and may be retried.
        queue_rows_max: u32 = 4096, in 1..=16_777_216;
        /// Lanes: threads that run the model, and so the number of concurrent runs. 0 stands for the
        /// number of cores divided by `intra_op_threads`, and for 2 on a GPU. On the CPU, the lanes of a
        /// model with 1 MiB of weights or more share one ONNX Runtime session, so the weights are in memory
        /// once; else, and on a GPU, each lane has a session of its own.
        lanes: usize = 0, in 0..=1024;
        /// Threads inside one run. Lanes that share a session share all of these but one each.
        intra_op_threads: usize = 1, in 1..=1024;
        /// How long an idle lane waits for more rows to fill a batch.
        batch_delay: Duration = Duration::ZERO, in Duration::ZERO..=Duration::from_secs(10);
        /// Least time between two rechecks of the batches of a version: one request of a batch is run
        /// again alone, and if its answer differs, batching of the version ends. `0s` turns
        /// rechecks off.
        batch_recheck: Duration = SECOND, in Duration::ZERO..=HOUR;
        /// Padding of requests of different lengths, so that they share batches; a table, or `"off"` (the
        /// same as not set). A request is padded at its end to the smallest of `lengths` (1 to 64 of them, ascending, from 1
        /// to 16777216) that holds it; a longer one runs at its own length. `inputs` names the inputs that
        /// are padded (1 to 64 of them), each with its number; `mask` names the input that is padded with 0 and
        /// tells the model what is real. All of them must share one named dynamic axis besides the rows, and each axis of
        /// an output must be fixed or that one. `tokens_max` (from the longest length to 16777216; not limited
        /// if not set) is the most rows × length of a batch; a request that is over it alone runs alone.
        /// Padding is used if a test shows that it does not change answers, up to the rounding of floating-point numbers.
        padding: Option<Padding> = None;
        /// Time limit of a request that sends none, counted from the end of its body. If it is not set,
        /// such a request waits for the end of its run, however long that takes; `queue_timeout`
        /// limits how long it waits for the start. A request that cannot be answered in time is
        /// refused without a run.
        request_timeout: Option<Duration> = None, in Some(MILLISECOND)..=Some(HOUR);
        /// How long a request without a time limit waits in the queue. Beyond it, the request is
        /// refused and may be retried. `0s` stands for 24 hours.
        queue_timeout: Duration = Duration::from_secs(60), in Duration::ZERO..=HOUR;
        /// Whether ONNX Runtime's threads spin while they wait. Spinning lowers latency and uses
        /// more CPU.
        spinning: bool = false;
        /// Execution providers in order of preference. Each falls back to the next.
        providers: Vec<Provider> = vec![cpu()];
        /// Versions to serve: `"all"`, `"latest:N"` or a list of version numbers.
        version_policy ["versions"]: VersionPolicy = VersionPolicy::Latest(1);
        /// Version labels, as pairs of a label and a version. Clients may request a version by its
        /// label.
        labels: BTreeMap<String, Version> = BTreeMap::new();
        /// Task of the model, from which its performance is measured: `auto` (detect it from the
        /// graph), `classification`, `regression` or `none`.
        task: Option<TaskKind> as TaskWord = None;
        /// Output that holds the scores, or the predicted value. If it is not set, it is detected
        /// from the graph.
        score_output: Option<String> as TextLine = None;
        /// Class names in the order of their scores, at most 64. If the list is empty, the names
        /// in the graph are used.
        classes: Vec<String> as TextLine = Vec::new();
        /// Names of the model's input columns in their order, for requests that give columns by name, and for
        /// monitoring. If the list is empty, those that came with the model are used: from its manifest in a
        /// registry, or from its baseline.
        features: Vec<String> as TextLine = Vec::new();
        /// Input columns by whose values performance is also measured separately, at most 8. By default the
        /// slices of the version's baseline.
        slices: Vec<String> as TextLine = Vec::new();
        /// How the columns of the model are monitored; a table. `ignore` lists input or output columns that are not
        /// monitored. `kind` gives columns a kind in place of the one that the baseline shows: `stationary`,
        /// `cyclic`, `trending`, `unsteady`, `constant` or `identifier`. `threshold` gives columns the smallest
        /// Kolmogorov-Smirnov distance, or change of a category's share, that raises an alarm; the other metrics
        /// follow in proportion.
        monitor: ColumnRules = ColumnRules::default();
    }
}

impl Model {
    /// Checks ranges and settings that depend on each other, for settings that were not read from
    /// the configuration.
    pub(crate) fn check(&self) -> Result<()> {
        let mut probe = Self::default();
        for (key, value) in self.to_table() {
            let must = |must| Error::invalid(format!("'{key}' is {value}; it must be {must}"));
            probe.set(&key, &value).map_err(must)?;
        }
        if self.queue_rows_max < self.batch_rows_max {
            return Err(Error::invalid(format!(
                "'queue_rows_max' is {}; it must be at least 'batch_rows_max', {}, or the queue could never hold a full batch",
                self.queue_rows_max, self.batch_rows_max
            )));
        }

        Ok(())
    }

    /// Returns the options of the model's sessions.
    pub(crate) fn session_options(&self) -> SessionOptions {
        SessionOptions {
            intra_op_threads: self.intra_op_threads.max(1),
            spinning: self.spinning,
            providers: self.providers.clone(),
            warnings: RuntimeWarnings::default(),
        }
    }

    /// Returns the task, as far as it is configured.
    pub(crate) fn wish(&self) -> Wish {
        Wish {
            kind: self.task,
            output: self.score_output.clone(),
            classes: self.classes.clone(),
        }
    }
}

/// The task of a model; `auto` leaves it to the graph.
struct TaskWord;

impl Form<Option<TaskKind>> for TaskWord {
    fn read(value: &Value) -> Result<Option<TaskKind>, String> {
        match value.as_str() {
            Some("auto") => Ok(None),
            Some("classification") => Ok(Some(TaskKind::Classification)),
            Some("regression") => Ok(Some(TaskKind::Regression)),
            Some("none") => Ok(Some(TaskKind::Neither)),
            _ => Err(r#"one of "auto", "classification", "regression", "none""#.into()),
        }
    }

    fn write(setting: &Option<TaskKind>) -> Option<Value> {
        let word = match setting {
            None => "auto",
            Some(TaskKind::Classification) => "classification",
            Some(TaskKind::Regression) => "regression",
            Some(TaskKind::Neither) => "none",
        };

        Some(Value::String(word.into()))
    }
}

choice! {
    /// What happens when the files of a version get other bytes after it was loaded.
    InPlace {
        /// The loaded version keeps serving, and the change is reported.
        Refuse = "refuse",
        /// They are loaded as a new revision of the version, which replaces the old one.
        Swap = "swap",
    }
}

choice! {
    /// Whether requests are merged into one run.
    Batching {
        /// If the graph or a test shows that rows do not influence each other.
        Auto = "auto",
        /// Whatever the graph and the test say.
        On = "on",
        /// Never.
        Off = "off",
    }
}

/// Most versions in a list.
const VERSIONS_MAX: usize = 1024;

/// Reads the versions to serve.
fn version_policy(value: &Value) -> Option<VersionPolicy> {
    if let Some(list) = value.as_array() {
        let versions: Vec<Version> = list.iter().map(version).collect::<Option<_>>()?;
        let distinct: BTreeSet<Version> = versions.iter().copied().collect();
        let is_legal =
            distinct.len() == versions.len() && (1..=VERSIONS_MAX).contains(&versions.len());
        return is_legal.then_some(VersionPolicy::Specific(versions));
    }

    let text = value.as_str()?;
    if text == "all" {
        return Some(VersionPolicy::All);
    }
    let count: u32 = text.strip_prefix("latest:")?.parse().ok()?;
    let is_legal = (1..=VERSIONS_MAX).contains(&(count as usize));
    is_legal.then_some(VersionPolicy::Latest(count))
}

/// Reads the number of a version.
fn version(value: &Value) -> Option<Version> {
    let number = value.as_integer()?;
    Version::new(u64::try_from(number).ok()?)
}

/// Writes the number of a version.
fn version_value(version: Version) -> Value {
    Value::Integer(i64::try_from(version.number()).unwrap_or(i64::MAX))
}

impl Form<VersionPolicy> for Plain {
    fn read(value: &Value) -> Result<VersionPolicy, String> {
        version_policy(value).ok_or_else(|| {
            "\"all\", \"latest:N\" with N from 1 to 1024, or a list of 1 to 1024 different versions such as [1, 3]"
                .into()
        })
    }

    fn write(setting: &VersionPolicy) -> Option<Value> {
        Some(match setting {
            VersionPolicy::All => Value::String("all".into()),
            VersionPolicy::Latest(count) => Value::String(format!("latest:{count}")),
            VersionPolicy::Specific(versions) => {
                Value::Array(versions.iter().copied().map(version_value).collect())
            }
        })
    }
}

words! { ProviderKind { Cpu = "cpu", Cuda = "cuda", Tensorrt = "tensorrt" } }

/// Most options of a provider.
const OPTIONS_MAX: usize = 64;

/// The CPU, without options.
pub(crate) fn cpu() -> Provider {
    Provider {
        kind: ProviderKind::Cpu,
        options: BTreeMap::new(),
    }
}

/// Reads a provider: its name, or a table of its name and options.
fn provider(value: &Value) -> Option<Provider> {
    let Some(table) = value.as_table() else {
        return Some(Provider {
            kind: Plain::read(value).ok()?,
            options: BTreeMap::new(),
        });
    };

    if !table.keys().all(|key| key == "name" || key == "options") {
        return None;
    }

    let options = match table.get("options") {
        Some(options) => options
            .as_table()
            .filter(|options| options.len() <= OPTIONS_MAX)?
            .clone(),
        None => Table::new(),
    };

    let options = options
        .into_iter()
        .map(|(key, value)| Some((key, option(value)?)));

    Some(Provider {
        kind: Plain::read(table.get("name")?).ok()?,
        options: options.collect::<Option<_>>()?,
    })
}

/// Writes a provider as [`provider`] reads it.
fn provider_value(provider: &Provider) -> Option<Value> {
    let name = Plain::write(&provider.kind)?;
    if provider.options.is_empty() {
        return Some(name);
    }

    let options = provider.options.iter();
    let options = options.map(|(key, text)| (key.clone(), Value::String(text.clone())));
    Some(Value::Table(Table::from_iter([
        ("name".into(), name),
        ("options".into(), Value::Table(options.collect())),
    ])))
}

/// Reads the value of an option, which providers accept as text.
fn option(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(_) | Value::Boolean(_) | Value::Float(_) => Some(value.to_string()),
        _ => None,
    }
}

impl Form<Vec<Provider>> for Plain {
    fn read(value: &Value) -> Result<Vec<Provider>, String> {
        let list = value.as_array().filter(|list| !list.is_empty());
        let providers: Option<Vec<Provider>> =
            list.and_then(|list| list.iter().map(provider).collect());
        let providers = providers.ok_or(
            "a list of \"cpu\", \"cuda\", \"tensorrt\" or { name = \"cuda\", options = { device_id = \"0\" } }",
        )?;

        let unreached = |(at, one): (usize, &Provider)| {
            providers[..at]
                .iter()
                .any(|before| before.kind == one.kind || before.kind == ProviderKind::Cpu)
        };

        if providers.iter().enumerate().any(unreached) {
            return Err("a list that names each provider once, with \"cpu\" last".into());
        }
        Ok(providers)
    }

    fn write(setting: &Vec<Provider>) -> Option<Value> {
        Some(Value::Array(
            setting.iter().filter_map(provider_value).collect(),
        ))
    }
}

/// Most labels of a model.
const LABELS_MAX: usize = 256;

impl Form<BTreeMap<String, Version>> for Plain {
    fn read(value: &Value) -> Result<BTreeMap<String, Version>, String> {
        labels(value).ok_or_else(|| {
            format!(
                "a table of at most {LABELS_MAX} labels and their versions such as {{ stable = 3 }}; a label has \
                 1 to 128 characters of A-Z a-z 0-9 _ . - and is not a number, a version is 1 or greater"
            )
        })
    }

    fn write(setting: &BTreeMap<String, Version>) -> Option<Value> {
        // Written even if empty: an empty table may override the labels of a lower layer.
        let labels = setting.iter();
        let labels = labels.map(|(label, version)| (label.clone(), version_value(*version)));
        Some(Value::Table(labels.collect()))
    }
}

/// Reads version labels.
fn labels(value: &Value) -> Option<BTreeMap<String, Version>> {
    let table = value.as_table().filter(|table| table.len() <= LABELS_MAX)?;
    let mut labels = BTreeMap::new();
    for (label, value) in table {
        let is_number = label.bytes().all(|byte| byte.is_ascii_digit());
        if is_number || ModelName::parse(label).is_err() {
            return None;
        }
        labels.insert(label.clone(), version(value)?);
    }

    Some(labels)
}
