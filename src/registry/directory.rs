//! A model directory in the layout of Triton and TensorFlow Serving, `<name>/<version>/model.onnx`, as a catalogue; also
//! a folder of one model, and single model files. Remembers when files were first seen unchanged; the caller
//! passes the time. Does not decide what is served, and writes nothing into the directory.

mod class_labels;
mod config;
pub(crate) mod copies;
pub(crate) mod listed;
mod look;
mod model_file;
mod read;
pub(crate) mod refusals;
pub(crate) mod served_path;
pub(crate) mod supplied;
#[cfg(test)]
mod tests;
mod trouble;
mod unserved;
mod version_folders;
mod walk;

use super::catalog::{Catalog, Fingerprint, FolderSight, VersionEntry};
use super::model_file::ModelFile;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::onnx::graph::Graph;
use bytes::Bytes;
use copies::{Copies, PrivateFolder};
use look::Look;
use read::{ModelPlace, Purpose};
use refusals::Refusals;
use served_path::ServedPath;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use supplied::{Supplied, SuppliedModel, Supply};
use unserved::Warned;
use walk::{Links, Root};

/// The most models in a directory; beyond it nothing new is seen.
pub(crate) const MODELS_MAX: usize = 10_000;
/// The most versions of a model; beyond it nothing new of the model is seen.
pub(crate) const VERSIONS_MAX: usize = 1_000;
/// Name of the model file, unless the configuration names another.
pub(crate) const MODEL_FILE: &str = "model.onnx";
/// The name of a model's configuration.
const CONFIG_FILE: &str = "config.pbtxt";

/// A model directory, and what earlier scans found.
pub(crate) struct Directory {
    path: ServedPath,
    settle: Duration,
    empty_delay: Duration,
    /// Where external data is copied to; none where no folder is known.
    copies: Option<Copies>,
    /// Bytes that came under the number of a version with other bytes.
    pub refusals: Refusals,
    /// What load calls supply instead of what lies here.
    supplied: Supplied,
    /// Where links may lead.
    links: Links,
    /// What the last scan saw.
    last: Look,
    /// Since when the files of each version are unchanged.
    since: FirstSeen,
    /// What is not served, as far as it was logged.
    warned: Warned,
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

/// What tells the files of a version apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionDigests {
    /// [`Loaded::digest`].
    pub model: Digest,
    /// [`Loaded::used`].
    pub used: Digest,
}

/// A version in memory: bytes, what they declare, and their digest.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The ONNX file.
    pub bytes: Bytes,
    /// What it declares.
    pub graph: Graph,
    /// From a directory the SHA-256 of `bytes` where the model has no external
    /// data, else of `name NUL length NUL bytes` of the ONNX file and each
    /// external file; from a registry the manifest's.
    pub digest: Digest,
    /// Changes with the bytes of any file that the version uses, those beside the model included.
    pub used: Digest,
    /// Where `bytes` are for a further session.
    pub file: ModelFile,
    /// The folder of the external data, if there is any. Nobody else writes there.
    pub external_dir: Option<PathBuf>,
    /// Keeps the private copies while the version serves, if there are any.
    pub copy: Option<Arc<PrivateFolder>>,
    /// The golden file beside the model, if there is one.
    pub golden: Option<Bytes>,
    /// The baseline beside it, if there is one.
    pub baseline: Option<Bytes>,
    /// The companion beside it, if there is one.
    pub companion: Option<Bytes>,
    /// What explains its predictions, if there is a file, or why it cannot be read: a version serves without it.
    pub explanation: Option<Result<Bytes>>,
    /// Names of the input's columns, if given.
    pub features: Vec<String>,
}

impl Loaded {
    /// What tells its files apart from others.
    pub(crate) fn digests(&self) -> VersionDigests {
        VersionDigests {
            model: self.digest,
            used: self.used,
        }
    }
}

impl Directory {
    /// Takes a path that was found. Files that did not change for `settle` are considered
    /// complete. A directory that lost all its models is taken for emptied after `empty_delay`.
    pub(crate) fn new(
        path: ServedPath,
        settle: Duration,
        empty_delay: Duration,
        copies: Option<Copies>,
        refusals: Refusals,
    ) -> Self {
        // Whoever names a file means what it leads to.
        let links = match path {
            ServedPath::File(_) => Links::Anywhere,
            _ => Links::Inside,
        };
        Self {
            path,
            links,
            settle,
            empty_delay,
            copies,
            refusals,
            supplied: Supplied::new(0),
            last: Look::default(),
            since: FirstSeen::new(),
            warned: Warned::default(),
        }
    }

    /// Lets load calls supply a configuration and files, at most so many bytes in all.
    pub(crate) fn accept_supplies(self, bytes_max: usize) -> Self {
        Self {
            supplied: Supplied::new(bytes_max),
            ..self
        }
    }

    /// Follows links wherever they lead.
    pub(crate) fn follow_links(self) -> Self {
        Self {
            links: Links::Anywhere,
            ..self
        }
    }

    /// Takes what a load call supplies for a model until the next one. Returns what an earlier one
    /// supplied.
    pub(crate) fn supply(
        &mut self,
        name: &ModelName,
        supply: Supply,
    ) -> Result<Option<SuppliedModel>> {
        self.supplied.keep_before(name, &self.last.catalog);
        self.supplied.put(name, supply, self.copies.as_ref())
    }

    /// Whether the last look at the directory itself saw a version of a model.
    pub(crate) fn has(&self, name: &ModelName) -> bool {
        let entry = self.last.catalog.models.get(name);
        let mut versions = entry.into_iter().flat_map(|entry| entry.versions.values());
        versions.any(|version| version.sight != FolderSight::Missing)
    }

    /// Puts back what an earlier load call supplied for a model.
    pub(crate) fn put_back(&mut self, name: &ModelName, before: Option<SuppliedModel>) {
        self.supplied.keep_before(name, &self.last.catalog);
        self.supplied.put_back(name, before);
    }

    /// Scans the directory. `now` is compared with the times of files, `instant` with earlier
    /// scans. What cannot be looked into keeps the versions it had, as [`FolderSight::Unreadable`]. What
    /// is gone is kept as [`FolderSight::Missing`] until a second scan does not see it either.
    pub(crate) fn scan(&mut self, now: SystemTime, instant: Instant) -> Catalog {
        let mut found = look::all(&self.path, self.links, &self.last);
        // Folders that are renamed during a look may be in none of its parts.
        if found.lost(&self.last.catalog) {
            found = look::all(&self.path, self.links, &self.last);
        }
        self.last
            .keep_vanished(&mut found, self.empty_delay, instant);

        let now = Now { time: now, instant };
        self.since = mark_settled(&mut found.catalog, &self.since, self.settle, now);
        // A refused version would otherwise stay refused after the failure ends.
        let versions = found.catalog.models.values_mut();
        for version in versions.flat_map(|m| m.versions.values_mut()) {
            version.settled &= version.sight == FolderSight::Seen;
        }

        trouble::log(&self.last.trouble, &found.trouble);
        unserved::log(&mut self.warned, &found.catalog.unserved);
        self.last = found;
        let mut catalog = self.last.catalog.clone();
        self.supplied.apply(&mut catalog, now.time, now.instant);
        catalog
    }

    /// Logs what the last scan found that is not served, if it is not logged yet. A scan does so for
    /// what the scan before found too, because files may still be copied.
    pub(crate) fn log_unserved(&mut self) {
        unserved::log(&mut self.warned, &self.last.catalog.unserved);
    }

    /// Returns how many folders, the directory itself included, cannot be looked into.
    pub(crate) fn trouble_count(&self) -> usize {
        self.last.trouble.len()
    }

    /// Whether the last scan could look into the directory itself.
    pub(crate) fn is_readable(&self) -> bool {
        !self.last.trouble.contains_key(look::ROOT)
    }

    /// Reads a version into memory and checks that it is whole: the graph
    /// decodes and each external file is a regular file inside the version's
    /// folder. `Unavailable` if the files no longer look as they did in the
    /// scan; otherwise the kinds of [`Graph::read`], or `FailedPrecondition`.
    pub(crate) fn read(&self, entry: &VersionEntry) -> Result<Loaded> {
        self.checked(entry, Purpose::Serve(self.copies.as_ref()))
    }

    /// Returns what [`Loaded::digests`] would be now. Refuses as [`Directory::read`] does.
    pub(crate) fn digests(&self, entry: &VersionEntry) -> Result<VersionDigests> {
        self.checked(entry, Purpose::Compare)
            .map(|loaded| loaded.digests())
    }

    fn checked(&self, entry: &VersionEntry, purpose: Purpose<'_>) -> Result<Loaded> {
        if let Some(supplied) = self.supplied.directory_of(&entry.model_path) {
            return supplied.checked(entry, purpose);
        }
        let root = self.canonical_root()?;
        let folder = entry
            .model_path
            .parent()
            .ok_or_else(|| Error::internal("a model path has no folder"))?;
        let is_loose = self.path.is_loose(&root, folder);
        let root = Root {
            path: &root,
            links: self.links,
        };
        let place = ModelPlace {
            root,
            folder,
            model: &entry.model_path,
            is_loose,
        };
        let loaded = read::load(&place, purpose);
        let files = match entry.model_path.file_name() {
            Some(file) if is_loose => {
                walk::names(root.path).and_then(|names| walk::beside(root, &names, file))
            }
            _ => walk::fingerprint(root, folder),
        };

        // If the files changed, that is the likely cause of the failure, and the
        // better error.
        match files {
            Ok(files) if is_same(&files, &entry.files) => loaded,
            _ => Err(Error::unavailable(
                "the version changed while it was read; it is loaded again once its files stop changing",
            )),
        }
    }

    /// Resolved each time, because the directory may be a link whose target
    /// changes.
    fn canonical_root(&self) -> Result<PathBuf> {
        self.path
            .folder()
            .canonicalize()
            .map_err(|e| Error::unavailable("the model directory cannot be read").with_source(e))
    }
}

/// Compares the files of a version now with those of a scan, whose fingerprint may include a refused
/// configuration.
fn is_same(files: &Fingerprint, scanned: &Fingerprint) -> bool {
    let own = scanned.0.iter().filter(|s| !s.file.starts_with(".."));
    files.0.iter().eq(own)
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
