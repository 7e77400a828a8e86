//! What load calls supply instead of what lies in the model directory: the configuration of a model, its
//! files, or both. Files are kept in a private folder until the model is unloaded, or loaded without them.
//! Knows nothing of the calls.

use super::copies::{Copies, PrivateFolder};
use super::look::{self, Look};
use super::refusals::Refusals;
use super::served_path::ServedPath;
use super::version_folders::number_of;
use super::walk::{Links, Root};
use super::{CONFIG_FILE, Directory, class_labels, walk};
use crate::core::error::{Error, Result, short};
use crate::core::model::{ModelName, Version};
use crate::registry::catalog::{Catalog, FolderSight, ModelEntry, Unserved, VersionEntry};
use crate::registry::pbtxt::ModelConfig;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Component, Path};
use std::time::{Duration, Instant, SystemTime};

/// What one load call supplies.
#[derive(Default)]
pub(crate) struct Supply {
    /// Takes the place of `config.pbtxt`.
    pub config: Option<ModelConfig>,
    /// Take the place of the model's folder, if there are any.
    pub files: Vec<SuppliedFile>,
}

/// A file of a model, such as `1/model.onnx`.
pub(crate) struct SuppliedFile {
    /// Relative to the model's folder.
    path: String,
    bytes: Bytes,
}

impl SuppliedFile {
    /// Takes a file. Refuses a path that leads out of the model's folder, or is too long.
    pub(crate) fn new(path: String, bytes: Bytes) -> Result<Self> {
        let parts: Vec<Component<'_>> = Path::new(&path).components().collect();
        let is_name = |part: &Component<'_>| {
            let name = part.as_os_str().as_encoded_bytes();
            let is_plain = matches!(part, Component::Normal(_)) && !name.starts_with(b".");
            is_plain && name.len() <= NAME_BYTES_MAX && !name.iter().any(u8::is_ascii_control)
        };
        let depths = 1..=walk::DEPTH_MAX + 1;
        // In its one spelling: without '.', and no '/' too many.
        let is_exact = parts
            .iter()
            .map(|part| part.as_os_str().len() + 1)
            .sum::<usize>()
            == path.len() + 1;
        if !depths.contains(&parts.len())
            || !is_exact
            || !parts.iter().all(is_name)
            || path == CONFIG_FILE
        {
            return Err(Error::invalid(format!(
                "file '{}' is refused: a file has a path in the model's folder such as 1/model.onnx, and the \
                 configuration is the parameter 'config'",
                short(&path)
            )));
        }
        Ok(Self { path, bytes })
    }
}

impl Supply {
    /// Refuses files that cannot lie in one folder, and two folders of one version.
    fn check(&self) -> Result<()> {
        let refuse = |one: &str, other: &str, why: &str| {
            let (one, other) = (short(one), short(other));
            Err(Error::invalid(format!("files '{one}' and '{other}' {why}")))
        };
        let mut paths: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        let mut folders: BTreeMap<Version, &str> = BTreeMap::new();
        for path in &paths {
            for (at, _) in path.match_indices('/') {
                if paths.binary_search(&&path[..at]).is_ok() {
                    return refuse(
                        &path[..at],
                        path,
                        "cannot both be: one is the folder of the other",
                    );
                }
            }
            let first = path.split_once('/').map(|(folder, _)| folder);
            let version = first.and_then(|folder| number_of(OsStr::new(folder)));
            if let (Some(folder), Some(version)) = (first, version) {
                let known = folders.entry(version).or_insert(path);
                let other = known.split_once('/').map_or("", |(folder, _)| folder);
                if other != folder {
                    return refuse(known, path, "are of the same version; name its folder once");
                }
            }
        }
        match paths.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => refuse(pair[0], pair[1], "are given twice"),
            None => Ok(()),
        }
    }

    /// Whether it supplies nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.config.is_none() && self.files.is_empty()
    }
}

/// The longest name of a file or folder.
const NAME_BYTES_MAX: usize = 255;

/// What is supplied for each model.
pub(crate) struct Supplied {
    models: BTreeMap<ModelName, SuppliedModel>,
    /// What the catalogue had of a model until the last load call.
    before: Option<(ModelName, ModelEntry)>,
    /// The most bytes of all files. With 0 nothing may be supplied.
    bytes_max: usize,
}

/// What is supplied for one model.
pub(crate) struct SuppliedModel {
    config: Option<ModelConfig>,
    files: Option<SuppliedFiles>,
    /// What the last scan made of it.
    entry: ModelEntry,
}

struct SuppliedFiles {
    directory: Box<Directory>,
    /// Deleted with this.
    folder: PrivateFolder,
    bytes: usize,
}

impl Supplied {
    /// Nothing is supplied yet; at most `bytes_max` may be.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            models: BTreeMap::new(),
            before: None,
            bytes_max,
        }
    }

    /// Takes what a load call supplies for a model, in place of what an earlier one supplied, which is
    /// returned.
    pub(super) fn put(
        &mut self,
        name: &ModelName,
        supply: Supply,
        copies: Option<&Copies>,
    ) -> Result<Option<SuppliedModel>> {
        if supply.is_empty() {
            return Ok(self.models.remove(name));
        }
        supply.check()?;
        if self.bytes_max == 0 {
            return Err(Error::precondition(
                "load calls may not supply a configuration or files: models.upload_bytes is 0",
            ));
        }

        let files = match supply.files.is_empty() {
            true => None,
            false => Some(self.keep(name, &supply.files, copies)?),
        };
        let supplied = SuppliedModel {
            config: supply.config,
            files,
            entry: ModelEntry::default(),
        };
        Ok(self.models.insert(name.clone(), supplied))
    }

    /// Puts back what was supplied before.
    pub(super) fn put_back(&mut self, name: &ModelName, before: Option<SuppliedModel>) {
        match before {
            Some(before) => drop(self.models.insert(name.clone(), before)),
            None => drop(self.models.remove(name)),
        }
    }

    fn keep(
        &self,
        name: &ModelName,
        files: &[SuppliedFile],
        copies: Option<&Copies>,
    ) -> Result<SuppliedFiles> {
        let copies = copies.ok_or_else(|| {
            Error::precondition("no folder is known for the files; set models.weights_cache")
        })?;
        let bytes = files.iter().map(|file| file.bytes.len()).sum::<usize>();
        let others = self.models.iter().filter(|(other, _)| *other != name);
        let files_of = |model: &SuppliedModel| model.files.as_ref().map_or(0, |files| files.bytes);
        let kept: usize = others.map(|(_, model)| files_of(model)).sum();
        let bytes_max = self.bytes_max;
        if bytes > bytes_max.saturating_sub(kept) {
            return Err(Error::overloaded(format!(
                "the files have {bytes} bytes, and those of other models {kept}; the limit is {bytes_max} \
                 (models.upload_bytes)"
            )));
        }

        let folder = copies.folder()?;
        for file in files {
            folder.write(Path::new(&file.path), &file.bytes)?;
        }
        let path = ServedPath::Model(folder.supplied(), name.clone());
        check_served(&path, name)?;
        let copies = Some(copies.clone());
        // The files are complete.
        let directory = Directory::new(
            path,
            Duration::ZERO,
            Duration::ZERO,
            copies,
            Refusals::default(),
        );
        Ok(SuppliedFiles {
            directory: Box::new(directory),
            folder,
            bytes,
        })
    }

    /// The versions of a model until now, which go on until others take their place.
    pub(super) fn keep_before(&mut self, name: &ModelName, last: &Catalog) {
        let supplied = self.models.get(name).map(|model| &model.entry);
        let entry = supplied.or_else(|| last.models.get(name));
        self.before = entry.map(|entry| (name.clone(), entry.clone()));
    }

    /// Replaces what a catalogue has of the models for which something is supplied.
    pub(super) fn apply(&mut self, catalog: &mut Catalog, now: SystemTime, instant: Instant) {
        for (name, model) in &mut self.models {
            if let Some(files) = &mut model.files {
                let mut own = files.directory.scan(now, instant);
                let entry = own.models.remove(name).unwrap_or_default();
                catalog.models.insert(name.clone(), entry);
                catalog.unserved.append(&mut own.unserved);
            }
            if let (Some(config), Some(entry)) = (&model.config, catalog.models.get_mut(name)) {
                configure(entry, config);
            }
            model.entry = catalog.models.get(name).cloned().unwrap_or_default();
        }
        if let Some((name, before)) = self.before.take() {
            keep_missing(catalog.models.entry(name).or_default(), before);
        }
    }

    /// The directory of the supplied files that a model file is among.
    pub(super) fn directory_of(&self, model_path: &Path) -> Option<&Directory> {
        let files = self
            .models
            .values()
            .filter_map(|model| model.files.as_ref());
        let mut files = files.filter(|files| model_path.starts_with(files.folder.supplied()));
        files.next().map(|files| &*files.directory)
    }
}

/// Refuses files among which no model is found.
fn check_served(path: &ServedPath, name: &ModelName) -> Result<()> {
    let found = look::all(path, Links::Inside, &Look::default()).catalog;
    if found
        .models
        .get(name)
        .is_some_and(|model| !model.versions.is_empty())
    {
        return Ok(());
    }
    let reason = found.unserved.first().map(Unserved::explanation);
    let reason = reason.unwrap_or_else(|| "put the model at file:1/model.onnx".to_owned());
    Err(Error::precondition(format!(
        "the files have no model: {reason}"
    )))
}

/// Gives a model a configuration, with the label files of its folder.
fn configure(entry: &mut ModelEntry, config: &ModelConfig) {
    let mut versions = entry.versions.values();
    let folder = versions.find_map(|version| version.model_path.parent()?.parent());
    let filled = match folder {
        Some(folder) => {
            let root = Root {
                path: folder,
                links: Links::Inside,
            };
            class_labels::filled(root, folder, config.clone())
        }
        None => Ok(config.clone()),
    };
    match filled {
        Ok(config) => (entry.config, entry.problem) = (Some(config), None),
        Err(error) => entry.problem = Some(error.context("load parameter 'config'").message),
    }
}

/// Adds versions that were there before and are not now. A second scan does not have them.
fn keep_missing(entry: &mut ModelEntry, before: ModelEntry) {
    for (version, last) in before.versions {
        let missing = VersionEntry {
            sight: FolderSight::Missing,
            ..last
        };
        entry.versions.entry(version).or_insert(missing);
    }
}
