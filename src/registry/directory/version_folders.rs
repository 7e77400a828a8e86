//! Which folders of a model are versions, and whether the model is in its folder itself.

use super::model_file;
use super::unserved::{self, is_model_file};
use super::walk::Root;
use crate::core::model::Version;
use crate::registry::catalog::ModelEntry;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The folders of versions, and the other names with the reason why they are not served. A folder whose number
/// has leading zeros is a version too, unless another folder has the same number.
pub(super) fn version_folders<'n>(
    root: Root<'_>,
    folder: &Path,
    names: &'n [OsString],
) -> (BTreeMap<Version, &'n OsString>, NotVersions<'n>) {
    let is_exact = |name: &OsString| !name.as_encoded_bytes().starts_with(b"0");
    let mut folders: BTreeMap<Version, &OsString> = BTreeMap::new();
    let mut others = Vec::new();
    // Exact names come first.
    let (exact, padded): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_exact(name));
    for name in exact.into_iter().chain(padded) {
        match number_of(name) {
            Some(version) => match folders.get(&version) {
                Some(first) => others.push((
                    name,
                    Some(format!(
                        "version {version} is in folder '{}'; remove one of the two",
                        unserved::shown(first)
                    )),
                )),
                None => {
                    folders.insert(version, name);
                }
            },
            None => others.push((name, unserved::of_entry(root, &folder.join(name)))),
        }
    }

    (folders, others)
}

/// The version that the name of a folder gives, if it is one.
pub(super) fn number_of(name: &OsStr) -> Option<Version> {
    let digits = name.to_str()?.trim_start_matches('0');
    Version::parse(digits).ok()
}

/// Names in a model's folder that are no versions, with the reason, none where that needs no word.
type NotVersions<'n> = Vec<(&'n OsString, Option<String>)>;

/// Whether the model is in its folder itself.
pub(super) fn has_model_file(names: &[OsString], model: &ModelEntry) -> bool {
    let expected = model_file::expected(model);
    let is_model = |name: &OsString| name.as_os_str() == expected || is_model_file(Path::new(name));
    names.iter().any(is_model)
}
