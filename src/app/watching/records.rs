//! Opens the store of records (labels, captured predictions, windows, alarms), and reads the key
//! that the servers of one store share.

use crate::config::Config;
use crate::core::error::{Error, Result};
use crate::core::request::id::Mint;
use crate::storage::layout::Records;
use crate::storage::store::Store;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long the start waits for the fleet's key.
const KEY_WAIT: Duration = Duration::from_secs(2);
/// Time between two attempts to read the fleet's key.
const KEY_RETRY: Duration = Duration::from_secs(5);

/// Opens the store of records: the configured one, or the registry, or the user's state folder.
/// Returns none, with a warning in the log, if that folder cannot be used.
pub(crate) fn open(config: &Config) -> Result<Option<Records>> {
    let namespace = &config.registry.namespace;
    let failed = |e: Error| e.context("open the store of records");
    if let Some(url) = &config.records.store {
        return Records::open(url, namespace).map(Some).map_err(failed);
    }

    if let Some(url) = &config.registry.url {
        // A server reads the registry and must not create it.
        return Store::open(url, false)
            .map(|store| Some(Records::of(store, namespace)))
            .map_err(failed);
    }

    Ok(open_state_folder(namespace))
}

/// Opens the user's state folder. Labels are off if that fails; the server serves anyway.
fn open_state_folder(namespace: &str) -> Option<Records> {
    let Some(folder) = user_state().map(|folder| folder.join("records")) else {
        tracing::warn!("labels are off: neither XDG_STATE_HOME nor HOME is set; set records.store");
        return None;
    };

    Records::open(&folder.display().to_string(), namespace)
        .inspect_err(|error| {
            tracing::warn!(%error, "labels are off: the user's state folder cannot be used; set records.store");
        })
        .ok()
}

/// Returns Ortus's folder in the user's state folder.
pub(crate) fn user_state() -> Option<PathBuf> {
    let folder_of = |variable| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };

    let state =
        folder_of("XDG_STATE_HOME").or_else(|| Some(folder_of("HOME")?.join(".local/state")))?;
    Some(state.join("ortus"))
}

/// Reads the fleet's key, with which prediction ids are signed. If the store does not answer soon,
/// the start goes on and the key is read in the background.
pub(super) fn learn_key(records: &Records, mint: &Arc<Mint>, background: &Runtime) {
    let first =
        background.block_on(async { tokio::time::timeout(KEY_WAIT, records.fleet_key()).await });

    match first {
        Ok(Ok(key)) => mint.adopt(key),
        _ => drop(background.spawn(retry_key(records.clone(), Arc::clone(mint)))),
    }
}

/// Reads the fleet's key until that succeeds.
async fn retry_key(records: Records, mint: Arc<Mint>) {
    loop {
        match records.fleet_key().await {
            Ok(key) => return mint.adopt(key),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the fleet's key cannot be read; until it is, new predictions cannot receive labels");
            }
        }

        tokio::time::sleep(KEY_RETRY).await;
    }
}
