//! Sends alarms to the webhook and to the alarm log. The log of the server and the metrics report
//! them too, but not through this file.

use crate::client::webhook::Webhook;
use crate::config::Config;
use crate::core::error::Result;
use crate::observe::alarms::Alarms;
use crate::observe::report::alarm::AlarmEvent;
use crate::registry::servers;
use crate::storage::layout::Records;
use tokio::runtime::Runtime;

/// What alarms are sent to.
#[derive(Clone)]
pub(super) struct AlarmReceivers {
    webhook: Option<Webhook>,
    /// The alarm log in the store.
    log: Option<Alarms>,
    /// The name of this server, which the log records.
    pub server: String,
}

impl AlarmReceivers {
    /// Starts the webhook, if one is configured, and the alarm log, if there is a store.
    pub(super) fn start(
        config: &Config,
        records: Option<Records>,
        background: &Runtime,
    ) -> Result<Self> {
        let webhook = config
            .monitor
            .webhook
            .as_deref()
            .map(|url| Webhook::start(url, background))
            .transpose()?;

        Ok(Self {
            webhook,
            log: records.map(|records| Alarms::start(records, background.handle())),
            server: servers::name(),
        })
    }

    /// Sends an alarm. Does not block.
    pub(super) fn send(&self, kind: &str, alarm: AlarmEvent) {
        if let Some(webhook) = &self.webhook {
            let model = alarm.model().unwrap_or_default();
            let version = alarm.version().unwrap_or_default();
            webhook.send(kind, &format!("{model}:{version}"), &alarm);
        }

        if let Some(log) = &self.log {
            log.keep(kind, &self.server, alarm);
        }
    }
}
