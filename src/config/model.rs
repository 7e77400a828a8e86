//! The settings of one model: `[model.NAME]` over `[models.defaults]`.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::{Table, Value};

use crate::core::error::{Error, Result};
use crate::core::model::Version;
use crate::core::settings::form::{Form, Line, Plain};
use crate::{choice, overridable};

overridable! {
    /// Settings of models: defaults for all models in `[models.defaults]`, which `[model.NAME]`
    /// overrides for one model.
    Model, ModelOverrides {
        /// Dynamic batching: `auto` (merge requests if the graph allows it) or `off`.
        batching: Batching = Batching::Auto;
        /// Most rows in one batch. A request with more rows is refused. It does not apply to
        /// models whose requests cannot be merged: each request then runs alone, with any number
        /// of rows.
        batch_rows_max: u32 = 64, in 1..=65_536;
        /// Rows that wait in the queue; at least `batch_rows_max`. Beyond it, requests are refused
        /// and may be retried.
        queue_rows_max: u32 = 4096, in 1..=16_777_216;
        /// Lanes: threads that own one ONNX Runtime session each, and so the number of concurrent
        /// runs. 0 stands for the number of cores divided by `intra_op_threads`.
        lanes: usize = 0, in 0..=1024;
        /// Threads inside one run.
        intra_op_threads: usize = 1, in 1..=1024;
        /// How long an idle lane waits for more rows to fill a batch.
        batch_delay: Duration = Duration::ZERO, in Duration::ZERO..=Duration::from_secs(10);
        /// Deadline of a request that sends none. If it is not set, it is derived from the model's
        /// measured speed. A request that cannot meet its deadline is refused without a run.
        deadline: Option<Duration> = None, in Some(super::MILLISECOND)..=Some(super::HOUR);
        /// Whether ONNX Runtime's threads spin while they wait. Spinning lowers latency and uses
        /// more CPU.
        spinning: bool = false;
        /// Execution providers in order of preference. Each falls back to the next.
        providers: Vec<Provider> = vec![Provider::cpu()];
        /// Versions to serve: `"all"`, `"latest:N"` or a list of version numbers.
        version_policy ["versions"]: VersionPolicy = VersionPolicy::Latest(1);
        /// Version labels, as pairs of a label and a version. Clients may request a version by its
        /// label.
        labels: BTreeMap<String, u64> = BTreeMap::new();
        /// Task of the model, from which its performance is measured: `auto` (detect it from the
        /// graph), `classification`, `regression` or `none`.
        task: Task = Task::Auto;
        /// Output that holds the scores, or the predicted value. If it is not set, it is detected
        /// from the graph.
        score_output: Option<String> as Line = None;
        /// Class names in the order of their scores, at most 64. If the list is empty, the names
        /// in the graph are used.
        classes: Vec<String> as Line = Vec::new();
        /// Input columns by whose values performance is also measured separately, at most 8.
        slices: Vec<String> as Line = Vec::new();
    }
}

impl Model {
    /// Checks each range and that the settings agree, for settings that did not
    /// come through [`super::Config::load`].
    pub(crate) fn check(&self) -> Result<()> {
        let mut probe = Self::default();
        for (key, value) in self.to_table() {
            let must = |must| Error::invalid(format!("'{key}' is {value}; it must be {must}"));
            probe.set(&key, &value).map_err(must)?;
        }
        if self.queue_rows_max < self.batch_rows_max {
            return Err(Error::invalid(format!(
                "'queue_rows_max' is {}, less than 'batch_rows_max', {}; a full batch could never wait",
                self.queue_rows_max, self.batch_rows_max
            )));
        }
        Ok(())
    }
}

choice! {
    /// What the answers mean.
    Task {
        /// As the graph tells.
        Auto = "auto",
        /// Scores of classes.
        Classification = "classification",
        /// A value.
        Regression = "regression",
        /// Neither.
        None = "none",
    }
}

choice! {
    /// Whether requests share a run.
    Batching {
        /// Where the graph allows it.
        Auto = "auto",
        /// Never.
        Off = "off",
    }
}

/// Which of a model's versions are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The highest so many.
    Latest(u32),
    /// Every one.
    All,
    /// These and no others.
    Specific(Vec<u64>),
}

/// The most versions of a model that can be asked for.
const VERSIONS_MAX: usize = 1024;

impl VersionPolicy {
    fn parse(value: &Value) -> Option<Self> {
        if let Some(list) = value.as_array() {
            let number = |v: &Value| {
                v.as_integer()
                    .and_then(|n| u64::try_from(n).ok())
                    .and_then(Version::new)
            };
            let versions: Vec<u64> = list
                .iter()
                .map(|v| number(v).map(Version::number))
                .collect::<Option<_>>()?;
            let distinct = versions
                .iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len()
                == versions.len();
            return (distinct && (1..=VERSIONS_MAX).contains(&versions.len()))
                .then_some(Self::Specific(versions));
        }
        let text = value.as_str()?;
        if text == "all" {
            return Some(Self::All);
        }
        let count = text.strip_prefix("latest:")?;
        let count = count
            .parse()
            .ok()
            .filter(|n| (1..=VERSIONS_MAX).contains(n))?;
        u32::try_from(count).ok().map(Self::Latest)
    }
}

impl Form<VersionPolicy> for Plain {
    fn read(value: &Value) -> Result<VersionPolicy, String> {
        VersionPolicy::parse(value).ok_or_else(|| {
            "\"all\", \"latest:N\" with N from 1 to 1024, or a list of 1 to 1024 different versions such as [1, 3]"
                .into()
        })
    }

    fn write(setting: &VersionPolicy) -> Option<Value> {
        Some(match setting {
            VersionPolicy::All => Value::String("all".into()),
            VersionPolicy::Latest(count) => Value::String(format!("latest:{count}")),
            VersionPolicy::Specific(versions) => {
                let number = |n: &u64| Value::Integer(i64::try_from(*n).unwrap_or(i64::MAX));
                Value::Array(versions.iter().map(number).collect())
            }
        })
    }
}

choice! {
    /// What runs a graph.
    ProviderKind {
        /// The processor.
        Cpu = "cpu",
        /// An NVIDIA GPU through CUDA.
        Cuda = "cuda",
        /// An NVIDIA GPU through TensorRT.
        Tensorrt = "tensorrt",
    }
}

/// An execution provider and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Which.
    pub kind: ProviderKind,
    /// Options in the provider's own words, such as `device_id`; at most 64.
    pub options: BTreeMap<String, String>,
}

/// The most options of a provider.
const OPTIONS_MAX: usize = 64;

impl Provider {
    /// The processor, without options.
    pub(crate) fn cpu() -> Self {
        Self {
            kind: ProviderKind::Cpu,
            options: BTreeMap::new(),
        }
    }

    fn parse(value: &Value) -> Option<Self> {
        let Some(table) = value.as_table() else {
            return Some(Self {
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
        Some(Self {
            kind: Plain::read(table.get("name")?).ok()?,
            options: options.collect::<Option<_>>()?,
        })
    }

    fn to_value(&self) -> Option<Value> {
        let name = Plain::write(&self.kind)?;
        if self.options.is_empty() {
            return Some(name);
        }
        let options = self
            .options
            .iter()
            .map(|(key, text)| (key.clone(), Value::String(text.clone())))
            .collect();
        Some(Value::Table(Table::from_iter([
            ("name".into(), name),
            ("options".into(), Value::Table(options)),
        ])))
    }
}

/// Reads an option's value, which the providers take as text.
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
            list.and_then(|list| list.iter().map(Provider::parse).collect());
        let providers = providers.ok_or(
            "a list of \"cpu\", \"cuda\", \"tensorrt\" or { name = \"cuda\", options = { device_id = \"0\" } }",
        )?;
        let unreached = |(at, one): (usize, &Provider)| {
            providers[..at]
                .iter()
                .any(|before| before.kind == one.kind || before.kind == ProviderKind::Cpu)
        };
        if providers.iter().enumerate().any(unreached) {
            return Err("a list that names each provider once, \"cpu\" last: nothing after it is ever tried".into());
        }
        Ok(providers)
    }

    fn write(setting: &Vec<Provider>) -> Option<Value> {
        Some(Value::Array(
            setting.iter().filter_map(Provider::to_value).collect(),
        ))
    }
}
