//! The registry to serve from: the section `[registry]`. Owns the values only.

use super::sign::Policy;
use crate::core::settings::form::TextLine;
use crate::{section, words};
use std::path::PathBuf;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

words! { Policy { None = "none", Warn = "warn", Require = "require" } }

section! {
    /// The registry to serve from, which the registry commands also use.
    Registry {
        /// URL of the registry: `file:///path`, `s3://bucket/path`, `gs://bucket/path` or
        /// `az://container/path`. Credentials come from the environment (`AWS_…`, `GOOGLE_…`,
        /// `AZURE_…`).
        url: Option<String> as TextLine = None;
        /// Namespace of the registry.
        namespace: String as TextLine = "default".into();
        /// Models to serve. An empty list serves all.
        models: Vec<String> = Vec::new();
        /// Directory for verified copies of versions, with which the server can restart while the
        /// store is unavailable. If it is not set: `ortus/registry` in the user's cache directory.
        cache: Option<PathBuf> = None;
        /// Interval between two reads of the registry log.
        poll: Duration = Duration::from_secs(1), in Duration::from_millis(10)..=HOUR;
        /// Signature policy: `none` (do not check), `warn` (serve a version without a trusted
        /// signature and log a warning) or `require` (refuse it).
        signatures: Policy = Policy::None;
        /// File of trusted public keys, written by `ortus key trust`. If it is not set, no key is
        /// trusted.
        trust: Option<PathBuf> = None;
        /// Approvals by trusted keys that a version needs on this server before it becomes
        /// champion or receives a part of the traffic. The namespace's policy may require more.
        approvals: u32 = 0, in 0..=100;
        /// How long the previous champion stays loaded after it was replaced.
        previous_warm: Duration = Duration::from_secs(600), in Duration::ZERO..=24 * HOUR;
    }
}
