//! Decides whether load balancers should send requests to this server. Pure: owns no clock, and is
//! told what each model does after every look at the source of models.

#[cfg(test)]
mod tests;

use crate::core::model::ModelName;
use std::collections::{BTreeMap, BTreeSet};

/// What one model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModelCondition {
    /// A version of it serves.
    Serving,
    /// None serves, and at least one was refused.
    Refused,
    /// None serves, and none was refused: nothing is wanted, or files are still being written.
    Neither,
}

/// When a server is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadyWhen {
    /// Always: clients load the models.
    Always,
    /// No model of the start is left that was refused and has never served since.
    EachServes,
    /// One model serves.
    OneServes,
}

/// The readiness of a server, from its first look at the source of models on.
#[derive(Debug)]
pub(super) struct Readiness {
    when: ReadyWhen,
    /// The models of the start that were refused and have never served.
    awaited: Option<BTreeSet<ModelName>>,
    /// The models that were there at the start or have served: those that clients count on.
    known: BTreeSet<ModelName>,
    /// At the start nothing served and something in the directory was no model, and since then
    /// neither has changed.
    lacks_all: bool,
    /// What was decided last.
    is_ready: bool,
}

impl Readiness {
    /// Starts not ready.
    pub(super) fn new(when: ReadyWhen) -> Self {
        Self {
            when,
            is_ready: false,
            awaited: None,
            known: BTreeSet::new(),
            lacks_all: false,
        }
    }

    /// Decides after a look at the source. The first call is the end of the start.
    /// `has_unserved` tells whether something lies in the directory that is no model.
    pub(super) fn judge(
        &mut self,
        models: &BTreeMap<ModelName, ModelCondition>,
        has_unserved: bool,
    ) -> bool {
        let having = |condition| {
            let all = models.iter();
            all.filter(move |(_, c)| **c == condition)
                .map(|(name, _)| name)
        };
        let is_first = self.awaited.is_none();
        let awaited = self
            .awaited
            .get_or_insert_with(|| having(ModelCondition::Refused).cloned().collect());

        // A model that was removed is not awaited any longer.
        awaited.retain(|name| {
            models
                .get(name)
                .is_some_and(|condition| *condition != ModelCondition::Serving)
        });
        if is_first {
            self.known.extend(models.keys().cloned());
        }
        self.known.extend(having(ModelCondition::Serving).cloned());

        let serves = having(ModelCondition::Serving).next().is_some();
        self.lacks_all = (is_first || self.lacks_all) && has_unserved && !serves;
        let is_refused = having(ModelCondition::Refused).any(|name| self.known.contains(name));
        self.is_ready = match self.when {
            ReadyWhen::Always => true,
            ReadyWhen::EachServes => {
                awaited.is_empty() && !self.lacks_all && (serves || !is_refused)
            }
            ReadyWhen::OneServes => serves || !is_refused,
        };
        self.is_ready
    }

    /// Returns what was decided last.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Tells whether nothing was decided yet.
    pub(super) fn is_first(&self) -> bool {
        self.awaited.is_none()
    }

    /// Tells whether a server is not ready because nothing in its directory is a model.
    pub(super) fn lacks_all(&self) -> bool {
        self.lacks_all
    }

    /// Returns the models for which a server waits that is not ready.
    pub(super) fn awaited(&self) -> String {
        let names = self.awaited.iter().flatten().map(ModelName::as_str);
        names.collect::<Vec<_>>().join(", ")
    }
}
