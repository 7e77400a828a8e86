//! The load and unload calls of clients.

use super::{Loop, ServingState};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::registry::directory::supplied::Supply;
use std::collections::BTreeMap;

impl Loop {
    /// Loads a model, from the directory or from what is supplied. What is supplied and refused leaves no
    /// trace: what served before goes on.
    pub(super) fn load_asked(&mut self, name: &ModelName, supply: Supply) -> Result<()> {
        let is_supplied = !supply.is_empty();
        let before = self.parts.source.supply(name, supply)?;
        let is_new = self.asked.insert(name.clone());
        if is_supplied || before.is_some() {
            self.supplied_anew = Some(name.clone());
        }
        self.try_refused_again(name);
        self.follow(false);
        self.supplied_anew = None;
        if before.is_some() && !is_supplied && !self.parts.source.has(name) {
            // Nothing can take the place of what was supplied, so that goes on.
            self.parts.source.put_back(name, before);
            self.set_reload(name, false);
            self.follow(false);
            return Err(self.why_absent(name));
        }
        let verdict = self.verdict(name);
        self.set_reload(name, false);

        if is_supplied && verdict.is_err() {
            self.parts.source.put_back(name, before);
            if is_new {
                self.asked.remove(name);
            }
            self.follow(false);
        }
        verdict
    }

    /// Unloads a model, with what was supplied for it.
    pub(super) fn unload_asked(&mut self, name: &ModelName) -> Result<()> {
        let is_known = self.asked.remove(name);
        self.parts.source.put_back(name, None);
        // Whoever loads the model again means the files that are there then.
        self.parts.source.forget(name, None);
        self.follow(false);
        match is_known {
            true => Ok(()),
            false => Err(Error::not_found(format!("model '{name}' is not loaded"))),
        }
    }

    fn try_refused_again(&mut self, name: &ModelName) {
        if let Some(versions) = self.models.get_mut(name) {
            versions.retain(|_, actual| {
                !matches!(actual.state, ServingState::Failed(_)) || actual.servable.is_some()
            });
        }
        self.set_reload(name, true);
    }

    fn set_reload(&mut self, name: &ModelName, reload: bool) {
        let versions = self.models.get_mut(name).into_iter();
        versions
            .flat_map(BTreeMap::values_mut)
            .for_each(|actual| actual.reload = reload);
    }
}
