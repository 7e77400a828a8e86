//! A store that ends the program before its n-th operation. Only for tests, which
//! set a variable for it.

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names the operation, from 1, before which the program ends.
const VARIABLE: &str = "ORTUS_TEST_ABORT_AT";

/// Wraps a store where the variable asks for it.
pub(super) fn wrap(inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    match std::env::var(VARIABLE).ok().and_then(|n| n.parse().ok()) {
        Some(left) => Arc::new(Dying {
            inner,
            left: Arc::new(Left(AtomicU64::new(left))),
        }),
        None => inner,
    }
}

/// Operations left, the fatal one included.
#[derive(Debug)]
struct Left(AtomicU64);

impl Left {
    fn count(&self) {
        if self.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            // No destructor runs, nothing is flushed.
            std::process::abort();
        }
    }
}

#[derive(Debug)]
struct Dying {
    inner: Arc<dyn ObjectStore>,
    left: Arc<Left>,
}

impl std::fmt::Display for Dying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Dying {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.left.count();
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.left.count();
        let inner = self.inner.put_multipart_opts(at, options).await?;
        Ok(Box::new(DyingUpload {
            inner,
            left: Arc::clone(&self.left),
        }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.left.count();
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        all: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let left = Arc::clone(&self.left);
        self.inner
            .delete_stream(all.inspect(move |_| left.count()).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.left.count();
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.left.count();
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.left.count();
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.left.count();
        self.inner.rename_opts(from, to, options).await
    }
}

/// An upload in parts; each part is an operation.
#[derive(Debug)]
struct DyingUpload {
    inner: Box<dyn MultipartUpload>,
    left: Arc<Left>,
}

#[async_trait]
impl MultipartUpload for DyingUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.left.count();
        self.inner.put_part(part)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.left.count();
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.left.count();
        self.inner.abort().await
    }
}
