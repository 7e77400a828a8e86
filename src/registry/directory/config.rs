//! Reads the `config.pbtxt` of a model.

use super::walk::Root;
use super::{CONFIG_FILE, class_labels, walk};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::registry::catalog::FileStamp;
use crate::registry::pbtxt::{CONFIG_BYTES_MAX, ModelConfig};
use std::path::Path;

/// Reads a model's configuration, if it has one, with the stamp of its file.
pub(super) fn read(
    root: Root<'_>,
    folder: &Path,
    name: &ModelName,
) -> Result<Option<(FileStamp, Result<ModelConfig>)>> {
    let path = folder.join(CONFIG_FILE);
    let refuse = |why: String| Err(Error::invalid(format!("config.pbtxt: {why}")));
    match path.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(walk::failed("inspect config.pbtxt", e)),
        Ok(own) => {
            let target = walk::inside(root, &path)?
                .and_then(|path| path.metadata().ok())
                .filter(|t| t.is_file());
            let stamp = walk::stamp(
                Path::new("..").join(CONFIG_FILE),
                target.as_ref().unwrap_or(&own),
            );
            if target.is_none() {
                return Ok(Some((
                    stamp,
                    refuse("is not a file inside the model directory".to_owned()),
                )));
            }
            if stamp.file_bytes > CONFIG_BYTES_MAX {
                return Ok(Some((
                    stamp,
                    refuse(format!("is over {CONFIG_BYTES_MAX} bytes")),
                )));
            }
            let bytes = super::read::whole(&path, CONFIG_BYTES_MAX)?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| Error::invalid("config.pbtxt: is not UTF-8"));
            Ok(Some((
                stamp,
                text.and_then(|text| ModelConfig::read(name, text))
                    .and_then(|config| {
                        let filled = class_labels::filled(root, folder, config);
                        filled.map_err(|e| e.context("config.pbtxt"))
                    }),
            )))
        }
    }
}
