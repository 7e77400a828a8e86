//! Logs a run to MLflow: as the files of MLflow's client, or over the REST API of a
//! tracking server. Reads nothing but the id of the experiment.

#[cfg(feature = "cloud")]
mod server;

use ortus::core::error::{Error, Result};
#[cfg(feature = "cloud")]
use server::TrackingServer;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The longest parameter value of MLflow.
const PARAM_BYTES_MAX: usize = 6_000;
/// The longest name of a parameter or metric.
const NAME_CHARS_MAX: usize = 250;
/// The most metrics, parameters and tags of one request.
#[cfg(feature = "cloud")]
const BATCH_MAX: usize = 100;

/// A run in MLflow's terms.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrackedRun {
    pub experiment: String,
    pub name: String,
    /// Milliseconds since 1970.
    pub began: i64,
    pub ended: i64,
    pub has_failed: bool,
    pub params: BTreeMap<String, String>,
    pub metrics: BTreeMap<String, f64>,
    pub tags: BTreeMap<String, String>,
}

/// The place of MLflow's runs.
pub(crate) enum Tracking {
    Folder(PathBuf),
    #[cfg(feature = "cloud")]
    Server(TrackingServer),
}

impl Tracking {
    /// Parses an address: a folder, `file:///path`, or `http(s)://server`.
    pub(crate) fn open(address: &str) -> Result<Self> {
        match address.split_once("://") {
            None => Ok(Self::Folder(PathBuf::from(address))),
            Some(("file", path)) => Ok(Self::Folder(PathBuf::from(path))),
            #[cfg(feature = "cloud")]
            Some(("http" | "https", _)) => Ok(Self::Server(TrackingServer::new(address)?)),
            Some((scheme, _)) => Err(Error::invalid(format!(
                "'{}://' is not an address of MLflow; accepted are a folder, file://, http:// and https://",
                ortus::core::error::short(scheme)
            ))),
        }
    }

    /// Logs a run; returns its MLflow id.
    pub(crate) async fn log(&self, run: &TrackedRun) -> Result<String> {
        let run = run.within_limits();
        match self {
            Self::Folder(folder) => write(folder, &run).map_err(|e| {
                Error::unavailable(format!("write MLflow's files to {}", folder.display()))
                    .with_source(e)
            }),
            #[cfg(feature = "cloud")]
            Self::Server(server) => server.log(&run).await,
        }
    }
}

impl TrackedRun {
    /// Adapts the run to MLflow's limits: legal names, short values, finite numbers.
    fn within_limits(&self) -> Self {
        let mut run = Self {
            params: with_legal_names(&self.params),
            metrics: with_legal_names(&self.metrics),
            ..self.clone()
        };
        for value in run.params.values_mut() {
            value.truncate(value.floor_char_boundary(PARAM_BYTES_MAX));
        }
        run.metrics.retain(|_, value| value.is_finite());
        run
    }
}

fn with_legal_names<T: Clone>(all: &BTreeMap<String, T>) -> BTreeMap<String, T> {
    let named = all
        .iter()
        .map(|(name, value)| (legal_name(name), value.clone()));
    named.filter(|(name, _)| !name.is_empty()).collect()
}

/// Replaces all but letters, digits and a few signs. A name of dots alone, which
/// is no file name, becomes empty.
fn legal_name(name: &str) -> String {
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || "_-. ".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name = name.trim_start_matches('.').chars();
    name.map(legal).take(NAME_CHARS_MAX).collect()
}

/// Quotes text for YAML.
fn quoted(text: &str) -> String {
    // A JSON string is a YAML string.
    serde_json::Value::String(text.to_owned()).to_string()
}

/// Writes a run in the layout of MLflow's client.
fn write(root: &Path, run: &TrackedRun) -> std::io::Result<String> {
    let experiment = experiment(root, run)?;
    let folder = root.join(&experiment);
    let id = uuid::Uuid::new_v4().simple().to_string();
    // Renamed into place, so that it appears whole.
    let staged = folder.join(format!(".{id}"));
    for part in ["metrics", "params", "tags", "artifacts"] {
        std::fs::create_dir_all(staged.join(part))?;
    }
    for (name, value) in &run.params {
        std::fs::write(staged.join("params").join(name), value)?;
    }
    for (name, value) in &run.metrics {
        std::fs::write(
            staged.join("metrics").join(name),
            format!("{} {value} 0\n", run.ended),
        )?;
    }

    for (name, value) in run
        .tags
        .iter()
        .chain([(&"mlflow.runName".to_owned(), &run.name)])
    {
        std::fs::write(staged.join("tags").join(name), value)?;
    }

    let artifacts = folder.join(&id).join("artifacts");
    let artifacts = std::path::absolute(artifacts)?;
    let status = if run.has_failed { 4 } else { 3 };
    let mut meta = String::new();
    let _ = write!(
        meta,
        "artifact_uri: {}\nend_time: {}\nentry_point_name: ''\nexperiment_id: {}\nlifecycle_stage: active\nrun_id: {id}\n\
         run_name: {}\nrun_uuid: {id}\nsource_name: ortus-trainer\nsource_type: 4\nsource_version: ''\nstart_time: {}\n\
         status: {status}\ntags: []\nuser_id: ''\n",
        quoted(&format!("file://{}", artifacts.display())),
        run.ended,
        quoted(&experiment),
        quoted(&run.name),
        run.began
    );

    std::fs::write(staged.join("meta.yaml"), meta)?;
    std::fs::rename(&staged, folder.join(&id))?;
    Ok(id)
}

/// Finds the experiment of a name, or creates it.
fn experiment(root: &Path, run: &TrackedRun) -> std::io::Result<String> {
    std::fs::create_dir_all(root)?;
    let line = format!("name: {}", quoted(&run.experiment));
    let bare = format!("name: {}", run.experiment);
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let meta = std::fs::read_to_string(entry.path().join("meta.yaml")).unwrap_or_default();
        if meta.lines().any(|l| l == line || l == bare)
            && let Some(id) = entry.file_name().to_str()
        {
            return Ok(id.to_owned());
        }
    }

    // MLflow's ids are numbers; this one follows from the name.
    let digest = ortus::core::hash::Digest::of(run.experiment.as_bytes());
    let number = digest
        .0
        .iter()
        .take(7)
        .fold(0_u64, |n, b| n << 8 | u64::from(*b));
    let id = format!("{}", 100_000_000_000_000_000 + number);

    let folder = root.join(&id);
    std::fs::create_dir_all(&folder)?;
    let place = std::path::absolute(&folder)?;
    let meta = format!(
        "artifact_location: {}\ncreation_time: {2}\nexperiment_id: '{id}'\nlast_update_time: {2}\nlifecycle_stage: active\n{1}\n",
        quoted(&format!("file://{}", place.display())),
        line,
        run.began
    );

    let staged = folder.join(".meta.yaml");
    std::fs::write(&staged, meta)?;
    std::fs::rename(staged, folder.join("meta.yaml"))?;
    Ok(id)
}
