//! The last phase: pushes a model that passed to the registry, if the champion is
//! still the one that it was compared with.

use super::Job;
use super::judged::Judged;
use super::proven::Proven;
use crate::context::{RunOutcome, Watcher};
use crate::example;
use crate::gate::Verdict;
use crate::history::{MANUAL, RunStatus};
use crate::lease::Lease;
use crate::package::{self, Graphs};
use crate::record::{RecordField, RunRecord};
use crate::scratch;
use crate::spec::{First, Policy, Spec};
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::core::model::Alias;
use ortus::registry::commands::push::{Push, Pushed};
use ortus::registry::entry::Evidence;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// A version in the registry.
pub(super) struct Published(Pushed);

impl Published {
    /// Publishes a model that passed. Returns none if the champion changed during the run.
    pub(super) async fn publish(
        job: &Job<'_>,
        proven: &mut Proven,
        judged: &Judged,
        watcher: &mut dyn Watcher,
    ) -> Result<Option<Self>> {
        watcher.step("publishing");
        job.trainer.lease.map_or(Ok(()), Lease::check)?;
        match push(job, proven, judged).await {
            Ok(pushed) => {
                // Checkpoints that stay are removed by a later run.
                let _ = proven.fitted.steps.clear().await;
                Ok(Some(Self(pushed)))
            }
            Err(_) if job.trainer.champion_of(&job.name).await? != judged.champion => {
                watcher.step("the champion changed during the run; comparing again");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn outcome(&self, proven: &mut Proven, judged: Judged) -> RunOutcome {
        let mut record = judged.record;
        record.version = self.0.version.into();
        record.waiting = self.0.waiting.into();
        RunOutcome {
            version: Some(self.0.version),
            status: if self.0.new {
                RunStatus::Published
            } else {
                RunStatus::Equal
            },
            record,
            // An example that cannot be made is none.
            example: example::arguments(&mut proven.predictor, &proven.test.frame).unwrap_or(None),
        }
    }
}

/// Writes the package of the model, and pushes it.
async fn push(job: &Job<'_>, proven: &mut Proven, judged: &Judged) -> Result<Pushed> {
    let folder = scratch::folder()?;
    write(job, proven, judged, folder.path())?;

    let (spec, champion) = (job.spec, judged.champion);
    // The manifest holds metrics in another field. A resumed run has no curve, and publishes the same.
    let lineage = RunRecord {
        curve: RecordField::Absent,
        metrics: RecordField::Absent,
        ..judged.record.clone()
    };

    let push = Push {
        path: folder.path().to_owned(),
        alias: alias(spec, judged)?,
        weight: Some(spec.publish.canary_percent)
            .filter(|_| spec.publish.policy == Policy::Canary && !judged.is_held()),
        features: proven.columns.clone(),
        licence: spec.model.licence.clone().unwrap_or_default(),
        parent: champion,
        lineage: object(&lineage)?,
        evaluation: object(&judged.record.metrics)?,
        allow_signature_change: spec.publish.allow_signature_change,
        run: Some(*proven.run()),
        expected_champion: Some(champion),
        reason: reason(job),
        evidence: vec![evidence(&judged.record, &judged.page)?],
        ..Push::default()
    };

    job.trainer.operator.push(&job.name, &push, &|_| {}).await
}

/// The most bytes of the cause that a reason names.
const CAUSE_MAX: usize = 1_000;

/// Says why the version is published: what the person said, and the cause of the run.
fn reason(job: &Job<'_>) -> String {
    let said = &job.trainer.operator.author.reason;
    let Some(cause) = job.trainer.trigger.filter(|cause| *cause != MANUAL) else {
        return said.clone();
    };
    // The registry limits a reason to 4,096 bytes.
    let room = CAUSE_MAX.min(4_000_usize.saturating_sub(said.len()));
    let cause = &cause[..cause.floor_char_boundary(room)];
    match cause.is_empty() {
        true => said.clone(),
        false => format!("{said}; {}", cause.replace(|c: char| c.is_control(), " ")),
    }
}

/// Returns the alias that the version gets.
fn alias(spec: &Spec, judged: &Judged) -> Result<Option<Alias>> {
    let has_champion = judged.champion.is_some();
    Ok(match spec.publish.policy {
        _ if !has_champion && spec.gates.first == First::Champion => Some(Alias::champion()),
        Policy::Manual => None,
        Policy::Challenger => Some(Alias::parse("challenger")?),
        _ if judged.is_held() => Some(Alias::parse("challenger")?),
        Policy::Canary if has_champion => Some(Alias::parse("canary")?),
        Policy::Canary | Policy::Champion => Some(Alias::champion()),
    })
}

fn write(job: &Job<'_>, proven: &mut Proven, judged: &Judged, folder: &Path) -> Result<()> {
    let Proven {
        baseline,
        fitted,
        predictor,
        ..
    } = proven;
    let (rows, fold) = (fitted.split.rows(), &fitted.split.fold);
    let golden = package::golden(predictor, rows, &fold.test)?;
    let card = package::card(job.spec, &judged.record);
    let graphs = Graphs {
        model: &proven.graph,
        companion: proven.companion.as_ref().map(|(bytes, _)| &bytes[..]),
        explanation: proven
            .explained
            .as_ref()
            .map(|explained| &explained.bytes[..]),
    };
    package::write(
        folder,
        &graphs,
        baseline,
        golden.as_ref(),
        &[(package::CARD, &card), (package::PAGE, &judged.page)],
    )
}

/// Returns a part of the record as the registry's log holds it.
fn object(part: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(part) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(Error::internal("write the record of the run").with_source(error)),
    }
}

/// The part of the record that stands beside the version in the log.
#[derive(Serialize)]
struct EvidenceValues<'e> {
    gates: BTreeMap<&'e str, Verdict>,
    report: Digest,
    run: &'e RecordField<String>,
    trigger: &'e RecordField<String>,
}

fn evidence(record: &RunRecord, page: &str) -> Result<Evidence> {
    let gates = record.gates().iter();
    let values = EvidenceValues {
        gates: gates
            .map(|gate| (gate.name.as_str(), gate.verdict))
            .collect(),
        report: Digest::of(page.as_bytes()),
        run: &record.run,
        trigger: &record.trigger,
    };

    Ok(Evidence {
        kind: "trained".to_owned(),
        values: object(&values)?,
    })
}
