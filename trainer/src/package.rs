//! The files published with a model: the baseline from held-out rows, golden rows,
//! and the model card.

use crate::data::Rows;
use crate::frame::{Frame, FrameColumn, FrameValues, MISSING, SourceColumn, WordCodes};
use crate::judge::OpenModel;
use crate::record::{Importance, RunRecord, text_of};
use crate::spec::Spec;
use ortus::core::error::{Error, Result};
use ortus::core::tensor::Tensor;
use ortus::core::tensor::compare::{Tolerance, difference};
use ortus::observe::drift::baseline::Baseline;
use ortus::observe::drift::facts::{LearnedValues, RowFacts};
use ortus::observe::profile::Making;
use ortus::onnx::golden::Golden;
use ortus::registry::manifest::{
    BASELINE_PATH, COMPANION_PATH, EXPLANATION_PATH, GOLDEN_PATH, MODEL_PATH,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// The model card.
pub(crate) const CARD: &str = "README.md";
/// The evidence page.
pub(crate) const PAGE: &str = "report.html";
/// The most rows of the baseline.
const BASELINE_ROWS: usize = 200_000;
/// Features that the model card lists.
const IMPORTANCES_MAX: usize = 30;
/// The number of golden rows.
const GOLDEN_ROWS: usize = 16;

/// The rows of a baseline, in their natural order, which tells how columns move.
struct BaselineRows {
    frame: Frame,
    /// The row with a target; none for one without.
    labelled: Vec<Option<u32>>,
    /// Seconds since 1970; empty if rows have no time.
    times: Vec<i64>,
}

impl BaselineRows {
    /// Takes held-out rows, and rows without a target of their time.
    fn of(rows: &Rows, held_out: &[u32]) -> Self {
        let mut in_order = held_out.to_vec();
        in_order.sort_unstable_by_key(|row| (rows.time_of(*row), *row));
        let step = in_order.len().div_ceil(BASELINE_ROWS).max(1);
        let chosen: Vec<u32> = in_order.into_iter().step_by(step).collect();
        let mut frame = rows.frame.take(&chosen);
        // The place of a row, which row with a target it is, and which row of the frame.
        let mut order: Vec<((i64, u32), Option<u32>, u32)> = Vec::new();
        if let Some(unlabelled) = &rows.unlabelled {
            let beside = unlabelled.beside(rows, &chosen);
            frame.append(&unlabelled.frame.take(&beside));
            let places = beside.iter().map(|row| unlabelled.place(*row));
            order.extend(
                (chosen.len() as u32..)
                    .zip(places)
                    .map(|(at, p)| (p, None, at)),
            );
        }
        let labelled = (0..).zip(&chosen);
        order.extend(labelled.map(|(at, row)| ((rows.time_of(*row), *row), Some(*row), at)));
        order.sort_unstable();
        let seconds = |((time, _), ..): &((i64, u32), _, _)| time.div_euclid(1_000_000);
        let taken: Vec<u32> = order.iter().map(|(.., at)| *at).collect();
        Self {
            frame: frame.take(&taken),
            labelled: order.iter().map(|(_, row, _)| *row).collect(),
            times: match rows.time {
                Some(_) => order.iter().map(seconds).collect(),
                None => Vec::new(),
            },
        }
    }

    /// Describes the rows for a person.
    fn origin(&self) -> String {
        let labelled = self.labelled.iter().flatten().count();
        match self.labelled.len() - labelled {
            0 => format!("{labelled} held-out rows"),
            others => format!("{labelled} held-out rows and {others} without a target"),
        }
    }
}

/// Computes the baseline from held-out rows: on training rows, predictions look
/// more confident than they are.
pub(crate) fn baseline(
    predictor: &mut OpenModel,
    rows: &Rows,
    held_out: &[u32],
    importances: &[Importance],
) -> Result<Baseline> {
    let chosen = BaselineRows::of(rows, held_out);
    let truths = crate::judge::truths(&rows.target, &predictor.task)?;
    let mut making = Making::new(
        predictor.signature.clone(),
        predictor.columns.clone(),
        Some(predictor.task.clone()),
    );

    let mut take = |inputs: &[Tensor], outputs: &[Tensor], part: std::ops::Range<usize>| {
        let truth = |row: &Option<u32>| row.map(|row| truths[row as usize]);
        let of: Vec<_> = chosen.labelled[part].iter().map(truth).collect();
        making.take(inputs, outputs, &of);
    };

    predictor.predict(&chosen.frame, &mut take)?;
    for Importance(name, share) in importances {
        // What is served, and watched, is the input from which the feature is computed.
        let derived = rows.frame.derived.get(name);
        let input = derived.map_or(name, |derivation| &derivation.source);
        *making.importances.entry(input.clone()).or_default() += share;
    }
    let origin = chosen.origin();
    making.facts = RowFacts {
        times: chosen.times,
        learned: learned(&rows.frame),
    };
    making.finish(chosen.labelled.len(), &origin)
}

/// Returns the values of the features whose values are few: a server must not take them for new ones because
/// the held-out rows lack them.
fn learned(frame: &Frame) -> BTreeMap<String, LearnedValues> {
    let of = |column: &FrameColumn| {
        let values = match &column.values {
            FrameValues::Numbers(all) => {
                LearnedValues::of_numbers(all.iter().map(|v| f64::from(*v)))
            }
            FrameValues::Words(words) => {
                LearnedValues::of_words(words.list.iter().map(String::as_str))
            }
        };
        Some((column.name.clone(), values?))
    };
    frame.columns.iter().filter_map(of).collect()
}

/// Takes golden rows from the test rows.
pub(crate) fn golden(
    predictor: &mut OpenModel,
    rows: &Rows,
    test: &[u32],
) -> Result<Option<Golden>> {
    let chosen: Vec<u32> = test.iter().copied().take(GOLDEN_ROWS).collect();
    let mut made = None;
    let signature = predictor.signature.clone();
    predictor.predict(&rows.frame.take(&chosen), &mut |inputs, outputs, _| {
        made = Golden::made(&signature, inputs.to_vec(), outputs.to_vec());
    })?;
    Ok(made.filter(|golden| Golden::read(&golden.write()).is_ok()))
}

/// Describes how the prediction of a row alone differs from that in a batch; none
/// if all are the same.
pub(crate) fn batch_dependence(
    predictor: &mut OpenModel,
    rows: &Rows,
    test: &[u32],
) -> Result<Option<String>> {
    let chosen: Vec<u32> = test.iter().copied().take(32).collect();
    let mut together: Vec<Tensor> = Vec::new();
    predictor.predict(&rows.frame.take(&chosen), &mut |_, outputs, _| {
        together = outputs.to_vec()
    })?;
    for (at, row) in chosen.iter().enumerate() {
        let mut alone: Vec<Tensor> = Vec::new();
        predictor.predict(&rows.frame.take(&[*row]), &mut |_, outputs, _| {
            alone = outputs.to_vec()
        })?;
        for (all, one) in together.iter().zip(&alone) {
            let parts = ortus::core::tensor::batch::split(all, &vec![1; chosen.len()])?;
            let tolerance = Tolerance::for_datatype(one.dtype());
            if let Some(how) = difference(&parts[at], one, tolerance) {
                return Ok(Some(how));
            }
        }
    }

    Ok(None)
}

/// Returns whether a row of missing values is predicted.
pub(crate) fn predicts_missing_row(predictor: &mut OpenModel, rows: &Rows) -> Result<bool> {
    let missing_source = |source: &SourceColumn| SourceColumn {
        name: source.name.clone(),
        values: vec![f64::NAN].into(),
    };
    let frame = Frame {
        columns: rows.frame.columns.iter().map(missing).collect(),
        rows: 1,
        sources: rows.frame.sources.iter().map(missing_source).collect(),
        ..Frame::default()
    };
    Ok(predictor.predict(&frame, &mut |_, _, _| {})?[0].is_some())
}

/// Returns a column of one missing value.
fn missing(column: &FrameColumn) -> FrameColumn {
    FrameColumn {
        name: column.name.clone(),
        values: match &column.values {
            FrameValues::Numbers(_) => FrameValues::Numbers(vec![f32::NAN].into()),
            FrameValues::Words(words) => FrameValues::Words(WordCodes {
                codes: vec![MISSING].into(),
                list: words.list.clone(),
            }),
        },
    }
}

/// The graphs of a version, and what explains its predictions.
pub(crate) struct Graphs<'g> {
    pub model: &'g [u8],
    pub companion: Option<&'g [u8]>,
    pub explanation: Option<&'g [u8]>,
}

/// Writes the files of a version into a folder.
pub(crate) fn write(
    folder: &Path,
    graphs: &Graphs<'_>,
    baseline: &Baseline,
    golden: Option<&Golden>,
    pages: &[(&str, &str)],
) -> Result<()> {
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes)
            .map_err(|e| Error::unavailable(format!("write {}", path.display())).with_source(e))
    };

    put(MODEL_PATH, graphs.model)?;
    graphs
        .companion
        .map_or(Ok(()), |companion| put(COMPANION_PATH, companion))?;
    graphs
        .explanation
        .map_or(Ok(()), |explanation| put(EXPLANATION_PATH, explanation))?;
    put(BASELINE_PATH, &baseline.write())?;
    if let Some(golden) = golden {
        put(GOLDEN_PATH, &golden.write())?;
    }
    pages
        .iter()
        .try_for_each(|(name, text)| put(name, text.as_bytes()))
}

/// Returns the model card, in Markdown.
pub(crate) fn card(spec: &Spec, record: &RunRecord) -> String {
    let mut text = format!("# {}\n\n", spec.model.name);
    if let Some(about) = &spec.model.about {
        let _ = writeln!(text, "{about}\n");
    }
    let rows = [
        ("Predicts", format!("`{}`", spec.schema.target)),
        ("Algorithm", text_of(&record.algorithm)),
        ("Training, stopping and test rows", record.split_rows()),
        ("Split by", record.split_by()),
        ("Data", text_of(&record.data_digest)),
        ("Run", text_of(&record.run)),
        ("Parent", text_of(&record.parent)),
        (
            "Licence",
            spec.model.licence.clone().unwrap_or_else(|| "-".to_owned()),
        ),
    ];

    let _ = writeln!(text, "| | |\n|---|---|");
    for (what, found) in rows {
        let _ = writeln!(text, "| {what} | {found} |");
    }
    let _ = writeln!(
        text,
        "\n## Metrics on the test rows\n\n| metric | value |\n|---|---|"
    );
    for (name, value) in record.metrics() {
        let value = serde_json::json!(value);
        let _ = writeln!(text, "| {name} | {value} |");
    }
    let _ = writeln!(
        text,
        "\n## Gates\n\n| gate | verdict | why |\n|---|---|---|"
    );
    for gate in record.gates() {
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            gate.name.replace('|', "/"),
            gate.verdict.word(),
            gate.reason.replace('|', "/")
        );
    }

    let _ = writeln!(
        text,
        "\n## Feature importance\n\n| feature | importance |\n|---|---|"
    );
    for Importance(feature, share) in record.importances().iter().take(IMPORTANCES_MAX) {
        let _ = writeln!(text, "| {feature} | {share:.4} |");
    }
    text
}
