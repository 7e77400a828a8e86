//! The columns of the incidents that each server sent itself, one small object for each server that has
//! some. They keep the fleet's incidents from telling the same again.

use super::sum::name_of_subject;
use super::{BYTES_MAX, Merger};
use crate::core::error::Result;
use crate::observe::drift::incident::ColumnKey;
use crate::observe::drift::observer::Monitor;
use futures_util::stream::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The columns of open incidents, by the names of their versions.
pub(super) type ToldColumns = BTreeMap<String, BTreeSet<ColumnKey>>;

/// Periods by which another server may be ahead of the one that is merged.
const AHEAD_MAX: u64 = 2;
/// Folder of the objects.
const FOLDER: &str = "windows/open";

/// The open incidents of a server.
#[derive(Serialize, Deserialize)]
struct ServerIncidents {
    /// The period at whose end they were open.
    slot: u64,
    versions: ToldColumns,
}

impl Merger {
    /// Writes the columns of this server's open incidents, or that there are none any more.
    pub(super) async fn write_open(&mut self, monitor: &Monitor, slot: u64) -> Result<()> {
        let versions = open_columns(monitor);
        if versions.is_empty() && !self.has_open {
            return Ok(());
        }
        self.has_open = true;
        let has_open = !versions.is_empty();
        let body = serde_json::to_vec(&ServerIncidents { slot, versions });
        let body = body.expect("plain data is JSON");
        let key = format!("{FOLDER}/{}.json", self.member.server);
        self.member.records.overwrite(&key, body.into()).await?;
        self.has_open = has_open;
        Ok(())
    }

    /// Returns the columns of the open incidents of all servers: this server's as they are now, the
    /// others' as they wrote them in this period or later. Only this server's if the store fails.
    pub(super) async fn columns_told(&self, monitor: &Monitor, slot: u64) -> ToldColumns {
        let mut told = open_columns(monitor);
        let Ok(servers) = self.read_servers().await else {
            return told;
        };
        let own = format!("{FOLDER}/{}.json", self.member.server);
        for (key, server) in servers {
            // A server whose clock is ahead must not cover the others for as long as that.
            if key == own || !(slot..=slot + AHEAD_MAX).contains(&server.slot) {
                continue;
            }
            for (name, columns) in server.versions {
                told.entry(name).or_default().extend(columns);
            }
        }
        told
    }

    /// Reads the objects of all servers. Damaged ones are left out.
    async fn read_servers(&self) -> Result<Vec<(String, ServerIncidents)>> {
        let records = &self.member.records;
        let listed: Vec<_> = records.list(FOLDER).try_collect().await?;
        let mut servers = Vec::new();
        for (key, _) in listed {
            let body = records.get(&key, BYTES_MAX).await?;
            if let Some(server) = body.and_then(|body| serde_json::from_slice(&body).ok()) {
                servers.push((key, server));
            }
        }
        Ok(servers)
    }

    /// Deletes the objects that servers wrote last before a period.
    pub(super) async fn delete_servers_before(&self, oldest: u64) -> Result<()> {
        for (key, server) in self.read_servers().await? {
            if server.slot < oldest {
                self.member.records.delete(&key).await?;
            }
        }
        Ok(())
    }
}

/// Returns the columns of this server's open incidents.
fn open_columns(monitor: &Monitor) -> ToldColumns {
    let mut told = ToldColumns::new();
    for (subject, columns) in monitor.open_columns() {
        if !columns.is_empty() {
            told.entry(name_of_subject(&subject))
                .or_default()
                .extend(columns);
        }
    }
    told
}
