//! The servers that follow a namespace: one small object per server, overwritten at
//! intervals. Used to list the fleet and to notify servers of a change; nothing
//! else depends on it.

use super::log::Log;
use super::text;
use crate::core::error::Result;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often a server writes its object.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);
/// A server whose object is older is considered stopped.
const GONE: TimeDelta = TimeDelta::seconds(60);
/// Size limit of a server's object.
const BYTES_MAX: u64 = 16 << 10;

/// Addresses of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub http: String,
    pub grpc: String,
    pub operator: String,
}

/// The object of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Presence {
    /// Host name and a random suffix.
    pub server: String,
    pub addresses: Addresses,
    /// The last entry that it applied.
    pub entry: u64,
    pub time: DateTime<Utc>,
    /// Version of the program.
    pub version: String,
}

/// Creates the name of this process among the servers of a namespace.
pub fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let host: String = host
        .trim()
        .chars()
        .map(|c| if legal(c) { c } else { '-' })
        .take(64)
        .collect();
    format!("{host}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

impl Log {
    fn presence_key(&self, server: &str) -> String {
        self.key(&format!("fleet/{server}.json"))
    }

    /// Writes the object of a server.
    pub(crate) async fn announce(&self, presence: &Presence) -> Result<()> {
        self.store
            .overwrite(
                &self.presence_key(&presence.server),
                text::write(presence).into(),
            )
            .await
    }

    /// Deletes the object of a server.
    pub(crate) async fn leave(&self, server: &str) -> Result<()> {
        self.store.delete(&self.presence_key(server)).await
    }

    /// Lists the servers whose object was written within the minute before `now`, by
    /// the store's clock; sorted by name.
    pub(crate) async fn fleet(&self, now: DateTime<Utc>) -> Result<Vec<Presence>> {
        let listed: Vec<_> = self.store.list(&self.key("fleet")).try_collect().await?;
        let mut fleet: Vec<Presence> = Vec::new();
        for (key, _) in listed
            .into_iter()
            .filter(|(_, meta)| meta.modified + GONE > now)
        {
            let Ok(Some(bytes)) = self.store.get(&key, BYTES_MAX).await else {
                continue;
            };
            match text::read(&bytes, &key) {
                Ok(presence) => fleet.push(presence),
                Err(error) => {
                    tracing::debug!(%error, "the object of a server is unreadable, and ignored")
                }
            }
        }

        fleet.sort_by(|a, b| a.server.cmp(&b.server));
        Ok(fleet)
    }
}
