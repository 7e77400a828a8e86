//! The client of the demonstration: sends payments, counts correct predictions,
//! and sends labels later.

use super::world::{Payment, World};
use super::{LATEST, MODEL};
use http::Method;
use ortus::client;
use ortus::core::error::{Error, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Rows of a request.
const REQUEST_ROWS: usize = 20;
/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(40);
/// Requests after which the label of a row is sent.
const LABEL_DELAY: usize = 10;

/// Counts of the stream so far.
#[derive(Default)]
pub(super) struct StreamTotals {
    pub rows: usize,
    pub lost: usize,
    /// Whether each of the last predictions was correct.
    pub latest: VecDeque<bool>,
    /// Rows and correct predictions of each version, before and after the change.
    pub versions: BTreeMap<(u64, bool), (usize, usize)>,
    pub last_id: String,
}

impl StreamTotals {
    pub(super) fn accuracy(&self) -> f64 {
        self.latest.iter().filter(|right| **right).count() as f64 / self.latest.len().max(1) as f64
    }

    pub(super) fn take(&mut self, version: u64, changed: bool, right: bool) {
        self.rows += 1;
        self.latest.push_back(right);
        if self.latest.len() > LATEST {
            self.latest.pop_front();
        }
        let count = self.versions.entry((version, changed)).or_default();
        count.0 += 1;
        count.1 += usize::from(right);
    }
}

/// A stream of payments, whose labels follow later.
pub(super) struct Stream {
    pub http: client::Http,
    pub world: World,
    pub seen: StreamTotals,
    pub unlabelled: VecDeque<(String, Vec<bool>)>,
}

impl Stream {
    /// Predicts some payments, and sends labels of older ones.
    pub(super) async fn step(&mut self) {
        let payments: Vec<Payment> = (0..REQUEST_ROWS).map(|_| self.world.payment()).collect();
        if self.predict(&payments).await.is_err() {
            self.seen.lost += 1;
        }
        if self.unlabelled.len() > LABEL_DELAY
            && let Some((id, frauds)) = self.unlabelled.pop_front()
        {
            self.send_labels(&id, &frauds).await;
        }

        tokio::time::sleep(PAUSE).await;
    }

    /// Sends the labels of a prediction; a failure is counted.
    async fn send_labels(&mut self, id: &str, frauds: &[bool]) {
        let labels: Vec<Value> = frauds
            .iter()
            .enumerate()
            .map(|(row, fraud)| {
                let label = if *fraud { "yes" } else { "no" };
                json!({"prediction_id": id, "row": row, "label": label})
            })
            .collect();
        let body = json!({"labels": labels}).to_string();
        let sent = self
            .http
            .send(Method::POST, "/v1/feedback", body.into())
            .await;
        if !sent.is_ok_and(|(status, ..)| status.is_success()) {
            self.seen.lost += 1;
        }
    }

    /// Predicts payments, and counts the correct predictions.
    async fn predict(&mut self, payments: &[Payment]) -> Result<()> {
        let inputs = [
            input(payments, "amount", "FP32", |p| p.amount.into()),
            input(payments, "hour", "FP32", |p| p.hour.into()),
            input(payments, "age", "FP32", |p| p.age.into()),
            input(payments, "country", "BYTES", |p| p.country.into()),
        ];

        let (headers, body) = self
            .http
            .infer(MODEL, "", json!({"inputs": inputs}).to_string().into())
            .await?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();

        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };

        let version = header("ortus-model-version").parse().unwrap_or(0);
        let labels = answer["outputs"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|o| o["name"] == "label");
        let labels: Vec<&str> = labels
            .and_then(|o| o["data"].as_array())
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if labels.len() != payments.len() || version == 0 {
            return Err(Error::internal("the response lacks labels or a version"));
        }

        let changed = self.world.has_changed;
        labels.iter().zip(payments).for_each(|(label, p)| {
            self.seen
                .take(version, changed, (*label == "yes") == p.fraud)
        });
        self.seen.last_id = header("ortus-prediction-id");
        self.unlabelled.push_back((
            self.seen.last_id.clone(),
            payments.iter().map(|p| p.fraud).collect(),
        ));
        Ok(())
    }
}

/// Returns an input tensor of a request, with one value for each payment.
fn input(payments: &[Payment], name: &str, kind: &str, value: fn(&Payment) -> Value) -> Value {
    let data: Vec<Value> = payments.iter().map(value).collect();
    json!({"name": name, "datatype": kind, "shape": [payments.len(), 1], "data": data})
}
