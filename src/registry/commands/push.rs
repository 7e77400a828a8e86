//! Publishes a version: reads the graph, uploads the files that the store does
//! not have, and commits one entry. A push of the same version again is
//! recognised and changes nothing.

mod files;
mod first_run;
mod known;
mod plan;

use super::{Operator, manifest};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{Alias, ModelName, Version};
use crate::explain;
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::watch;
use crate::observe::quality::companion::Wiring;
use crate::onnx::graph::Graph;
use crate::registry::blob::Progress;
use crate::registry::entry::{Blob, Evidence, Op};
use crate::registry::fold::{NamespaceState, RegisteredModel};
use crate::registry::log::{Author, Change};
use crate::registry::manifest::{
    BASELINE_BYTES_MAX, COMPANION_BYTES_MAX, Declared, EXPLANATION_BYTES_MAX, MANIFEST_BYTES_MAX,
    MODEL_PATH, Manifest, Role,
};
use crate::registry::sign::statement;
use bytes::Bytes;
use files::{Local, gather, open, read_whole};
use plan::{Identity, Publication};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The most files of a version.
pub(crate) const FILES_MAX: usize = 10_000;

/// A version to publish.
#[derive(Debug, Default)]
pub struct Push {
    /// An ONNX file, or a folder with `model.onnx` and its other files.
    pub path: PathBuf,
    /// Alias that the same entry points at the new version.
    pub alias: Option<Alias>,
    /// Files given in addition to the path, by role.
    pub extra: Vec<(Role, PathBuf)>,
    /// Names of the input columns.
    pub features: Vec<String>,
    /// Licence, as an SPDX expression or in words.
    pub licence: String,
    /// Free tags.
    pub tags: BTreeMap<String, String>,
    /// The version that this one descends from.
    pub parent: Option<Version>,
    /// How the version was made.
    pub lineage: serde_json::Map<String, serde_json::Value>,
    /// Metrics of the version.
    pub evaluation: serde_json::Map<String, serde_json::Value>,
    /// Whether a signature that breaks clients of the champion is allowed.
    pub allow_signature_change: bool,
    /// The run key of the training run that made it. Another push with the same
    /// key finds this version.
    pub run: Option<Digest>,
    /// Traffic weight, in percent, that the alias gets in the same entry.
    pub weight: Option<u32>,
    /// Evidence that the log entry contains.
    pub evidence: Vec<Evidence>,
    /// Why the version is published; what the author says, if it is empty.
    pub reason: String,
    /// The champion (or none) that the version was compared with. The push is
    /// refused if the champion has changed since.
    pub expected_champion: Option<Option<Version>>,
}

/// The result of a push.
#[derive(Debug, Serialize)]
pub struct Pushed {
    /// Name of the model.
    pub name: String,
    /// Number of the version.
    pub version: u64,
    /// The manifest's digest.
    pub digest: String,
    /// The entry of this push, or the one that added the version before.
    pub seq: u64,
    /// Whether this push added the version.
    pub new: bool,
    /// Whether it waits for approvals before the alias can move.
    pub waiting: bool,
}

/// The input of the decision about one commit.
struct Attempt<'p> {
    name: &'p ModelName,
    push: &'p Push,
    identity: Identity,
    blobs: &'p [Blob],
    evidence: &'p [Evidence],
    /// Whether the version was in the registry when the push began.
    is_known: bool,
    /// The champion's manifest that the signature was compared with.
    compared: Option<Digest>,
}

impl Operator {
    /// Publishes a version of `name`. Refuses a file that is not ONNX, and a
    /// signature that breaks the champion's clients unless that is allowed.
    pub async fn push(
        &self,
        name: &ModelName,
        push: &Push,
        progress: Progress<'_>,
    ) -> Result<Pushed> {
        let (mut manifest, mut files) = self.prepare(name, push, progress).await?;
        let mut state = self.state().await?;
        let known = self.known(&state, name, &manifest).await?;
        let is_known = known.is_some();
        let mut evidence = push.evidence.clone();

        if let Some(known) = known {
            manifest = known;
        } else {
            let first = self.first_run(&files)?;
            evidence.extend(first.evidence);
            if let Some(golden) = first.golden {
                files.push(self.stage_golden(&golden, progress).await?);
                manifest.files = listed(&files);
            }
        }

        let bytes = Bytes::from(manifest.write());
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(Error::too_large(format!(
                "the manifest is over {MANIFEST_BYTES_MAX} bytes"
            )));
        }

        let identity = Identity {
            manifest: Digest::of(&bytes),
            run: push.run,
        };

        loop {
            let compared = match push.allow_signature_change {
                true => champion_digest(&state, name),
                false => self.compare(&state, name, &manifest.signature).await?,
            };
            let blobs = self.upload(&state, &mut files, &bytes, progress).await?;

            let attempt = Attempt {
                name,
                push,
                identity,
                blobs: &blobs,
                evidence: &evidence,
                is_known,
                compared,
            };
            let is_stale = AtomicBool::new(false);
            let decide = |now: &NamespaceState| {
                is_stale.store(attempt.is_stale(now), Ordering::Relaxed);
                if is_stale.load(Ordering::Relaxed) {
                    return Ok(Vec::new().into());
                }
                self.decide(now, &attempt)
            };
            let author = match push.reason.is_empty() {
                true => self.author.clone(),
                false => Author {
                    reason: push.reason.clone(),
                    ..self.author.clone()
                },
            };
            let commit = self.log.commit(state, &author, self.key.as_ref(), &decide);
            let committed = commit.await?;

            state = committed.state;
            if !is_stale.load(Ordering::Relaxed) {
                return attempt.pushed(&state, committed.seq);
            }
        }
    }

    /// Uploads the files and the manifest under the generations of `state`.
    async fn upload(
        &self,
        state: &NamespaceState,
        files: &mut [Local],
        manifest: &Bytes,
        progress: Progress<'_>,
    ) -> Result<Vec<Blob>> {
        let mut blobs = Vec::new();
        for local in files {
            let blob = Blob {
                digest: local.file.digest,
                bytes: local.file.bytes,
                generation: state.generation(&local.file.digest),
            };
            match local.staged.take() {
                Some(staged) => self.log.settle(&staged, &blob).await?,
                None => {
                    let mut file = open(&local.path)?;
                    self.log.put_file(&mut file, blob, progress).await?;
                }
            }
            blobs.push(blob);
        }

        let generation = state.generation(&Digest::of(manifest));
        blobs.push(self.log.put_bytes(manifest.clone(), generation).await?);
        blobs.sort_unstable();
        blobs.dedup();
        Ok(blobs)
    }

    /// Decides the change on the newest state.
    fn decide(&self, now: &NamespaceState, attempt: &Attempt<'_>) -> Result<Change> {
        attempt.check_champion(now)?;
        let mut ops = plan::operations(now, &attempt.publication());
        let adds_version = ops.iter().any(|op| matches!(op, Op::Version { .. }));
        if attempt.is_known && adds_version {
            return Err(Error::unavailable(
                "the same version was retired during the push; push again",
            ));
        }

        if attempt.push.run.is_none() {
            self.check_signed(now, attempt.name, attempt.identity.manifest)?;
        }
        if let (Some(key), Some(Op::Version { signatures, .. })) = (&self.key, ops.first_mut()) {
            let statement = statement(
                self.log.namespace(),
                attempt.name,
                &attempt.identity.manifest,
            );
            signatures.push(key.sign(&statement));
        }

        let evidence = if adds_version {
            attempt.evidence.to_vec()
        } else {
            Vec::new()
        };

        Ok(Change { ops, evidence })
    }

    /// Reads the graph, measures every file, and fills the manifest.
    async fn prepare(
        &self,
        name: &ModelName,
        push: &Push,
        progress: Progress<'_>,
    ) -> Result<(Manifest, Vec<Local>)> {
        let mut files = gather(push)?;
        let path = files
            .iter()
            .find(|l| l.file.path == MODEL_PATH)
            .map(|l| l.path.clone());
        let path = path.ok_or_else(|| {
            Error::invalid(format!("{} holds no model.onnx", push.path.display()))
        })?;

        let graph = Graph::read_file(&mut open(&path)?)?;
        mark_weights(&mut files, &graph)?;

        for local in &mut files {
            self.measure(local, progress).await?;
        }
        let mut manifest = Manifest::of(name, &graph);
        manifest.files = listed(&files);
        manifest.features = push.features.clone();
        manifest.licence = push.licence.clone();
        manifest.tags = push.tags.clone();
        manifest.parent = push.parent;
        manifest.lineage = push.lineage.clone();
        manifest.evaluation = push.evaluation.clone();

        check_companion(&files, &graph)?;
        check_explanation(&files, &graph)?;
        check_baseline(&files, name, push, graph)?;
        Ok((manifest, files))
    }

    /// Refuses a signature that breaks the champion's clients; returns the
    /// champion's manifest.
    async fn compare(
        &self,
        state: &NamespaceState,
        name: &ModelName,
        new: &Declared,
    ) -> Result<Option<Digest>> {
        let Some(model) = state.models.get(name) else {
            return Ok(None);
        };
        let champion = model
            .champion()
            .and_then(|v| Some((v, model.versions.get(&v)?)));
        let Some((version, record)) = champion else {
            return Ok(None);
        };

        let broken = new.breaks(&manifest(&self.log, record).await?.signature);
        if !broken.is_empty() {
            return Err(Error::precondition(format!(
                "clients of the champion, version {version}, would break: {}; \
                 to publish it anyway, use --allow-signature-change",
                broken.join("; ")
            )));
        }

        Ok(Some(record.manifest))
    }
}

impl Attempt<'_> {
    /// Whether the uploads or the comparison belong to an older state.
    fn is_stale(&self, now: &NamespaceState) -> bool {
        let has_old_blob = self
            .blobs
            .iter()
            .any(|b| b.generation != now.generation(&b.digest));
        has_old_blob || champion_digest(now, self.name) != self.compared
    }

    /// Refuses a change of the champion since the version was compared with it,
    /// unless the run has published already.
    fn check_champion(&self, now: &NamespaceState) -> Result<()> {
        let model = now.models.get(self.name);
        let is_published = self
            .push
            .run
            .is_some_and(|run| model.and_then(|m| m.of_run(&run)).is_some());
        match self.push.expected_champion {
            Some(expected)
                if expected != model.and_then(RegisteredModel::champion) && !is_published =>
            {
                Err(Error::precondition(
                    "the champion is no longer the one that the version was compared with",
                ))
            }
            _ => Ok(()),
        }
    }

    fn publication(&self) -> Publication<'_> {
        Publication {
            name: self.name,
            identity: self.identity,
            blobs: self.blobs,
            alias: self.push.alias.as_ref(),
            weight: self.push.weight,
        }
    }

    /// Describes the result on the state after the commit.
    fn pushed(&self, state: &NamespaceState, seq: Option<u64>) -> Result<Pushed> {
        let lost = || Error::internal("the version is not in the registry after it was committed");
        let model = state.model(self.name)?;
        let version = self.identity.find(model).ok_or_else(lost)?;
        let record = model.versions.get(&version).ok_or_else(lost)?;

        let is_new = seq == Some(record.seq);
        let alias = self.push.alias.as_ref();
        let is_reached = alias.is_none_or(|a| model.all_aliases().get(a) == Some(&version));
        Ok(Pushed {
            name: self.name.to_string(),
            version: version.number(),
            digest: record.manifest.to_string(),
            seq: seq.unwrap_or(record.seq),
            new: is_new,
            // The alias of a run's version may have moved on since it was published.
            waiting: !is_reached && (self.push.run.is_none() || is_new),
        })
    }
}

fn listed(files: &[Local]) -> Vec<crate::registry::manifest::File> {
    let mut listed: Vec<_> = files.iter().map(|l| l.file.clone()).collect();
    listed.sort();
    listed
}

/// Marks the files of external data as weights. Refuses a graph whose external data
/// is missing.
fn mark_weights(files: &mut [Local], graph: &Graph) -> Result<()> {
    for external in &graph.external {
        let local = files
            .iter_mut()
            .find(|l| Path::new(&l.file.path) == external);
        let local = local.ok_or_else(|| {
            Error::invalid(format!(
                "the external data '{}' is missing beside the model",
                external.display()
            ))
        })?;
        local.file.role = Role::Weights;
    }

    Ok(())
}

fn check_companion(files: &[Local], graph: &Graph) -> Result<()> {
    let Some(local) = files.iter().find(|l| l.file.role == Role::Companion) else {
        return Ok(());
    };
    let bytes = read_whole(local, COMPANION_BYTES_MAX)?;
    Wiring::read(&graph.signature, bytes.into()).map(drop)
}

fn check_explanation(files: &[Local], graph: &Graph) -> Result<()> {
    let Some(local) = files.iter().find(|l| l.file.role == Role::Explanation) else {
        return Ok(());
    };
    let bytes = read_whole(local, EXPLANATION_BYTES_MAX)?;
    explain::file::read(&bytes)?.check_signature(&graph.signature)
}

fn check_baseline(files: &[Local], name: &ModelName, push: &Push, graph: Graph) -> Result<()> {
    let Some(local) = files.iter().find(|l| l.file.role == Role::Baseline) else {
        return Ok(());
    };
    let subject = watch::WatchSubject {
        model: name.clone(),
        version: Version::new(1).ok_or_else(|| Error::internal("1 is not a version"))?,
        digest: local.file.digest,
        signature: graph.signature,
        features: push.features.clone(),
        baseline: Some(Baseline::read(&read_whole(local, BASELINE_BYTES_MAX)?)?),
        task: None,
        slices: Vec::new(),
        rules: watch::start::ColumnRules::default(),
    };

    subject.find_columns().map(drop)
}

fn champion_digest(state: &NamespaceState, name: &ModelName) -> Option<Digest> {
    let model = state.models.get(name)?;
    Some(model.versions.get(&model.champion()?)?.manifest)
}
