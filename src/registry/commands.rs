//! The commands on a registry, each written once: the command line and the operator
//! API parse, call these functions and print. Owns no format and no storage.

pub(crate) mod audit;
pub(crate) mod bundle;
pub(crate) mod change;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub(crate) mod gc;
pub(crate) mod look;
pub(crate) mod mlflow;
pub mod push;
pub(crate) mod report;

use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::onnx::first_run::Prober;
use crate::registry::fold::{NamespaceState, Record};
use crate::registry::log::{Author, Change, Committed, Log};
use crate::registry::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::registry::sign::PrivateKey;
use crate::storage::store::Store;
use std::path::Path;

/// A namespace of a registry, and who makes changes.
pub struct Operator {
    /// Log of the namespace.
    pub log: Log,
    /// Who makes the changes.
    pub author: Author,
    /// Makes the first run of a pushed model; `None` skips it.
    pub prober: Option<Prober>,
    /// Signs every entry and every pushed version; `None` signs nothing.
    pub key: Option<PrivateKey>,
}

impl Operator {
    /// Opens a registry. For writing it is created if it does not exist, and tested:
    /// a store that does not support create-if-absent is refused.
    pub(crate) async fn open(
        url: &str,
        namespace: &str,
        author: Author,
        writes: bool,
    ) -> Result<Self> {
        let log = Log::new(Store::open(url, writes)?, namespace)?;
        if writes {
            let probe = log.key(&format!("probe/{}", uuid::Uuid::new_v4().simple()));
            log.store.self_test(&probe).await?;
        }
        Ok(Self {
            log,
            author,
            prober: None,
            key: None,
        })
    }

    /// Reads the current state.
    pub async fn state(&self) -> Result<NamespaceState> {
        self.log.load().await
    }

    /// Commits a change, signed if there is a key.
    async fn commit(
        &self,
        state: NamespaceState,
        decide: &(dyn Fn(&NamespaceState) -> Result<Change> + Sync),
    ) -> Result<Committed> {
        self.log
            .commit(state, &self.author, self.key.as_ref(), decide)
            .await
    }

    /// Finds a version by number or alias; the champion by default.
    async fn chosen(
        &self,
        name: &ModelName,
        which: Option<&str>,
    ) -> Result<(Version, Record, Manifest)> {
        let state = self.state().await?;
        let version = find(&state, name, which.unwrap_or("champion"))?;
        let record = state.record(name, version)?.clone();
        let manifest = self.manifest(&record).await?;
        Ok((version, record, manifest))
    }

    async fn manifest(&self, record: &Record) -> Result<Manifest> {
        manifest(&self.log, record).await
    }
}

/// Reads a version's manifest.
pub(crate) async fn manifest(log: &Log, record: &Record) -> Result<Manifest> {
    let blob = record.blob(record.manifest, MANIFEST_BYTES_MAX);
    Manifest::read(&log.read_blob(&blob, MANIFEST_BYTES_MAX).await?)
}

/// Finds a version by number or alias.
fn find(state: &NamespaceState, name: &ModelName, which: &str) -> Result<Version> {
    let model = state.model(name)?;
    model.find(which).ok_or_else(|| {
        let which = crate::core::error::short(which);
        Error::not_found(format!("'{name}' has no version or alias '{which}'"))
    })
}

/// A folder that appears complete or not at all: it is filled under a temporary
/// name, then renamed.
struct NewFolder<'p> {
    staged: tempfile::TempDir,
    into: &'p Path,
}

impl<'p> NewFolder<'p> {
    /// Starts a folder; refuses a path that exists.
    fn beside(into: &'p Path) -> Result<Self> {
        if into.exists() {
            return Err(Error::precondition(format!(
                "{} exists already; choose another path",
                into.display()
            )));
        }

        let parent = into
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let make = || std::fs::create_dir_all(parent).and_then(|()| tempfile::tempdir_in(parent));

        Ok(Self {
            staged: make().map_err(|e| unwritable(into, e))?,
            into,
        })
    }

    /// The temporary folder, to be filled.
    fn path(&self) -> &Path {
        self.staged.path()
    }

    /// Writes a file into the folder.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        std::fs::write(self.path().join(name), bytes).map_err(|e| unwritable(self.into, e))
    }

    /// Renames the folder to its final path.
    fn appear(self) -> Result<()> {
        std::fs::rename(self.path(), self.into).map_err(|e| unwritable(self.into, e))?;
        drop(self.staged.keep());
        Ok(())
    }
}

fn unwritable(into: &Path, error: std::io::Error) -> Error {
    Error::precondition(format!("write to {}", into.display())).with_source(error)
}
