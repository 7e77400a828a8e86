//! The fifth phase: compares the model with the champion by the gates, and writes
//! the record and the evidence page of the run.

use super::Job;
use super::dataset::algorithm;
use super::proven::Proven;
use crate::context::{Outcome, Watcher};
use crate::data::Manifest;
use crate::evaluation::{self, Champion};
use crate::evidence;
use crate::gate::{self, Gate, Verdict};
use crate::history::History;
use ortus::core::error::Result;
use ortus::core::model::Version;
use serde_json::{Value, json};

/// The most files of the data that a record lists.
const FILES_TOLD: usize = 2_000;

/// The verdict on a model, with its record and page.
pub(super) struct Judged {
    verdict: Verdict,
    /// The champion that the model was compared with.
    pub champion: Option<Version>,
    pub record: Value,
    pub page: String,
}

impl Judged {
    /// Compares the model with the champion of this moment.
    pub(super) async fn judge(
        job: &Job<'_>,
        proven: &Proven,
        watcher: &mut dyn Watcher,
    ) -> Result<Self> {
        watcher.step(&format!("judging by {} rows", proven.frame.rows));
        let measure = proven.split().measure;
        let champion = evaluation::champion(
            job.trainer,
            &job.name,
            &proven.frame,
            &proven.target,
            measure,
        )
        .await?;
        let against = champion
            .as_ref()
            .map(|c| c.evaluation.as_ref().map_err(|e| e.message.as_str()));
        let bench = proven.bench();
        let own = gate::judge(&job.spec.gates, &bench, &proven.evaluation, against);
        let gates = [proven.gates.clone(), own].concat();

        let record = record(job, proven, &gates, champion.as_ref());
        let beside = champion.as_ref().and_then(|c| c.evaluation.as_ref().ok());
        let page = evidence::page(
            &record,
            &bench,
            &proven.evaluation,
            beside,
            job.spec.gates.confidence,
        );
        let history = History::new(job.trainer.records(), job.name.clone());
        if let Err(error) = history.keep_page(proven.run(), &page).await {
            watcher.step(&format!("the evidence page is not kept: {error}"));
        }
        Ok(Self {
            verdict: gate::whole(&gates),
            champion: champion.map(|c| c.version),
            record,
            page,
        })
    }

    pub(super) fn has_passed(&self) -> bool {
        self.verdict == Verdict::Pass
    }

    /// The outcome of a model that is not published.
    pub(super) async fn rejected(self, proven: &Proven) -> Outcome {
        // Checkpoints that stay are removed by a later run.
        let _ = proven.fitted.steps.clear().await;
        Outcome {
            version: None,
            new: false,
            verdict: self.verdict,
            record: self.record,
        }
    }
}

/// Writes everything about a run.
fn record(job: &Job<'_>, proven: &Proven, gates: &[Gate], champion: Option<&Champion>) -> Value {
    let (spec, split) = (job.spec, proven.split());
    let dataset = &split.dataset;
    let champion_metrics = champion
        .and_then(|c| c.evaluation.as_ref().ok())
        .map(|evaluation| &evaluation.measures);
    json!({
        "model": spec.model.name,
        "run": dataset.run.to_string(),
        "trigger": job.trainer.trigger,
        "algorithm": algorithm(spec),
        "code": dataset.code,
        "data": shortened(&dataset.rows.manifest),
        "data_digest": dataset.rows.manifest.digest().to_string(),
        "notes": dataset.rows.notes,
        "split": split.summary,
        "origins": proven.fitted.origins,
        "parity": proven.parity,
        "gates": gates,
        "verdict": gate::whole(gates),
        "metrics": proven.evaluation.measures,
        "own_metrics": proven.fitted.model.told(),
        "champion_metrics": champion_metrics,
        "parent": champion.map(|c| c.version.number()),
        "companion": proven.companion.as_ref().map(|(_, summary)| summary),
        "importances": proven.fitted.model.importances(),
        "spec": spec.canonical(),
        "seed": spec.fit.seed,
        "trainer": format!("ortus-trainer {}", env!("CARGO_PKG_VERSION")),
    })
}

/// The manifest for a record: the first files of a source of many. The whole
/// manifest is kept under its digest.
fn shortened(manifest: &Manifest) -> Value {
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
