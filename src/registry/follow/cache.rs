//! The cache on this machine: the last state applied, and the files of the versions
//! that were served. Everything read from it is verified again.

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::registry::blob::measure;
use crate::registry::fold::{NamespaceState, Record};
use crate::registry::log::{Checkpoint, Log};
use crate::registry::manifest::{MANIFEST_BYTES_MAX, MANIFEST_PATH, MODEL_PATH, Manifest};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder for one namespace of one registry.
pub(super) struct Cache {
    root: PathBuf,
}

/// A version's files, complete and verified.
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

/// Name of the file of a state.
fn state_file(strict: bool) -> &'static str {
    if strict { "strict.json" } else { "state.json" }
}

/// Prefix of the folders of downloads in progress.
const STAGED: &str = "fetch-";
/// Younger files are not deleted: another server may be writing them.
const YOUNG: Duration = Duration::from_secs(60);
/// The manifest; no file of a version may have this name.
const MANIFEST: &str = MANIFEST_PATH;

fn failed(error: io::Error) -> Error {
    Error::unavailable("use the registry's cache").with_source(error)
}

impl Cache {
    /// Opens or creates the part of `root` that belongs to this log.
    pub(super) fn open(root: &Path, log: &Log) -> Result<Self> {
        let key = Digest::of(format!("{}\n{}", log.store, log.namespace()).as_bytes()).hex();
        let root = root.join(&key[..16]);
        fs::create_dir_all(root.join("versions")).map_err(|e| {
            Error::precondition(format!("make the cache {}", root.display())).with_source(e)
        })?;
        Ok(Self { root })
    }

    /// Returns the state that was last kept; `None` if there is no readable one. A
    /// `strict` state was folded from the first entry.
    pub(super) fn state(&self, strict: bool) -> Option<NamespaceState> {
        let bytes = fs::read(self.root.join(state_file(strict))).ok()?;
        let read = Checkpoint::read(&bytes, "the cached state");
        read.inspect_err(|error| tracing::warn!(%error, "cached state is unreadable; starting with an empty cache"))
            .ok()
    }

    /// Keeps a state: writes a temporary file, syncs and renames it.
    pub(super) fn keep(&self, state: &NamespaceState, strict: bool) -> Result<()> {
        use io::Write;
        let put = || -> io::Result<()> {
            let mut staged = tempfile::NamedTempFile::new_in(&self.root)?;
            staged.write_all(&Checkpoint::write(state))?;
            staged.as_file().sync_all()?;
            staged
                .persist(self.root.join(state_file(strict)))
                .map_err(|e| e.error)?;
            Ok(())
        };

        put().map_err(failed)
    }

    pub(super) fn folder(&self, manifest: &Digest) -> PathBuf {
        self.root.join("versions").join(manifest.hex())
    }

    /// Returns a version's files from here or from the store, verified either way.
    pub(super) async fn fetch(&self, log: &Log, record: &Record) -> Result<Folder> {
        let path = self.folder(&record.manifest);
        if path.is_dir() {
            match verified(&path, &record.manifest) {
                Ok(manifest) => return Ok(Folder { path, manifest }),
                Err(error) => {
                    tracing::warn!(%error, "cached version is damaged; it is downloaded again");
                    fs::remove_dir_all(&path).map_err(failed)?;
                }
            }
        }

        let staged = tempfile::Builder::new()
            .prefix(STAGED)
            .tempdir_in(&self.root)
            .map_err(failed)?;
        let bytes = log
            .read_blob(
                &record.blob(record.manifest, MANIFEST_BYTES_MAX),
                MANIFEST_BYTES_MAX,
            )
            .await?;
        let manifest = Manifest::read(&bytes)?;

        for file in &manifest.files {
            log.fetch_blob(
                &record.blob(file.digest, file.bytes),
                &staged.path().join(&file.path),
                &|_| {},
            )
            .await?;
        }

        fs::write(staged.path().join(MANIFEST), &bytes).map_err(failed)?;
        match fs::rename(staged.path(), &path) {
            Ok(()) => drop(staged.keep()),
            // Another server of this machine may have fetched it meanwhile.
            Err(error) => drop(verified(&path, &record.manifest).map_err(|_| failed(error))?),
        }

        Ok(Folder { path, manifest })
    }

    /// Deletes the versions that are not to be kept, and leftovers of crashes. Young
    /// files may belong to another server, and stay.
    pub(super) fn tidy(&self, keep: &BTreeSet<Digest>) {
        let is_old = |entry: &fs::DirEntry| {
            let age = entry
                .metadata()
                .and_then(|m| m.modified())
                .ok()
                .and_then(|at| at.elapsed().ok());
            age.is_some_and(|age| age > YOUNG)
        };

        let staged = |entry: &fs::DirEntry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(STAGED))
        };

        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if staged(&entry) && is_old(&entry) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }

        let names: BTreeSet<String> = keep.iter().map(Digest::hex).collect();
        for entry in fs::read_dir(self.root.join("versions"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if is_old(&entry)
                && !entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| names.contains(name))
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Checks every file of a folder against the manifest, and the manifest against its
/// digest.
fn verified(path: &Path, digest: &Digest) -> Result<Manifest> {
    let damaged =
        |what: &str| Error::precondition(format!("the cached {what} does not match its digest"));
    let bytes = fs::read(path.join(MANIFEST)).map_err(failed)?;
    if Digest::of(&bytes) != *digest {
        return Err(damaged("manifest"));
    }
    let manifest = Manifest::read(&bytes)?;
    for file in &manifest.files {
        let measured = fs::File::open(path.join(&file.path))
            .and_then(|mut f| measure(&mut f))
            .map_err(failed)?;
        if measured != (file.digest, file.bytes) {
            return Err(damaged(&file.path));
        }
    }

    Ok(manifest)
}
