//! Keys of what servers record, in the registry's store or in a folder: labels,
//! captured predictions, windows, and the key that signs the fleet's prediction
//! ids. Does not know the formats of these objects.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::request::id::FleetKey;
use crate::storage::store::{Created, Meta, Store};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};

/// The records of a namespace in a store.
#[derive(Clone)]
pub struct Records {
    store: Store,
    folder: String,
}

impl Records {
    /// Opens an address like a registry's; creates the folder of a `file:` address.
    pub fn open(url: &str, namespace: &str) -> Result<Self> {
        let store = Store::open_for("store of records", url, true)?;
        Ok(Self::of(store, namespace))
    }

    /// Uses a store that is open already.
    pub fn of(store: Store, namespace: &str) -> Self {
        Self {
            store,
            folder: format!("ns/{namespace}/records/"),
        }
    }

    /// The same records through connections of their own.
    pub fn reopen(&self) -> Result<Self> {
        Ok(Self {
            store: self.store.reopen()?,
            folder: self.folder.clone(),
        })
    }

    /// Returns the address of the store, for messages.
    pub(crate) fn address(&self) -> String {
        self.store.to_string()
    }

    fn key(&self, below: &str) -> String {
        format!("{}{below}", self.folder)
    }

    /// Returns the key that signs prediction ids; creates it if there is none.
    pub(crate) async fn fleet_key(&self) -> Result<FleetKey> {
        let fresh = uuid::Uuid::new_v4().simple().to_string();
        let key = self.key("key");
        if let Some(known) = self.store.get(&key, 64).await? {
            return parse(&known);
        }
        match self.store.create(&key, fresh.into()).await? {
            // Read back: of two servers that create it at once, the first one's key is used by both.
            Created::Yes | Created::Exists => {
                let known = self.store.get(&key, 64).await?;
                parse(&known.ok_or_else(|| {
                    Error::unavailable("the key of the fleet is missing in the store")
                })?)
            }
        }
    }

    /// Writes an object unless it exists.
    pub async fn create(&self, below: &str, bytes: Bytes) -> Result<Created> {
        self.store.create(&self.key(below), bytes).await
    }

    /// Writes an object, replacing an existing one.
    pub async fn overwrite(&self, below: &str, bytes: Bytes) -> Result<()> {
        self.store.overwrite(&self.key(below), bytes).await
    }

    /// Reads an object of at most `bytes_max`; `None` if there is none.
    pub async fn get(&self, below: &str, bytes_max: u64) -> Result<Option<Bytes>> {
        self.store.get(&self.key(below), bytes_max).await
    }

    /// Deletes an object; a missing one is no error.
    pub async fn delete(&self, below: &str) -> Result<()> {
        self.store.delete(&self.key(below)).await
    }

    /// Lists the objects below a folder, with keys relative to the records.
    pub fn list(&self, below: &str) -> BoxStream<'static, Result<(String, Meta)>> {
        let own = self.folder.clone();
        let relative = move |(key, meta): (String, Meta)| {
            (key.strip_prefix(&own).unwrap_or(&key).to_owned(), meta)
        };
        self.store.list(&self.key(below)).map_ok(relative).boxed()
    }
}

fn parse(bytes: &Bytes) -> Result<FleetKey> {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    let id = uuid::Uuid::parse_str(text).map_err(|_| {
        Error::precondition(
            "the key of the fleet is damaged; restore the object `key` of the records",
        )
    })?;

    Ok(id.into_bytes())
}
