//! The state of one version, and when a refused one is tried again.

#[cfg(test)]
mod tests;

use super::report::ServingState;
use super::retry::{Retry, retry_of};
use super::revision::Revision;
use super::unread::UnreadFiles;
use crate::core::error::Error;
use crate::registry::catalog::Fingerprint;
use crate::registry::directory::VersionDigests;
use crate::registry::pbtxt::ModelConfig;
use crate::serve::batch::padder::PADDING_UNTESTED;
use crate::serve::servable::{Drained, Servable};
use std::sync::Arc;
use std::time::Instant;

/// The state of one version.
pub(super) struct Actual {
    pub files: Fingerprint,
    /// Files with other bytes than were loaded, if there are any.
    pub revision: Option<Revision>,
    /// Whether its files changed since it was loaded and may still be written.
    pub is_changing: bool,
    /// Its files, if they cannot be read to compare them with the loaded ones.
    pub unread: Option<UnreadFiles>,
    /// Digests of the files that the servable was made of.
    pub digests: Option<VersionDigests>,
    pub servable: Option<Arc<Servable>>,
    pub drained: Option<Drained>,
    pub state: ServingState,
    pub warning: Option<String>,
    /// The `config.pbtxt` with which it was loaded or refused.
    pub declared: Option<ModelConfig>,
    /// Why its `config.pbtxt` is not applied yet.
    pub waiting: Option<String>,
    /// Whether a load call asked for the changes of `config.pbtxt`.
    pub reload: bool,
    /// When a refused version is tried again, and how often it was, if the cause may be temporary.
    pub retry: Option<Retry>,
    /// The refusal that was logged last.
    pub told: Option<String>,
}

/// A version that was loaded, before it is published.
pub(super) struct Made {
    pub servable: Arc<Servable>,
    pub drained: Drained,
    pub digests: VersionDigests,
    pub files: Fingerprint,
    pub declared: ModelConfig,
}

impl Actual {
    /// Starts with files that may still be written.
    pub(super) fn new(files: Fingerprint) -> Self {
        Self {
            files,
            revision: None,
            is_changing: false,
            unread: None,
            digests: None,
            servable: None,
            drained: None,
            state: ServingState::Settling,
            warning: None,
            declared: None,
            waiting: None,
            reload: false,
            retry: None,
            told: None,
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
        let unread = || Some(self.unread.as_ref()?.reason.clone());
        let waiting = || self.waiting.clone();
        let unbatched = || {
            let reason = self.servable.as_ref()?.unbatched()?;
            Some(format!("unbatched: {reason}"))
        };
        let unpadded = || {
            let reason = self.servable.as_ref()?.unpadded()?;
            // It is not a problem that the test takes its time.
            (reason != PADDING_UNTESTED).then(|| format!("unpadded: {reason}"))
        };
        let revision = || Some(self.revision.as_ref()?.refused.as_ref()?.reason.clone());
        self.problem()
            .or_else(|| self.warning.clone())
            .or_else(unread)
            .or_else(revision)
            .or_else(waiting)
            .or_else(unbatched)
            .or_else(unpadded)
    }

    /// Returns why the files that are there now do not serve, if they were refused.
    pub(super) fn refusal(&self) -> Option<&str> {
        if let ServingState::Failed(reason) = &self.state {
            return Some(reason);
        }
        let refused = self.revision.as_ref()?.refused.as_ref();
        refused.map(|refused| refused.reason.as_str())
    }

    /// Tells whether these files were refused and are not tried again yet.
    pub(super) fn is_refused(&self, now: Instant) -> bool {
        matches!(self.state, ServingState::Failed(_)) && self.retry.is_none_or(|(at, _)| now < at)
    }

    /// Notes the `config.pbtxt` with which it is loaded.
    pub(super) fn declare(&mut self, declared: &ModelConfig) {
        self.declared = Some(declared.clone());
        self.waiting = None;
        self.reload = false;
    }

    /// Puts a servable into place. Returns the end of the one that served before, if one did.
    pub(super) fn put(&mut self, made: Made) -> Option<Drained> {
        self.servable = Some(made.servable);
        let before = self.drained.replace(made.drained);
        self.files = made.files;
        self.digests = Some(made.digests);
        self.revision = None;
        self.unread = None;
        self.declare(&made.declared);
        self.warning = None;
        self.state = ServingState::Ready;
        self.retry = None;
        self.told = None;
        before
    }

    /// Notes a refusal, of its files or of new bytes while others serve. If the cause may be temporary
    /// (an unreachable store, a busy machine, a key that is not trusted yet), they are tried again after
    /// increasing times.
    pub(super) fn refuse(&mut self, error: Error, now: Instant) {
        if self.servable.is_some() {
            self.reload = false;
            match &mut self.revision {
                Some(revision) => revision.refuse(&error, now),
                None => self.waiting = Some(error.message),
            }
            return;
        }
        self.retry = retry_of(error.kind, self.retry, now);
        self.state = ServingState::Failed(error.message);
    }
}
