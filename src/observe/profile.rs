//! Builds a baseline: reads a table, runs the model on it, and profiles inputs and outputs. Works
//! on this machine only.

mod order;
#[cfg(test)]
mod tests;

use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::task::{Task, Wish};
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::{DType, Strings, Tensor, View};
use crate::observe::drift::baseline::{Baseline, Calibration, FORMAT};
use crate::observe::drift::layout::{self, Side, each_value};
use crate::observe::drift::profile::{profile_all, quantile};
use crate::observe::drift::series::ColumnSeries;
use crate::observe::quality::answer::{Label, RowAnswer, Truth, answers};
use crate::observe::quality::calibrate::Curve;
use crate::observe::quality::measure::measure;
use crate::onnx::graph::Graph;
use crate::onnx::runtime::Session;
use crate::storage::table::{Cell, Column, Table};
use half::{bf16, f16};
use std::collections::BTreeMap;
use std::path::Path;

/// Rows in one run.
const RUN_ROWS: usize = 256;

/// What a baseline is built from.
pub(crate) struct Profile<'p> {
    pub data: &'p Path,
    /// Input columns of the model, in its order; empty to detect them.
    pub features: Vec<String>,
    /// Columns of the table that are not inputs of the model.
    pub ignore: Vec<String>,
    /// The column with the labels.
    pub label: Option<String>,
    /// The task, as far as it is given.
    pub task: Wish,
}

/// Builds a baseline from predicted rows, batch by batch.
pub struct Making {
    signature: Signature,
    features: Vec<String>,
    task: Option<Task>,
    places: Vec<layout::ColumnPlace>,
    series: Vec<ColumnSeries>,
    judged: Vec<JudgedRow>,
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
        }
    }

    /// Adds predicted rows, with the truth of each if it is known.
    pub fn take(&mut self, inputs: &[Tensor], outputs: &[Tensor], truths: &[Truth]) {
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

    /// Builds the baseline.
    pub fn finish(mut self, rows: usize, source: &str) -> Baseline {
        // Rows that are sorted by their labels are in no order of time.
        let unordered = order::is_sorted(self.judged.iter().map(|(_, truth)| *truth));
        if unordered {
            let shuffled = order::shuffled(rows);
            self.series
                .iter_mut()
                .for_each(|series| series.reorder(&shuffled));
        }
        let (inputs, outputs) = profile_all(&self.places, &self.series);

        let named = self
            .places
            .iter()
            .filter(|p| p.side == Side::Input)
            .map(|p| &p.name)
            .eq(&self.features);
        Baseline {
            format: FORMAT,
            rows: rows as u64,
            source: source.to_owned(),
            unordered,
            features: if named { self.features } else { Vec::new() },
            inputs,
            outputs,
            calibration: self
                .task
                .as_ref()
                .map(|t| curves(t, &self.signature, &self.judged))
                .unwrap_or_default(),
            performance: performance(&self.judged),
        }
    }
}

impl Profile<'_> {
    /// Reads the table, runs the model and builds the baseline. `open` opens a session of the
    /// graph.
    pub(crate) fn make(&self, graph: &Graph, session: &mut dyn Session) -> Result<Baseline> {
        let table = Table::read(self.data)?;
        let truths = self.truths(&table, graph)?;
        let features = self.columns(&table, &graph.signature)?;
        let task = truths.as_ref().map(|(task, _)| task.clone());
        let mut making = Making::new(graph.signature.clone(), features.clone(), task);
        let leads = graph.signature.has_dynamic_first_axis();
        let step = if leads { RUN_ROWS } else { 1 };
        let mut at = 0;
        while at < table.rows {
            let rows = step.min(table.rows - at);
            let inputs = tensors(&table, &features, &graph.signature, (at, rows))?;
            let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
            let outputs = session
                .run(&views)
                .map_err(|e| e.context(format_args!("run rows {at} to {}", at + rows)))?;
            making.take(
                &inputs,
                &outputs,
                truths
                    .as_ref()
                    .map_or(&[], |(_, truths)| &truths[at..at + rows]),
            );
            at += rows;
        }

        let file = self.data.file_name().unwrap_or_default().to_string_lossy();
        Ok(making.finish(table.rows, &format!("{} rows of {file}", table.rows)))
    }

    /// Returns the task and the truth of each row; none without a column of labels.
    fn truths(&self, table: &Table, graph: &Graph) -> Result<Option<(Task, Vec<Truth>)>> {
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

        let one = |row: usize| {
            let label = match column.cell(row) {
                Some(Cell::Whole(v)) => Label::Number(v as f64),
                Some(Cell::Unsigned(v)) => Label::Number(v as f64),
                Some(Cell::Number(v)) if v.is_finite() => Label::Number(v),
                Some(Cell::Word(word)) if !word.is_empty() => Label::Word(word.to_owned()),
                _ => {
                    return Err(Error::invalid(format!(
                        "row {row} has no label; leave it out"
                    )));
                }
            };
            label
                .truth(&task)
                .map_err(|e| e.context(format_args!("row {row}")))
        };

        let truths = (0..table.rows).map(one).collect::<Result<_>>()?;
        Ok(Some((task, truths)))
    }

    /// Returns the input columns of the model, in its order: as given, or by the names of its
    /// inputs, or all columns that are not ignored if their number fits.
    fn columns(&self, table: &Table, signature: &Signature) -> Result<Vec<String>> {
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
                "the dataset has no column '{}'; its columns are {}",
                short(missing),
                short(&has.join(", "))
            )));
        }

        if chosen.len() != wanted {
            return Err(Error::invalid(format!(
                "the model has {wanted} input columns, but the table has {}; name them with --features, or leave others out with --ignore",
                chosen.len()
            )));
        }

        Ok(chosen)
    }
}

/// A predicted row, if it can be compared with a label, and its truth.
type JudgedRow = (Option<RowAnswer>, Truth);

/// Returns the performance measures of labelled rows, as in the baseline's format.
fn performance(judged: &[JudgedRow]) -> BTreeMap<String, f64> {
    let rows = || {
        judged
            .iter()
            .filter_map(|(answer, truth)| Some((answer.as_ref()?, *truth)))
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
            (Some(RowAnswer::Class(_, scores)), Truth::Class(truth)) => {
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

/// Returns the number of columns of an input.
pub fn width(spec: &TensorSpec) -> Result<usize> {
    let vague = || {
        Error::invalid(format!(
            "input '{}' cannot be filled from a table: its rows must have a fixed width",
            spec.name
        ))
    };

    let dims = spec.shape.as_ref().ok_or_else(vague)?;
    let sizes: Option<Vec<usize>> = dims
        .iter()
        .skip(1)
        .map(|d| {
            if let Dim::Fixed(n) = d {
                Some(*n)
            } else {
                None
            }
        })
        .collect();
    sizes
        .and_then(|sizes| crate::core::tensor::elements(&sizes))
        .filter(|n| *n > 0)
        .ok_or_else(vague)
}

/// Builds the input tensors of some rows.
fn tensors(
    table: &Table,
    features: &[String],
    signature: &Signature,
    (at, rows): (usize, usize),
) -> Result<Vec<Tensor>> {
    let mut names = features.iter();
    let one = |spec: &TensorSpec| {
        let width = width(spec)?;
        let columns: Vec<&Column> = names
            .by_ref()
            .take(width)
            .filter_map(|name| table.column(name))
            .collect();
        let mut shape: Vec<usize> = vec![rows];
        let fixed = spec.shape.iter().flatten().skip(1);
        shape.extend(fixed.filter_map(|d| {
            if let Dim::Fixed(n) = d {
                Some(*n)
            } else {
                None
            }
        }));
        let cells = || (at..at + rows).flat_map(|row| columns.iter().map(move |c| (c, row)));
        if spec.dtype == DType::String {
            let words = cells().map(|(column, row)| column.word(row));
            return Tensor::strings(shape, Strings::from_parts(words)?);
        }
        let mut bytes = Vec::with_capacity(rows * width * 8);
        for (column, row) in cells() {
            put(
                &mut bytes,
                spec.dtype,
                column.cell(row).unwrap_or(Cell::Number(f64::NAN)),
            )
            .map_err(|e| e.context(format_args!("input '{}'", spec.name)))
            .map_err(|e| e.context(format_args!("row {row}")))?;
        }
        Tensor::fixed(spec.dtype, shape, bytes.into())
    };

    signature.inputs.iter().map(one).collect()
}

fn put(bytes: &mut Vec<u8>, dtype: DType, cell: Cell<'_>) -> Result<()> {
    let (value, whole) = match cell {
        Cell::Number(value) => (value, value as i64),
        Cell::Whole(whole) => (whole as f64, whole),
        Cell::Unsigned(v) if dtype == DType::U64 => {
            bytes.extend(v.to_le_bytes());
            return Ok(());
        }
        Cell::Unsigned(v) => (v as f64, i64::try_from(v).unwrap_or(i64::MAX)),
        Cell::Word(_) | Cell::Bytes(_) => {
            return Err(Error::invalid("must be numbers, but the table has text"));
        }
    };

    match dtype {
        DType::F32 => bytes.extend((value as f32).to_le_bytes()),
        DType::F64 => bytes.extend(value.to_le_bytes()),
        DType::F16 => bytes.extend(f16::from_f64(value).to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::from_f64(value).to_le_bytes()),
        _ => {
            let width = dtype.element_bytes().unwrap_or(8);
            let fits = (whole as f64).to_bits() == (value + 0.0).to_bits()
                && (width == 8 || fits(whole, dtype));
            if !fits {
                return Err(Error::invalid(format!(
                    "must be of type {dtype}, got {value}"
                )));
            }
            bytes.extend(&whole.to_le_bytes()[..width]);
        }
    }

    Ok(())
}

fn fits(whole: i64, dtype: DType) -> bool {
    match dtype {
        DType::Bool => matches!(whole, 0 | 1),
        DType::U8 => u8::try_from(whole).is_ok(),
        DType::I8 => i8::try_from(whole).is_ok(),
        DType::U16 => u16::try_from(whole).is_ok(),
        DType::I16 => i16::try_from(whole).is_ok(),
        DType::U32 => u32::try_from(whole).is_ok(),
        DType::I32 => i32::try_from(whole).is_ok(),
        _ => true,
    }
}
