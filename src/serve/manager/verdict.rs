//! What a load call is told.

use super::actual::Actual;
use super::{Loop, ServingState};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;

impl Loop {
    /// Tells whether a model serves what lies in the directory, and if not why.
    pub(super) fn verdict(&mut self, name: &ModelName) -> Result<()> {
        let Some(versions) = self.models.get(name) else {
            self.asked.remove(name);
            return Err(self.why_absent(name));
        };

        let failed = versions
            .iter()
            .rev()
            .find_map(|(version, actual)| Some((version, actual.refusal()?)))
            .map(|(version, reason)| {
                Error::precondition(format!("load {name}:{version}: {reason}"))
            });
        let serves = |actual: &Actual| actual.state == ServingState::Ready && !actual.is_changing;
        let serving = versions.values().any(serves);
        let unread = versions.iter().find_map(|(version, actual)| {
            let reason = &actual.unread.as_ref()?.reason;
            Some(format!("load {name}:{version}: {reason}"))
        });
        // An edit that the call was to apply.
        let unapplied = versions.iter().find_map(|(version, actual)| {
            let reason = actual.waiting.as_ref()?;
            Some(Error::precondition(format!(
                "load {name}:{version}: {reason}"
            )))
        });
        let unwanted = versions.iter().find_map(|(version, actual)| {
            let is_unwanted = actual.state == ServingState::Unloaded;
            let reason = actual.warning.as_ref().filter(|_| is_unwanted)?;
            Some(Error::precondition(format!(
                "load {name}:{version}: {reason}"
            )))
        });
        let unsettled = || format!("the files of '{name}' are still being written; retry");

        match failed {
            Some(error) => Err(error),
            None if serving => unapplied.map_or(Ok(()), Err),
            None => Err(match (unread, unwanted) {
                (Some(reason), _) => Error::unavailable(reason),
                (None, Some(unwanted)) => unwanted,
                (None, None) => Error::unavailable(unsettled()),
            }),
        }
    }

    /// Says why a model has no versions.
    fn why_absent(&self, name: &ModelName) -> Error {
        let unserved = self.unserved.load();
        let found = unserved.iter().find(|u| u.model == name.as_str());
        match found {
            Some(unserved) => Error::precondition(format!(
                "model '{name}' is not served: {}",
                unserved.explanation()
            )),
            None => Error::not_found(format!("model '{name}' is not in the model directory")),
        }
    }
}
