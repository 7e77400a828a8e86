//! One look at a model directory: its models, what cannot be looked into, and what is not served.
//! Compares with the look before, so that a failing file system is not taken for a deletion.

use super::model_file::{self, ModelFileChoice};
use super::served_path::{LooseFile, ServedPath, model_of_file};
use super::unserved::{self, Unlisted, is_model_file};
use super::version_folders::{has_model_file, number_of, version_folders};
use super::walk::{Links, Root};
use super::{CONFIG_FILE, MODELS_MAX, VERSIONS_MAX, config, walk};
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::registry::catalog::{Catalog, Fingerprint, FolderSight, ModelEntry, VersionEntry};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
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

/// Looks at all that is served from a path.
pub(super) fn all(path: &ServedPath, links: Links, last: &Look) -> Look {
    let mut look = Look::default();
    if let Err(error) = look.models(path, links, last) {
        look.catalog = kept(&last.catalog, &reason("the model directory", &error));
        look.folders = last.folders.clone();
        look.trouble = BTreeMap::from([(ROOT.to_owned(), reason("the model directory", &error))]);
    }
    look
}

impl Look {
    fn models(&mut self, path: &ServedPath, links: Links, last: &Self) -> Result<()> {
        // Resolved each time, because the directory may be a link whose target changes.
        let root = path
            .folder()
            .canonicalize()
            .map_err(|e| walk::failed("follow the path", e))?;
        let id = walk::searchable(&root)?;
        let root = Root { path: &root, links };
        match path {
            ServedPath::Models(_) => {}
            ServedPath::Model(_, name) => {
                self.folders.insert(ROOT.to_owned(), id);
                return self.model_in(root, name.clone(), Ok(root.path.to_owned()), last);
            }
            ServedPath::File(loose) => {
                self.folders.insert(ROOT.to_owned(), id);
                self.loose_file(root, &walk::names(root.path)?, loose, last);
                return Ok(());
            }
        }

        let names = walk::names(root.path)?;
        if names.is_empty() && last.has_moved(ROOT, id) && !last.catalog.models.is_empty() {
            return Err(Error::unavailable(
                "an empty directory has taken its place, as when a mount is lost",
            ));
        }
        self.folders.insert(ROOT.to_owned(), id);

        for file_name in &names {
            self.model(root, &names, file_name, last)?;
        }
        Ok(())
    }

    /// Looks at what may be a model: a folder, or a model file.
    fn model(
        &mut self,
        root: Root<'_>,
        names: &[OsString],
        file_name: &OsStr,
        last: &Self,
    ) -> Result<()> {
        let path = root.path.join(file_name);
        let name = file_name
            .to_str()
            .and_then(|name| ModelName::parse(name).ok());
        let folder = walk::inside(root, &path).map(|f| f.filter(|path| path.is_dir()));
        match (name, folder) {
            (Some(name), Ok(Some(folder))) => self.model_in(root, name, Ok(folder), last),
            (Some(name), Err(error)) if !is_model_file(&path) => {
                self.model_in(root, name, Err(error), last)
            }
            (name, folder) => {
                let is_folder = folder.ok().flatten().is_some();
                if let Some(model) = model_of_file(&path)
                    && is_model_file(&path)
                    && !is_folder
                {
                    let loose = LooseFile {
                        folder: root.path.to_owned(),
                        file: file_name.to_owned(),
                        model,
                    };
                    self.loose_file(root, names, &loose, last);
                    return Ok(());
                }
                let why = unserved::of_model(root, &path, name.is_some(), is_folder);
                self.not_served(Unlisted::model(file_name), why);
                Ok(())
            }
        }
    }

    /// Adds a model whose folder may be one that cannot be looked into.
    fn model_in(
        &mut self,
        root: Root<'_>,
        name: ModelName,
        folder: Result<PathBuf>,
        last: &Self,
    ) -> Result<()> {
        self.check_room()?;
        let before = last.catalog.models.get(&name);
        let seen = folder.and_then(|folder| self.versions(root, &folder, &name, last));
        let entry = seen.unwrap_or_else(|error| {
            let what = reason("the model's folder", &error);
            self.trouble.insert(name.to_string(), what.clone());
            if before.is_none() {
                let unlisted = Unlisted::model(OsStr::new(name.as_str()));
                self.not_served(unlisted, Some(what.clone()));
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

    /// Adds a model that is a file beside others, as version 1. A folder of its name comes first.
    fn loose_file(&mut self, root: Root<'_>, names: &[OsString], loose: &LooseFile, last: &Self) {
        let LooseFile { file, model, .. } = loose;
        if self.catalog.models.contains_key(model) {
            let why = format!(
                "model '{model}' is served from the folder '{model}'; remove one of the two"
            );
            self.not_served(Unlisted::model(file), Some(why));
            return;
        }
        let seen = self
            .check_room()
            .and_then(|()| walk::inside(root, &root.path.join(file)))
            .and_then(|path| match path.filter(|path| path.is_file()) {
                Some(_) => walk::beside(root, names, file).map(Some),
                None => Ok(None),
            });
        let version = match seen {
            Ok(Some(files)) => VersionEntry {
                files,
                model_path: root.path.join(file),
                settled: false,
                sight: FolderSight::Seen,
                manifest: None,
            },
            Ok(None) => {
                self.not_served(
                    Unlisted::model(file),
                    unserved::of_link(root, &root.path.join(file)),
                );
                return;
            }
            Err(error) => {
                let what = reason("the model's file", &error);
                self.trouble.insert(model.to_string(), what.clone());
                let before = last.catalog.models.get(model);
                let before = before.and_then(|before| before.versions.get(&Version::ONE));
                unreadable(before, what)
            }
        };
        let entry = ModelEntry {
            versions: BTreeMap::from([(Version::ONE, version)]),
            ..ModelEntry::default()
        };
        self.catalog.models.insert(model.clone(), entry);
    }

    fn check_room(&self) -> Result<()> {
        if self.catalog.models.len() == MODELS_MAX {
            return Err(Error::overloaded(format!(
                "it has over {MODELS_MAX} models"
            )));
        }
        Ok(())
    }

    /// Looks at the versions of one model.
    fn versions(
        &mut self,
        root: Root<'_>,
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
            ..ModelEntry::default()
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
        let (folders, mut unlisted) = version_folders(root, folder, &names);
        if folders.len() > VERSIONS_MAX {
            return Err(Error::overloaded(format!(
                "the model has over {VERSIONS_MAX} versions"
            )));
        }
        let is_flat = folders.is_empty() && has_model_file(&names, &entry);
        if is_flat && number_of(OsStr::new(name.as_str())).is_some() {
            let why = "it is the folder of a version; serve the directory above its model's folder, or name the model with --name (models.name)";
            self.not_served(
                Unlisted::model(OsStr::new(name.as_str())),
                Some(why.to_owned()),
            );
            return Ok(entry);
        }
        let places = match is_flat {
            true => vec![(Version::ONE, None)],
            false => folders.into_iter().map(|(v, n)| (v, Some(n))).collect(),
        };
        for (version, place) in places {
            let path = place.map_or(folder.to_owned(), |place| folder.join(place));
            let last = before.and_then(|b| b.versions.get(&version));
            match version_at(root, &path, &entry, last) {
                Ok(Ok(mut found)) => {
                    // The fingerprint includes a refused configuration, so that a
                    // corrected one triggers another attempt.
                    found.files.0.extend(stamp.clone());
                    entry.versions.insert(version, found);
                }
                Ok(Err(why)) => match place {
                    Some(place) => unlisted.push((place, why)),
                    None => self.not_served(Unlisted::model(OsStr::new(name.as_str())), why),
                },
                Err(error) => {
                    let what = reason("the version's folder", &error);
                    self.trouble
                        .insert(format!("{name}/{version}"), what.clone());
                    entry.versions.insert(version, unreadable(last, what));
                }
            }
        }
        // What else is in a flat folder belongs to the model.
        if !is_flat {
            unlisted.sort_by_key(|(name, _)| *name);
            self.list_unserved(name, &entry, &names, unlisted);
        }
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
            let file = model_file::expected(entry);
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
    root: Root<'_>,
    path: &Path,
    model: &ModelEntry,
    last: Option<&VersionEntry>,
) -> Result<std::result::Result<VersionEntry, Option<String>>> {
    let Some(inside) = walk::inside(root, path)?.filter(|path| path.is_dir()) else {
        return Ok(Err(unserved::of_link(root, path)));
    };
    walk::searchable(&inside)?;
    let files = walk::fingerprint(root, &inside)?;

    if files.0.is_empty() {
        return match last.filter(|l| !l.files.0.is_empty()) {
            Some(_) => Err(Error::unavailable("it is empty")),
            None => Ok(Err(unserved::of_linked_model(&inside))),
        };
    }
    // The folder is still there: nobody has removed the version.
    let absent = |why: String| match last.filter(|l| !l.files.0.is_empty()) {
        Some(_) => Err(Error::unavailable(why)),
        None => Ok(Err(Some(why))),
    };
    let expected = model_file::expected(model);
    let chosen = match model_file::choose(&files, model) {
        ModelFileChoice::One(chosen) => inside.join(chosen),
        ModelFileChoice::Several(names) => {
            return absent(format!(
                "it has no '{expected}' but {names}; rename one of them to '{expected}', or set default_model_filename in config.pbtxt"
            ));
        }
        ModelFileChoice::None if model.problem.is_some() => inside.join(expected),
        ModelFileChoice::None => return absent(unserved::of_version(&inside, &files, expected)),
    };
    // Another file does not take the place of the model that was served.
    let is_other =
        |l: &&VersionEntry| l.model_path != chosen && l.model_path.parent() == Some(&inside);
    if let Some(last) = last.filter(is_other)
        && !chosen.ends_with(expected)
    {
        let gone = last.model_path.file_name().unwrap_or_default();
        return absent(format!("its '{}' is gone", unserved::shown(gone)));
    }

    Ok(Ok(VersionEntry {
        files,
        model_path: chosen,
        settled: false,
        sight: FolderSight::Seen,
        manifest: None,
    }))
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
