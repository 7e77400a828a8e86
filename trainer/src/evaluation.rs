//! The evaluation around a model: the champion's predictions of the same rows,
//! clusters of dependent rows, slices, and the gates of robustness and loading.

use crate::context::Trainer;
use crate::data::Rows;
use crate::frame::FrameValues;
use crate::gate::{Gate, Slice, Verdict};
use crate::judge::losses::JudgedRows;
use crate::judge::measure::LossMeasure;
use crate::judge::{Evaluation, OpenModel, judge};
use crate::package;
use crate::spec::{Objective, Spec};
use crate::split::Fold;
use bytes::Bytes;
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::core::model::{ModelName, Version};
use ortus::observe::drift::baseline::Baseline;
use ortus::onnx::first_run::{FirstRunSubject, GoldenRows, Prober};
use ortus::onnx::graph::Graph;
use ortus::onnx::runtime::{SessionOptions, SessionSource};
use ortus::registry::manifest::{BASELINE_PATH, MODEL_PATH, Manifest};
use std::path::PathBuf;

/// The number of clusters of rows that have a time but no group.
const TIME_CLUSTERS: usize = 50;
/// Slices of a column that are compared.
const SLICES_MAX: usize = 20;

/// Opens a model file for predictions.
pub(super) fn open(
    trainer: &Trainer<'_>,
    bytes: Bytes,
    external_dir: Option<PathBuf>,
    columns: &[String],
) -> Result<OpenModel> {
    let graph = Graph::read(bytes.clone())?;
    let external_dir = external_dir.filter(|_| !graph.external.is_empty());
    let session = trainer.engine.open(
        &SessionSource {
            bytes,
            external_dir,
        },
        &SessionOptions::single(),
    )?;

    OpenModel::new(&graph, columns, session)
}

/// The champion, and how well it predicts the test rows.
pub(super) struct Champion {
    pub version: Version,
    pub evaluation: Result<Evaluation>,
    /// Its baseline, if it has one.
    pub baseline: Option<Baseline>,
}

/// Evaluates the champion on the same rows; none if there is no champion.
pub(super) async fn champion(
    trainer: &Trainer<'_>,
    name: &ModelName,
    rows: &JudgedRows<'_>,
    measure: LossMeasure,
) -> Result<Option<Champion>> {
    // Fails if the registry does not answer, which is not the same as no champion.
    let state = trainer.operator.state().await?;
    let Some(version) = state.models.get(name).and_then(|m| m.champion()) else {
        return Ok(None);
    };
    let folder = crate::scratch::folder()?;
    let into = folder.path().join("champion");
    let number = version.number().to_string();
    let pulled = trainer.operator.pull(name, Some(&number), &into, &|_| {});
    let pulled = pulled.await;
    let baseline = std::fs::read(into.join(BASELINE_PATH)).ok();
    let judged = || {
        pulled?;
        let read = |name: &str| {
            std::fs::read(into.join(name))
                .map_err(|e| Error::unavailable(format!("read {name}")).with_source(e))
        };
        let manifest = Manifest::read(&read(ortus::registry::manifest::MANIFEST_PATH)?)?;
        check_comparable(&manifest, measure)?;
        let bytes = read(MODEL_PATH)?.into();
        judge(
            &mut open(trainer, bytes, Some(into.clone()), &manifest.features)?,
            rows,
            measure,
        )
    };

    Ok(Some(Champion {
        version,
        evaluation: judged(),
        baseline: baseline.and_then(|bytes| Baseline::read(&bytes).ok()),
    }))
}

/// Refuses a champion whose predictions have no unit, if they are not judged as a ranking.
fn check_comparable(manifest: &Manifest, measure: LossMeasure) -> Result<()> {
    let objective = manifest.lineage.get("objective").and_then(|o| o.as_str());
    if objective == Some(Objective::LambdaRank.word()) && !measure.is_better_above() {
        return Err(Error::precondition(format!(
            "it ranks the rows of a query (objective \"lambdarank\"), and its scores have no {}; promote a version of this objective by hand once",
            measure.name()
        )));
    }
    Ok(())
}

/// Returns the cluster of each test row: its group, or its part of the time.
pub(super) fn clusters(rows: &Rows, fold: &Fold) -> Vec<u32> {
    let all = || fold.test.iter().map(|row| *row as usize);
    match (&rows.group, &rows.time) {
        (Some(groups), _) => all().map(|row| groups[row]).collect(),
        (None, Some(times)) => {
            let mut order: Vec<usize> = (0..fold.test.len()).collect();
            order.sort_by_key(|at| times[fold.test[*at] as usize]);
            let mut cluster = vec![0; order.len()];
            let clusters = TIME_CLUSTERS.min(order.len());
            order
                .iter()
                .enumerate()
                .for_each(|(place, at)| cluster[*at] = (place * clusters / order.len()) as u32);
            cluster
        }
        (None, None) => (0..fold.test.len() as u32).collect(),
    }
}

/// Returns the slices in which the model must not be worse than the champion either.
pub(super) fn slices(spec: &Spec, rows: &Rows, fold: &Fold) -> Vec<Slice> {
    let mut all = Vec::new();
    for name in &spec.gates.slices {
        // An unknown column was refused before.
        let Some(column) = rows.frame.column(name) else {
            continue;
        };
        let mut found: std::collections::BTreeMap<String, Vec<u32>> =
            std::collections::BTreeMap::new();
        let edges = quarters(&column.values, &fold.train);
        for (place, row) in fold.test.iter().enumerate() {
            let part = match &column.values {
                FrameValues::Words(words) => {
                    words.get(*row as usize).unwrap_or("(missing)").to_owned()
                }
                FrameValues::Numbers(all) => match all[*row as usize] {
                    v if v.is_nan() => "(missing)".to_owned(),
                    v => format!(
                        "part {} of {}",
                        edges.partition_point(|e| *e < v) + 1,
                        edges.len() + 1
                    ),
                },
            };
            found.entry(part).or_default().push(place as u32);
        }
        let mut found: Vec<Slice> = found
            .into_iter()
            .map(|(part, rows)| Slice {
                name: format!("{name} = {part}"),
                rows,
            })
            .collect();
        found.sort_by_key(|slice| std::cmp::Reverse(slice.rows.len()));
        all.extend(found.into_iter().take(SLICES_MAX));
    }

    all
}

/// Returns the quartiles of a column.
fn quarters(values: &FrameValues, rows: &[u32]) -> Vec<f32> {
    let FrameValues::Numbers(all) = values else {
        return Vec::new();
    };
    let mut sorted: Vec<f32> = rows
        .iter()
        .map(|r| all[*r as usize])
        .filter(|v| !v.is_nan())
        .collect();
    sorted.sort_unstable_by(f32::total_cmp);

    let mut edges: Vec<f32> = (1..4)
        .filter_map(|q| sorted.get(sorted.len() * q / 4).copied())
        .collect();
    edges.dedup();
    edges
}

/// Checks that predictions do not depend on the batch, and that a row of missing values is predicted.
pub(super) fn robust(
    predictor: &mut OpenModel,
    rows: &Rows,
    fold: &Fold,
    must_predict_missing_row: bool,
) -> Gate {
    let found = package::batch_dependence(predictor, rows, &fold.test)
        .and_then(|how| Ok((how, package::predicts_missing_row(predictor, rows)?)));
    match found {
        Ok((None, true)) => Gate::plain(
            "robust",
            Verdict::Pass,
            "predictions do not depend on the batch, and a row of missing values is predicted",
        ),
        // The author of a training program knows whether values can be missing.
        Ok((None, false)) if !must_predict_missing_row => {
            let reason =
                "predictions do not depend on the batch; a row of missing values has no prediction";
            Gate::plain("robust", Verdict::Pass, reason)
        }
        Ok((Some(how), _)) => Gate::plain(
            "robust",
            Verdict::Fail,
            format!("the prediction of a row depends on the other rows of its batch: {how}"),
        ),
        Ok((_, false)) => Gate::plain(
            "robust",
            Verdict::Fail,
            "a row of missing values has no prediction",
        ),
        Err(e) => Gate::plain("robust", Verdict::Fail, e.message),
    }
}

/// Loads and runs the graph in a process of the server's program.
pub(super) fn mechanical(prober: Option<&Prober>, bytes: &Bytes, run: &Digest) -> Gate {
    let Some(prober) = prober else {
        return Gate::plain(
            "mechanical",
            Verdict::NotGated,
            "no server program was given to load it",
        );
    };

    let subject = FirstRunSubject {
        digest: *run,
        bytes,
        external_dir: None,
        options: &SessionOptions::single(),
        rows: 64,
        golden: GoldenRows::Skip,
        padding: None,
    };

    match prober.check(&subject) {
        Ok(passed) => {
            let m = passed.measured;
            let us = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.0} µs"));
            let reason = format!(
                "loads in {:.0} ms, one row {}, 64 rows {}, {} MiB",
                m.load_ms,
                us(m.one_row_us),
                us(m.largest_us),
                m.rss_bytes >> 20
            );
            Gate::plain("mechanical", Verdict::Pass, reason)
        }
        Err(e) => Gate::plain("mechanical", Verdict::Fail, e.message),
    }
}
