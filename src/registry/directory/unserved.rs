//! What lies in a model directory and is not served, with the reason and the remedy.

use super::MODEL_FILE;
use super::walk::{self, Root};
use crate::core::model::{ModelName, NAME_BYTES_MAX, Version};
use crate::registry::catalog::{Fingerprint, Unserved};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

/// The most such folders and files that are listed; further ones are left out.
pub(super) const UNSERVED_MAX: usize = 1_000;
/// The most characters of a name that are shown.
const NAME_CHARS_MAX: usize = 128;

/// What was logged already, and what the scan before saw.
#[derive(Default)]
pub(super) struct Warned {
    logged: BTreeSet<Unserved>,
    seen: BTreeSet<Unserved>,
}

/// A name in the directory that is no model or no version.
pub(super) struct Unlisted {
    model: String,
    version: String,
}

impl Unlisted {
    pub(super) fn model(name: &OsStr) -> Self {
        Self {
            model: shown(name),
            version: String::new(),
        }
    }

    pub(super) fn version(model: &ModelName, name: &OsStr) -> Self {
        Self {
            model: model.to_string(),
            version: shown(name),
        }
    }
}

/// Adds one, unless there are too many.
pub(super) fn add(all: &mut Vec<Unserved>, what: Unlisted, reason: String) {
    if all.len() < UNSERVED_MAX {
        all.push(Unserved {
            model: what.model,
            version: what.version,
            reason,
        });
    }
}

/// Logs each one once, when the second scan in a row has seen it, because files may still be copied.
pub(super) fn log(warned: &mut Warned, all: &[Unserved]) {
    let now: BTreeSet<Unserved> = all.iter().cloned().collect();
    for one in now
        .intersection(&warned.seen)
        .filter(|u| !warned.logged.contains(*u))
    {
        let Unserved {
            model,
            version,
            reason,
        } = one;
        tracing::warn!(model, version, reason, "not served");
    }
    let logged = now
        .iter()
        .filter(|u| warned.seen.contains(*u) || warned.logged.contains(*u));
    warned.logged = logged.cloned().collect();
    warned.seen = now;
}

/// Says why an entry of the directory is no model. Files other than models need no word, nor do
/// hidden ones.
pub(super) fn of_model(
    root: Root<'_>,
    path: &Path,
    is_legal: bool,
    is_folder: bool,
) -> Option<String> {
    if is_hidden(path) {
        return None;
    }
    if !is_folder {
        let stray = is_model_file(path)
            .then(|| format!("a model name has 1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 _ . - and no leading dot; rename the file"));
        return of_link(root, path).or(stray);
    }
    if is_legal || !holds_files(path) {
        return None;
    }
    Some(format!(
        "a model name has 1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 _ . - and no leading dot; rename the folder"
    ))
}

/// Says why an entry of a model's folder, whose name is no version, is not served.
pub(super) fn of_entry(root: Root<'_>, path: &Path) -> Option<String> {
    if is_hidden(path) {
        return None;
    }
    if !path.is_dir() {
        let stray = is_model_file(path)
            .then(|| format!("it is not in a version folder; move it to 1/{MODEL_FILE}"));
        return of_link(root, path).or(stray);
    }
    if !holds_files(path) {
        return None;
    }

    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.trim_start_matches(['v', 'V']);
    let remedy = Version::parse(digits).map_or_else(
        |_| "rename it to a number, such as 1".to_owned(),
        |version| format!("rename it to {version}"),
    );
    Some(format!("a version folder is a number from 1; {remedy}"))
}

/// Says why a version's folder without its model is not served.
pub(super) fn of_version(folder: &Path, files: &Fingerprint, model_file: &str) -> String {
    let path = folder.join(model_file);
    if path.is_symlink() {
        return of_linked_file(&path, model_file);
    }
    let names = || files.0.iter().map(|stamp| stamp.file.as_path());
    if names().any(|file| file.starts_with(model_file)) {
        return format!("'{model_file}' is a folder; it must be the model file");
    }
    let other = names().find(|file| is_model_file(file));
    let is_inside = |file: &&Path| file.components().count() > 1;
    if let Some(inside) = other.filter(is_inside) {
        return format!(
            "it has no '{model_file}' but '{}'; move that file into the version folder itself, as '{model_file}'",
            shown(inside.as_os_str())
        );
    }
    match other.and_then(Path::file_name) {
        Some(other) => format!(
            "it has no '{model_file}' but '{}'; rename the file, or set default_model_filename in config.pbtxt",
            shown(other)
        ),
        None => format!("it has no '{model_file}'; put the model there"),
    }
}

/// Says that a link is not followed; none if it is, or if it is not a link.
pub(super) fn of_link(root: Root<'_>, path: &Path) -> Option<String> {
    if matches!(walk::inside(root, path), Ok(Some(_))) {
        return None;
    }
    let why = match path.exists() {
        true => format!("it is a link that leads out of the model directory; {FOLLOW}"),
        false => "it is a link to nothing; restore what it leads to, or remove it".to_owned(),
    };
    path.is_symlink().then_some(why)
}

/// Says that the model files of a folder are links that are not followed; none if there are none.
pub(super) fn of_linked_model(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files = entries.map(|entry| entry.path());
    let linked = files.find(|file| is_model_file(file) && file.is_symlink())?;
    let name = shown(linked.file_name().unwrap_or_default());
    Some(of_linked_file(&linked, &name))
}

/// Says why a model file that is a link is not served.
fn of_linked_file(path: &Path, name: &str) -> String {
    match path.exists() {
        true => format!("its '{name}' is a link that leads out of the model directory; {FOLLOW}"),
        false => format!("its '{name}' is a link to nothing; restore what it leads to"),
    }
}

/// What to do about a link that leads out of the directory.
const FOLLOW: &str = "put the file or folder there, or set models.follow_links = true";

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

pub(super) fn is_model_file(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    extension.eq_ignore_ascii_case("onnx")
}

/// Tells whether something is in a folder that is not hidden.
fn holds_files(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| !is_hidden(&entry.path()))
}

/// Returns a name without control characters, and not too long.
pub(super) fn shown(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let escaped = name.chars().flat_map(|c| {
        let plain = (!c.is_control()).then_some(c);
        let escape = plain.is_none().then(|| c.escape_default());
        plain.into_iter().chain(escape.into_iter().flatten())
    });
    escaped.take(NAME_CHARS_MAX).collect()
}
