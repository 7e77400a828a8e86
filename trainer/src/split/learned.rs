//! Which of the newest rows a run learns from: with a split by time the newest rows judge the model
//! and stop its fit, so that none of them may be learned from. Pure.

#[cfg(test)]
mod tests;

use super::{RowTimes, by_time, kind, stops};
use crate::data::LabelledTimes;
use crate::spec::{Spec, SplitBy};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How new the rows of the training part are: so many of them are of a time or later. Some numbers of
/// rows are listed, each with the time of the oldest of so many newest rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LearnedTimes(Vec<(usize, DateTime<Utc>)>);

impl LearnedTimes {
    /// Lists the times of the newest rows: of one, two, four and so on, and of `exact` rows.
    pub(super) fn of(mut times: Vec<i64>, exact: usize) -> Self {
        times.sort_unstable();
        let doubled = std::iter::successors(Some(1_usize), |rows| rows.checked_mul(2));
        let mut listed: Vec<usize> = doubled.take_while(|rows| *rows <= times.len()).collect();
        listed.extend((1..=times.len()).contains(&exact).then_some(exact));
        listed.push(times.len());
        listed.sort_unstable();
        listed.dedup();

        let time = |rows: usize| {
            let newest = times.len().checked_sub(rows)?;
            let time = DateTime::from_timestamp_micros(*times.get(newest)?)?;
            Some((rows, time))
        };
        Self(listed.into_iter().filter_map(time).collect())
    }

    /// Returns how many rows at least are newer than a moment.
    pub(crate) fn after(&self, moment: DateTime<Utc>) -> usize {
        let newer = self.0.iter().filter(|(_, time)| *time > moment);
        newer.map(|(rows, _)| *rows).max().unwrap_or(0)
    }
}

/// The rows that a run would learn from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LearnedRows {
    /// Their times in order, in microseconds since 1970.
    Times(Vec<i64>),
    /// A share of the rows, whatever their time.
    Share(f64),
}

impl LearnedRows {
    /// Returns what a run would learn from, of the rows up to a time where one is given.
    pub(crate) fn of(spec: &Spec, rows: &LabelledTimes, until: Option<DateTime<Utc>>) -> Self {
        let times = match (&rows.times, kind_of(spec)) {
            (Some(times), SplitBy::Time) => times,
            _ => return Self::Share(share(spec)),
        };
        let end = until.map_or(times.len(), |until| {
            times.partition_point(|time| *time <= until.timestamp_micros())
        });
        let timed = RowTimes {
            times: &times[..end],
            groups: rows.groups.as_ref().map(|groups| &groups[..end]),
        };
        // Rows that cannot be split cannot be learned from.
        let last = by_time(spec, &timed).ok().and_then(|mut all| all.pop());
        let Some(mut fold) = last else {
            return Self::Times(Vec::new());
        };
        if !stops(spec) {
            fold.learn_from_stop();
        }
        let mut learned: Vec<i64> = fold.train.iter().map(|row| times[*row as usize]).collect();
        learned.sort_unstable();
        Self::Times(learned)
    }

    /// Returns how many rows of after a moment are learned from, of `all` that there are of after it.
    pub(crate) fn after(&self, moment: DateTime<Utc>, all: usize) -> usize {
        match self {
            Self::Times(times) => {
                let before = |time: &i64| *time <= moment.timestamp_micros();
                times.len() - times.partition_point(before)
            }
            Self::Share(share) => (*share * all as f64).floor() as usize,
        }
    }
}

fn kind_of(spec: &Spec) -> SplitBy {
    kind(
        spec,
        spec.schema.time.is_some(),
        spec.schema.group.is_some(),
    )
}

/// Returns the share of test rows of the last origin.
fn test_share(spec: &Spec) -> f64 {
    match kind_of(spec) {
        SplitBy::Time => spec.split.test / spec.split.folds as f64,
        _ => spec.split.test,
    }
}

/// Returns the share of rows that are learned from.
fn share(spec: &Spec) -> f64 {
    let stop = if stops(spec) { spec.split.stop } else { 0.0 };
    (1.0 - test_share(spec)) * (1.0 - stop)
}

/// Says which rows are not learned from, for a person.
pub(crate) fn held_back(spec: &Spec, all: usize) -> String {
    let test = percent(test_share(spec));
    let stop = percent(spec.split.stop);
    match (kind_of(spec), stops(spec)) {
        (SplitBy::Time, true) => format!(
            "the newest {test} of all {all} rows judge the model, and the newest {stop} of the others stop its fit"
        ),
        (SplitBy::Time, false) => format!("the newest {test} of all {all} rows judge the model"),
        (_, true) => format!(
            "{test} of the rows judge the model, and {stop} of the others stop its fit, whatever their time"
        ),
        (_, false) => format!("{test} of the rows judge the model, whatever their time"),
    }
}

/// Returns how many rows of after a moment there must be, so that `needed` of them are learned from,
/// where `before` rows are older. None where times or groups decide.
pub(crate) fn rows_needed(spec: &Spec, before: usize, needed: usize) -> Option<usize> {
    let learned = share(spec);
    match kind_of(spec) {
        SplitBy::Time if spec.schema.group.is_some() || !spec.split.embargo.is_zero() => None,
        SplitBy::Time => {
            let stop = if stops(spec) { spec.split.stop } else { 0.0 };
            let of = |all: usize| {
                let known = (all as f64 * (1.0 - test_share(spec))).floor();
                (known * (1.0 - stop)).floor() as usize
            };
            // Each part is rounded for itself, which takes a row or two more.
            let least = ((before + needed) as f64 / learned).floor() as usize;
            let all = (least..).find(|all| of(*all) >= before + needed)?;
            Some(all.saturating_sub(before))
        }
        _ => Some((needed as f64 / learned).ceil() as usize),
    }
}

fn percent(share: f64) -> String {
    let tenths = (share * 1_000.0).round() / 10.0;
    format!("{tenths} %")
}
