//! What the path of a server leads to: a directory of models, the folder of one model, or a model file.

use super::unserved::is_model_file;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, NAME_BYTES_MAX};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A path that is served from.
#[derive(Clone, Debug)]
pub(crate) enum ServedPath {
    /// A directory of models.
    Models(PathBuf),
    /// The folder of one model.
    Model(PathBuf, ModelName),
    /// One model file.
    File(LooseFile),
}

/// A model file that is in no folder of its own.
#[derive(Clone, Debug)]
pub(crate) struct LooseFile {
    pub folder: PathBuf,
    pub file: OsString,
    pub model: ModelName,
}

impl ServedPath {
    /// Looks where a path leads. With `name`, a folder is that of one model. Refuses what does not
    /// exist or cannot be read.
    pub(crate) fn find(path: PathBuf, name: Option<&str>) -> Result<Self> {
        let name = name.map(ModelName::parse).transpose();
        let name = name.map_err(|e| e.context("models.name"))?;
        if path.is_file() {
            return Self::file(&path, name);
        }

        std::fs::read_dir(&path).map_err(|e| {
            Error::invalid(format!(
                "the model directory '{}' cannot be read",
                path.display()
            ))
            .with_source(e)
        })?;
        Ok(match name {
            Some(name) => Self::Model(path, name),
            None => Self::Models(path),
        })
    }

    fn file(path: &Path, name: Option<ModelName>) -> Result<Self> {
        let refuse = |why: &str| Error::invalid(format!("'{}' {why}", path.display()));
        if !is_model_file(path) {
            return Err(refuse("is not an .onnx file, nor a directory"));
        }
        let model = match name {
            Some(name) => name,
            None => model_of_file(path).ok_or_else(|| {
                refuse(&format!(
                    "gives no model name, which has 1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 _ . - and \
                     no leading dot; give one with --name (models.name)"
                ))
            })?,
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        Ok(Self::File(LooseFile {
            folder: folder.unwrap_or(Path::new(".")).to_owned(),
            file: path.file_name().unwrap_or_default().to_owned(),
            model,
        }))
    }

    /// The folder that is looked into.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Models(folder) | Self::Model(folder, _) => folder,
            Self::File(loose) => &loose.folder,
        }
    }

    /// Whether a model in `folder` is a file beside others; `root` is the canonical
    /// [`ServedPath::folder`].
    pub(super) fn is_loose(&self, root: &Path, folder: &Path) -> bool {
        root == folder && !matches!(self, Self::Model(..))
    }
}

/// The name of a model that is served from a loose file: that of the file without its ending.
pub(super) fn model_of_file(path: &Path) -> Option<ModelName> {
    let stem = path.file_stem()?.to_str()?;
    ModelName::parse(stem).ok()
}
