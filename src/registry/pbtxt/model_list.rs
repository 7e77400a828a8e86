//! The list of models in TensorFlow Serving's configuration: their names and folders, which versions serve, and
//! the labels of versions. Reads the text of a file; a message of the same content is given entry by entry.
//! Opens no folder.

#[cfg(test)]
mod tests;

use super::section::{once, refuse, unsupported};
use super::syntax::{self, NamedField};
use super::{BYTE_ORDER_MARK, version_policy};
use crate::core::error::{Error, Result, short};
use crate::core::model::{ModelName, Version};
use crate::registry::version_policy::VersionPolicy;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The most models of a list.
const MODELS_MAX: usize = 10_000;
/// The most labels of a model.
const LABELS_MAX: usize = 256;
/// The longest path of a folder.
const PATH_BYTES_MAX: usize = 4_096;

/// The models that are served, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelList(pub BTreeMap<ModelName, ListEntry>);

/// One model of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListEntry {
    /// The folder of its versions.
    pub folder: PathBuf,
    /// Which of them serve; the newest if it is not said.
    pub versions: Option<VersionPolicy>,
    /// The versions of labels.
    pub labels: BTreeMap<String, Version>,
}

impl ModelList {
    /// Reads the text of a file with one `model_config_list`. Every error is `InvalidArgument` and names
    /// the line and, if there is one, the field.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let fields = syntax::parse(text)?;
        let mut list = Self::default();
        for field in once(&fields, &[])? {
            if field.name != "model_config_list" {
                return refuse(field, "is not supported; write a model_config_list");
            }
            for field in field.messages(&["config"])?.into_iter().flatten() {
                if field.name != "config" {
                    return unsupported(field);
                }
                for members in field.messages(&["version_labels"])? {
                    let (name, model) = model(field, members)?;
                    let line = field.line;
                    list.add(&name, model)
                        .map_err(|e| e.context(format!("line {line}")))?;
                }
            }
        }
        Ok(list)
    }

    /// Adds a model.
    pub(crate) fn add(&mut self, name: &str, model: ListEntry) -> Result<()> {
        let name = ModelName::parse(name)?;
        let within = |why: String| Err(Error::invalid(format!("model '{name}': {why}")));
        if self.0.len() == MODELS_MAX {
            return within(format!("the list has over {MODELS_MAX} models"));
        }
        let path = model.folder.as_os_str().as_encoded_bytes();
        if path.is_empty() || path.len() > PATH_BYTES_MAX {
            return within(format!(
                "its base_path must have 1 to {PATH_BYTES_MAX} bytes"
            ));
        }
        if path.windows(3).any(|part| part == b"://") {
            return within(
                "its base_path must be a folder of this machine; of file:// leave the scheme out"
                    .to_owned(),
            );
        }
        if model.labels.len() > LABELS_MAX {
            return within(format!("it has over {LABELS_MAX} labels"));
        }
        match self.0.insert(name.clone(), model) {
            Some(_) => within("it is listed twice".to_owned()),
            None => Ok(()),
        }
    }
}

/// Reads one model, and its name.
fn model(whole: &NamedField, members: &[NamedField]) -> Result<(String, ListEntry)> {
    let (mut name, mut model) = (None, ListEntry::default());
    for field in members {
        match field.name.as_str() {
            "name" => name = Some(field.text()?.to_owned()),
            "base_path" => model.folder = PathBuf::from(field.text()?),
            // Lists say "tensorflow", whatever the format of the files is.
            "model_platform" if matches!(field.text()?, "" | "tensorflow" | "onnx") => {}
            "model_platform" => return refuse(field, "must be \"tensorflow\" or \"onnx\""),
            "model_version_policy" => model.versions = Some(version_policy(field)?),
            "version_labels" => {
                for entry in field.messages(&[])? {
                    let (label, version) = label(field, entry)?;
                    model.labels.insert(label, version);
                }
            }
            // What is logged changes no answer.
            "logging_config" => {}
            _ => return unsupported(field),
        }
    }
    match name {
        Some(name) => Ok((name, model)),
        None => refuse(whole, "must have a name"),
    }
}

fn label(whole: &NamedField, entry: &[NamedField]) -> Result<(String, Version)> {
    let (mut label, mut version) = (None, None);
    for field in entry {
        match field.name.as_str() {
            "key" => label = Some(field.text()?.to_owned()),
            "value" => version = Some(field.number::<i64>()?),
            _ => return unsupported(field),
        }
    }
    match (label, version.and_then(version_of)) {
        (Some(label), Some(version)) if is_label(&label) => Ok((label, version)),
        _ => refuse(
            whole,
            "must have a key of 1 to 128 characters of A-Z a-z 0-9 _ . - that is no number, and a value of 1 or more",
        ),
    }
}

/// Tells whether a label can be asked for.
fn is_label(label: &str) -> bool {
    let is_number = label.bytes().all(|byte| byte.is_ascii_digit());
    !is_number && ModelName::parse(label).is_ok()
}

/// Reads a version that is written with a sign.
pub(crate) fn version_of(number: i64) -> Option<Version> {
    u64::try_from(number).ok().and_then(Version::new)
}

/// Reads the labels of a message.
pub(crate) fn labels_of(
    pairs: impl IntoIterator<Item = (String, i64)>,
) -> Result<BTreeMap<String, Version>> {
    let pair = |(label, number): (String, i64)| match version_of(number) {
        Some(version) if is_label(&label) => Ok((label, version)),
        _ => Err(Error::invalid(format!(
            "label '{}' must have 1 to 128 characters of A-Z a-z 0-9 _ . - and be no number, and its version 1 or more",
            short(&label)
        ))),
    };
    pairs.into_iter().map(pair).collect()
}
