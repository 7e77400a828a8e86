//! The monitor of one version: checks every row against the contract, counts sampled rows in windows
//! and tests closed windows. Owns no clock and no thread; the caller passes the time.

mod own;
mod parts;
#[cfg(test)]
mod proof;
pub(crate) mod report;
mod shared;
pub(crate) mod start;
pub(crate) mod state;
#[cfg(test)]
pub(crate) mod tests;
mod together;

use super::alarm::{BLOCK, significance};
use super::arrivals::Arrivals;
use super::baseline::Baseline;
use super::breach::BreachWatch;
use super::column::spans::TIERS;
use super::column::{ROWS_MIN, TestRound, WatchedColumn};
use super::contract::{Breaches, Contracts};
use super::fits;
use super::history::DriftHistory;
use super::layout::{self, ColumnPlace, Side};
use super::settings::MonitorSettings;
use super::slice::Slicer;
use crate::core::error::Result;
use crate::core::hash::Digest;
use crate::core::model::task::Task;
use crate::core::model::{ModelName, Signature, Version};
use crate::core::tensor::Tensor;
use crate::observe::quality::answer::RowAnswer;
use crate::observe::quality::companion::Errors;
use crate::observe::quality::estimate::{Estimate, Estimator};
use crate::observe::report::column::{BaselineSource, BreachTest, DriftTest};
use crate::observe::report::drift::{DriftCharts, WindowDrift};
use own::Gathering;
use parts::WatchedParts;
use start::{ColumnRules, breach_watch, estimator, numbered, slicers};
use state::EarlierCounts;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use together::Together;

/// Most columns for which the hours of a week are kept: those of the highest importance.
const WEEK_COLUMNS_MAX: usize = 256;

/// The version that is monitored.
#[derive(Clone)]
pub(crate) struct WatchSubject {
    pub model: ModelName,
    pub version: Version,
    pub digest: Digest,
    pub signature: Signature,
    /// Names of the input columns, if they were given.
    pub features: Vec<String>,
    pub baseline: Option<Baseline>,
    /// What its outputs mean, if that is known.
    pub task: Option<Task>,
    /// The input columns by which labelled rows are grouped.
    pub slices: Vec<String>,
    /// What the operator set for its columns.
    pub rules: ColumnRules,
}

/// An alarm that started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BegunAlarm {
    pub column: String,
    pub side: Side,
    /// The drift metric, or the way in which the contract is violated.
    pub test: &'static str,
}

impl BegunAlarm {
    fn of(place: &ColumnPlace, test: &DriftTest) -> Self {
        Self {
            column: place.name.clone(),
            side: place.side,
            test: test.metric.name(),
        }
    }
}

impl WatchSubject {
    /// Lists its columns. Refuses a baseline of another model.
    pub(crate) fn find_columns(&self) -> Result<Vec<ColumnPlace>> {
        let own = self.baseline.as_ref().map_or(&[][..], |b| &b.features);
        let features = if self.features.is_empty() {
            own
        } else {
            &self.features
        };

        let places = layout::column_places(&self.signature, features);
        if let Some(baseline) = &self.baseline {
            fits::check(baseline, &places)?;
        }
        self.rules.check(&places)?;
        Ok(places)
    }
}

/// The monitor of one version.
pub(crate) struct VersionWatch {
    pub subject: Arc<WatchSubject>,
    pub slicers: Vec<Slicer>,
    places: Vec<ColumnPlace>,
    /// Counted on the threads that serve requests.
    pub contracts: Arc<Contracts>,
    /// The place of each column in the contract's counts.
    contract_columns: BTreeMap<(Side, String), usize>,
    breaches: BreachWatch,
    columns: Vec<WatchedColumn>,
    /// The same by the parts of slices.
    parts: WatchedParts,
    /// The numeric inputs together, whose distances are one of the columns.
    together: Option<Together>,
    /// The place of each watched column in the contract's counts.
    contract_places: Vec<Option<usize>>,
    arrivals: Arrivals,
    source: BaselineSource,
    baseline_rows: u64,
    /// The first rows, until they are enough for a baseline.
    gathered: Gathering,
    /// What earlier processes counted.
    earlier: EarlierCounts,
    /// The version's own baseline.
    own: Option<Arc<Baseline>>,
    /// Whether it was made since the last look.
    is_own_new: bool,
    pub sampled_rows: u64,
    window_rows: u64,
    unreported_rows: u64,
    opened: Instant,
    /// When the last window closed, and the last block of each tier.
    tested: [Instant; TIERS],
    closed: u64,
    hour: Option<u64>,
    estimator: Option<Estimator>,
    errors: Errors,
    /// Performance estimated from the scores of the last window, or by the companion model.
    pub estimated: Option<Estimate>,
    /// How the version's own baseline differs from the one before.
    pub differences: Vec<String>,
    history: DriftHistory,
    remembered: u64,
}

impl VersionWatch {
    /// Starts to monitor a version. Contract violations are counted by up to `threads` threads.
    pub(crate) fn new(mut subject: WatchSubject, threads: usize, now: Instant) -> Result<Self> {
        let places = subject.find_columns()?;
        subject.slice_as_the_baseline();
        let slicers = slicers(&subject, &places)?;
        let contracts = Arc::new(Contracts::new(
            &subject.signature,
            &places,
            subject.baseline.as_ref(),
            threads,
        ));
        let breaches = breach_watch(
            (&contracts, contracts.counts()),
            &places,
            &subject,
            subject.baseline.as_ref(),
            now,
        );
        let columns = contracts.columns().len();
        let mut watch = Self {
            slicers,
            contract_columns: numbered(contracts.columns()),
            contracts,
            breaches,
            columns: Vec::new(),
            parts: WatchedParts::default(),
            together: None,
            contract_places: Vec::new(),
            arrivals: Arrivals::default(),
            source: BaselineSource::Gathering,
            baseline_rows: 0,
            gathered: Gathering::new(&places),
            earlier: EarlierCounts::none(columns),
            own: None,
            is_own_new: false,
            places,
            sampled_rows: 0,
            window_rows: 0,
            unreported_rows: 0,
            opened: now,
            tested: [now; TIERS],
            closed: 0,
            hour: None,
            estimator: estimator(&subject),
            errors: Errors::new(subject.baseline.as_ref().map(|b| &b.performance)),
            estimated: None,
            differences: Vec::new(),
            history: DriftHistory::default(),
            remembered: 0,
            subject: Arc::new(subject),
        };

        if let Some(baseline) = watch.subject.baseline.clone() {
            watch.begin(&baseline, BaselineSource::Training);
        }
        Ok(watch)
    }

    fn begin(&mut self, baseline: &Baseline, source: BaselineSource) {
        let mut importances: Vec<f64> = baseline
            .inputs
            .iter()
            .filter_map(|c| c.importance)
            .collect();
        importances.sort_unstable_by(|a, b| b.total_cmp(a));

        let least = importances
            .get(WEEK_COLUMNS_MAX)
            .copied()
            .unwrap_or(f64::NEG_INFINITY);
        let mut kept = 0;

        for place in &self.places {
            if self.subject.rules.ignores(&place.name) {
                continue;
            }
            let columns = if place.side == Side::Input {
                &baseline.inputs
            } else {
                &baseline.outputs
            };
            let Some(column) = columns.iter().find(|c| c.name == place.name) else {
                continue;
            };
            let keeps_week =
                kept < WEEK_COLUMNS_MAX && column.importance.is_none_or(|i| i >= least);
            kept += usize::from(keeps_week);
            self.columns.push(WatchedColumn::new(
                place.clone(),
                column.clone(),
                keeps_week,
                self.subject.rules.of(&place.name),
            ));
        }

        self.begin_together(baseline);
        self.begin_parts(baseline);
        self.gathered = Gathering::default();
        let place = |column: &WatchedColumn| self.contract_columns.get(&column.key()).copied();
        self.contract_places = self.columns.iter().map(place).collect();
        (self.source, self.baseline_rows) = (source, baseline.rows);
    }

    /// Counts the tensors of a sampled request, in the order of the signature.
    pub(crate) fn observe(
        &mut self,
        inputs: &[Tensor],
        outputs: &[Tensor],
        (now, settings): (Instant, &MonitorSettings),
    ) {
        let rows = inputs.first().and_then(Tensor::rows).unwrap_or(1) as u64;
        self.sampled_rows += rows;
        self.window_rows += rows;
        let of = |place: &ColumnPlace| {
            if place.side == Side::Input {
                inputs
            } else {
                outputs
            }
            .get(place.tensor)
        };

        for column in &mut self.columns {
            if let Some(tensor) = of(&column.place) {
                column.take(tensor);
            }
        }

        self.observe_together(inputs, rows as usize);
        self.parts.observe(inputs, outputs);
        if self.source == BaselineSource::Gathering {
            self.gathered.take(&self.places, of, rows as usize);
            if self.gathered.rows() >= self.gathered.needed(settings) {
                let baseline = self.gathered.baseline(&self.places, &self.slice_choice());
                self.begin_own(baseline, now);
                (self.window_rows, self.is_own_new) = (0, true);
            }
        }
    }

    /// Counts the predictions of a sampled request, to estimate performance from their scores.
    pub(crate) fn estimate(&mut self, answers: &[Option<RowAnswer>]) {
        if let Some(estimator) = &mut self.estimator {
            answers
                .iter()
                .flatten()
                .for_each(|answer| estimator.take(answer));
        }
    }

    /// Counts the errors that the companion model expects for the rows of a sampled request.
    pub(crate) fn expect(&mut self, errors: &[f64]) {
        errors.iter().for_each(|error| self.errors.take(*error));
    }

    /// Looks at the contract's counts, and closes the window and the hour if they are due. `hour` counts
    /// hours of the calendar. Returns the alarms that start.
    pub(crate) fn advance(
        &mut self,
        now: Instant,
        hour: u64,
        settings: &MonitorSettings,
    ) -> Vec<BegunAlarm> {
        let counts = self.earlier.and(self.contracts.counts());
        self.arrivals.note(counts.0, hour, now);
        let mut begun = self.look(counts, now, settings);
        let before = self.hour.replace(hour).unwrap_or(hour);
        if self.is_due(now, before / 24 != hour / 24, settings) && !self.columns.is_empty() {
            begun.extend(self.close(now, settings));
        }
        if before != hour {
            let elapsed = Duration::from_secs(3600);
            let alpha = significance(settings, self.tested(), elapsed);
            // The counts belong to the hour that ended; a clock may jump back.
            let ended = before.min(hour.wrapping_sub(1));
            for column in self.columns.iter_mut().chain(self.parts.watched()) {
                let readings = column.close_hour(ended, settings, alpha);
                begun.extend(readings.iter().map(|r| BegunAlarm::of(&column.place, r)));
            }
        }

        begun
    }

    /// Looks at the counts of all rows. Returns the contract alarms that start.
    fn look(
        &mut self,
        counts: (u64, Vec<Breaches>),
        now: Instant,
        settings: &MonitorSettings,
    ) -> Vec<BegunAlarm> {
        for (column, at) in self.columns.iter().zip(&self.contract_places) {
            if let Some(at) = at {
                self.breaches
                    .set_missing_effect(*at, column.missing_effect());
            }
        }
        let begun = self.breaches.look(counts, now, settings);
        if begun.is_empty() {
            return Vec::new();
        }
        let names = self.contracts.columns();
        let alarm = |(column, test): (usize, BreachTest)| {
            let (side, name) = names[column].clone();
            BegunAlarm {
                column: name,
                side,
                test: test.kind.name(),
            }
        };
        begun.into_iter().map(alarm).collect()
    }

    /// Tells whether the open window must close: it is full, old enough to be tested, or of a day that
    /// ended.
    fn is_due(&self, now: Instant, day_ended: bool, settings: &MonitorSettings) -> bool {
        let age = now.saturating_duration_since(self.opened);
        let rows = self.window_rows;
        let is_full = rows >= u64::from(settings.window_rows) && age >= settings.window_min;
        let is_old = rows >= ROWS_MIN && age >= settings.window_max;
        is_full || is_old || (rows > 0 && day_ended)
    }

    /// Returns how many columns are tested, in the whole and in parts.
    fn tested(&self) -> usize {
        self.columns.len() + self.parts.columns.len()
    }

    /// Returns how many windows closed.
    pub(crate) fn windows(&self) -> u64 {
        self.closed
    }

    /// Sets how many windows closed before the open one.
    pub(crate) fn count_from(&mut self, closed: u64) {
        self.closed = closed;
    }

    /// Closes and tests the open window, however many rows it has. Returns the alarms that start.
    pub(crate) fn close(&mut self, now: Instant, settings: &MonitorSettings) -> Vec<BegunAlarm> {
        let before = self.closed;
        self.closed += 1;
        let of_scores = self.estimator.as_mut().and_then(Estimator::close);
        self.estimated = of_scores
            .or_else(|| self.errors.close())
            .or(self.estimated.take());

        let round = self.round(before, now, settings);
        let mut begun = Vec::new();
        for column in self.columns.iter_mut().chain(self.parts.watched()) {
            let readings = column.close(round);
            begun.extend(readings.iter().map(|r| BegunAlarm::of(&column.place, r)));
        }
        self.unreported_rows += self.window_rows;
        (self.window_rows, self.opened) = (0, now);
        begun
    }

    /// Decides which blocks end with the window that closes, and how sure their tests must be.
    fn round<'r>(
        &mut self,
        before: u64,
        now: Instant,
        settings: &'r MonitorSettings,
    ) -> TestRound<'r> {
        // A window belongs to a block by its number; windows without rows may be left out.
        let of = |window: u64, tier: u32| window / BLOCK.pow(tier);
        let ends = |tier| of(before, tier) != of(self.closed, tier);
        let closing = [true, ends(1), ends(2)];
        let mut alphas = [0.0; TIERS];
        for tier in (0..TIERS).filter(|tier| closing[*tier]) {
            let elapsed = now.saturating_duration_since(self.tested[tier]);
            alphas[tier] = significance(settings, self.tested(), elapsed);
            self.tested[tier] = now;
        }
        TestRound {
            settings,
            now,
            alphas,
            closing,
            rows_came: self.arrivals.ages(now),
        }
    }

    /// Adds the last closed window to the history, if it is not there yet.
    pub(crate) fn store_window(&mut self, time: u64, alarms: usize) {
        if self.closed == self.remembered {
            return;
        }
        self.remembered = self.closed;
        let columns = self.columns.iter().map(WatchedColumn::distance).collect();
        let measures = self.estimated.as_ref().map(|e| &e.measures);
        let estimated = measures
            .and_then(|m| m.get("accuracy").or_else(|| m.get("mae")))
            .copied();
        self.history.add(WindowDrift {
            time,
            rows: self.sampled_rows,
            alarms,
            columns,
            estimated,
        });
    }

    /// Returns the charts of the HTML page, since a time.
    pub(crate) fn charts(&self, since: u64) -> DriftCharts {
        let baseline = self.subject.baseline.as_ref();
        DriftCharts {
            pictures: self.columns.iter().map(WatchedColumn::histogram).collect(),
            history: self.history.since(since).to_vec(),
            calibration: baseline.map(|b| b.calibration.clone()),
            performance: baseline.map(|b| b.performance.clone()),
        }
    }
}
