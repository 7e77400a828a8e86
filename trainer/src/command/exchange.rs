//! The files between the trainer and a training program: rows and a description
//! in, a model with predictions out. The targets of the test rows are not passed.
//! Does not judge the model.

#[cfg(test)]
mod tests;

use crate::data::{RowTarget, Rows};
use crate::frame::FrameValues;
use crate::spec::{RowFormat, Spec};
use crate::split::Fold;
use bytes::Bytes;
use ortus::core::error::{Error, Result, short};
use ortus::storage::table::{Column, Table, columnar};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the exchange format.
const FORMAT: u32 = 1;
/// The largest metrics file.
const METRICS_BYTES_MAX: u64 = 1 << 20;
/// The name of the column of weights.
const WEIGHT: &str = "ortus.weight";

/// The report of the program on its model; every field is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProgramReport {
    /// Metrics of its own, for the record.
    pub metrics: BTreeMap<String, f64>,
    /// Feature importances.
    pub importances: BTreeMap<String, f64>,
    /// The features in the order of the model's columns, if they are not its inputs.
    pub features: Vec<String>,
    pub notes: Vec<String>,
}

/// The program's predictions of the test rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProgramPredictions {
    /// The value of each row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<f64>,
    /// The index of each row's class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<u32>,
    /// The probabilities of the classes, row by row, if the program writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<f32>,
}

/// The result of a training program.
pub(crate) struct ProgramOutput {
    pub model: Bytes,
    pub said: ProgramReport,
    pub claims: ProgramPredictions,
}

/// Writes the folder that a program reads.
pub(super) fn hand_over(folder: &Path, spec: &Spec, rows: &Rows, fold: &Fold) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::unavailable(format!("write to {}", folder.display())).with_source(e)
    };
    std::fs::create_dir_all(folder.join("out")).map_err(failed)?;
    let classes = rows.target.classes();
    let end = match spec.program.rows {
        RowFormat::Parquet => "parquet",
        RowFormat::Csv => "csv",
    };
    for (name, part, has_targets) in [
        ("train", &fold.train, true),
        ("stop", &fold.stop, true),
        ("test", &fold.test, false),
    ] {
        let table = table(spec, rows, part, has_targets);
        let bytes = match spec.program.rows {
            RowFormat::Parquet => columnar::write(&table, &columnar::Notes::new())?,
            RowFormat::Csv => csv(&table)?,
        };
        std::fs::write(folder.join(format!("{name}.{end}")), bytes).map_err(failed)?;
    }

    let plain = rows.frame.plain();
    let plain = plain.map(|c| json!({"name": c.name, "kind": kind(&c.values)}));
    let sources = rows.frame.sources.iter();
    let features = plain.chain(sources.map(|s| json!({"name": s.name, "kind": "number"})));
    let order = json!({
        "format": FORMAT,
        "model": spec.model.name,
        "task": if classes.is_some() { "classification" } else { "regression" },
        "target": spec.schema.target,
        "classes": classes,
        "features": features.collect::<Vec<_>>(),
        "weight": rows.weight.as_ref().map(|_| WEIGHT),
        "train": format!("train.{end}"),
        "stop": format!("stop.{end}"),
        "test": format!("test.{end}"),
        "seed": spec.fit.seed,
        "balanced": spec.fit.balanced,
        "threads": rayon::current_num_threads(),
        "out": {"model": "out/model.onnx", "metrics": "out/metrics.json", "predictions": "out/predictions.csv"},
    });

    std::fs::write(folder.join("spec.json"), order.to_string()).map_err(failed)
}

/// Returns the kind of a feature, as `spec.json` names it.
fn kind(values: &FrameValues) -> &'static str {
    match values {
        FrameValues::Numbers(_) => "number",
        FrameValues::Words(_) => "category",
    }
}

/// Returns the rows of a part, with their targets and weights if the program may see them.
fn table(spec: &Spec, rows: &Rows, part: &[u32], has_targets: bool) -> Table {
    let frame = rows.frame.take(part);
    let count = frame.rows;
    let mut all: Vec<(String, Column)> = Vec::with_capacity(frame.columns.len() + 2);
    for column in frame.plain() {
        let values = match &column.values {
            FrameValues::Numbers(all) => Column::F32(all.to_vec()),
            FrameValues::Words(words) => Column::Words(
                (0..count)
                    .map(|row| words.get(row).unwrap_or_default().to_owned())
                    .collect(),
            ),
        };
        all.push((column.name.clone(), values));
    }
    for source in frame.sources {
        all.push((source.name, Column::F64(source.values.to_vec())));
    }

    if has_targets {
        let target = match rows.target.take(part) {
            RowTarget::Values(values) => Column::F32(values),
            RowTarget::Classes { of, names } => {
                Column::Words(of.iter().map(|c| names[*c as usize].clone()).collect())
            }
        };
        all.push((spec.schema.target.clone(), target));
        if let Some(weights) = &rows.weight {
            all.push((
                WEIGHT.to_owned(),
                Column::F32(part.iter().map(|row| weights[*row as usize]).collect()),
            ));
        }
    }

    Table {
        columns: all,
        rows: count,
    }
}

fn csv(table: &Table) -> Result<Vec<u8>> {
    let failed = |e: csv::Error| Error::internal("write CSV").with_source(e);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(table.names()).map_err(failed)?;
    for row in 0..table.rows {
        writer
            .write_record(
                table
                    .columns
                    .iter()
                    .map(|(_, column)| missing(column.word(row))),
            )
            .map_err(failed)?;
    }

    writer
        .into_inner()
        .map_err(|e| Error::internal("write CSV").with_source(e.into_error()))
}

/// Writes a cell; a missing number is an empty one.
fn missing(word: String) -> String {
    if word == "NaN" { String::new() } else { word }
}

/// Reads the output of a program. Refuses files that are absent, too large or
/// malformed.
pub(super) fn take_back(
    folder: &Path,
    spec: &Spec,
    rows: &Rows,
    fold: &Fold,
) -> Result<ProgramOutput> {
    let out = folder.join("out");
    let bytes_max = spec.program.output_max as u64;
    let model_bytes_max = bytes_max.min(ortus::onnx::graph::MODEL_BYTES_MAX);
    let model = Bytes::from(read(&out, "model.onnx", model_bytes_max)?);
    let said = report(&out, rows)?;
    let predictions = read(&out, "predictions.csv", bytes_max)?;
    Ok(ProgramOutput {
        model,
        said,
        claims: claims(&predictions, rows, fold.test.len())?,
    })
}

/// Reads a file that the program wrote. Refuses more than `bytes_max`.
fn read(out: &Path, name: &str, bytes_max: u64) -> Result<Vec<u8>> {
    let path = out.join(name);
    let absent = |e| Error::invalid(format!("the program wrote no out/{name}")).with_source(e);
    // A symbolic link could point anywhere.
    let meta = std::fs::symlink_metadata(&path).map_err(absent)?;
    if !meta.is_file() {
        return Err(Error::invalid(format!("out/{name} is not a file")));
    }
    if meta.len() > bytes_max {
        return Err(Error::too_large(format!(
            "out/{name} is {} bytes, over {bytes_max}",
            meta.len()
        )));
    }
    std::fs::read(&path).map_err(absent)
}

/// Reads the report on the model, if the program wrote one. Refuses a name that is no feature.
fn report(out: &Path, rows: &Rows) -> Result<ProgramReport> {
    if !out.join("metrics.json").exists() {
        return Ok(ProgramReport::default());
    }
    let bytes = read(out, "metrics.json", METRICS_BYTES_MAX)?;
    let report: ProgramReport = serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid(format!("out/metrics.json is malformed: {e}")))?;

    let mut names = report.features.iter().chain(report.importances.keys());
    match names.find(|name| !rows.frame.has_input(name)) {
        Some(name) => Err(Error::invalid(format!(
            "out/metrics.json names '{}', which is not a feature",
            short(name)
        ))),
        None => Ok(report),
    }
}

/// Reads predictions: `value`, or `label` and optionally `p0`, `p1` …
/// in the order of the classes.
fn claims(bytes: &[u8], rows: &Rows, count: usize) -> Result<ProgramPredictions> {
    let refuse = |why: String| Error::invalid(format!("out/predictions.csv: {why}"));
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().map_err(|e| refuse(e.to_string()))?.clone();
    let place = |name: &str| header.iter().position(|h| h == name);
    let classes = rows.target.classes();
    let column = if classes.is_some() { "label" } else { "value" };
    let at = place(column).ok_or_else(|| refuse(format!("has no column '{column}'")))?;
    let scores: Vec<usize> = (0..classes.map_or(0, <[String]>::len))
        .map_while(|c| place(&format!("p{c}")))
        .collect();
    if !scores.is_empty() && Some(scores.len()) != classes.map(<[String]>::len) {
        return Err(refuse(
            "must have the probabilities of all classes, or of none".to_owned(),
        ));
    }

    let mut claims = ProgramPredictions::default();
    let mut found = 0;
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|e| refuse(e.to_string()))?;
        let cell = |at: usize| record.get(at).unwrap_or_default().trim();
        let number = |at: usize| {
            let word = cell(at);
            word.parse::<f64>().map_err(|_| {
                refuse(format!(
                    "row {row} holds '{}', which is not a number",
                    short(word)
                ))
            })
        };
        match classes {
            None => claims.values.push(number(at)?),
            Some(names) => {
                let class = names.iter().position(|name| name == cell(at));
                let class = class.ok_or_else(|| {
                    refuse(format!(
                        "row {row} holds '{}', which is not a class",
                        short(cell(at))
                    ))
                })?;
                claims.classes.push(class as u32);
                for score in &scores {
                    claims.scores.push(number(*score)? as f32);
                }
            }
        }
        found += 1;
    }

    if found != count {
        return Err(refuse(format!(
            "has {found} rows; the test part has {count}"
        )));
    }

    Ok(claims)
}
