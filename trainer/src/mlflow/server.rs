//! A client of an MLflow tracking server: its REST interface, version 2.0.

use super::{BATCH_MAX, TrackedRun};
use ortus::core::error::{Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A tracking server.
pub(crate) struct TrackingServer {
    client: reqwest::Client,
    address: String,
}

impl TrackingServer {
    pub(super) fn new(address: &str) -> Result<Self> {
        // Two parts of the program may initialise it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(30))
            .build();
        Ok(Self {
            client: client.map_err(|e| Error::internal("build MLflow's client").with_source(e))?,
            address: address.trim_end_matches('/').to_owned(),
        })
    }

    /// Logs a run; returns its MLflow id.
    pub(super) async fn log(&self, run: &TrackedRun) -> Result<String> {
        let experiment = self.experiment(&run.experiment).await?;
        let id = self.create_run(&experiment, run).await?;

        for params in pairs(&run.params).chunks(BATCH_MAX) {
            self.post("runs/log-batch", &json!({"run_id": id, "params": params}))
                .await?;
        }
        let metrics = run.metrics.iter();
        let metrics: Vec<Value> = metrics
            .map(|(key, value)| json!({"key": key, "value": value, "timestamp": run.ended, "step": 0}))
            .collect();
        for metrics in metrics.chunks(BATCH_MAX) {
            self.post("runs/log-batch", &json!({"run_id": id, "metrics": metrics}))
                .await?;
        }

        let status = if run.has_failed { "FAILED" } else { "FINISHED" };
        let update = json!({"run_id": id, "status": status, "end_time": run.ended});
        self.post("runs/update", &update).await?;
        Ok(id)
    }

    /// Returns the id of the experiment of a name, and creates it if there is none.
    async fn experiment(&self, name: &str) -> Result<String> {
        if let Some(id) = self.known_experiment(name).await? {
            return Ok(id);
        }
        match self
            .post("experiments/create", &json!({"name": name}))
            .await
        {
            Ok(made) => Ok(text(&made, "/experiment_id").unwrap_or_default()),
            // Another process may have created it first.
            Err(error) => self.known_experiment(name).await?.ok_or(error),
        }
    }

    async fn known_experiment(&self, name: &str) -> Result<Option<String>> {
        let encoded =
            percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let find = format!("experiments/get-by-name?experiment_name={encoded}");
        let (_, answer) = self.call(&find, None).await?;
        Ok(text(&answer, "/experiment/experiment_id"))
    }

    async fn create_run(&self, experiment: &str, run: &TrackedRun) -> Result<String> {
        let create = json!({
            "experiment_id": experiment,
            "start_time": run.began,
            "run_name": run.name,
            "tags": pairs(&run.tags),
        });
        let made = self.post("runs/create", &create).await?;
        Ok(text(&made, "/run/info/run_id").unwrap_or_default())
    }

    /// Calls a method that changes something. Refuses every status but 200.
    async fn post(&self, method: &str, body: &Value) -> Result<Value> {
        match self.call(method, Some(body)).await? {
            (200, answer) => Ok(answer),
            (status, answer) => {
                let why = answer["message"].as_str().unwrap_or_default();
                let why = &why[..why.floor_char_boundary(200)];
                Err(Error::unavailable(format!(
                    "the MLflow server answers {status} to {method}: {why}"
                )))
            }
        }
    }

    async fn call(&self, method: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let url = format!("{}/api/2.0/mlflow/{method}", self.address);
        let request = match body {
            Some(body) => self
                .client
                .post(&url)
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => self.client.get(&url),
        };

        let answer = request.send().await.map_err(unanswered)?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(unanswered)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

fn unanswered(error: reqwest::Error) -> Error {
    Error::unavailable("the MLflow server does not answer").with_source(error.without_url())
}

/// Parameters or tags, as MLflow takes them.
fn pairs(all: &BTreeMap<String, String>) -> Vec<Value> {
    let pairs = all.iter();
    pairs
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect()
}

fn text(answer: &Value, pointer: &str) -> Option<String> {
    Some(answer.pointer(pointer)?.as_str()?.to_owned())
}
