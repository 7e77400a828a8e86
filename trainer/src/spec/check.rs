//! Checks the settings of a specification against each other.

use super::capture_source::CaptureSource;
use super::{Algorithm, Spec, SplitBy, cron};
use ortus::core::error::{Error, Result, short};
use ortus::core::model::ModelName;

/// The most columns of `slices` in `[gates]`.
const SLICES_MAX: usize = 8;

impl Spec {
    /// Checks settings against each other.
    pub(super) fn check(&self) -> Result<()> {
        self.check_model()?;
        self.check_sources()?;
        self.check_joins()?;
        self.check_schema()?;
        self.check_calendar()?;
        self.check_split()?;
        self.check_triggers()?;
        self.check_objective()?;

        if self.fit.algorithm == Algorithm::Command && self.program.program.is_empty() {
            return refuse(
                "'program' in [fit.command] is missing: the training program and its arguments",
            );
        }
        if self.gates.slices.len() > SLICES_MAX {
            return refuse(format!(
                "'slices' in [gates] names over {SLICES_MAX} columns"
            ));
        }
        Ok(())
    }

    fn check_model(&self) -> Result<()> {
        if self.model.name.is_empty() {
            return refuse("'name' in [model] is missing: the name of the model in the registry");
        }
        ModelName::parse(&self.model.name).map_err(|e| e.context("'name' in [model]"))?;
        if self.schema.target.is_empty() {
            return refuse("'target' in [schema] is missing: the column to predict");
        }
        Ok(())
    }

    fn check_sources(&self) -> Result<()> {
        if self.sources.0.is_empty() {
            return refuse(
                "[data.sources] is missing: the name and the location of a table, such as rows = \"train.parquet\"",
            );
        }
        for (name, at) in &self.sources.0 {
            let captured = CaptureSource::parse(at).map_err(|e| e.context("[data.sources]"))?;
            if captured.is_some() && self.formats.0.contains_key(name) {
                return refuse(format!(
                    "[data.sources.{name}]: 'format' describes text files; captured predictions have none"
                ));
            }
        }
        if self.data.sql.is_none() && self.only_source().is_none() {
            return refuse("'sql' in [data] is missing; more than one source needs a query");
        }
        Ok(())
    }

    fn check_joins(&self) -> Result<()> {
        for (name, join) in &self.joins.0 {
            let why = if !self.sources.0.contains_key(name) {
                "[data.sources] has no source of that name"
            } else if join.on.is_empty() || join.time.is_empty() {
                "set 'on' to the columns that match rows, and 'time' to the time at which a row became known"
            } else if self.schema.time.is_none() {
                "'time' in [schema] is missing: the time by which joined rows must be known"
            } else {
                continue;
            };
            return refuse(format!("[data.joins.{name}]: {why}"));
        }
        Ok(())
    }

    fn check_schema(&self) -> Result<()> {
        let schema = &self.schema;
        let others = [
            ("time", &schema.time),
            ("group", &schema.group),
            ("weight", &schema.weight),
        ];
        for (what, column) in others {
            if column.as_deref() == Some(schema.target.as_str()) {
                return refuse(format!("'{what}' in [schema] is the target"));
            }
        }
        if schema.features.contains(&schema.target) {
            let target = short(&schema.target);
            return refuse(format!("'{target}' is both the target and a feature"));
        }
        Ok(())
    }

    fn check_calendar(&self) -> Result<()> {
        let schema = &self.schema;
        for (name, features) in &self.calendar.0 {
            let is_time = schema.time.as_ref() == Some(name);
            let why = if *name == schema.target {
                "it is the target"
            } else if schema.ignore.contains(name) || schema.categories.contains(name) {
                "it is also in 'ignore' or 'categories'"
            } else if features.age && (schema.time.is_none() || is_time) {
                "\"age_days\" are the days until 'time' in [schema], which must be another column"
            } else if self.fit.algorithm == Algorithm::Command {
                "a training program computes features itself; leave the table out, and make a number of the time in 'sql' of [data]"
            } else {
                continue;
            };
            return refuse(format!("'{}' in [schema.calendar]: {why}", short(name)));
        }
        Ok(())
    }

    fn check_split(&self) -> Result<()> {
        let schema = &self.schema;
        let needed = match self.split.by {
            SplitBy::Time => Some(("time", &schema.time)),
            SplitBy::Group => Some(("group", &schema.group)),
            SplitBy::Auto | SplitBy::Random => None,
        };
        if let Some((what, None)) = needed {
            return refuse(format!(
                "'by' in [split] is \"{what}\", but '{what}' in [schema] names no column"
            ));
        }

        let ignores_time = matches!(self.split.by, SplitBy::Random | SplitBy::Group);
        if ignores_time && schema.time.is_some() && self.split.override_reason.is_none() {
            return refuse(
                "rows that have a time are split by time, so that no model is tested on rows older than its training rows; \
                 set 'by' in [split] to \"time\", or 'override_reason' to the reason for another split",
            );
        }
        Ok(())
    }

    fn check_triggers(&self) -> Result<()> {
        let triggers = &self.triggers;
        if triggers.new_rows.is_some() && self.schema.time.is_none() && self.has_seen() {
            return refuse(
                "'new_rows' in [triggers] needs 'time' in [schema], because captured rows expire",
            );
        }
        if let Some(pattern) = &triggers.cron {
            cron(pattern).map_err(|e| e.context("'cron' in [triggers]"))?;
        }
        Ok(())
    }
}

fn refuse(why: impl Into<String>) -> Result<()> {
    Err(Error::invalid(why))
}
