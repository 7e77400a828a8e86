//! Keys of what servers record, in the registry's store or in a folder: labels,
//! captured predictions, windows, and the key that signs the fleet's prediction
//! ids. Does not know the formats of these objects.

use crate::core::error::{Error, Result};
use crate::core::request::id::Key;
use crate::storage::store::{Created, Meta, Store};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};

/// A namespace's part of a store.
#[derive(Clone)]
pub struct Records {
    store: Store,
    folder: String,
}

impl Records {
    /// Opens an address as the registry does; makes the folder of a `file:` one.
    pub fn open(url: &str, namespace: &str) -> Result<Self> {
        let store = Store::open_for("store of records", url, true)?;
        Ok(Self::of(store, namespace))
    }

    /// The part of a store that is open already.
    pub fn of(store: Store, namespace: &str) -> Self {
        Self {
            store,
            folder: format!("ns/{namespace}/records/"),
        }
    }

    /// The same part of the same store, with connections of its own.
    pub fn apart(&self) -> Result<Self> {
        Ok(Self {
            store: self.store.reopen()?,
            folder: self.folder.clone(),
        })
    }

    fn key(&self, below: &str) -> String {
        format!("{}{below}", self.folder)
    }

    /// The key that ids are signed with: the one there is, or a new one.
    pub(crate) async fn fleet_key(&self) -> Result<Key> {
        let fresh = uuid::Uuid::new_v4().simple().to_string();
        let key = self.key("key");
        if let Some(known) = self.store.get(&key, 64).await? {
            return parse(&known);
        }
        match self.store.create(&key, fresh.into()).await? {
            // Read back: the first of two that came at once is everybody's.
            Created::Yes | Created::Exists => {
                let known = self.store.get(&key, 64).await?;
                parse(
                    &known.ok_or_else(|| {
                        Error::unavailable("the fleet's key is gone from the store")
                    })?,
                )
            }
        }
    }

    /// Puts an object where there is none.
    pub async fn create(&self, below: &str, bytes: Bytes) -> Result<Created> {
        self.store.create(&self.key(below), bytes).await
    }

    /// Puts an object, whatever was there.
    pub async fn overwrite(&self, below: &str, bytes: Bytes) -> Result<()> {
        self.store.overwrite(&self.key(below), bytes).await
    }

    /// Reads an object of at most so many bytes; none where there is none.
    pub async fn get(&self, below: &str, bytes_max: u64) -> Result<Option<Bytes>> {
        self.store.get(&self.key(below), bytes_max).await
    }

    /// Removes an object; one that is not there is no error.
    pub async fn delete(&self, below: &str) -> Result<()> {
        self.store.delete(&self.key(below)).await
    }

    /// Lists what lies below a folder, by the same words that read it.
    pub fn list(&self, below: &str) -> BoxStream<'static, Result<(String, Meta)>> {
        let own = self.folder.clone();
        let relative = move |(key, meta): (String, Meta)| {
            (key.strip_prefix(&own).unwrap_or(&key).to_owned(), meta)
        };
        self.store.list(&self.key(below)).map_ok(relative).boxed()
    }
}

fn parse(bytes: &Bytes) -> Result<Key> {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    let id = uuid::Uuid::parse_str(text)
        .map_err(|_| Error::precondition("the fleet's key is damaged"))?;
    Ok(id.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_one_store_share_a_key() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let url = folder.path().join("s").display().to_string();
            let records = Records::open(&url, "default").expect("opens");
            let first = records.fleet_key().await.expect("a key");
            assert_eq!(
                Records::open(&url, "default")
                    .expect("opens")
                    .fleet_key()
                    .await
                    .expect("a key"),
                first
            );
            assert_ne!(
                Records::open(&url, "other")
                    .expect("opens")
                    .fleet_key()
                    .await
                    .expect("a key"),
                first
            );
            records
                .overwrite("key", "nonsense".into())
                .await
                .expect("written");
            assert!(records.fleet_key().await.is_err());
        });
    }
}
