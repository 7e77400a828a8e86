//! The losses that gates compare: each is a mean over rows, the lower the better. The measure of
//! what a fit minimises is the default.

#[cfg(test)]
mod tests;

use crate::fit::trees::loss::{pinball, poisson_deviance, tweedie_deviance};
use crate::interval::Interval;
use crate::spec::{Fit, Objective};
use ortus::core::error::{Error, Result, short};
use ortus::observe::quality::answer::{RowAnswer, Truth};

/// Probabilities are clipped to this in a logarithm, the precision of FP32.
const CLIP: f64 = 1e-7;
/// Rates and means are clipped to this in a deviance, which has none of 0 and less.
const RATE_MIN: f64 = 1e-9;

/// A loss that is a mean over rows, which gates can compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LossMeasure {
    LogLoss,
    Brier,
    /// The error rate: the share of wrong classes.
    Error,
    AbsoluteError,
    SquaredError,
    PoissonDeviance,
    /// Of this power.
    TweedieDeviance(f64),
    /// Of this quantile.
    Pinball(f64),
    /// What NDCG within this many first places lacks to 1.
    Ndcg(usize),
}

impl LossMeasure {
    /// Parses the name of a measure; none means the one of the objective, or the default of the task.
    pub(crate) fn parse(name: Option<&str>, is_class: bool, fit: &Fit) -> Result<Self> {
        match (name, is_class) {
            (None | Some("log_loss"), true) => Ok(Self::LogLoss),
            (Some("brier"), true) => Ok(Self::Brier),
            (Some("error"), true) => Ok(Self::Error),
            (None, false) => Ok(Self::of_objective(fit).unwrap_or(Self::AbsoluteError)),
            (Some("mae"), false) => Ok(Self::AbsoluteError),
            (Some("mse"), false) => Ok(Self::SquaredError),
            (Some("poisson_deviance"), false) => Ok(Self::PoissonDeviance),
            (Some("tweedie_deviance"), false) => Ok(Self::TweedieDeviance(fit.power())),
            (Some("pinball_loss"), false) => Ok(Self::Pinball(fit.level())),
            (Some("ndcg_at_5"), false) => Ok(Self::Ndcg(5)),
            (Some("ndcg_at_10"), false) => Ok(Self::Ndcg(10)),
            (Some(name), true) => Err(Error::invalid(format!(
                "'measure' in [gates] is '{}'; for classification it must be log_loss, brier or error",
                short(name)
            ))),
            (Some(name), false) => Err(Error::invalid(format!(
                "'measure' in [gates] is '{}'; for regression it must be mae, mse, poisson_deviance, tweedie_deviance, pinball_loss, ndcg_at_5 or ndcg_at_10",
                short(name)
            ))),
        }
    }

    /// Returns the measure of what the fit minimises; none for the objectives that have no settings.
    pub(crate) fn of_objective(fit: &Fit) -> Option<Self> {
        match fit.objective {
            Objective::Auto | Objective::Squared => None,
            Objective::Poisson => Some(Self::PoissonDeviance),
            Objective::Tweedie => Some(Self::TweedieDeviance(fit.power())),
            Objective::Quantile => Some(Self::Pinball(fit.level())),
            Objective::LambdaRank => Some(Self::Ndcg(10)),
        }
    }

    /// Returns the value that people know for a mean loss: NDCG for a ranking.
    pub(crate) fn shown(self, loss: f64) -> f64 {
        match self {
            Self::Ndcg(_) => 1.0 - loss,
            _ => loss,
        }
    }

    /// Returns the interval of the value that people know.
    pub(crate) fn interval(self, of_loss: &Interval) -> Interval {
        if !self.is_better_above() {
            return *of_loss;
        }
        Interval {
            mean: 1.0 - of_loss.mean,
            low: 1.0 - of_loss.high,
            high: 1.0 - of_loss.low,
            clusters: of_loss.clusters,
        }
    }

    /// Returns the interval of a difference of that value.
    pub(crate) fn interval_of_difference(self, of_loss: &Interval) -> Interval {
        if !self.is_better_above() {
            return *of_loss;
        }
        Interval {
            mean: -of_loss.mean,
            low: -of_loss.high,
            high: -of_loss.low,
            clusters: of_loss.clusters,
        }
    }

    /// Returns whether a larger value is better.
    pub(crate) fn is_better_above(self) -> bool {
        matches!(self, Self::Ndcg(_))
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::Error => "error",
            Self::AbsoluteError => "mae",
            Self::SquaredError => "mse",
            Self::PoissonDeviance => "poisson_deviance",
            Self::TweedieDeviance(_) => "tweedie_deviance",
            Self::Pinball(_) => "pinball_loss",
            Self::Ndcg(5) => "ndcg_at_5",
            Self::Ndcg(_) => "ndcg_at_10",
        }
    }

    /// Returns the loss of a prediction; a missing one has the largest loss.
    pub(crate) fn loss(self, answer: Option<&RowAnswer>, truth: Truth) -> f64 {
        match (answer, truth) {
            (Some(RowAnswer::Class(class, scores)), Truth::Class(truth)) => {
                let score = |class: usize| scores.get(class).map_or(0.0, |s| f64::from(*s));
                match self {
                    Self::LogLoss => -score(truth).clamp(CLIP, 1.0).ln(),
                    Self::Brier => {
                        let looked_at = if scores.len() == 2 {
                            1..2
                        } else {
                            0..scores.len()
                        };
                        looked_at
                            .map(|c| (score(c) - f64::from(u8::from(c == truth))).powi(2))
                            .sum()
                    }
                    _ => f64::from(u8::from(*class as usize != truth)),
                }
            }
            (Some(RowAnswer::Value(value)), Truth::Value(truth)) => match self {
                _ if value.is_nan() => f64::INFINITY,
                Self::SquaredError => (value - truth).powi(2),
                Self::PoissonDeviance => poisson_deviance(truth, value.max(RATE_MIN)),
                Self::TweedieDeviance(power) => tweedie_deviance(truth, value.max(RATE_MIN), power),
                Self::Pinball(level) => pinball(truth, *value, level),
                _ => (value - truth).abs(),
            },
            (_, Truth::Value(truth)) => if self == Self::SquaredError {
                truth * truth
            } else {
                truth.abs()
            }
            .max(1e30),
            (_, Truth::Class(_)) => {
                if self == Self::LogLoss {
                    -CLIP.ln()
                } else {
                    1.0
                }
            }
        }
    }
}
