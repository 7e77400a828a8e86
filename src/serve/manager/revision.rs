//! New bytes under the number of a loaded version: whether they are loaded or refused. Pure, but for
//! the digest that the caller passes.

#[cfg(test)]
mod tests;

use super::retry::{Retry, retry_of};
use crate::core::error::Error;
use crate::core::hash::Digest;
use crate::registry::catalog::Fingerprint;
use crate::registry::pbtxt::ModelConfig;
use crate::serve::settings::InPlace;
use std::time::Instant;

/// Why new bytes are not loaded where `models.in_place` is `refuse`.
const CHANGED_IN_PLACE: &str = "its files changed after it was loaded; the loaded version keeps serving; put new files under a new version, or set models.in_place = \"swap\"";

/// Why bytes are not loaded that an earlier server refused.
pub(super) const REFUSED_BEFORE: &str = "a running server refused these files, because they came under the number of a version with other bytes; give these bytes a new version number, or start the server once with models.in_place = \"swap\" to accept them";

/// Says why files are not compared with the loaded ones: they are no model any more.
fn unusable(error: &Error) -> String {
    format!(
        "its files can no longer be loaded: {}; the loaded bytes keep serving; restore the files, or put new ones under a new version, before the server restarts",
        error.message
    )
}

/// Files of a loaded version with other bytes than were loaded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Revision {
    pub files: Fingerprint,
    /// Digest of every file that it uses; none if it is not even a model.
    pub used: Option<Digest>,
    /// Why it is not loaded, if it was refused.
    pub refused: Option<RevisionRefusal>,
    /// The `config.pbtxt` with which it was tried.
    pub declared: Option<ModelConfig>,
}

/// Why a revision is not loaded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RevisionRefusal {
    pub reason: String,
    /// When it is tried again, if the cause may be temporary.
    pub retry: Option<Retry>,
}

impl Revision {
    /// Judges files whose bytes differ from the loaded ones. `before` is what was known of changed
    /// files until now, and `used` their digest if they have one, or why they are no model. Tells whether the refusal
    /// is a new one.
    pub(super) fn judge(
        before: Option<Self>,
        files: Fingerprint,
        used: std::result::Result<Option<Digest>, &Error>,
        in_place: InPlace,
    ) -> (Self, bool) {
        let reason = match &used {
            Ok(_) => CHANGED_IN_PLACE.to_owned(),
            Err(error) => unusable(error),
        };
        let used = used.ok().flatten();
        let is_refused = in_place == InPlace::Refuse;
        // New times of the same bytes are no news. Bytes that were not tried yet, because of a
        // malformed `config.pbtxt`, are.
        let is_known = |known: &Self| match &known.refused {
            Some(refused) if is_refused => known.used == used && refused.reason == reason,
            _ => known.used == used && used.is_some() && known.declared.is_some(),
        };
        if let Some(known) = before.filter(is_known) {
            return (Self { files, ..known }, false);
        }

        let refused = is_refused.then_some(RevisionRefusal {
            reason,
            retry: None,
        });
        (
            Self {
                files,
                used,
                refused,
                declared: None,
            },
            is_refused,
        )
    }

    /// Tells whether it is to be loaded now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let waits = |refused: &RevisionRefusal| refused.retry.is_none_or(|(at, _)| now < at);
        !self.refused.as_ref().is_some_and(waits)
    }

    /// Has it tried again if `config.pbtxt` is another than it was tried with.
    pub(super) fn declare(&mut self, declared: &ModelConfig) {
        if self
            .declared
            .as_ref()
            .is_some_and(|d| !d.loads_like(declared))
        {
            self.refused = None;
        }
    }

    /// Notes that it was refused when it was loaded.
    pub(super) fn refuse(&mut self, error: &Error, now: Instant) {
        let before = self.refused.as_ref().and_then(|refused| refused.retry);
        self.refused = Some(RevisionRefusal {
            reason: format!(
                "its files changed after it was loaded, and the new ones are refused: {}; the loaded version keeps serving",
                error.message
            ),
            retry: retry_of(error.kind, before, now),
        });
    }
}
