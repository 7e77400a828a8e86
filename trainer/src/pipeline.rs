//! Turns data into a version that servers follow: read, check, split, fit,
//! export, prove, judge, publish. The same data and specification are one run,
//! and a run has at most one version.

#[cfg(test)]
mod tests;

use crate::candidate::Fitted;
use crate::command::Code;
use crate::context::{Outcome, Trainer, Watcher};
use crate::data::{Reach, Rows};
use crate::gate::{Bench, Gate, Verdict};
use crate::history::History;
use crate::judge::{Asked, Judged, Wrong, judge};
use crate::lease::Lease;
use crate::package::Graphs;
use crate::parity::Parity;
use crate::spec::{Algorithm, Policy, Spec};
use crate::split::Fold;
use crate::steps::Steps;
use crate::{
    candidate, command, companion, data, evidence, gate, package, referee, scratch, split, steps,
};
use bytes::Bytes;
use ortus::core::error::{Error, Result};
use ortus::core::model::{Alias, Digest, ModelName, Version};
use ortus::registry::commands::push::{Push, Pushed};
use ortus::registry::entry::Evidence;
use serde_json::{Value, json};

/// Files of the data that a record tells one by one.
const FILES_TOLD: usize = 2_000;
/// How often it is judged anew because the champion changed.
const CHAMPIONS_MAX: usize = 5;

/// The key of a run: what its result depends on.
pub(crate) fn key(spec: &Spec, code: &[Code], data: &Digest) -> Digest {
    let parts = json!([
        "run",
        1,
        env!("CARGO_PKG_VERSION"),
        spec.canonical(),
        code,
        data.to_string()
    ]);
    ortus::registry::entry::hash(parts.to_string().as_bytes())
}

/// What would run: the key, the data, the split.
pub(crate) async fn plan(spec: &Spec, reach: &Reach) -> Result<Value> {
    let mut rows = data::read(spec, reach).await?;
    let code = command::code(spec)?;
    rows.notes
        .extend(data::check::check(spec, &rows, reach.now)?);
    rows.manifest.time = span(&rows);
    asked_for(spec, &rows)?;
    let (_, told) = split::split(spec, &rows)?;
    Ok(json!({
        "model": spec.model.name,
        "run": key(spec, &code, &rows.manifest.digest()).to_string(),
        "code": code,
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
pub(crate) fn asked_for(spec: &Spec, rows: &Rows) -> Result<Wrong> {
    if let Some(name) = spec
        .gates
        .slices
        .iter()
        .find(|name| rows.frame.column(name).is_none())
    {
        let name = ortus::core::model::short(name);
        return Err(Error::invalid(format!(
            "'slices' in [gates] names '{name}', which is no feature"
        )));
    }
    Wrong::parse(
        spec.gates.measure.as_deref(),
        rows.target.classes().is_some(),
    )
}

fn algorithm(spec: &Spec) -> &'static str {
    match spec.fit.algorithm {
        Algorithm::Trees => "trees",
        Algorithm::Linear => "linear",
        Algorithm::Mlp => "mlp",
        Algorithm::Command => "command",
    }
}

/// What a run has made, before anybody judges it.
struct Made<'m> {
    /// What says how large its errors are, and what that comes to.
    companion: Option<(Bytes, Value)>,
    run: Digest,
    code: Vec<Code>,
    rows: &'m Rows,
    fold: &'m Fold,
    told: split::Told,
    origins: Vec<Value>,
    fitted: Fitted,
    graph: Bytes,
    columns: Vec<String>,
}

/// Trains, judges, and publishes what passes.
pub(crate) async fn run(
    trainer: &Trainer<'_>,
    spec: &Spec,
    watcher: &mut dyn Watcher,
) -> Result<Outcome> {
    let name = ModelName::parse(&spec.model.name)?;
    watcher.step("reading the data");
    let mut rows = data::read(spec, &trainer.reach()).await?;
    let code = command::code(spec)?;
    let run = key(spec, &code, &rows.manifest.digest());
    if let Some(outcome) = published(trainer, &name, &run).await? {
        return Ok(outcome);
    }
    if let Some(pinned) = trainer.pinned {
        // A trainer before this one may have come to the end of it, from files that are no longer the same.
        if let Some(earlier) = pinned.run.filter(|earlier| *earlier != run)
            && let Some(outcome) = published(trainer, &name, &earlier).await?
        {
            return Ok(outcome);
        }
        pinned.note(&run).await?;
    }
    rows.notes
        .extend(data::check::check(spec, &rows, trainer.now)?);
    rows.manifest.time = span(&rows);
    let wrong = asked_for(spec, &rows)?;
    let (folds, told) = split::split(spec, &rows)?;
    let (fold, earlier) = folds
        .split_last()
        .ok_or_else(|| Error::internal("there is no origin"))?;
    let history = History::new(trainer.records(), name.clone());
    history
        .keep_data(&rows.manifest.digest(), &json!(rows.manifest))
        .await?;
    let steps = Steps::of(trainer.records(), &name, &run);
    // Left over, they cost room only.
    let _ = steps::clear_old(&trainer.records(), &name, trainer.now).await;
    let origins =
        earlier_origins(trainer, spec, (&rows, earlier), (wrong, &steps), watcher).await?;
    let what = format!("learning from {} rows", told.train);
    let fitted = fitted(&steps, ("fit", &what), watcher, spec, (&rows, fold)).await?;
    rows.notes.extend(fitted.notes());

    watcher.step("exporting, and proving that the graph is what was learned");
    let graph = fitted.graph(spec, &run.to_string());
    let columns = fitted.columns(spec, &rows);
    let mut asked = referee::open(trainer, graph.clone(), None, &columns)?;
    // As it is asked: a program's model may have an input for each column.
    let columns = asked.columns.clone();
    let parity = fitted.parity(spec, &mut asked, &rows, fold);
    let mut proven = vec![match &parity {
        Ok(p) => Gate::plain(
            "parity",
            Verdict::Pass,
            format!("{} rows, at most {:.1e} apart", p.rows, p.worst),
        ),
        Err(e) => Gate::plain("parity", Verdict::Fail, e.message.clone()),
    }];
    proven.push(referee::robust(
        &mut asked,
        &rows,
        fold,
        fitted.bears_nothing(),
    ));
    proven.push(referee::mechanical(
        trainer.operator.prober.as_ref(),
        &graph,
        &run,
    ));

    let frame = rows.frame.take(&fold.test);
    let target = rows.target.take(&fold.test);
    let cluster = referee::clusters(&rows, fold);
    let bench = Bench {
        wrong,
        cluster: &cluster,
        parts: referee::parts(spec, &rows, fold),
    };
    let judged = judge(&mut asked, &frame, &target, wrong)?;
    let companion = companion::learn_errors(trainer, spec, (&rows, fold), &mut asked)?;
    let made = Made {
        companion,
        run,
        code,
        rows: &rows,
        fold,
        told,
        origins,
        fitted,
        graph,
        columns,
    };
    // Whoever becomes champion meanwhile is whom it has to be as good as.
    for _ in 0..CHAMPIONS_MAX {
        if let Some(outcome) = published(trainer, &name, &run).await? {
            return Ok(outcome);
        }
        watcher.step(&format!("judging by {} rows", frame.rows));
        let champion = referee::champion(trainer, &name, (&frame, &target), wrong).await?;
        let against = champion
            .as_ref()
            .map(|(_, judged)| judged.as_ref().map_err(|e| e.message.as_str()));
        let gates = [
            proven.clone(),
            gate::judge(&spec.gates, &bench, &judged, against),
        ]
        .concat();
        let verdict = gate::whole(&gates);
        let mut record = record(
            spec,
            (&made, trainer.trigger),
            parity.as_ref().ok(),
            &gates,
            (&judged, champion.as_ref()),
        );
        let beside = champion
            .as_ref()
            .and_then(|(_, judged)| judged.as_ref().ok());
        let page = evidence::page(&record, &bench, &judged, beside, spec.gates.confidence);
        let kept = history.keep_page(&run, &page).await;
        if let Err(error) = kept {
            watcher.step(&format!("the page about it is not kept: {error}"));
        }
        if verdict != Verdict::Pass {
            // They would be swept in time.
            let _ = steps.clear().await;
            return Ok(Outcome {
                version: None,
                new: false,
                verdict,
                record,
            });
        }
        watcher.step("publishing");
        trainer.lease.map_or(Ok(()), Lease::check)?;
        let over = champion.as_ref().map(|(version, _)| *version);
        match publish(
            trainer,
            spec,
            (&name, &made),
            &mut asked,
            (&record, &page, over),
        )
        .await
        {
            Err(_) if trainer.champion_of(&name).await? != over => {
                watcher.step("the champion changed meanwhile");
            }
            Err(error) => return Err(error),
            Ok(pushed) => {
                // They would be swept in time.
                let _ = steps.clear().await;
                record["version"] = pushed.version.into();
                record["waiting"] = pushed.waiting.into();
                return Ok(Outcome {
                    version: Some(pushed.version),
                    new: pushed.new,
                    verdict,
                    record,
                });
            }
        }
    }
    Err(Error::unavailable(
        "the champion changes again and again while it is compared with",
    ))
}

/// What a step left, or what it makes now.
async fn fitted(
    steps: &Steps,
    (step, what): (&str, &str),
    watcher: &mut dyn Watcher,
    spec: &Spec,
    (rows, fold): (&Rows, &Fold),
) -> Result<Fitted> {
    if let Some(fitted) = steps.done(step).await?.as_ref().and_then(Fitted::read) {
        watcher.step(&format!("{what}: done before"));
        return Ok(fitted);
    }
    watcher.step(what);
    let fitted = candidate::fit(spec, rows, fold, &mut |round| watcher.round(round))?;
    match steps.keep(step, fitted.write()?).await {
        Ok(kept) => Ok(Fitted::read(&kept).unwrap_or(fitted)),
        Err(error) => {
            watcher.step(&format!(
                "it is not kept, and done again where the run is: {error}"
            ));
            Ok(fitted)
        }
    }
}

/// Everything about a run, for whoever asks later.
fn record(
    spec: &Spec,
    (made, trigger): (&Made<'_>, Option<&str>),
    parity: Option<&Parity>,
    gates: &[Gate],
    (judged, champion): (&Judged, Option<&referee::Champion>),
) -> Value {
    json!({
        "model": spec.model.name,
        "run": made.run.to_string(),
        "trigger": trigger,
        "algorithm": algorithm(spec),
        "code": made.code,
        "data": told_of(&made.rows.manifest),
        "data_digest": made.rows.manifest.digest().to_string(),
        "notes": made.rows.notes,
        "split": made.told,
        "origins": made.origins,
        "parity": parity,
        "gates": gates,
        "verdict": gate::whole(gates),
        "metrics": judged.measures,
        "own_metrics": made.fitted.told(),
        "champion_metrics": champion.and_then(|(_, j)| j.as_ref().ok()).map(|j| &j.measures),
        "parent": champion.map(|(version, _)| version.number()),
        "companion": made.companion.as_ref().map(|(_, told)| told),
        "importances": made.fitted.importances(),
        "spec": spec.canonical(),
        "seed": spec.fit.seed,
        "trainer": format!("ortus-trainer {}", env!("CARGO_PKG_VERSION")),
    })
}

/// The manifest as a record has it: of many files the first. The whole is kept
/// by its digest.
fn told_of(manifest: &data::Manifest) -> Value {
    let mut manifest = manifest.clone();
    let most = FILES_TOLD / manifest.sources.len().max(1);
    let mut files = serde_json::Map::new();
    for source in &mut manifest.sources {
        if source.files.len() > most {
            files.insert(source.name.clone(), source.files.len().into());
            source.files.truncate(most);
        }
    }
    let mut told = json!(manifest);
    if !files.is_empty() {
        told["files_in_all"] = files.into();
    }
    told
}

/// What stands beside the version in the log.
fn evidence(record: &Value, page: &str) -> Evidence {
    let gates = record["gates"].as_array().into_iter().flatten();
    let verdicts: serde_json::Map<String, Value> = gates
        .filter_map(|gate| Some((gate["name"].as_str()?.to_owned(), gate["verdict"].clone())))
        .collect();
    let report = ortus::registry::entry::hash(page.as_bytes()).to_string();
    let values = json!({"run": record["run"], "trigger": record["trigger"], "gates": verdicts, "report": report});
    Evidence {
        kind: "trained".to_owned(),
        values: values.as_object().cloned().unwrap_or_default(),
    }
}

/// Publishes what passed, where the champion is still the one it was held against.
async fn publish(
    trainer: &Trainer<'_>,
    spec: &Spec,
    (name, made): (&ModelName, &Made<'_>),
    asked: &mut Asked,
    (record, page, over): (&Value, &str, Option<Version>),
) -> Result<Pushed> {
    let folder = scratch::folder()?;
    let held_out = [&made.fold.stop[..], &made.fold.test].concat();
    let baseline = package::baseline(asked, made.rows, &held_out, &made.fitted.importances())?;
    let golden = package::golden(asked, made.rows, &made.fold.test)?;
    let card = package::card(spec, record);
    let graphs = Graphs {
        model: &made.graph,
        companion: made.companion.as_ref().map(|(bytes, _)| &bytes[..]),
    };
    package::write(
        folder.path(),
        &graphs,
        &baseline,
        golden.as_ref(),
        &[(package::CARD, &card), (package::PAGE, page)],
    )?;
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut lineage = object(record);
    let metrics = lineage.remove("metrics").unwrap_or_default();
    let push = Push {
        path: folder.path().to_owned(),
        alias: match spec.publish.policy {
            Policy::Manual => None,
            Policy::Challenger => Some(Alias::parse("challenger")?),
            Policy::Canary if over.is_some() => Some(Alias::parse("canary")?),
            Policy::Canary | Policy::Champion => Some(Alias::champion()),
        },
        share: Some(spec.publish.canary_percent).filter(|_| spec.publish.policy == Policy::Canary),
        features: made.columns.clone(),
        licence: spec.model.licence.clone().unwrap_or_default(),
        parent: over,
        lineage,
        evaluation: object(&metrics),
        allow_signature_change: spec.publish.allow_signature_change,
        run: Some(made.run),
        over: Some(over),
        evidence: vec![evidence(record, page)],
        ..Push::default()
    };
    trainer.operator.push(name, &push, &|_| {}).await
}

/// The version that the run made before, if it did.
async fn published(
    trainer: &Trainer<'_>,
    name: &ModelName,
    run: &Digest,
) -> Result<Option<Outcome>> {
    let state = trainer.operator.state().await?;
    let Some((version, _)) = state.models.get(name).and_then(|m| m.of_run(run)) else {
        return Ok(None);
    };
    // It says of itself what it was made of.
    let lineage = trainer
        .operator
        .lineage(name, Some(&version.number().to_string()))
        .await?;
    let mut record = lineage
        .first()
        .map(|of| of["lineage"].clone())
        .unwrap_or_default();
    record["run"] = run.to_string().into();
    record["version"] = version.number().into();
    Ok(Some(Outcome {
        version: Some(version.number()),
        new: false,
        verdict: Verdict::Pass,
        record,
    }))
}

/// The first and last time of the rows.
pub(crate) fn span(
    rows: &Rows,
) -> Option<(chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>)> {
    let times = rows.time.as_ref()?;
    let at = |t: Option<&i64>| chrono::DateTime::from_timestamp_micros(*t?);
    Some((at(times.iter().min())?, at(times.iter().max())?))
}

/// What models of earlier origins come to: whether the last one was luck.
async fn earlier_origins(
    trainer: &Trainer<'_>,
    spec: &Spec,
    (rows, folds): (&Rows, &[Fold]),
    (wrong, steps): (Wrong, &Steps),
    watcher: &mut dyn Watcher,
) -> Result<Vec<Value>> {
    let mut told = Vec::new();
    for (at, fold) in folds.iter().enumerate() {
        let what = format!("learning, origin {} of {}", at + 1, folds.len() + 1);
        let fitted = fitted(
            steps,
            (&format!("origin-{at}"), &what),
            watcher,
            spec,
            (rows, fold),
        )
        .await?;
        let mut asked = referee::open(
            trainer,
            fitted.graph(spec, ""),
            None,
            &fitted.columns(spec, rows),
        )?;
        let judged = judge(
            &mut asked,
            &rows.frame.take(&fold.test),
            &rows.target.take(&fold.test),
            wrong,
        )?;
        told.push(
            json!({"train": fold.train.len(), "test": fold.test.len(), "metrics": judged.measures}),
        );
    }
    Ok(told)
}
