//! Reads the label files that a configuration names: the classes of an output, one on each line.

use super::walk::Root;
use super::{read, walk};
use crate::core::error::{Error, Result, short};
use crate::registry::pbtxt::{ConfigTensor, ModelConfig};
use std::path::{Component, Path};

/// The largest label file.
const LABELS_BYTES_MAX: u64 = 1 << 20;
/// The most classes in one.
const LABELS_MAX: usize = 32_768;

/// Fills in the classes of outputs whose label files lie in a model's folder.
pub(super) fn filled(
    root: Root<'_>,
    folder: &Path,
    mut config: ModelConfig,
) -> Result<ModelConfig> {
    for output in &mut config.outputs {
        if let Some(file) = &output.label_file {
            let is_plain = Path::new(file)
                .components()
                .all(|c| matches!(c, Component::Normal(_)));
            let labels = match is_plain {
                true => labels(root, &folder.join(file)),
                false => Err(Error::invalid(
                    "is not the name of a file in the model's folder",
                )),
            };
            output.labels = labels.map_err(|e| within(output, file, e))?;
        }
    }
    Ok(config)
}

fn within(output: &ConfigTensor, file: &str, error: Error) -> Error {
    let (output, file) = (short(&output.name), short(file));
    error.context(format!("output '{output}': label_filename '{file}'"))
}

fn labels(root: Root<'_>, path: &Path) -> Result<Vec<String>> {
    let path = walk::inside(root, path)?.filter(|path| path.is_file());
    let path = path.ok_or_else(|| Error::invalid("is not a file in the model's folder"))?;
    let bytes = read::whole(&path, LABELS_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::invalid("is not UTF-8"))?;
    let labels: Vec<String> = text.lines().map(str::to_owned).collect();
    match labels.len() {
        1..=LABELS_MAX => Ok(labels),
        count => Err(Error::invalid(format!(
            "has {count} lines; a label file has 1 to {LABELS_MAX}"
        ))),
    }
}
