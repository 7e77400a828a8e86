//! The models of a list, each with a folder of its own, as one catalogue. Follows the file of the list, if there
//! is one.

use super::copies::Copies;
use super::refusals::Refusals;
use super::served_path::ServedPath;
use super::{Directory, read, walk};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::registry::catalog::{Catalog, FileStamp};
use crate::registry::pbtxt::CONFIG_BYTES_MAX;
use crate::registry::pbtxt::model_list::{ListEntry, ModelList};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What the folders of all models have in common.
pub(crate) struct DirectoryOptions {
    /// Files that did not change for so long are complete.
    pub settle: Duration,
    /// After which a folder without any version is taken for emptied.
    pub empty_delay: Duration,
    /// Where external data is copied to.
    pub copies: Option<Copies>,
    /// Where servers remember what they refused.
    pub refusals: Option<PathBuf>,
    /// The most bytes that load calls may supply.
    pub upload_bytes: usize,
    /// Whether links may lead out of a model's folder.
    pub follow_links: bool,
}

impl DirectoryOptions {
    /// Returns the directory of a path.
    pub(crate) fn directory(&self, path: ServedPath, told: &Path) -> Directory {
        let refusals = Refusals::open(self.refusals.as_deref(), told);
        let copies = self.copies.clone();
        let directory = Directory::new(path, self.settle, self.empty_delay, copies, refusals)
            .accept_supplies(self.upload_bytes);
        match self.follow_links {
            true => directory.follow_links(),
            false => directory,
        }
    }
}

/// The listed models.
pub(crate) struct ListedModels {
    models: BTreeMap<ModelName, FolderOfModel>,
    options: DirectoryOptions,
    file: ListFile,
}

struct FolderOfModel {
    listed: ListEntry,
    directory: Directory,
}

/// The file of a list.
struct ListFile {
    path: PathBuf,
    /// As it was when it was read last.
    stamp: Option<FileStamp>,
}

impl ListedModels {
    /// Reads the file of a list. Refuses one that is malformed, or that names a folder that cannot be read.
    pub(crate) fn open(path: PathBuf, options: DirectoryOptions) -> Result<Self> {
        let mut models = Self {
            models: BTreeMap::new(),
            options,
            file: ListFile { path, stamp: None },
        };
        models.file.stamp = models.file.look();
        let list = models.file.read()?;
        models.set(&list)?;
        models.label(&list);
        Ok(models)
    }

    /// Replaces the list, but for the labels: a model that stays has those that it had. Changes nothing if a folder
    /// cannot be read.
    pub(crate) fn set(&mut self, list: &ModelList) -> Result<()> {
        let mut paths = Vec::new();
        for (name, listed) in &list.0 {
            let known = self.models.get(name);
            if known.is_none_or(|known| known.listed.folder != listed.folder) {
                let path = ServedPath::find(listed.folder.clone(), Some(name.as_str()));
                let path = path.map_err(|e| e.context(format!("model '{name}'")))?;
                paths.push((name.clone(), path, listed));
            }
        }

        self.models.retain(|name, _| list.0.contains_key(name));
        for (name, path, listed) in paths {
            let directory = self.options.directory(path, &listed.folder);
            let labels = self.models.remove(&name).map(|known| known.listed.labels);
            let listed = ListEntry {
                labels: labels.unwrap_or_default(),
                ..listed.clone()
            };
            self.models
                .insert(name, FolderOfModel { listed, directory });
        }
        for (name, known) in &mut self.models {
            known.listed.versions = list.0[name].versions.clone();
        }
        Ok(())
    }

    /// Whether the list has a model.
    pub(crate) fn has(&self, name: &ModelName) -> bool {
        self.models.contains_key(name)
    }

    /// Takes the labels of a list for the models that are served.
    pub(crate) fn label(&mut self, list: &ModelList) {
        for (name, listed) in &list.0 {
            if let Some(known) = self.models.get_mut(name) {
                known.listed.labels.clone_from(&listed.labels);
            }
        }
    }

    /// Scans the folder of each model, as [`Directory::scan`] does.
    pub(crate) fn scan(&mut self, now: SystemTime, instant: Instant) -> Catalog {
        self.follow_file();
        let mut all = Catalog::default();
        for (name, FolderOfModel { listed, directory }) in &mut self.models {
            let mut own = directory.scan(now, instant);
            let mut entry = own.models.remove(name).unwrap_or_default();
            if let Some(versions) = &listed.versions {
                let config = entry.config.get_or_insert_default();
                config.version_policy = Some(versions.clone());
            }
            entry.labels.clone_from(&listed.labels);
            all.models.insert(name.clone(), entry);
            all.unserved.append(&mut own.unserved);
        }
        all
    }

    /// The directory of a model.
    pub(crate) fn directory(&self, name: &ModelName) -> Option<&Directory> {
        self.models.get(name).map(|known| &known.directory)
    }

    /// The directory of a model.
    pub(crate) fn directory_mut(&mut self, name: &ModelName) -> Option<&mut Directory> {
        self.models.get_mut(name).map(|known| &mut known.directory)
    }

    /// The directories of all models.
    pub(crate) fn directories(&mut self) -> impl Iterator<Item = &mut Directory> {
        self.models.values_mut().map(|known| &mut known.directory)
    }

    /// Reads the file again if it is another than it was.
    fn follow_file(&mut self) {
        let stamp = self.file.look();
        if stamp == self.file.stamp || stamp.is_none() {
            return;
        }
        self.file.stamp = stamp;
        let list = self.file.read();
        let set = list.and_then(|list| self.set(&list).map(|()| list));
        match set {
            Ok(list) => {
                self.label(&list);
                tracing::info!(models = list.0.len(), "the list of models was read again");
            }
            Err(error) => {
                tracing::error!(%error, "the list of models is refused; what was listed before is served");
            }
        }
    }
}

impl ListFile {
    fn look(&self) -> Option<FileStamp> {
        let metadata = self.path.metadata().ok()?;
        Some(walk::stamp(self.path.clone(), &metadata))
    }

    fn read(&self) -> Result<ModelList> {
        let read = || {
            let bytes = read::whole(&self.path, CONFIG_BYTES_MAX)?;
            let text =
                std::str::from_utf8(&bytes).map_err(|_| Error::invalid("it is not UTF-8"))?;
            ModelList::read(text)
        };
        let path = self.path.display();
        read().map_err(|e: Error| e.context(format!("the list of models '{path}'")))
    }
}
