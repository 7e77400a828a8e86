//! The tests of a column's windows: which are made, their results, and when old windows are dropped.

use super::{CALM_WINDOWS, ROWS_MIN, Reference, WatchedColumn, rules};
use crate::observe::drift::alarm::{self, Against, Metric};
use crate::observe::drift::distance::{DriftMeasure, LIKELY, Sizes};
use crate::observe::drift::kind::ColumnKind;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::drift::window::ColumnTally;
use crate::observe::report::column::DriftTest;

/// The rows of a test.
#[derive(Clone, Copy)]
pub(super) struct TestedRows {
    pub rows: u64,
    pub effective_rows: f64,
    pub baseline_rows: u64,
}

impl WatchedColumn {
    /// Makes the tests that fit the kind of the column. Returns the alarms that start.
    pub(super) fn test(
        &mut self,
        reference: &Reference<'_>,
        tally: &ColumnTally,
        (settings, alpha): (&MonitorSettings, f64),
    ) -> Vec<DriftTest> {
        if tally.rows() < ROWS_MIN {
            return Vec::new();
        }
        let mut begun = Vec::new();
        for metric in rules::metrics(self.kind, &self.cells, reference.against) {
            let all = *metric == Metric::Missing;
            let baseline_rows = reference.counts.iter().sum::<u64>();
            let (rows, of) = if all {
                (tally.rows(), baseline_rows + reference.missing)
            } else {
                (tally.present(), baseline_rows)
            };
            if rows < ROWS_MIN || of < ROWS_MIN {
                continue;
            }

            let (window, baseline) = if all {
                (self.missing_effect(), self.baseline.missing_effect)
            } else {
                (
                    self.effect.of(self.live_effect_at_first()),
                    reference.effect,
                )
            };
            let sizes = Sizes {
                window: (rows as f64 / window).max(1.0),
                baseline: (of as f64 / baseline).max(1.0),
                alpha,
            };
            let Some(measured) = self.measure(*metric, tally, reference, sizes) else {
                continue;
            };
            let counted = TestedRows {
                rows,
                effective_rows: sizes.window,
                baseline_rows: of,
            };
            let place = (reference.against, reference.span, *metric);
            begun.extend(self.note(place, measured, counted, settings));
        }

        begun
    }

    /// Returns the design effect of live rows that is assumed before there are enough of them.
    fn live_effect_at_first(&self) -> f64 {
        match self.kind {
            ColumnKind::Stationary => self.baseline.design_effect,
            _ => self.baseline.design_effect.min(16.0),
        }
    }

    /// Keeps the result of a test. Returns it if an alarm starts.
    pub(super) fn note(
        &mut self,
        place: (Against, u32, Metric),
        measured: DriftMeasure,
        counted: TestedRows,
        settings: &MonitorSettings,
    ) -> Option<DriftTest> {
        let (against, span, metric) = place;
        let threshold = rules::threshold(settings, self.kind, &self.rule, (metric, against));
        let DriftMeasure {
            value,
            lower,
            certain,
        } = measured;

        let (verdicts, _) = self.tests.get(&place).cloned().unzip();
        let mut verdicts = verdicts.unwrap_or_default();
        let begins = verdicts.take(measured, threshold);
        let reading = DriftTest {
            metric,
            against,
            span,
            value,
            lower,
            certain,
            threshold,
            rows: counted.rows,
            effective_rows: counted.effective_rows,
            baseline_rows: counted.baseline_rows,
            alarm: verdicts.is_raised(),
        };
        self.tests.insert(place, (verdicts, reading.clone()));
        begins.then_some(reading)
    }

    /// Drops older windows, and ends the alarms of long spans, once the last eight windows are surely
    /// within the threshold.
    pub(super) fn forget_when_calm(&mut self, settings: &MonitorSettings) {
        let is_calm = self.spans.newest().is_some_and(|newest| {
            let rows = newest.present() as f64 / self.effect.of(self.baseline.design_effect);
            let baseline = self.counts.iter().sum::<u64>() as f64 / self.baseline.design_effect;
            let sizes = Sizes {
                window: rows.max(1.0),
                baseline: baseline.max(1.0),
                alpha: LIKELY,
            };
            self.main_distance(&newest).is_some_and(|(metric, value)| {
                let place = (metric, self.reference());
                let most = rules::threshold(settings, self.kind, &self.rule, place);
                value + sizes.ks() < most.max(1.5 * sizes.ks())
            })
        });

        self.calm = if is_calm {
            self.calm.saturating_add(1)
        } else {
            0
        };
        if self.calm < CALM_WINDOWS {
            return;
        }
        let is_old = |(against, span, _): &(Against, u32, Metric)| {
            *span > alarm::BLOCK as u32 && *against != Against::LastWeek
        };
        let mut has_ended = false;
        for (place, (verdicts, reading)) in &mut self.tests {
            if is_old(place) && verdicts.is_raised() {
                verdicts.end();
                reading.alarm = false;
                has_ended = true;
            }
        }
        if has_ended {
            self.spans.forget();
        }
    }
}
