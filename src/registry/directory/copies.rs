//! Private copies of external data. ONNX Runtime maps such files, so they must not change while a
//! version serves: a file that is overwritten would change answers, and one that is truncated would
//! end the process. Each version gets a folder of its own, which is deleted with the version. Folders
//! of crashed processes are deleted at the next start.

use super::walk::failed;
use crate::core::error::Result;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The lock of everyone who makes or sweeps a copy.
const MAKING: &str = "making.lock";
/// The ending of the lock that lives as long as the copy of the same name is used.
const LOCK: &str = "lock";

/// Where the copies are.
pub(crate) struct Copies {
    root: PathBuf,
}

/// The folder with the copies of one version; deleted on drop.
#[derive(Debug)]
pub(crate) struct PrivateFolder {
    path: PathBuf,
    lock_path: PathBuf,
    /// Held while the folder is used, so that no other process sweeps it.
    _lock: File,
}

impl Copies {
    /// Takes the folder for copies, and deletes those that no process uses any more.
    pub(crate) fn open(root: PathBuf) -> Self {
        let copies = Self { root };
        if copies.root.is_dir()
            && let Err(error) = copies.sweep()
        {
            tracing::warn!(%error, "unused copies of external data cannot be deleted");
        }
        copies
    }

    /// Makes an empty folder.
    pub(super) fn folder(&self) -> Result<PrivateFolder> {
        self.make()
            .map_err(|e| failed("make a private copy of external data", e))
    }

    fn make(&self) -> io::Result<PrivateFolder> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)?;
        let _making = self.making()?;
        let path = tempfile::Builder::new()
            .prefix("weights-")
            .tempdir_in(&self.root)?
            .keep();
        let lock_path = path.with_extension(LOCK);
        let lock = File::create(&lock_path)?;
        lock.lock()?;

        Ok(PrivateFolder {
            path,
            lock_path,
            _lock: lock,
        })
    }

    fn sweep(&self) -> io::Result<()> {
        let _making = self.making()?;
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if !path.is_dir() {
                continue;
            }
            let lock_path = path.with_extension(LOCK);
            let is_used = File::open(&lock_path).is_ok_and(|lock| lock.try_lock().is_err());
            if !is_used {
                fs::remove_dir_all(&path)?;
                let _ = fs::remove_file(&lock_path);
            }
        }
        Ok(())
    }

    fn making(&self) -> io::Result<File> {
        let lock = File::create(self.root.join(MAKING))?;
        lock.lock()?;
        Ok(lock)
    }
}

impl PrivateFolder {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the file for the copy of `location`, which is a relative path without `..`.
    pub(super) fn create(&self, location: &Path) -> io::Result<File> {
        let path = self.path.join(location);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(path)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let removed =
            fs::remove_dir_all(&self.path).and_then(|()| fs::remove_file(&self.lock_path));
        if let Err(error) = removed {
            tracing::warn!(%error, "a private copy of external data cannot be deleted");
        }
    }
}
