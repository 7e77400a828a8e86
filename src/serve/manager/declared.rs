//! What happens when a `config.pbtxt` changes while its model is loaded: a refused
//! version is tried again; a loaded one goes on as it is, and the change waits.

use super::actual::Actual;
use super::{Loop, ServingState};
use crate::core::model::{ModelName, Version};
use crate::registry::pbtxt::ModelConfig;

const WAITING: &str = "config.pbtxt changed after the version was loaded; the change waits until a new version is loaded or the server restarts";

impl Loop {
    /// Notes the `config.pbtxt` with which a version is now loaded.
    pub(super) fn declare(&mut self, name: &ModelName, version: Version, declared: &ModelConfig) {
        let versions = self.models.get_mut(name);
        if let Some(actual) = versions.and_then(|versions| versions.get_mut(&version)) {
            actual.declared = Some(declared.clone());
            actual.waiting = None;
        }
    }

    /// Compares a model's `config.pbtxt` with those its versions were loaded with.
    pub(super) fn note_declared(&mut self, name: &ModelName, declared: &ModelConfig) {
        for (version, actual) in self.models.get_mut(name).into_iter().flatten() {
            let was_waiting = actual.waiting.is_some();
            note(actual, declared);

            if actual.waiting.is_some() && !was_waiting {
                let (model, version) = (name.as_str(), version.number());
                tracing::warn!(model, version, warning = WAITING, "change not applied");
            }
        }
    }
}

fn note(actual: &mut Actual, declared: &ModelConfig) {
    let Some(with) = &actual.declared else {
        return;
    };

    let differs = !with.loads_like(declared);
    if actual.servable.is_some() {
        actual.waiting = differs.then_some(WAITING);
    } else if differs && matches!(actual.state, ServingState::Failed(_)) {
        *actual = Actual::new(actual.files.clone());
    }
}
