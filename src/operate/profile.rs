//! Makes a baseline: reads a table, runs the model on it, and profiles what it
//! was asked and what it answered. Works on this machine alone.

mod table;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::model::{Dim, Signature, TensorSpec, short};
use crate::monitor::baseline::{Baseline, FORMAT};
use crate::monitor::layout::{self, Side, each_value};
use crate::monitor::profile::{Series, profile};
use crate::monitor::watch;
use crate::runtime::Session;
use crate::tensor::{DType, Strings, Tensor, View};
use half::{bf16, f16};
use std::path::Path;
use table::Table;
use table::Values;

/// Rows that are run at once.
const RUN_ROWS: usize = 256;

/// What is profiled.
pub(crate) struct Profile<'p> {
    pub data: &'p Path,
    /// The columns that the model takes, in its order; empty to find them out.
    pub features: Vec<String>,
    /// Columns of the table that are not the model's.
    pub ignore: Vec<String>,
}

impl Profile<'_> {
    /// Reads, runs, profiles. `open` builds a session of the graph.
    pub(crate) fn make(&self, graph: &Graph, session: &mut dyn Session) -> Result<Baseline> {
        let table = Table::read(self.data)?;
        let features = self.columns(&table, &graph.signature)?;
        let places = layout::places(&graph.signature, &features);
        let mut series: Vec<Series> = places.iter().map(watch::empty).collect();
        let leads = graph.signature.leads_with_dynamic();
        let step = if leads { RUN_ROWS } else { 1 };
        let mut at = 0;
        while at < table.rows {
            let rows = step.min(table.rows - at);
            let inputs = tensors(&table, &features, &graph.signature, (at, rows))?;
            let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
            let outputs = session.run(&views).map_err(|e| e.context(format_args!("run rows {at} to {}", at + rows)))?;
            for (place, series) in places.iter().zip(&mut series) {
                let side = if place.side == Side::Input { &inputs } else { &outputs };
                if let Some(tensor) = side.get(place.tensor) {
                    each_value(place, tensor, |value| watch::push(series, &value));
                }
            }
            at += rows;
        }
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for (place, series) in places.iter().zip(&series) {
            let side = if place.side == Side::Input { &mut inputs } else { &mut outputs };
            side.push(profile(&place.name, series));
        }
        let named = places.iter().filter(|p| p.side == Side::Input).map(|p| &p.name).eq(&features);
        let file = self.data.file_name().unwrap_or_default().to_string_lossy();
        Ok(Baseline {
            format: FORMAT,
            rows: table.rows as u64,
            source: format!("{} rows of {file}", table.rows),
            features: if named { features } else { Vec::new() },
            inputs,
            outputs,
            calibration: None,
            performance: Default::default(),
        })
    }

    /// The columns that the model takes, in its order: as given, by the names of
    /// its inputs, or all that are not ignored where they are as many.
    fn columns(&self, table: &Table, signature: &Signature) -> Result<Vec<String>> {
        let widths: Vec<usize> = signature.inputs.iter().map(width).collect::<Result<_>>()?;
        let wanted: usize = widths.iter().sum();
        let known = |name: &String| table.column(name).is_some();
        let by_name: Vec<String> = signature.inputs.iter().map(|s| s.name.clone()).collect();
        let rest = || table.names().filter(|n| !self.ignore.iter().any(|i| i == n)).map(str::to_owned).collect();
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
                "the table has no column '{}'; it has {}",
                short(missing),
                short(&has.join(", "))
            )));
        }
        if chosen.len() != wanted {
            return Err(Error::invalid(format!(
                "the model takes {wanted} columns, the table gives {}: name them with --features, or leave others out with --ignore",
                chosen.len()
            )));
        }
        Ok(chosen)
    }
}

/// Columns that an input takes.
fn width(spec: &TensorSpec) -> Result<usize> {
    let vague = || Error::invalid(format!("input '{}' is no table: its rows have no fixed width", spec.name));
    let dims = spec.shape.as_ref().ok_or_else(vague)?;
    let sizes: Option<Vec<usize>> =
        dims.iter().skip(1).map(|d| if let Dim::Fixed(n) = d { Some(*n) } else { None }).collect();
    sizes.and_then(|sizes| crate::tensor::elements(&sizes)).filter(|n| *n > 0).ok_or_else(vague)
}

/// Makes the inputs of some rows.
fn tensors(
    table: &Table,
    features: &[String],
    signature: &Signature,
    (at, rows): (usize, usize),
) -> Result<Vec<Tensor>> {
    let mut names = features.iter();
    let one = |spec: &TensorSpec| {
        let width = width(spec)?;
        let columns: Vec<&Values> = names.by_ref().take(width).filter_map(|name| table.column(name)).collect();
        let mut shape: Vec<usize> = vec![rows];
        let fixed = spec.shape.iter().flatten().skip(1);
        shape.extend(fixed.filter_map(|d| if let Dim::Fixed(n) = d { Some(*n) } else { None }));
        let cells = || (at..at + rows).flat_map(|row| columns.iter().map(move |c| (c, row)));
        if spec.dtype == DType::String {
            let words = cells().map(|(column, row)| column.word(row));
            return Tensor::strings(shape, Strings::from_parts(words)?);
        }
        let mut bytes = Vec::with_capacity(rows * width * 8);
        for (column, row) in cells() {
            let Values::Numbers(values) = column else {
                return Err(Error::invalid(format!("input '{}' takes numbers, the table has words", spec.name)));
            };
            put(&mut bytes, spec.dtype, values[row]).map_err(|e| e.context(format_args!("row {row}")))?;
        }
        Tensor::fixed(spec.dtype, shape, bytes.into())
    };
    signature.inputs.iter().map(one).collect()
}

fn put(bytes: &mut Vec<u8>, dtype: DType, value: f64) -> Result<()> {
    match dtype {
        DType::F32 => bytes.extend((value as f32).to_le_bytes()),
        DType::F64 => bytes.extend(value.to_le_bytes()),
        DType::F16 => bytes.extend(f16::from_f64(value).to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::from_f64(value).to_le_bytes()),
        _ => {
            let whole = value as i64;
            let width = dtype.element_bytes().unwrap_or(8);
            let fits = whole as f64 == value && (width == 8 || fits(whole, dtype));
            if !fits {
                return Err(Error::invalid(format!("{value} is no {dtype}")));
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
