//! Bytes that a server refused because they came under the number of a version with other bytes. They
//! are remembered in a file, one for each name of a model directory, so that a restart does not serve
//! them silently. A file that cannot be used costs a warning and the memory, never a model.

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The most refused bytes that are remembered; the oldest are forgotten first.
pub(super) const REFUSED_MAX: usize = 1_000;
/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The format of the file.
const FORMAT: u32 = 1;

/// The bytes refused in one model directory.
#[derive(Default)]
pub(crate) struct Refusals {
    /// Where they are remembered; none if no folder is known.
    folder: Option<PathBuf>,
    /// The directory as the server was told, without its links followed: a link may be flipped to
    /// other models.
    directory: PathBuf,
    /// The oldest first.
    all: Vec<RefusedBytes>,
    is_warned: bool,
}

/// Bytes that a version must not serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedBytes {
    model: String,
    version: u64,
    /// Of the model, or of every file that the version uses.
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalFile {
    format: u32,
    directory: String,
    refused: Vec<RefusedBytes>,
}

impl RefusedBytes {
    fn new(model: &ModelName, version: Version, bytes: Digest) -> Self {
        Self {
            model: model.to_string(),
            version: version.number(),
            digest: bytes.to_string(),
        }
    }
}

impl Refusals {
    /// Reads what was refused in a model directory before. `folder` holds the files of all model
    /// directories.
    pub(crate) fn open(folder: Option<&Path>, directory: &Path) -> Self {
        let mut refusals = Self {
            folder: folder.map(Path::to_owned),
            directory: std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()),
            ..Self::default()
        };

        refusals.all = refusals.read().unwrap_or_else(|error| {
            tracing::warn!(%error, "what an earlier server refused in place is forgotten");
            Vec::new()
        });
        refusals
    }

    /// Tells whether these bytes were refused for this version.
    pub(crate) fn contains(&self, model: &ModelName, version: Version, bytes: Digest) -> bool {
        self.all.contains(&RefusedBytes::new(model, version, bytes))
    }

    /// Remembers bytes.
    pub(crate) fn add(&mut self, model: &ModelName, version: Version, bytes: Digest) {
        let new = RefusedBytes::new(model, version, bytes);
        self.change(|all| {
            all.retain(|known| *known != new);
            all.push(new.clone());
            let over = all.len().saturating_sub(REFUSED_MAX);
            all.drain(..over);
        });
    }

    /// Forgets bytes, which are served now.
    pub(crate) fn accept(&mut self, model: &ModelName, version: Version, bytes: Digest) {
        let accepted = RefusedBytes::new(model, version, bytes);
        self.change(|all| all.retain(|known| *known != accepted));
    }

    /// Forgets what was refused for a version, or for every version of a model.
    pub(crate) fn forget(&mut self, model: &ModelName, version: Option<Version>) {
        let is_meant = |known: &RefusedBytes| {
            known.model == model.as_str() && version.is_none_or(|v| v.number() == known.version)
        };
        self.change(|all| all.retain(|known| !is_meant(known)));
    }

    /// Applies a change to what is in the file now, since another server of the same directory may
    /// have added to it.
    fn change(&mut self, apply: impl Fn(&mut Vec<RefusedBytes>)) {
        let mut own = self.all.clone();
        apply(&mut own);
        if own == self.all {
            return;
        }

        let mut stored = self.read().unwrap_or_else(|_| self.all.clone());
        apply(&mut stored);
        match self.write(&stored) {
            Ok(()) => self.all = stored,
            Err(error) => {
                self.all = own;
                if !std::mem::replace(&mut self.is_warned, true) {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "bytes refused in place are not remembered across a restart");
                }
            }
        }
    }

    /// The names of the directory: the one that the server was told, and the one that links lead to,
    /// by which the next server may be told it.
    fn names(&self) -> Vec<PathBuf> {
        let mut names = vec![self.directory.clone()];
        let real = fs::canonicalize(&self.directory);
        names.extend(real.ok().filter(|real| *real != self.directory));
        names
    }

    /// Reads what is remembered under each name of the directory.
    fn read(&self) -> Result<Vec<RefusedBytes>> {
        let Some(folder) = &self.folder else {
            return Ok(self.all.clone());
        };
        let mut all = Vec::new();
        for name in self.names() {
            for refused in read_file(&file_of(folder, &name))? {
                if !all.contains(&refused) {
                    all.push(refused);
                }
            }
        }
        Ok(all)
    }

    fn write(&self, refused: &[RefusedBytes]) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Err(Error::precondition(
                "neither XDG_STATE_HOME nor HOME is set; set models.state",
            ));
        };
        for name in self.names() {
            let stored = RefusalFile {
                format: FORMAT,
                directory: name.to_string_lossy().into_owned(),
                refused: refused.to_vec(),
            };
            write_file(&file_of(folder, &name), &stored).map_err(|e| {
                Error::unavailable("the state file in models.state cannot be written")
                    .with_source(e)
            })?;
        }
        Ok(())
    }
}

fn file_of(folder: &Path, directory: &Path) -> PathBuf {
    let digest = Digest::of(directory.to_string_lossy().as_bytes()).hex();
    folder.join(format!("{}.json", &digest[..16]))
}

/// Reads a file; nothing was refused if there is none.
fn read_file(path: &Path) -> Result<Vec<RefusedBytes>> {
    let unusable = |why: &str| {
        Error::precondition(format!(
            "the state file in models.state {why}; delete it, or set another folder"
        ))
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unusable("cannot be read").with_source(e)),
    };

    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| unusable("cannot be read").with_source(e))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unusable(&format!("is over {FILE_BYTES_MAX} bytes")));
    }
    let stored: RefusalFile =
        serde_json::from_slice(&bytes).map_err(|e| unusable("is malformed").with_source(e))?;
    if stored.format != FORMAT {
        return Err(unusable(&format!("is not of format {FORMAT}")));
    }
    Ok(stored.refused)
}

/// Replaces a file as a whole.
fn write_file(path: &Path, stored: &RefusalFile) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    let mut staged = tempfile::NamedTempFile::new_in(folder)?;
    staged.write_all(&serde_json::to_vec_pretty(stored)?)?;
    staged.as_file().sync_all()?;
    staged.persist(path).map_err(|e| e.error)?;
    Ok(())
}
