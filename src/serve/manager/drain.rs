//! Follows versions that are out of service until their last requests and lanes
//! have ended.

use super::Loop;
use crate::core::model::{ModelName, Version};
use crate::serve::servable::Drained;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A version that is out of service and still held by requests or lanes.
pub(super) struct Draining {
    pub name: ModelName,
    pub version: Version,
    pub since: Instant,
    pub drained: Drained,
}

/// How long a version may drain before the log warns of it.
const DRAIN_WARNING: Duration = Duration::from_secs(30);

impl Loop {
    /// Logs versions that have drained, and those that take too long.
    pub(super) fn finish_drains(&mut self) {
        let before = self.draining.len();
        self.draining.retain_mut(|d| {
            let done = !matches!(
                d.drained.try_recv(),
                Err(oneshot::error::TryRecvError::Empty)
            );
            if done {
                tracing::info!(
                    model = d.name.as_str(),
                    version = d.version.number(),
                    "version drained"
                );
            } else if d.since.elapsed() > DRAIN_WARNING {
                tracing::warn!(
                    model = d.name.as_str(),
                    version = d.version.number(),
                    "version still draining"
                );
                d.since = Instant::now();
            }
            !done
        });

        if self.draining.len() < before {
            self.parts.engine.trim();
            self.publish_status();
        }
    }
}
