//! The monitor of one version: checks every row against the contract, counts sampled rows in windows
//! and tests closed windows. Owns no clock and no thread; the caller passes the time.

#[cfg(test)]
mod proof;
pub(crate) mod report;
#[cfg(test)]
mod tests;

use super::alarm::significance;
use super::baseline::Baseline;
use super::cells::cut;
use super::column::WatchedColumn;
use super::contract::Contracts;
use super::history::DriftHistory;
use super::layout::{self, ColumnPlace, ColumnValue, Side, each_value};
use super::profile::{ColumnSeries, profile};
use super::settings::MonitorSettings;
use super::sketch::Sketch;
use super::slice::Slicer;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::task::Task;
use crate::core::model::{ModelName, Signature, Version};
use crate::core::tensor::{DType, Tensor};
use crate::observe::quality::answer::RowAnswer;
use crate::observe::quality::calibrate::Curve;
use crate::observe::quality::companion::Errors;
use crate::observe::quality::estimate::{Estimate, Estimator};
use crate::observe::report::drift::{BaselineSource, DriftCharts, DriftTest, WindowDrift};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Most columns for which the hours of a week are kept: those of the highest importance.
const WEEK_COLUMNS_MAX: usize = 256;
/// Most values that are kept to build a baseline, over all columns.
const OWN_VALUES_MAX: usize = 4 << 20;

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
            layout::check(baseline, &places)?;
        }
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
    columns: Vec<WatchedColumn>,
    source: BaselineSource,
    baseline_rows: u64,
    /// Values of the first rows, by column, until they are enough for a baseline.
    gathered: Vec<ColumnSeries>,
    gathered_rows: usize,
    pub sampled_rows: u64,
    window_rows: u64,
    unreported_rows: u64,
    opened: Instant,
    closed: u64,
    hour: Option<u64>,
    estimator: Option<Estimator>,
    errors: Errors,
    /// Performance estimated from the scores of the last window, or by the companion model.
    pub estimated: Option<Estimate>,
    history: DriftHistory,
    remembered: u64,
}

impl VersionWatch {
    /// Starts to monitor a version. Contract violations are counted by up to `threads` threads.
    pub(crate) fn new(subject: WatchSubject, threads: usize, now: Instant) -> Result<Self> {
        let places = subject.find_columns()?;
        let slicers = slicers(&subject, &places)?;
        let mut watch = Self {
            slicers,
            contracts: Arc::new(Contracts::new(
                &subject.signature,
                &places,
                subject.baseline.as_ref(),
                threads,
            )),
            columns: Vec::new(),
            source: BaselineSource::Gathering,
            baseline_rows: 0,
            gathered: places.iter().map(empty).collect(),
            gathered_rows: 0,
            places,
            sampled_rows: 0,
            window_rows: 0,
            unreported_rows: 0,
            opened: now,
            closed: 0,
            hour: None,
            estimator: estimator(&subject),
            errors: Errors::new(subject.baseline.as_ref().map(|b| &b.performance)),
            estimated: None,
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
            ));
        }

        self.gathered = Vec::new();
        (self.source, self.baseline_rows) = (source, baseline.rows);
    }

    /// Counts the tensors of a sampled request, in the order of the signature.
    pub(crate) fn observe(
        &mut self,
        inputs: &[Tensor],
        outputs: &[Tensor],
        settings: &MonitorSettings,
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

        if self.source == BaselineSource::Gathering {
            for (place, series) in self.places.iter().zip(&mut self.gathered) {
                of(place)
                    .into_iter()
                    .for_each(|tensor| each_value(place, tensor, |value| push(series, &value)));
            }
            self.gathered_rows += rows as usize;
            let most = OWN_VALUES_MAX / self.places.len().max(1);
            if self.gathered_rows >= settings.own_rows.min(most) {
                self.profile_own();
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

    fn profile_own(&mut self) {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for (place, series) in self.places.iter().zip(&self.gathered) {
            let side = if place.side == Side::Input {
                &mut inputs
            } else {
                &mut outputs
            };
            side.push(profile(&place.name, series));
        }

        let baseline = Baseline {
            format: super::baseline::FORMAT,
            rows: self.gathered_rows as u64,
            source: "the first rows that the version served".to_owned(),
            features: Vec::new(),
            inputs,
            outputs,
            calibration: Vec::new(),
            performance: BTreeMap::new(),
        };

        self.contracts.begin(&self.places, &baseline);
        self.begin(&baseline, BaselineSource::Own);
        self.window_rows = 0;
    }

    /// Closes the window if it is due, by its rows or by its age, and the hour. `hour` counts hours
    /// of the calendar. Returns the alarms that start.
    pub(crate) fn advance(
        &mut self,
        now: Instant,
        hour: u64,
        settings: &MonitorSettings,
    ) -> Vec<(ColumnPlace, DriftTest)> {
        let age = now.saturating_duration_since(self.opened);
        let full =
            self.window_rows >= u64::from(settings.window_rows) && age >= settings.window_min;
        let mut begun = Vec::new();
        let alpha = significance(settings, self.columns.len());
        if self.window_rows > 0 && (full || age >= settings.window_max) && !self.columns.is_empty()
        {
            begun = self.close(now, settings);
        }
        if self.hour.replace(hour).is_some_and(|before| before != hour) {
            for column in &mut self.columns {
                // The counts belong to the hour that ended.
                let readings = column.close_hour(hour.wrapping_sub(1), settings, alpha);
                begun.extend(readings.into_iter().map(|r| (column.place.clone(), r)));
            }
        }

        begun
    }

    /// Returns the counts since the last call. None without a training baseline: only with it do
    /// all servers count in the same cells.
    pub(crate) fn sketch(&mut self) -> Option<Sketch> {
        let rows = std::mem::take(&mut self.unreported_rows);
        if self.source != BaselineSource::Training || rows == 0 {
            return None;
        }
        Some(Sketch {
            model: self.subject.model.to_string(),
            version: self.subject.version.number(),
            digest: self.subject.digest.to_string(),
            rows,
            columns: self
                .columns
                .iter_mut()
                .map(WatchedColumn::take_counts)
                .collect(),
        })
    }

    /// Adds the counts of a server to the open window.
    pub(crate) fn merge(&mut self, sketch: &Sketch) {
        self.window_rows += sketch.rows;
        self.sampled_rows += sketch.rows;
        for counted in &sketch.columns {
            let side = if counted.input {
                Side::Input
            } else {
                Side::Output
            };
            let of = |column: &&mut WatchedColumn| {
                column.place.side == side && column.place.name == counted.name
            };
            if let Some(column) = self.columns.iter_mut().find(of) {
                column.merge(counted);
            }
        }
    }

    /// Sets how many windows closed before the open one.
    pub(crate) fn count_from(&mut self, closed: u64) {
        self.closed = closed;
    }

    /// Closes and tests the open window, however many rows it has. Returns the alarms that start.
    pub(crate) fn close(
        &mut self,
        now: Instant,
        settings: &MonitorSettings,
    ) -> Vec<(ColumnPlace, DriftTest)> {
        self.closed += 1;
        let of_scores = self.estimator.as_mut().and_then(Estimator::close);
        self.estimated = of_scores
            .or_else(|| self.errors.close())
            .or(self.estimated.take());
        let alpha = significance(settings, self.columns.len());
        let mut begun = Vec::new();
        for column in &mut self.columns {
            let readings = column.close(self.closed, settings, alpha);
            begun.extend(readings.into_iter().map(|r| (column.place.clone(), r)));
        }
        self.unreported_rows += self.window_rows;
        (self.window_rows, self.opened) = (0, now);
        begun
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

/// Starts to estimate performance from scores; none for a model that is not a classifier.
fn estimator(subject: &WatchSubject) -> Option<Estimator> {
    let Some(Task::Classification(task)) = &subject.task else {
        return None;
    };
    let scores = &subject.signature.outputs.get(task.scores)?.name;
    let of = |class: usize| {
        if task.is_single {
            scores.clone()
        } else {
            format!("{scores}[{class}]")
        }
    };

    let known = subject.baseline.iter().flat_map(|b| &b.calibration);
    let curves = known.filter_map(|curve| {
        let class = (0..task.classes.len())
            .rev()
            .find(|class| of(*class) == curve.output)?;
        Some((class, Curve::new(curve.points.clone())?))
    });

    Some(Estimator::new(task, &curves.collect()))
}

/// Finds the columns by which labelled rows are grouped. Refuses one that the model does not have.
fn slicers(subject: &WatchSubject, places: &[ColumnPlace]) -> Result<Vec<Slicer>> {
    let inputs = || places.iter().filter(|p| p.side == Side::Input);
    let one = |name: &String| {
        let place = inputs().find(|p| p.name == *name).ok_or_else(|| {
            let has: Vec<&str> = inputs().map(|p| p.name.as_str()).collect();
            let (name, has) = (short(name), has.join(", "));
            Error::precondition(format!(
                "the slice '{name}' must be an input column; the input columns are {}",
                short(&has)
            ))
        })?;
        let column = subject
            .baseline
            .iter()
            .flat_map(|b| &b.inputs)
            .find(|c| c.name == *name);
        Ok(Slicer::new(place.clone(), column))
    };

    subject.slices.iter().map(one).collect()
}

/// Returns an empty series for the values of a column.
pub(crate) fn empty(place: &ColumnPlace) -> ColumnSeries {
    match place.dtype {
        DType::String => ColumnSeries::Words(Vec::new()),
        DType::F64 => ColumnSeries::Numbers {
            values: Vec::new(),
            single: false,
        },
        DType::F32 | DType::F16 | DType::BF16 => ColumnSeries::Numbers {
            values: Vec::new(),
            single: true,
        },
        _ if place.part != layout::RowPart::Element(0)
            && !matches!(place.part, layout::RowPart::Element(_)) =>
        {
            ColumnSeries::Numbers {
                values: Vec::new(),
                single: false,
            }
        }
        _ => ColumnSeries::Whole(Vec::new()),
    }
}

/// Adds a value to a series of its kind.
pub(crate) fn push(series: &mut ColumnSeries, value: &ColumnValue<'_>) {
    match (series, value) {
        (ColumnSeries::Numbers { values, .. }, ColumnValue::Number(v)) => values.push(*v),
        (ColumnSeries::Numbers { values, .. }, ColumnValue::Whole(v)) => values.push(*v as f64),
        (ColumnSeries::Whole(values), ColumnValue::Whole(v)) => values.push(*v),
        (ColumnSeries::Words(words), ColumnValue::Word(word)) => words.push(cut(word).to_owned()),
        // A number beyond what whole ones reach: as near as they come.
        (ColumnSeries::Whole(values), ColumnValue::Number(v)) => values.push(*v as i64),
        _ => {}
    }
}
