//! The evidence page of a run: curves of predictions against labels for the model
//! and the champion, and the comparison slice by slice.

#[cfg(test)]
mod tests;

use crate::explanation::summary::ContributionSummary;
use crate::gate::{Slice, TestRows};
use crate::interval::weighted_mean;
use crate::judge::Evaluation;
use crate::page::{Figure, PlotSeries, Points, Run, SliceDifference, render};
use crate::record::RunRecord;
use ortus::observe::quality::answer::{RowAnswer, Truth};

/// Scores of a class, the highest first, and whether each row is of the class.
type Scored = Vec<(f64, bool)>;

/// The most points of a curve.
const POINTS: usize = 200;
/// The most points of a scatter plot.
const DOTS: usize = 400;
/// Bins of scores and of errors.
const BINS: usize = 10;
/// Slices that are drawn.
const SLICES_MAX: usize = 40;

/// What a page is about.
pub(super) struct PageSubject<'p> {
    pub record: &'p RunRecord,
    pub rows: &'p TestRows<'p>,
    pub model: &'p Evaluation,
    pub champion: Option<&'p Evaluation>,
    /// The confidence of the gates.
    pub confidence: f64,
    pub contributions: Option<&'p ContributionSummary>,
}

/// Renders the page.
pub(super) fn page(subject: &PageSubject<'_>) -> String {
    let &PageSubject {
        rows,
        model,
        champion,
        confidence,
        ..
    } = subject;
    let mut run = Run {
        record: subject.record.clone(),
        contributions: subject.contributions.cloned(),
        ..Run::default()
    };
    match classes(model) {
        Some(classes) => {
            let positive = subject.record.positive.value();
            run.figures = curves(classes, positive, model, champion);
        }
        // The scores of a ranking are of no unit, and have no errors.
        None if rows.measure.is_better_above() => {}
        None => {
            let pairs = values(model);
            run.figures.push(scatter(&pairs));
            run.errors = errors(&pairs);
        }
    }

    if let Some(champion) = champion {
        run.parts = comparisons(rows, model, champion, confidence);
    }
    render(&run)
}

/// Returns the number of classes; none for regression.
fn classes(model: &Evaluation) -> Option<usize> {
    let answers = model.answers.iter().flatten();
    answers.into_iter().find_map(|answer| match answer {
        RowAnswer::Class(_, scores) => Some(scores.len()),
        RowAnswer::Value(_) => None,
    })
}

/// Returns the curves of a classification: of two classes for the last one, which is the
/// positive one; of more for the first three.
fn curves(
    classes: usize,
    positive: Option<&String>,
    model: &Evaluation,
    champion: Option<&Evaluation>,
) -> Vec<Figure> {
    if classes == 2 {
        let named = positive.map_or_else(String::new, |class| format!(", class {class}"));
        return curves_of_class(1, &named, model, champion);
    }
    (0..classes.min(3))
        .flat_map(|class| curves_of_class(class, &format!(", class {class}"), model, champion))
        .collect()
}

fn curves_of_class(
    class: usize,
    suffix: &str,
    model: &Evaluation,
    champion: Option<&Evaluation>,
) -> Vec<Figure> {
    let scored = scores(model, class);
    let of_champion = champion.map(|champion| scores(champion, class));
    let both = |curve: fn(&Scored) -> Points| {
        let mut lines = vec![line("this model", curve(&scored))];
        lines.extend(
            of_champion
                .as_ref()
                .map(|scored| line("the champion", curve(scored))),
        );
        lines
    };

    vec![
        Figure {
            title: format!("ROC: true positive rate against false positive rate{suffix}"),
            lines: both(roc),
            ends: ("0 false positives".to_owned(), "all".to_owned()),
        },
        Figure {
            title: format!("Precision against recall{suffix}"),
            lines: both(precision),
            ends: ("recall 0".to_owned(), "1".to_owned()),
        },
        Figure {
            title: format!("Calibration: observed frequency against predicted probability{suffix}"),
            lines: vec![
                line("this model", calibration(&scored)),
                line("perfect", vec![(0.0, 0.0), (1.0, 1.0)]),
            ],
            ends: ("score 0".to_owned(), "1".to_owned()),
        },
    ]
}

/// Predictions of a regression against labels; of many rows only some.
fn scatter(pairs: &[(f64, f64)]) -> Figure {
    let step = pairs.len().div_ceil(DOTS).max(1);
    let points: Points = pairs.iter().step_by(step).copied().collect();
    let labels = points.iter().map(|(label, _)| *label);
    let low = labels.clone().fold(f64::INFINITY, f64::min);
    let high = labels.fold(f64::NEG_INFINITY, f64::max);
    let perfect = if points.is_empty() {
        Vec::new()
    } else {
        vec![(low, low), (high, high)]
    };

    Figure {
        title: "Predictions against labels".to_owned(),
        lines: vec![
            PlotSeries {
                name: "this model".to_owned(),
                is_joined: false,
                points,
            },
            line("perfect", perfect),
        ],
        ends: (format!("label {low:.4}"), format!("{high:.4}")),
    }
}

fn line(name: &str, points: Points) -> PlotSeries {
    PlotSeries {
        name: name.to_owned(),
        is_joined: true,
        points,
    }
}

/// Returns the score of a class for each row.
fn scores(judged: &Evaluation, class: usize) -> Scored {
    let one = |(answer, truth): (&Option<RowAnswer>, &Truth)| match (answer, truth) {
        (Some(RowAnswer::Class(_, scores)), Truth::Class(truth)) => {
            Some((f64::from(*scores.get(class)?), *truth == class))
        }
        _ => None,
    };

    let mut all: Scored = judged
        .answers
        .iter()
        .zip(&judged.truths)
        .filter_map(one)
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));

    all
}

/// After each score: rows of the class, and of the others, that have at least it.
fn counts(scores: &Scored) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let (mut of, mut others) = (0, 0);
    for (at, (score, is_of)) in scores.iter().enumerate() {
        if *is_of {
            of += 1
        } else {
            others += 1
        }
        // Rows of equal score share a point.
        if scores.get(at + 1).is_none_or(|next| next.0 != *score) {
            found.push((of, others));
        }
    }

    found
}

fn limit_points(points: Points) -> Points {
    let step = points.len().div_ceil(POINTS).max(1);
    let last = points.last().copied();
    let mut kept: Vec<(f64, f64)> = points.into_iter().step_by(step).collect();
    kept.extend(last.filter(|last| kept.last() != Some(last)));
    kept
}

fn roc(scores: &Scored) -> Points {
    let counts = counts(scores);
    let Some((all, others)) = counts.last().copied() else {
        return Vec::new();
    };
    let share = |n: usize, of: usize| n as f64 / of.max(1) as f64;
    let points = counts
        .iter()
        .map(|(of, other)| (share(*other, others), share(*of, all)));
    limit_points(std::iter::once((0.0, 0.0)).chain(points).collect())
}

fn precision(scores: &Scored) -> Points {
    let counts = counts(scores);
    let Some((all, _)) = counts.last().copied() else {
        return Vec::new();
    };
    limit_points(
        counts
            .iter()
            .map(|(of, other)| {
                (
                    *of as f64 / all.max(1) as f64,
                    *of as f64 / (of + other) as f64,
                )
            })
            .collect(),
    )
}

/// Returns the mean score of each tenth of the scores, and the frequency of the class.
fn calibration(scores: &Scored) -> Points {
    let mut bins = [(0.0, 0.0, 0_usize); BINS];
    for (score, is_of) in scores {
        let bin = &mut bins[((score * BINS as f64) as usize).min(BINS - 1)];
        *bin = (
            bin.0 + score,
            bin.1 + f64::from(u8::from(*is_of)),
            bin.2 + 1,
        );
    }

    bins.iter()
        .filter(|bin| bin.2 > 0)
        .map(|(score, of, rows)| (score / *rows as f64, of / *rows as f64))
        .collect()
}

/// Labels with predictions.
fn values(judged: &Evaluation) -> Points {
    let one = |(answer, truth): (&Option<RowAnswer>, &Truth)| match (answer, truth) {
        (Some(RowAnswer::Value(value)), Truth::Value(truth)) if value.is_finite() => {
            Some((*truth, *value))
        }
        _ => None,
    };

    judged
        .answers
        .iter()
        .zip(&judged.truths)
        .filter_map(one)
        .collect()
}

/// Returns the shares of errors in equal parts between their outermost hundredths.
fn errors(pairs: &[(f64, f64)]) -> Vec<(String, f64)> {
    let mut all: Vec<f64> = pairs.iter().map(|(truth, value)| value - truth).collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| {
        all.get(((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1)))
            .copied()
    };
    let (Some(low), Some(high)) = (at(0.01), at(0.99)) else {
        return Vec::new();
    };
    let width = ((high - low) / BINS as f64).max(f64::MIN_POSITIVE);
    let mut counts = [0_usize; BINS];
    all.iter()
        .for_each(|e| counts[(((e - low) / width).max(0.0) as usize).min(BINS - 1)] += 1);
    let middle = |bin: usize| format!("{:.4}", low + (bin as f64 + 0.5) * width);
    counts
        .iter()
        .enumerate()
        .map(|(bin, n)| (middle(bin), *n as f64 / all.len() as f64))
        .collect()
}

/// Returns the comparison with the champion: all rows first, then slice by slice.
fn comparisons(
    rows: &TestRows<'_>,
    model: &Evaluation,
    champion: &Evaluation,
    confidence: f64,
) -> Vec<SliceDifference> {
    let whole = Slice {
        name: "all rows".to_owned(),
        rows: (0..model.losses.len() as u32).collect(),
    };
    let slices = rows.slices.iter().take(SLICES_MAX);
    let all = std::iter::once(&whole).chain(slices);

    all.map(|slice| {
        let of = slice.rows.iter().map(|row| *row as usize);
        let worse = of
            .clone()
            .map(|row| model.losses[row] - champion.losses[row]);
        let weights = model.weights.as_ref();
        let weights: Option<Vec<f64>> = weights.map(|all| of.clone().map(|row| all[row]).collect());
        let cluster: Vec<u32> = of.map(|row| rows.cluster[row]).collect();
        let worse: Vec<f64> = worse.collect();
        let found = weighted_mean(&worse, weights.as_deref(), &cluster, confidence);
        SliceDifference {
            name: slice.name.clone(),
            rows: slice.rows.len(),
            worse: (found.low, found.mean, found.high),
        }
    })
    .collect()
}
