//! The files of a push on this machine: lists them by role, measures and reads
//! them. Does not interpret what they hold.

use super::{FILES_MAX, Push};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::registry::blob::{Progress, measure};
use crate::registry::commands::Operator;
use crate::registry::manifest::{
    BASELINE_PATH, COMPANION_PATH, EXPLANATION_PATH, File, GOLDEN_PATH, MANIFEST_PATH, MODEL_PATH,
    Role, check_path,
};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The name of a version's model card.
const CARD_PATH: &str = "README.md";

/// A file of the version on this machine.
pub(super) struct Local {
    pub file: File,
    pub path: PathBuf,
    /// Key of its upload, until the upload is renamed to its digest.
    pub staged: Option<String>,
    /// A temporary file, deleted when this value is dropped.
    pub kept: Option<tempfile::TempPath>,
}

impl Local {
    pub(super) fn new(name: String, path: PathBuf, role: Role) -> Self {
        Self {
            file: File {
                path: name,
                role,
                digest: Digest([0; 32]),
                bytes: 0,
            },
            path,
            staged: None,
            kept: None,
        }
    }
}

/// Opens a file; refuses a folder, a pipe or a device.
pub(super) fn open(path: &Path) -> Result<fs::File> {
    let file = fs::File::open(path).map_err(|e| unreadable(path, e))?;
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        _ => Err(Error::invalid(format!("{} is not a file", path.display()))),
    }
}

/// Lists the files of the folder, or the one file, and those given separately.
pub(super) fn gather(push: &Push) -> Result<Vec<Local>> {
    let root = &push.path;
    let meta = fs::metadata(root).map_err(|e| unreadable(root, e))?;
    let mut files = if meta.is_file() {
        vec![local(root.clone(), MODEL_PATH.to_owned(), Role::Model)?]
    } else {
        list(root)?
    };

    for (role, path) in &push.extra {
        let name = match role {
            Role::Baseline => BASELINE_PATH,
            Role::Card => CARD_PATH,
            Role::Golden => GOLDEN_PATH,
            Role::Companion => COMPANION_PATH,
            Role::Explanation => EXPLANATION_PATH,
            Role::Model | Role::Weights | Role::Other => path
                .file_name()
                .and_then(|n| n.to_str())
                .ok_or_else(|| Error::invalid("a file has no name"))?,
        };
        files.retain(|l| l.file.path != name);
        files.push(local(path.clone(), name.to_owned(), *role)?);
    }

    Ok(files)
}

/// Lists the files below a folder.
fn list(root: &Path) -> Result<Vec<Local>> {
    let mut files = Vec::new();
    let mut pending = vec![PathBuf::new()];

    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(root.join(&folder)).map_err(|e| unreadable(root, e))? {
            let entry = entry.map_err(|e| unreadable(root, e))?;
            let inside = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(|e| unreadable(root, e))?;
            let name = inside
                .to_str()
                .ok_or_else(|| Error::invalid("a file's name is not UTF-8; rename it"))?
                .to_owned();

            if kind.is_dir() {
                pending.push(inside);
            } else if kind.is_file() && name == MANIFEST_PATH {
                // `pull` wrote it; the push writes a new one.
            } else if kind.is_file() {
                let role = role_of(&name);
                files.push(local(entry.path(), name, role)?);
            } else {
                return Err(Error::invalid(format!(
                    "'{name}' is neither a file nor a folder"
                )));
            }
            if files.len() + pending.len() > FILES_MAX {
                return Err(Error::overloaded(format!(
                    "the folder holds over {FILES_MAX} files"
                )));
            }
        }
    }

    Ok(files)
}

fn local(path: PathBuf, name: String, role: Role) -> Result<Local> {
    check_path(&name).map_err(|e| Error::invalid(e.message))?;
    Ok(Local::new(name, path, role))
}

/// Reads a file that was measured before.
pub(super) fn read_whole(local: &Local, bytes_max: u64) -> Result<Vec<u8>> {
    let name = &local.file.path;
    if local.file.bytes > bytes_max {
        return Err(Error::too_large(format!(
            "'{name}' is over {bytes_max} bytes"
        )));
    }

    let bytes = fs::read(&local.path)
        .map_err(|e| Error::invalid(format!("'{name}' cannot be read")).with_source(e))?;
    if Digest::of(&bytes) != local.file.digest {
        return Err(Error::precondition("the file changed while it was pushed"));
    }

    Ok(bytes)
}

impl Operator {
    /// Makes a file of the golden rows that the first run created.
    pub(super) async fn stage_golden(&self, golden: &str, progress: Progress<'_>) -> Result<Local> {
        let path = write_temporary(golden)
            .map_err(|e| Error::unavailable("write golden rows").with_source(e))?;
        let mut local = Local::new(GOLDEN_PATH.to_owned(), path.to_path_buf(), Role::Golden);
        local.kept = Some(path);
        self.measure(&mut local, progress).await?;
        Ok(local)
    }

    /// Finds digest and length of a file, and uploads it on the way if the store
    /// can rename the upload later.
    pub(super) async fn measure(&self, local: &mut Local, progress: Progress<'_>) -> Result<()> {
        let mut file = open(&local.path)?;
        if let Some((blob, key)) = self.log.stage(&mut file, progress).await? {
            local.file.digest = blob.digest;
            local.file.bytes = blob.bytes;
            local.staged = Some(key);
            return Ok(());
        }

        let measured = measure(&mut file).map_err(|e| unreadable(&local.path, e))?;
        (local.file.digest, local.file.bytes) = measured;
        Ok(())
    }
}

fn write_temporary(text: &str) -> io::Result<tempfile::TempPath> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    Ok(file.into_temp_path())
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::invalid(format!("{} cannot be read", path.display())).with_source(error)
}

fn role_of(name: &str) -> Role {
    match name {
        MODEL_PATH => Role::Model,
        BASELINE_PATH => Role::Baseline,
        CARD_PATH => Role::Card,
        GOLDEN_PATH => Role::Golden,
        COMPANION_PATH => Role::Companion,
        EXPLANATION_PATH => Role::Explanation,
        _ => Role::Other,
    }
}
