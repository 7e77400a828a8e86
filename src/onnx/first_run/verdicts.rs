//! Verdicts of first runs that passed, kept in a folder so that a restart repeats none. A verdict is a file
//! whose name is made from all that it depends on; it also names its model, and counts for no other.

#[cfg(test)]
mod tests;

use super::Passed;
use crate::core::hash::Digest;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The most verdicts that are kept; the oldest are deleted.
const VERDICTS_MAX: usize = 1_000;

#[derive(Serialize, Deserialize)]
struct KeptVerdict {
    /// Digest of the model.
    model: String,
    passed: Passed,
}

/// Reads a verdict. One that cannot be read, or is of another model, is ignored with a warning.
pub(super) fn read(path: &Path, model: &Digest) -> Option<Passed> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return ignore(path, &error.to_string()),
    };
    match serde_json::from_slice::<KeptVerdict>(&bytes) {
        Ok(kept) if kept.model == model.hex() => Some(kept.passed),
        Ok(_) => ignore(path, "it is of another model"),
        Err(error) => ignore(path, &error.to_string()),
    }
}

fn ignore(path: &Path, why: &str) -> Option<Passed> {
    tracing::warn!(
        file = %path.display(),
        why,
        "a kept verdict of a first run is ignored; the first run is made again"
    );
    None
}

/// Keeps a verdict. One that cannot be kept only costs another first run at the next start.
pub(super) fn keep(path: &Path, model: &Digest, passed: &Passed) {
    let kept = KeptVerdict {
        model: model.hex(),
        passed: passed.clone(),
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = serde_json::to_vec(&kept)
        .map_err(io::Error::other)
        .and_then(|text| write(folder, path, &text))
        .and_then(|()| tidy(folder));
    if let Err(error) = written {
        tracing::debug!(%error, "a verdict of a first run cannot be kept");
    }
}

fn write(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut staged = tempfile::NamedTempFile::new_in(folder)?;
    staged.write_all(text)?;
    staged.persist(path).map(drop).map_err(|e| e.error)
}

/// Deletes the oldest verdicts beyond the limit.
fn tidy(folder: &Path) -> io::Result<()> {
    let mut all: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Another server may have deleted it.
        if let Ok(written) = entry.metadata().and_then(|meta| meta.modified()) {
            all.push((written, entry.path()));
        }
    }

    let surplus = all.len().saturating_sub(VERDICTS_MAX);
    all.sort();
    for (_, path) in all.into_iter().take(surplus) {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}
