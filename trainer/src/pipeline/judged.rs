//! The fifth phase: compares the model with the champion by the gates, and writes
//! the record and the evidence page of the run.

#[cfg(test)]
mod tests;

use super::Job;
use super::dataset::algorithm;
use super::explained::RunExplanation;
use super::proven::Proven;
use crate::context::{RunOutcome, Watcher};
use crate::data::DataManifest;
use crate::data::RowTarget;
use crate::evaluation::{self, Champion};
use crate::evidence::{self, PageSubject};
use crate::gate::{self, Gate, Verdict};
use crate::history::{RunHistory, RunStatus};
use crate::judge::losses::JudgedRows;
use crate::record::{MetricValues, RecordField, RunRecord};
use crate::spec::{Objective, Policy, Spec, SuspectRows};
use ortus::core::error::Result;
use ortus::core::model::Version;
use ortus::observe::drift::compare::training::{RowsDifference, rows_differences};

/// The most files of the data that a record lists.
const FILES_MAX: usize = 2_000;

/// The verdict on a model, with its record and page.
pub(super) struct Judged {
    verdict: Verdict,
    /// The champion that the model was compared with.
    pub champion: Option<Version>,
    /// Whether the model answers all test rows as the champion does.
    is_twin: bool,
    pub record: RunRecord,
    pub page: String,
}

impl Judged {
    /// Compares the model with the champion of this moment.
    pub(super) async fn judge(
        job: &Job<'_>,
        proven: &Proven,
        watcher: &mut dyn Watcher,
    ) -> Result<Self> {
        watcher.step(&format!("evaluating on {} rows", proven.test.len()));
        let measure = proven.split().measure;
        let champion = evaluation::champion(
            job.trainer,
            &job.name,
            &JudgedRows::of(&proven.test, &job.spec.fit),
            measure,
        )
        .await?;

        let against = champion
            .as_ref()
            .map(|c| c.evaluation.as_ref().map_err(|e| e.message.as_str()));
        let rows = proven.test_rows();
        let own = gate::judge(&job.spec.gates, &rows, &proven.evaluation, against);
        let gates = [proven.gates.clone(), own].concat();

        let mut record = record(job, proven, &gates, champion.as_ref());
        let verdict = gate::overall_verdict(&gates);
        let beside = champion.as_ref().and_then(|c| c.evaluation.as_ref().ok());
        let is_twin = beside.is_some_and(|champion| proven.evaluation.answers_as(champion));
        if let Some(champion) = &champion {
            compare_rows(&mut record, proven, champion);
        }
        if verdict == Verdict::Pass && !is_twin {
            let held = held(
                job.spec,
                record.rows_changed.value().map_or(&[], Vec::as_slice),
            );
            record.held = held.map_or(RecordField::Absent, RecordField::Value);
        }
        let page = evidence::page(&PageSubject {
            record: &record,
            rows: &rows,
            model: &proven.evaluation,
            champion: beside,
            confidence: job.spec.gates.confidence,
            contributions: proven
                .explained
                .as_ref()
                .map(|explained| &explained.summary),
        });

        let history = RunHistory::new(job.trainer.records(), job.name.clone());
        if let Err(error) = history.keep_page(proven.run(), &page).await {
            watcher.step(&format!("the evidence page cannot be stored: {error}"));
        }
        Ok(Self {
            verdict,
            is_twin,
            champion: champion.map(|c| c.version),
            record,
            page,
        })
    }

    pub(super) fn has_passed(&self) -> bool {
        self.verdict == Verdict::Pass
    }

    /// Returns the outcome of a model that is not published.
    pub(super) async fn rejected(self, proven: &Proven) -> RunOutcome {
        // Checkpoints that stay are removed by a later run.
        let _ = proven.fitted.steps.clear().await;
        RunOutcome {
            version: None,
            status: match self.verdict {
                Verdict::Fail => RunStatus::Failed,
                _ => RunStatus::Inconclusive,
            },
            record: self.record,
            example: None,
        }
    }

    /// Returns whether the version must not become champion by itself.
    pub(super) fn is_held(&self) -> bool {
        self.record.held.value().is_some()
    }

    /// Returns the champion whose answers the model gives.
    pub(super) fn twin(&self) -> Option<Version> {
        self.champion.filter(|_| self.is_twin)
    }

    /// Returns the outcome of a model that answers as the champion does.
    pub(super) async fn unchanged(self, proven: &Proven, champion: Version) -> RunOutcome {
        let outcome = self.rejected(proven).await;
        let reason = format!("it answers as the champion, version {champion}, does");
        RunOutcome {
            status: RunStatus::Unchanged,
            record: RunRecord {
                reason: reason.into(),
                ..outcome.record
            },
            ..outcome
        }
    }
}

/// Notes how the rows of a run differ from those of the champion, by their baselines.
fn compare_rows(record: &mut RunRecord, proven: &Proven, champion: &Champion) {
    let version = champion.version.number();
    if let Some(before) = &champion.baseline {
        record.rows_changed = rows_differences(&proven.baseline, (before, version)).into();
        return;
    }
    let mut notes = record.notes().to_vec();
    notes.push(format!(
        "the rows are not compared with those of version {version}, which has no baseline that can be read"
    ));
    record.notes = notes.into();
}

/// Says why a version waits for a person although its policy would give it traffic.
fn held(spec: &Spec, differences: &[RowsDifference]) -> Option<String> {
    let gets_traffic = matches!(spec.publish.policy, Policy::Canary | Policy::Champion);
    let is_accepted = spec.publish.suspect_rows == SuspectRows::Accept;
    let first = differences
        .iter()
        .find(|difference| difference.is_suspect)?;
    (gets_traffic && !is_accepted).then(|| {
        format!(
            "held for a person, as challenger: the rows may be wrong, as {}; `ortus promote` makes the version champion, and suspect_rows = \"accept\" in [publish] holds none",
            first.text
        )
    })
}

/// Writes everything about a run.
fn record(
    job: &Job<'_>,
    proven: &Proven,
    gates: &[Gate],
    champion: Option<&Champion>,
) -> RunRecord {
    let (spec, split) = (job.spec, proven.split());
    let (dataset, model) = (&split.dataset, &proven.fitted.model);
    let champion_metrics = champion
        .and_then(|c| c.evaluation.as_ref().ok())
        .map(|evaluation| MetricValues::from(&evaluation.measures));
    let companion = proven.companion.as_ref().map(|(_, summary)| *summary);
    let contributions = proven.explained.as_ref().map(RunExplanation::contributions);

    RunRecord {
        algorithm: algorithm(spec).to_owned().into(),
        champion_metrics: champion_metrics.into(),
        code: dataset.code.clone().into(),
        companion: companion.into(),
        contributions: contributions.map_or(RecordField::Absent, RecordField::Value),
        curve: proven.fitted.curve.clone().into(),
        data: shortened(&dataset.rows.manifest).into(),
        data_digest: dataset.rows.manifest.digest().to_string().into(),
        gates: gates.to_vec().into(),
        importances: model.importances().into(),
        metrics: MetricValues::from(&proven.evaluation.measures).into(),
        model: spec.model.name.clone().into(),
        notes: [&dataset.rows.notes[..], proven.unexplained.as_slice()]
            .concat()
            .into(),
        objective: objective(spec),
        origins: proven.fitted.origins.clone().into(),
        own_metrics: model.own_metrics().into(),
        parent: champion.map(|c| c.version.number()).into(),
        parity: proven.parity.clone().into(),
        positive: positive_class(&proven.test.target).into(),
        rows_digest: dataset.rows.manifest.rows_digest().to_string().into(),
        run: dataset.run.to_string().into(),
        seed: spec.fit.seed.into(),
        spec: spec.canonical().into(),
        split: split.summary.clone().into(),
        trainer: format!("ortus-trainer {}", env!("CARGO_PKG_VERSION")).into(),
        trigger: job.trainer.trigger.map(str::to_owned).into(),
        verdict: gate::overall_verdict(gates).into(),
        ..RunRecord::default()
    }
}

/// Returns what the fit minimised, if it was chosen.
fn objective(spec: &Spec) -> RecordField<String> {
    match spec.fit.objective {
        Objective::Auto => RecordField::Absent,
        objective => objective.word().to_owned().into(),
    }
}

/// Returns the manifest for a record: only the first files of each source. The whole
/// manifest is kept under its digest.
fn shortened(manifest: &DataManifest) -> DataManifest {
    let mut manifest = manifest.clone();
    let files_max = FILES_MAX / manifest.sources.len().max(1);

    for source in &mut manifest.sources {
        let files = source.files.len();
        if files > files_max {
            manifest.files_in_all.insert(source.name.clone(), files);
            source.files.truncate(files_max);
        }
    }

    manifest
}

/// Returns the second of two classes; none of more, or for values.
fn positive_class(target: &RowTarget) -> Option<String> {
    match target.classes() {
        Some([_, positive]) => Some(positive.clone()),
        _ => None,
    }
}
