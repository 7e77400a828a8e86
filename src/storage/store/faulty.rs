//! A store in memory that fails on demand, as networks and buckets do. Only for
//! tests.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// The fault of the next create or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The create succeeds, and its response is lost.
    LostAnswer,
    /// The create is refused as a conflict, and nothing is written.
    Conflict,
    /// The create request is lost, and nothing is written.
    LostRequest,
    /// The create never ends.
    StalledCreate,
    /// The read reports that the object does not exist.
    Stale,
    /// The read fails.
    Unreadable,
    /// The read never ends.
    Stalled,
}

impl Fault {
    fn is_of_create(self) -> bool {
        matches!(
            self,
            Self::LostAnswer | Self::Conflict | Self::LostRequest | Self::StalledCreate
        )
    }
}

/// The faults to come, in order; creates and reads each take theirs.
#[derive(Debug, Default)]
pub(crate) struct Faulty {
    inner: InMemory,
    faults: Mutex<VecDeque<Fault>>,
    /// Whether creating overwrites, as some stores do.
    pub ignores_conditions: bool,
}

impl Faulty {
    /// Plans faults; after them the store works.
    pub(crate) fn plan(self: &Arc<Self>, faults: &[Fault]) {
        self.faults.lock().extend(faults);
    }

    /// Tells whether every planned fault has happened.
    pub(crate) fn is_through(&self) -> bool {
        self.faults.lock().is_empty()
    }

    fn next(&self, create: bool) -> Option<Fault> {
        let mut faults = self.faults.lock();
        let first = faults
            .front()
            .copied()
            .filter(|f| f.is_of_create() == create);
        if first.is_some() {
            faults.pop_front();
        }

        first
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: "the connection was lost".into(),
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        tokio::task::yield_now().await;
        if options.mode != PutMode::Create {
            return self.inner.put_opts(at, payload, options).await;
        }
        if self.ignores_conditions {
            options.mode = PutMode::Overwrite;
        }
        match self.next(true) {
            Some(Fault::Conflict) => Err(object_store::Error::AlreadyExists {
                path: at.to_string(),
                source: "409".into(),
            }),
            Some(Fault::LostRequest) => Err(broken()),
            Some(Fault::StalledCreate) => std::future::pending().await,
            Some(Fault::LostAnswer) => {
                self.inner.put_opts(at, payload, options).await?;
                Err(broken())
            }
            _ => self.inner.put_opts(at, payload, options).await,
        }
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        tokio::task::yield_now().await;
        match self.next(false) {
            Some(Fault::Stale) => Err(object_store::Error::NotFound {
                path: at.to_string(),
                source: "404".into(),
            }),
            Some(Fault::Stalled) => std::future::pending().await,
            Some(_) => Err(broken()),
            None => self.inner.get_opts(at, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    fn delete_stream(
        &self,
        all: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(all)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
