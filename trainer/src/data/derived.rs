//! The features of a model from the columns of the data: numbers and words that are inputs themselves,
//! and those that the graph computes from FP64 inputs.

use super::columns::{Gathered, Raw};
use super::times::{self, Moments};
use super::wide;
use crate::frame::{Frame, FrameColumn, FrameValues, SourceColumn};
use crate::spec::calendar::CalendarFeatures;
use crate::values::Values;
use ortus::core::error::{Error, Result, short};
use ortus::explain::derivation::{CalendarPart, Derivation, DerivedValue};

/// The features so far, with notes for a person.
#[derive(Default)]
pub(super) struct FeatureColumns {
    pub frame: Frame,
    pub notes: Vec<String>,
    /// The time of the row, from which ages are counted.
    pub time: Option<RowMoment>,
}

/// The time of the row.
pub(super) struct RowMoment {
    pub name: String,
    pub moments: Moments,
}

impl FeatureColumns {
    /// Adds words or integers that are categories.
    pub(super) fn category(&mut self, column: Gathered) -> Result<()> {
        let name = column.name.clone();
        let words = FrameValues::Words(column.categories()?);
        self.push(name, words);
        Ok(())
    }

    /// Adds a number or words. Refuses times, words that are times, and numbers that FP32 cannot keep.
    pub(super) fn plain(&mut self, column: Gathered) -> Result<()> {
        match admissible(&column)? {
            None => {}
            Some(fit) => {
                self.notes.extend(fit.note);
                if let (Some(minus), Raw::Numbers(all)) = (fit.minus, &column.values) {
                    self.source(&column.name, all.clone());
                    let how = DerivedValue::Minus(minus);
                    self.derive(&column.name.clone(), &column.name, how);
                    return Ok(());
                }
            }
        }
        let values = match column.values {
            Raw::Numbers(all) => FrameValues::Numbers(all.convert(|v| v as f32)?),
            Raw::Words(words) => FrameValues::Words(words),
            Raw::Times(_) => return Err(Error::internal("a time is no feature")),
        };
        self.push(column.name, values);
        Ok(())
    }

    /// Adds the features that are computed from a time.
    pub(super) fn calendar(&mut self, column: Gathered, of: &CalendarFeatures) -> Result<()> {
        let name = column.name.clone();
        let Moments { values, per_second } = column.moments()?;
        self.source(&name, values);
        for (part_name, part) in CalendarPart::ALL {
            if of.parts.contains(&part) {
                let how = DerivedValue::Part {
                    part,
                    per_second,
                    zone: of.zone_seconds().into(),
                };
                self.derive(&format!("{name}.{part_name}"), &name, how);
            }
        }
        let Some(RowMoment {
            name: until,
            moments,
        }) = self.time.as_ref().filter(|_| of.age)
        else {
            return Ok(());
        };
        let (until, until_per_second) = (until.clone(), moments.per_second);
        self.source(&until, moments.values.clone());
        let how = DerivedValue::DaysUntil {
            until,
            per_second,
            until_per_second,
        };
        self.derive(&format!("{name}.age_days"), &name, how);
        Ok(())
    }

    /// Computes the derived columns. Refuses two of one name.
    pub(super) fn finish(mut self) -> Result<(Frame, Vec<String>)> {
        let mut names: Vec<&str> = self.frame.columns.iter().map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid(format!(
                "two features are named '{}', one of them by [schema.calendar]; rename the column in the query",
                short(pair[0])
            )));
        }
        self.frame.derive();
        Ok((self.frame, self.notes))
    }

    fn push(&mut self, name: String, values: FrameValues) {
        self.frame.columns.push(FrameColumn { name, values });
    }

    fn source(&mut self, name: &str, values: Values<f64>) {
        self.frame.rows = values.len();
        if self.frame.source(name).is_none() {
            self.frame.sources.push(SourceColumn {
                name: name.to_owned(),
                values,
            });
        }
    }

    fn derive(&mut self, name: &str, source: &str, how: DerivedValue) {
        let derivation = Derivation {
            source: source.to_owned(),
            how,
        };
        self.frame.derived.insert(name.to_owned(), derivation);
        self.push(name.to_owned(), FrameValues::Numbers(Values::default()));
    }
}

/// Checks that a column can be a feature as it is. Returns how numbers become FP32.
pub(super) fn admissible(column: &Gathered) -> Result<Option<wide::NumberFit>> {
    let name = short(&column.name);
    let otherwise = format!(
        "name it in [schema.calendar] with the features to compute, such as {name} = [\"hour\", \"weekday\"], or in 'time' or 'ignore' of [schema]"
    );
    match &column.values {
        Raw::Times(_) => Err(Error::invalid(format!(
            "'{name}' is a time, which is no feature as it is; {otherwise}"
        ))),
        Raw::Words(_) => match times::found(column).and_then(|time| time.why_words()) {
            Some(why) => Err(Error::invalid(format!(
                "{why}; then {otherwise}; if each of its values is a category, name it in 'categories'"
            ))),
            None => Ok(None),
        },
        Raw::Numbers(_) if column.first_inexact.is_some() => {
            let first = column.first_inexact.unwrap_or_default();
            Err(Error::invalid(format!(
                "'{name}' holds whole numbers beyond 2^53, such as {first}, which FP64 rounds; CAST it to VARCHAR in the query if they are names, or leave it out with 'ignore' in [schema]"
            )))
        }
        Raw::Numbers(all) => wide::fit(&column.name, all).map(Some),
    }
}
