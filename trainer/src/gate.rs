//! The gates before publishing: each passes, fails or is inconclusive, by
//! confidence bounds and not by means. Reads and writes nothing.

use crate::interval::{Interval, mean};
use crate::judge::{Evaluation, Wrong};
use crate::spec::{First, Gates};
use serde::{Deserialize, Serialize};

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
    /// The verdict as a word, in records as for a person.
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
    /// One without numbers.
    pub(crate) fn plain(name: &str, verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            verdict,
            reason: reason.into(),
            interval: None,
            threshold: None,
        }
    }

    /// Lower is better: passes where even the upper bound is below, fails where
    /// even the lower one is above.
    fn below(name: &str, found: Interval, threshold: f64, what: &str) -> Self {
        let verdict = if found.high <= threshold {
            Verdict::Pass
        } else if found.low > threshold {
            Verdict::Fail
        } else {
            Verdict::Inconclusive
        };
        let reason = format!(
            "{what} {:.6}, from {:.6} to {:.6}, allowed {threshold:.6}",
            found.mean, found.low, found.high
        );
        Self {
            name: name.to_owned(),
            verdict,
            reason,
            interval: Some(found),
            threshold: Some(threshold),
        }
    }
}

/// The worst verdict of all: what becomes of the model.
pub(crate) fn whole(gates: &[Gate]) -> Verdict {
    gates
        .iter()
        .map(|g| g.verdict)
        .filter(|v| *v != Verdict::NotGated)
        .max()
        .unwrap_or(Verdict::Inconclusive)
}

/// Rows that it is judged by.
pub(crate) struct Bench<'b> {
    pub wrong: Wrong,
    /// What each row belongs to.
    pub cluster: &'b [u32],
    /// Parts by which it must not be worse either: what they are, and their rows.
    pub parts: Vec<(String, Vec<u32>)>,
}

/// Rows of a part below which it is not looked at.
const PART_ROWS_MIN: usize = 30;

/// Judges a model alone and against the champion, where there is one. The
/// champion may also be one that could not be asked, with the reason.
pub(crate) fn judge(
    gates: &Gates,
    bench: &Bench<'_>,
    model: &Evaluation,
    champion: Option<Result<&Evaluation, &str>>,
) -> Vec<Gate> {
    let word = bench.wrong.word();
    let own = mean(&model.wrong, bench.cluster, gates.confidence);
    let mut found = vec![match gates.bound {
        Some(bound) => Gate::below("bound", own, bound, word),
        None => Gate {
            name: "bound".to_owned(),
            verdict: Verdict::NotGated,
            reason: format!(
                "{word} {:.6}, from {:.6} to {:.6}; no 'bound' is set",
                own.mean, own.low, own.high
            ),
            interval: Some(own),
            threshold: None,
        },
    }];
    found.push(calibration(gates, model));
    match champion {
        None if gates.first == First::Pass => {
            found.push(Gate::plain(
                "champion",
                Verdict::NotGated,
                "there is no champion yet",
            ));
        }
        None => found.push(Gate::plain(
            "champion",
            Verdict::Fail,
            "there is no champion, and 'first' says refused",
        )),
        Some(Err(why)) => {
            found.push(Gate::plain(
                "champion",
                Verdict::Inconclusive,
                format!("the champion cannot be compared: {why}"),
            ));
        }
        Some(Ok(champion)) => {
            let all: Vec<u32> = (0..model.wrong.len() as u32).collect();
            found.push(against(
                gates,
                bench,
                (model, champion),
                ("champion", &all),
                None,
            ));
            if !bench.parts.is_empty() {
                found.push(slices(gates, bench, model, champion));
            }
        }
    }
    if found.iter().all(|g| g.verdict == Verdict::NotGated) && gates.first == First::Pass {
        found.push(Gate::plain(
            "first",
            Verdict::Pass,
            "the first of its name, which 'first' lets pass",
        ));
    }
    found
}

fn calibration(gates: &Gates, model: &Evaluation) -> Gate {
    let Some(error) = model.measures.get("ece") else {
        return Gate::plain("calibration", Verdict::NotGated, "the answers are values");
    };
    // What chance makes of it where every score is right, at most.
    let noise = (10.0 / model.wrong.len().max(1) as f64).sqrt() / 2.0;
    match gates.calibration_max {
        None => Gate::plain(
            "calibration",
            Verdict::NotGated,
            format!("ece {error:.4}; no 'calibration_max' is set"),
        ),
        Some(most) => {
            let found = Interval {
                mean: *error,
                low: (error - noise).max(0.0),
                high: *error,
                clusters: model.wrong.len(),
            };
            let verdict = if *error <= most {
                Verdict::Pass
            } else if found.low > most {
                Verdict::Fail
            } else {
                Verdict::Inconclusive
            };
            let reason =
                format!("ece {error:.4}, of which chance may be {noise:.4}; allowed {most:.4}");
            Gate {
                name: "calibration".to_owned(),
                verdict,
                reason,
                interval: Some(found),
                threshold: Some(most),
            }
        }
    }
}

/// Compares row by row: how much worse it is, as against what is allowed.
fn against(
    gates: &Gates,
    bench: &Bench<'_>,
    (model, champion): (&Evaluation, &Evaluation),
    (name, rows): (&str, &[u32]),
    of_parts: Option<usize>,
) -> Gate {
    let worse: Vec<f64> = rows
        .iter()
        .map(|r| model.wrong[*r as usize] - champion.wrong[*r as usize])
        .collect();
    let before = rows
        .iter()
        .map(|r| champion.wrong[*r as usize])
        .sum::<f64>()
        / rows.len().max(1) as f64;
    let cluster: Vec<u32> = rows.iter().map(|r| bench.cluster[*r as usize]).collect();
    let share = if of_parts.is_some() {
        gates.slice_regression_max
    } else {
        gates.regression_max
    };
    // Of many parts one is easily worse by chance (Bonferroni).
    let certainty = 1.0 - (1.0 - gates.confidence) / of_parts.unwrap_or(1) as f64;
    let found = mean(&worse, &cluster, certainty);
    let what = format!(
        "{} against the champion's {before:.6}, worse by",
        bench.wrong.word()
    );
    let mut gate = Gate::below(name, found, share * before, &what);
    if share >= 0.0 && worse.iter().all(|w| *w == 0.0) && !worse.is_empty() {
        gate.verdict = Verdict::Pass;
        gate.reason = "it answers as the champion does".to_owned();
    }
    gate
}

/// Fails where one part is surely worse than allowed.
fn slices(gates: &Gates, bench: &Bench<'_>, model: &Evaluation, champion: &Evaluation) -> Gate {
    let parts: Vec<&(String, Vec<u32>)> = bench
        .parts
        .iter()
        .filter(|(_, rows)| rows.len() >= PART_ROWS_MIN)
        .collect();
    let judged = parts.iter().map(|(name, rows)| {
        let gate = against(
            gates,
            bench,
            (model, champion),
            ("slices", rows),
            Some(parts.len()),
        );
        (name, gate)
    });
    let worst = judged.max_by(|(_, a), (_, b)| {
        let low = |g: &Gate| {
            g.interval
                .map_or(0.0, |i| i.low - g.threshold.unwrap_or(0.0))
        };
        (a.verdict == Verdict::Fail)
            .cmp(&(b.verdict == Verdict::Fail))
            .then(low(a).total_cmp(&low(b)))
    });
    match worst {
        Some((name, gate)) if gate.verdict == Verdict::Fail => Gate {
            reason: format!("{name}: {}", gate.reason),
            ..gate
        },
        Some(_) => Gate::plain(
            "slices",
            Verdict::Pass,
            format!("none of {} parts is surely worse than allowed", parts.len()),
        ),
        None => Gate::plain(
            "slices",
            Verdict::NotGated,
            format!("no part has {PART_ROWS_MIN} rows"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(wrong: &[f64]) -> Evaluation {
        Evaluation {
            wrong: wrong.to_vec(),
            ..Evaluation::default()
        }
    }

    fn noise(rows: usize, by: f64) -> Vec<f64> {
        (0..rows)
            .map(|i| by + ((i * 2_654_435_761) % 1_000) as f64 / 1_000.0)
            .collect()
    }

    fn verdicts(
        gates: &Gates,
        model: &[f64],
        champion: &[f64],
        parts: Vec<(String, Vec<u32>)>,
    ) -> Vec<(String, Verdict)> {
        let cluster: Vec<u32> = (0..model.len() as u32).collect();
        let bench = Bench {
            wrong: Wrong::AbsoluteError,
            cluster: &cluster,
            parts,
        };
        let found = judge(gates, &bench, &judged(model), Some(Ok(&judged(champion))));
        found.into_iter().map(|g| (g.name, g.verdict)).collect()
    }

    fn of(verdicts: &[(String, Verdict)], name: &str) -> Verdict {
        verdicts
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| *v)
            .expect(name)
    }

    #[test]
    fn a_model_passes_only_where_even_its_bound_does() {
        let gates = Gates {
            bound: Some(0.6),
            ..Gates::default()
        };
        let at = |by: f64, rows: usize| {
            of(
                &verdicts(&gates, &noise(rows, by), &noise(rows, by + 1.0), Vec::new()),
                "bound",
            )
        };
        assert_eq!(at(0.0, 1_000), Verdict::Pass);
        assert_eq!(at(0.2, 1_000), Verdict::Fail);
        assert_eq!(
            at(0.1, 1_000),
            Verdict::Inconclusive,
            "a mean of 0.6 may as well be above"
        );
        assert_eq!(at(0.0, 10), Verdict::Inconclusive, "too few rows to tell");
    }

    #[test]
    fn a_champion_is_beaten_row_by_row() {
        let gates = Gates {
            regression_max: 0.02,
            ..Gates::default()
        };
        let champion = noise(2_000, 0.5);
        let plus = |by: f64| -> Vec<f64> { champion.iter().map(|w| w + by).collect() };
        let against =
            |model: &[f64]| of(&verdicts(&gates, model, &champion, Vec::new()), "champion");
        assert_eq!(against(&champion), Verdict::Pass, "the same answers");
        assert_eq!(
            against(&plus(0.01)),
            Verdict::Pass,
            "within the share allowed"
        );
        assert_eq!(against(&plus(0.05)), Verdict::Fail);
        let mixed: Vec<f64> = champion
            .iter()
            .enumerate()
            .map(|(i, w)| w + if i % 2 == 0 { 0.5 } else { -0.46 })
            .collect();
        assert_eq!(against(&mixed), Verdict::Inconclusive);
    }

    #[test]
    fn one_bad_part_fails_and_what_is_not_asked_passes_nothing() {
        let gates = Gates::default();
        let champion = noise(2_000, 0.5);
        let mut model: Vec<f64> = champion.iter().map(|w| w - 0.2).collect();
        model[..100].iter_mut().for_each(|w| *w += 0.9);
        let parts = || {
            vec![
                ("a".to_owned(), (0..100).collect()),
                ("b".to_owned(), (100..2_000).collect()),
            ]
        };
        let found = verdicts(&gates, &model, &champion, parts());
        assert_eq!(
            (of(&found, "champion"), of(&found, "slices")),
            (Verdict::Pass, Verdict::Fail)
        );
        assert_eq!(of(&found, "bound"), Verdict::NotGated);
        let cluster: Vec<u32> = (0..10).collect();
        let bench = Bench {
            wrong: Wrong::AbsoluteError,
            cluster: &cluster,
            parts: Vec::new(),
        };
        let alone =
            |gates: &Gates, champion| whole(&judge(gates, &bench, &judged(&[0.0; 10]), champion));
        assert_eq!(alone(&gates, None), Verdict::Pass, "the first of its name");
        assert_eq!(
            alone(
                &Gates {
                    first: First::Refused,
                    ..Gates::default()
                },
                None
            ),
            Verdict::Fail
        );
        assert_eq!(
            alone(&gates, Some(Err("it is broken"))),
            Verdict::Inconclusive
        );
    }
}
