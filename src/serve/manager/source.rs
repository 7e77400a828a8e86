//! Where the wanted versions come from: a directory that is scanned, a list of such directories, or a registry that
//! is followed. Each gives a catalogue.

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::observe::metrics::Metrics;
use crate::registry::catalog::{Catalog, VersionEntry};
use crate::registry::directory::listed::ListedModels;
use crate::registry::directory::supplied::{SuppliedModel, Supply};
use crate::registry::directory::{Directory, Loaded, VersionDigests};
use crate::registry::follow::Follower;
use crate::registry::pbtxt::model_list::ModelList;
use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

/// A directory, a list of models with folders, or a registry.
pub(crate) enum ModelSource {
    Directory(Box<Directory>),
    Listed(Box<ListedModels>),
    Registry(Box<Follower>),
}

/// One moment on both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Wall time, to compare with the times of files.
    pub wall: SystemTime,
    /// Monotonic time, for everything else.
    pub instant: Instant,
}

impl ModelSource {
    /// Reads the source. `has_news` says that a change is known, so
    /// that a registry is read at once.
    pub(super) fn scan(&mut self, metrics: &Metrics, moment: Moment, has_news: bool) -> Catalog {
        let Moment { wall, instant } = moment;
        match self {
            Self::Directory(directory) => {
                let catalog = directory.scan(wall, instant);
                measure(metrics, directory.trouble_count(), &catalog);
                catalog
            }
            Self::Listed(models) => {
                let catalog = models.scan(wall, instant);
                let trouble = models.directories().map(|d| d.trouble_count()).sum();
                measure(metrics, trouble, &catalog);
                catalog
            }
            Self::Registry(follower) => {
                follower.poll(instant, has_news);
                let standing = follower.status();
                metrics
                    .registry
                    .entry
                    .set(i64::try_from(standing.seq).unwrap_or(i64::MAX));
                metrics
                    .registry
                    .refused
                    .set(i64::from(standing.refused.is_some() && !standing.silent));
                metrics
                    .registry
                    .staleness_seconds
                    .set(follower.staleness(instant).as_secs_f64());
                follower.scan(instant)
            }
        }
    }

    /// Logs what is not served, at the end of the start.
    pub(super) fn log_unserved(&mut self) {
        match self {
            Self::Directory(directory) => directory.log_unserved(),
            Self::Listed(models) => models.directories().for_each(Directory::log_unserved),
            Self::Registry(_) => {}
        }
    }

    /// Whether the last scan could read the source. A registry is read from its cache while its
    /// store does not answer.
    pub(super) fn is_readable(&self) -> bool {
        match self {
            Self::Directory(directory) => directory.is_readable(),
            // The models of other folders serve.
            Self::Listed(_) | Self::Registry(_) => true,
        }
    }

    /// Reads a version into memory and verifies it.
    pub(super) fn read(
        &self,
        name: &ModelName,
        version: Version,
        entry: &VersionEntry,
    ) -> Result<Loaded> {
        match self {
            Self::Registry(follower) => follower.read(name, version),
            _ => self.directory(name)?.read(entry),
        }
    }

    /// Returns the digests of a version in a directory as its files are now; none for a registry,
    /// whose versions never change.
    pub(super) fn digests(
        &self,
        name: &ModelName,
        entry: &VersionEntry,
    ) -> Result<Option<VersionDigests>> {
        match self {
            Self::Registry(_) => Ok(None),
            _ => self.directory(name)?.digests(entry).map(Some),
        }
    }

    /// The directory with the files of a model.
    fn directory(&self, name: &ModelName) -> Result<&Directory> {
        let found = match self {
            Self::Directory(directory) => Some(&**directory),
            Self::Listed(models) => models.directory(name),
            Self::Registry(_) => None,
        };
        found.ok_or_else(|| Error::unavailable("its folder is no longer on the list of models"))
    }

    /// The directory with the files of a model; none for a registry, or for a model that is not listed.
    fn directory_mut(&mut self, name: &ModelName) -> Option<&mut Directory> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Listed(models) => models.directory_mut(name),
            Self::Registry(_) => None,
        }
    }

    /// Remembers bytes that were refused because the version serves others.
    pub(super) fn refuse(&mut self, name: &ModelName, version: Version, bytes: Digest) {
        if let Some(directory) = self.directory_mut(name) {
            directory.refusals.add(name, version, bytes);
        }
    }

    /// Tells whether these bytes were refused before, those of the model or all that it uses.
    pub(super) fn was_refused(
        &self,
        name: &ModelName,
        version: Version,
        found: VersionDigests,
    ) -> bool {
        self.directory(name).is_ok_and(|directory| {
            [found.model, found.used]
                .iter()
                .any(|bytes| directory.refusals.contains(name, version, *bytes))
        })
    }

    /// Forgets that bytes were refused, because they serve now.
    pub(super) fn accept(&mut self, name: &ModelName, version: Version, served: VersionDigests) {
        if let Some(directory) = self.directory_mut(name) {
            directory.refusals.accept(name, version, served.model);
            directory.refusals.accept(name, version, served.used);
        }
    }

    /// Forgets what was refused for a version that is gone, or for every version of a model.
    pub(super) fn forget(&mut self, name: &ModelName, version: Option<Version>) {
        if let Some(directory) = self.directory_mut(name) {
            directory.refusals.forget(name, version);
        }
    }

    /// Takes what a load call supplies for a model until the next one. Returns what an earlier one
    /// supplied.
    pub(super) fn supply(
        &mut self,
        name: &ModelName,
        supply: Supply,
    ) -> Result<Option<SuppliedModel>> {
        match self.directory_mut(name) {
            Some(directory) => directory.supply(name, supply),
            None if supply.is_empty() => Ok(None),
            None => Err(Error::precondition(format!(
                "model '{name}' is not on the list of models, and only listed ones can be supplied"
            ))),
        }
    }

    /// Whether a model is there, beside what load calls supplied.
    pub(super) fn has(&self, name: &ModelName) -> bool {
        match self {
            Self::Directory(directory) => directory.has(name),
            Self::Listed(models) => models.directory(name).is_some_and(|own| own.has(name)),
            Self::Registry(_) => true,
        }
    }

    /// Replaces the list of models, but for labels.
    pub(super) fn relist(&mut self, list: &ModelList) -> Result<()> {
        match self {
            Self::Listed(models) => models.set(list),
            _ => Err(Error::precondition(
                "the server serves no list of models; start it with --model_config_file (models.config_file)",
            )),
        }
    }

    /// Whether a list leaves a model out on purpose.
    pub(super) fn leaves_out(&self, name: &ModelName) -> bool {
        matches!(self, Self::Listed(models) if !models.has(name))
    }

    /// Takes the labels of a list of models.
    pub(super) fn label(&mut self, list: &ModelList) {
        if let Self::Listed(models) = self {
            models.label(list);
        }
    }

    /// Puts back what an earlier load call supplied for a model.
    pub(super) fn put_back(&mut self, name: &ModelName, before: Option<SuppliedModel>) {
        if let Some(directory) = self.directory_mut(name) {
            directory.put_back(name, before);
        }
    }

    /// Deletes cached copies that neither aliases nor servables need.
    pub(super) fn clean_cache(&self, serving: BTreeSet<Digest>) {
        if let Self::Registry(follower) = self {
            follower.clean_cache(&serving);
        }
    }

    /// Publishes the state of this server to the fleet, once changes are in effect.
    pub(super) fn report_status(&mut self, now: Instant) {
        if let Self::Registry(follower) = self {
            follower.publish(now);
        }
    }

    /// Returns the last applied log entry; none for a directory.
    pub(super) fn entry(&self) -> Option<u64> {
        match self {
            Self::Directory(_) | Self::Listed(_) => None,
            Self::Registry(follower) => Some(follower.status().seq),
        }
    }
}

fn measure(metrics: &Metrics, trouble: usize, catalog: &Catalog) {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.directory.trouble.set(count(trouble));
    metrics
        .directory
        .unserved
        .set(count(catalog.unserved.len()));
}
