//! Bundles: one version as an OCI image layout in a folder, whose blobs are the
//! version's files by digest. Import also reads a plain model directory.

use super::push::{Push, Pushed};
use super::{NewFolder, Operator};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::registry::blob::{Progress, measure};
use crate::registry::manifest::{MANIFEST_BYTES_MAX, Manifest, Role};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Media type of a version's manifest, which is the config blob of the OCI layout.
const MANIFEST_TYPE: &str = "application/vnd.ortus.manifest.v1+json";
/// Media type of a version's file.
const FILE_TYPE: &str = "application/vnd.ortus.file.v1";
const OCI_MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const TITLE: &str = "org.opencontainers.image.title";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Image {
    config: Descriptor,
}

fn failed(what: &str, path: &Path) -> impl Fn(io::Error) -> Error {
    let message = format!("{what} {}", path.display());
    move |e| Error::precondition(message.clone()).with_source(e)
}

impl Operator {
    /// Writes a version as an OCI layout into a new folder, which appears complete or
    /// not at all.
    pub(crate) async fn export(
        &self,
        name: &ModelName,
        which: Option<&str>,
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Version> {
        let (version, record, manifest) = self.chosen(name, which).await?;
        let staged = NewFolder::beside(into)?;
        let blobs = staged.path().join("blobs/sha256");
        for blob in &record.blobs {
            self.log
                .fetch_blob(blob, &blobs.join(blob.digest.hex()), progress)
                .await?;
        }

        let layer = |file: &crate::registry::manifest::File| Descriptor {
            media_type: FILE_TYPE.to_owned(),
            digest: file.digest.to_string(),
            size: file.bytes,
            annotations: [(TITLE.to_owned(), file.path.clone())].into(),
        };

        let size = record.blob(record.manifest, 0).bytes;
        let image = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST_TYPE,
            "artifactType": MANIFEST_TYPE,
            "config": {"mediaType": MANIFEST_TYPE, "digest": record.manifest.to_string(), "size": size},
            "layers": manifest.files.iter().map(layer).collect::<Vec<_>>(),
            "annotations": {"org.opencontainers.image.ref.name": format!("{name}:{version}")},
        }))
        .map_err(|e| Error::internal("print a bundle").with_source(e))?;

        let digest = Digest::of(&image);
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": OCI_MANIFEST_TYPE, "digest": digest.to_string(), "size": image.len(),
                "annotations": {"org.opencontainers.image.ref.name": format!("{name}:{version}")},
            }],
        });

        staged.write(&format!("blobs/sha256/{}", digest.hex()), &image)?;
        staged.write("index.json", index.to_string().as_bytes())?;
        staged.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        staged.appear()?;
        Ok(version)
    }

    /// Publishes the content of a folder: a bundle of `export`, as a version of
    /// `name`; or a model directory, every version of every model in order.
    pub(crate) async fn import(
        &self,
        from: &Path,
        name: Option<&ModelName>,
        progress: Progress<'_>,
    ) -> Result<Vec<Pushed>> {
        if from.join("oci-layout").is_file() {
            return Ok(vec![self.import_bundle(from, name, progress).await?]);
        }
        let mut pushed = Vec::new();
        for (model, versions) in directory(from)? {
            if name.is_some_and(|name| *name != model) {
                continue;
            }
            for path in versions.into_values() {
                let push = Push {
                    path,
                    allow_signature_change: true,
                    ..Push::default()
                };
                pushed.push(self.push(&model, &push, progress).await?);
            }
        }

        match pushed.is_empty() {
            true => Err(Error::invalid(format!(
                "{} is neither a bundle nor a model directory",
                from.display()
            ))),
            false => Ok(pushed),
        }
    }

    async fn import_bundle(
        &self,
        from: &Path,
        name: Option<&ModelName>,
        progress: Progress<'_>,
    ) -> Result<Pushed> {
        let bundle = Bundle(from);
        let manifest = bundle.manifest()?;
        let folder = tempfile::tempdir().map_err(failed("use", Path::new("a temporary folder")))?;
        bundle.link_files(&manifest, folder.path())?;

        let extra = manifest
            .files
            .iter()
            .filter(|f| GIVEN_BY_ROLE.contains(&f.role))
            .map(|f| (f.role, folder.path().join(&f.path)));
        let push = Push {
            path: folder.path().to_owned(),
            extra: extra.collect(),
            features: manifest.features.clone(),
            licence: manifest.licence.clone(),
            tags: manifest.tags.clone(),
            lineage: manifest.lineage.clone(),
            evaluation: manifest.evaluation.clone(),
            allow_signature_change: true,
            ..Push::default()
        };

        self.push(name.unwrap_or(&manifest.model), &push, progress)
            .await
    }
}

/// Roles that a file keeps when the bundle is pushed.
const GIVEN_BY_ROLE: [Role; 5] = [
    Role::Baseline,
    Role::Card,
    Role::Golden,
    Role::Companion,
    Role::Explanation,
];

/// A bundle in a folder.
struct Bundle<'b>(&'b Path);

impl Bundle<'_> {
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.hex())
    }

    /// Reads a blob of at most `bytes_max` and verifies it.
    fn read_blob(&self, digest: &str, bytes_max: u64) -> Result<Vec<u8>> {
        let digest = Digest::parse(digest)?;
        let path = self.blob_path(&digest);
        let length = fs::metadata(&path).map_err(failed("read", &path))?.len();
        let bytes = if length <= bytes_max {
            fs::read(&path).map_err(failed("read", &path))?
        } else {
            Vec::new()
        };

        if Digest::of(&bytes) != digest {
            return Err(damaged(&path));
        }
        Ok(bytes)
    }

    /// Reads the manifest of the one version in the bundle.
    fn manifest(&self) -> Result<Manifest> {
        let path = self.0.join("index.json");
        let index = fs::read(&path).map_err(failed("read", &path))?;
        let index: Index = serde_json::from_slice(&index).map_err(malformed)?;
        let [only] = index.manifests.as_slice() else {
            return Err(Error::invalid(format!(
                "the bundle holds {} images, not one",
                index.manifests.len()
            )));
        };

        let image = self.read_blob(&only.digest, MANIFEST_BYTES_MAX)?;
        let image: Image = serde_json::from_slice(&image).map_err(malformed)?;
        if image.config.media_type != MANIFEST_TYPE {
            return Err(Error::invalid(format!(
                "the bundle holds {}, not a version of a model; import a bundle that export wrote",
                image.config.media_type
            )));
        }

        Manifest::read(&self.read_blob(&image.config.digest, MANIFEST_BYTES_MAX)?)
    }

    /// Verifies the files of a version and links them into a folder by their names.
    fn link_files(&self, manifest: &Manifest, folder: &Path) -> Result<()> {
        for file in &manifest.files {
            let source = self.blob_path(&file.digest);
            let target = folder.join(&file.path);
            let measured = fs::File::open(&source)
                .and_then(|mut f| measure(&mut f))
                .map_err(failed("read", &source))?;
            if measured != (file.digest, file.bytes) {
                return Err(damaged(&source));
            }

            fs::create_dir_all(target.parent().unwrap_or(folder))
                .map_err(failed("make", &target))?;
            fs::hard_link(&source, &target)
                .or_else(|_| fs::copy(&source, &target).map(drop))
                .map_err(failed("read", &source))?;
        }
        Ok(())
    }
}

fn damaged(path: &Path) -> Error {
    Error::precondition(format!(
        "{} does not match the digest in its name",
        path.display()
    ))
}

fn malformed(error: serde_json::Error) -> Error {
    Error::invalid("the bundle is malformed").with_source(error)
}

/// Lists the versions of a model directory, in order.
fn directory(root: &Path) -> Result<BTreeMap<ModelName, BTreeMap<Version, PathBuf>>> {
    let mut models: BTreeMap<ModelName, BTreeMap<Version, PathBuf>> = BTreeMap::new();
    let list = |path: &Path| -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(path).map_err(failed("list", path))?;
        Ok(entries
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| p.is_dir())
            .collect())
    };

    let text = |path: &Path| {
        path.file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default()
            .to_owned()
    };

    for folder in list(root)? {
        let Ok(name) = ModelName::parse(&text(&folder)) else {
            continue;
        };
        for inside in list(&folder)? {
            if let Ok(version) = Version::parse(&text(&inside))
                && inside.join("model.onnx").is_file()
            {
                models
                    .entry(name.clone())
                    .or_default()
                    .insert(version, inside);
            }
        }
    }

    Ok(models)
}
