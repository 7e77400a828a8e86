//! Verified copies on this machine: the last state applied, and the files of
//! the versions it served. Whatever is read from here is checked again.

use crate::error::{Error, Result};
use crate::model::Digest;
use crate::registry::blob::measure;
use crate::registry::entry::{Blob, hash};
use crate::registry::fold::{Record, State};
use crate::registry::log::{Checkpoint, Log};
use crate::registry::manifest::{MANIFEST_BYTES_MAX, MODEL_PATH, Manifest};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder for one namespace of one registry.
pub(super) struct Cache {
    root: PathBuf,
}

/// A version's files, whole and verified.
pub(super) struct Folder {
    pub path: PathBuf,
    pub manifest: Manifest,
}

impl Folder {
    /// The ONNX file.
    pub(super) fn model_path(&self) -> PathBuf {
        self.path.join(MODEL_PATH)
    }
}

const MANIFEST: &str = "manifest.json";

fn failed(error: io::Error) -> Error {
    Error::unavailable("use the registry's cache").with_source(error)
}

impl Cache {
    /// Opens, or makes, the part of `root` that belongs to this log.
    pub(super) fn open(root: &Path, log: &Log) -> Result<Self> {
        let key = hash(format!("{}\n{}", log.store, log.namespace()).as_bytes()).hex();
        let root = root.join(&key[..16]);
        fs::create_dir_all(root.join("versions"))
            .map_err(|e| Error::precondition(format!("make the cache {}", root.display())).with_source(e))?;
        Ok(Self { root })
    }

    /// The state that was last kept; none where there is none that can be read.
    pub(super) fn state(&self) -> Option<State> {
        let bytes = fs::read(self.root.join("state.json")).ok()?;
        let read = Checkpoint::read(&bytes, "the cached state");
        read.inspect_err(|error| tracing::warn!(%error, "the cache is started anew")).ok()
    }

    /// Keeps a state: written aside, synced, renamed.
    pub(super) fn keep(&self, state: &State) -> Result<()> {
        use io::Write;
        let put = || -> io::Result<()> {
            let mut staged = tempfile::NamedTempFile::new_in(&self.root)?;
            staged.write_all(&Checkpoint::write(state))?;
            staged.as_file().sync_all()?;
            staged.persist(self.root.join("state.json")).map_err(|e| e.error)?;
            Ok(())
        };
        put().map_err(failed)
    }

    fn folder(&self, manifest: &Digest) -> PathBuf {
        self.root.join("versions").join(manifest.hex())
    }

    /// Finds a version's files here, or fetches them; verified either way.
    pub(super) async fn fetch(&self, log: &Log, record: &Record) -> Result<Folder> {
        let path = self.folder(&record.manifest);
        if path.is_dir() {
            match verified(&path, &record.manifest) {
                Ok(manifest) => return Ok(Folder { path, manifest }),
                Err(error) => {
                    tracing::warn!(%error, "a cached version is damaged; it is fetched again");
                    fs::remove_dir_all(&path).map_err(failed)?;
                }
            }
        }
        let staged = tempfile::tempdir_in(&self.root).map_err(failed)?;
        let blob = |digest: &Digest, bytes: u64| {
            let listed = record.blobs.iter().find(|b| b.digest == *digest).copied();
            listed.unwrap_or(Blob { digest: *digest, bytes, generation: 0 })
        };
        let bytes = log.read_blob(&blob(&record.manifest, MANIFEST_BYTES_MAX), MANIFEST_BYTES_MAX).await?;
        let manifest = Manifest::read(&bytes)?;
        for file in &manifest.files {
            log.fetch_blob(&blob(&file.digest, file.bytes), &staged.path().join(&file.path), &|_| {}).await?;
        }
        fs::write(staged.path().join(MANIFEST), &bytes).map_err(failed)?;
        fs::rename(staged.keep(), &path).map_err(failed)?;
        Ok(Folder { path, manifest })
    }

    /// Removes the versions that are not to be kept, and what a crash left over.
    pub(super) fn tidy(&self, keep: &BTreeSet<Digest>) {
        let names: BTreeSet<String> = keep.iter().map(Digest::hex).collect();
        for entry in fs::read_dir(self.root.join("versions")).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Checks every file of a folder against the manifest, and that against its digest.
fn verified(path: &Path, digest: &Digest) -> Result<Manifest> {
    let damaged = |what: &str| Error::precondition(format!("the cached {what} is not what it was"));
    let bytes = fs::read(path.join(MANIFEST)).map_err(failed)?;
    if hash(&bytes) != *digest {
        return Err(damaged("manifest"));
    }
    let manifest = Manifest::read(&bytes)?;
    for file in &manifest.files {
        let measured = fs::File::open(path.join(&file.path)).and_then(|mut f| measure(&mut f)).map_err(failed)?;
        if measured != (file.digest, file.bytes) {
            return Err(damaged(&file.path));
        }
    }
    Ok(manifest)
}
