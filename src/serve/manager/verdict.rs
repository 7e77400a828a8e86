//! What a load call is told.

use super::actual::Actual;
use super::{Loop, ServingState};
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};

impl Loop {
    /// Tells whether a model serves what lies in the directory, and if not why.
    pub(super) fn verdict(&mut self, name: &ModelName) -> Result<()> {
        let Some(versions) = self.models.get(name) else {
            self.asked.remove(name);
            return Err(self.why_absent(name));
        };

        let refused = versions
            .iter()
            .rev()
            .find_map(|(version, actual)| Some(of_version(name, *version, actual.refusal()?)));
        // What is said of the first version that has such a reason.
        let first = |reason: fn(&Actual) -> Option<&String>| {
            let mut all = versions.iter();
            all.find_map(|(version, actual)| Some(of_version(name, *version, reason(actual)?)))
        };
        let serves = |actual: &Actual| actual.state == ServingState::Ready && !actual.is_changing;
        let serving = versions.values().any(serves);
        let unread = first(|actual| Some(&actual.unread.as_ref()?.reason));
        // An edit that the call was to apply.
        let unapplied = first(|actual| actual.waiting.as_ref());
        let unwanted = first(|actual| {
            let is_unwanted = actual.state == ServingState::Unloaded;
            actual.warning.as_ref().filter(|_| is_unwanted)
        });
        // The policy wants none of the versions that are there, although others may serve.
        let void = self.void.contains(name);
        let void = first(|actual| actual.warning.as_ref()).filter(|_| void);
        let unsettled = || format!("the files of '{name}' are still being written; retry");

        match refused {
            Some(why) => Err(Error::precondition(why)),
            None if let Some(why) = void => Err(Error::precondition(why)),
            None if serving => unapplied.map_or(Ok(()), |why| Err(Error::precondition(why))),
            None => Err(match (unread, unwanted) {
                (Some(unread), _) => Error::unavailable(unread),
                (None, Some(unwanted)) => Error::precondition(unwanted),
                (None, None) => Error::unavailable(unsettled()),
            }),
        }
    }

    /// Says why a model has no versions.
    pub(super) fn why_absent(&self, name: &ModelName) -> Error {
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

/// Says why a version does not serve what a load call asked for.
fn of_version(name: &ModelName, version: Version, reason: &str) -> String {
    format!("load {name}:{version}: {reason}")
}
