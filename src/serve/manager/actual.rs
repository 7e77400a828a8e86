//! The state of one version, and when a refused one is tried again.

#[cfg(test)]
mod tests;

use super::report::ServingState;
use crate::core::error::{Error, Kind};
use crate::core::hash::Digest;
use crate::registry::catalog::Fingerprint;
use crate::registry::pbtxt::ModelConfig;
use crate::serve::servable::{Drained, Servable};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The state of one version.
pub(super) struct Actual {
    pub files: Fingerprint,
    /// Changed files that were compared with the loaded ones and found to differ.
    pub judged: Option<Fingerprint>,
    /// Digest of every file that the servable uses.
    pub used: Option<Digest>,
    pub servable: Option<Arc<Servable>>,
    pub drained: Option<Drained>,
    pub state: ServingState,
    pub warning: Option<String>,
    /// The `config.pbtxt` with which it was loaded or refused.
    pub declared: Option<ModelConfig>,
    /// Why its `config.pbtxt` is not applied yet.
    pub waiting: Option<&'static str>,
    /// When a refused version is tried again, and how often it was, if the cause may be temporary.
    pub retry: Option<(Instant, u32)>,
}

impl Actual {
    /// Starts with files that may still be written.
    pub(super) fn new(files: Fingerprint) -> Self {
        Self {
            files,
            judged: None,
            used: None,
            servable: None,
            drained: None,
            state: ServingState::Settling,
            warning: None,
            declared: None,
            waiting: None,
            retry: None,
        }
    }

    /// Sets the warning; tells whether it is a new one.
    pub(super) fn warn(&mut self, warning: &str) -> bool {
        let is_new = !self.is_warned(warning);
        if is_new {
            self.warning = Some(warning.to_owned());
        }
        is_new
    }

    /// Tells whether this is its warning.
    pub(super) fn is_warned(&self, warning: &str) -> bool {
        self.warning.as_deref() == Some(warning)
    }

    /// Returns why its servable cannot serve although it is loaded.
    pub(super) fn problem(&self) -> Option<String> {
        self.servable.as_ref()?.problem()
    }

    /// Returns what an operator should know of a loaded version.
    pub(super) fn notice(&self) -> Option<String> {
        let waiting = || self.waiting.map(str::to_owned);
        self.problem()
            .or_else(|| self.warning.clone())
            .or_else(waiting)
    }

    /// Tells whether these files were refused and are not tried again yet.
    pub(super) fn is_refused(&self, now: Instant) -> bool {
        matches!(self.state, ServingState::Failed(_)) && self.retry.is_none_or(|(at, _)| now < at)
    }

    /// Notes a refusal. If the cause may be temporary (an unreachable store, a busy machine, a key
    /// that is not trusted yet), the version is tried again after increasing times.
    pub(super) fn refuse(&mut self, error: Error, now: Instant) {
        let passing = matches!(
            error.kind,
            Kind::Unavailable
                | Kind::ResourceExhausted
                | Kind::DeadlineExceeded
                | Kind::PermissionDenied
                | Kind::Internal
        );

        let times = self.retry.map_or(0, |(_, times)| times);
        self.retry = passing.then(|| (now + RETRY_MIN * (1 << times.min(6)), times + 1));
        self.state = ServingState::Failed(error.message);
    }
}

/// Least time before a refused version is tried again; it doubles up to 64 times this.
const RETRY_MIN: Duration = Duration::from_secs(1);
