//! Logs a run to MLflow: as the files of MLflow's client, or over the REST API of a
//! tracking server. Reads nothing but the id of the experiment.

use ortus::core::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The longest parameter value of MLflow.
const PARAM_BYTES_MAX: usize = 6_000;
/// The most metrics, parameters and tags of one request.
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
    Server(reqwest::Client, String),
}

impl Tracking {
    /// Parses an address: a folder, `file:///path`, or `http(s)://server`.
    pub(crate) fn open(address: &str) -> Result<Self> {
        match address.split_once("://") {
            None => Ok(Self::Folder(PathBuf::from(address))),
            Some(("file", path)) => Ok(Self::Folder(PathBuf::from(path))),
            #[cfg(feature = "cloud")]
            Some(("http" | "https", _)) => {
                // Two parts of the program may initialise it.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let client = reqwest::Client::builder()
                    .timeout(std::time::Duration::from_secs(30))
                    .build();
                let client =
                    client.map_err(|e| Error::internal("build MLflow's client").with_source(e))?;
                Ok(Self::Server(
                    client,
                    address.trim_end_matches('/').to_owned(),
                ))
            }
            Some((scheme, _)) => Err(Error::invalid(format!(
                "MLflow is told in a folder, or at http:// or https://, not at {}://",
                ortus::core::error::short(scheme)
            ))),
        }
    }

    /// Logs a run; returns its MLflow id.
    pub(crate) async fn tell(&self, told: &TrackedRun) -> Result<String> {
        let told = told.legal();
        match self {
            Self::Folder(folder) => write(folder, &told).map_err(|e| {
                Error::unavailable(format!("write MLflow's files to {}", folder.display()))
                    .with_source(e)
            }),
            #[cfg(feature = "cloud")]
            Self::Server(client, server) => server::tell(client, server, &told).await,
        }
    }
}

impl TrackedRun {
    /// Adapts the run to MLflow's limits: names of letters, digits and a few signs,
    /// short values, finite numbers.
    fn legal(&self) -> Self {
        fn names<T: Clone>(all: &BTreeMap<String, T>) -> BTreeMap<String, T> {
            let legal = |c: char| {
                if c.is_ascii_alphanumeric() || "_-. ".contains(c) {
                    c
                } else {
                    '_'
                }
            };

            // Names of dots alone are not file names.
            let name = |name: &String| {
                name.trim_start_matches('.')
                    .chars()
                    .map(legal)
                    .take(250)
                    .collect::<String>()
            };

            let all = all.iter().map(|(key, value)| (name(key), value.clone()));
            all.filter(|(key, _)| !key.is_empty()).collect()
        }
        let cut = |text: &String| text[..text.floor_char_boundary(PARAM_BYTES_MAX)].to_owned();
        let mut told = Self {
            params: names(&self.params),
            metrics: names(&self.metrics),
            ..self.clone()
        };

        told.params
            .values_mut()
            .for_each(|value| *value = cut(value));
        told.metrics.retain(|_, value| value.is_finite());
        told
    }
}

/// Quotes text for YAML.
fn quoted(text: &str) -> String {
    // A JSON string is a YAML string.
    serde_json::Value::String(text.to_owned()).to_string()
}

/// Writes a run in the layout of MLflow's client.
fn write(root: &Path, told: &TrackedRun) -> std::io::Result<String> {
    let experiment = experiment(root, told)?;
    let folder = root.join(&experiment);
    let run = uuid::Uuid::new_v4().simple().to_string();
    // Renamed into place, so that it appears whole.
    let staged = folder.join(format!(".{run}"));
    for part in ["metrics", "params", "tags", "artifacts"] {
        std::fs::create_dir_all(staged.join(part))?;
    }
    for (name, value) in &told.params {
        std::fs::write(staged.join("params").join(name), value)?;
    }
    for (name, value) in &told.metrics {
        std::fs::write(
            staged.join("metrics").join(name),
            format!("{} {value} 0\n", told.ended),
        )?;
    }

    for (name, value) in told
        .tags
        .iter()
        .chain([(&"mlflow.runName".to_owned(), &told.name)])
    {
        std::fs::write(staged.join("tags").join(name), value)?;
    }

    let artifacts = folder.join(&run).join("artifacts");
    let artifacts = std::path::absolute(artifacts)?;
    let status = if told.has_failed { 4 } else { 3 };
    let mut meta = String::new();
    let _ = write!(
        meta,
        "artifact_uri: {}\nend_time: {}\nentry_point_name: ''\nexperiment_id: {}\nlifecycle_stage: active\nrun_id: {run}\n\
         run_name: {}\nrun_uuid: {run}\nsource_name: ortus-trainer\nsource_type: 4\nsource_version: ''\nstart_time: {}\n\
         status: {status}\ntags: []\nuser_id: ''\n",
        quoted(&format!("file://{}", artifacts.display())),
        told.ended,
        quoted(&experiment),
        quoted(&told.name),
        told.began
    );

    std::fs::write(staged.join("meta.yaml"), meta)?;
    std::fs::rename(&staged, folder.join(&run))?;
    Ok(run)
}

/// Finds the experiment of a name, or creates it.
fn experiment(root: &Path, told: &TrackedRun) -> std::io::Result<String> {
    std::fs::create_dir_all(root)?;
    let line = format!("name: {}", quoted(&told.experiment));
    let bare = format!("name: {}", told.experiment);
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
    let digest = ortus::core::hash::Digest::of(told.experiment.as_bytes());
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
        told.began
    );

    let staged = folder.join(".meta.yaml");
    std::fs::write(&staged, meta)?;
    std::fs::rename(staged, folder.join("meta.yaml"))?;
    Ok(id)
}

#[cfg(feature = "cloud")]
mod server {
    //! The REST interface, version 2.0.

    use super::{BATCH_MAX, TrackedRun};
    use ortus::core::error::{Error, Result};
    use serde_json::{Value, json};

    async fn call(
        client: &reqwest::Client,
        server: &str,
        what: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let url = format!("{server}/api/2.0/mlflow/{what}");
        let request = match body {
            Some(body) => client
                .post(&url)
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => client.get(&url),
        };

        let lost = |e: reqwest::Error| {
            Error::unavailable("the MLflow server does not answer").with_source(e.without_url())
        };
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(lost)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    async fn does(
        client: &reqwest::Client,
        server: &str,
        what: &str,
        body: &Value,
    ) -> Result<Value> {
        match call(client, server, what, Some(body)).await? {
            (200, answer) => Ok(answer),
            (status, answer) => {
                let why = answer["message"].as_str().unwrap_or_default();
                let why = &why[..why.floor_char_boundary(200)];
                Err(Error::unavailable(format!(
                    "MLflow's server answers {status} to {what}: {why}"
                )))
            }
        }
    }

    pub(super) async fn tell(
        client: &reqwest::Client,
        server: &str,
        told: &TrackedRun,
    ) -> Result<String> {
        let name: String = percent_encoding::utf8_percent_encode(
            &told.experiment,
            percent_encoding::NON_ALPHANUMERIC,
        )
        .collect();

        let find = format!("experiments/get-by-name?experiment_name={name}");
        let known = |answer: &Value| {
            answer
                .pointer("/experiment/experiment_id")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };

        let experiment = match known(&call(client, server, &find, None).await?.1) {
            Some(id) => id,
            None => {
                let made = does(
                    client,
                    server,
                    "experiments/create",
                    &json!({"name": told.experiment}),
                )
                .await;
                match made {
                    Ok(made) => made["experiment_id"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                    // Another process may have created it first.
                    Err(error) => {
                        known(&call(client, server, &find, None).await?.1).ok_or(error)?
                    }
                }
            }
        };

        let tags: Vec<Value> = told
            .tags
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        let create = json!({"experiment_id": experiment, "start_time": told.began, "run_name": told.name, "tags": tags});

        let made = does(client, server, "runs/create", &create).await?;
        let run = made
            .pointer("/run/info/run_id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let params: Vec<Value> = told
            .params
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        let metrics: Vec<Value> = told
            .metrics
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value, "timestamp": told.ended, "step": 0}))
            .collect();
        for params in params.chunks(BATCH_MAX) {
            does(
                client,
                server,
                "runs/log-batch",
                &json!({"run_id": run, "params": params}),
            )
            .await?;
        }

        for metrics in metrics.chunks(BATCH_MAX) {
            does(
                client,
                server,
                "runs/log-batch",
                &json!({"run_id": run, "metrics": metrics}),
            )
            .await?;
        }

        let status = if told.has_failed {
            "FAILED"
        } else {
            "FINISHED"
        };

        does(
            client,
            server,
            "runs/update",
            &json!({"run_id": run, "status": status, "end_time": told.ended}),
        )
        .await?;

        Ok(run)
    }
}
