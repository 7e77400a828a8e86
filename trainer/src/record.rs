//! The record of a run: key, data, split, gates, metrics and settings. Written by
//! the pipeline and by the sweep, read by the history, the pages and the commands.
//!
//! Fields stand in alphabetical order, because records have always been written
//! that way. A field that a run does not reach is absent; one that it reached
//! without a value is null. Both survive reading and writing.

use crate::command::Code;
use crate::data::DataManifest;
use crate::gate::{Gate, Verdict};
use crate::parity::Parity;
use crate::split::SplitSummary;
use ortus::observe::drift::compare::training::RowsDifference;
use ortus::observe::quality::measure::Measures;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A field of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum RecordField<T> {
    /// The record does not have the field.
    #[default]
    Absent,
    /// The record has the field, without a value.
    Null,
    Value(T),
}

impl<T> RecordField<T> {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Returns the value, if there is one.
    pub(crate) fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Returns the field with null in place of an absent one.
    pub(crate) fn or_null(self) -> Self {
        match self {
            Self::Absent => Self::Null,
            field => field,
        }
    }
}

impl<T> From<T> for RecordField<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<T> From<Option<T>> for RecordField<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::Value)
    }
}

impl<T: Serialize> Serialize for RecordField<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for RecordField<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.into())
    }
}

/// Everything about a run. Records of earlier versions may have other fields,
/// which are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunRecord {
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub algorithm: RecordField<String>,
    /// The champion's metrics on the same test rows.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub champion_metrics: RecordField<MetricValues>,
    /// The files of the training program.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub code: RecordField<Vec<Code>>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub companion: RecordField<CompanionSummary>,
    /// The mean size of what each feature contributes to the scores of test rows, the largest first.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub contributions: RecordField<Vec<Importance>>,
    /// The loss on the stopping rows after rounds.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub curve: RecordField<Vec<(usize, f64)>>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub data: RecordField<DataManifest>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub data_digest: RecordField<String>,
    /// Why the run ended before its verdict.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub error: RecordField<String>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub gates: RecordField<Vec<Gate>>,
    /// Why the version waits for a person, although its policy would give it traffic.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub held: RecordField<String>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub importances: RecordField<Vec<Importance>>,
    /// The mean loss of a trial of a sweep.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub loss: RecordField<f64>,
    /// The measure of a trial's loss.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub measure: RecordField<String>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub metrics: RecordField<MetricValues>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub model: RecordField<String>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub notes: RecordField<Vec<String>>,
    /// What the fit minimised, if it was chosen.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub objective: RecordField<String>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub origins: RecordField<Vec<OriginSummary>>,
    /// The metrics that a training program reported.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub own_metrics: RecordField<MetricValues>,
    /// The version of the champion that the model was compared with.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub parent: RecordField<u64>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub parity: RecordField<Parity>,
    /// Of two classes, the one that precision, recall, curves and log odds are about.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub positive: RecordField<String>,
    /// Why a due run was skipped, why nothing was published, or why the record is short.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub reason: RecordField<String>,
    /// How the rows differ from those of the champion, what looks like a fault first.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub rows_changed: RecordField<Vec<RowsDifference>>,
    /// The digest of the rows, whenever they were read.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub rows_digest: RecordField<String>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub run: RecordField<String>,
    /// The last output of the training program.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub said: RecordField<String>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub seed: RecordField<u32>,
    /// The specification in its canonical form.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub spec: RecordField<String>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub split: RecordField<SplitSummary>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub trainer: RecordField<String>,
    /// Why the run was started.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub trigger: RecordField<String>,
    /// The settings of a trial.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub values: RecordField<Map<String, Value>>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub verdict: RecordField<Verdict>,
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub version: RecordField<u64>,
    /// Whether the version waits for approvals.
    #[serde(skip_serializing_if = "RecordField::is_absent")]
    pub waiting: RecordField<bool>,
}

/// Metrics that are shown before the others, which follow by name.
const FIRST_METRICS: [&str; 9] = [
    "log_loss",
    "average_precision",
    "auc",
    "poisson_deviance",
    "tweedie_deviance",
    "pinball_loss",
    "coverage",
    "ndcg_at_10",
    "ndcg_at_5",
];

impl RunRecord {
    /// Returns the key of the run; empty if the run did not get one.
    pub(crate) fn key(&self) -> &str {
        self.run.value().map_or("", String::as_str)
    }

    /// Makes the record of a run that was skipped.
    pub(crate) fn skipped(reason: String) -> Self {
        Self {
            reason: reason.into(),
            ..Self::default()
        }
    }

    /// Returns the part of a record that is stored if the whole is too large.
    pub(crate) fn shortened(&self) -> Self {
        Self {
            reason: "the record is too large to be stored".to_owned().into(),
            run: self.run.clone().or_null(),
            spec: self.spec.clone().or_null(),
            verdict: self.verdict.clone().or_null(),
            version: self.version.clone().or_null(),
            ..Self::default()
        }
    }

    pub(crate) fn gates(&self) -> &[Gate] {
        self.gates.value().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn importances(&self) -> &[Importance] {
        self.importances.value().map_or(&[], Vec::as_slice)
    }

    /// Says how the rows differ from those of the champion; nothing if they do not.
    pub(crate) fn rows_changed(&self) -> Vec<String> {
        let all = self.rows_changed.value().into_iter().flatten();
        let said = all.map(|difference| match difference.is_suspect {
            true => format!("{}, which looks like a fault", difference.text),
            false => difference.text.clone(),
        });
        said.collect()
    }

    pub(crate) fn notes(&self) -> &[String] {
        self.notes.value().map_or(&[], Vec::as_slice)
    }

    /// Returns the metrics of the test rows, by name: first those that see a rare class.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = (&str, f64)> {
        let all = self.metrics.value().into_iter();
        let mut all: Vec<(&str, f64)> = all.flat_map(MetricValues::iter).collect();
        let place = |name: &str| FIRST_METRICS.iter().position(|first| *first == name);
        all.sort_by_key(|(name, _)| place(name).unwrap_or(FIRST_METRICS.len()));
        all.into_iter()
    }

    /// Returns the rows of the parts of the split: train, stop, test.
    pub(crate) fn split_rows(&self) -> String {
        self.split.value().map_or_else(
            || "-, -, -".to_owned(),
            |split| format!("{}, {}, {}", split.train, split.stop, split.test),
        )
    }

    /// Returns the algorithm, with what the fit minimised if it was chosen.
    pub(crate) fn algorithm_and_objective(&self) -> String {
        let algorithm = text_of(&self.algorithm);
        match self.objective.value() {
            Some(objective) => format!("{algorithm}, objective {objective}"),
            None => algorithm,
        }
    }

    /// Returns how the rows were split.
    pub(crate) fn split_by(&self) -> String {
        self.split
            .value()
            .map_or_else(|| "-".to_owned(), |split| split.by.clone())
    }
}

/// Formats a field for a person: its value, or a dash.
pub(crate) fn text_of<T: ToString>(field: &RecordField<T>) -> String {
    field
        .value()
        .map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// Metrics by name. JSON has no infinity and no NaN, so null stands for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct MetricValues(BTreeMap<String, f64>);

impl MetricValues {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

impl From<&Measures> for MetricValues {
    fn from(measures: &Measures) -> Self {
        let owned = measures.iter().map(|(name, v)| ((*name).to_owned(), *v));
        Self(owned.collect())
    }
}

impl From<BTreeMap<String, f64>> for MetricValues {
    fn from(metrics: BTreeMap<String, f64>) -> Self {
        Self(metrics)
    }
}

impl<'de> Deserialize<'de> for MetricValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
        let all = all
            .into_iter()
            .map(|(name, v)| (name, v.unwrap_or(f64::NAN)));
        Ok(Self(all.collect()))
    }
}

/// How much a feature contributes: its name and its share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Importance(
    pub String,
    #[serde(deserialize_with = "number_or_nan")] pub f64,
);

/// The errors that the companion model predicts for the test rows, beside the
/// errors that the model makes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CompanionSummary {
    #[serde(deserialize_with = "number_or_nan")]
    pub estimated_mae: f64,
    #[serde(deserialize_with = "number_or_nan")]
    pub mae: f64,
    /// The rows that it learned from.
    pub rows: usize,
}

/// The model of an earlier origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OriginSummary {
    pub metrics: MetricValues,
    pub test: usize,
    pub train: usize,
}

/// Reads a number; null stands for one that JSON does not have.
pub(crate) fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests;
