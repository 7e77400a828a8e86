//! The prediction for one row, as far as it is needed to compare it with a label, and the label.

#[cfg(test)]
mod tests;

use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::task::{Classification, Task};
use crate::core::tensor::Tensor;
use crate::observe::drift::layout::{ColumnPlace, ColumnValue, RowPart, Side, each_value};
use serde::{Deserialize, Serialize};

/// Most bytes of a label that is a string.
const LABEL_BYTES_MAX: usize = 256;

/// The prediction for one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowAnswer {
    /// The predicted class, and the score of each class.
    Class(u32, Vec<f32>),
    /// A predicted value.
    Value(f64),
}

/// The true class or value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Truth {
    /// Index of the class.
    Class(usize),
    /// The value.
    Value(f64),
}

/// A label as it was sent: a string, a number, or a boolean as a string.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Label {
    /// A number.
    Number(f64),
    /// A string.
    Word(String),
}

impl Label {
    /// Reads a label from JSON.
    pub(crate) fn of_json(value: &serde_json::Value) -> Result<Self> {
        match value {
            serde_json::Value::Bool(b) => Ok(Self::Word(b.to_string())),
            serde_json::Value::String(word) if word.len() > LABEL_BYTES_MAX => Err(Error::invalid(
                format!("the label is over {LABEL_BYTES_MAX} bytes"),
            )),
            serde_json::Value::String(word) => Ok(Self::Word(word.clone())),
            serde_json::Value::Number(number) => {
                let value = number.as_f64().filter(|v| v.is_finite());
                value
                    .map(Self::Number)
                    .ok_or_else(|| Error::invalid("label must be a finite number"))
            }
            _ => Err(Error::invalid(
                "label must be a number, a string or a boolean",
            )),
        }
    }

    /// Interprets the label for a task. Refuses a label of the wrong kind; the error says what is
    /// accepted.
    pub(crate) fn truth(&self, task: &Task) -> Result<Truth> {
        match (task, self) {
            (Task::Regression(_), Self::Number(value)) => Ok(Truth::Value(*value)),
            (Task::Regression(_), Self::Word(word)) => Err(Error::invalid(format!(
                "label must be a number, because the model predicts numbers; got '{}'",
                short(word)
            ))),
            (Task::Classification(task), label) => {
                let name = match label {
                    Self::Number(value) => value.to_string(),
                    Self::Word(word) => word.clone(),
                };
                task.class(&name).map(Truth::Class).ok_or_else(|| {
                    let classes = task.classes.join(", ");
                    Error::invalid(format!(
                        "label must be a class of the model, got '{}'; the classes are {}",
                        short(&name),
                        short(&classes)
                    ))
                })
            }
        }
    }
}

impl<'d> Deserialize<'d> for Label {
    fn deserialize<D: serde::Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Self::of_json(&value).map_err(serde::de::Error::custom)
    }
}

/// Reads the prediction of each row; none for a row whose scores are not numbers.
pub fn answers(task: &Task, outputs: &[Tensor]) -> Vec<Option<RowAnswer>> {
    match task {
        Task::Regression(at) => {
            let values = outputs
                .get(*at)
                .map(|tensor| column(tensor, *at, 0))
                .unwrap_or_default();
            values
                .into_iter()
                .map(|v| v.is_finite().then_some(RowAnswer::Value(v)))
                .collect()
        }
        Task::Classification(task) => classes(task, outputs),
    }
}

fn classes(task: &Classification, outputs: &[Tensor]) -> Vec<Option<RowAnswer>> {
    let Some(tensor) = outputs.get(task.scores) else {
        return Vec::new();
    };
    let width = if task.is_single {
        1
    } else {
        task.classes.len()
    };

    let columns: Vec<Vec<f64>> = (0..width)
        .map(|class| column(tensor, task.scores, class))
        .collect();
    let decided = task
        .label
        .and_then(|at| outputs.get(at).map(|tensor| words(tensor, at)));
    let row = |row: usize| {
        let scores: Vec<f32> = columns
            .iter()
            .filter_map(|c| c.get(row))
            .map(|v| *v as f32)
            .collect();
        let scores = if task.is_single {
            scores.first().map(|p| vec![1.0 - p, *p])?
        } else {
            scores
        };
        if scores.len() != task.classes.len() || scores.iter().any(|s| !s.is_finite()) {
            return None;
        }
        // Of equal scores the first one counts, as in ArgMax.
        let highest = (0..scores.len())
            .rev()
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))?;
        let named = decided
            .as_ref()
            .and_then(|words| task.class(words.get(row)?));
        Some(RowAnswer::Class(
            u32::try_from(named.unwrap_or(highest)).ok()?,
            scores,
        ))
    };

    (0..columns.first().map_or(0, Vec::len)).map(row).collect()
}

/// Returns a column of an output as numbers.
pub(super) fn column(tensor: &Tensor, at: usize, element: usize) -> Vec<f64> {
    let mut values = Vec::new();
    each_value(&place(tensor, at, element), tensor, |value| {
        values.push(value.number());
    });

    values
}

fn words(tensor: &Tensor, at: usize) -> Vec<String> {
    let mut words = Vec::new();
    each_value(&place(tensor, at, 0), tensor, |value| {
        words.push(match value {
            ColumnValue::Number(v) => v.to_string(),
            ColumnValue::Whole(v) => v.to_string(),
            ColumnValue::Word(word) => word.to_owned(),
        });
    });

    words
}

fn place(tensor: &Tensor, at: usize, element: usize) -> ColumnPlace {
    let (side, part) = (Side::Output, RowPart::Element(element));
    ColumnPlace {
        name: String::new(),
        side,
        tensor: at,
        part,
        dtype: tensor.dtype(),
    }
}
