//! The model that a command on this machine works with: an ONNX file, or a version of the registry.

use super::block_on;
use super::registry::{RegistryArguments, split_target};
use crate::core::error::{Error, Result};
use crate::registry::manifest::{BASELINE_PATH, MANIFEST_PATH, MODEL_PATH, Manifest};
use clap::Args;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[derive(Args)]
pub(super) struct ModelArguments {
    /// ONNX file of the model.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "model",
        required_unless_present = "model"
    )]
    onnx: Option<PathBuf>,
    /// Model in the registry: NAME, NAME@ALIAS or NAME:VERSION.
    #[arg(long, value_name = "NAME[:VERSION]")]
    model: Option<String>,
    /// Input columns of the model, in its order.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    features: Vec<String>,
}

/// A model on this machine.
pub(super) struct FoundModel {
    pub path: PathBuf,
    /// Its name in the registry.
    pub name: Option<String>,
    /// Names of its input columns, as far as they are known.
    pub features: Vec<String>,
    /// The baseline that was published with it.
    pub baseline: Option<PathBuf>,
    /// Where a version of the registry was copied to.
    _copy: Option<TempDir>,
}

impl ModelArguments {
    /// Finds the model; copies it from the registry if it is there.
    pub(super) fn find(&self, registry: &RegistryArguments) -> Result<FoundModel> {
        let features = self.features.clone();
        let target = match (&self.onnx, &self.model) {
            (Some(path), _) => {
                return Ok(FoundModel {
                    path: path.clone(),
                    name: None,
                    features,
                    baseline: None,
                    _copy: None,
                });
            }
            (None, Some(target)) => target,
            (None, None) => return Err(Error::invalid("give --onnx or --model")),
        };
        let copy = tempfile::tempdir()
            .map_err(|e| Error::precondition("create a temporary directory").with_source(e))?;
        let (name, which) = split_target(target)?;
        let into = copy.path().join("model");
        block_on(async {
            let operator = super::registry::open(registry, None, false).await?;
            operator.pull(&name, which.as_deref(), &into, &|_| {}).await
        })?;
        let baseline = Some(into.join(BASELINE_PATH)).filter(|path| path.exists());
        Ok(FoundModel {
            path: into.join(MODEL_PATH),
            name: Some(name.to_string()),
            features: if features.is_empty() {
                published_features(&into)?
            } else {
                features
            },
            baseline,
            _copy: Some(copy),
        })
    }
}

fn published_features(version: &Path) -> Result<Vec<String>> {
    let written = std::fs::read(version.join(MANIFEST_PATH));
    let written = written.map_err(|e| Error::internal("read a copied manifest").with_source(e))?;
    Ok(Manifest::read(&written)?.features)
}
