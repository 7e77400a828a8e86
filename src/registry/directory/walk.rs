//! Lists folders and takes fingerprints of files. Follows a link only if it leads
//! inside the model directory, or if links may lead anywhere. Opens no file.

use crate::core::error::{Error, Result};
use crate::registry::catalog::{FileStamp, Fingerprint};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The most files and folders in a version.
pub(super) const FILES_MAX: usize = 10_000;
/// The deepest folder in a version.
pub(super) const DEPTH_MAX: usize = 4;

/// Lists the names in a folder, in order; empty if the folder does not exist.
pub(super) fn names(folder: &Path) -> Result<Vec<OsString>> {
    let list = || -> io::Result<Vec<OsString>> {
        std::fs::read_dir(folder)?
            .map(|e| Ok(e?.file_name()))
            .collect()
    };

    match list() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(failed("list a folder", e)),
        Ok(mut names) => {
            names.sort();
            Ok(names)
        }
    }
}

/// The folder that everything is in.
#[derive(Clone, Copy)]
pub(super) struct Root<'r> {
    /// Canonical.
    pub path: &'r Path,
    pub links: Links,
}

/// Where links may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Into the model directory.
    Inside,
    /// Anywhere.
    Anywhere,
}

impl Links {
    /// Whether a link may lead from somewhere below a folder to a target. Both are canonical.
    pub(super) fn may_lead(self, below: &Path, target: &Path) -> bool {
        self == Self::Anywhere || target.starts_with(below)
    }
}

/// Follows links. Returns `None` if the path does not exist or leads out of the root where that is
/// not allowed. A failure of the file system is an error, so that a served
/// version is not taken for a deleted one.
pub(super) fn inside(root: Root<'_>, path: &Path) -> Result<Option<PathBuf>> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match path.canonicalize() {
        Ok(target) => Ok(Some(target).filter(|target| root.links.may_lead(root.path, target))),
        Err(e) if matches!(e.kind(), NotFound | NotADirectory) => Ok(None),
        Err(e) if Errno::from_io_error(&e) == Some(Errno::LOOP) => Ok(None),
        Err(e) => Err(failed("follow a path", e)),
    }
}

/// Device and inode of a folder.
pub(super) type FolderId = (u64, u64);

/// Returns the identity of a folder. Fails if it may be listed but not searched: then each path in it
/// would seem to lead nowhere.
pub(super) fn searchable(folder: &Path) -> Result<FolderId> {
    folder
        .join(".")
        .metadata()
        .map(|m| (m.dev(), m.ino()))
        .map_err(|e| failed("search a folder", e))
}

/// Takes the fingerprint of every regular file of a version. Refuses a version with
/// over [`FILES_MAX`] files or folders deeper than [`DEPTH_MAX`].
pub(super) fn fingerprint(root: Root<'_>, folder: &Path) -> Result<Fingerprint> {
    let mut stamps = Vec::new();
    let mut seen = 0;
    // Folders still to list, relative to the version's own.
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((relative, depth)) = folders.pop() {
        for name in names(&folder.join(&relative))? {
            seen += 1;
            if seen > FILES_MAX {
                return Err(Error::overloaded(format!(
                    "a version has over {FILES_MAX} files"
                )));
            }
            let file = relative.join(name);
            let Some(target) = inside(root, &folder.join(&file))? else {
                continue;
            };
            match target.metadata() {
                Ok(m) if m.is_file() => stamps.push(stamp(file, &m)),
                Ok(m) if m.is_dir() && depth == DEPTH_MAX => {
                    return Err(Error::overloaded(format!(
                        "a version has folders deeper than {DEPTH_MAX}"
                    )));
                }
                Ok(m) if m.is_dir() => folders.push((file, depth + 1)),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed("inspect a file", e)),
            }
        }
    }

    stamps.sort();
    Ok(Fingerprint(stamps))
}

/// Takes the fingerprint of a model file among the names in a folder: of the file itself and of files whose names
/// begin like its own, such as its external data.
pub(super) fn beside(root: Root<'_>, names: &[OsString], file: &OsStr) -> Result<Fingerprint> {
    let stem = Path::new(file).file_stem().unwrap_or(file);
    let stem = stem.as_encoded_bytes();
    let belongs = |name: &&OsString| {
        let rest = name.as_encoded_bytes().strip_prefix(stem);
        rest.is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_alphanumeric))
    };
    let mut stamps = Vec::new();
    for name in names.iter().filter(belongs).take(FILES_MAX) {
        let Some(target) = inside(root, &root.path.join(name))? else {
            continue;
        };
        match target.metadata() {
            Ok(m) if m.is_file() => stamps.push(stamp(name.into(), &m)),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("inspect a file", e)),
        }
    }

    Ok(Fingerprint(stamps))
}

/// Records what distinguishes a file from its replacement.
pub(super) fn stamp(file: PathBuf, metadata: &Metadata) -> FileStamp {
    let since_1970 =
        |seconds: i64, rest_ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest_ns);
    FileStamp {
        file,
        file_bytes: metadata.len(),
        modified_ns: since_1970(metadata.mtime(), metadata.mtime_nsec()),
        inode: metadata.ino(),
        changed_ns: since_1970(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Nanoseconds since 1970; the time may be in the future.
pub(super) fn nanoseconds(time: SystemTime) -> i128 {
    let count = |d: std::time::Duration| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX / 2);
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or_else(|e| -count(e.duration()), count)
}

/// Makes the error of a failed operation on the directory.
pub(super) fn failed(what: &str, error: io::Error) -> Error {
    Error::unavailable(format!("{what}: {error}")).with_source(error)
}
