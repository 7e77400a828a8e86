//! Checks rows before time is spent on them: enough rows, recent rows, no
//! duplicates, no column that leaks the target.

use super::super::frame::{FrameColumn, FrameValues, MISSING};
use super::super::random::mix;
use super::super::spec::Spec;
use super::{RowTarget, Rows};
use ortus::core::count::{agreed, counted};
use ortus::core::error::short;
use ortus::core::error::{Error, Result};
use ortus::observe::quality::measure::area_of;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

/// The most rows that are checked for leaks.
const LEAK_ROWS: usize = 20_000;
/// The fewest rows of a class to check for leaks.
const HITS_MIN: f64 = 10.0;
/// Rows that are hashed at once.
const HASHED_ROWS: usize = 65_536;
/// The accepted clock skew.
const AHEAD: i64 = 3_600 * 1_000_000;

/// Refuses rows that cannot be trained on; returns notes for a person.
pub(crate) fn check(
    spec: &Spec,
    rows: &Rows,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if rows.len() < spec.data.rows_min {
        return Err(Error::invalid(format!(
            "{} {} a target, fewer than {}, 'rows_min' in [data]",
            counted(rows.len(), "row"),
            agreed(rows.len(), "has", "have"),
            spec.data.rows_min
        )));
    }

    if let Some(times) = &rows.time {
        let newest = times.iter().copied().max().unwrap_or_default();
        let now = now.timestamp_micros();
        let ahead = times.iter().filter(|t| **t > now + AHEAD).count();
        if ahead > 0 {
            return Err(Error::invalid(format!(
                "{} {} a time in the future; leave such rows out in the query. A time without a zone is taken as UTC",
                counted(ahead, "row"),
                agreed(ahead, "has", "have")
            )));
        }
        let ahead = times.iter().filter(|t| **t > now).count();
        if ahead > 0 {
            notes.push(format!(
                "{} {} a time up to an hour in the future; a time without a zone is taken as UTC",
                counted(ahead, "row"),
                agreed(ahead, "has", "have")
            ));
        }
        let age = now.saturating_sub(newest);
        if let Some(most) = spec
            .data
            .age_max
            .filter(|most| age.max(0) as u128 > most.as_micros())
        {
            let hours = age / 3_600_000_000;
            let most = most.as_secs() / 3_600;
            return Err(Error::precondition(format!(
                "the newest row is {} old, over {most}, 'age_max' in [data]",
                counted(hours, "hour")
            )));
        }
    }

    let twice = duplicates(rows);
    let share = twice as f64 / rows.len() as f64;
    if share > spec.data.duplicates_max {
        return Err(Error::invalid(format!(
            "{twice} of {} rows are duplicates, over 'duplicates_max' in [data], {}; a duplicate in both parts of a split leaks its target",
            rows.len(),
            spec.data.duplicates_max
        )));
    }

    if twice > 0 {
        notes.push(counted(twice, "duplicate row"));
    }
    let constant = rows.frame.columns.iter();
    let constant = constant.filter(|column| is_constant(&column.values));
    notes.extend(constant.map(|c| format!("'{}' has one value in all rows", short(&c.name))));
    if let Some(leak) = leaks(rows, spec.data.leak_max).first() {
        return Err(Error::invalid(format!(
            "'{}' alone predicts the target ({:.4}, over 'leak_max' in [data], {}); if it is known only after the fact, name it in 'ignore' of [schema]",
            short(&leak.column),
            leak.power,
            spec.data.leak_max
        )));
    }

    Ok(notes)
}

/// A column that predicts the target by itself.
pub(crate) struct Leak {
    pub column: String,
    /// How well, from 0.5 to 1.
    pub power: f64,
}

/// Returns the columns that predict the target better than `power_max`.
pub(crate) fn leaks(rows: &Rows, power_max: f64) -> Vec<Leak> {
    if power_max >= 1.0 {
        return Vec::new();
    }
    let step = rows.len().div_ceil(LEAK_ROWS).max(1);
    let chosen: Vec<usize> = (0..rows.len()).step_by(step).collect();
    let targets = targets(rows, &chosen);
    let columns = rows.frame.columns.par_iter().enumerate();
    let of_column = |(at, column): (usize, &FrameColumn)| {
        if is_constant(&column.values) {
            return None;
        }
        let powers = targets
            .iter()
            .map(|target| power_for_target(rows, at, &chosen, target));
        let power = powers.fold(0.5, f64::max);
        (power > power_max).then(|| Leak {
            column: column.name.clone(),
            power,
        })
    };
    columns.filter_map(of_column).collect()
}

fn is_constant(values: &FrameValues) -> bool {
    match values {
        FrameValues::Numbers(all) => all
            .windows(2)
            .all(|w| w[0].to_bits() == w[1].to_bits() || w[0] == w[1]),
        FrameValues::Words(words) => words.codes.windows(2).all(|w| w[0] == w[1]),
    }
}

/// Returns the number of rows that repeat an earlier one, target and time included.
pub(crate) fn duplicates(rows: &Rows) -> usize {
    let mut hashes = hashes(rows);
    hashes.par_sort_unstable();
    hashes.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

/// Returns the rows that do not repeat an earlier one.
pub(crate) fn distinct_rows(rows: &Rows) -> Vec<u32> {
    let mut seen = HashSet::with_capacity(rows.len());
    let hashes = hashes(rows);
    let all = (0_u32..).zip(&hashes);
    all.filter(|(_, hash)| seen.insert(**hash))
        .map(|(row, _)| row)
        .collect()
}

/// Hashes each row, column by column.
fn hashes(rows: &Rows) -> Vec<u64> {
    let mut hashes = vec![0_u64; rows.len()];
    let target = rows.target.numbers();
    let parts = hashes.par_chunks_mut(HASHED_ROWS).enumerate();
    parts.for_each(|(at, part)| hash_part(rows, &target, at * HASHED_ROWS, part));
    hashes
}

/// Hashes rows from one on.
fn hash_part(rows: &Rows, target: &[f32], from: usize, hashes: &mut [u64]) {
    let mut add = |value: &dyn Fn(usize) -> u64| {
        for (at, hash) in hashes.iter_mut().enumerate() {
            *hash = mix(*hash, value(from + at));
        }
    };
    for column in &rows.frame.columns {
        match &column.values {
            FrameValues::Numbers(all) => add(&|row| all[row].to_bits().into()),
            FrameValues::Words(words) => add(&|row| words.codes[row].into()),
        }
    }
    for source in &rows.frame.sources {
        add(&|row| source.values[row].to_bits());
    }
    add(&|row| target[row].to_bits().into());
    if let Some(times) = &rows.time {
        add(&|row| times[row].cast_unsigned());
    }
    if let Some(groups) = &rows.group {
        add(&|row| groups[row].into());
    }
}

/// Returns the target of some rows as numbers; of classes, whether the row is of the class, for
/// each class, or only for the second of two.
fn targets(rows: &Rows, chosen: &[usize]) -> Vec<Vec<f64>> {
    match &rows.target {
        RowTarget::Values(values) => vec![chosen.iter().map(|r| f64::from(values[*r])).collect()],
        RowTarget::Classes { of, names } => {
            let first = usize::from(names.len() == 2);
            (first..names.len())
                .map(|class| {
                    let is = |row: &usize| f64::from(u8::from(of[*row] as usize == class));
                    chosen.iter().map(is).collect()
                })
                .collect()
        }
    }
}

/// Returns how well one column predicts the target, from 0.5 to 1: its AUC, for the class
/// it predicts best; for regression, the probability that it orders two rows as
/// the target does. A category counts as the mean target of its other rows.
fn power_for_target(rows: &Rows, at: usize, chosen: &[usize], target: &[f64]) -> f64 {
    let is_class = matches!(rows.target, RowTarget::Classes { .. });
    // With few rows of a class, any column predicts it by chance.
    if is_class && target.iter().sum::<f64>() < HITS_MIN {
        return 0.5;
    }

    // A category's mean without its own row falls as the row's target rises, so only
    // one direction counts.
    match (&rows.frame.columns[at].values, is_class) {
        (FrameValues::Words(words), _) => {
            let codes: Vec<u32> = chosen.iter().map(|r| words.codes[*r]).collect();
            let values = leave_one_out_means(&codes, target);
            if is_class {
                area(&values, target)
            } else {
                0.5 + correlation(&ranks(&values), &ranks(target)).max(0.0) / 2.0
            }
        }
        (FrameValues::Numbers(all), true) => {
            let values: Vec<f64> = chosen.iter().map(|r| f64::from(all[*r])).collect();
            let area = area(&values, target);
            area.max(1.0 - area)
        }
        (FrameValues::Numbers(all), false) => {
            let values: Vec<f64> = chosen.iter().map(|r| f64::from(all[*r])).collect();
            0.5 + correlation(&ranks(&values), &ranks(target)).abs() / 2.0
        }
    }
}

/// Returns each row's category as the mean target of its other rows.
fn leave_one_out_means(codes: &[u32], target: &[f64]) -> Vec<f64> {
    let mut sums: HashMap<u32, (f64, f64)> = HashMap::new();
    for (code, target) in codes.iter().zip(target) {
        let sum = sums.entry(*code).or_default();
        *sum = (sum.0 + target, sum.1 + 1.0);
    }
    let mean = target.iter().sum::<f64>() / target.len().max(1) as f64;
    let one = |(code, target): (&u32, &f64)| match sums[code] {
        (_, n) if n < 2.0 || *code == MISSING => mean,
        (sum, n) => (sum - target) / (n - 1.0),
    };
    codes.iter().zip(target).map(one).collect()
}

/// Returns the AUC of values for rows with target 1; missing values rank
/// lowest.
fn area(values: &[f64], target: &[f64]) -> f64 {
    let rows = values
        .iter()
        .zip(target)
        .map(|(value, target)| (rank_key(*value), *target == 1.0));
    area_of(rows.collect()).unwrap_or(0.5)
}

/// Returns a sort key; a missing value ranks lowest.
fn rank_key(value: f64) -> f64 {
    if value.is_nan() {
        f64::NEG_INFINITY
    } else {
        value
    }
}

/// Returns ranks from 0, with the mean rank for equal values.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| rank_key(values[*a]).total_cmp(&rank_key(values[*b])));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    for tied in order.chunk_by(|a, b| rank_key(values[*a]) == rank_key(values[*b])) {
        let middle = from as f64 + (tied.len() - 1) as f64 / 2.0;
        tied.iter().for_each(|at| ranks[*at] = middle);
        from += tied.len();
    }

    ranks
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (ma, mb) = (mean(a), mean(b));
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum::<f64>();
    let spread = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    if spread > 0.0 {
        sum(&|x, y| x * y) / spread
    } else {
        0.0
    }
}
