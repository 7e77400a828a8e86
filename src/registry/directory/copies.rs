//! Private copies of the files that a version needs while it serves. ONNX Runtime maps external data,
//! so it must not change: a file that is overwritten would change answers, and one that is truncated
//! would end the process. Each version gets a folder of its own, which is deleted with the version.
//! Folders of servers that crashed are deleted at the next start.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::hash::Hasher;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The beginning of the names of folders and their locks; nothing else in the place is touched.
const PREFIX: &str = "ortus-copy-";
/// The end of the name of a lock.
const LOCK: &str = ".lock";
/// The part of a folder for external data.
const EXTERNAL: &str = "external";
/// The part of a folder for files that a load call supplies.
const SUPPLIED: &str = "supplied";
/// The file of a folder with the model itself.
const MODEL: &str = "model.onnx";
/// How often a name is chosen whose lock another server takes for abandoned.
const ATTEMPTS_MAX: u32 = 8;
/// Bytes copied and hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// The place for copies. Servers may share it.
#[derive(Clone)]
pub(crate) struct Copies {
    root: PathBuf,
}

/// The folder with the copies of one version; deleted on drop.
#[derive(Debug)]
pub(crate) struct PrivateFolder {
    path: PathBuf,
    /// Locked while the folder is used, so that no other server deletes it.
    lock: OwnedLock,
}

/// A locked file that exists as long as its lock is held.
#[derive(Debug)]
struct OwnedLock {
    path: PathBuf,
    file: File,
}

impl Copies {
    /// Takes the place for copies, and deletes those that no server uses any more.
    pub(crate) fn open(root: PathBuf) -> Self {
        let copies = Self { root };
        for lock in copies.abandoned() {
            let folder = lock.folder();
            if let Err(error) = remove(&folder, &lock.path) {
                tracing::warn!(%error, folder = %folder.display(), "an unused private copy cannot be deleted");
            }
        }

        copies
    }

    /// Makes an empty folder.
    pub(super) fn folder(&self) -> Result<PrivateFolder> {
        self.make().map_err(not_copied)
    }

    fn make(&self) -> io::Result<PrivateFolder> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)?;
        // ONNX Runtime compares real paths.
        let root = self.root.canonicalize()?;
        let lock = OwnedLock::make(&root)?;
        let folder = PrivateFolder {
            path: lock.folder(),
            lock,
        };
        DirBuilder::new().mode(0o700).create(&folder.path)?;

        Ok(folder)
    }

    /// Returns the locks that nobody holds, held now.
    fn abandoned(&self) -> Vec<OwnedLock> {
        let is_lock = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            name.starts_with(PREFIX.as_bytes()) && name.ends_with(LOCK.as_bytes())
        };
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(is_lock)
            .filter_map(|path| {
                let file = File::open(&path).ok()?;
                OwnedLock { path, file }.held()
            })
            .collect()
    }
}

impl OwnedLock {
    fn make(root: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS_MAX {
            let made = tempfile::Builder::new()
                .prefix(PREFIX)
                .suffix(LOCK)
                .tempfile_in(root)?;
            let (file, path) = made.keep().map_err(|e| e.error)?;
            // A server that starts may take it for abandoned before it is locked.
            if let Some(lock) = (Self { path, file }).held() {
                return Ok(lock);
            }
        }

        Err(io::Error::other("other servers delete its lock"))
    }

    /// Locks the file; none if somebody else holds the lock or has deleted the file.
    fn held(self) -> Option<Self> {
        self.file.try_lock().ok()?;
        let own = self.file.metadata().ok()?;
        let named = fs::metadata(&self.path).ok()?;
        ((own.dev(), own.ino()) == (named.dev(), named.ino())).then_some(self)
    }

    /// The folder that it protects.
    fn folder(&self) -> PathBuf {
        self.path.with_extension("")
    }
}

impl PrivateFolder {
    /// The folder of external data.
    pub(super) fn external(&self) -> PathBuf {
        self.path.join(EXTERNAL)
    }

    /// The folder of supplied files.
    pub(super) fn supplied(&self) -> PathBuf {
        self.path.join(SUPPLIED)
    }

    /// Writes a supplied file. `path` is a relative path without `..`.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let path = self.supplied().join(path);
        let parent = path.parent().unwrap_or(&path);
        fs::create_dir_all(parent)
            .and_then(|()| create(&path)?.write_all(bytes))
            .map_err(not_copied)
    }

    /// The model file, once it is kept.
    pub(super) fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// Writes the model file.
    pub(super) fn keep_model(&self, bytes: &[u8]) -> Result<()> {
        create(&self.model())
            .and_then(|mut file| file.write_all(bytes))
            .map_err(not_copied)
    }

    /// Copies a file of external data as `location`, which is a relative path without `..`, and adds
    /// the bytes of the copy to `hash`. Tells whether they are `file_bytes`.
    pub(super) fn copy(
        &self,
        source: &mut File,
        location: &Path,
        hash: &mut Hasher,
        file_bytes: u64,
    ) -> Result<bool> {
        let path = self.external().join(location);
        let parent = path.parent().unwrap_or(&path);
        fs::create_dir_all(parent).map_err(not_copied)?;
        let mut copy = create(&path).map_err(not_copied)?;

        if share_blocks(source, &copy) {
            let copied = hash_all(&mut copy, hash).map_err(unread)?;
            return Ok(copied == file_bytes);
        }
        write_copy(source, &mut copy, hash).map(|copied| copied == file_bytes)
    }
}

/// Makes an empty file hold the blocks of another one until one of the two is written to. The copy is
/// as private as any other. Tells whether the file system can do that.
#[cfg(target_os = "linux")]
fn share_blocks(source: &File, copy: &File) -> bool {
    rustix::fs::ioctl_ficlone(copy, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn share_blocks(_source: &File, _copy: &File) -> bool {
    false
}

/// Adds every byte of a file to a hash, and returns how many there are.
pub(super) fn hash_all(file: &mut File, hash: &mut Hasher) -> io::Result<u64> {
    file.rewind()?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(total),
            n => {
                hash.update(&chunk[..n]);
                total += n as u64;
            }
        }
    }
}

/// Writes the bytes that are hashed. Zeros become holes, so that the copy of a sparse file needs no
/// more space than the file.
fn write_copy(source: &mut File, copy: &mut File, hash: &mut Hasher) -> Result<u64> {
    let (mut chunk, zeros) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut total = 0;
    loop {
        let n = source.read(&mut chunk).map_err(unread)?;
        if n == 0 {
            break;
        }
        hash.update(&chunk[..n]);
        total += n as u64;
        if chunk[..n] == zeros[..n] {
            copy.seek(io::SeekFrom::Start(total)).map(drop)
        } else {
            copy.write_all(&chunk[..n])
        }
        .map_err(not_copied)?;
    }

    copy.set_len(total).map_err(not_copied)?;
    Ok(total)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(path)
}

fn unread(error: io::Error) -> Error {
    Error::unavailable(format!("read external data: {error}")).with_source(error)
}

/// Says why there is no private copy, and what to do.
fn not_copied(error: io::Error) -> Error {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let message = format!("its private copy cannot be made in models.weights_cache: {error}");
    let remedy = match error.kind() {
        StorageFull | QuotaExceeded => "free space there, or set another folder",
        PermissionDenied | ReadOnlyFilesystem => "set a folder that the server may write to",
        _ => return Error::unavailable(message).with_source(error),
    };
    Error::overloaded(format!("{message}; {remedy}")).with_source(error)
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path, &self.lock.path) {
            tracing::warn!(%error, "a private copy cannot be deleted; it is when a server starts");
        }
    }
}

/// Deletes a copy and then its lock, as far as somebody else has not deleted them.
fn remove(folder: &Path, lock: &Path) -> io::Result<()> {
    let missing_is_fine = |removed: io::Result<()>| match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    missing_is_fine(fs::remove_dir_all(folder))?;
    missing_is_fine(fs::remove_file(lock))
}
