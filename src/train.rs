//! Turns data into a version that servers follow: read, check, split, fit,
//! export, prove, judge, publish. The same data and specification are one run,
//! and a run has at most one version.

pub(crate) mod data;
pub(crate) mod export;
pub(crate) mod features;
pub(crate) mod fit;
pub(crate) mod frame;
pub(crate) mod gate;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod interval;
pub(crate) mod judge;
pub(crate) mod learn;
pub(crate) mod model;
mod package;
pub(crate) mod parity;
pub(crate) mod spec;
pub(crate) mod split;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::model::{Alias, Digest, ModelName};
use crate::operate::Operator;
use crate::operate::push::Push;
use crate::probe::child::{Ask, Prober, Subject};
use crate::registry::manifest::{MODEL_PATH, Manifest};
use crate::runtime::{Engine, SessionOptions, Source};
use bytes::Bytes;
use data::Rows;
use fit::trees::Round;
use gate::{Bench, Gate, Verdict};
use judge::{Asked, Judged, Wrong, judge};
use model::Model;
use serde_json::{Value, json};
use spec::{Algorithm, Policy, Spec};
use split::Fold;
use std::path::PathBuf;

/// Rows that the graph is held against the model on.
const PARITY_ROWS: usize = 20_000;
/// Clusters of rows that have a time, where they have no group.
const TIME_CLUSTERS: usize = 50;
/// Parts of a column by which a model is judged too.
const PARTS_MAX: usize = 20;

/// What a run needs beside its specification.
pub(crate) struct Trainer<'t> {
    pub operator: &'t Operator,
    pub engine: &'t dyn Engine,
    /// Makes the first run, in a process of the server's own program.
    pub prober: &'t Prober,
    pub now: chrono::DateTime<chrono::Utc>,
}

/// What a run came to.
pub(crate) struct Outcome {
    /// The version, where there is one.
    pub version: Option<u64>,
    /// Whether this run made it.
    pub new: bool,
    pub verdict: Verdict,
    /// Everything about it: the key, the data, the split, gates and metrics.
    pub record: Value,
}

/// Told of what happens; for a person.
pub(crate) trait Watcher {
    fn step(&mut self, what: &str);
    fn round(&mut self, round: Round);
}

/// The key of a run: what its result depends on.
pub(crate) fn key(spec: &Spec, data: &Digest) -> Digest {
    let text = json!(["run", 1, env!("CARGO_PKG_VERSION"), spec.canonical(), data.to_string()]).to_string();
    crate::registry::entry::hash(text.as_bytes())
}

/// What would run: the key, the data, the split.
pub(crate) async fn plan(spec: &Spec, now: chrono::DateTime<chrono::Utc>) -> Result<Value> {
    let mut rows = data::read(spec).await?;
    rows.notes.extend(data::check::check(spec, &rows, now)?);
    rows.manifest.time = span(&rows);
    asked_for(spec, &rows)?;
    let (_, told) = split::split(spec, &rows)?;
    Ok(json!({
        "model": spec.model.name,
        "run": key(spec, &rows.manifest.digest()).to_string(),
        "target": spec.schema.target,
        "task": if rows.target.classes().is_some() { "classification" } else { "regression" },
        "classes": rows.target.classes(),
        "features": rows.frame.columns.iter().map(|c| &c.name).collect::<Vec<_>>(),
        "algorithm": algorithm(spec),
        "data": rows.manifest,
        "data_digest": rows.manifest.digest().to_string(),
        "split": told,
        "notes": rows.notes,
    }))
}

/// The measure that gates look at. Refuses one that is not of these answers, and
/// slices that are no feature, before time is spent.
fn asked_for(spec: &Spec, rows: &Rows) -> Result<Wrong> {
    if let Some(name) = spec.gates.slices.iter().find(|name| rows.frame.column(name).is_none()) {
        let name = crate::model::short(name);
        return Err(Error::invalid(format!("'slices' in [gates] names '{name}', which is no feature")));
    }
    Wrong::parse(spec.gates.measure.as_deref(), rows.target.classes().is_some())
}

fn algorithm(spec: &Spec) -> &'static str {
    match spec.fit.algorithm {
        Algorithm::Trees => "trees",
        Algorithm::Linear => "linear",
        Algorithm::Mlp => "mlp",
    }
}

/// Trains, judges, and publishes what passes.
pub(crate) async fn run(trainer: &Trainer<'_>, spec: &Spec, watcher: &mut dyn Watcher) -> Result<Outcome> {
    let name = ModelName::parse(&spec.model.name)?;
    watcher.step("reading the data");
    let mut rows = data::read(spec).await?;
    let run = key(spec, &rows.manifest.digest());
    if let Some(outcome) = published(trainer, &name, &run).await? {
        return Ok(outcome);
    }
    rows.notes.extend(data::check::check(spec, &rows, trainer.now)?);
    rows.manifest.time = span(&rows);
    let wrong = asked_for(spec, &rows)?;
    let (folds, told) = split::split(spec, &rows)?;
    let (fold, earlier) = folds.split_last().ok_or_else(|| Error::internal("there is no origin"))?;
    let origins = earlier_origins(trainer, spec, (&rows, earlier), wrong, watcher)?;
    watcher.step(&format!("learning from {} rows", told.train));
    let model = learn::learn(spec, &rows, fold, &mut |round| watcher.round(round));
    match (&model.learned, model.converged()) {
        (model::Learned::Mlp(_), false) => {
            return Err(Error::precondition(
                "no weights were found that are better than chance; try a smaller 'rate' in [fit.mlp]",
            ));
        }
        (_, false) => {
            rows.notes.push("the best weights were not quite reached; a larger 'l2' in [fit.linear] helps".to_owned())
        }
        (_, true) => {}
    }

    watcher.step("exporting, and proving that the graph is what was learned");
    let properties = properties(spec, &model, &run);
    let bytes = Bytes::from(export::export(&model, spec.model.about.as_deref().unwrap_or_default(), &properties));
    let columns = export::columns(&model.features);
    let mut asked = open(trainer, bytes.clone(), None, &columns)?;
    let step = fold.train.len().div_ceil(PARITY_ROWS);
    let some: Vec<u32> = fold.train.iter().copied().step_by(step).collect();
    let parity = parity::check(&model, &mut asked, &rows.frame.take(&some), PARITY_ROWS, 7);
    let mut gates = vec![match &parity {
        Ok(p) => Gate::plain("parity", Verdict::Pass, format!("{} rows, at most {:.1e} apart", p.rows, p.worst)),
        Err(e) => Gate::plain("parity", Verdict::Fail, e.message.clone()),
    }];

    watcher.step(&format!("judging by {} rows", told.test));
    let frame = rows.frame.take(&fold.test);
    let target = rows.target.take(&fold.test);
    let judged = judge(&mut asked, &frame, &target, wrong)?;
    let champion = champion(trainer, &name, (&frame, &target), wrong).await?;
    let cluster = clusters(&rows, fold);
    let bench = Bench { wrong, cluster: &cluster, parts: parts(spec, &rows, fold) };
    let against = champion.as_ref().map(|(_, judged)| judged.as_ref().map_err(|e| e.message.as_str()));
    gates.extend(gate::judge(&spec.gates, &bench, &judged, against));
    gates.push(robust(&mut asked, &rows, fold));
    gates.push(mechanical(trainer.prober, &bytes, &run));

    let verdict = gate::whole(&gates);
    let mut importances: Vec<(String, f64)> =
        model.features.iter().map(|f| f.name.clone()).zip(model.importances()).collect();
    importances.sort_by(|a, b| b.1.total_cmp(&a.1));
    let parent = champion.as_ref().map(|(version, _)| *version);
    let record = json!({
        "run": run.to_string(),
        "algorithm": algorithm(spec),
        "data": rows.manifest,
        "data_digest": rows.manifest.digest().to_string(),
        "notes": rows.notes,
        "split": told,
        "origins": origins,
        "parity": parity.ok(),
        "gates": gates,
        "verdict": verdict,
        "metrics": judged.measures,
        "champion_metrics": champion.as_ref().and_then(|(_, j)| j.as_ref().ok()).map(|j| &j.measures),
        "parent": parent.map(|v| v.number()),
        "importances": importances,
        "spec": spec.canonical(),
        "seed": spec.fit.seed,
        "trainer": format!("ortus-trainer {}", env!("CARGO_PKG_VERSION")),
    });
    let mut outcome = Outcome { version: None, new: false, verdict, record };
    if verdict != Verdict::Pass {
        return Ok(outcome);
    }
    watcher.step("publishing");
    let folder = tempfile::tempdir().map_err(|e| Error::unavailable("make a temporary folder").with_source(e))?;
    let held_out = [&fold.stop[..], &fold.test].concat();
    let baseline = package::baseline(&mut asked, &rows, &held_out, &importances)?;
    let golden = package::golden(&mut asked, &rows, &fold.test)?;
    let card = package::card(spec, &outcome.record);
    package::write(folder.path(), &bytes, &baseline, golden.as_ref(), &card)?;
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let alias = match spec.publish.policy {
        Policy::Manual => None,
        Policy::Challenger => Some(Alias::parse("challenger")?),
        Policy::Champion => Some(Alias::champion()),
    };
    let mut lineage = object(&outcome.record);
    let metrics = lineage.remove("metrics").unwrap_or_default();
    let push = Push {
        path: folder.path().to_owned(),
        alias,
        features: columns,
        licence: spec.model.licence.clone().unwrap_or_default(),
        parent,
        lineage,
        evaluation: object(&metrics),
        allow_signature_change: spec.publish.allow_signature_change,
        run: Some(run),
        ..Push::default()
    };
    let pushed = trainer.operator.push(&name, &push, &|_| {}).await?;
    (outcome.version, outcome.new) = (Some(pushed.version), pushed.new);
    outcome.record["version"] = pushed.version.into();
    outcome.record["waiting"] = pushed.waiting.into();
    Ok(outcome)
}

/// The version that the run made before, if it did.
async fn published(trainer: &Trainer<'_>, name: &ModelName, run: &Digest) -> Result<Option<Outcome>> {
    let state = trainer.operator.state().await?;
    let Some((version, _)) = state.models.get(name).and_then(|m| m.of_run(run)) else { return Ok(None) };
    let record = json!({"run": run.to_string(), "version": version.number()});
    Ok(Some(Outcome { version: Some(version.number()), new: false, verdict: Verdict::Pass, record }))
}

/// The first and last time of the rows.
fn span(rows: &Rows) -> Option<(chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>)> {
    let times = rows.time.as_ref()?;
    let at = |t: Option<&i64>| chrono::DateTime::from_timestamp_micros(*t?);
    Some((at(times.iter().min())?, at(times.iter().max())?))
}

/// Opens a version's file, to be asked.
fn open(trainer: &Trainer<'_>, bytes: Bytes, external_dir: Option<PathBuf>, columns: &[String]) -> Result<Asked> {
    let graph = Graph::read(bytes.clone())?;
    let external_dir = external_dir.filter(|_| !graph.external.is_empty());
    let session = trainer.engine.open(&Source { bytes, external_dir }, &SessionOptions::single())?;
    Asked::new(&graph, columns, session)
}

/// What models of earlier origins come to: whether the last one was luck.
fn earlier_origins(
    trainer: &Trainer<'_>,
    spec: &Spec,
    (rows, folds): (&Rows, &[Fold]),
    wrong: Wrong,
    watcher: &mut dyn Watcher,
) -> Result<Vec<Value>> {
    let one = |(at, fold): (usize, &Fold)| -> Result<Value> {
        watcher.step(&format!("learning, origin {} of {}", at + 1, folds.len() + 1));
        let model = learn::learn(spec, rows, fold, &mut |round| watcher.round(round));
        let bytes = Bytes::from(export::export(&model, "", &[]));
        let mut asked = open(trainer, bytes, None, &export::columns(&model.features))?;
        let judged = judge(&mut asked, &rows.frame.take(&fold.test), &rows.target.take(&fold.test), wrong)?;
        Ok(json!({"train": fold.train.len(), "test": fold.test.len(), "metrics": judged.measures}))
    };
    folds.iter().enumerate().map(one).collect()
}

/// What the graph says of itself.
fn properties(spec: &Spec, model: &Model, run: &Digest) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("run", run.to_string()),
        ("target", spec.schema.target.clone()),
        ("features", json!(export::columns(&model.features)).to_string()),
    ];
    all.extend(model.classes.as_ref().map(|classes| ("classes", json!(classes).to_string())));
    all
}

type Champion = (crate::model::Version, Result<Judged>);

/// What the champion makes of the same rows; none where there is no champion.
async fn champion(
    trainer: &Trainer<'_>,
    name: &ModelName,
    (frame, target): (&frame::Frame, &data::Target),
    wrong: Wrong,
) -> Result<Option<Champion>> {
    // A registry that does not answer is no registry without a champion.
    let state = trainer.operator.state().await?;
    let Some(version) = state.models.get(name).and_then(|m| m.champion()) else { return Ok(None) };
    let judged = async {
        let folder = tempfile::tempdir().map_err(|e| Error::unavailable("make a temporary folder").with_source(e))?;
        let into = folder.path().join("champion");
        trainer.operator.pull(name, Some(&version.number().to_string()), &into, &|_| {}).await?;
        let read = |name: &str| {
            std::fs::read(into.join(name)).map_err(|e| Error::unavailable(format!("read {name}")).with_source(e))
        };
        let manifest = Manifest::read(&read(crate::registry::manifest::MANIFEST_PATH)?)?;
        let bytes = read(MODEL_PATH)?.into();
        judge(&mut open(trainer, bytes, Some(into), &manifest.features)?, frame, target, wrong)
    };
    Ok(Some((version, judged.await)))
}

/// What each row that it is judged by belongs to: its group, or its stretch of time.
fn clusters(rows: &Rows, fold: &Fold) -> Vec<u32> {
    let all = || fold.test.iter().map(|row| *row as usize);
    match (&rows.group, &rows.time) {
        (Some(groups), _) => all().map(|row| groups[row]).collect(),
        (None, Some(times)) => {
            let mut order: Vec<usize> = (0..fold.test.len()).collect();
            order.sort_by_key(|at| times[fold.test[*at] as usize]);
            let mut cluster = vec![0; order.len()];
            let clusters = TIME_CLUSTERS.min(order.len());
            order.iter().enumerate().for_each(|(place, at)| cluster[*at] = (place * clusters / order.len()) as u32);
            cluster
        }
        (None, None) => (0..fold.test.len() as u32).collect(),
    }
}

/// The parts by which it must not be worse than the champion either.
fn parts(spec: &Spec, rows: &Rows, fold: &Fold) -> Vec<(String, Vec<u32>)> {
    let mut all = Vec::new();
    for name in &spec.gates.slices {
        // Others were refused before.
        let Some(column) = rows.frame.column(name) else { continue };
        let mut found: std::collections::BTreeMap<String, Vec<u32>> = std::collections::BTreeMap::new();
        let edges = quarters(&column.values, &fold.train);
        for (place, row) in fold.test.iter().enumerate() {
            let part = match &column.values {
                frame::Values::Words(words) => words.get(*row as usize).unwrap_or("(missing)").to_owned(),
                frame::Values::Numbers(all) => match all[*row as usize] {
                    v if v.is_nan() => "(missing)".to_owned(),
                    v => format!("part {} of {}", edges.partition_point(|e| *e < v) + 1, edges.len() + 1),
                },
            };
            found.entry(part).or_default().push(place as u32);
        }
        let mut found: Vec<(String, Vec<u32>)> = found.into_iter().collect();
        found.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        all.extend(found.into_iter().take(PARTS_MAX).map(|(part, rows)| (format!("{name} = {part}"), rows)));
    }
    all
}

/// Three numbers that part rows in four.
fn quarters(values: &frame::Values, rows: &[u32]) -> Vec<f32> {
    let frame::Values::Numbers(all) = values else { return Vec::new() };
    let mut sorted: Vec<f32> = rows.iter().map(|r| all[*r as usize]).filter(|v| !v.is_nan()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let mut edges: Vec<f32> = (1..4).filter_map(|q| sorted.get(sorted.len() * q / 4).copied()).collect();
    edges.dedup();
    edges
}

/// A row is answered the same alone and among others, and where nothing of it is known.
fn robust(asked: &mut Asked, rows: &Rows, fold: &Fold) -> Gate {
    let found = package::alone_otherwise(asked, rows, &fold.test)
        .and_then(|how| Ok((how, package::answers_nothing(asked, rows)?)));
    match found {
        Ok((None, true)) => {
            Gate::plain("robust", Verdict::Pass, "rows are answered alone as together, and where all is missing")
        }
        Ok((Some(how), _)) => {
            Gate::plain("robust", Verdict::Fail, format!("a row's answer changes with the rows beside it: {how}"))
        }
        Ok((_, false)) => Gate::plain("robust", Verdict::Fail, "a row of which all is missing has no answer"),
        Err(e) => Gate::plain("robust", Verdict::Fail, e.message),
    }
}

/// The server's own program loads and runs it, in a process of its own.
fn mechanical(prober: &Prober, bytes: &Bytes, run: &Digest) -> Gate {
    let subject = Subject {
        digest: *run,
        bytes,
        external_dir: None,
        options: &SessionOptions::single(),
        rows: 64,
        golden: Ask::Nothing,
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
