//! The gates before publishing: each passes, fails or is inconclusive, by the
//! bounds of a confidence interval and not by the mean. Pure: reads and writes
//! nothing.

#[cfg(test)]
mod tests;

use crate::guess::{Guess, RARE};
use crate::interval::{Interval, weighted_mean};
use crate::judge::Evaluation;
use crate::judge::losses::mean_of;
use crate::judge::measure::LossMeasure;
use crate::spec::{First, Gates};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The result of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Pass,
    /// The gate has no threshold.
    NotGated,
    Inconclusive,
    Fail,
}

impl Verdict {
    /// Returns the verdict as a word, in records as for a person.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::NotGated => "not_gated",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// A gate. Fields stand in alphabetical order, as records have always been written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    pub name: String,
    /// Why the gate has this verdict, for a person.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    pub verdict: Verdict,
}

impl Gate {
    /// Makes a gate without an interval.
    pub(crate) fn plain(name: &str, verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            interval: None,
            name: name.to_owned(),
            reason: reason.into(),
            threshold: None,
            verdict,
        }
    }

    /// Compares an interval with a threshold, lower being better: passes if the
    /// upper bound is at most the threshold, fails if the lower bound is above it.
    fn compare_with_threshold(name: &str, found: Interval, threshold: f64, what: &str) -> Self {
        let verdict = if found.high <= threshold {
            Verdict::Pass
        } else if found.low > threshold {
            Verdict::Fail
        } else {
            Verdict::Inconclusive
        };

        let reason = format!(
            "{what} {:.6}, interval {:.6} to {:.6}, threshold {threshold:.6}",
            found.mean, found.low, found.high
        );
        Self {
            interval: Some(found),
            name: name.to_owned(),
            reason,
            threshold: Some(threshold),
            verdict,
        }
    }
}

/// Returns the verdict on the model: the worst of its gates.
pub(crate) fn overall_verdict(gates: &[Gate]) -> Verdict {
    gates
        .iter()
        .map(|g| g.verdict)
        .filter(|v| *v != Verdict::NotGated)
        .max()
        .unwrap_or(Verdict::Inconclusive)
}

/// The test rows as gates see them.
pub(crate) struct TestRows<'r> {
    pub measure: LossMeasure,
    /// The cluster of each row.
    pub cluster: &'r [u32],
    pub slices: Vec<Slice>,
    /// The model beside guessing.
    pub guess: &'r Guess,
    /// What calibrates the probabilities better; none if nothing does.
    pub calibration_hint: Option<&'static str>,
}

/// A part of the test rows in which the model must not be worse either.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// The condition, for a person.
    pub name: String,
    pub rows: Vec<u32>,
}

/// The rows below which a slice is not compared.
const SLICE_ROWS_MIN: usize = 30;

/// Judges a model alone and against the champion, if there is one. The champion
/// may also be one that cannot be compared, with the reason.
pub(crate) fn judge(
    gates: &Gates,
    rows: &TestRows<'_>,
    model: &Evaluation,
    champion: Option<Result<&Evaluation, &str>>,
) -> Vec<Gate> {
    let mut found = vec![
        baseline(gates, rows, model),
        bound(gates, rows, model),
        calibration(gates, rows, model),
    ];

    match champion {
        None => found.push(first_champion(gates)),
        Some(Err(why)) => {
            found.push(Gate::plain(
                "champion",
                Verdict::Inconclusive,
                format!("the champion cannot be compared: {why}"),
            ));
        }
        Some(Ok(champion)) => {
            let comparison = ChampionComparison {
                gates,
                rows,
                model,
                champion,
            };
            found.push(comparison.all_rows());
            if !rows.slices.is_empty() {
                found.push(comparison.slices());
            }
        }
    }

    if found.iter().all(|g| g.verdict == Verdict::NotGated) && gates.first != First::Refused {
        found.push(Gate::plain(
            "first",
            Verdict::Pass,
            "the first version of the model passes, as 'first' in [gates] says",
        ));
    }

    found
}

/// Returns the gate of a model that has no champion to be compared with.
fn first_champion(gates: &Gates) -> Gate {
    match gates.first {
        First::Pass | First::Champion => {
            Gate::plain("champion", Verdict::NotGated, "there is no champion yet")
        }
        First::Refused => Gate::plain(
            "champion",
            Verdict::Fail,
            "there is no champion, and 'first' in [gates] is \"refused\"",
        ),
    }
}

/// How sure the gate `baseline` is at least: at 0.95, one in twenty models that know nothing would pass.
const BASELINE_CERTAINTY: f64 = 0.99;
/// The share of the absolute error from which on errors are on one side.
const ONE_SIDED: f64 = 0.9;

/// Compares the model with guessing. It passes only if it is certainly better.
fn baseline(gates: &Gates, rows: &TestRows<'_>, model: &Evaluation) -> Gate {
    let Guess {
        what,
        measure,
        loss,
        worse,
        rarest,
    } = rows.guess;
    let certainty = gates.confidence.max(BASELINE_CERTAINTY);
    let found = weighted_mean(worse, model.weights.as_deref(), rows.cluster, certainty);
    let shown = measure.interval_of_difference(&found);
    let difference = format!(
        "{} minus that of {what} ({:.6}) is {:.6}, interval {:.6} to {:.6}",
        measure.name(),
        measure.shown(*loss),
        shown.mean,
        shown.low,
        shown.high
    );
    let is_worse = is_worse_than_mean(*measure, model);
    let (verdict, said) = match (gates.baseline, found.high < 0.0, found.mean >= 0.0) {
        (false, ..) => (Verdict::NotGated, "; 'baseline' is false"),
        (true, true, _) if is_worse => (
            Verdict::Inconclusive,
            ", but r2 is below 0: one value for all test rows would be nearer to them",
        ),
        (true, true, _) => (Verdict::Pass, ""),
        (true, _, true) => (Verdict::Fail, ": the model knows no more than that"),
        (true, ..) => (
            Verdict::Inconclusive,
            ": not certain that the model knows more than that",
        ),
    };
    let rare = rarest.filter(|share| *share < RARE && verdict > Verdict::NotGated);
    let rare = rare.map_or_else(String::new, |share| {
        format!(
            "; the rarest class has {:.1} % of the rows: more rows of it may help, or 'balanced = true' in [fit]",
            100.0 * share
        )
    });
    Gate {
        interval: Some(found),
        name: "baseline".to_owned(),
        reason: format!("{difference}{said}{rare}{}", one_sided(model)),
        threshold: gates.baseline.then_some(0.0),
        verdict,
    }
}

/// Returns whether a model of means or medians is further from the test rows than their own mean.
fn is_worse_than_mean(measure: LossMeasure, model: &Evaluation) -> bool {
    let is_of_values = matches!(
        measure,
        LossMeasure::AbsoluteError | LossMeasure::SquaredError
    );
    is_of_values && model.measures.get("r2").is_some_and(|r2| *r2 < 0.0)
}

/// Says that errors are on one side, as where the target grows with time.
fn one_sided(model: &Evaluation) -> String {
    let measure = |name| model.measures.get(name).copied();
    match (measure("bias"), measure("mae")) {
        (Some(bias), Some(mae)) if mae > 0.0 && bias.abs() >= ONE_SIDED * mae => format!(
            "; nearly all predictions are too {} (bias {bias:.6} of MAE {mae:.6}), as where the target moves with time: learn the difference to an earlier value",
            if bias > 0.0 { "high" } else { "low" }
        ),
        _ => String::new(),
    }
}

/// Compares the mean loss with `bound`.
fn bound(gates: &Gates, rows: &TestRows<'_>, model: &Evaluation) -> Gate {
    let name = rows.measure.name();
    let weights = model.weights.as_deref();
    let found = weighted_mean(&model.losses, weights, rows.cluster, gates.confidence);
    let found = rows.measure.interval(&found);
    let Some(bound) = gates.bound else {
        let reason = format!(
            "{name} {:.6}, interval {:.6} to {:.6}; no 'bound' is set",
            found.mean, found.low, found.high
        );
        return Gate {
            interval: Some(found),
            ..Gate::plain("bound", Verdict::NotGated, reason)
        };
    };

    if !rows.measure.is_better_above() {
        return Gate::compare_with_threshold("bound", found, bound, name);
    }
    let verdict = match (found.low >= bound, found.high < bound) {
        (true, _) => Verdict::Pass,
        (_, true) => Verdict::Fail,
        _ => Verdict::Inconclusive,
    };
    Gate {
        verdict,
        ..Gate::compare_with_threshold("bound", found, bound, name)
    }
}

/// Compares the expected calibration error with `calibration_max`.
fn calibration(gates: &Gates, rows: &TestRows<'_>, model: &Evaluation) -> Gate {
    let Some(error) = model.measures.get("ece") else {
        let reason = "a regression model has no calibration";
        return Gate::plain("calibration", Verdict::NotGated, reason);
    };
    let Some(error_max) = gates.calibration_max else {
        let reason = format!("ece {error:.4}; no 'calibration_max' is set");
        return Gate::plain("calibration", Verdict::NotGated, reason);
    };

    // The most that chance adds to the error if every score is right.
    let noise = (10.0 / model.effective_rows().max(1.0)).sqrt() / 2.0;
    let found = Interval {
        clusters: model.losses.len(),
        high: *error,
        low: (error - noise).max(0.0),
        mean: *error,
    };

    let verdict = if *error <= error_max {
        Verdict::Pass
    } else if found.low > error_max {
        Verdict::Fail
    } else {
        Verdict::Inconclusive
    };

    let hint = rows
        .calibration_hint
        .filter(|_| verdict > Verdict::NotGated);
    let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
    Gate {
        interval: Some(found),
        name: "calibration".to_owned(),
        reason: format!(
            "ece {error:.4}, of which up to {noise:.4} by chance; threshold {error_max:.4}{hint}"
        ),
        threshold: Some(error_max),
        verdict,
    }
}

/// A model beside the champion, on the same rows.
struct ChampionComparison<'c> {
    gates: &'c Gates,
    rows: &'c TestRows<'c>,
    model: &'c Evaluation,
    champion: &'c Evaluation,
}

impl ChampionComparison<'_> {
    /// Compares all rows.
    fn all_rows(&self) -> Gate {
        let all: Vec<u32> = (0..self.model.losses.len() as u32).collect();
        let limits = GateLimits {
            regression_max: self.gates.regression_max,
            certainty: self.gates.confidence,
        };
        self.compare("champion", &all, &limits)
    }

    /// Fails if the model is worse than allowed in one slice.
    fn slices(&self) -> Gate {
        let large = self.rows.slices.iter();
        let slices: Vec<&Slice> = large.filter(|s| s.rows.len() >= SLICE_ROWS_MIN).collect();
        let limits = GateLimits {
            regression_max: self.gates.slice_regression_max,
            // Of many slices one is easily worse by chance (Bonferroni).
            certainty: 1.0 - (1.0 - self.gates.confidence) / slices.len().max(1) as f64,
        };

        let judged = slices
            .iter()
            .map(|slice| (slice, self.compare("slices", &slice.rows, &limits)));
        match judged.max_by(|(_, a), (_, b)| worse_last(a, b)) {
            Some((slice, gate)) if gate.verdict == Verdict::Fail => Gate {
                reason: format!("{}: {}", slice.name, gate.reason),
                ..gate
            },
            Some(_) => {
                let reason = format!("none of {} slices is worse than allowed", slices.len());
                Gate::plain("slices", Verdict::Pass, reason)
            }
            None => {
                let reason = format!("no slice has {SLICE_ROWS_MIN} rows");
                Gate::plain("slices", Verdict::NotGated, reason)
            }
        }
    }

    /// Compares some rows one by one: how much worse the model is than the champion.
    fn compare(&self, name: &str, rows: &[u32], limits: &GateLimits) -> Gate {
        let loss = |evaluation: &Evaluation, row: u32| evaluation.losses[row as usize];
        let worse: Vec<f64> = rows
            .iter()
            .map(|row| loss(self.model, *row) - loss(self.champion, *row))
            .collect();
        let before: Vec<f64> = rows.iter().map(|row| loss(self.champion, *row)).collect();
        let weights = self.model.weights.as_ref();
        let weights: Option<Vec<f64>> =
            weights.map(|all| rows.iter().map(|row| all[*row as usize]).collect());

        let before = mean_of(&before, weights.as_deref());
        let cluster = rows.iter().map(|row| self.rows.cluster[*row as usize]);
        let cluster: Vec<u32> = cluster.collect();

        let found = weighted_mean(&worse, weights.as_deref(), &cluster, limits.certainty);
        let (measure, shown) = (self.rows.measure.name(), self.rows.measure.shown(before));
        // Of a ranking the loss is what NDCG lacks to 1.
        let what = match self.rows.measure.is_better_above() {
            true => {
                format!("1 - {measure}, minus the champion's ({before:.6}, {measure} {shown:.6})")
            }
            false => format!("{measure} minus the champion's ({before:.6})"),
        };
        let gate = Gate::compare_with_threshold(name, found, limits.regression_max * before, &what);

        let is_same = !worse.is_empty() && worse.iter().all(|w| *w == 0.0);
        if is_same && limits.regression_max >= 0.0 {
            return Gate {
                reason: "the predictions are those of the champion".to_owned(),
                verdict: Verdict::Pass,
                ..gate
            };
        }

        gate
    }
}

/// How much worse than the champion a model may be, and how sure a gate must be.
struct GateLimits {
    /// A share of the champion's loss.
    regression_max: f64,
    certainty: f64,
}

/// Orders gates from good to bad: failed ones last, and of those the one whose
/// lower bound is the farthest above the threshold.
fn worse_last(one: &Gate, other: &Gate) -> Ordering {
    let has_failed = |gate: &Gate| gate.verdict == Verdict::Fail;
    has_failed(one)
        .cmp(&has_failed(other))
        .then(excess(one).total_cmp(&excess(other)))
}

/// Returns the distance of the lower bound from the threshold.
fn excess(gate: &Gate) -> f64 {
    gate.interval
        .map_or(0.0, |i| i.low - gate.threshold.unwrap_or(0.0))
}
