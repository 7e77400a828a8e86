//! Rows without a target. Nothing is learned from them and no model is judged by them, but a server gets such
//! rows too, so they belong to the baseline of the version.

use super::Rows;
use super::percent::percent;
use crate::frame::{Frame, FrameColumn, FrameValues, MISSING};
use crate::random::mix;
use ortus::core::error::short;

/// The seed of the choice of rows.
const SEED: u64 = 7;
/// The most rows that are kept.
const ROWS_MAX: usize = 200_000;

/// The fewest rows without a target to judge columns by.
const JUDGED_MIN: usize = 20;
/// The share of rows without a target from which on a column may be, or is taken to be, known only after the outcome.
const MAY_BE: f64 = 0.5;
const IS: f64 = 0.9;
/// The largest share of the other rows, as a part of that share.
const ELSEWHERE_MAX: f64 = 0.01;

/// In how many rows a column has no value, of those without a target and of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MissingBeside {
    pub unlabelled: usize,
    pub of_unlabelled: usize,
    pub labelled: usize,
    pub of_labelled: usize,
}

/// How a column is missing where the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutcomeDoubt {
    MayBeOutcome,
    /// It is known only after the outcome, as the target is.
    IsOutcome,
}

impl MissingBeside {
    /// Returns whether the column is missing with the target, and hardly otherwise.
    pub(crate) fn doubt(&self) -> Option<OutcomeDoubt> {
        let share = |rows: usize, of: usize| rows as f64 / of.max(1) as f64;
        let together = share(self.unlabelled, self.of_unlabelled);
        let elsewhere = share(self.labelled, self.of_labelled);
        if self.of_unlabelled < JUDGED_MIN || elsewhere > ELSEWHERE_MAX * together {
            return None;
        }
        match together {
            share if share >= IS => Some(OutcomeDoubt::IsOutcome),
            share if share >= MAY_BE => Some(OutcomeDoubt::MayBeOutcome),
            _ => None,
        }
    }

    /// Describes it for a person, without the name of the column.
    pub(crate) fn told(&self, target: &str) -> String {
        format!(
            "is missing in {} of the rows without '{target}' and in {} of the others",
            percent(self.unlabelled, self.of_unlabelled),
            percent(self.labelled, self.of_labelled)
        )
    }
}

/// Rows without a target, evenly chosen if there are very many.
#[derive(Clone, Debug)]
pub(crate) struct UnlabelledRows {
    pub frame: Frame,
    /// Microseconds since 1970.
    time: Option<Vec<i64>>,
    /// How many rows with a target each one follows.
    follows: Vec<u32>,
    /// How many rows without a target each one stands for.
    stands_for: usize,
}

impl UnlabelledRows {
    /// Takes the rows that are not among the labelled ones, which are in order.
    pub(super) fn of(rows: &Rows, labelled: &[u32]) -> Self {
        let (mut chosen, mut follows) = (Vec::new(), Vec::new());
        let mut known = labelled.iter().copied().peekable();
        let mut before = 0;
        for row in 0..rows.len() as u32 {
            if known.next_if_eq(&row).is_some() {
                before += 1;
            } else {
                chosen.push(row);
                follows.push(before);
            }
        }
        let stands_for = chosen.len().div_ceil(ROWS_MAX).max(1);
        let chosen: Vec<u32> = chosen.into_iter().step_by(stands_for).collect();
        Self {
            frame: rows.frame.take(&chosen),
            time: super::taken(rows.time.as_ref(), &chosen),
            follows: follows.into_iter().step_by(stands_for).collect(),
            stands_for,
        }
    }

    /// Returns what to say of columns that are missing where the target is.
    pub(super) fn notes(&self, rows: &Rows, target: &str) -> Vec<String> {
        let pairs = rows.frame.columns.iter().zip(&self.frame.columns);
        let beside = |(labelled, unlabelled): (&FrameColumn, &FrameColumn)| MissingBeside {
            unlabelled: missing(&unlabelled.values),
            of_unlabelled: self.frame.rows,
            labelled: missing(&labelled.values),
            of_labelled: rows.len(),
        };
        let all: Vec<MissingBeside> = pairs.map(beside).collect();
        // Rows that are empty altogether tell nothing.
        if all.iter().all(|beside| beside.doubt().is_some()) {
            return Vec::new();
        }
        let told = |(column, beside): (&FrameColumn, &MissingBeside)| {
            beside.doubt().map(|_| {
                format!(
                    "'{}' {}: if it is known only after the outcome, name it in 'ignore' of [schema]",
                    short(&column.name),
                    beside.told(target)
                )
            })
        };
        rows.frame
            .columns
            .iter()
            .zip(&all)
            .filter_map(told)
            .collect()
    }

    /// Returns rows of the time of some labelled rows: of the rows without a target about as many as these are of those
    /// with one.
    pub(crate) fn beside(&self, rows: &Rows, labelled: &[u32]) -> Vec<u32> {
        let times = || labelled.iter().map(|row| rows.time_of(*row));
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            return Vec::new();
        };
        let is_in = |time: i64| (first..=last).contains(&time);
        let all = 0..rows.len() as u32;
        let of_their_time = all.filter(|row| is_in(rows.time_of(*row))).count();
        let share = (labelled.len() * self.stands_for) as f64 / of_their_time as f64;
        // By chance: every tenth row may be of one kind.
        let below = (share * u64::MAX as f64) as u64;
        let is_due = |row: &u32| mix(SEED, u64::from(*row)) <= below;
        let kept = 0..self.follows.len() as u32;
        let in_time = kept.filter(|row| is_in(self.place(*row).0));
        in_time.filter(is_due).collect()
    }

    /// Returns where a row stands among those with a target: its time, and how many of them it follows.
    pub(crate) fn place(&self, row: u32) -> (i64, u32) {
        let at = row as usize;
        let time = self.time.as_ref().map_or(0, |times| times[at]);
        (time, self.follows[at])
    }
}

fn missing(values: &FrameValues) -> usize {
    match values {
        FrameValues::Numbers(all) => all.iter().filter(|value| value.is_nan()).count(),
        FrameValues::Words(words) => words.codes.iter().filter(|code| **code == MISSING).count(),
    }
}
