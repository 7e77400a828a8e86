//! Starts the capture of predictions: into files in the store, or as events to a URL.

use crate::client::webhook::{Message, Webhook};
use crate::config::Config;
use crate::core::error::{Error, Result};
use crate::core::request::id::Mint;
use crate::observe::capture::events::{self, CaptureEvent};
use crate::observe::capture::settings::{CaptureFormat, CaptureSettings};
use crate::observe::capture::{self, Capture};
use crate::observe::drift::observer::Tap;
use crate::observe::metrics::Metrics;
use crate::storage::layout::Records;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Time limit for writing a file to the store.
const PUT_MAX: Duration = Duration::from_secs(60);
/// Time between two deletions of old files.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Tells whether predictions are captured into files.
pub(super) fn is_to_files(config: &Config) -> bool {
    config.capture.share > 0.0 && config.capture.format == CaptureFormat::Parquet
}

/// Returns the store. Refuses to capture without one.
pub(super) fn required(records: Option<&Records>) -> Result<&Records> {
    records.ok_or_else(|| {
        Error::invalid(
            "capture.share is set, but there is no store for captured predictions; set records.store",
        )
    })
}

/// Starts the capture of predictions into files, and the deletion of old files.
pub(super) fn files(
    config: &Config,
    records: &Records,
    metrics: &Arc<Metrics>,
    mint: &Arc<Mint>,
    background: &Runtime,
) -> Result<Arc<Mutex<Capture>>> {
    let (store, runtime) = (records.clone(), background.handle().clone());
    let put = move |key: &str, bytes: Vec<u8>| {
        runtime.block_on(async {
            let put = tokio::time::timeout(PUT_MAX, store.create(key, bytes.into())).await;
            put.unwrap_or_else(|_| Err(Error::late("the store does not answer in time")))
                .map(drop)
        })
    };

    background.spawn(sweep(records.clone(), config.capture.clone()));
    let mint = Arc::clone(mint);
    Capture::start(
        config.capture.clone(),
        Arc::clone(metrics),
        Box::new(put),
        Box::new(move || mint.fleet_key()),
    )
}

/// Deletes captured files that are too old or too many, repeatedly.
async fn sweep(records: Records, settings: CaptureSettings) {
    loop {
        match capture::sweep::sweep(&records, &settings, chrono::Utc::now()).await {
            Ok(swept) if swept.removed > 0 => {
                tracing::info!(
                    removed = swept.removed,
                    kept = swept.kept,
                    bytes = swept.kept_bytes,
                    "old captured files deleted"
                );
            }
            Ok(_) => {}
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "old captured files cannot be deleted");
            }
        }

        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Returns the tap that posts predictions as events, where that is on.
pub(super) fn events(
    config: &Config,
    metrics: &Arc<Metrics>,
    background: &Runtime,
) -> Result<Option<Tap>> {
    let capture = &config.capture;
    if capture.share <= 0.0 || capture.format != CaptureFormat::CloudEvents {
        return Ok(None);
    }

    let url = capture.url.as_deref().ok_or_else(|| {
        Error::invalid("capture.url is not set; with capture.format \"cloudevents\" it must be the URL that events are posted to")
    })?;
    let webhook = Webhook::start(url, background).map_err(|e| e.context("capture.url"))?;
    if !capture.drop.is_empty() || !capture.hash.is_empty() {
        return Err(Error::invalid(
            "capture.drop and capture.hash are set, but capture.format is \"cloudevents\": events hold all columns; remove the two settings or capture to Parquet",
        ));
    }

    let send = move |event: CaptureEvent| {
        webhook.post(Message {
            headers: event.headers,
            body: event.body,
        })
    };
    let tap = events::tap(capture, Arc::clone(metrics), Box::new(send));
    Ok(Some(tap))
}
