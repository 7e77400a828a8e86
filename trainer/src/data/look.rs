//! All rows of a source, described column by column, for a first specification: kinds, ranges, most
//! frequent values, and what a column may be beside a feature. Decides nothing.

mod describe;
mod entity;

use super::columns::{Gathered, NO_TIME, Raw};
use super::manifest::DataManifest;
use super::{Reach, Rows, roles, source};
use crate::spec::Spec;
use crate::values::Values;
use ortus::core::error::Result;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

/// The kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookedKind {
    Number,
    Whole,
    Boolean,
    Words,
    /// Words of digits, such as postal codes.
    Codes,
    Time,
    /// One value in all rows.
    Constant,
    /// No value in any row.
    Missing,
}

/// How a column only names the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowName {
    /// Nearly every row has its own value.
    Identifies,
    /// It grows with every row.
    Counts,
}

/// Values that stand for entities, such as customers, of which there are several rows each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RepeatedEntity {
    pub values: usize,
    /// How far the target of a row is that of other rows of the same value: 0 as of any row, 1 the same.
    pub agreement: f64,
    /// Whether the rows must stay together.
    pub is_sure: bool,
}

/// Times of a column, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub first: i64,
    pub last: i64,
    /// Rows with a time after now.
    pub future: usize,
}

/// What was seen of a column.
#[derive(Clone, Debug)]
pub(crate) struct LookedColumn {
    pub name: String,
    pub kind: LookedKind,
    /// Rows without a value.
    pub missing: usize,
    /// Rows of these that have no target either.
    pub missing_with_target: usize,
    /// Different values; none where they were not counted.
    pub different: Option<usize>,
    /// The range, or the most frequent values.
    pub values: String,
    pub row_name: Option<RowName>,
    pub entity: Option<RepeatedEntity>,
    /// Whether whole numbers are rather codes than amounts.
    pub is_codes: bool,
    pub time: Option<TimeRange>,
    /// The unit in which numbers look like times since 1970.
    pub unix: Option<&'static str>,
    /// Why words that look like times are not read as such, and what to do.
    pub time_doubt: Option<String>,
    /// A word that looks like a time of no known format.
    pub unread_time: Option<String>,
    /// What the reader of text files says of it.
    pub notes: Vec<String>,
}

/// The column that is to be predicted, for the search of entities.
enum LookedTarget {
    /// A class for each row; `u32::MAX` for none.
    Classes(Values<u32>),
    /// NaN for none.
    Values(Values<f64>),
}

/// A source whose rows were all read.
pub(crate) struct LookedTable {
    pub columns: Vec<LookedColumn>,
    pub rows: usize,
    /// How text files are written.
    pub dialect: Option<String>,
    /// Notes about the table.
    pub notes: Vec<String>,
    /// Columns that no model takes, with their types.
    pub unfit: Vec<(String, String)>,
    /// Columns that captured predictions have beside the inputs of the model.
    pub captured: Vec<String>,
    gathered: Vec<Gathered>,
    manifest: DataManifest,
}

/// Reads all rows of the only source of a specification.
pub(crate) async fn look(spec: &Spec, reach: &Reach) -> Result<LookedTable> {
    let queried = source::read(spec, reach).await?;
    let target = queried.columns.iter();
    let target = target.filter(|column| column.name == spec.schema.target);
    let target = target.map(LookedTarget::of).next();
    let mut notes: HashMap<String, Vec<String>> = HashMap::new();
    let (mut dialect, mut of_table) = (None, queried.notes.clone());
    for table in queried.tables {
        dialect = dialect.or(table.dialect);
        of_table.extend(table.table);
        for (name, note) in table.columns {
            notes.entry(name).or_default().push(note);
        }
    }

    let now = reach.now.timestamp_micros();
    let looked = queried.columns.par_iter().map(|column| {
        let of_target = target
            .as_ref()
            .filter(|_| column.name != spec.schema.target);
        let known = notes.get(&column.name).cloned().unwrap_or_default();
        describe::describe(column, of_target, now, known)
    });
    Ok(LookedTable {
        columns: looked.collect(),
        rows: queried.manifest.rows,
        dialect,
        notes: of_table,
        unfit: queried.unfit,
        captured: queried.captured,
        gathered: queried.columns,
        manifest: queried.manifest,
    })
}

/// What the query of a first specification does with the rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowChanges {
    /// Columns that are left out.
    pub without: HashSet<String>,
    /// New names, by the old ones.
    pub renamed: HashMap<String, String>,
    /// A column of times, whose rows without one are left out.
    pub timed: Option<String>,
}

impl LookedTable {
    /// Returns the rows as a run would read them by the specification and its query.
    pub(crate) fn into_rows(self, spec: &Spec, changes: &RowChanges) -> Result<Rows> {
        let mut columns = self.gathered;
        let mut manifest = self.manifest;
        if let Some(name) = &changes.timed
            && let Some(kept) = timed_rows(&columns, name)
        {
            columns = columns.iter().map(|column| column.take(&kept)).collect();
            manifest.rows = kept.len();
        }
        columns.retain(|column| !changes.without.contains(&column.name));
        for column in &mut columns {
            if let Some(new) = changes.renamed.get(&column.name) {
                column.name.clone_from(new);
            }
        }
        roles::assign(spec, columns, manifest, &self.captured)
    }
}

/// Returns the rows that have a time; none if the column is not of times.
fn timed_rows(columns: &[Gathered], name: &str) -> Option<Vec<u32>> {
    let column = columns.iter().find(|column| column.name == name)?;
    let Raw::Times(all) = &column.values else {
        return None;
    };
    let rows = (0..).zip(all).filter(|(_, time)| **time != NO_TIME);
    Some(rows.map(|(row, _)| row).collect())
}
