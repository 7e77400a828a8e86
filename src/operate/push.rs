//! Publishing a version: read the graph, upload what is not there, commit one
//! entry. Pushing the same again is recognised and changes nothing.

use super::{Operator, manifest};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::model::{Alias, Digest, ModelName, Version};
use crate::probe::child::Subject;
use crate::registry::blob::{Progress, measure};
use crate::registry::entry::{Blob, Evidence, Op};
use crate::registry::fold::{Model, State, check_approved};
use crate::registry::log::Change;
use crate::registry::manifest::{
    Declared, File, MANIFEST_BYTES_MAX, MANIFEST_PATH, MODEL_PATH, Manifest, Role, check_path,
};
use crate::registry::sign::statement;
use crate::runtime::SessionOptions;
use crate::runtime::provider::{Provider, ProviderKind};
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
pub(crate) struct Push {
    /// An ONNX file, or a folder with `model.onnx` and what belongs to it.
    pub path: PathBuf,
    /// Pointed at the new version in the same entry.
    pub alias: Option<Alias>,
    /// Files given beside the path, by what they are for.
    pub extra: Vec<(Role, PathBuf)>,
    pub features: Vec<String>,
    pub licence: String,
    pub tags: BTreeMap<String, String>,
    pub parent: Option<Version>,
    pub lineage: serde_json::Map<String, serde_json::Value>,
    pub evaluation: serde_json::Map<String, serde_json::Value>,
    pub allow_signature_change: bool,
}

/// What a push came to.
#[derive(Debug, Serialize)]
pub(crate) struct Pushed {
    pub name: String,
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

/// A file of the version on this machine, measured.
struct Local {
    file: File,
    path: PathBuf,
    /// Where its upload waits for its name.
    staged: Option<String>,
}

impl Operator {
    /// Publishes a version of `name`. Refuses a file that is not ONNX, and a
    /// signature that breaks the champion's clients unless that is allowed.
    pub(crate) async fn push(&self, name: &ModelName, push: &Push, progress: Progress<'_>) -> Result<Pushed> {
        let (manifest, mut files) = self.prepare(name, push, progress).await?;
        let evidence = self.first_run(&files, manifest.files.iter().any(|f| f.role == Role::Weights))?;
        let bytes = bytes::Bytes::from(manifest.write());
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(Error::too_large(format!("the manifest is over {MANIFEST_BYTES_MAX} bytes")));
        }
        let mut state = self.state().await?;
        loop {
            let compared = self.compare(&state, name, &manifest.signature, push.allow_signature_change).await?;
            let mut blobs = Vec::new();
            for local in &mut files {
                let File { digest, bytes, .. } = local.file;
                let blob = Blob { digest, bytes, generation: state.generation(&digest) };
                match local.staged.take() {
                    Some(staged) => self.log.settle(&staged, &blob).await?,
                    None => self.log.put_file(&mut open(&local.path)?, blob, progress).await?,
                }
                blobs.push(blob);
            }
            let digest = crate::registry::entry::hash(&bytes);
            blobs.push(self.log.put_bytes(bytes.clone(), state.generation(&digest)).await?);
            blobs.sort_unstable();
            blobs.dedup();
            let again = AtomicBool::new(false);
            let decide = |now: &State| {
                // What was uploaded, or compared with, is no longer what counts.
                let stale = blobs.iter().any(|b| b.generation != now.generation(&b.digest))
                    || champion_digest(now, name) != compared;
                again.store(stale, Ordering::Relaxed);
                if stale {
                    return Ok(Vec::new().into());
                }
                let mut ops = ops(now, name, &blobs, digest, push.alias.as_ref());
                self.check_signed(now, name, digest)?;
                if let (Some(key), Some(Op::Version { signatures, .. })) = (&self.key, ops.first_mut()) {
                    signatures.push(key.sign(&statement(self.log.namespace(), name, &digest)));
                }
                let new = ops.iter().any(|op| matches!(op, Op::Version { .. }));
                Ok(Change { ops, evidence: if new { evidence.clone() } else { Vec::new() } })
            };
            let committed = self.commit(state, &decide).await?;
            state = committed.state;
            if !again.load(Ordering::Relaxed) {
                return pushed(&state, name, digest, committed.seq, push.alias.as_ref());
            }
        }
    }

    /// Refuses to push again, with a key, what is there without its signature:
    /// a version's signatures are those it came with.
    fn check_signed(&self, state: &State, name: &ModelName, manifest: Digest) -> Result<()> {
        let (Some(key), Some(model)) = (&self.key, state.models.get(name)) else { return Ok(()) };
        let Some(version) = same(model, manifest) else { return Ok(()) };
        let signed = model.versions.get(&version).is_some_and(|r| r.signatures.iter().any(|s| s.key == key.public()));
        if signed {
            return Ok(());
        }
        Err(Error::precondition(format!(
            "version {version} is the same and is not signed by this key; retire it and push again, or push with a new tag"
        )))
    }

    /// Runs the model once, in a process of its own: operators and operator
    /// sets that this ONNX Runtime lacks are refused here, not by a server.
    fn first_run(&self, files: &[Local], has_weights: bool) -> Result<Vec<Evidence>> {
        let Some(prober) = &self.prober else { return Ok(Vec::new()) };
        let model = files.iter().find(|l| l.file.path == MODEL_PATH);
        let model = model.ok_or_else(|| Error::internal("a version has no model"))?;
        let unreadable = |e| Error::invalid("the model cannot be read").with_source(e);
        let bytes = fs::read(&model.path).map_err(unreadable)?;
        if crate::registry::entry::hash(&bytes) != model.file.digest {
            return Err(Error::precondition("the file changed while it was pushed"));
        }
        let folder = fs::canonicalize(&model.path).map_err(unreadable)?;
        let provider = Provider { kind: ProviderKind::Cpu, options: BTreeMap::new() };
        // Weights beside the model are as much what is probed as the model is.
        let all: Vec<String> = files.iter().map(|l| format!("{} {}\n", l.file.path, l.file.digest)).collect();
        let measured = prober.check(&Subject {
            digest: crate::registry::entry::hash(all.concat().as_bytes()),
            bytes: &bytes,
            external_dir: folder.parent().filter(|_| has_weights),
            options: &SessionOptions { intra_op_threads: 1, spinning: false, providers: vec![provider] },
            rows: PROBE_ROWS,
        })?;
        let values = match serde_json::to_value(&measured) {
            Ok(serde_json::Value::Object(values)) => values,
            _ => return Err(Error::internal("a measurement is no object")),
        };
        Ok(vec![Evidence { kind: "measured".to_owned(), values }])
    }

    /// Reads the graph, measures every file, and fills the manifest.
    async fn prepare(&self, name: &ModelName, push: &Push, progress: Progress<'_>) -> Result<(Manifest, Vec<Local>)> {
        let mut files = gather(push)?;
        let path = files.iter().find(|l| l.file.path == MODEL_PATH).map(|l| l.path.clone());
        let path = path.ok_or_else(|| Error::invalid(format!("{} holds no model.onnx", push.path.display())))?;
        let graph = Graph::read_file(&mut open(&path)?)?;
        for external in &graph.external {
            let listed = files.iter_mut().find(|l| Path::new(&l.file.path) == external);
            let listed = listed.ok_or_else(|| {
                Error::invalid(format!("the external data '{}' is not beside the model", external.display()))
            })?;
            listed.file.role = Role::Weights;
        }
        let mut manifest = Manifest::of(name, &graph);
        for local in &mut files {
            let mut file = open(&local.path)?;
            if let Some((blob, key)) = self.log.stage(&mut file, progress).await? {
                (local.file.digest, local.file.bytes, local.staged) = (blob.digest, blob.bytes, Some(key));
                continue;
            }
            let unreadable =
                |e: io::Error| Error::invalid(format!("{} cannot be read", local.path.display())).with_source(e);
            (local.file.digest, local.file.bytes) = measure(&mut file).map_err(unreadable)?;
        }
        manifest.files = files.iter().map(|l| l.file.clone()).collect();
        manifest.files.sort();
        manifest.features = push.features.clone();
        manifest.licence = push.licence.clone();
        manifest.tags = push.tags.clone();
        manifest.parent = push.parent;
        manifest.lineage = push.lineage.clone();
        manifest.evaluation = push.evaluation.clone();
        Ok((manifest, files))
    }

    /// Compares a signature with the champion's; returns the digest of what it
    /// was compared with.
    async fn compare(&self, state: &State, name: &ModelName, new: &Declared, allowed: bool) -> Result<Option<Digest>> {
        let Some(digest) = champion_digest(state, name) else { return Ok(None) };
        if !allowed {
            let model = state.model(name)?;
            let champion = model.champion().and_then(|v| Some((v, model.versions.get(&v)?)));
            let Some((version, record)) = champion else { return Ok(None) };
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
fn same(model: &Model, manifest: Digest) -> Option<Version> {
    let mut versions = model.versions.iter().rev();
    versions.find(|(_, r)| r.manifest == manifest && r.retired.is_none()).map(|(v, _)| *v)
}

/// What is left to do on a state: publish, point the alias, both or nothing.
fn ops(state: &State, name: &ModelName, blobs: &[Blob], manifest: Digest, alias: Option<&Alias>) -> Vec<Op> {
    let none = Model::default();
    let model = state.models.get(name).unwrap_or(&none);
    let mut ops = Vec::new();
    let version = same(model, manifest).or_else(|| {
        let next = Version::new(model.versions.last_key_value().map_or(1, |(last, _)| last.number() + 1))?;
        ops.push(Op::Version {
            model: name.clone(),
            version: next,
            manifest,
            blobs: blobs.to_vec(),
            signatures: Vec::new(),
        });
        Some(next)
    });
    let (Some(alias), Some(version)) = (alias, version) else { return ops };
    if model.all_aliases().get(alias) == Some(&version) {
        return ops;
    }
    if *alias != Alias::champion() {
        let from = model.aliases.get(alias).copied();
        ops.push(Op::Alias { model: name.clone(), alias: alias.clone(), version: Some(version), from });
    } else if is_approved(state, model, version) {
        ops.push(Op::Promote { model: name.clone(), version, from: model.champion() });
    }
    ops
}

fn is_approved(state: &State, model: &Model, version: Version) -> bool {
    let record = model.versions.get(&version);
    record.map_or(state.approvals == 0, |record| check_approved(record, state.approvals).is_ok())
}

fn pushed(
    state: &State,
    name: &ModelName,
    manifest: Digest,
    seq: Option<u64>,
    alias: Option<&Alias>,
) -> Result<Pushed> {
    let lost = || Error::internal("the version is not in the registry after it was committed");
    let model = state.model(name)?;
    let version = same(model, manifest).ok_or_else(lost)?;
    let record = model.versions.get(&version).ok_or_else(lost)?;
    let reached = alias.is_none_or(|a| model.all_aliases().get(a) == Some(&version));
    Ok(Pushed {
        name: name.to_string(),
        version: version.number(),
        digest: manifest.to_string(),
        seq: seq.unwrap_or(record.seq),
        new: seq == Some(record.seq),
        waiting: !reached,
    })
}

fn open(path: &Path) -> Result<fs::File> {
    let unreadable = |e: io::Error| Error::invalid(format!("{} cannot be read", path.display())).with_source(e);
    let file = fs::File::open(path).map_err(unreadable)?;
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        _ => Err(Error::invalid(format!("{} is not a file", path.display()))),
    }
}

/// Lists the files: of the folder, or the one file, and those given beside it.
fn gather(push: &Push) -> Result<Vec<Local>> {
    let local = |path: PathBuf, name: String, role| {
        check_path(&name).map_err(|e| Error::invalid(e.message))?;
        Ok(Local { file: File { path: name, role, digest: Digest([0; 32]), bytes: 0 }, path, staged: None })
    };
    let mut files = Vec::new();
    let root = &push.path;
    let meta =
        fs::metadata(root).map_err(|e| Error::invalid(format!("{} cannot be read", root.display())).with_source(e))?;
    if meta.is_file() {
        files.push(local(root.clone(), MODEL_PATH.to_owned(), Role::Model)?);
    } else {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let unreadable = |e: io::Error| Error::invalid(format!("{} cannot be read", root.display())).with_source(e);
            for entry in fs::read_dir(root.join(&folder)).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let inside = folder.join(entry.file_name());
                let kind = entry.file_type().map_err(unreadable)?;
                let name = inside.to_str().ok_or_else(|| Error::invalid("a file's name is not UTF-8"))?.to_owned();
                if kind.is_dir() {
                    folders.push(inside);
                } else if kind.is_file() && name == MANIFEST_PATH {
                    // What `pull` wrote; a new one is made.
                } else if kind.is_file() {
                    let role = role_of(&name);
                    files.push(local(entry.path(), name, role)?);
                } else {
                    return Err(Error::invalid(format!("'{name}' is neither a file nor a folder")));
                }
                if files.len() + folders.len() > FILES_MAX {
                    return Err(Error::overloaded(format!("the folder holds over {FILES_MAX} files")));
                }
            }
        }
    }
    for (role, path) in &push.extra {
        let name = match role {
            Role::Baseline => "baseline.json",
            Role::Card => "README.md",
            Role::Golden => "golden.json",
            Role::Model | Role::Weights | Role::Other => {
                path.file_name().and_then(|n| n.to_str()).ok_or_else(|| Error::invalid("a file has no name"))?
            }
        };
        files.retain(|l| l.file.path != name);
        files.push(local(path.clone(), name.to_owned(), *role)?);
    }
    Ok(files)
}

fn role_of(name: &str) -> Role {
    match name {
        MODEL_PATH => Role::Model,
        "baseline.json" => Role::Baseline,
        "README.md" => Role::Card,
        "golden.json" => Role::Golden,
        _ => Role::Other,
    }
}
