//! The rows to train on: a query over files, read into memory in the form that a
//! served model sees, with a manifest of the files.

mod captured;
pub(crate) mod check;
mod columns;
mod derived;
mod joins;
pub(crate) mod look;
mod manifest;
pub(crate) mod percent;
mod query_error;
mod roles;
mod source;
mod staged;
mod tables;
mod target;
#[cfg(test)]
mod tests;
pub(crate) mod times;
pub(crate) mod unlabelled;
mod wide;

use crate::frame::Frame;
use crate::spec::Spec;
use chrono::{DateTime, Utc};
pub(crate) use manifest::DataManifest;
use ortus::core::error::{Error, Result, short};
use ortus::storage::layout::Records;
use unlabelled::UnlabelledRows;

/// What can be read beside files, and up to which time.
#[derive(Clone)]
pub(crate) struct Reach {
    /// The records with captured predictions.
    pub records: Option<Records>,
    /// Rows of later times are left out.
    pub as_of: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
}

impl Reach {
    /// Reaches files only.
    pub(crate) fn files() -> Self {
        Self {
            records: None,
            as_of: None,
            now: Utc::now(),
        }
    }
}

/// The rows of a dataset.
pub(crate) struct Rows {
    /// The features, in the model's order.
    pub frame: Frame,
    pub target: RowTarget,
    /// Microseconds since 1970.
    pub time: Option<Vec<i64>>,
    pub group: Option<Vec<u32>>,
    pub weight: Option<Vec<f32>>,
    pub manifest: DataManifest,
    /// Notes for a person, such as rows that were left out.
    pub notes: Vec<String>,
    /// Rows without a target, which are not counted as rows.
    pub unlabelled: Option<UnlabelledRows>,
}

/// The target of each row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RowTarget {
    Values(Vec<f32>),
    Classes { of: Vec<u32>, names: Vec<String> },
}

/// The most classes.
pub(crate) const CLASSES_MAX: usize = ortus::core::model::task::CLASSES_MAX;
impl RowTarget {
    /// Returns the targets as numbers: the value, or the index of the class.
    pub(crate) fn numbers(&self) -> Vec<f32> {
        match self {
            Self::Values(values) => values.clone(),
            Self::Classes { of, .. } => of.iter().map(|c| *c as f32).collect(),
        }
    }

    /// Returns the names of the classes; none for regression.
    pub(crate) fn classes(&self) -> Option<&[String]> {
        match self {
            Self::Values(_) => None,
            Self::Classes { names, .. } => Some(names),
        }
    }

    /// Returns the targets of some rows.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        match self {
            Self::Values(values) => {
                Self::Values(rows.iter().map(|r| values[*r as usize]).collect())
            }
            Self::Classes { of, names } => Self::Classes {
                of: rows.iter().map(|r| of[*r as usize]).collect(),
                names: names.clone(),
            },
        }
    }
}

/// Reads the dataset of a specification. Refuses files and queries that do not
/// fit it, absent columns, and a target that cannot be predicted.
pub(crate) async fn read(spec: &Spec, reach: &Reach) -> Result<Rows> {
    let queried = source::read(spec, reach).await?;
    let notes = queried.lines();
    let rows = roles::assign(spec, queried.columns, queried.manifest, &queried.captured);
    let mut rows = rows.map_err(|error| with_reading(error, spec, &notes))?;
    rows.notes.extend(notes);
    Ok(rows)
}

/// Adds to an error about the target how the reader of text files took it, such as which word made words of
/// its numbers.
fn with_reading(mut error: Error, spec: &Spec, notes: &[String]) -> Error {
    let name = format!("'{}'", short(&spec.schema.target));
    let is_about = |note: &&String| note.starts_with(&format!("{name}:"));
    if let Some(note) = notes
        .iter()
        .find(is_about)
        .filter(|_| error.message.contains(&name))
    {
        error.message.push_str(&format!(" ({note})"));
    }
    error
}

/// Counts the rows that have a target, of a later time than `after` where the
/// rows have one.
pub(crate) async fn count(
    spec: &Spec,
    reach: &Reach,
    after: Option<DateTime<Utc>>,
) -> Result<usize> {
    source::count(spec, reach, after).await
}

/// The rows that have a target.
#[derive(Default)]
pub(crate) struct LabelledTimes {
    /// How many there are, those of the future left out.
    pub rows: usize,
    /// Their times in order, in microseconds since 1970, if they have one.
    pub times: Option<Vec<i64>>,
    /// Their groups, in the order of their times, if both are there.
    pub groups: Option<Vec<u32>>,
    /// Rows whose time is in the future.
    pub future: usize,
}

/// Returns the times of all rows that have a target.
pub(crate) async fn labelled(spec: &Spec, reach: &Reach) -> Result<LabelledTimes> {
    source::times(spec, reach).await
}

impl Rows {
    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.frame.rows
    }

    /// Returns the rows at these indices, in their order.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        Self {
            frame: self.frame.take(rows),
            target: self.target.take(rows),
            time: taken(self.time.as_ref(), rows),
            group: taken(self.group.as_ref(), rows),
            weight: taken(self.weight.as_ref(), rows),
            manifest: self.manifest.clone(),
            notes: self.notes.clone(),
            unlabelled: None,
        }
    }

    /// Returns the time of a row; 0 where rows have none.
    pub(crate) fn time_of(&self, row: u32) -> i64 {
        self.time.as_ref().map_or(0, |times| times[row as usize])
    }
}

/// Returns the values at these indices, if there are values.
fn taken<T: Copy>(all: Option<&Vec<T>>, rows: &[u32]) -> Option<Vec<T>> {
    all.map(|all| rows.iter().map(|row| all[*row as usize]).collect())
}
