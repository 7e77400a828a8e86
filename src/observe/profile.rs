//! Builds a baseline: reads a table, runs the model on it, and profiles inputs and outputs. Works
//! on this machine only.

mod order;
pub mod rows;
#[cfg(test)]
pub(crate) mod tests;

use crate::core::count::counted;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::Signature;
use crate::core::model::task::{Task, Wish};
use crate::core::names;
use crate::core::spread::cores;
use crate::core::tensor::Tensor;
use crate::observe::drift::baseline::{Baseline, Calibration};
use crate::observe::drift::facts::RowFacts;
use crate::observe::drift::layout::{self, Side, each_value};
use crate::observe::drift::quantile::quantile;
use crate::observe::drift::reference::ReferenceRows;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::slice::choice::SliceChoice;
use crate::observe::quality::answer::{Label, RowAnswer, Truth, answers};
use crate::observe::quality::calibrate::Curve;
use crate::observe::quality::measure::measure;
use crate::observe::quality::sequential::is_lost;
use crate::onnx::graph::Graph;
use crate::onnx::runtime::Session;
use crate::storage::table::text::format::TextFormat;
use crate::storage::table::{Cell, Column, Table};
use rows::{ModelRows, width};
use std::collections::BTreeMap;
use std::path::Path;

/// What a baseline is built from.
pub(crate) struct Profile<'p> {
    pub data: &'p Path,
    /// How it is written, if it is text.
    pub format: TextFormat,
    /// Input columns of the model, in its order; empty to detect them.
    pub features: Vec<String>,
    /// Columns of the table that are not inputs of the model.
    pub ignore: Vec<String>,
    /// The column with the labels.
    pub label: Option<String>,
    /// The task, as far as it is given.
    pub task: Wish,
    /// The columns by which the rows are sliced.
    pub slices: SliceChoice,
}

/// Builds a baseline from predicted rows, batch by batch.
pub struct Making {
    signature: Signature,
    features: Vec<String>,
    task: Option<Task>,
    places: Vec<layout::ColumnPlace>,
    series: Vec<ColumnSeries>,
    judged: Vec<JudgedRow>,
    /// Importance of inputs, as far as it is known.
    pub importances: BTreeMap<String, f64>,
    /// The columns by which the rows are sliced.
    pub slices: SliceChoice,
    /// What is known of the rows.
    pub facts: RowFacts,
}

impl Making {
    /// Starts without rows. `features` are the names of the input columns.
    pub fn new(signature: Signature, features: Vec<String>, task: Option<Task>) -> Self {
        let places = layout::column_places(&signature, &features);
        let series = places.iter().map(ColumnSeries::of).collect();
        Self {
            signature,
            features,
            task,
            places,
            series,
            judged: Vec::new(),
            importances: BTreeMap::new(),
            slices: SliceChoice::default(),
            facts: RowFacts::default(),
        }
    }

    /// Adds predicted rows, with the truth of each as far as it is known; `truths` may be empty.
    pub fn take(&mut self, inputs: &[Tensor], outputs: &[Tensor], truths: &[Option<Truth>]) {
        if let Some(task) = &self.task {
            self.judged.extend(
                answers(task, outputs)
                    .into_iter()
                    .zip(truths.iter().copied()),
            );
        }

        for (place, series) in self.places.iter().zip(&mut self.series) {
            let side = if place.side == Side::Input {
                inputs
            } else {
                outputs
            };
            if let Some(tensor) = side.get(place.tensor) {
                each_value(place, tensor, |value| series.push(&value));
            }
        }
    }

    /// Builds the baseline. Refuses a slice that is no input.
    pub fn finish(mut self, rows: usize, source: &str) -> Result<Baseline> {
        self.slices.check(&self.input_names())?;
        // Rows that are sorted by their labels are in no order of time.
        let unordered = order::is_sorted(self.judged.iter().filter_map(|(_, truth)| *truth));
        let performance = performance(&self.judged);
        let mut lost = Vec::new();
        // Otherwise it is not known which rows have a label.
        if self.judged.len() == rows {
            let error_max = performance.get("abs_error_q90").copied();
            lost = lost_rows(&self.judged, error_max);
        }
        if unordered {
            let shuffled = order::shuffled(rows);
            self.series
                .iter_mut()
                .for_each(|series| *series = series.chosen(&shuffled));
            let of = |row: &u32| lost.get(*row as usize).copied().flatten();
            lost = shuffled.iter().map(of).collect();
            self.facts = self.facts.chosen(&shuffled);
        }
        let reference = ReferenceRows {
            places: &self.places,
            series: &self.series,
            importances: &self.importances,
            facts: &self.facts,
            lost: &lost,
            threads: cores(),
        };
        let baseline = reference.baseline(rows as u64, &self.slices);

        let named = self.input_names().into_iter().eq(&self.features);
        Ok(Baseline {
            source: source.to_owned(),
            unordered,
            features: if named { self.features } else { Vec::new() },
            calibration: self
                .task
                .as_ref()
                .map(|t| curves(t, &self.signature, &self.judged))
                .unwrap_or_default(),
            performance,
            ..baseline
        })
    }

    fn input_names(&self) -> Vec<&str> {
        let inputs = self.places.iter().filter(|p| p.side == Side::Input);
        inputs.map(|p| p.name.as_str()).collect()
    }
}

impl Profile<'_> {
    /// Reads the table, runs the model and builds the baseline. `open` opens a session of the
    /// graph.
    pub(crate) fn make(&self, graph: &Graph, session: &mut dyn Session) -> Result<Baseline> {
        let table = Table::read_format(self.data, &self.format)?;
        let truths = self.truths(&table, graph)?;
        let features = self.columns(&table, &graph.signature)?;
        let task = truths.as_ref().map(|(task, _)| task.clone());
        let mut making = Making::new(graph.signature.clone(), features.clone(), task);
        making.slices = self.slices.clone();
        making.facts.times = times(&table, &features);
        let rows = ModelRows {
            table: &table,
            features: &features,
            signature: &graph.signature,
        };
        let mut at = 0;
        while at < table.rows {
            let end = table.rows.min(at + rows.run_rows());
            let (inputs, outputs) = rows.run(session, at..end)?;
            let of = truths.as_ref().map_or(&[][..], |(_, all)| &all[at..end]);
            making.take(&inputs, &outputs, of);
            at = end;
        }

        let file = self.data.file_name().unwrap_or_default().to_string_lossy();
        making.finish(
            table.rows,
            &format!("{} of {file}", counted(table.rows, "row")),
        )
    }

    /// Returns the task and the truth of each row; none without a column of labels.
    fn truths(&self, table: &Table, graph: &Graph) -> Result<Option<(Task, Vec<Option<Truth>>)>> {
        let Some(name) = &self.label else {
            return Ok(None);
        };
        let column = table.column(name);
        let column = column
            .ok_or_else(|| Error::invalid(format!("the table has no column '{}'", short(name))))?;
        let task = Task::find(&graph.signature, &graph.ends, &self.task)?;
        let task = task.ok_or_else(|| {
            Error::precondition(
                "the task cannot be detected from the graph; give --task and --score-output",
            )
        })?;

        let is_named = matches!(column, Column::Bool(_)) && matches!(task, Task::Classification(_));
        let one = |row: usize| {
            let label = match column.cell(row) {
                Some(Cell::Whole(v)) if is_named => Label::Word((v != 0).to_string()),
                Some(Cell::Whole(v)) => Label::Number(v as f64),
                Some(Cell::Unsigned(v)) => Label::Number(v as f64),
                Some(Cell::Number(v)) if v.is_finite() => Label::Number(v),
                Some(Cell::Word(word)) if !word.is_empty() => Label::Word(word.to_owned()),
                // A row without a label shows its inputs and answers.
                _ => return Ok(None),
            };
            let truth = label.truth(&task);
            truth
                .map(Some)
                .map_err(|e| e.context(format_args!("row {row}")))
        };

        let truths: Vec<Option<Truth>> = (0..table.rows).map(one).collect::<Result<_>>()?;
        if table.rows > 0 && truths.iter().all(Option::is_none) {
            return Err(Error::invalid(format!(
                "no row has a label in '{}'; leave out --label, or name another column",
                short(name)
            )));
        }
        Ok(Some((task, truths)))
    }

    /// Returns the input columns of the model, in its order: as given, or by the names of its
    /// inputs, or all columns that are not ignored if their number fits.
    pub(crate) fn columns(&self, table: &Table, signature: &Signature) -> Result<Vec<String>> {
        let widths: Vec<usize> = signature.inputs.iter().map(width).collect::<Result<_>>()?;
        let wanted: usize = widths.iter().sum();
        let known = |name: &String| table.column(name).is_some();
        let by_name: Vec<String> = signature.inputs.iter().map(|s| s.name.clone()).collect();
        let rest = || {
            table
                .names()
                .filter(|n| !self.ignore.iter().chain(&self.label).any(|i| i == n))
                .map(str::to_owned)
                .collect()
        };

        let chosen: Vec<String> = if !self.features.is_empty() {
            self.features.clone()
        } else if widths.iter().all(|w| *w == 1) && by_name.iter().all(known) {
            by_name
        } else {
            rest()
        };

        if let Some(missing) = chosen.iter().find(|name| !known(name)) {
            let has: Vec<&str> = table.names().collect();
            return Err(Error::invalid(format!(
                "the dataset has no column '{}'{}",
                short(missing),
                names::instead(missing, &has, "its columns are")
            )));
        }

        if chosen.len() != wanted {
            return Err(Error::invalid(format!(
                "the model has {}, but the table has {}; name them with --features, or leave others out with --ignore",
                counted(wanted, "input column"),
                chosen.len()
            )));
        }

        Ok(chosen)
    }
}

/// Returns the times of the rows, in seconds since 1970, by a column of times that the model is not given;
/// empty without one.
fn times(table: &Table, features: &[String]) -> Vec<i64> {
    let of = |name: &str| match table.column(name) {
        Some(Column::Time(times)) if !features.iter().any(|f| f == name) => Some(times),
        _ => None,
    };
    let times = table.names().find_map(of);
    times.map_or_else(Vec::new, |times| {
        times.iter().map(|t| t.div_euclid(1_000_000)).collect()
    })
}

/// A predicted row, if it can be compared with a label, and its truth, if it is known.
type JudgedRow = (Option<RowAnswer>, Option<Truth>);

/// Returns the performance measures of labelled rows, as in the baseline's format.
fn performance(judged: &[JudgedRow]) -> BTreeMap<String, f64> {
    let rows = || {
        judged
            .iter()
            .filter_map(|(answer, truth)| Some((answer.as_ref()?, (*truth)?)))
    };

    let measures = measure(rows());
    if measures.is_empty() {
        return BTreeMap::new();
    }
    let mut named: BTreeMap<String, f64> = measures
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    named.insert("rows".to_owned(), rows().count() as f64);

    let off = |row: (&RowAnswer, Truth)| {
        if let (RowAnswer::Value(v), Truth::Value(t)) = row {
            Some((v - t).abs())
        } else {
            None
        }
    };

    let mut errors: Vec<f64> = rows().filter_map(off).collect();
    errors.sort_unstable_by(f64::total_cmp);
    if !errors.is_empty() {
        named.insert("abs_error_q90".to_owned(), quantile(&errors, 0.9));
    }
    named
}

/// Returns whether the model was wrong in each row, where that is known, as the performance test counts.
fn lost_rows(judged: &[JudgedRow], error_max: Option<f64>) -> Vec<Option<bool>> {
    let one = |(answer, truth): &JudgedRow| is_lost(answer.as_ref()?, (*truth)?, error_max);
    judged.iter().map(one).collect()
}

/// Returns the calibration curves of the scores: of the positive class of two, or of each class.
fn curves(task: &Task, signature: &Signature, judged: &[JudgedRow]) -> Vec<Calibration> {
    let Task::Classification(task) = task else {
        return Vec::new();
    };
    let name = &signature.outputs[task.scores].name;
    let looked_at = if task.classes.len() == 2 {
        1..2
    } else {
        0..task.classes.len()
    };

    let one = |class: usize| {
        let rows = judged.iter().filter_map(|row| match row {
            (Some(RowAnswer::Class(_, scores)), Some(Truth::Class(truth))) => {
                Some((f64::from(*scores.get(class)?), *truth == class))
            }
            _ => None,
        });
        let curve = Curve::fit(&rows.collect::<Vec<_>>())?;
        let output = if task.is_single {
            name.clone()
        } else {
            format!("{name}[{class}]")
        };
        Some(Calibration {
            output,
            points: curve.points().to_vec(),
        })
    };

    looked_at.filter_map(one).collect()
}
