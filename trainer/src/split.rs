//! Divides rows into training, stopping and test rows. Rows that have a time are
//! split by time: the latest rows are the test rows, after an embargo. Pure.

use crate::data::Rows;
use crate::random::mix;
use crate::spec::{Algorithm, Spec, SplitBy};
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
    let by = match spec.split.by {
        SplitBy::Auto if rows.time.is_some() => SplitBy::Time,
        SplitBy::Auto if rows.group.is_some() => SplitBy::Group,
        SplitBy::Auto => SplitBy::Random,
        by => by,
    };
    let mut folds: Vec<Fold> = match by {
        SplitBy::Time => by_time(spec, rows)?,
        _ => by_unit(spec, rows, by == SplitBy::Group || rows.group.is_some())?,
    };
    for (at, fold) in folds.iter().enumerate() {
        check(rows, fold)
            .map_err(|e| e.context(format_args!("origin {} of {}", at + 1, folds.len())))?;
    }
    if spec.fit.algorithm == Algorithm::Linear {
        // Without early stopping, those rows are training rows too.
        for fold in &mut folds {
            fold.train.append(&mut fold.stop);
            fold.train.sort_unstable();
        }
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
    let summary = SplitSummary {
        by: word.to_owned(),
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
    if let crate::data::Target::Classes { of, names } = &rows.target {
        let seen: HashSet<u32> = fold
            .train
            .iter()
            .filter(|r| weighs(r))
            .map(|r| of[*r as usize])
            .collect();
        if let Some(absent) = (0..names.len()).find(|class| !seen.contains(&(*class as u32))) {
            let name = ortus::core::model::short(&names[absent]);
            return Err(Error::invalid(format!(
                "no training row is of the class '{name}'"
            )));
        }
    }
    Ok(())
}

fn by_time(spec: &Spec, rows: &Rows) -> Result<Vec<Fold>> {
    let times = rows
        .time
        .as_ref()
        .ok_or_else(|| Error::internal("rows have no time"))?;
    let embargo = i64::try_from(spec.split.embargo.as_micros()).unwrap_or(i64::MAX);
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
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
        apart(rows, &mut parts);
        all.push(parts);
    }
    Ok(all)
}

/// Removes rows whose group is in a later part too.
fn apart(rows: &Rows, fold: &mut Fold) {
    let Some(groups) = &rows.group else { return };
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
            "{folds} folds of {test} of the rows are more than there are"
        )));
    }
    let units: Vec<Vec<u32>> = match rows.group.as_ref().filter(|_| is_grouped) {
        Some(groups) => {
            let count = groups.iter().max().map_or(0, |g| *g as usize + 1);
            let mut units = vec![Vec::new(); count];
            groups
                .iter()
                .zip(0_u32..)
                .for_each(|(group, row)| units[*group as usize].push(row));
            units.retain(|u| !u.is_empty());
            units
        }
        None => (0..rows.len() as u32).map(|row| vec![row]).collect(),
    };
    // Rows class by class, so that each part has its share of every class.
    let stratum = |unit: &Vec<u32>| match &rows.target {
        crate::data::Target::Classes { of, .. } if !is_grouped => of[unit[0] as usize],
        _ => 0,
    };
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by_key(|unit| {
        (
            stratum(&units[*unit]),
            mix(u64::from(spec.fit.seed), *unit as u64),
        )
    });
    let mut strata: Vec<Vec<usize>> = Vec::new();
    for unit in order {
        match strata.last_mut() {
            Some(last) if stratum(&units[last[0]]) == stratum(&units[unit]) => last.push(unit),
            _ => strata.push(vec![unit]),
        }
    }
    let mut all = vec![Fold::default(); folds];
    for units_of in strata {
        let count: usize = units_of.iter().map(|u| units[*u].len()).sum();
        for (at, fold) in all.iter_mut().enumerate() {
            // The last origin tests on the last rows of the shuffle.
            let judged = (
                1.0 - test * (folds - at) as f64,
                1.0 - test * (folds - at - 1) as f64,
            );
            let mut passed = 0;
            let mut rest = Vec::new();
            for unit in &units_of {
                let share = passed as f64 / count as f64;
                passed += units[*unit].len();
                if share >= judged.0 - 1e-12 && share < judged.1 - 1e-12 {
                    fold.test.extend(&units[*unit]);
                } else {
                    rest.push(*unit);
                }
            }
            let known: usize = rest.iter().map(|u| units[*u].len()).sum();
            let mut passed = 0;
            for unit in rest {
                let is_stop = (passed as f64) < spec.split.stop * known as f64;
                passed += units[unit].len();
                (if is_stop {
                    &mut fold.stop
                } else {
                    &mut fold.train
                })
                .extend(&units[unit]);
            }
        }
    }
    for fold in &mut all {
        [&mut fold.train, &mut fold.stop, &mut fold.test]
            .into_iter()
            .for_each(|part| part.sort_unstable());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Manifest, Target};
    use crate::frame::{Column, Frame, Values};
    use std::time::Duration;

    fn rows(count: usize) -> Rows {
        let column = Column {
            name: "x".to_owned(),
            values: Values::Numbers(vec![0.0; count]),
        };
        let of = (0..count).map(|r| u32::from(r % 4 == 0)).collect();
        Rows {
            frame: Frame {
                columns: vec![column],
                rows: count,
            },
            target: Target::Classes {
                of,
                names: vec!["no".to_owned(), "yes".to_owned()],
            },
            time: None,
            group: None,
            weight: None,
            manifest: Manifest::default(),
            notes: Vec::new(),
        }
    }

    fn whole(fold: &Fold) -> Vec<u32> {
        let mut all = [&fold.train[..], &fold.stop, &fold.test].concat();
        all.sort_unstable();
        all
    }

    #[test]
    fn rows_with_a_time_are_judged_by_the_last_behind_a_gap() {
        let mut spec = Spec::default();
        (spec.split.embargo, spec.split.folds) = (Duration::from_secs(10), 2);
        let mut rows = rows(1_000);
        // Backwards, and two at each second.
        let times: Vec<i64> = (0..1_000).map(|r| (999 - r) / 2 * 1_000_000).collect();
        rows.time = Some(times.clone());
        let (folds, told) = split(&spec, &rows).expect("splits");
        let of = |part: &[u32]| {
            let all = part.iter().map(|r| times[*r as usize]);
            (
                all.clone().min().expect("rows") / 1_000_000,
                all.max().expect("rows") / 1_000_000,
            )
        };
        assert_eq!(
            (of(&folds[0].test), of(&folds[1].test)),
            ((400, 449), (450, 499))
        );
        assert_eq!(
            of(&folds[1].stop).1,
            439,
            "a gap of ten seconds before what it is judged by"
        );
        assert_eq!(
            of(&folds[1].train).1 + 10,
            of(&folds[1].stop).0 - 1,
            "and before what it stops by"
        );
        assert_eq!((told.by.as_str(), told.left_out), ("time", 40));
    }

    #[test]
    fn times_that_repeat_stay_together_and_pauses_part_rows_where_they_are() {
        let parted = |time: &dyn Fn(i64) -> i64| {
            let mut rows = rows(1_000);
            rows.time = Some((0..1_000).map(|r| time(r) * 1_000_000).collect());
            split(&Spec::default(), &rows)
                .map(|(folds, _)| folds.into_iter().next_back().expect("an origin"))
        };
        assert!(
            parted(&|_| 7).is_err_and(|e| e.message.contains("no rows are left")),
            "one moment"
        );
        // Three hundred rows at the moment from which it is judged.
        let fold = parted(&|r| if (600..900).contains(&r) { 600 } else { r }).expect("splits");
        assert_eq!(
            (fold.test[0], fold.test.len(), fold.stop.last()),
            (600, 400, Some(&599))
        );
        // A year without rows.
        let fold = parted(&|r| if r < 500 { r } else { r + 31_536_000 }).expect("splits");
        assert_eq!(
            (fold.train[0], fold.test.len(), fold.test[0]),
            (0, 200, 800)
        );
        assert_eq!(whole(&fold).len(), 1_000, "nothing is lost in it");
    }

    #[test]
    fn groups_are_never_on_two_sides() {
        let mut spec = Spec::default();
        let mut rows = rows(1_000);
        let groups: Vec<u32> = (0..1_000).map(|r| r % 37).collect();
        rows.group = Some(groups.clone());
        let of = |part: &[u32]| {
            part.iter()
                .map(|r| groups[*r as usize])
                .collect::<HashSet<u32>>()
        };
        let apart = |fold: &Fold| {
            let (train, stop, test) = (of(&fold.train), of(&fold.stop), of(&fold.test));
            assert!(
                train.is_disjoint(&test) && train.is_disjoint(&stop) && stop.is_disjoint(&test)
            );
        };
        let (folds, told) = split(&spec, &rows).expect("splits");
        apart(&folds[0]);
        assert_eq!((told.by.as_str(), whole(&folds[0]).len()), ("group", 1_000));
        rows.time = Some((0..1_000).collect());
        rows.group = Some(groups.iter().map(|g| g + 37 * u32::from(*g > 30)).collect());
        let groups: Vec<u32> = (0..1_000).map(|r| r / 90).collect();
        rows.group = Some(groups.clone());
        let of = |part: &[u32]| {
            part.iter()
                .map(|r| groups[*r as usize])
                .collect::<HashSet<u32>>()
        };
        let (folds, _) = split(&spec, &rows).expect("splits");
        assert!(of(&folds[0].train).is_disjoint(&of(&folds[0].test)));
        spec.split.by = SplitBy::Random;
        spec.split.override_reason = Some("why not".to_owned());
        assert_eq!(
            split(&spec, &rows)
                .expect("splits")
                .1
                .override_reason
                .as_deref(),
            Some("why not")
        );
    }

    #[test]
    fn at_random_every_part_has_its_share_of_every_class_and_every_row_one_part() {
        let mut spec = Spec::default();
        spec.split.folds = 3;
        let rows = rows(1_000);
        let (folds, _) = split(&spec, &rows).expect("splits");
        let Target::Classes { of, .. } = &rows.target else {
            panic!("classes")
        };
        for fold in &folds {
            assert_eq!(whole(fold), (0..1_000).collect::<Vec<u32>>());
            let share = fold.test.iter().filter(|r| of[**r as usize] == 1).count();
            assert_eq!((fold.test.len(), share), (200, 50));
        }
        let tested: HashSet<u32> = folds.iter().flat_map(|f| f.test.iter().copied()).collect();
        assert_eq!(tested.len(), 600, "each is judged by other rows");
        assert_eq!(
            split(&spec, &rows).expect("splits").0,
            folds,
            "the same seed"
        );
        spec.fit.seed = 8;
        assert_ne!(
            split(&spec, &rows).expect("splits").0,
            folds,
            "another seed"
        );
        spec.split.folds = 6;
        assert!(split(&spec, &rows).is_err_and(|e| e.message.contains("more than there are")));
    }

    #[test]
    fn a_part_without_rows_or_a_class_is_refused() {
        let mut spec = Spec::default();
        spec.split.embargo = Duration::from_secs(10_000);
        let mut rows = rows(100);
        rows.time = Some((0..100).map(|r| r * 1_000_000).collect());
        assert!(split(&spec, &rows).is_err_and(|e| e.message.contains("embargo")));
        spec.split.embargo = Duration::ZERO;
        let of = (0..100).map(|r| u32::from(r >= 95)).collect();
        rows.target = Target::Classes {
            of,
            names: vec!["no".to_owned(), "yes".to_owned()],
        };
        assert!(split(&spec, &rows).is_err_and(|e| e.message.contains("of the class 'yes'")));
    }
}
