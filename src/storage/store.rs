//! Objects by key, in a directory or a bucket: create if absent, read, upload,
//! list, delete. The only file that names `object_store`. Knows no key and no
//! format; overwrites an object only in [`Store::overwrite`], `upload` and
//! `rename`.

#[cfg(feature = "testing")]
mod dying;
#[cfg(test)]
pub(crate) mod faulty;
mod open;
#[cfg(test)]
mod tests;
mod upload;

use crate::core::error::{Error, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An object store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    /// The address for messages, without credentials.
    name: Arc<str>,
    /// The folder, if its objects are files.
    folder: Option<PathBuf>,
}

/// Result of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object was created.
    Yes,
    /// The object exists, or the store says so: read it back to be sure.
    Exists,
}

/// Metadata of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its length.
    pub bytes: u64,
    /// By the store's clock.
    pub modified: DateTime<Utc>,
}

/// Limits how long work on a store may take: a store that hangs must not keep others waiting.
pub(crate) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(Error::late("the store does not answer in time")))
}

impl Store {
    /// Opens `file:///…` (or a plain path), `s3://…`, `gs://…`, `az://…` or
    /// `memory://`; credentials come from the environment. Makes the folder of
    /// a `file:` store only where `create` says so.
    pub fn open(url: &str, create: bool) -> Result<Self> {
        Self::open_with(url, create, &mut std::env::vars())
    }

    /// Opens an address that is not a registry's: errors name `what` it is for.
    pub fn open_for(what: &str, url: &str, create: bool) -> Result<Self> {
        Self::open_as(what, url, create, &mut std::env::vars())
    }

    /// Opens an address with the credentials of `env` in place of the environment.
    pub(crate) fn open_with(
        url: &str,
        create: bool,
        env: &mut dyn Iterator<Item = (String, String)>,
    ) -> Result<Self> {
        Self::open_as("registry", url, create, env)
    }

    fn open_as(
        what: &str,
        url: &str,
        create: bool,
        env: &mut dyn Iterator<Item = (String, String)>,
    ) -> Result<Self> {
        let (objects, root, name) = open::open(what, url, create, env)?;
        #[cfg(feature = "testing")]
        let objects = dying::wrap(objects);
        let folder = name.strip_prefix("file://").map(PathBuf::from);
        Ok(Self {
            objects,
            root,
            name: name.into(),
            folder,
        })
    }

    /// Opens the same store with connections of its own.
    pub(crate) fn reopen(&self) -> Result<Self> {
        match self.name.split_once("://") {
            Some(("memory", _)) | None => Ok(self.clone()),
            // A folder has no connections.
            Some(("file", _)) => Ok(self.clone()),
            Some(_) => Self::open_for("store", &self.name, false),
        }
    }

    /// Wraps an open store.
    #[cfg(test)]
    pub(crate) fn of(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            root: Path::default(),
            name: "test".into(),
            folder: None,
        }
    }

    fn at(&self, key: &str) -> Path {
        self.root.parts().chain(Path::from(key).parts()).collect()
    }

    /// Writes an object unless it exists.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes) -> Result<Created> {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };

        match self
            .objects
            .put_opts(&self.at(key), bytes.into(), options)
            .await
        {
            Ok(_) => Ok(Created::Yes),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(Created::Exists),
            Err(error) => Err(failed("create", key, error)),
        }
    }

    /// Writes an object, replacing an existing one: for hints and heartbeats.
    pub(crate) async fn overwrite(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.objects
            .put(&self.at(key), bytes.into())
            .await
            .map_err(|e| failed("write", key, e))?;
        Ok(())
    }

    /// Reads an object of at most `bytes_max`; `None` if there is none.
    pub(crate) async fn get(&self, key: &str, bytes_max: u64) -> Result<Option<Bytes>> {
        let found = match self.objects.get(&self.at(key)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed("read", key, error)),
        };

        if found.meta.size > bytes_max {
            return Err(Error::precondition(format!(
                "{key} is {} bytes, over {bytes_max}",
                found.meta.size
            )));
        }

        Ok(Some(
            found.bytes().await.map_err(|e| failed("read", key, e))?,
        ))
    }

    /// Reads an object in parts; `None` if there is none.
    pub async fn stream(&self, key: &str) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        match self.objects.get(&self.at(key)).await {
            Ok(found) => {
                let key = key.to_owned();
                Ok(Some(
                    found
                        .into_stream()
                        .map_err(move |e| failed("read", &key, e))
                        .boxed(),
                ))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("read", key, error)),
        }
    }

    /// Returns the metadata of an object; `None` if there is none.
    pub async fn head(&self, key: &str) -> Result<Option<Meta>> {
        match self.objects.head(&self.at(key)).await {
            Ok(meta) => Ok(Some(Meta {
                bytes: meta.size,
                modified: meta.last_modified,
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("look at", key, error)),
        }
    }

    /// Whether [`Store::rename`] costs nothing; a bucket would copy the object.
    pub(crate) fn moves(&self) -> bool {
        self.folder.is_some()
    }

    /// Renames an object, replacing an existing one.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.objects
            .rename(&self.at(from), &self.at(to))
            .await
            .map_err(|e| failed("rename", from, e))
    }

    /// Lists the objects below a folder by key, in no particular order.
    pub fn list(&self, folder: &str) -> BoxStream<'static, Result<(String, Meta)>> {
        let at = self.at(folder);
        let (root, folder) = (self.root.clone(), folder.to_owned());
        let key = move |location: &Path| {
            let parts = location
                .prefix_match(&root)
                .map(|parts| parts.map(|p| p.as_ref().to_owned()).collect());
            parts.map_or_else(String::new, |parts: Vec<String>| parts.join("/"))
        };

        self.objects
            .list(Some(&at))
            .map_ok(move |meta| {
                (
                    key(&meta.location),
                    Meta {
                        bytes: meta.size,
                        modified: meta.last_modified,
                    },
                )
            })
            .map_err(move |e| failed("list", &folder, e))
            .boxed()
    }

    /// Deletes an object; a missing one is no error.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        match self.objects.delete(&self.at(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("delete", key, error)),
        }
    }

    /// Lists the files of interrupted writes, with their age by the file system,
    /// and deletes those for which `remove` returns true. Only a folder has such
    /// files; a bucket deletes unfinished uploads by its own rules.
    pub(crate) fn torn(&self, below: &str, remove: &mut dyn FnMut(&Meta) -> bool) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let failed = |e: std::io::Error| {
            Error::unavailable(format!("look for interrupted writes below {below}")).with_source(e)
        };
        let mut folders = vec![folder.join(below)];
        while let Some(folder) = folders.pop() {
            let listed = match std::fs::read_dir(&folder) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                listed => listed.map_err(failed)?,
            };
            for entry in listed {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let torn = name
                    .to_str()
                    .and_then(|n| n.rsplit_once('#'))
                    .is_some_and(|(_, n)| n.parse::<u64>().is_ok());
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                    Ok(meta) if torn => {
                        let modified = meta.modified().map_err(failed)?.into();
                        if remove(&Meta {
                            bytes: meta.len(),
                            modified,
                        }) {
                            std::fs::remove_file(entry.path())
                                .or_else(gone)
                                .map_err(failed)?;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => gone(error).map_err(failed)?,
                }
            }
        }

        Ok(())
    }

    /// Tests that the store supports create-if-absent, and returns the time of its
    /// clock. `key` is written and deleted, and must be unique. Fails if the store
    /// ignores the condition.
    pub(crate) async fn self_test(&self, key: &str) -> Result<DateTime<Utc>> {
        let first = self.create(key, Bytes::from_static(b"first")).await?;
        let second = self.create(key, Bytes::from_static(b"second")).await?;
        let now = self.head(key).await?;
        let read = self.get(key, 64).await?;
        self.delete(key).await?;
        match (first, second, read.as_deref(), now) {
            (Created::Yes, Created::Exists, Some(b"first"), Some(meta)) => Ok(meta.modified),
            _ => Err(Error::precondition(format!(
                "{self} overwrites objects despite create-if-absent; a registry there would lose entries: use another store"
            ))),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A file that no longer exists was deleted by another process: not an error.
fn gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

fn failed(what: &str, key: &str, error: object_store::Error) -> Error {
    let message = format!("{what} {key} in the store");
    match error {
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => Error::denied(message).with_source(error),
        object_store::Error::InvalidPath { .. } => Error::invalid(message).with_source(error),
        _ => Error::unavailable(message).with_source(error),
    }
}
