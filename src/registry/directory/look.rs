//! One look at a model directory: its models, what cannot be looked into, and what is not served.
//! Compares with the look before, so that a failing file system is not taken for a deletion.

use super::unserved::{self, Unlisted};
use super::{CONFIG_FILE, MODEL_FILE, MODELS_MAX, VERSIONS_MAX, config, walk};
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::registry::catalog::{Catalog, Fingerprint, FolderSight, ModelEntry, VersionEntry};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, Instant};

/// What one look saw.
#[derive(Default)]
pub(super) struct Look {
    pub catalog: Catalog,
    /// What could not be looked into, by its place in the directory, with the reason.
    pub trouble: BTreeMap<String, String>,
    /// Which folders the models are in, to notice that another folder took the place of one.
    folders: BTreeMap<String, walk::FolderId>,
    /// Since when all models are gone.
    empty_since: Option<Instant>,
}

/// The place of the directory itself among troubles and folders.
pub(super) const ROOT: &str = "";

/// Looks at the whole directory.
pub(super) fn all(root: &Path, last: &Look) -> Look {
    let mut look = Look::default();
    if let Err(error) = look.models(root, last) {
        look.catalog = kept(&last.catalog, &reason("the model directory", &error));
        look.folders = last.folders.clone();
        look.trouble = BTreeMap::from([(ROOT.to_owned(), reason("the model directory", &error))]);
    }
    look
}

impl Look {
    fn models(&mut self, root: &Path, last: &Self) -> Result<()> {
        // Resolved each time, because the directory may be a link whose target changes.
        let root = root
            .canonicalize()
            .map_err(|e| walk::failed("follow the path", e))?;
        let id = walk::searchable(&root)?;

        let names = walk::names(&root)?;
        if names.is_empty() && last.has_moved(ROOT, id) && !last.catalog.models.is_empty() {
            return Err(Error::unavailable(
                "an empty directory has taken its place, as when a mount is lost",
            ));
        }
        self.folders.insert(ROOT.to_owned(), id);

        for file_name in names {
            self.model(&root, &file_name, last)?;
        }
        Ok(())
    }

    fn model(&mut self, root: &Path, file_name: &OsStr, last: &Self) -> Result<()> {
        let path = root.join(file_name);
        let name = file_name
            .to_str()
            .and_then(|name| ModelName::parse(name).ok());
        let folder = walk::inside(root, &path).map(|f| f.filter(|path| path.is_dir()));
        let (name, folder) = match (name, folder) {
            (Some(name), Ok(Some(folder))) => (name, Ok(folder)),
            (Some(name), Err(error)) => (name, Err(error)),
            (name, folder) => {
                let is_folder = folder.ok().flatten().is_some();
                let why = unserved::of_model(&path, name.is_some(), is_folder);
                self.not_served(Unlisted::model(file_name), why);
                return Ok(());
            }
        };

        if self.catalog.models.len() == MODELS_MAX {
            return Err(Error::overloaded(format!(
                "it has over {MODELS_MAX} models"
            )));
        }
        let before = last.catalog.models.get(&name);
        let seen = folder.and_then(|folder| self.versions(root, &folder, &name, last));
        let entry = seen.unwrap_or_else(|error| {
            let what = reason("the model's folder", &error);
            self.trouble.insert(name.to_string(), what.clone());
            if before.is_none() {
                self.not_served(Unlisted::model(file_name), Some(what.clone()));
            }
            if let Some(id) = last.folders.get(name.as_str()) {
                self.folders.insert(name.to_string(), *id);
            }
            let mut entry = before.cloned().unwrap_or_default();
            keep(&mut entry, &what);
            entry.problem = Some(error.message);
            entry
        });
        self.catalog.models.insert(name, entry);
        Ok(())
    }

    /// Looks at the versions of one model.
    fn versions(
        &mut self,
        root: &Path,
        folder: &Path,
        name: &ModelName,
        last: &Self,
    ) -> Result<ModelEntry> {
        let id = walk::searchable(folder)?;
        let before = last.catalog.models.get(name);
        let (config, problem, stamp) = match config::read(root, folder, name)? {
            None => (None, None, None),
            Some((_, Ok(config))) => (Some(config), None, None),
            // Loaded versions keep the configuration that they were loaded with.
            Some((stamp, Err(e))) => (
                before.and_then(|l| l.config.clone()),
                Some(e.message),
                Some(stamp),
            ),
        };
        let mut entry = ModelEntry {
            versions: BTreeMap::new(),
            config,
            problem,
            pointers: None,
        };

        let mut names = walk::names(folder)?;
        let had = before.is_some_and(|b| !b.versions.is_empty());
        if names.is_empty() && had && last.has_moved(name.as_str(), id) {
            return Err(Error::unavailable(
                "an empty folder has taken its place, as when a mount is lost",
            ));
        }
        self.folders.insert(name.to_string(), id);

        names.retain(|n| n.as_os_str() != CONFIG_FILE);
        let mut unlisted = Vec::new();
        for file_name in &names {
            match Version::parse(&file_name.to_string_lossy()) {
                Ok(version) if entry.versions.len() < VERSIONS_MAX => {
                    let last = before.and_then(|b| b.versions.get(&version));
                    match version_at(root, &folder.join(file_name), &entry, last) {
                        Ok(Ok(mut found)) => {
                            // The fingerprint includes a refused configuration, so that a
                            // corrected one triggers another attempt.
                            found.files.0.extend(stamp.clone());
                            entry.versions.insert(version, found);
                        }
                        Ok(Err(why)) => unlisted.push((file_name, why)),
                        Err(error) => {
                            let what = reason("the version's folder", &error);
                            self.trouble
                                .insert(format!("{name}/{version}"), what.clone());
                            entry.versions.insert(version, unreadable(last, what));
                        }
                    }
                }
                Ok(_) => {
                    return Err(Error::overloaded(format!(
                        "the model has over {VERSIONS_MAX} versions"
                    )));
                }
                Err(_) => unlisted.push((file_name, unserved::of_entry(&folder.join(file_name)))),
            }
        }

        self.list_unserved(name, &entry, &names, unlisted);
        Ok(entry)
    }

    /// Lists what lies in a model's folder and is not served.
    fn list_unserved(
        &mut self,
        name: &ModelName,
        entry: &ModelEntry,
        names: &[OsString],
        unlisted: Vec<(&OsString, Option<String>)>,
    ) {
        let found = self.catalog.unserved.len();
        for (file_name, why) in unlisted {
            self.not_served(Unlisted::version(name, file_name), why);
        }

        let is_visible = |n: &OsString| !n.as_encoded_bytes().starts_with(b".");
        let says_nothing = self.catalog.unserved.len() == found;
        if entry.versions.is_empty() && says_nothing && names.iter().any(is_visible) {
            let empty = names
                .iter()
                .find_map(|n| Version::parse(&n.to_string_lossy()).ok());
            let file = model_file(entry);
            let why = match empty {
                Some(version) => {
                    format!("its version folder is empty; put the model at {name}/{version}/{file}")
                }
                None => format!("it has no version folder; put the model at {name}/1/{file}"),
            };
            self.not_served(Unlisted::model(OsStr::new(name.as_str())), Some(why));
        }
    }

    fn not_served(&mut self, what: Unlisted, why: Option<String>) {
        if let Some(why) = why {
            unserved::add(&mut self.catalog.unserved, what, why);
        }
    }

    /// Tells whether a folder is another one than this look saw in its place.
    fn has_moved(&self, place: &str, id: walk::FolderId) -> bool {
        self.folders.get(place).is_some_and(|known| *known != id)
    }

    /// Tells whether a version or model is not here that the catalogue has.
    pub(super) fn lost(&self, before: &Catalog) -> bool {
        before.models.iter().any(|(name, entry)| {
            let now = self.catalog.models.get(name);
            entry
                .versions
                .keys()
                .any(|v| now.is_none_or(|now| !now.versions.contains_key(v)))
        })
    }

    /// Adds to `found` the versions that this look saw and that one did not: as missing the first
    /// time, and while every model is gone for less than `empty_delay`.
    pub(super) fn keep_vanished(&self, found: &mut Self, empty_delay: Duration, now: Instant) {
        let before = &self.catalog;
        if found.catalog.models.is_empty() && !before.models.is_empty() {
            let since = self.empty_since.unwrap_or(now);
            found.empty_since = Some(since);
            if now.saturating_duration_since(since) < empty_delay {
                let what = format!(
                    "all models are gone from the model directory; they are unloaded if it stays so for {empty_delay:?} (models.empty_delay)"
                );
                found.catalog.models = kept(before, &what).models;
                found.trouble.insert(ROOT.to_owned(), what);
            }
            return;
        }

        for (name, entry) in &before.models {
            for (version, last) in &entry.versions {
                let now = found.catalog.models.get(name);
                let is_here = now.is_some_and(|n| n.versions.contains_key(version));
                if !is_here && last.sight != FolderSight::Missing {
                    let now = found.catalog.models.entry(name.clone());
                    let now = now.or_insert_with(|| ModelEntry {
                        config: entry.config.clone(),
                        ..ModelEntry::default()
                    });
                    let missing = VersionEntry {
                        sight: FolderSight::Missing,
                        ..last.clone()
                    };
                    now.versions.insert(*version, missing);
                }
            }
        }
    }
}

/// Looks at one version. An inner error says why it is no version, none where that needs no
/// word.
fn version_at(
    root: &Path,
    path: &Path,
    model: &ModelEntry,
    last: Option<&VersionEntry>,
) -> Result<std::result::Result<VersionEntry, Option<String>>> {
    let Some(inside) = walk::inside(root, path)?.filter(|path| path.is_dir()) else {
        return Ok(Err(unserved::of_link(path)));
    };
    walk::searchable(&inside)?;
    let files = walk::fingerprint(root, &inside)?;
    let model_file = model_file(model);

    if files.0.is_empty() {
        return match last.filter(|l| !l.files.0.is_empty()) {
            Some(_) => Err(Error::unavailable("it is empty")),
            None => Ok(Err(None)),
        };
    }
    let has_model = files.0.iter().any(|s| s.file.as_os_str() == model_file);
    if model.problem.is_none() && !has_model {
        let why = unserved::of_version(&inside, &files, model_file);
        // The folder is still there: nobody has removed the version.
        return match last.filter(|l| !l.files.0.is_empty()) {
            Some(_) => Err(Error::unavailable(why)),
            None => Ok(Err(Some(why))),
        };
    }

    Ok(Ok(VersionEntry {
        files,
        model_path: inside.join(model_file),
        settled: false,
        sight: FolderSight::Seen,
        manifest: None,
    }))
}

/// The name of the model file in each version of a model.
fn model_file(model: &ModelEntry) -> &str {
    let config = model.config.as_ref();
    let named = config.and_then(|config| config.model_filename.as_deref());
    named.unwrap_or(MODEL_FILE)
}

/// Returns the catalogue with every version unreadable for this reason.
fn kept(catalog: &Catalog, what: &str) -> Catalog {
    let mut catalog = catalog.clone();
    for entry in catalog.models.values_mut() {
        keep(entry, what);
    }
    catalog
}

fn keep(entry: &mut ModelEntry, what: &str) {
    for version in entry.versions.values_mut() {
        version.sight = FolderSight::Unreadable(what.to_owned());
    }
}

/// Returns a version that cannot be looked into, as it was before.
fn unreadable(last: Option<&VersionEntry>, what: String) -> VersionEntry {
    let sight = FolderSight::Unreadable(what);
    match last {
        Some(last) => VersionEntry {
            sight,
            ..last.clone()
        },
        None => VersionEntry {
            files: Fingerprint::default(),
            model_path: std::path::PathBuf::new(),
            settled: false,
            sight,
            manifest: None,
        },
    }
}

fn reason(what: &str, error: &Error) -> String {
    format!("{what} cannot be used: {}", error.message)
}
