//! Divides rows into training, stopping and test rows. Rows that have a time are
//! split by time: the latest rows are the test rows, after an embargo. Pure.

pub(crate) mod learned;
#[cfg(test)]
mod tests;

use crate::data::Rows;
use crate::random::mix;
use crate::spec::{Algorithm, CalibrationMethod, Spec, SplitBy};
use learned::LearnedTimes;
use ortus::core::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The rows of one origin, by index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fold {
    pub train: Vec<u32>,
    /// Empty for an algorithm without early stopping.
    pub stop: Vec<u32>,
    pub test: Vec<u32>,
}

/// The sizes of a split, for the record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SplitSummary {
    pub by: String,
    /// How new the rows of the training part are, if rows have a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned_times: Option<LearnedTimes>,
    /// Rows of no part: inside the embargo, or of a group that is in the other part.
    pub left_out: usize,
    /// Why rows that have a time were not split by time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_reason: Option<String>,
    pub stop: usize,
    pub test: usize,
    pub train: usize,
}

/// Splits rows, origin by origin; the model of the last origin is published.
pub(crate) fn split(spec: &Spec, rows: &Rows) -> Result<(Vec<Fold>, SplitSummary)> {
    let by = kind(spec, rows.time.is_some(), rows.group.is_some());
    let mut folds: Vec<Fold> = match by {
        SplitBy::Time => by_time(spec, &RowTimes::of(rows)?)?,
        _ => by_unit(spec, rows, by == SplitBy::Group || rows.group.is_some())?,
    };
    for (at, fold) in folds.iter().enumerate() {
        check(rows, fold)
            .map_err(|e| e.context(format_args!("origin {} of {}", at + 1, folds.len())))?;
    }
    if !stops(spec) {
        folds.iter_mut().for_each(Fold::learn_from_stop);
    }

    let last = folds
        .last()
        .ok_or_else(|| Error::internal("the split has no origin"))?;
    let used = last.train.len() + last.stop.len() + last.test.len();
    let word = match by {
        SplitBy::Time => "time",
        SplitBy::Group => "group",
        _ => "random",
    };

    let times_of = |times: &Vec<i64>| last.train.iter().map(|row| times[*row as usize]).collect();
    let alarm_rows = spec.triggers.alarm_rows;
    let summary = SplitSummary {
        by: word.to_owned(),
        learned_times: rows
            .time
            .as_ref()
            .map(|times| LearnedTimes::of(times_of(times), alarm_rows)),
        override_reason: spec
            .split
            .override_reason
            .clone()
            .filter(|_| by != SplitBy::Time && rows.time.is_some()),
        train: last.train.len(),
        stop: last.stop.len(),
        test: last.test.len(),
        left_out: rows.len() - used,
    };

    Ok((folds, summary))
}

/// Returns how rows are split.
fn kind(spec: &Spec, has_time: bool, has_group: bool) -> SplitBy {
    match spec.split.by {
        SplitBy::Auto if has_time => SplitBy::Time,
        SplitBy::Auto if has_group => SplitBy::Group,
        SplitBy::Auto => SplitBy::Random,
        by => by,
    }
}

/// Returns whether rows are kept back to stop the fit by, or to calibrate it.
fn stops(spec: &Spec) -> bool {
    spec.fit.algorithm != Algorithm::Linear || spec.fit.calibration != CalibrationMethod::None
}

impl Fold {
    /// Makes the stopping rows training rows too.
    fn learn_from_stop(&mut self) {
        self.train.append(&mut self.stop);
        self.train.sort_unstable();
    }
}

/// Refuses parts that are empty or lack a class.
fn check(rows: &Rows, fold: &Fold) -> Result<()> {
    for (part, name) in [
        (&fold.train, "train"),
        (&fold.stop, "stop"),
        (&fold.test, "test"),
    ] {
        if part.is_empty() {
            return Err(Error::invalid(format!(
                "no rows are left in the {name} part; add rows, or shorten 'embargo' in [split]"
            )));
        }
    }

    let weighs = |row: &u32| rows.weight.as_ref().is_none_or(|w| w[*row as usize] > 0.0);
    if [&fold.train, &fold.stop]
        .into_iter()
        .any(|part| !part.iter().any(weighs))
    {
        return Err(Error::invalid(
            "all training rows, or all stopping rows, have the weight 0",
        ));
    }

    if let crate::data::RowTarget::Classes { of, names } = &rows.target {
        let seen: HashSet<u32> = fold
            .train
            .iter()
            .filter(|r| weighs(r))
            .map(|r| of[*r as usize])
            .collect();
        if let Some(absent) = (0..names.len()).find(|class| !seen.contains(&(*class as u32))) {
            let name = ortus::core::error::short(&names[absent]);
            return Err(Error::invalid(format!(
                "no training row is of the class '{name}'"
            )));
        }
    }

    Ok(())
}

/// The times of rows, in microseconds since 1970, and their groups.
struct RowTimes<'r> {
    times: &'r [i64],
    groups: Option<&'r [u32]>,
}

impl<'r> RowTimes<'r> {
    fn of(rows: &'r Rows) -> Result<Self> {
        let times = rows.time.as_deref();
        Ok(Self {
            times: times.ok_or_else(|| Error::internal("rows have no time"))?,
            groups: rows.group.as_deref(),
        })
    }
}

fn by_time(spec: &Spec, rows: &RowTimes<'_>) -> Result<Vec<Fold>> {
    let times = rows.times;
    let embargo = i64::try_from(spec.split.embargo.as_micros()).unwrap_or(i64::MAX);

    let mut order: Vec<u32> = (0..times.len() as u32).collect();
    order.sort_by_key(|row| (times[*row as usize], *row));
    let time_at = |place: usize| times[order[place.min(order.len() - 1)] as usize];
    let n = order.len() as f64;
    let (folds, test) = (spec.split.folds, spec.split.test);
    let mut all = Vec::new();
    for fold in 0..folds {
        let place = |share: f64| (n * share).floor() as usize;
        let from = time_at(place(1.0 - test + test * fold as f64 / folds as f64));
        let to = (fold + 1 < folds)
            .then(|| time_at(place(1.0 - test + test * (fold + 1) as f64 / folds as f64)));
        let judged = order.iter().copied().filter(|row| {
            let time = times[*row as usize];
            time >= from && to.is_none_or(|to| time < to)
        });
        let before = |end: i64| -> Vec<u32> {
            let end = end.saturating_sub(embargo);
            order
                .iter()
                .copied()
                .take_while(|row| times[*row as usize] < end)
                .collect()
        };
        let known = before(from);
        let at = (known.len() as f64 * (1.0 - spec.split.stop)).floor() as usize;
        let Some(stop_from) = known.get(at).map(|row| times[*row as usize]) else {
            return Err(Error::invalid(
                "no rows are left for training; add rows, or shorten 'embargo' in [split]",
            ));
        };
        let stop = known
            .iter()
            .copied()
            .filter(|row| times[*row as usize] >= stop_from)
            .collect();
        let mut parts = Fold {
            train: before(stop_from),
            stop,
            test: judged.collect(),
        };
        separate_groups(rows.groups, &mut parts);
        all.push(parts);
    }

    Ok(all)
}

/// Removes rows whose group is in a later part too.
fn separate_groups(groups: Option<&[u32]>, fold: &mut Fold) {
    let Some(groups) = groups else { return };
    let of = |part: &[u32]| {
        part.iter()
            .map(|row| groups[*row as usize])
            .collect::<HashSet<u32>>()
    };

    let tested = of(&fold.test);
    fold.stop
        .retain(|row| !tested.contains(&groups[*row as usize]));
    let stopped = of(&fold.stop);
    fold.train.retain(|row| {
        let group = &groups[*row as usize];
        !tested.contains(group) && !stopped.contains(group)
    });
}

/// Shuffles rows, or groups of them, class by class, and cuts them.
fn by_unit(spec: &Spec, rows: &Rows, is_grouped: bool) -> Result<Vec<Fold>> {
    let (folds, test) = (spec.split.folds, spec.split.test);
    if folds as f64 * test > 1.0 + 1e-9 {
        return Err(Error::invalid(format!(
            "'folds' times 'test' in [split] is {:.3}; it must be at most 1",
            folds as f64 * test
        )));
    }

    let units = match rows.group.as_ref().filter(|_| is_grouped) {
        Some(groups) => group_units(groups),
        None => (0..rows.len() as u32).map(|row| vec![row]).collect(),
    };
    let mut all = vec![Fold::default(); folds];
    for stratum in strata(spec, rows, units, is_grouped) {
        for (at, fold) in all.iter_mut().enumerate() {
            // The last origin tests on the last rows of the shuffle.
            let tested = Share {
                from: 1.0 - test * (folds - at) as f64,
                to: 1.0 - test * (folds - at - 1) as f64,
            };
            cut(&stratum, tested, spec.split.stop, fold);
        }
    }

    for fold in &mut all {
        for part in [&mut fold.train, &mut fold.stop, &mut fold.test] {
            part.sort_unstable();
        }
    }
    Ok(all)
}

/// Rows that stay together: those of a group, or a single one.
type Unit = Vec<u32>;

/// Returns the rows of each group.
fn group_units(groups: &[u32]) -> Vec<Unit> {
    let count = groups.iter().max().map_or(0, |group| *group as usize + 1);
    let mut units = vec![Vec::new(); count];
    for (group, row) in groups.iter().zip(0_u32..) {
        units[*group as usize].push(row);
    }
    units.retain(|unit| !unit.is_empty());
    units
}

/// Shuffles units class by class, so that each part gets its share of every class.
/// Groups, which may hold rows of several classes, are one stratum.
fn strata(spec: &Spec, rows: &Rows, units: Vec<Unit>, is_grouped: bool) -> Vec<Vec<Unit>> {
    let class = |unit: &Unit| match &rows.target {
        crate::data::RowTarget::Classes { of, .. } if !is_grouped => of[unit[0] as usize],
        _ => 0,
    };
    let mut order: Vec<(usize, Unit)> = units.into_iter().enumerate().collect();
    order
        .sort_by_key(|(number, unit)| (class(unit), mix(u64::from(spec.fit.seed), *number as u64)));

    let mut strata: Vec<Vec<Unit>> = Vec::new();
    for (_, unit) in order {
        match strata.last_mut() {
            Some(last) if class(&last[0]) == class(&unit) => last.push(unit),
            _ => strata.push(vec![unit]),
        }
    }
    strata
}

/// A range of the rows of a stratum, as shares.
#[derive(Clone, Copy)]
struct Share {
    from: f64,
    to: f64,
}

/// Adds the units of a stratum to the parts of a fold: the test rows, then the
/// stopping rows, and the rest to the training rows.
fn cut(stratum: &[Unit], tested: Share, stop: f64, fold: &mut Fold) {
    let count: usize = stratum.iter().map(Vec::len).sum();
    let mut passed = 0;
    let mut rest: Vec<&Unit> = Vec::new();
    for unit in stratum {
        let share = passed as f64 / count as f64;
        passed += unit.len();
        if share >= tested.from - 1e-12 && share < tested.to - 1e-12 {
            fold.test.extend(unit);
        } else {
            rest.push(unit);
        }
    }

    let known: usize = rest.iter().map(|unit| unit.len()).sum();
    let mut passed = 0;
    for unit in rest {
        let part = if (passed as f64) < stop * known as f64 {
            &mut fold.stop
        } else {
            &mut fold.train
        };
        part.extend(unit);
        passed += unit.len();
    }
}
