//! Where the bytes of a loaded model are, for a further session of the same version: the bytes
//! themselves are not kept in memory where they are many.

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use bytes::Bytes;
use std::path::PathBuf;

/// A model of at most this many bytes is kept in memory, where it is a small part of its session.
pub(crate) const KEPT_BYTES_MAX: usize = 1 << 20;

/// The model file of a loaded version.
#[derive(Clone, Debug)]
pub(crate) enum ModelFile {
    /// In memory.
    Memory(Bytes),
    /// On disk, with this digest.
    Disk(PathBuf, Digest),
}

impl ModelFile {
    /// Reads the bytes. Refuses other ones than were loaded.
    pub(crate) fn read(&self) -> Result<Bytes> {
        let (path, digest) = match self {
            Self::Memory(bytes) => return Ok(bytes.clone()),
            Self::Disk(path, digest) => (path, digest),
        };

        let bytes = std::fs::read(path)
            .map_err(|e| Error::unavailable("read the model file again").with_source(e))?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::precondition(
                "the model file changed since the version was loaded; put new files under a new version",
            ));
        }
        Ok(bytes.into())
    }
}
