//! Publishing a version: read the graph, upload what is not there, commit one
//! entry. Pushing the same again is recognised and changes nothing.

mod files;

use super::{Operator, manifest};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{Alias, ModelName, Version};
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::watch;
use crate::observe::quality::companion::Wiring;
use crate::onnx::first_run::{GoldenRows, Subject};
use crate::onnx::golden::Golden;
use crate::onnx::graph::{Graph, MODEL_BYTES_MAX};
use crate::onnx::runtime::SessionOptions;
use crate::registry::blob::{Progress, measure};
use crate::registry::entry::{Blob, Evidence, Op};
use crate::registry::fold::{Model, Record, State};
use crate::registry::log::Change;
use crate::registry::manifest::{
    BASELINE_BYTES_MAX, COMPANION_BYTES_MAX, Declared, File, GOLDEN_BYTES_MAX, GOLDEN_PATH,
    MANIFEST_BYTES_MAX, MODEL_PATH, Manifest, Role,
};
use crate::registry::sign::statement;
use files::{Local, gather, open};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The most files of a version.
pub(crate) const FILES_MAX: usize = 10_000;

/// Rows of the largest batch that is measured.
const PROBE_ROWS: usize = 64;

/// What is pushed.
#[derive(Debug, Default)]
pub struct Push {
    /// An ONNX file, or a folder with `model.onnx` and what belongs to it.
    pub path: PathBuf,
    /// Pointed at the new version in the same entry.
    pub alias: Option<Alias>,
    /// Files given beside the path, by what they are for.
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
    /// Measures of the version.
    pub evaluation: serde_json::Map<String, serde_json::Value>,
    /// Whether another signature than the champion's is allowed.
    pub allow_signature_change: bool,
    /// The key of the training run that made it: pushing for it again finds the version that is there.
    pub run: Option<Digest>,
    /// The percentage of the champion's traffic that the alias gets in the same entry.
    pub share: Option<u32>,
    /// What stands beside the version in the log.
    pub evidence: Vec<Evidence>,
    /// The champion that it was held against, or none; refused where it is another now.
    pub over: Option<Option<Version>>,
}

/// What a push came to.
#[derive(Debug, Serialize)]
pub struct Pushed {
    /// Name of the model.
    pub name: String,
    /// Number of the version.
    pub version: u64,
    /// The manifest's digest.
    pub digest: String,
    /// The entry; the one that brought the version where it was there already.
    pub seq: u64,
    /// Whether this push made it.
    pub new: bool,
    /// Whether it waits for approvals before the alias can move.
    pub waiting: bool,
}

/// What the first run of a model left behind.
#[derive(Default)]
struct FirstRun {
    evidence: Option<Evidence>,
    golden: Option<String>,
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
            if let Some(made) = first.golden {
                files.push(self.stage_golden(made, progress).await?);
                manifest.files = files.iter().map(|l| l.file.clone()).collect();
                manifest.files.sort();
            }
        }
        let bytes = bytes::Bytes::from(manifest.write());
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(Error::too_large(format!(
                "the manifest is over {MANIFEST_BYTES_MAX} bytes"
            )));
        }
        loop {
            let compared = self
                .compare(
                    &state,
                    name,
                    &manifest.signature,
                    push.allow_signature_change,
                )
                .await?;
            let mut blobs = Vec::new();
            for local in &mut files {
                let File { digest, bytes, .. } = local.file;
                let blob = Blob {
                    digest,
                    bytes,
                    generation: state.generation(&digest),
                };
                match local.staged.take() {
                    Some(staged) => self.log.settle(&staged, &blob).await?,
                    None => {
                        self.log
                            .put_file(&mut open(&local.path)?, blob, progress)
                            .await?
                    }
                }
                blobs.push(blob);
            }
            let digest = crate::core::hash::Digest::of(&bytes);
            blobs.push(
                self.log
                    .put_bytes(bytes.clone(), state.generation(&digest))
                    .await?,
            );
            blobs.sort_unstable();
            blobs.dedup();
            let again = AtomicBool::new(false);
            let decide = |now: &State| {
                // What was uploaded, or compared with, is no longer what counts.
                let stale = blobs
                    .iter()
                    .any(|b| b.generation != now.generation(&b.digest))
                    || champion_digest(now, name) != compared;
                again.store(stale, Ordering::Relaxed);
                if stale {
                    return Ok(Vec::new().into());
                }
                if let Some(over) = push.over
                    && over != now.models.get(name).and_then(Model::champion)
                    && push.run.is_none_or(|run| {
                        now.models.get(name).and_then(|m| m.of_run(&run)).is_none()
                    })
                {
                    return Err(Error::precondition(
                        "the champion is no longer the one that it was held against",
                    ));
                }
                let mut ops = ops(
                    now,
                    name,
                    &blobs,
                    (digest, push.run),
                    (push.alias.as_ref(), push.share),
                );
                if is_known && ops.iter().any(|op| matches!(op, Op::Version { .. })) {
                    return Err(Error::unavailable(
                        "the same version was retired meanwhile; push again",
                    ));
                }
                if push.run.is_none() {
                    self.check_signed(now, name, digest)?;
                }
                if let (Some(key), Some(Op::Version { signatures, .. })) =
                    (&self.key, ops.first_mut())
                {
                    signatures.push(key.sign(&statement(self.log.namespace(), name, &digest)));
                }
                let new = ops.iter().any(|op| matches!(op, Op::Version { .. }));
                Ok(Change {
                    ops,
                    evidence: if new { evidence.clone() } else { Vec::new() },
                })
            };
            let committed = self.commit(state, &decide).await?;
            state = committed.state;
            if !again.load(Ordering::Relaxed) {
                return pushed(
                    &state,
                    name,
                    (digest, push.run),
                    committed.seq,
                    push.alias.as_ref(),
                );
            }
        }
    }

    /// Refuses to push again, with a key, what is there without its signature:
    /// a version's signatures are those it came with.
    fn check_signed(&self, state: &State, name: &ModelName, manifest: Digest) -> Result<()> {
        let (Some(key), Some(model)) = (&self.key, state.models.get(name)) else {
            return Ok(());
        };
        let Some(version) = same(model, (manifest, None)) else {
            return Ok(());
        };
        let signed = model
            .versions
            .get(&version)
            .is_some_and(|r| r.signatures.iter().any(|s| s.key == key.public()));
        if signed {
            return Ok(());
        }
        Err(Error::precondition(format!(
            "version {version} is the same and is not signed by this key; retire it and push again, or push with a new tag"
        )))
    }

    /// The manifest of a version that differs from this one in its golden rows
    /// at most, where none were given: the same again is the same version, even
    /// from a machine that rounds otherwise.
    async fn known(
        &self,
        state: &State,
        name: &ModelName,
        new: &Manifest,
    ) -> Result<Option<Manifest>> {
        let is_golden = |f: &File| f.role == Role::Golden;
        let Some(model) = state
            .models
            .get(name)
            .filter(|_| !new.files.iter().any(is_golden))
        else {
            return Ok(None);
        };
        let has_all = |r: &Record| {
            new.files
                .iter()
                .all(|f| r.blobs.iter().any(|b| b.digest == f.digest))
        };
        for record in model
            .versions
            .values()
            .rev()
            .filter(|r| r.retired.is_none() && has_all(r))
        {
            // One that is damaged is no version to be the same as; pushing mends it.
            let Ok(found) = self.manifest(record).await else {
                continue;
            };
            let mut bare = found.clone();
            bare.files.retain(|f| !is_golden(f));
            let golden = found.files.iter().find(|f| is_golden(f));
            let golden = golden.map(|f| record.blob(f.digest, f.bytes));
            let is_whole = match golden {
                Some(blob) => self.log.is_whole(&blob).await?,
                None => true,
            };
            if bare == *new && is_whole {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Runs the model once, in a process of its own: operators and operator
    /// sets that this ONNX Runtime lacks are refused here, not by a server, as
    /// are golden rows that the model does not answer. Makes some where none
    /// were given.
    fn first_run(&self, files: &[Local]) -> Result<FirstRun> {
        let given = files.iter().find(|l| l.file.role == Role::Golden);
        let given = given
            .map(|l| self.read_whole(l, GOLDEN_BYTES_MAX))
            .transpose()?;
        given
            .as_ref()
            .map(|bytes| Golden::read(bytes))
            .transpose()?;
        let Some(prober) = &self.prober else {
            return Ok(FirstRun::default());
        };
        let model = files.iter().find(|l| l.file.path == MODEL_PATH);
        let model = model.ok_or_else(|| Error::internal("a version has no model"))?;
        let bytes = self.read_whole(model, MODEL_BYTES_MAX)?;
        let folder = fs::canonicalize(&model.path)
            .map_err(|e| Error::invalid("the model cannot be read").with_source(e))?;
        // Weights beside the model are as much what is probed as the model is.
        let all: Vec<String> = files
            .iter()
            .map(|l| format!("{} {}\n", l.file.path, l.file.digest))
            .collect();
        let has_weights = files.iter().any(|l| l.file.role == Role::Weights);
        let passed = prober.check(&Subject {
            digest: crate::core::hash::Digest::of(all.concat().as_bytes()),
            bytes: &bytes,
            external_dir: folder.parent().filter(|_| has_weights),
            options: &SessionOptions::single(),
            rows: PROBE_ROWS,
            golden: given
                .as_deref()
                .map_or(GoldenRows::Create, GoldenRows::Compare),
        })?;
        if let Some(companion) = files.iter().find(|l| l.file.role == Role::Companion) {
            prober.check_companion(&self.read_whole(companion, COMPANION_BYTES_MAX)?)?;
        }
        let mut values = match serde_json::to_value(&passed.measured) {
            Ok(serde_json::Value::Object(values)) => values,
            _ => return Err(Error::internal("a measurement is no object")),
        };
        let golden = if given.is_some() {
            "given"
        } else if passed.golden.is_some() {
            "made"
        } else {
            "none"
        };
        values.insert("golden".to_owned(), golden.into());
        Ok(FirstRun {
            evidence: Some(Evidence {
                kind: "measured".to_owned(),
                values,
            }),
            golden: passed.golden,
        })
    }

    /// Reads a file that was measured before.
    fn read_whole(&self, local: &Local, bytes_max: u64) -> Result<Vec<u8>> {
        if local.file.bytes > bytes_max {
            return Err(Error::too_large(format!(
                "'{}' is over {bytes_max} bytes",
                local.file.path
            )));
        }
        let unreadable =
            |e| Error::invalid(format!("'{}' cannot be read", local.file.path)).with_source(e);
        let bytes = fs::read(&local.path).map_err(unreadable)?;
        if crate::core::hash::Digest::of(&bytes) != local.file.digest {
            return Err(Error::precondition("the file changed while it was pushed"));
        }
        Ok(bytes)
    }

    /// Makes a file of the golden rows that the first run left.
    async fn stage_golden(&self, made: String, progress: Progress<'_>) -> Result<Local> {
        let failed = |e: io::Error| Error::unavailable("write golden rows").with_source(e);
        let mut kept = tempfile::NamedTempFile::new().map_err(failed)?;
        io::Write::write_all(&mut kept, made.as_bytes()).map_err(failed)?;
        let path = kept.path().to_owned();
        let mut local = Local::new(GOLDEN_PATH.to_owned(), path, Role::Golden);
        local.kept = Some(kept.into_temp_path());
        self.measure(&mut local, progress).await?;
        Ok(local)
    }

    /// Finds out digest and length, uploading on the way where the store can
    /// rename it later.
    async fn measure(&self, local: &mut Local, progress: Progress<'_>) -> Result<()> {
        let mut file = open(&local.path)?;
        if let Some((blob, key)) = self.log.stage(&mut file, progress).await? {
            (local.file.digest, local.file.bytes, local.staged) =
                (blob.digest, blob.bytes, Some(key));
            return Ok(());
        }
        let unreadable = |e: io::Error| {
            Error::invalid(format!("{} cannot be read", local.path.display())).with_source(e)
        };
        (local.file.digest, local.file.bytes) = measure(&mut file).map_err(unreadable)?;
        Ok(())
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
        for external in &graph.external {
            let listed = files
                .iter_mut()
                .find(|l| Path::new(&l.file.path) == external);
            let listed = listed.ok_or_else(|| {
                Error::invalid(format!(
                    "the external data '{}' is not beside the model",
                    external.display()
                ))
            })?;
            listed.file.role = Role::Weights;
        }
        let mut manifest = Manifest::of(name, &graph);
        for local in &mut files {
            self.measure(local, progress).await?;
        }
        manifest.files = files.iter().map(|l| l.file.clone()).collect();
        manifest.files.sort();
        manifest.features = push.features.clone();
        if let Some(local) = files.iter().find(|l| l.file.role == Role::Companion) {
            Wiring::read(
                &graph.signature,
                self.read_whole(local, COMPANION_BYTES_MAX)?.into(),
            )?;
        }
        if let Some(local) = files.iter().find(|l| l.file.role == Role::Baseline) {
            let baseline = Some(Baseline::read(
                &self.read_whole(local, BASELINE_BYTES_MAX)?,
            )?);
            let subject = watch::Subject {
                model: name.clone(),
                version: Version::new(1).ok_or_else(|| Error::internal("1 is no version"))?,
                digest: local.file.digest,
                signature: graph.signature,
                features: push.features.clone(),
                baseline,
                task: None,
                slices: Vec::new(),
            };
            subject.places()?;
        }
        manifest.licence = push.licence.clone();
        manifest.tags = push.tags.clone();
        manifest.parent = push.parent;
        manifest.lineage = push.lineage.clone();
        manifest.evaluation = push.evaluation.clone();
        Ok((manifest, files))
    }

    /// Compares a signature with the champion's; returns the digest of what it
    /// was compared with.
    async fn compare(
        &self,
        state: &State,
        name: &ModelName,
        new: &Declared,
        allowed: bool,
    ) -> Result<Option<Digest>> {
        let Some(digest) = champion_digest(state, name) else {
            return Ok(None);
        };
        if !allowed {
            let model = state.model(name)?;
            let champion = model
                .champion()
                .and_then(|v| Some((v, model.versions.get(&v)?)));
            let Some((version, record)) = champion else {
                return Ok(None);
            };
            let broken = new.breaks(&manifest(&self.log, record).await?.signature);
            if !broken.is_empty() {
                return Err(Error::precondition(format!(
                    "clients of the champion, version {version}, would break: {}; --allow-signature-change publishes it all the same",
                    broken.join("; ")
                )));
            }
        }
        Ok(Some(digest))
    }
}

fn champion_digest(state: &State, name: &ModelName) -> Option<Digest> {
    let model = state.models.get(name)?;
    Some(model.versions.get(&model.champion()?)?.manifest)
}

/// The version in use that has this manifest.
fn same(model: &Model, (manifest, run): (Digest, Option<Digest>)) -> Option<Version> {
    if let Some((version, _)) = run.and_then(|run| model.of_run(&run)) {
        return Some(version);
    }
    let mut versions = model.versions.iter().rev();
    versions
        .find(|(_, r)| r.manifest == manifest && r.retired.is_none())
        .map(|(v, _)| *v)
}

/// What is left to do on a state: publish, point the alias, both or nothing.
fn ops(
    state: &State,
    name: &ModelName,
    blobs: &[Blob],
    (manifest, run): (Digest, Option<Digest>),
    (alias, share): (Option<&Alias>, Option<u32>),
) -> Vec<Op> {
    let none = Model::default();
    let model = state.models.get(name).unwrap_or(&none);
    let mut ops = Vec::new();
    // Its alias moved with it then; it may have moved on since.
    if run.is_some_and(|run| model.of_run(&run).is_some()) {
        return ops;
    }
    let version = same(model, (manifest, run)).or_else(|| {
        let next = Version::new(
            model
                .versions
                .last_key_value()
                .map_or(1, |(last, _)| last.number() + 1),
        )?;
        ops.push(Op::Version {
            model: name.clone(),
            version: next,
            manifest,
            blobs: blobs.to_vec(),
            signatures: Vec::new(),
            run,
        });
        Some(next)
    });
    let (Some(alias), Some(version)) = (alias, version) else {
        return ops;
    };
    if model.all_aliases().get(alias) == Some(&version) {
        return ops;
    }
    // Without a champion there is no traffic to share.
    let weights = share.filter(|_| model.champion().is_some()).map(|share| {
        BTreeMap::from([
            ("champion".to_owned(), 100 - share.min(100)),
            (alias.to_string(), share.min(100)),
        ])
    });
    let is_champion = *alias == Alias::champion();
    // What would take traffic waits where it is not approved.
    let gets_traffic =
        is_champion || weights.is_some() || model.traffic.contains_key(&alias.to_string());
    if gets_traffic && !is_approved(state, model, version) {
        return ops;
    }
    ops.push(match is_champion {
        true => Op::Promote {
            model: name.clone(),
            version,
            from: model.champion(),
        },
        false => {
            let from = model.aliases.get(alias).copied();
            Op::Alias {
                model: name.clone(),
                alias: alias.clone(),
                version: Some(version),
                from,
            }
        }
    });
    if let Some(weights) = weights.filter(|weights| model.traffic != *weights && !is_champion) {
        ops.push(Op::Traffic {
            model: name.clone(),
            weights,
        });
    }
    ops
}

fn is_approved(state: &State, model: &Model, version: Version) -> bool {
    let record = model.versions.get(&version);
    record.map_or(state.approvals == 0, |record| {
        state.check_approved(record).is_ok()
    })
}

fn pushed(
    state: &State,
    name: &ModelName,
    made: (Digest, Option<Digest>),
    seq: Option<u64>,
    alias: Option<&Alias>,
) -> Result<Pushed> {
    let lost = || Error::internal("the version is not in the registry after it was committed");
    let model = state.model(name)?;
    let version = same(model, made).ok_or_else(lost)?;
    let record = model.versions.get(&version).ok_or_else(lost)?;
    let reached = alias.is_none_or(|a| model.all_aliases().get(a) == Some(&version));
    Ok(Pushed {
        name: name.to_string(),
        version: version.number(),
        digest: record.manifest.to_string(),
        seq: seq.unwrap_or(record.seq),
        new: seq == Some(record.seq),
        waiting: !reached && (made.1.is_none() || seq == Some(record.seq)),
    })
}
