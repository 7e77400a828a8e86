//! Where the wanted versions come from: a directory that is scanned, or a registry that is
//! followed. Both give a catalogue.

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::observe::metrics::Metrics;
use crate::registry::catalog::{Catalog, VersionEntry};
use crate::registry::directory::supplied::{SuppliedModel, Supply};
use crate::registry::directory::{Directory, Loaded, VersionDigests};
use crate::registry::follow::Follower;
use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

/// A directory or a registry.
pub(crate) enum ModelSource {
    Directory(Box<Directory>),
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
                let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
                metrics
                    .directory
                    .trouble
                    .set(count(directory.trouble_count()));
                metrics
                    .directory
                    .unserved
                    .set(count(catalog.unserved.len()));
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
        if let Self::Directory(directory) = self {
            directory.log_unserved();
        }
    }

    /// Whether the last scan could read the source. A registry is read from its cache while its
    /// store does not answer.
    pub(super) fn is_readable(&self) -> bool {
        match self {
            Self::Directory(directory) => directory.is_readable(),
            Self::Registry(_) => true,
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
            Self::Directory(directory) => directory.read(entry),
            Self::Registry(follower) => follower.read(name, version),
        }
    }

    /// Returns the digests of a version in a directory as its files are now; none for a registry,
    /// whose versions never change.
    pub(super) fn digests(&self, entry: &VersionEntry) -> Result<Option<VersionDigests>> {
        match self {
            Self::Directory(directory) => directory.digests(entry).map(Some),
            Self::Registry(_) => Ok(None),
        }
    }

    /// Remembers bytes that were refused because the version serves others.
    pub(super) fn refuse(&mut self, name: &ModelName, version: Version, bytes: Digest) {
        if let Self::Directory(directory) = self {
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
        match self {
            Self::Directory(directory) => [found.model, found.used]
                .iter()
                .any(|bytes| directory.refusals.contains(name, version, *bytes)),
            Self::Registry(_) => false,
        }
    }

    /// Forgets that bytes were refused, because they serve now.
    pub(super) fn accept(&mut self, name: &ModelName, version: Version, served: VersionDigests) {
        if let Self::Directory(directory) = self {
            directory.refusals.accept(name, version, served.model);
            directory.refusals.accept(name, version, served.used);
        }
    }

    /// Forgets what was refused for a version that is gone, or for every version of a model.
    pub(super) fn forget(&mut self, name: &ModelName, version: Option<Version>) {
        if let Self::Directory(directory) = self {
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
        match self {
            Self::Directory(directory) => directory.supply(name, supply),
            Self::Registry(_) => Err(Error::precondition(
                "what a registry holds is loaded, and nothing else",
            )),
        }
    }

    /// Puts back what an earlier load call supplied for a model.
    pub(super) fn put_back(&mut self, name: &ModelName, before: Option<SuppliedModel>) {
        if let Self::Directory(directory) = self {
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
            Self::Directory(_) => None,
            Self::Registry(follower) => Some(follower.status().seq),
        }
    }
}
