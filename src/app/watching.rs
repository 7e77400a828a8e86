//! What watches the models, and what becomes of what it sees: alarms, labels.

use crate::client::otlp;
use crate::client::webhook::{Message, Webhook};
use crate::config::Config;
use crate::core::error::{Error, Result};
use crate::core::request::id::Mint;
use crate::observe::alarms::Alarms;
use crate::observe::capture::settings::{CaptureFormat, CaptureSettings};
use crate::observe::capture::{self, Capture};
use crate::observe::drift::observer::{self, Monitor, Tap};
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::fleet;
use crate::observe::labels::{self, Feedback};
use crate::observe::metrics::Metrics;
use crate::observe::report::alarm::{
    AlarmEvent, DRIFT_KIND, DriftAlarm, PERFORMANCE_KIND, PerformanceAlarm,
};
use crate::observe::traces::Tracer;
use crate::registry::servers;
use crate::storage::layout::Records;
use crate::storage::store::Store;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The part of the false alarms promised that labels may take; drift has the rest.
const LABELS_SHARE: f64 = 0.1;
/// How long the start waits for the fleet's key.
const KEY_WAIT: Duration = Duration::from_secs(2);
/// Time between two attempts to learn the fleet's key.
const KEY_RETRY: Duration = Duration::from_secs(5);

/// How long a file may take to be stored.
const PUT_MAX: Duration = Duration::from_secs(60);
/// Time between two sweeps.
const SWEEP: Duration = Duration::from_secs(600);

/// Everything that watches.
#[derive(Default)]
pub(super) struct Watching {
    pub monitor: Option<Arc<Monitor>>,
    pub feedback: Option<Arc<Feedback>>,
    pub capture: Option<Arc<Mutex<Capture>>>,
}

/// Starts it, as far as the configuration has it on.
pub(super) fn start(
    config: &Config,
    metrics: &Arc<Metrics>,
    mint: &Arc<Mint>,
    background: &Runtime,
) -> Result<Watching> {
    if !config.monitor.enabled {
        return Ok(Watching::default());
    }
    let webhook = config
        .monitor
        .webhook
        .as_deref()
        .map(|url| Webhook::start(url, background))
        .transpose()?;
    let records = records(config)?;

    if let Some(records) = records.clone() {
        // So that the first ids are the fleet's too; a store that is away does not hold the start up for long.
        match background
            .block_on(async { tokio::time::timeout(KEY_WAIT, records.fleet_key()).await })
        {
            Ok(Ok(key)) => mint.adopt(key),
            _ => drop(background.spawn(learn_key(records, Arc::clone(mint)))),
        }
    }

    let server = servers::name();
    let told = Told {
        webhook,
        kept: records
            .clone()
            .map(|r| Alarms::start(r, background.handle())),
        server,
    };

    let feedback = records
        .clone()
        .filter(|_| config.feedback.enabled)
        .map(|records| {
            let told = told.clone();
            let sink = move |alarm: PerformanceAlarm| {
                told.tell(PERFORMANCE_KIND, AlarmEvent::Performance(alarm));
            };
            let place = (records, Arc::clone(mint));
            Feedback::start(
                place,
                labels(config),
                Arc::clone(metrics),
                Box::new(sink),
                background.handle(),
            )
        });
    let capture = match (
        records.as_ref(),
        config.capture.share > 0.0,
        config.capture.format,
    ) {
        (Some(records), true, CaptureFormat::Parquet) => {
            Some(keep(config, records, metrics, mint, background)?)
        }
        (None, true, CaptureFormat::Parquet) => {
            return Err(Error::invalid(
                "capture.share is set, and there is nowhere to keep predictions: set records.store",
            ));
        }
        _ => None,
    };

    let mut taps: Vec<Tap> = feedback.iter().map(Feedback::tap).collect();
    taps.extend(capture.iter().map(Capture::tap));
    if config.capture.share > 0.0 && config.capture.format == CaptureFormat::CloudEvents {
        taps.push(events(config, metrics, background)?);
    }
    let server = told.server.clone();
    let tell = move |alarm: DriftAlarm| {
        told.tell(DRIFT_KIND, AlarmEvent::Drift(Box::new(alarm)));
    };
    let monitor = Monitor::start(
        observer::Options {
            settings: monitor_settings(config),
            tapped_share: config.capture.share,
        },
        Arc::clone(metrics),
        Box::new(tell.clone()),
        taps,
    )?;

    if let Some(records) = records.filter(|_| is_shared(config)) {
        let member = fleet::Member {
            records,
            server,
            slot: config.monitor.fleet_window,
            settings: MonitorSettings {
                window_min: config.monitor.fleet_window,
                ..monitor_settings(config)
            },
            sink: Box::new(tell),
            series: metrics.monitor.fleet(),
        };
        fleet::start(member, &monitor, background.handle())?;
    }

    Ok(Watching {
        monitor: Some(monitor),
        feedback,
        capture,
    })
}

/// What follows predictions, where a collector is set.
pub(super) fn tracer(
    config: &Config,
    metrics: &Metrics,
    background: &Runtime,
) -> Result<Option<Tracer>> {
    let Some(endpoint) = &config.traces.endpoint else {
        return Ok(None);
    };
    let (tracer, outbox) = Tracer::new(config.traces.share, metrics.spans_dropped.clone());
    otlp::start(
        endpoint,
        outbox,
        metrics.spans_dropped.clone(),
        background.handle(),
    )?;

    Ok(Some(tracer))
}

/// Starts the capture of predictions into the store, and its sweep.
fn keep(
    config: &Config,
    records: &Records,
    metrics: &Arc<Metrics>,
    mint: &Arc<Mint>,
    background: &Runtime,
) -> Result<Arc<Mutex<Capture>>> {
    let (own, runtime) = (records.clone(), background.handle().clone());
    let put = move |key: &str, bytes: Vec<u8>| {
        let bytes = bytes::Bytes::from(bytes);
        runtime.block_on(async {
            let put = tokio::time::timeout(PUT_MAX, own.create(key, bytes)).await;
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
                    "captured files swept"
                );
            }
            Ok(_) => {}
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "captured files are not swept");
            }
        }
        tokio::time::sleep(SWEEP).await;
    }
}

/// Posts predictions as events.
fn events(config: &Config, metrics: &Arc<Metrics>, background: &Runtime) -> Result<Tap> {
    let url = config.capture.url.as_deref();
    let url = url.ok_or_else(|| {
        Error::invalid("capture.format is \"cloudevents\": set capture.url to where they go")
    })?;
    let webhook = Webhook::start(url, background).map_err(|e| e.context("capture.url"))?;
    let send = move |event: capture::events::Event| {
        webhook.post(Message {
            headers: event.headers,
            body: event.body,
        })
    };

    if !config.capture.drop.is_empty() || !config.capture.hash.is_empty() {
        return Err(Error::invalid(
            "capture.drop and capture.hash are for Parquet: events carry requests whole",
        ));
    }

    Ok(capture::events::tap(
        &config.capture,
        Arc::clone(metrics),
        Box::new(send),
    ))
}

/// Who is told of alarms, beside the log and the metrics.
#[derive(Clone)]
struct Told {
    webhook: Option<Webhook>,
    /// Evidence in the store.
    kept: Option<Alarms>,
    server: String,
}

impl Told {
    fn tell(&self, kind: &str, alarm: AlarmEvent) {
        if let Some(webhook) = &self.webhook {
            let model = alarm.model().unwrap_or_default();
            let version = alarm.version().unwrap_or_default();
            webhook.send(kind, &format!("{model}:{version}"), &alarm);
        }

        if let Some(kept) = &self.kept {
            kept.keep(kind, &self.server, alarm);
        }
    }
}

/// Returns the monitor's settings with this server's part of the accepted false alarms.
fn monitor_settings(config: &Config) -> MonitorSettings {
    let monitor = &config.monitor;
    // If windows are merged over the fleet too, each kind of test receives half.
    let kinds = if is_shared(config) { 2.0 } else { 1.0 };
    MonitorSettings {
        window_max: monitor.window_max.max(monitor.window_min),
        false_alarms_per_month: monitor.false_alarms_per_month * (1.0 - LABELS_SHARE) / kinds,
        ..monitor.clone()
    }
}

/// Whether other servers may have the same store, and windows are merged.
fn is_shared(config: &Config) -> bool {
    let is_named = config.records.store.is_some() || config.registry.url.is_some();
    is_named && !config.monitor.fleet_window.is_zero()
}

fn labels(config: &Config) -> labels::Options {
    labels::Options {
        settings: config.feedback.clone(),
        false_alarms_per_month: config.monitor.false_alarms_per_month * LABELS_SHARE,
    }
}

/// Where records are kept: as configured, in the registry, or in the user's
/// state folder. None where that last one cannot be made, which is told.
pub(crate) fn records(config: &Config) -> Result<Option<Records>> {
    let namespace = &config.registry.namespace;
    let failed = |e: Error| e.context("open the store of records");
    if let Some(url) = &config.records.store {
        return Records::open(url, namespace).map(Some).map_err(failed);
    }
    if let Some(url) = &config.registry.url {
        // A registry that is not there is not made by who reads it.
        return Store::open(url, false)
            .map(|store| Some(Records::of(store, namespace)))
            .map_err(failed);
    }

    let folder = state_folder();
    let opened = folder
        .as_ref()
        .map(|folder| Records::open(&folder.display().to_string(), namespace));
    match opened {
        Some(Ok(records)) => Ok(Some(records)),
        Some(Err(error)) => {
            tracing::warn!(%error, "labels are not taken: there is no folder for them; set records.store");
            Ok(None)
        }
        None => {
            tracing::warn!(
                "labels are not taken: neither XDG_STATE_HOME nor HOME is set; set records.store"
            );
            Ok(None)
        }
    }
}

fn state_folder() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };

    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("ortus/records"))
}

/// Signs ids with the fleet's key as soon as it is known.
async fn learn_key(records: Records, mint: Arc<Mint>) {
    loop {
        match records.fleet_key().await {
            Ok(key) => return mint.adopt(key),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the fleet's key is not known; labels for predictions of now will be refused");
            }
        }
        tokio::time::sleep(KEY_RETRY).await;
    }
}
