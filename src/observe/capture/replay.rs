//! Replay of captured predictions: selects the files of a period and compares new outputs with the
//! captured ones. Sends nothing itself.

#[cfg(test)]
mod tests;

use super::file::{Captured, FILE_BYTES_MAX, FOLDER, folder, part};
use super::sweep::hour;
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::tensor::compare::{Tolerance, difference};
use crate::core::tensor::{DType, Data, Tensor};
use crate::storage::layout::Records;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use half::{bf16, f16};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What of the store is asked again.
#[derive(Clone, Debug)]
pub struct Window {
    /// Name of the model.
    pub model: ModelName,
    /// Only what this version answered.
    pub version: Option<u64>,
    /// First time that is included.
    pub from: DateTime<Utc>,
    /// First time that is left out.
    pub to: DateTime<Utc>,
}

impl Window {
    /// The files that may hold predictions of it, the oldest first.
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

    /// Whether a prediction is of it.
    pub(crate) fn holds(&self, time: DateTime<Utc>) -> bool {
        self.from <= time && time < self.to
    }
}

/// Reads a file of the store; none where it was swept meanwhile.
pub(crate) async fn open(records: &Records, key: &str) -> Result<Option<Captured>> {
    let Some(bytes) = records.get(key, FILE_BYTES_MAX).await? else {
        return Ok(None);
    };
    Captured::read(bytes).map(Some).map_err(|e| e.context(key))
}

/// What the answers to a replay come to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Comparison {
    /// Requests sent, and those that were answered the same, otherwise, or not at all.
    pub sent: u64,
    pub same: u64,
    pub different: u64,
    pub failed: u64,
    /// Requests that cannot be sent again: something of them was left out.
    pub skipped: u64,
    pub outputs: BTreeMap<String, Output>,
    /// The first few differences and failures, in words.
    pub examples: Vec<String>,
    #[serde(skip)]
    times_us: Vec<u64>,
}

/// One output of all the answers.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Output {
    pub different: u64,
    /// The largest difference of two numbers, and the mean over all numbers.
    pub difference_max: f64,
    pub difference_mean: f64,
    #[serde(skip)]
    numbers: u64,
}

/// Examples that are told.
const EXAMPLES_MAX: usize = 10;

impl Comparison {
    /// Counts an answer beside the one that was captured.
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
            if let Some(how) = difference(new, old, Tolerance::of(old.dtype())) {
                output.different += 1;
                first.get_or_insert(format!("{id}: output '{name}' is {how}"));
            }
        }

        match first {
            None => self.same += 1,
            Some(how) => {
                self.different += 1;
                self.tell(how);
            }
        }
    }

    /// Counts a request that was not answered.
    pub(crate) fn failed(&mut self, id: &str, error: &Error) {
        self.sent += 1;
        self.failed += 1;
        self.tell(format!("{id}: {error}"));
    }

    /// Counts a request that cannot be sent again.
    pub(crate) fn skipped(&mut self, id: &str, error: &Error) {
        self.skipped += 1;
        self.tell(format!("{id}: {error}"));
    }

    fn tell(&mut self, example: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }

    /// A quantile of the times of the answers, in microseconds.
    pub(crate) fn time_us(&mut self, share: f64) -> u64 {
        self.times_us.sort_unstable();
        let last = self.times_us.len().saturating_sub(1);
        self.times_us
            .get((share * last as f64).round() as usize)
            .copied()
            .unwrap_or(0)
    }
}

impl Output {
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

/// Numbers that have a distance.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    let Data::Fixed(bytes) = tensor.data() else {
        return Vec::new();
    };
    match tensor.dtype() {
        DType::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b).into())
            .collect(),
        DType::F64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b))
            .collect(),
        DType::F16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).into())
            .collect(),
        DType::BF16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).into())
            .collect(),
        DType::I64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b) as f64)
            .collect(),
        DType::I32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| i32::from_le_bytes(*b).into())
            .collect(),
        _ => Vec::new(),
    }
}
