//! The calls that replace the list of models.

use super::Loop;
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::registry::pbtxt::model_list::ModelList;

impl Loop {
    /// Serves the models of a list and no others. Fails if a model does not serve what the list says, which then
    /// stays in force, or if a label is for a version that does not serve: then the labels stay as they were.
    pub(super) fn relist_asked(&mut self, list: &ModelList) -> Result<()> {
        self.parts.source.relist(list)?;
        self.follow(false);
        self.wait_for_files();

        let wanted: Vec<&ModelName> = list.0.keys().filter(|name| self.is_wanted(name)).collect();
        for name in wanted {
            self.verdict(name)?;
        }
        for (name, listed) in &list.0 {
            for (label, version) in &listed.labels {
                if !self.serves(name, *version) {
                    return Err(Error::precondition(format!(
                        "label '{label}' of model '{name}': version {version} does not serve; no label was changed"
                    )));
                }
            }
        }
        self.parts.source.label(list);
        self.follow(false);
        Ok(())
    }

    fn serves(&self, name: &ModelName, version: Version) -> bool {
        let actual = self.models.get(name).and_then(|all| all.get(&version));
        actual.is_some_and(|actual| actual.servable.is_some())
    }
}
