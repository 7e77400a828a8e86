//! Files of a loaded version that can no longer be read, for lack of permission or because a disk
//! fails. Nothing is known of their bytes, so what serves stays. Pure.

#[cfg(test)]
mod tests;

use super::retry::{Retry, retry_of};
use crate::core::error::{Error, Kind};
use crate::registry::catalog::Fingerprint;
use std::error::Error as _;
use std::time::Instant;

/// Files of a loaded version that cannot be read.
#[derive(Debug)]
pub(super) struct UnreadFiles {
    files: Fingerprint,
    /// What is wrong, and what to do.
    pub reason: String,
    /// When they are tried again, and how often they were.
    retry: Option<Retry>,
}

impl UnreadFiles {
    /// Judges the error with which files could not be compared; none if it is not about reading.
    /// `before` is what was known of such files until now.
    pub(super) fn judge(
        before: Option<&Self>,
        files: &Fingerprint,
        error: &Error,
        now: Instant,
    ) -> Option<Self> {
        // Files that change meanwhile give the same kind of error, but without a cause.
        let is_unread = error.kind == Kind::Unavailable && error.source().is_some();
        let retry = before.and_then(|before| before.retry);
        is_unread.then(|| Self {
            files: files.clone(),
            reason: format!(
                "its files cannot be read: {}; the loaded bytes keep serving; make the files readable before the server restarts",
                error.message
            ),
            retry: retry_of(error.kind, retry, now),
        })
    }

    /// Tells whether these files need not be read now, because they are those that could not be.
    pub(super) fn waits(&self, files: &Fingerprint, now: Instant) -> bool {
        self.files == *files && self.retry.is_some_and(|(at, _)| now < at)
    }
}
