//! Chooses among measured points. Pure.

use super::{LaneThreads, TunePoint};
use std::cmp::Ordering;
use std::time::Duration;

/// Points within this share of the most rows a second count as equal; the one with the shorter runs is
/// better then.
const EQUAL: f64 = 0.97;
/// The default is kept unless another point is better than it by this factor.
const WORTH: f64 = 1.05;

/// What was chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TuneChoice<'p> {
    pub point: &'p TunePoint,
    /// The best point with the default lanes and threads.
    pub default: &'p TunePoint,
    /// Whether its answers come within the wanted time; true if none is wanted.
    pub is_in_time: bool,
    /// The most rows of a batch with its lanes and threads whose answers come in time; none if no larger batch was
    /// seen to be late.
    pub rows_max: Option<usize>,
}

impl TuneChoice<'_> {
    /// Tells whether the default lanes and threads were chosen.
    pub(crate) fn is_default(&self) -> bool {
        self.point.threads == self.default.threads
    }
}

/// Chooses the point with the most rows a second whose answers come in time; where none does, the one with
/// the shortest runs. `default` are the lanes and threads without settings.
pub(crate) fn choose(
    points: &[TunePoint],
    default: LaneThreads,
    slo: Option<Duration>,
) -> Option<TuneChoice<'_>> {
    let best = points.iter().min_by(|a, b| order(a, b, slo))?;
    let of_default = points.iter().filter(|point| point.threads == default);
    let default = of_default.min_by(|a, b| order(a, b, slo))?;

    let is_in_time = is_in_time(best, slo);
    let equal = points.iter().filter(|point| {
        self::is_in_time(point, slo) == is_in_time
            && point.rows_per_second >= EQUAL * best.rows_per_second
    });
    let best = match is_in_time {
        true => equal.min_by(|a, b| a.p95_seconds.total_cmp(&b.p95_seconds))?,
        false => best,
    };
    let keeps_default = is_in_time
        && self::is_in_time(default, slo)
        && best.rows_per_second < WORTH * default.rows_per_second;
    let is_other = best.threads != default.threads;
    let point = match keeps_default && is_other {
        true => default,
        false => best,
    };
    Some(TuneChoice {
        point,
        default,
        is_in_time,
        rows_max: rows_max(points, point, slo),
    })
}

fn rows_max(points: &[TunePoint], chosen: &TunePoint, slo: Option<Duration>) -> Option<usize> {
    let same = || points.iter().filter(|p| p.threads == chosen.threads);
    let is_limited = same().any(|point| !is_in_time(point, slo));
    let in_time = same().filter(|point| is_in_time(point, slo));
    let largest = in_time.map(|point| point.rows).max();
    is_limited.then(|| largest.unwrap_or(chosen.rows))
}

fn is_in_time(point: &TunePoint, slo: Option<Duration>) -> bool {
    slo.is_none_or(|slo| point.answer_seconds() <= slo.as_secs_f64())
}

/// The better point is less.
pub(super) fn order(a: &TunePoint, b: &TunePoint, slo: Option<Duration>) -> Ordering {
    match (is_in_time(a, slo), is_in_time(b, slo)) {
        (true, true) => b.rows_per_second.total_cmp(&a.rows_per_second),
        (false, false) => a.p95_seconds.total_cmp(&b.p95_seconds),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}
