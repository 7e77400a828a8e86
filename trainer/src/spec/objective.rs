//! What a fit minimises: the settings of `[fit]` about it, the forms of their
//! values, and which of them go together.

use super::{Algorithm, CalibrationMethod, Fit, Objective, Spec, Task};
use ortus::core::error::{Error, Result, short};
use ortus::core::settings::form::Form;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Value;

/// The variance power of the Tweedie distribution, between 1 and 2.
pub(crate) struct TweediePower;

/// The level of a quantile, between 0 and 1.
pub(crate) struct QuantileLevel;

/// A table of features with their directions.
pub(crate) struct MonotoneTable;

/// The directions of monotone features, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Monotone(pub BTreeMap<String, Direction>);

/// How predictions may move with a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// They never fall.
    Increasing,
    /// They never rise.
    Decreasing,
}

impl Form<Option<f64>> for TweediePower {
    fn read(value: &Value) -> Result<Option<f64>, String> {
        inside(value, (1.0, 2.0))
    }

    fn write(setting: &Option<f64>) -> Option<Value> {
        setting.map(Value::Float)
    }
}

impl Form<Option<f64>> for QuantileLevel {
    fn read(value: &Value) -> Result<Option<f64>, String> {
        inside(value, (0.0, 1.0))
    }

    fn write(setting: &Option<f64>) -> Option<Value> {
        setting.map(Value::Float)
    }
}

/// Reads a number between two others, both excluded.
fn inside(value: &Value, (low, high): (f64, f64)) -> Result<Option<f64>, String> {
    let number = value
        .as_float()
        .or_else(|| value.as_integer().map(|n| n as f64));
    let found = number.filter(|n| *n > low && *n < high);
    found
        .map(Some)
        .ok_or_else(|| format!("a number above {low} and below {high}"))
}

impl Form<Monotone> for MonotoneTable {
    fn read(value: &Value) -> Result<Monotone, String> {
        let must = || {
            "a table of features with \"increasing\" or \"decreasing\", such as { income = \"increasing\" }"
                .to_owned()
        };
        let one = |(name, direction): (&String, &Value)| {
            let direction = match direction.as_str() {
                Some("increasing") => Direction::Increasing,
                Some("decreasing") => Direction::Decreasing,
                _ => return Err(must()),
            };
            Ok((name.clone(), direction))
        };
        let table = value.as_table().ok_or_else(must)?;
        table
            .iter()
            .map(one)
            .collect::<Result<_, _>>()
            .map(Monotone)
    }

    fn write(setting: &Monotone) -> Option<Value> {
        let one = |(name, direction): (&String, &Direction)| {
            let word = match direction {
                Direction::Increasing => "increasing",
                Direction::Decreasing => "decreasing",
            };
            (name.clone(), Value::String(word.to_owned()))
        };
        let table: toml::Table = setting.0.iter().map(one).collect();
        (!table.is_empty()).then_some(Value::Table(table))
    }
}

impl Objective {
    /// Returns its word in settings and records.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Squared => "squared",
            Self::Poisson => "poisson",
            Self::Tweedie => "tweedie",
            Self::Quantile => "quantile",
            Self::LambdaRank => "lambdarank",
        }
    }
}

impl Fit {
    /// Returns the variance power of the Tweedie distribution.
    pub(crate) fn power(&self) -> f64 {
        self.tweedie_power.unwrap_or(1.5)
    }

    /// Returns the level of the quantile.
    pub(crate) fn level(&self) -> f64 {
        self.quantile.unwrap_or(0.5)
    }

    /// Returns the first places of a ranking whose pairs are learned from.
    pub(crate) fn truncation(&self) -> usize {
        self.ndcg_truncation.unwrap_or(30)
    }
}

impl Spec {
    /// Removes the objective and the calibration from a canonical table where they are the default, so
    /// that runs of earlier specifications keep their keys.
    pub(super) fn drop_defaults(&self, fit: &mut toml::Table) {
        if self.fit.objective == Objective::Auto {
            fit.remove("objective");
        }
        if self.fit.calibration == CalibrationMethod::None {
            fit.remove("calibration");
        }
    }

    /// Checks what the fit minimises against the other settings.
    pub(crate) fn check_objective(&self) -> Result<()> {
        let checks = [
            self.objective_of_task(),
            self.objective_of_algorithm(),
            self.unused_number(),
            self.refused_monotone(),
            self.refused_calibration(),
        ];
        match checks.into_iter().flatten().next() {
            Some(why) => Err(Error::invalid(why)),
            None => Ok(()),
        }
    }

    /// Returns why the objective does not fit the target.
    fn objective_of_task(&self) -> Option<String> {
        let objective = self.fit.objective;
        if objective == Objective::Auto {
            return None;
        }
        let (word, schema) = (objective.word(), &self.schema);
        let why = if schema.task == Task::Classification {
            "predicts a number, but 'task' in [schema] is \"classification\"; leave 'objective' out"
        } else if !schema.classes.is_empty() {
            "predicts a number, but 'classes' in [schema] lists classes; leave one of the two out"
        } else if self.fit.balanced {
            "predicts a number, and 'balanced' in [fit] weighs classes; set 'weight' in [schema] for weights of rows"
        } else if objective == Objective::LambdaRank && schema.group.is_none() {
            "ranks the rows of a query; set 'group' in [schema] to the column that names the query of a row"
        } else {
            return None;
        };
        Some(format!("'objective' in [fit] is \"{word}\", which {why}"))
    }

    /// Returns why the algorithm cannot minimise the objective.
    fn objective_of_algorithm(&self) -> Option<String> {
        let objective = self.fit.objective;
        let why = match (self.fit.algorithm, objective) {
            (_, Objective::Auto) => return None,
            (Algorithm::Command, _) => {
                "a training program chooses what it minimises; leave 'objective' out, and set 'measure' in [gates] to judge by"
            }
            (Algorithm::Linear, Objective::Quantile) => {
                "\"linear\" cannot minimise the pinball loss; use \"trees\" or \"mlp\""
            }
            (Algorithm::Linear | Algorithm::Mlp, Objective::LambdaRank) => "only \"trees\" rank",
            _ => return None,
        };
        let word = objective.word();
        Some(format!("'objective' in [fit] is \"{word}\": {why}"))
    }

    /// Returns which number of the objective is set without effect.
    fn unused_number(&self) -> Option<String> {
        let (fit, measure) = (&self.fit, self.gates.measure.as_deref());
        let unused = |is_set: bool, key: &str, objective: Objective, by: Option<&str>| {
            let is_used = fit.objective == objective || (by.is_some() && measure == by);
            (is_set && !is_used).then(|| {
                let word = objective.word();
                format!("'{key}' in [fit] has no effect; set objective = \"{word}\" too, or leave it out")
            })
        };
        unused(
            fit.tweedie_power.is_some(),
            "tweedie_power",
            Objective::Tweedie,
            Some("tweedie_deviance"),
        )
        .or(unused(
            fit.quantile.is_some(),
            "quantile",
            Objective::Quantile,
            Some("pinball_loss"),
        ))
        .or(unused(
            fit.ndcg_truncation.is_some(),
            "ndcg_truncation",
            Objective::LambdaRank,
            None,
        ))
    }

    /// Returns why features cannot be monotone.
    fn refused_monotone(&self) -> Option<String> {
        let name = short(self.fit.monotone.0.keys().next()?);
        let is_target = self.fit.monotone.0.contains_key(&self.schema.target);
        if self.fit.algorithm != Algorithm::Trees {
            return Some(format!(
                "'monotone' in [fit] names '{name}', but only \"trees\" keep predictions monotone; set algorithm = \"trees\", or leave it out"
            ));
        }
        let target = short(&self.schema.target);
        is_target.then(|| format!("'monotone' in [fit] names '{target}', which is the target"))
    }

    /// Returns why probabilities cannot be calibrated.
    fn refused_calibration(&self) -> Option<String> {
        if self.fit.calibration == CalibrationMethod::None {
            return None;
        }
        let is_number =
            self.schema.task == Task::Regression || self.fit.objective != Objective::Auto;
        if self.fit.algorithm == Algorithm::Command {
            return Some(
                "'calibration' in [fit] is for built-in algorithms; calibrate in the training program, or leave it out".to_owned(),
            );
        }
        is_number.then(|| {
            "'calibration' in [fit] is for the probabilities of two classes, and the model predicts a number; leave it out".to_owned()
        })
    }
}
