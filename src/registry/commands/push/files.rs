//! The files of a push on this machine: of a folder or the one file, and those
//! given beside it, each by what it is for. Reads no contents.

use super::{FILES_MAX, Push};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::registry::manifest::{
    BASELINE_PATH, COMPANION_PATH, File, GOLDEN_PATH, MANIFEST_PATH, MODEL_PATH, Role, check_path,
};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file of the version on this machine, measured.
pub(super) struct Local {
    pub file: File,
    pub path: PathBuf,
    /// Where its upload waits for its name.
    pub staged: Option<String>,
    /// A file of our own making, which goes when this does.
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

pub(super) fn open(path: &Path) -> Result<fs::File> {
    let unreadable =
        |e: io::Error| Error::invalid(format!("{} cannot be read", path.display())).with_source(e);
    let file = fs::File::open(path).map_err(unreadable)?;
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        _ => Err(Error::invalid(format!("{} is not a file", path.display()))),
    }
}

/// Lists the files: of the folder, or the one file, and those given beside it.
pub(super) fn gather(push: &Push) -> Result<Vec<Local>> {
    let local = |path: PathBuf, name: String, role| {
        check_path(&name).map_err(|e| Error::invalid(e.message))?;
        Ok(Local::new(name, path, role))
    };
    let mut files = Vec::new();
    let root = &push.path;
    let meta = fs::metadata(root)
        .map_err(|e| Error::invalid(format!("{} cannot be read", root.display())).with_source(e))?;
    if meta.is_file() {
        files.push(local(root.clone(), MODEL_PATH.to_owned(), Role::Model)?);
    } else {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let unreadable = |e: io::Error| {
                Error::invalid(format!("{} cannot be read", root.display())).with_source(e)
            };
            for entry in fs::read_dir(root.join(&folder)).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let inside = folder.join(entry.file_name());
                let kind = entry.file_type().map_err(unreadable)?;
                let name = inside
                    .to_str()
                    .ok_or_else(|| Error::invalid("a file's name is not UTF-8"))?
                    .to_owned();
                if kind.is_dir() {
                    folders.push(inside);
                } else if kind.is_file() && name == MANIFEST_PATH {
                    // What `pull` wrote; a new one is made.
                } else if kind.is_file() {
                    let role = role_of(&name);
                    files.push(local(entry.path(), name, role)?);
                } else {
                    return Err(Error::invalid(format!(
                        "'{name}' is neither a file nor a folder"
                    )));
                }
                if files.len() + folders.len() > FILES_MAX {
                    return Err(Error::overloaded(format!(
                        "the folder holds over {FILES_MAX} files"
                    )));
                }
            }
        }
    }
    for (role, path) in &push.extra {
        let name = match role {
            Role::Baseline => BASELINE_PATH,
            Role::Card => "README.md",
            Role::Golden => GOLDEN_PATH,
            Role::Companion => COMPANION_PATH,
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

fn role_of(name: &str) -> Role {
    match name {
        MODEL_PATH => Role::Model,
        BASELINE_PATH => Role::Baseline,
        "README.md" => Role::Card,
        GOLDEN_PATH => Role::Golden,
        COMPANION_PATH => Role::Companion,
        _ => Role::Other,
    }
}
