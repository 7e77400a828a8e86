//! What there is to serve: models, their versions and the files of each.
//! Plain data; reads nothing and decides nothing.

use super::pbtxt::ModelConfig;
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Everything a source holds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// By name.
    pub models: BTreeMap<ModelName, ModelEntry>,
}

/// One model; without versions where its folder has none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelEntry {
    /// By number.
    pub versions: BTreeMap<Version, VersionEntry>,
    /// Its `config.pbtxt`, if it has one that can be read.
    pub config: Option<ModelConfig>,
    /// Why nothing of the model loads, such as a `config.pbtxt` that is refused.
    pub problem: Option<String>,
    /// What names stand for, where the source has names; a plain directory has none.
    pub pointers: Option<Pointers>,
}

/// What the names of a model stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pointers {
    /// The version for requests that name none.
    pub champion: Option<Version>,
    /// Every alias, `champion` and `previous` included.
    pub aliases: BTreeMap<String, Version>,
    /// Percent of the requests that name no version; empty: all to the champion.
    pub traffic: Vec<(Version, u32)>,
    /// The versions to be loaded.
    pub wanted: BTreeSet<Version>,
}

/// One version of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionEntry {
    /// What its files looked like.
    pub files: Fingerprint,
    /// The ONNX file; the version's folder is its parent.
    pub model_path: PathBuf,
    /// Whether nobody seems to be writing the files any more.
    pub settled: bool,
    /// The version's manifest, where it comes from a registry.
    pub manifest: Option<Digest>,
}

/// What the files of a version looked like, without reading them: sorted by
/// name. Two that are equal stand for the same bytes.
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
    /// Which file it is, for a replacement that keeps length and time.
    pub inode: u64,
}
