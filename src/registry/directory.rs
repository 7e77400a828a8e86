//! A model directory in the layout of Triton and TensorFlow Serving,
//! `<name>/<version>/model.onnx`, as a catalogue. Remembers when files were first
//! seen unchanged; the caller passes the time. Does not decide what is served,
//! and writes nothing.

mod read;
#[cfg(test)]
mod tests;
mod walk;

use super::catalog::{Catalog, FileStamp, Fingerprint, ModelEntry, VersionEntry};
use super::pbtxt::{CONFIG_BYTES_MAX, ModelConfig};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::onnx::graph::Graph;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The most models in a directory; beyond it the scan fails.
pub(crate) const MODELS_MAX: usize = 10_000;
/// The most versions of a model; beyond it nothing new of the model is seen.
pub(crate) const VERSIONS_MAX: usize = 1_000;
/// Name of the model file, unless the configuration names another.
pub(crate) const MODEL_FILE: &str = "model.onnx";
/// The name of a model's configuration.
const CONFIG_FILE: &str = "config.pbtxt";

/// A model directory, and what earlier scans found.
pub(crate) struct Directory {
    root: PathBuf,
    settle: Duration,
    last: Catalog,
    /// Since when the files of each version are unchanged.
    since: FirstSeen,
    ignored: usize,
}

/// One moment, by the wall clock and by the monotonic clock.
#[derive(Clone, Copy)]
struct Now {
    /// Comparable with the times of files.
    time: SystemTime,
    /// Comparable with earlier scans.
    instant: Instant,
}

type FirstSeen = BTreeMap<(ModelName, Version), (Fingerprint, Instant)>;

/// A version in memory: bytes, what they declare, and their digest.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The ONNX file.
    pub bytes: Bytes,
    /// Its path.
    pub path: PathBuf,
    /// What it declares.
    pub graph: Graph,
    /// From a directory the SHA-256 of `bytes` where the model has no external
    /// data, else of `name NUL length NUL bytes` of the ONNX file and each
    /// external file; from a registry the manifest's.
    pub digest: Digest,
    /// The SHA-256 of `bytes`.
    pub file_digest: Digest,
    /// The folder of the external data, if there is any.
    pub external_dir: Option<PathBuf>,
    /// The golden file beside the model, if there is one.
    pub golden: Option<Bytes>,
    /// The baseline beside it, if there is one.
    pub baseline: Option<Bytes>,
    /// The companion beside it, if there is one.
    pub companion: Option<Bytes>,
    /// Names of the input's columns, if given.
    pub features: Vec<String>,
}

impl Directory {
    /// Takes a path to a readable directory; refuses any other with
    /// `InvalidArgument`. Files that did not change for `settle` are considered
    /// complete.
    pub(crate) fn new(root: PathBuf, settle: Duration) -> Result<Self> {
        std::fs::read_dir(&root).map_err(|e| {
            Error::invalid(format!(
                "the model directory '{}' cannot be read: {e}",
                root.display()
            ))
            .with_source(e)
        })?;

        Ok(Self {
            root,
            settle,
            last: Catalog::default(),
            since: FirstSeen::new(),
            ignored: 0,
        })
    }

    /// Scans the directory. `now` is compared with the times of files,
    /// `instant` with earlier scans. Folders with illegal names are left out.
    /// A model that cannot be read or is over a limit keeps the versions it had,
    /// unsettled, with the reason as its problem; a directory that cannot be
    /// read, or with over [`MODELS_MAX`] models, is an error.
    pub(crate) fn scan(&mut self, now: SystemTime, instant: Instant) -> Result<Catalog> {
        let root = self.canonical_root()?;
        let mut ignored = 0;
        let mut models = BTreeMap::new();
        let mut unseen = Vec::new();
        for file_name in walk::names(&root)? {
            let name = file_name
                .to_str()
                .and_then(|name| ModelName::parse(name).ok());
            let folder = walk::inside(&root, &root.join(&file_name))?.filter(|path| path.is_dir());
            let (Some(name), Some(folder)) = (name, folder) else {
                ignored += 1;
                continue;
            };
            if models.len() == MODELS_MAX {
                return Err(Error::overloaded(format!(
                    "the model directory has over {MODELS_MAX} models"
                )));
            }
            let last = self.last.models.get(&name);
            let entry = look(&root, &folder, &name, last, &mut ignored).unwrap_or_else(|e| {
                unseen.push(name.clone());
                fall_back(&name, last, &e)
            });
            models.insert(name, entry);
        }

        let mut catalog = Catalog { models };
        self.since = mark_settled(
            &mut catalog,
            &self.since,
            self.settle,
            Now { time: now, instant },
        );

        // Their files could not be read, so they are not settled: a refused version
        // would otherwise stay refused after the failure ends.
        for name in unseen {
            catalog
                .models
                .entry(name)
                .and_modify(|e| e.versions.values_mut().for_each(|v| v.settled = false));
        }

        self.ignored = ignored;
        self.last = catalog.clone();
        Ok(catalog)
    }

    /// Reads a version into memory and checks that it is whole: the graph
    /// decodes and each external file is a regular file inside the version's
    /// folder. `Unavailable` if the files no longer look as they did in the
    /// scan; otherwise the kinds of [`Graph::read`], or `FailedPrecondition`.
    pub(crate) fn read(&self, entry: &VersionEntry) -> Result<Loaded> {
        let root = self.canonical_root()?;
        let folder = entry
            .model_path
            .parent()
            .ok_or_else(|| Error::internal("a model path has no folder"))?;
        let loaded = read::load(&root, folder, &entry.model_path);

        // If the files changed, that is the likely cause of the failure, and the
        // better error.
        match walk::fingerprint(&root, folder) {
            Ok(files) if files == entry.files => loaded,
            _ => Err(Error::unavailable(
                "the version changed while it was read; it is loaded again once its files stop changing",
            )),
        }
    }

    /// Resolved each time, because the directory may be a link whose target
    /// changes.
    fn canonical_root(&self) -> Result<PathBuf> {
        self.root
            .canonicalize()
            .map_err(|e| Error::unavailable("the model directory cannot be read").with_source(e))
    }
}

/// Scans one model.
fn look(
    root: &Path,
    folder: &Path,
    name: &ModelName,
    last: Option<&ModelEntry>,
    ignored: &mut usize,
) -> Result<ModelEntry> {
    let (config, problem, stamp) = match config(root, folder, name)? {
        None => (None, None, None),
        Some((_, Ok(config))) => (Some(config), None, None),
        // Loaded versions keep the configuration that they were loaded with.
        Some((stamp, Err(e))) => (
            last.and_then(|l| l.config.clone()),
            Some(e.message),
            Some(stamp),
        ),
    };

    let model_file = config
        .as_ref()
        .and_then(|c| c.model_filename.as_deref())
        .unwrap_or(MODEL_FILE);
    let mut versions = BTreeMap::new();

    for file_name in walk::names(folder)?
        .into_iter()
        .filter(|n| n.as_os_str() != CONFIG_FILE)
    {
        let version = file_name
            .to_str()
            .and_then(|name| Version::parse(name).ok());
        let inside = walk::inside(root, &folder.join(&file_name))?.filter(|path| path.is_dir());
        let (Some(version), Some(inside)) = (version, inside) else {
            *ignored += 1;
            continue;
        };
        let mut files = walk::fingerprint(root, &inside)?;
        let has_model = files
            .0
            .iter()
            .any(|stamp| stamp.file.as_os_str() == model_file);
        if files.0.is_empty() || (problem.is_none() && !has_model) {
            *ignored += 1;
            continue;
        }
        if versions.len() == VERSIONS_MAX {
            return Err(Error::overloaded(format!(
                "the model has over {VERSIONS_MAX} versions"
            )));
        }
        // The fingerprint includes a refused configuration, so that a corrected one
        // triggers another attempt.
        files.0.extend(stamp.clone());
        versions.insert(
            version,
            VersionEntry {
                files,
                model_path: inside.join(model_file),
                settled: false,
                manifest: None,
            },
        );
    }

    Ok(ModelEntry {
        versions,
        config,
        problem,
        pointers: None,
    })
}

/// Reads a model's configuration, if it has one, with the stamp of its file.
fn config(
    root: &Path,
    folder: &Path,
    name: &ModelName,
) -> Result<Option<(FileStamp, Result<ModelConfig>)>> {
    let path = folder.join(CONFIG_FILE);
    let refuse = |why: String| Err(Error::invalid(format!("config.pbtxt: {why}")));
    match path.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(walk::failed("inspect config.pbtxt", e)),
        Ok(own) => {
            let target = walk::inside(root, &path)?
                .and_then(|path| path.metadata().ok())
                .filter(|t| t.is_file());
            let stamp = walk::stamp(
                Path::new("..").join(CONFIG_FILE),
                target.as_ref().unwrap_or(&own),
            );
            if target.is_none() {
                return Ok(Some((
                    stamp,
                    refuse("is not a file inside the model directory".to_owned()),
                )));
            }
            if stamp.file_bytes > CONFIG_BYTES_MAX {
                return Ok(Some((
                    stamp,
                    refuse(format!("is over {CONFIG_BYTES_MAX} bytes")),
                )));
            }
            let bytes = read::whole(&path, CONFIG_BYTES_MAX)?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| Error::invalid("config.pbtxt: is not UTF-8"));
            Ok(Some((
                stamp,
                text.and_then(|text| ModelConfig::read(name, text)),
            )))
        }
    }
}

/// Returns the last entry of a model that is unreadable now: none of its versions
/// is loaded or unloaded.
fn fall_back(name: &ModelName, last: Option<&ModelEntry>, error: &Error) -> ModelEntry {
    let mut entry = last.cloned().unwrap_or_default();
    let problem = Some(error.message.clone());
    if entry.problem != problem {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(model = name.as_str(), %error, cause, "the model's folder cannot be read; serving continues with the loaded versions");
    }
    entry.problem = problem;
    entry
}

/// Marks each version whose files are unchanged for `settle`: by their times, or, if
/// those are ahead of the clock, by the time since they were first seen so.
fn mark_settled(
    catalog: &mut Catalog,
    before: &FirstSeen,
    settle: Duration,
    now: Now,
) -> FirstSeen {
    let mut since = FirstSeen::new();
    let oldest_ns =
        walk::nanoseconds(now.time) - i128::try_from(settle.as_nanos()).unwrap_or(i128::MAX / 2);
    for (name, entry) in &mut catalog.models {
        for (version, found) in &mut entry.versions {
            let key = (name.clone(), *version);
            let first = match before.get(&key) {
                Some((files, first)) if *files == found.files => *first,
                _ => now.instant,
            };
            let old = found
                .files
                .newest_ns()
                .is_some_and(|newest| newest <= oldest_ns);
            found.settled = old || now.instant.saturating_duration_since(first) >= settle;
            since.insert(key, (found.files.clone(), first));
        }
    }

    since
}
