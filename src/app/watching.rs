//! Starts observation: the monitor, labels, captured predictions, and what alarms are sent to.

mod alarms;
mod capturing;
mod identity;
pub(crate) mod records;

use crate::client::otlp;
use crate::config::Config;
use crate::core::error::Result;
use crate::core::request::id::Mint;
use crate::observe::capture::Capture;
use crate::observe::drift::keeping::StateKeeper;
use crate::observe::drift::observer::keeper::Taps;
use crate::observe::drift::observer::{self, Monitor, Tap};
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::fleet;
use crate::observe::labels::{self, Feedback};
use crate::observe::metrics::Metrics;
use crate::observe::report::alarm::{AlarmEvent, PERFORMANCE_KIND, PerformanceAlarm};
use crate::observe::report::incident::Incident;
use crate::observe::traces::Tracer;
use crate::storage::layout::Records;
use alarms::AlarmReceivers;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Share of the accepted false alarms that performance tests may cause; drift tests have the rest.
const PERFORMANCE_SHARE: f64 = 0.1;

/// The parts that observe predictions; none where monitoring is off.
#[derive(Default)]
pub(super) struct Watching {
    pub monitor: Option<Arc<Monitor>>,
    pub feedback: Option<Arc<Feedback>>,
    pub capture: Option<Arc<Mutex<Capture>>>,
}

/// Starts what the configuration switches on.
pub(super) fn start(
    config: &Config,
    metrics: &Arc<Metrics>,
    mint: &Arc<Mint>,
    background: &Runtime,
) -> Result<Watching> {
    if !config.monitor.enabled {
        return Ok(Watching::default());
    }

    let records = records::open(config)?;
    if let Some(records) = &records {
        records::learn_key(records, mint, background);
    }
    let starter = Starter {
        config,
        metrics,
        mint,
        background,
        receivers: AlarmReceivers::start(config, records.clone(), background)?,
        records,
    };

    let feedback = starter.feedback();
    let capture = starter.capture()?;
    let mut taps: Vec<Tap> = capture.iter().map(Capture::tap).collect();
    taps.extend(capturing::events(config, metrics, background)?);
    let keeper = feedback.as_ref().map(Feedback::keeper);

    let monitor = starter.monitor(Taps {
        answered: taps,
        keeper,
    })?;
    starter.fleet(&monitor)?;
    starter.keep_state(&monitor);

    Ok(Watching {
        monitor: Some(monitor),
        feedback,
        capture,
    })
}

/// What each part is started with.
struct Starter<'s> {
    config: &'s Config,
    metrics: &'s Arc<Metrics>,
    mint: &'s Arc<Mint>,
    background: &'s Runtime,
    receivers: AlarmReceivers,
    /// Where labels, captured predictions and windows are stored, if anywhere.
    records: Option<Records>,
}

impl Starter<'_> {
    /// Starts to accept labels, where they are on and can be stored.
    fn feedback(&self) -> Option<Arc<Feedback>> {
        let config = self.config;
        let records = self.records.clone().filter(|_| config.feedback.enabled)?;
        let options = labels::LabelOptions {
            settings: config.feedback.clone(),
            false_alarms_per_month: config.monitor.false_alarms_per_month * PERFORMANCE_SHARE,
        };
        let receivers = self.receivers.clone();
        let sink = move |alarm: PerformanceAlarm| {
            receivers.send(PERFORMANCE_KIND, AlarmEvent::Performance(alarm));
        };

        Some(Feedback::start(
            (records, Arc::clone(self.mint)),
            options,
            Arc::clone(self.metrics),
            Box::new(sink),
            self.background.handle(),
        ))
    }

    /// Starts to capture predictions into the store, where that is on.
    fn capture(&self) -> Result<Option<Arc<Mutex<Capture>>>> {
        if !capturing::is_to_files(self.config) {
            return Ok(None);
        }
        let records = capturing::required(self.records.as_ref())?;
        capturing::files(
            self.config,
            records,
            self.metrics,
            self.mint,
            self.background,
        )
        .map(Some)
    }

    /// Starts the monitor, which shows sampled predictions to the taps.
    fn monitor(&self, taps: Taps) -> Result<Arc<Monitor>> {
        let options = observer::MonitorOptions {
            settings: monitor_settings(self.config),
            tapped_share: self.config.capture.share,
        };

        Monitor::start(
            options,
            Arc::clone(self.metrics),
            self.send_incident(),
            taps,
        )
    }

    /// Starts to merge windows with the other servers of the store, where there may be some.
    fn fleet(&self, monitor: &Arc<Monitor>) -> Result<()> {
        let config = self.config;
        let Some(records) = self.records.clone().filter(|_| is_shared(config)) else {
            return Ok(());
        };

        let member = fleet::FleetMember {
            records,
            server: self.receivers.server.clone(),
            slot: config.monitor.fleet_window,
            settings: MonitorSettings {
                window_min: config.monitor.fleet_window,
                ..monitor_settings(config)
            },
            sink: self.send_incident(),
            series: self.metrics.monitor.fleet(),
        };
        fleet::start(member, monitor, self.background.handle())
    }

    /// Lets the monitor's state survive a restart, where it can be stored.
    fn keep_state(&self, monitor: &Arc<Monitor>) {
        let Some(records) = self
            .records
            .clone()
            .filter(|_| self.config.monitor.keep_state)
        else {
            return;
        };
        match identity::take(self.config) {
            Ok(identity) => {
                let runtime = self.background.handle();
                let keeper = StateKeeper::new(records, identity, runtime.clone());
                monitor.keep_state(keeper, runtime);
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "windows and alarms do not survive a restart: this server has no identity");
            }
        }
    }

    /// Returns a function that sends an incident to its receivers.
    fn send_incident(&self) -> Box<dyn Fn(Incident) + Send + Sync> {
        let receivers = self.receivers.clone();
        Box::new(move |incident| {
            let kind = incident.phase.kind();
            receivers.send(kind, AlarmEvent::Incident(Box::new(incident)));
        })
    }
}

/// Starts to send spans, where a collector is set.
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

/// Returns the monitor's settings with this server's share of the accepted false alarms.
pub(crate) fn monitor_settings(config: &Config) -> MonitorSettings {
    let monitor = &config.monitor;
    // Windows of this server and merged windows of the fleet are tested; each gets half.
    let kinds = if is_shared(config) { 2.0 } else { 1.0 };
    MonitorSettings {
        window_max: monitor.window_max.max(monitor.window_min),
        false_alarms_per_month: monitor.false_alarms_per_month * (1.0 - PERFORMANCE_SHARE) / kinds,
        ..monitor.clone()
    }
}

/// Tells whether other servers may use the same store, so that windows are merged.
fn is_shared(config: &Config) -> bool {
    let is_named = config.records.store.is_some() || config.registry.url.is_some();
    is_named && !config.monitor.fleet_window.is_zero()
}
