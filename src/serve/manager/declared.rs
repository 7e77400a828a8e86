//! What happens when a `config.pbtxt` changes while its model is loaded: a refused
//! version is tried again; a loaded one goes on as it is, and the change waits.

use super::actual::Actual;
use super::{Loop, ServingState};
use crate::core::model::{ModelName, Version};
use crate::registry::catalog::{FolderSight, ModelEntry, VersionEntry};
use crate::registry::pbtxt::ModelConfig;

const WAITING: &str = "config.pbtxt changed after the version was loaded; the change waits until a new version is loaded, a load call asks for it (explicit control) or the server restarts";

/// What follows the reason why a change of `config.pbtxt` cannot be applied.
const REFUSED_LATER: &str = "the loaded version keeps serving as it was loaded; a new version, and the model after a restart, would be refused; correct the file";

impl Loop {
    /// Compares a model's `config.pbtxt` with those its versions were loaded with.
    pub(super) fn note_declared(
        &mut self,
        name: &ModelName,
        declared: &ModelConfig,
        entry: Option<&ModelEntry>,
    ) {
        let problem = entry.and_then(|entry| entry.problem.as_deref());
        for (version, actual) in self.models.get_mut(name).into_iter().flatten() {
            let before = actual.waiting.clone();
            let found = entry.and_then(|entry| entry.versions.get(version));
            match problem.filter(|_| actual.servable.is_some()) {
                Some(problem) => note_problem(actual, problem, found),
                None => note(actual, declared),
            }

            if let Some(warning) = &actual.waiting
                && actual.waiting != before
            {
                let (model, version) = (name.as_str(), version.number());
                tracing::warn!(model, version, warning, "change not applied");
            }
        }
    }
}

/// Logs what a `config.pbtxt` asks for and is not done, where that changes no answer.
pub(super) fn say_notices(name: &ModelName, version: Version, declared: &ModelConfig) {
    let (model, version) = (name.as_str(), version.number());
    for notice in &declared.notices {
        tracing::info!(
            model,
            version,
            notice,
            "accepted in config.pbtxt without effect"
        );
    }
}

/// Notes that the file is wrong, once it is complete. A folder that cannot be looked into has its
/// own warning.
fn note_problem(actual: &mut Actual, problem: &str, found: Option<&VersionEntry>) {
    if found.is_some_and(|found| found.settled && found.sight == FolderSight::Seen) {
        actual.waiting = Some(format!("{problem}; {REFUSED_LATER}"));
    }
}

fn note(actual: &mut Actual, declared: &ModelConfig) {
    let Some(with) = &actual.declared else {
        return;
    };

    let differs = !with.loads_like(declared);
    if let Some(servable) = &actual.servable {
        let waits = || {
            let graph = servable.graph_signature();
            let checked = declared.check(&graph);
            match checked.and_then(|()| declared.check_outputs(&graph)) {
                Ok(()) => WAITING.to_owned(),
                Err(error) => format!("{}; {REFUSED_LATER}", error.message),
            }
        };
        actual.waiting = differs.then(waits);
        if let Some(revision) = &mut actual.revision {
            revision.declare(declared);
        }
    } else if differs && matches!(actual.state, ServingState::Failed(_)) {
        *actual = Actual::new(actual.files.clone());
    }
}
