//! Warnings of ONNX Runtime about one version, each cause once: every lane warns at load,
//! and some models warn at each run. Counts nothing.

#[cfg(test)]
mod tests;

use crate::core::model::{ModelName, Version};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// The most causes that are logged for one version.
const CAUSES_MAX: usize = 64;

/// Logs warnings with the name of the model. Clones share what was logged; the default
/// knows no model, and logs at debug level.
#[derive(Clone, Debug, Default)]
pub struct RuntimeWarnings(Option<Arc<Subject>>);

#[derive(Debug)]
struct Subject {
    model: ModelName,
    version: Version,
    logged: Mutex<HashSet<String>>,
}

impl RuntimeWarnings {
    /// Starts with nothing logged.
    pub(crate) fn about(model: &ModelName, version: Version) -> Self {
        Self(Some(Arc::new(Subject {
            model: model.clone(),
            version,
            logged: Mutex::default(),
        })))
    }

    /// Logs a warning, unless its cause was logged before.
    pub(crate) fn note(&self, said: &str) {
        let Some(subject) = self.0.as_ref().filter(|_| !is_meant(said)) else {
            tracing::debug!(said, "ONNX Runtime");
            return;
        };

        if is_new(&mut subject.logged.lock(), said) {
            let (model, version) = (subject.model.as_str(), subject.version.number());
            tracing::warn!(
                model,
                version,
                said,
                "ONNX Runtime warns; further warnings of this cause are not logged"
            );
        }
    }
}

/// They are where a session logs to, not how it runs.
impl PartialEq for RuntimeWarnings {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Tells whether a warning is about what Ortus means to have: inputs with defaults are optional.
fn is_meant(said: &str) -> bool {
    said.contains("appears in graph inputs")
}

/// Remembers a cause: the text without its numbers, which differ from run to run.
fn is_new(logged: &mut HashSet<String>, said: &str) -> bool {
    let cause = said.split(|c: char| c.is_ascii_digit());
    let cause: Vec<&str> = cause.filter(|part| !part.is_empty()).collect();

    logged.len() < CAUSES_MAX && logged.insert(cause.join("0"))
}
