//! Compares what the source lists of a model with its loaded versions. Loads and unloads nothing:
//! it only notes new versions, new files and the reasons for warnings.

use super::actual::Actual;
use super::settle::count_failure;
use super::{Loop, ManagerParts, ServingState};
use crate::core::error::Kind;
use crate::core::model::{ModelName, Version};
use crate::registry::catalog::{FolderSight, ModelEntry, VersionEntry};

const CHANGED_IN_PLACE: &str = "its files changed after it was loaded; the loaded version keeps serving; put new files under a new version";
const FOLDER_GONE: &str = "its folder is gone; the loaded version keeps serving until another version of the model is ready";

impl Loop {
    /// Notes which versions of a model the source has.
    pub(super) fn note_entry(&mut self, name: &ModelName, entry: Option<&ModelEntry>) {
        let is_wanted = self.is_wanted(name);
        let versions = self.models.entry(name.clone()).or_default();
        let found = |version: &Version| {
            let found = entry.and_then(|e| e.versions.get(version));
            found.filter(|f| f.sight != FolderSight::Missing)
        };
        versions.retain(|version, actual| actual.servable.is_some() || found(version).is_some());

        for (version, actual) in versions.iter_mut() {
            match found(version) {
                // After an unload call the folder is of no interest.
                None if !is_wanted => {}
                None => {
                    if actual.warn(FOLDER_GONE) {
                        let version = version.number();
                        tracing::warn!(model = name.as_str(), version, warning = FOLDER_GONE);
                    }
                }
                Some(found) => compare(&self.parts, actual, name, *version, found),
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
    parts: &ManagerParts,
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

    if actual.files == found.files {
        actual.warning = None;
        return;
    }
    if actual.servable.is_none() {
        *actual = Actual::new(found.files.clone());
        return;
    }
    let is_judged = actual.judged.as_ref() == Some(&found.files);
    if !found.settled || (is_judged && actual.is_warned(CHANGED_IN_PLACE)) {
        return;
    }

    // Other times and other files do not matter, only other bytes of the files that the model uses.
    match parts.source.digest_used(found) {
        Ok(used) if used.is_some() && used == actual.used => {
            actual.files = found.files.clone();
            actual.warning = None;
        }
        // They changed once more, and are compared at the next look.
        Err(error) if error.kind == Kind::Unavailable => {}
        Ok(_) | Err(_) => {
            actual.judged = Some(found.files.clone());
            if actual.warn(CHANGED_IN_PLACE) {
                tracing::error!(
                    model = name.as_str(),
                    version = version.number(),
                    warning = CHANGED_IN_PLACE,
                    "version refused"
                );
                count_failure(&parts.metrics, name);
            }
        }
    }
}
