//! `train.toml`: everything that a run depends on, in one validated tree. What
//! is not said has a default; what is not known is refused, with its place.

mod load;
mod sections;
#[cfg(test)]
mod tests;

use super::data::seen::Seen;
use crate::config::form::Form;
use crate::error::{Error, Result};
use crate::model::{ModelName, short};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Value;

pub(crate) use sections::*;

/// Everything that a run depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Spec {
    pub model: Model,
    pub data: Data,
    /// `[data.sources]`: tables by name, and where they lie.
    pub sources: Sources,
    pub schema: Schema,
    pub split: Split,
    pub fit: Fit,
    pub trees: Trees,
    pub linear: Linear,
    pub mlp: Mlp,
    pub program: Program,
    pub gates: Gates,
    pub publish: Publish,
    pub triggers: Triggers,
    /// The folder that paths are relative to.
    pub folder: PathBuf,
}

/// Text of several lines.
pub(crate) struct Text;

impl Form<Option<String>> for Text {
    fn read(value: &Value) -> Result<Option<String>, String> {
        let text = value.as_str().filter(|text| !text.trim().is_empty() && !text.contains('\0'));
        text.map(|text| Some(text.to_owned())).ok_or_else(|| "text, as a string".into())
    }

    fn write(setting: &Option<String>) -> Option<Value> {
        setting.clone().map(Value::String)
    }
}

/// Tables by name, and where they lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources(pub BTreeMap<String, String>);

impl Spec {
    /// Reads a file. Refuses unknown keys, values out of range, and what does not
    /// fit together, each with its line.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        load::read(path)
    }

    /// Everything that a run depends on but the data, as text; the same for the
    /// same meaning, however it is written.
    pub(crate) fn canonical(&self) -> String {
        let mut root = toml::Table::new();
        // What the files hold counts, not where they lie, nor what reading them may cost.
        let mut data = self.data.to_table();
        ["memory_max", "rows_max", "staged_max"].into_iter().for_each(|key| drop(data.remove(key)));
        let mut fit = self.fit.to_table();
        match self.fit.algorithm {
            Algorithm::Trees => fit.insert("trees".to_owned(), Value::Table(self.trees.to_table())),
            Algorithm::Linear => fit.insert("linear".to_owned(), Value::Table(self.linear.to_table())),
            Algorithm::Mlp => fit.insert("mlp".to_owned(), Value::Table(self.mlp.to_table())),
            Algorithm::Command => {
                let mut program = self.program.to_table();
                // What it may take, and how it is handed over, does not change what it makes.
                ["deadline", "memory_max", "output_max", "attempts"].iter().for_each(|key| drop(program.remove(*key)));
                fit.insert("command".to_owned(), Value::Table(program))
            }
        };
        // The result is the same on any number of threads.
        fit.remove("threads");
        let tables = [
            ("model", self.model.to_table()),
            ("data", data),
            ("schema", self.schema.to_table()),
            ("split", self.split.to_table()),
            ("fit", fit),
            ("gates", self.gates.to_table()),
            ("publish", self.publish.to_table()),
        ];
        root.extend(tables.map(|(name, table)| (name.to_owned(), Value::Table(table))));
        root.to_string()
    }

    /// Whether it learns from what a registry's servers saw.
    pub(crate) fn has_seen(&self) -> bool {
        self.sources.0.values().any(|at| matches!(Seen::parse(at), Ok(Some(_))))
    }

    /// Checks what no single setting shows.
    fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::invalid(why));
        if self.model.name.is_empty() {
            return refuse("'name' in [model] is missing: what the model is called in the registry".to_owned());
        }
        ModelName::parse(&self.model.name).map_err(|e| e.context("'name' in [model]"))?;
        if self.schema.target.is_empty() {
            return refuse("'target' in [schema] is missing: the column to predict".to_owned());
        }
        if self.sources.0.is_empty() {
            return refuse(
                "[data.sources] is missing: a table's name and where it lies, such as rows = \"train.parquet\""
                    .to_owned(),
            );
        }
        for at in self.sources.0.values() {
            Seen::parse(at).map_err(|e| e.context("[data.sources]"))?;
        }
        if self.data.sql.is_none() && self.sources.0.len() > 1 {
            return refuse("'sql' in [data] is missing: there is more than one source".to_owned());
        }
        let schema = &self.schema;
        let others = [("time", &schema.time), ("group", &schema.group), ("weight", &schema.weight)];
        for (what, column) in others {
            if column.as_deref() == Some(schema.target.as_str()) {
                return refuse(format!("'{what}' in [schema] is the target"));
            }
        }
        if schema.features.contains(&schema.target) {
            return refuse(format!("'{}' is both the target and a feature", short(&schema.target)));
        }
        let needs = |by, column: &Option<String>, what: &str| match column {
            None if self.split.by == by => {
                refuse(format!("'by' in [split] is \"{what}\", but '{what}' in [schema] names no column"))
            }
            _ => Ok(()),
        };
        needs(SplitBy::Time, &schema.time, "time")?;
        needs(SplitBy::Group, &schema.group, "group")?;
        let is_otherwise = matches!(self.split.by, SplitBy::Random | SplitBy::Group);
        if is_otherwise && schema.time.is_some() && self.split.override_reason.is_none() {
            return refuse(
                "rows that have a time are split by it, for else the future tells of the past; say why otherwise all the \
                 same in 'override_reason' of [split]"
                    .to_owned(),
            );
        }
        if self.fit.algorithm == Algorithm::Command && self.program.program.is_empty() {
            return refuse(
                "'program' in [fit.command] is missing: the program that learns, and its arguments".to_owned(),
            );
        }
        if let Some(cron) = &self.triggers.cron {
            super::trigger::cron(cron).map_err(|e| e.context("'cron' in [triggers]"))?;
        }
        if self.gates.slices.len() > 8 {
            return refuse("'slices' in [gates] names over 8 columns".to_owned());
        }
        Ok(())
    }
}
