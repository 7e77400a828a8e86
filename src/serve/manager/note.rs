//! Compares what the source lists of a model with its loaded versions. Loads and unloads nothing:
//! it only notes new versions, new files and the reasons for warnings.

use super::actual::Actual;
use super::revision::{CHANGED_IN_PLACE, Revision};
use super::settle::count_failure;
use super::{Loop, ManagerParts, ServingState};
use crate::core::error::Kind;
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::registry::catalog::{FolderSight, ModelEntry, VersionEntry};
use crate::registry::directory::VersionDigests;

const FOLDER_GONE: &str = "its folder is gone, or the model file in it; the loaded version keeps serving until another version of the model is ready";

const MODEL_GONE: &str = "its folder is gone, or the model file in it, and the model has no other version; the loaded version keeps serving until a second look does not see it either";

impl Loop {
    /// Notes which versions of a model the source has.
    pub(super) fn note_entry(&mut self, name: &ModelName, entry: Option<&ModelEntry>) {
        let is_wanted = self.is_wanted(name);
        let versions = self.models.entry(name.clone()).or_default();
        let found = |version: &Version| {
            let found = entry.and_then(|e| e.versions.get(version));
            found.filter(|f| f.sight != FolderSight::Missing)
        };
        let source = &mut self.parts.source;
        versions.retain(|version, actual| {
            let stays = actual.servable.is_some() || found(version).is_some();
            if !stays {
                // Files that come later under this number are a new version.
                source.forget(name, Some(*version));
            }
            stays
        });

        let is_seen = |found: &VersionEntry| found.sight != FolderSight::Missing;
        let has_other = entry.is_some_and(|e| e.versions.values().any(is_seen));
        let gone = if has_other { FOLDER_GONE } else { MODEL_GONE };
        for (version, actual) in versions.iter_mut() {
            match found(version) {
                // After an unload call the folder is of no interest.
                None if !is_wanted => {}
                None => {
                    if actual.warn(gone) {
                        let version = version.number();
                        tracing::warn!(model = name.as_str(), version, warning = gone);
                    }
                }
                Some(found) => compare(&mut self.parts, actual, name, *version, found),
            }
        }

        for (version, found) in entry.into_iter().flat_map(|e| &e.versions) {
            if found.sight != FolderSight::Missing && !versions.contains_key(version) {
                let mut actual = Actual::new(found.files.clone());
                if let FolderSight::Unreadable(reason) = &found.sight {
                    actual.state = ServingState::Failed(reason.clone());
                }
                versions.insert(*version, actual);
            }
        }
    }
}

/// Compares a version with its files, which may have changed.
fn compare(
    parts: &mut ManagerParts,
    actual: &mut Actual,
    name: &ModelName,
    version: Version,
    found: &VersionEntry,
) {
    if let FolderSight::Unreadable(reason) = &found.sight {
        // The directory logs the trouble, once for all versions that it concerns.
        actual.warning = Some(format!("{reason}; the loaded version keeps serving"));
        return;
    }

    actual.warning = None;
    actual.is_changing = false;
    if actual.files == found.files {
        actual.revision = None;
        return;
    }
    if actual.servable.is_none() {
        *actual = Actual::new(found.files.clone());
        return;
    }
    let known = actual.revision.as_ref().map(|revision| &revision.files);
    if known == Some(&found.files) {
        return;
    }
    actual.is_changing = !found.settled;
    if !found.settled {
        return;
    }

    // Other times and other files do not matter, only other bytes of the files that the model uses.
    match parts.source.digests(found) {
        Ok(now) if now.is_some_and(|now| is_same(actual, now)) => {
            actual.files = found.files.clone();
            actual.revision = None;
        }
        // They changed once more, and are compared at the next look.
        Err(error) if error.kind == Kind::Unavailable => actual.is_changing = true,
        now => {
            let (now, files) = (now.ok().flatten(), found.files.clone());
            let before = actual.revision.take();
            let used = now.map(|now| now.used);
            let (revision, is_news) = Revision::judge(before, files, used, parts.in_place);
            if revision.refused.is_none() {
                actual.told = None;
            }
            actual.revision = Some(revision);
            if is_news {
                tracing::error!(
                    model = name.as_str(),
                    version = version.number(),
                    reason = CHANGED_IN_PLACE,
                    "version refused"
                );
                count_failure(&parts.metrics, name);
            }
            if let Some(now) = now.filter(|_| is_news) {
                let bytes = refused_bytes(actual, now);
                parts.source.refuse(name, version, bytes);
            }
        }
    }
}

fn is_same(actual: &Actual, now: VersionDigests) -> bool {
    actual.digests.is_some_and(|loaded| loaded.used == now.used)
}

/// Returns the digest of what must not serve: the model, whatever files come beside it later; or, if
/// the model is the loaded one, all files together.
fn refused_bytes(actual: &Actual, now: VersionDigests) -> Digest {
    let is_model_loaded = actual
        .digests
        .is_some_and(|loaded| loaded.model == now.model);
    if is_model_loaded { now.used } else { now.model }
}
