//! One monitored column: its cells, the open window, the sums of closed windows and the last result
//! of each test. Owns no clock.

use super::alarm::{self, Against, Metric, SPANS, Verdicts};
use super::baseline::{BaselineColumn, Cells, ValueDistribution};
use super::distance::{DriftMeasure, Sizes, js, ks, largest, psi, wasserstein};
use super::layout::{ColumnPlace, ColumnValue, each_value};
use super::profile::quantile;
use super::settings::MonitorSettings;
use super::sketch::SketchCounts;
use super::window::ColumnTally;
use crate::core::tensor::Tensor;
use crate::observe::report::drift::{ColumnHistogram, DriftTest, Hints};
use std::collections::BTreeMap;

/// Least rows of a window that is tested.
const ROWS_MIN: u64 = 30;
/// Hours of a week.
const WEEK: u64 = 168;
/// Values of a window from which its scale is judged.
const KEPT: usize = 128;

/// A monitored column.
pub(crate) struct WatchedColumn {
    pub place: ColumnPlace,
    baseline: BaselineColumn,
    cells: Cells,
    counts: Vec<u64>,
    open: ColumnTally,
    /// The last windows; older ones count less.
    recent: ColumnTally,
    /// Counts that were not returned by [`WatchedColumn::take_counts`] yet.
    unreported: ColumnTally,
    spans: [ColumnTally; SPANS.len()],
    /// The current hour, and those of the week before by their number.
    hour: ColumnTally,
    week: BTreeMap<u64, ColumnTally>,
    keeps_week: bool,
    tests: BTreeMap<(Against, u32, Metric), (Verdicts, DriftTest)>,
    kept: Vec<f64>,
    pub hints: Hints,
}

/// About how many base windows a histogram shows.
const RECENT_WINDOWS: u64 = 64;

impl WatchedColumn {
    /// Starts to monitor a column.
    pub(crate) fn new(place: ColumnPlace, baseline: BaselineColumn, keeps_week: bool) -> Self {
        let cells = baseline.cells();
        let tally = ColumnTally::new(cells.len());
        Self {
            place,
            counts: baseline.counts(),
            open: tally.clone(),
            recent: tally.clone(),
            unreported: tally.clone(),
            spans: [(); SPANS.len()].map(|()| tally.clone()),
            hour: tally,
            week: BTreeMap::new(),
            keeps_week,
            tests: BTreeMap::new(),
            kept: Vec::new(),
            hints: Hints::default(),
            cells,
            baseline,
        }
    }

    /// Counts the values of a sampled tensor.
    pub(crate) fn take(&mut self, tensor: &Tensor) {
        let Self {
            place,
            cells,
            open,
            kept,
            ..
        } = self;

        each_value(place, tensor, |value| {
            open.take(cells, &value);
            if kept.len() < KEPT
                && let ColumnValue::Number(v) = value
                && v.is_finite()
            {
                kept.push(v);
            }
        });
    }

    /// Closes the base window: adds it to every span, and tests the spans that are full. `closed`
    /// counts base windows, from 1. Returns the alarms that start.
    pub(crate) fn close(
        &mut self,
        closed: u64,
        settings: &MonitorSettings,
        alpha: f64,
    ) -> Vec<DriftTest> {
        self.hints = self.find_hints();
        self.kept.clear();
        self.hour.add(&self.open);
        if self.recent.rows() > RECENT_WINDOWS * self.open.rows().max(ROWS_MIN) {
            self.recent.halve();
        }
        self.recent.add(&self.open);
        self.unreported.add(&self.open);
        let mut begun = Vec::new();
        for (at, span) in SPANS.into_iter().enumerate() {
            self.spans[at].add(&self.open);
            if closed.is_multiple_of(span.into()) {
                let tally =
                    std::mem::replace(&mut self.spans[at], ColumnTally::new(self.cells.len()));
                let counts = self.counts.clone();
                let of = (counts.as_slice(), self.baseline.missing);
                begun.extend(self.test((Against::Training, span), &tally, of, (settings, alpha)));
            }
        }

        self.open.clear();
        begun
    }

    /// Closes the hour with this number and compares it with the same hour of the week before. Returns
    /// the alarms that start.
    pub(crate) fn close_hour(
        &mut self,
        number: u64,
        settings: &MonitorSettings,
        alpha: f64,
    ) -> Vec<DriftTest> {
        let tally = std::mem::replace(&mut self.hour, ColumnTally::new(self.cells.len()));
        let mut begun = Vec::new();
        if let Some(before) = self
            .week
            .remove(&number.wrapping_sub(WEEK))
            .filter(|t| t.rows() >= ROWS_MIN)
        {
            let counts: Vec<u64> = before.counts.iter().map(|n| u64::from(*n)).collect();
            let of = (counts.as_slice(), u64::from(before.missing));
            begun = self.test((Against::LastWeek, 0), &tally, of, (settings, alpha));
        }

        // Hours that are out of range, because the clock was changed, are dropped.
        self.week
            .retain(|hour, _| *hour < number && number - hour < WEEK);
        if self.keeps_week {
            self.week.insert(number, tally);
        }

        begun
    }

    fn test(
        &mut self,
        (against, span): (Against, u32),
        tally: &ColumnTally,
        (counts, missing): (&[u64], u64),
        (settings, alpha): (&MonitorSettings, f64),
    ) -> Vec<DriftTest> {
        if tally.rows() < ROWS_MIN {
            return Vec::new();
        }
        let metrics: &[Metric] = match self.cells {
            Cells::Numbers(_) => &Metric::NUMBERS,
            Cells::Words(_) => &Metric::WORDS,
        };
        let window: Vec<u64> = tally.counts.iter().map(|n| u64::from(*n)).collect();
        let baseline_rows = counts.iter().sum::<u64>();
        let mut begun = Vec::new();
        for metric in metrics {
            let all = *metric == Metric::Missing;
            let (rows, of) = if all {
                (tally.rows(), baseline_rows + missing)
            } else {
                (tally.present(), baseline_rows)
            };
            if rows < ROWS_MIN || of < ROWS_MIN {
                continue;
            }
            let effective_rows = rows as f64 / self.baseline.design_effect;
            let sizes = Sizes {
                window: effective_rows,
                baseline: of as f64 / self.baseline.design_effect,
                alpha,
            };
            let measured = if all {
                largest(
                    &[tally.present(), tally.missing.into()],
                    &[baseline_rows, missing],
                    sizes,
                )
            } else {
                self.measure(*metric, (&window, tally.ends), counts, sizes)
            };
            let threshold = alarm::threshold(settings, *metric);
            let test = self.tests.entry((against, span, *metric));
            let (verdicts, reading) = test.or_insert_with(|| {
                let DriftMeasure { value, lower } = measured;
                let alarm = false;
                let reading = DriftTest {
                    metric: *metric,
                    against,
                    span,
                    value,
                    lower,
                    threshold,
                    rows,
                    effective_rows,
                    baseline_rows: of,
                    alarm,
                };
                (Verdicts::default(), reading)
            });
            let begins = verdicts.take(measured, threshold);
            *reading = DriftTest {
                value: measured.value,
                lower: measured.lower,
                rows,
                effective_rows,
                alarm: verdicts.is_raised(),
                ..reading.clone()
            };
            if begins {
                begun.push(reading.clone());
            }
        }

        begun
    }

    fn measure(
        &self,
        metric: Metric,
        window: (&[u64], (f64, f64)),
        counts: &[u64],
        sizes: Sizes,
    ) -> DriftMeasure {
        match (metric, &self.cells, &self.baseline.values) {
            (Metric::Ks, ..) => ks(window.0, counts, sizes),
            (Metric::Wasserstein, Cells::Numbers(edges), ValueDistribution::Numbers(numbers)) => {
                wasserstein(window, counts, (edges.all(), numbers.iqr), sizes)
            }
            (Metric::Psi, ..) => psi(window.0, counts, sizes),
            (Metric::Js, ..) => js(window.0, counts, sizes),
            _ => largest(window.0, counts, sizes),
        }
    }

    /// Judges the kept values: whether they are all equal, and whether they look scaled by a power of
    /// ten, as by another unit.
    fn find_hints(&mut self) -> Hints {
        let ValueDistribution::Numbers(numbers) = &self.baseline.values else {
            return Hints::default();
        };
        if self.kept.len() < ROWS_MIN as usize {
            return self.hints;
        }
        self.kept.sort_unstable_by(f64::total_cmp);
        let iqr = quantile(&self.kept, 0.75) - quantile(&self.kept, 0.25);
        let constant = self.kept.first() == self.kept.last() && numbers.deviation > 0.0;
        // Another unit scales both the median and the interquartile range.
        let power = |a: f64, b: f64| {
            (a > 0.0 && b > 0.0)
                .then(|| (a / b).log10())
                .filter(|p| (p - p.round()).abs() < NEAR)
        };

        let middle = power(quantile(&self.kept, 0.5).abs(), numbers.median.abs());
        let spread = power(iqr, numbers.iqr)
            .map(f64::round)
            .filter(|p| *p != 0.0);
        let scale = spread
            .filter(|p| middle.is_none_or(|m| m.round() == *p))
            .map(|p| 10.0_f64.powf(p));
        Hints { constant, scale }
    }

    /// Returns the distribution in the baseline and in the last windows.
    pub(crate) fn histogram(&self) -> ColumnHistogram {
        let (edges, words) = match &self.baseline.values {
            ValueDistribution::Numbers(numbers) => (numbers.edges.clone(), Vec::new()),
            ValueDistribution::Words(listed) => (
                Vec::new(),
                listed.words.iter().map(|(word, _)| word.clone()).collect(),
            ),
        };

        ColumnHistogram {
            name: self.place.name.clone(),
            side: self.place.side,
            importance: self.baseline.importance,
            edges,
            words,
            before: self.counts.clone(),
            before_missing: self.baseline.missing,
            now: self.recent.counts.iter().map(|n| u64::from(*n)).collect(),
            now_missing: self.recent.missing.into(),
        }
    }

    /// Returns the distances of the last base window: KS (or that of the category that changed most),
    /// and PSI.
    pub(crate) fn distance(&self) -> Option<(f32, f32)> {
        let of = |metric| {
            self.tests
                .get(&(Against::Training, SPANS[0], metric))
                .map(|(_, r)| r.value as f32)
        };

        Some((of(Metric::Ks).or(of(Metric::Largest))?, of(Metric::Psi)?))
    }

    /// Returns the counts since the last call.
    pub(crate) fn take_counts(&mut self) -> SketchCounts {
        let counted = SketchCounts::of((&self.place.name, self.place.side), &self.unreported);
        self.unreported.clear();
        counted
    }

    /// Adds the counts of another server to the open window. Skips counts of other cells.
    pub(crate) fn merge(&mut self, counted: &SketchCounts) {
        if let Some(tally) = counted.tally(self.cells.len()) {
            self.open.add(&tally);
        }
    }

    /// Returns the last result of each test.
    pub(crate) fn test_results(&self) -> impl Iterator<Item = &DriftTest> {
        self.tests.values().map(|(_, reading)| reading)
    }

    /// Returns the feature importance.
    pub(crate) fn importance(&self) -> Option<f64> {
        self.baseline.importance
    }
}

/// How near a logarithm must be to an integer. A deviation of 0.2 is chance for 128 values.
const NEAR: f64 = 0.2;
