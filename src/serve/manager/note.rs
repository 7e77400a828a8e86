//! Compares what the source lists of a model with its loaded versions. Loads and unloads nothing:
//! it only notes new versions, new files and the reasons for warnings.

use super::actual::Actual;
use super::revision::Revision;
use super::settle::count_failure;
use super::unread::UnreadFiles;
use super::{Loop, ManagerParts, ServingState};
use crate::core::error::{Kind, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::registry::catalog::{FolderSight, ModelEntry, VersionEntry};
use crate::registry::directory::VersionDigests;
use crate::serve::settings::InPlace;
use std::time::Instant;

const FOLDER_GONE: &str = "its folder is gone, or the model file in it; the loaded version keeps serving until another version of the model is ready";

const MODEL_GONE: &str = "its folder is gone, or the model file in it, and the model has no other version; the loaded version keeps serving until a second look does not see it either";

impl Loop {
    /// Notes which versions of a model the source has.
    pub(super) fn note_entry(
        &mut self,
        name: &ModelName,
        entry: Option<&ModelEntry>,
        now: Instant,
    ) {
        // A version that somebody wants gone is not missed.
        let is_missed = self.is_wanted(name) && !self.parts.source.leaves_out(name);
        let in_place = self.in_place(name);
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
                None if !is_missed => {}
                None => {
                    if actual.warn(gone) {
                        let version = version.number();
                        tracing::warn!(model = name.as_str(), version, warning = gone);
                    }
                }
                Some(found) => {
                    let sighting = Sighting {
                        name,
                        version: *version,
                        found,
                        now,
                        in_place,
                    };
                    compare(&mut self.parts, actual, &sighting);
                }
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

/// What a look saw of one version.
struct Sighting<'s> {
    name: &'s ModelName,
    version: Version,
    found: &'s VersionEntry,
    now: Instant,
    /// What happens to other bytes.
    in_place: InPlace,
}

/// Compares a version with its files, which may have changed.
fn compare(parts: &mut ManagerParts, actual: &mut Actual, sighting: &Sighting<'_>) {
    let Sighting {
        name,
        version,
        found,
        now,
        ..
    } = *sighting;
    if let FolderSight::Unreadable(reason) = &found.sight {
        // The directory logs the trouble, once for all versions that it concerns.
        actual.warning = Some(format!("{reason}; the loaded version keeps serving"));
        return;
    }

    actual.warning = None;
    if actual.servable.is_none() && actual.files != found.files {
        *actual = Actual::new(found.files.clone());
        return;
    }
    let known = actual.revision.as_ref().map(|revision| &revision.files);
    if actual.files == found.files || known == Some(&found.files) {
        if actual.files == found.files {
            actual.revision = None;
        }
        actual.is_changing = false;
        note_unread(actual, name, version, None);
        return;
    }
    let waits = |unread: &UnreadFiles| unread.waits(&found.files, now);
    if actual.unread.as_ref().is_some_and(waits) {
        return;
    }
    actual.is_changing = !found.settled;
    if !found.settled {
        return;
    }

    // Other times and other files do not matter, only other bytes of the files that the model uses.
    let digests = parts.source.digests(name, found);
    let error = digests.as_ref().err();
    let unread =
        error.and_then(|e| UnreadFiles::judge(actual.unread.as_ref(), &found.files, e, now));
    note_unread(actual, name, version, unread);
    match digests {
        Ok(now) if now.is_some_and(|now| is_same(actual, now)) => {
            actual.files = found.files.clone();
            actual.revision = None;
        }
        // They changed once more or cannot be read, and are compared at a later look.
        Err(error) if error.kind == Kind::Unavailable => actual.is_changing = true,
        changed => revise(parts, actual, sighting, changed),
    }
}

/// Notes that the files of a loaded version are no longer those that it was loaded from.
fn revise(
    parts: &mut ManagerParts,
    actual: &mut Actual,
    sighting: &Sighting<'_>,
    changed: Result<Option<VersionDigests>>,
) {
    let (name, version) = (sighting.name, sighting.version);
    let used = changed
        .as_ref()
        .map(|digests| digests.map(|digests| digests.used));
    let files = sighting.found.files.clone();
    let before = actual.revision.take();
    let (revision, is_news) = Revision::judge(before, files, used, sighting.in_place);

    match &revision.refused {
        None => actual.told = None,
        Some(refused) if is_news => {
            let (model, version, reason) = (name.as_str(), version.number(), &refused.reason);
            tracing::error!(model, version, reason, "version refused");
            count_failure(&parts.metrics, name);
        }
        Some(_) => {}
    }
    actual.revision = Some(revision);
    if let Some(digests) = changed.ok().flatten().filter(|_| is_news) {
        let bytes = refused_bytes(actual, digests);
        parts.source.refuse(name, version, bytes);
    }
}

/// Notes whether the files of a version can be read, and logs when that changes.
fn note_unread(
    actual: &mut Actual,
    name: &ModelName,
    version: Version,
    unread: Option<UnreadFiles>,
) {
    let (model, version) = (name.as_str(), version.number());
    match (&actual.unread, &unread) {
        (None, Some(UnreadFiles { reason, .. })) => {
            tracing::error!(
                model,
                version,
                reason,
                "files of a loaded version in trouble"
            );
        }
        (Some(_), None) => {
            tracing::info!(model, version, "files of a loaded version in order again");
        }
        _ => {}
    }
    actual.unread = unread;
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
