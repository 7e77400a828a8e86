//! The labelled rows of one version, by prediction, row and the hour of the prediction. Exact and
//! bounded: when it is full, the oldest hour is dropped first.

#[cfg(test)]
mod tests;

use super::answer::{RowAnswer, Truth};
use super::measure::{Measures, measure};
use crate::observe::report::performance::{CohortPerformance, SlicePerformance, named};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Most hours that are kept, with or without labels.
const HOURS_MAX: usize = 24 * 100;

/// A labelled row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub answer: RowAnswer,
    pub truth: Truth,
    /// The part that the row belongs to, for each slice in order.
    pub parts: Vec<String>,
    /// When the label was accepted. The latest label counts, in whatever order they are read.
    pub time_us: i64,
}

impl Row {
    /// Returns when the label was accepted.
    pub(crate) fn time(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.time_us).unwrap_or_default()
    }
}

/// The labelled rows of one version.
#[derive(Default)]
pub(crate) struct Book {
    hours: BTreeMap<u64, Cohort>,
    rows: usize,
    rows_max: usize,
    pub version: u64,
    /// The columns by which rows are grouped.
    pub slices: Vec<String>,
}

/// The predictions of an hour.
#[derive(Default)]
struct Cohort {
    /// Rows predicted by this run of the server that may receive labels.
    predicted: u64,
    /// Rows predicted by other runs, and by other servers.
    elsewhere: BTreeMap<Uuid, u64>,
    /// Rows that received a label, those included that were dropped.
    ever_labelled: u64,
    labelled: BTreeMap<(Uuid, u32), Row>,
}

impl Cohort {
    /// Returns the rows that all runs of all servers predicted.
    fn predicted_rows(&self) -> u64 {
        self.predicted + self.elsewhere.values().sum::<u64>()
    }
}

/// The rows of some hours, summed up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    pub from: String,
    pub predicted_rows: u64,
    pub labelled_rows: u64,
    /// Share of the predicted rows that have a label; none without such rows.
    pub maturity: Option<f64>,
    pub measures: Measures,
}

impl Summary {
    /// Returns the summary for reports.
    pub(crate) fn report(&self) -> CohortPerformance {
        CohortPerformance {
            from: self.from.clone(),
            predicted_rows: self.predicted_rows,
            labelled_rows: self.labelled_rows,
            maturity: self.maturity,
            measures: named(&self.measures),
        }
    }
}

/// What adding a labelled row did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOutcome {
    New,
    /// The label was changed.
    Corrected,
    /// The label was known already, or is older than the known one.
    Same,
    /// The row was dropped, because there are enough newer ones.
    Dropped,
}

impl Book {
    /// Starts empty; keeps at most `rows_max` labelled rows.
    pub(crate) fn new(version: u64, slices: Vec<String>, rows_max: usize) -> Self {
        Self {
            rows_max,
            version,
            slices,
            ..Self::default()
        }
    }

    /// Counts predicted rows of an hour.
    pub(crate) fn predicted(&mut self, hour: u64, rows: u64) {
        self.hours.entry(hour).or_default().predicted += rows;
        while self.hours.len() > HOURS_MAX {
            self.drop_oldest();
        }
    }

    /// Sets how many rows of an hour another run of a server predicted.
    pub(crate) fn predicted_elsewhere(&mut self, hour: u64, run: Uuid, rows: u64) {
        let cohort = self.hours.entry(hour).or_default();
        cohort.elsewhere.insert(run, rows);
        while self.hours.len() > HOURS_MAX {
            self.drop_oldest();
        }
    }

    /// Adds a labelled row.
    pub(crate) fn label(&mut self, hour: u64, key: (Uuid, u32), row: Row) -> RowOutcome {
        let cohort = self.hours.entry(hour).or_default();
        match cohort.labelled.get_mut(&key) {
            Some(known) if known.truth == row.truth || known.time_us >= row.time_us => {
                known.time_us = known.time_us.max(row.time_us);
                return RowOutcome::Same;
            }
            Some(known) => {
                (known.truth, known.time_us) = (row.truth, row.time_us);
                return RowOutcome::Corrected;
            }
            None => cohort.labelled.insert(key, row),
        };

        cohort.ever_labelled += 1;
        self.rows += 1;
        while self.rows > self.rows_max {
            self.drop_oldest_row();
        }
        while self.hours.len() > HOURS_MAX {
            self.drop_oldest();
        }
        let is_kept = self
            .hours
            .get(&hour)
            .is_some_and(|c| c.labelled.contains_key(&key));
        if is_kept {
            RowOutcome::New
        } else {
            RowOutcome::Dropped
        }
    }

    /// Returns a row that has a label.
    pub(crate) fn row(&self, hour: u64, key: (Uuid, u32)) -> Option<&Row> {
        self.hours.get(&hour)?.labelled.get(&key)
    }

    /// Returns every row in the order in which the labels were accepted.
    pub(crate) fn rows_by_time(&self) -> Vec<&Row> {
        let rows = self.hours.values().flat_map(|c| c.labelled.values());
        let mut rows: Vec<&Row> = rows.collect();
        rows.sort_by_key(|row| row.time_us);
        rows
    }

    /// Drops one row of the oldest hour that has labelled rows.
    fn drop_oldest_row(&mut self) {
        let oldest = self
            .hours
            .values_mut()
            .find(|cohort| !cohort.labelled.is_empty());
        if oldest
            .and_then(|cohort| cohort.labelled.pop_first())
            .is_some()
        {
            self.rows -= 1;
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, cohort)) = self.hours.pop_first() {
            self.rows -= cohort.labelled.len();
        }
    }

    /// Returns the number of labelled rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Sums up the hours from `from` to before `to`.
    pub(crate) fn summary(&self, from: u64, to: u64) -> Summary {
        let cohorts = || self.hours.range(from..to).map(|(_, cohort)| cohort);
        let rows = || cohorts().flat_map(|c| c.labelled.values());
        let predicted: u64 = cohorts().map(Cohort::predicted_rows).sum();
        // Labels of predictions that were not counted say nothing about the others.
        let mature = |c: &Cohort| c.ever_labelled.min(c.predicted_rows());
        let labelled: u64 = cohorts().map(mature).sum();
        Summary {
            from: time(from),
            predicted_rows: predicted,
            labelled_rows: rows().count() as u64,
            maturity: (predicted > 0).then(|| labelled as f64 / predicted as f64),
            measures: measure(rows().map(|row| (&row.answer, row.truth))),
        }
    }

    /// Returns the first hour with rows, from an hour on.
    pub(crate) fn first_hour(&self, from: u64) -> Option<u64> {
        self.hours.range(from..).next().map(|(hour, _)| *hour)
    }

    /// Sums up the hours in periods of `hours`; periods without rows are left out.
    pub(crate) fn cohorts(&self, hours: u64, most: usize) -> Vec<Summary> {
        let mut starts: Vec<u64> = self.hours.keys().map(|hour| hour - hour % hours).collect();
        starts.dedup();
        starts.drain(..starts.len().saturating_sub(most));
        starts
            .into_iter()
            .map(|from| self.summary(from, from + hours))
            .collect()
    }

    /// Returns the calibration in ten ranges of the score: the mean score, the share of rows of the
    /// class, and the rows. For two classes, it is that of the positive class; for more, that of
    /// the predicted class.
    pub(crate) fn reliability(&self) -> Vec<(f64, f64, u64)> {
        let mut parts = [(0.0, 0.0, 0_u64); 10];
        for row in self.hours.values().flat_map(|c| c.labelled.values()) {
            let (RowAnswer::Class(class, scores), Truth::Class(truth)) = (&row.answer, row.truth)
            else {
                continue;
            };
            let looked_at = if scores.len() == 2 {
                1
            } else {
                *class as usize
            };
            let Some(score) = scores.get(looked_at).map(|s| f64::from(*s)) else {
                continue;
            };
            let part = &mut parts[((score * 10.0) as usize).min(9)];
            *part = (
                part.0 + score,
                part.1 + f64::from(u8::from(truth == looked_at)),
                part.2 + 1,
            );
        }

        let mean =
            |(score, hits, rows): (f64, f64, u64)| (score / rows as f64, hits / rows as f64, rows);
        parts.into_iter().filter(|p| p.2 > 0).map(mean).collect()
    }

    /// Returns the performance of every part of every slice, over all hours.
    pub(crate) fn parts(&self) -> Vec<SlicePerformance> {
        let mut found: BTreeMap<(usize, &str), Vec<&Row>> = BTreeMap::new();
        for row in self.hours.values().flat_map(|c| c.labelled.values()) {
            for (slice, part) in row.parts.iter().enumerate().take(self.slices.len()) {
                found.entry((slice, part)).or_default().push(row);
            }
        }

        let part = |((slice, part), rows): ((usize, &str), Vec<&Row>)| SlicePerformance {
            slice: self.slices[slice].clone(),
            part: part.to_owned(),
            rows: rows.len(),
            loss_allowed: None,
            alarm: false,
            alarm_rows: None,
            measures: named(&measure(rows.iter().map(|row| (&row.answer, row.truth)))),
        };

        let mut parts: Vec<((usize, &str), Vec<&Row>)> = found.into_iter().collect();
        parts.sort_by(|((a, a_part), _), ((b, b_part), _)| {
            let (a_order, b_order) = (part_order(a_part), part_order(b_part));
            let by_number = a_order
                .0
                .total_cmp(&b_order.0)
                .then(a_order.1.cmp(&b_order.1));
            a.cmp(b).then(by_number).then(a_part.cmp(b_part))
        });
        parts.into_iter().map(part).collect()
    }
}

/// Returns the order of a part among those of its slice: by its first number, words last.
fn part_order(part: &str) -> (f64, u8) {
    let (rank, rest) = if let Some(rest) = part.strip_prefix("≤ ") {
        (0, rest)
    } else if let Some(rest) = part.strip_prefix("> ") {
        (2, rest)
    } else {
        (1, part)
    };
    let number = rest.split(' ').next().and_then(|first| first.parse().ok());
    number
        .filter(|n: &f64| n.is_finite())
        .map_or((f64::INFINITY, rank), |n| (n, rank))
}

/// Writes the start of an hour, for people.
pub(crate) fn time(hour: u64) -> String {
    let seconds = i64::try_from(hour.saturating_mul(3600)).unwrap_or(i64::MAX);
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(String::new, |t| t.format("%Y-%m-%dT%H:00Z").to_string())
}
