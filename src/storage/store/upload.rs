//! Uploads of files of any size, in parts. An object appears complete or not at
//! all.

use super::{Store, failed};
use crate::core::error::{Error, Result};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use object_store::{MultipartUpload, ObjectStoreExt};
use std::io::{self, Read};
use tokio::task::{JoinError, JoinHandle};

/// Bytes of one part of an upload; S3 asks for 5 MiB or more.
const PART_BYTES: usize = 8 << 20;
/// Parts that are sent concurrently.
const PARTS_MAX: usize = 3;
/// Objects up to this size are put in one request.
const SINGLE_BYTES_MAX: u64 = PART_BYTES as u64;

/// A source that is uploaded.
struct SourceUpload<'u> {
    key: &'u str,
    bytes_total: u64,
    source: &'u mut (dyn Read + Send),
    /// Called with the number of bytes that were sent.
    sent: &'u (dyn Fn(u64) + Sync),
}

type PartTask = JoinHandle<object_store::Result<()>>;

impl Store {
    /// Writes `bytes_total` bytes from `source`, in parts if they are many. The
    /// object appears complete or not at all, and only after `source` was read to
    /// its end without an error; an existing object is replaced. `sent` is called
    /// with the number of bytes as they are sent.
    pub(crate) async fn upload(
        &self,
        key: &str,
        bytes_total: u64,
        source: &mut (dyn Read + Send),
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let mut upload = SourceUpload {
            key,
            bytes_total,
            source,
            sent,
        };

        if bytes_total <= SINGLE_BYTES_MAX {
            let all = upload.read_all()?;
            return self.overwrite(key, all).await;
        }

        let mut target = self
            .objects
            .put_multipart(&self.at(key))
            .await
            .map_err(|e| failed("upload", key, e))?;
        match upload.send_parts(target.as_mut()).await {
            Ok(()) => {
                let completed = target.complete().await;
                completed.map(drop).map_err(|e| failed("upload", key, e))
            }
            Err(error) => {
                // If this fails too, the store deletes the parts by its own rules.
                let _ = target.abort().await;
                Err(error)
            }
        }
    }
}

impl SourceUpload<'_> {
    fn read_all(&mut self) -> Result<Bytes> {
        let mut all = Vec::with_capacity(usize::try_from(self.bytes_total).unwrap_or(0));
        // Reading one byte more shows whether the file grew.
        let limit = self.bytes_total + 1;
        (&mut *self.source)
            .take(limit)
            .read_to_end(&mut all)
            .map_err(unreadable)?;
        if all.len() as u64 != self.bytes_total {
            return Err(changed());
        }

        (self.sent)(self.bytes_total);
        Ok(all.into())
    }

    async fn send_parts(&mut self, target: &mut dyn MultipartUpload) -> Result<()> {
        let mut pending: FuturesUnordered<PartTask> = FuturesUnordered::new();
        let mut left = self.bytes_total;

        while left > 0 {
            let length = usize::try_from(left.min(PART_BYTES as u64)).unwrap_or(PART_BYTES);
            let part = self.read_part(length)?;
            left -= length as u64;
            // A task of its own, which runs while the next part is read.
            pending.push(tokio::spawn(target.put_part(part.into())));
            tokio::task::yield_now().await;
            if pending.len() >= PARTS_MAX {
                self.check_part(pending.try_next().await)?;
            }
            (self.sent)(length as u64);
        }

        if self.source.read(&mut [0]).map_err(unreadable)? > 0 {
            return Err(changed());
        }
        while !pending.is_empty() {
            self.check_part(pending.try_next().await)?;
        }
        Ok(())
    }

    fn read_part(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut part = Vec::with_capacity(length);
        (&mut *self.source)
            .take(length as u64)
            .read_to_end(&mut part)
            .map_err(unreadable)?;
        if part.len() != length {
            return Err(changed());
        }

        Ok(part)
    }

    fn check_part(&self, part: Result<Option<object_store::Result<()>>, JoinError>) -> Result<()> {
        match part {
            Ok(Some(Err(error))) => Err(failed("upload", self.key, error)),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::internal("upload a part").with_source(error)),
        }
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::unavailable("read the file being uploaded").with_source(error)
}

fn changed() -> Error {
    Error::precondition("the file being uploaded changed its length meanwhile")
}
