//! Blobs: content-addressed files of versions, hashed before and while they are
//! written, and while they are read. Large ones are never held whole in memory.

use super::entry::Blob;
use super::log::Log;
use crate::core::error::{Error, Result};
use crate::core::hash::{Digest, Hasher};
use bytes::Bytes;
use futures_util::stream::TryStreamExt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

const CHUNK_BYTES: usize = 1 << 20;

/// Called with the number of bytes after each read or write.
pub(crate) type Progress<'p> = &'p (dyn Fn(u64) + Sync);

/// Hashes a file; returns its digest and length.
pub fn measure(file: &mut File) -> io::Result<(Digest, u64)> {
    file.rewind()?;
    let mut context = Hasher::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            n => {
                context.update(&chunk[..n]);
                total += n as u64;
            }
        }
    }

    file.rewind()?;
    Ok((context.finish(), total))
}

/// Hashes bytes as they are read. If an expected digest is set and the bytes do not
/// match it, the last read fails. The upload then fails too, because it completes
/// only after the last read.
struct Hashing<'r> {
    source: &'r mut File,
    context: Hasher,
    expected: Option<Digest>,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.context.update(&buffer[..n]);
        let is_end = n == 0 && !buffer.is_empty();
        match self.expected.filter(|_| is_end) {
            Some(expected) if self.context.clone().finish() != expected => {
                Err(io::Error::other("the file changed while it was pushed"))
            }
            _ => Ok(n),
        }
    }
}

impl Log {
    pub(crate) fn blob_key(&self, blob: &Blob) -> String {
        let hex = blob.digest.hex();
        let again = if blob.generation > 0 {
            format!(".{}", blob.generation)
        } else {
            String::new()
        };

        self.key(&format!("blobs/sha256/{}/{hex}{again}", &hex[..2]))
    }

    /// Writes a small blob, unless the store already has it.
    pub(crate) async fn put_bytes(&self, bytes: Bytes, generation: u32) -> Result<Blob> {
        let blob = Blob {
            digest: Digest::of(&bytes),
            bytes: bytes.len() as u64,
            generation,
        };

        if !self.is_whole(&blob).await? {
            self.store.overwrite(&self.blob_key(&blob), bytes).await?;
        }
        Ok(blob)
    }

    /// Uploads a file whose digest is known, unless the store already has it. The
    /// bytes are hashed again during the upload; if they changed, no object
    /// appears.
    pub(crate) async fn put_file(
        &self,
        file: &mut File,
        blob: Blob,
        progress: Progress<'_>,
    ) -> Result<()> {
        if self.is_whole(&blob).await? {
            progress(blob.bytes);
            return Ok(());
        }

        file.rewind()
            .map_err(|e| Error::unavailable("read the file being pushed").with_source(e))?;
        let mut source = Hashing {
            source: file,
            context: Hasher::default(),
            expected: Some(blob.digest),
        };

        self.store
            .upload(&self.blob_key(&blob), blob.bytes, &mut source, progress)
            .await
    }

    /// Uploads a file before its digest is known, if the store can rename it later,
    /// so that it is read only once. Returns the blob and its temporary key.
    pub(crate) async fn stage(
        &self,
        file: &mut File,
        progress: Progress<'_>,
    ) -> Result<Option<(Blob, String)>> {
        if !self.store.moves() {
            return Ok(None);
        }
        let unreadable = |e| Error::unavailable("read the file being pushed").with_source(e);
        let bytes = file.metadata().map_err(unreadable)?.len();
        file.rewind().map_err(unreadable)?;
        let key = self.key(&format!("staging/{}", uuid::Uuid::new_v4().simple()));
        let mut source = Hashing {
            source: file,
            context: Hasher::default(),
            expected: None,
        };

        self.store
            .upload(&key, bytes, &mut source, progress)
            .await?;
        Ok(Some((
            Blob {
                digest: source.context.finish(),
                bytes,
                generation: 0,
            },
            key,
        )))
    }

    /// Renames a staged upload to its digest, unless the store already has the blob
    /// undamaged.
    pub(crate) async fn settle(&self, staged: &str, blob: &Blob) -> Result<()> {
        match self.is_whole(blob).await? {
            true => self.store.delete(staged).await,
            false => self.store.rename(staged, &self.blob_key(blob)).await,
        }
    }

    /// Tells whether the store has a blob with the right bytes. Compares the length
    /// first, then reads the bytes.
    pub(crate) async fn is_whole(&self, blob: &Blob) -> Result<bool> {
        match self.store.head(&self.blob_key(blob)).await? {
            Some(meta) if meta.bytes == blob.bytes => {
                Ok(self.copy_blob(blob, &mut io::sink(), &|_| {}).await.is_ok())
            }
            _ => Ok(false),
        }
    }

    /// Copies a blob to `target` and verifies it. The error names a damaged object.
    pub(crate) async fn copy_blob(
        &self,
        blob: &Blob,
        target: &mut (dyn Write + Send),
        progress: Progress<'_>,
    ) -> Result<()> {
        let key = self.blob_key(blob);
        let damaged = |how: &str| Error::precondition(format!("{key} {how}"));
        let mut stream = self
            .store
            .stream(&key)
            .await?
            .ok_or_else(|| damaged("is missing"))?;
        let mut context = Hasher::default();

        let mut total = 0;
        while let Some(part) = stream.try_next().await? {
            total += part.len() as u64;
            if total > blob.bytes {
                return Err(damaged("is longer than the log says"));
            }
            context.update(&part);
            target
                .write_all(&part)
                .map_err(|e| Error::unavailable("write a copy of a blob").with_source(e))?;
            progress(part.len() as u64);
        }

        if total != blob.bytes || context.finish() != blob.digest {
            return Err(damaged("does not match the digest in its name"));
        }
        Ok(())
    }

    /// Reads a whole blob of at most `bytes_max` into memory.
    pub(crate) async fn read_blob(&self, blob: &Blob, bytes_max: u64) -> Result<Bytes> {
        if blob.bytes > bytes_max {
            return Err(Error::precondition(format!(
                "blob {} is over {bytes_max} bytes",
                blob.digest
            )));
        }

        let mut all = Vec::with_capacity(usize::try_from(blob.bytes).unwrap_or(0));
        self.copy_blob(blob, &mut all, &|_| {}).await?;
        Ok(all.into())
    }

    /// Copies a blob into a new file, which appears under `path` complete and
    /// verified, or not at all.
    pub(crate) async fn fetch_blob(
        &self,
        blob: &Blob,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<()> {
        let folder = path
            .parent()
            .ok_or_else(|| Error::internal("the path of a blob's copy has no parent folder"))?;
        let io = |e: io::Error| Error::unavailable("write a copy of a blob").with_source(e);
        std::fs::create_dir_all(folder).map_err(io)?;
        let mut staged = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
        self.copy_blob(blob, staged.as_file_mut(), progress).await?;
        staged.as_file().sync_all().map_err(io)?;
        staged.persist(path).map_err(|e| io(e.error))?;
        Ok(())
    }
}
