//! `train.toml`: everything that a run depends on, in one validated tree. Absent
//! settings have defaults; unknown ones are refused, with their line.

pub(crate) mod calendar;
pub(crate) mod capture_source;
mod check;
mod load;
pub(crate) mod objective;
mod sections;
#[cfg(test)]
mod tests;

use calendar::Calendar;
use capture_source::CaptureSource;
use ortus::core::error::{Error, Result};
use ortus::core::settings::form::Form;
use ortus::core::settings::section::SettingSection;
use ortus::storage::table::text::format::TextFormat;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Value;

pub(crate) use sections::*;

/// Everything that a run depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Spec {
    pub model: Model,
    pub data: Data,
    /// `[data.sources]`: tables by name, with their locations.
    pub sources: Sources,
    /// `format` in `[data.sources.NAME]`, by the name of the source.
    pub formats: SourceFormats,
    /// `[data.joins.NAME]`.
    pub joins: Joins,
    pub schema: Schema,
    /// `[schema.calendar]`: features that are computed from times, by the column.
    pub calendar: Calendar,
    pub split: Split,
    pub fit: Fit,
    pub trees: Trees,
    pub linear: Linear,
    pub mlp: Mlp,
    pub program: Program,
    pub gates: Gates,
    pub publish: Publish,
    pub triggers: Triggers,
    pub sweep: Sweep,
    /// `[sweep.values]`: settings by name, with the values to try.
    pub sweep_values: Tried,
    /// The folder that paths are relative to.
    pub folder: PathBuf,
}

/// Parses a cron pattern.
pub(crate) fn cron(pattern: &str) -> Result<croner::Cron> {
    pattern.parse().map_err(|e: croner::errors::CronError| {
        Error::invalid(format!(
            "'{}' is not a cron pattern of five fields: {e}",
            ortus::core::error::short(pattern)
        ))
    })
}

/// Text of several lines.
pub(crate) struct MultilineText;

impl Form<Option<String>> for MultilineText {
    fn read(value: &Value) -> Result<Option<String>, String> {
        let text = value
            .as_str()
            .filter(|text| !text.trim().is_empty() && !text.contains('\0'));
        text.map(|text| Some(text.to_owned()))
            .ok_or_else(|| "text, as a string".into())
    }

    fn write(setting: &Option<String>) -> Option<Value> {
        setting.clone().map(Value::String)
    }
}

/// Tables by name, with their locations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources(pub BTreeMap<String, String>);

/// How the text files of sources are written, by the name of the source, as far as it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceFormats(pub BTreeMap<String, TextFormat>);

/// Settings by name, with the values to try.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tried(pub BTreeMap<String, TrialValues>);

/// The values to try for a setting.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TrialValues {
    List(Vec<Value>),
    Range {
        from: f64,
        to: f64,
        is_log: bool,
        is_whole: bool,
    },
}

impl TrialValues {
    /// Reads a list or a range. Refuses anything else.
    fn read(value: &Value) -> Result<Self, String> {
        let must = "a list of values, or a range such as { from = 0.01, to = 0.3, log = true }";
        if let Some(list) = value.as_array().filter(|list| !list.is_empty()) {
            return Ok(Self::List(list.clone()));
        }
        let table = value.as_table().ok_or(must)?;
        if table
            .keys()
            .any(|key| !["from", "to", "log"].contains(&key.as_str()))
        {
            return Err(must.to_owned());
        }

        let number = |key: &str| {
            table
                .get(key)
                .and_then(|v| v.as_float().or_else(|| v.as_integer().map(|n| n as f64)))
        };

        let (from, to) = number("from")
            .zip(number("to"))
            .filter(|(from, to)| from < to)
            .ok_or(must)?;
        let is_log = table
            .get("log")
            .is_some_and(|log| log.as_bool() == Some(true));
        if is_log && from <= 0.0 {
            return Err("above 0, for a range that is drawn from by size".to_owned());
        }

        let is_whole = [table.get("from"), table.get("to")]
            .iter()
            .flatten()
            .all(|v| v.is_integer());
        Ok(Self::Range {
            from,
            to,
            is_log,
            is_whole,
        })
    }

    /// Draws one of them at random.
    pub(crate) fn sample(&self, chance: &mut dyn FnMut() -> f64) -> Value {
        match self {
            Self::List(list) => {
                list[((chance() * list.len() as f64) as usize).min(list.len() - 1)].clone()
            }
            Self::Range {
                from,
                to,
                is_log,
                is_whole,
            } => {
                let at = chance();
                let value = if *is_log {
                    (from.ln() + (to.ln() - from.ln()) * at).exp()
                } else {
                    from + (to - from) * at
                };
                let value = value.clamp(*from, *to);
                if *is_whole {
                    Value::Integer(value.round() as i64)
                } else {
                    Value::Float(value)
                }
            }
        }
    }

    /// Its smallest and largest values, which must be valid.
    fn extremes(&self) -> Vec<Value> {
        match self {
            Self::List(list) => list.clone(),
            Self::Range {
                from,
                to,
                is_whole: true,
                ..
            } => {
                vec![Value::Integer(*from as i64), Value::Integer(*to as i64)]
            }
            Self::Range { from, to, .. } => vec![Value::Float(*from), Value::Float(*to)],
        }
    }
}

/// Sources that are joined by time, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Joins(pub BTreeMap<String, Join>);

impl Spec {
    /// Returns the only source, if there is no query.
    pub(crate) fn only_source(&self) -> Option<&String> {
        let mut others = self
            .sources
            .0
            .keys()
            .filter(|name| !self.joins.0.contains_key(*name));
        others.next().filter(|_| others.next().is_none())
    }

    /// Parses the text of a file of this name.
    #[cfg(test)]
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self> {
        load::parse(name, text)
    }

    /// Sets a setting by its full name, such as `fit.trees.leaves_max`. Refuses
    /// settings outside of `[fit]` and `[schema]`.
    pub(crate) fn put(&mut self, name: &str, value: &Value) -> Result<()> {
        load::put(self, name, value).map_err(Error::invalid)
    }

    /// Reads a file. Refuses unknown keys, values out of range, and contradictory
    /// settings, each with its line.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        load::read(path)
    }

    /// Returns the canonical text of everything that a run depends on except the data; the
    /// same for the same meaning.
    pub(crate) fn canonical(&self) -> String {
        let mut root = toml::Table::new();
        // The content of files counts, not their location and not the limits of reading.
        let mut data = self.data.to_table();
        ["columns_memory_max", "memory_max", "rows_max", "staged_max"]
            .into_iter()
            .for_each(|key| drop(data.remove(key)));
        for (name, join) in &self.joins.0 {
            data.insert(format!("joins.{name}"), Value::Table(join.to_table()));
        }
        for (name, format) in &self.formats.0 {
            let format = Value::try_from(format).expect("settings are text and lists of text");
            data.insert(format!("sources.{name}.format"), format);
        }

        let mut schema = self.schema.to_table();
        if !self.calendar.0.is_empty() {
            schema.insert("calendar".to_owned(), self.calendar.to_value());
        }

        let mut fit = self.fit.to_table();
        match self.fit.algorithm {
            Algorithm::Trees => fit.insert("trees".to_owned(), Value::Table(self.trees.to_table())),
            Algorithm::Linear => {
                fit.insert("linear".to_owned(), Value::Table(self.linear.to_table()))
            }
            Algorithm::Mlp => fit.insert("mlp".to_owned(), Value::Table(self.mlp.to_table())),
            Algorithm::Command => {
                let mut program = self.program.to_table();
                // Limits of the program and the format of rows do not change the result.
                ["deadline", "memory_max", "output_max", "attempts"]
                    .iter()
                    .for_each(|key| drop(program.remove(*key)));
                fit.insert("command".to_owned(), Value::Table(program))
            }
        };

        // The result is the same on any number of threads.
        fit.remove("threads");
        self.drop_defaults(&mut fit);
        let tables = [
            ("model", self.model.to_table()),
            ("data", data),
            ("schema", schema),
            ("split", self.split.to_table()),
            ("fit", fit),
            ("gates", self.gates.to_table()),
            ("publish", self.publish.to_table()),
        ];

        root.extend(tables.map(|(name, table)| (name.to_owned(), Value::Table(table))));
        root.to_string()
    }

    /// Returns whether it reads captured predictions.
    pub(crate) fn has_seen(&self) -> bool {
        self.sources
            .0
            .values()
            .any(|at| matches!(CaptureSource::parse(at), Ok(Some(_))))
    }
}
