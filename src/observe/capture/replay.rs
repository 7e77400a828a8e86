//! Replay of captured predictions: selects the files of a period and compares new outputs with the
//! captured ones. Sends nothing itself.

#[cfg(test)]
mod tests;

use super::file::{Captured, FILE_BYTES_MAX, FOLDER, folder, part};
use super::sweep::hour;
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::tensor::compare::{Tolerance, difference};
use crate::core::tensor::{DType, Data, Tensor, read_all};
use crate::storage::layout::Records;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Which captured predictions are sent again.
#[derive(Clone, Debug)]
pub struct Window {
    /// Name of the model.
    pub model: ModelName,
    /// Only predictions of this version.
    pub version: Option<u64>,
    /// Start of the period.
    pub from: DateTime<Utc>,
    /// End of the period, which is not part of it.
    pub to: DateTime<Utc>,
}

impl Window {
    /// Lists the files that may hold such predictions, the oldest first.
    pub async fn files(&self, records: &Records) -> Result<Vec<String>> {
        let listed: Vec<(String, _)> = records
            .list(&folder(self.model.as_str(), None))
            .try_collect()
            .await?;
        let wanted = |key: &String| {
            let of_version = self
                .version
                .is_none_or(|v| part(key, "version") == Some(&v.to_string()));
            let in_time = hour(key)
                .is_some_and(|hour| hour < self.to && hour + TimeDelta::hours(1) > self.from);
            of_version && in_time && key.starts_with(FOLDER)
        };

        let mut keys: Vec<String> = listed
            .into_iter()
            .map(|(key, _)| key)
            .filter(wanted)
            .collect();
        keys.sort_by(|a, b| (hour(a), a).cmp(&(hour(b), b)));

        Ok(keys)
    }

    /// Tells whether a prediction is selected.
    pub(crate) fn holds(&self, time: DateTime<Utc>) -> bool {
        self.from <= time && time < self.to
    }
}

/// Reads a file of the store; none if it was deleted meanwhile.
pub(crate) async fn open(records: &Records, key: &str) -> Result<Option<Captured>> {
    let Some(bytes) = records.get(key, FILE_BYTES_MAX).await? else {
        return Ok(None);
    };
    Captured::read(bytes).map(Some).map_err(|e| e.context(key))
}

/// The result of a replay.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ReplayComparison {
    /// Requests sent, and those with the same outputs, with different outputs, and without an
    /// answer.
    pub sent: u64,
    pub same: u64,
    pub different: u64,
    pub failed: u64,
    /// Requests that cannot be sent again, because a column was dropped or hashed.
    pub skipped: u64,
    pub outputs: BTreeMap<String, ReplayedOutput>,
    /// The first differences and failures, as text.
    pub examples: Vec<String>,
    #[serde(skip)]
    times_us: Vec<u64>,
}

/// One output, over all requests.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ReplayedOutput {
    pub different: u64,
    /// The largest difference of two numbers, and the mean difference.
    pub difference_max: f64,
    pub difference_mean: f64,
    #[serde(skip)]
    numbers: u64,
}

/// Most examples.
const EXAMPLES_MAX: usize = 10;

impl ReplayComparison {
    /// Compares an answer with the captured one, and counts it.
    pub(crate) fn answered(
        &mut self,
        id: &str,
        old: &[(String, Tensor)],
        new: &[(String, Tensor)],
        took: Duration,
    ) {
        self.sent += 1;
        self.times_us
            .push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let mut first = None;
        for (name, old) in old {
            let output = self.outputs.entry(name.clone()).or_default();
            let Some((_, new)) = new.iter().find(|(n, _)| n == name) else {
                output.different += 1;
                first.get_or_insert(format!("{id}: output '{name}' is missing"));
                continue;
            };
            output.measure(old, new);
            if let Some(how) = difference(new, old, Tolerance::for_datatype(old.dtype())) {
                output.different += 1;
                first.get_or_insert(format!("{id}: output '{name}' is {how}"));
            }
        }

        match first {
            None => self.same += 1,
            Some(how) => {
                self.different += 1;
                self.add_example(how);
            }
        }
    }

    /// Counts a request without an answer.
    pub(crate) fn failed(&mut self, id: &str, error: &Error) {
        self.sent += 1;
        self.failed += 1;
        self.add_example(format!("{id}: {error}"));
    }

    /// Counts a request that cannot be sent again.
    pub(crate) fn skipped(&mut self, id: &str, error: &Error) {
        self.skipped += 1;
        self.add_example(format!("{id}: {error}"));
    }

    fn add_example(&mut self, example: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }

    /// Returns a quantile of the durations, in microseconds.
    pub(crate) fn time_us(&mut self, share: f64) -> u64 {
        self.times_us.sort_unstable();
        let last = self.times_us.len().saturating_sub(1);
        self.times_us
            .get((share * last as f64).round() as usize)
            .copied()
            .unwrap_or(0)
    }
}

impl ReplayedOutput {
    fn measure(&mut self, old: &Tensor, new: &Tensor) {
        if old.dtype() != new.dtype() || old.shape() != new.shape() {
            return;
        }
        for (a, b) in numbers(old).into_iter().zip(numbers(new)) {
            let apart = (a - b).abs();
            self.numbers += 1;
            if apart.is_finite() {
                self.difference_max = self.difference_max.max(apart);
                self.difference_mean += (apart - self.difference_mean) / self.numbers as f64;
            }
        }
    }
}

/// Returns the values as numbers, if they are numbers.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    let Data::Fixed(bytes) = tensor.data() else {
        return Vec::new();
    };
    match tensor.dtype() {
        DType::I64 => read_all(bytes, |b| i64::from_le_bytes(b) as f64),
        DType::I32 => read_all(bytes, |b| i32::from_le_bytes(b).into()),
        _ => tensor.floats().unwrap_or_default(),
    }
}
