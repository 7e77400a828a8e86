//! Assigns the columns of a query's result to their roles in `[schema]`: target,
//! time, group, weight, features. Reads no file.

use super::columns::Gathered;
use super::{DataManifest, Rows, target};
use crate::frame::{Frame, FrameColumn};
use crate::spec::Spec;
use crate::tensors;
use ortus::core::count::counted;
use ortus::core::error::{Error, Result, short};

/// Reserved names: the outputs of the graph, and its joint input of numbers.
const RESERVED: [&str; 4] = [
    tensors::VALUE,
    tensors::LABEL,
    tensors::PROBABILITIES,
    tensors::NUMBERS,
];
/// Returns the rows of the columns, each in its role. Refuses columns that are
/// absent or do not fit their roles, and rows without a target beyond a share.
pub(super) fn assign(spec: &Spec, gathered: Vec<Gathered>, manifest: DataManifest) -> Result<Rows> {
    let schema = &spec.schema;
    let mut columns = Columns::new(gathered);
    let target = columns.take(&schema.target, "target")?;
    let time = columns.take_if_set(schema.time.as_deref(), "time")?;
    let group = columns.take_if_set(schema.group.as_deref(), "group")?;
    let weight = columns.take_if_set(schema.weight.as_deref(), "weight")?;
    let time = time.map(Gathered::times).transpose()?;
    let group = group.map(Gathered::groups);
    let weight = weight.map(Gathered::weights).transpose()?;
    for name in &schema.ignore {
        columns.take(name, "column to ignore")?;
    }
    let features = features(spec, columns)?;

    let count = manifest.rows;
    let (target, labelled) = target::read(spec, target)?;
    let unlabelled = count - labelled.len();
    if unlabelled as f64 > spec.data.unlabelled_max * count as f64 {
        return Err(Error::invalid(format!(
            "{unlabelled} of {count} rows have no '{}'; 'unlabelled_max' in [data] allows {}",
            short(&schema.target),
            spec.data.unlabelled_max
        )));
    }

    let mut rows = Rows {
        frame: Frame {
            columns: features,
            rows: count,
        },
        target,
        time,
        group,
        weight,
        manifest,
        notes: Vec::new(),
    };
    if unlabelled > 0 {
        rows = rows.take(&labelled);
        rows.notes.push(format!(
            "not used: {} without a target",
            counted(unlabelled, "row")
        ));
    }
    Ok(rows)
}

/// Returns the features of the schema, or all columns that have no other role.
fn features(spec: &Spec, mut columns: Columns) -> Result<Vec<FrameColumn>> {
    let schema = &spec.schema;
    let features = if schema.features.is_empty() {
        std::mem::take(&mut columns.unassigned)
    } else {
        let names = schema.features.iter();
        names
            .map(|name| columns.take(name, "feature"))
            .collect::<Result<_>>()?
    };

    let has = |name: &String| features.iter().any(|feature| feature.name == *name);
    if let Some(name) = schema.categories.iter().find(|name| !has(name)) {
        return Err(columns.missing(name, "category"));
    }
    if features.is_empty() {
        return Err(Error::invalid(
            "the data has no feature column; add columns, or shorten 'ignore' in [schema]",
        ));
    }
    if let Some(taken) = features
        .iter()
        .find(|f| RESERVED.contains(&f.name.as_str()) || f.name.is_empty())
    {
        return Err(Error::invalid(format!(
            "the feature name '{}' is reserved for a tensor of the model; rename the column in the query",
            short(&taken.name)
        )));
    }

    let features = features.into_iter().map(|feature| {
        let is_category = schema.categories.contains(&feature.name);
        feature.feature(is_category)
    });
    features.collect()
}

/// The columns that have no role yet.
struct Columns {
    unassigned: Vec<Gathered>,
    /// The names of all columns.
    names: Vec<String>,
}

impl Columns {
    fn new(gathered: Vec<Gathered>) -> Self {
        Self {
            names: gathered.iter().map(|column| column.name.clone()).collect(),
            unassigned: gathered,
        }
    }

    /// Removes a column, which gets the role. Refuses the name of a column that is absent
    /// or has a role.
    fn take(&mut self, name: &str, role: &str) -> Result<Gathered> {
        let at = self
            .unassigned
            .iter()
            .position(|column| column.name == name);
        let at = at.ok_or_else(|| self.missing(name, role))?;
        Ok(self.unassigned.remove(at))
    }

    fn take_if_set(&mut self, name: Option<&str>, role: &str) -> Result<Option<Gathered>> {
        name.map(|name| self.take(name, role)).transpose()
    }

    fn missing(&self, name: &str, role: &str) -> Error {
        Error::invalid(format!(
            "the data has no column '{}', the {role}; it has {}",
            short(name),
            short(&self.names.join(", "))
        ))
    }
}
