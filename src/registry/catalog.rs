//! The models that a source (a registry or a directory) offers, with their versions
//! and files. Plain data; reads nothing and decides nothing.

use super::pbtxt::ModelConfig;
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The content of a source at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// By name.
    pub models: BTreeMap<ModelName, ModelEntry>,
    /// What lies in a directory and is not served.
    pub unserved: Vec<Unserved>,
}

/// A folder or file in a model directory that is not served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unserved {
    /// The name in the directory, without control characters; it may be no legal name of a model.
    pub model: String,
    /// The name in the model's folder, likewise; empty if it concerns the model as a whole.
    pub version: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl Unserved {
    /// Says why it is not served, with the name of the version if it concerns one.
    pub(crate) fn explanation(&self) -> String {
        match self.version.as_str() {
            "" => self.reason.clone(),
            version => format!("'{version}': {}", self.reason),
        }
    }
}

/// One model. It has no versions while its folder has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelEntry {
    /// By number.
    pub versions: BTreeMap<Version, VersionEntry>,
    /// Its `config.pbtxt`, if it has one that can be read.
    pub config: Option<ModelConfig>,
    /// Why no version of the model can be loaded, such as an invalid
    /// `config.pbtxt`.
    pub problem: Option<String>,
    /// The versions of labels, if the model is on a list with labels.
    pub labels: BTreeMap<String, Version>,
    /// The aliases and the traffic split, if the source is a registry; a directory
    /// has none.
    pub pointers: Option<Pointers>,
}

/// The versions that the aliases of a model point at, and the traffic split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pointers {
    /// The version for requests that do not name one.
    pub champion: Option<Version>,
    /// Every alias, `champion` and `previous` included.
    pub aliases: BTreeMap<String, Version>,
    /// Traffic weights in percent, for requests that do not name a version. If
    /// empty, the champion gets all of them.
    pub traffic: Vec<(Version, u32)>,
    /// The versions to be loaded.
    pub wanted: BTreeSet<Version>,
}

/// How the last look at the source saw a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum FolderSight {
    /// Its files are there.
    #[default]
    Seen,
    /// It was there before and is not now. It is dropped from the catalogue when a later look
    /// does not see it either.
    Missing,
    /// It cannot be looked into, for this reason, so nothing is known of its files.
    Unreadable(String),
}

/// One version of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionEntry {
    /// Names, sizes and times of its files.
    pub files: Fingerprint,
    /// The ONNX file; the version's folder is its parent.
    pub model_path: PathBuf,
    /// Whether the files have been unchanged for long enough to be considered
    /// complete.
    pub settled: bool,
    /// How it was seen at the last look.
    pub sight: FolderSight,
    /// The digest of the version's manifest, if the version comes from a registry.
    pub manifest: Option<Digest>,
}

/// Names, sizes and times of a version's files, sorted by name; their content is
/// not read. Two equal fingerprints are taken to mean equal content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub Vec<FileStamp>);

impl Fingerprint {
    /// The latest modification, in nanoseconds since 1970.
    pub(crate) fn newest_ns(&self) -> Option<i128> {
        self.0.iter().map(|stamp| stamp.modified_ns).max()
    }
}

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileStamp {
    /// Relative to the version's folder.
    pub file: PathBuf,
    /// Its length.
    pub file_bytes: u64,
    /// When it was modified, in nanoseconds since 1970.
    pub modified_ns: i128,
    /// Differs if the file was replaced by one with the same length and time.
    pub inode: u64,
    /// When its bytes, name or permissions were changed last, in nanoseconds since 1970. Unlike
    /// `modified_ns` it cannot be set back after an overwrite.
    pub changed_ns: i128,
}
