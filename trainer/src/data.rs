//! The rows to train on: a query over files, read into memory in the form that a
//! served model sees, with a manifest of the files.

mod captured;
pub(crate) mod check;
mod columns;
mod joins;
mod manifest;
mod query_error;
mod source;
mod staged;
#[cfg(test)]
mod tests;

use crate::frame::{Column, Frame, MISSING, Words};
use crate::spec::{Spec, Task};
use crate::tensors;
use chrono::{DateTime, Utc};
use columns::Gathered;
pub(crate) use manifest::Manifest;
use ortus::core::error::short;
use ortus::core::error::{Error, Result};
use ortus::storage::layout::Records;

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
    /// Files only.
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
    pub target: Target,
    /// Microseconds since 1970.
    pub time: Option<Vec<i64>>,
    pub group: Option<Vec<u32>>,
    pub weight: Option<Vec<f32>>,
    pub manifest: Manifest,
    /// Notes for a person, such as rows that were left out.
    pub notes: Vec<String>,
}

/// The target of each row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    Values(Vec<f32>),
    Classes { of: Vec<u32>, names: Vec<String> },
}

/// Reserved names: the outputs of the graph, and its joint input of numbers.
const RESERVED: [&str; 4] = [
    tensors::VALUE,
    tensors::LABEL,
    tensors::PROBABILITIES,
    tensors::NUMBERS,
];
/// The most classes.
pub(crate) const CLASSES_MAX: usize = ortus::core::model::task::CLASSES_MAX;
/// Integers of at most this many distinct values are classes by default.
const FEW: usize = 10;

impl Target {
    /// The targets as numbers: the value, or the index of the class.
    pub(crate) fn numbers(&self) -> Vec<f32> {
        match self {
            Self::Values(values) => values.clone(),
            Self::Classes { of, .. } => of.iter().map(|c| *c as f32).collect(),
        }
    }

    /// The names of the classes; none for regression.
    pub(crate) fn classes(&self) -> Option<&[String]> {
        match self {
            Self::Values(_) => None,
            Self::Classes { names, .. } => Some(names),
        }
    }

    /// The targets of some rows.
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
    let (gathered, manifest, notes) = source::read(spec, reach).await?;
    let mut rows = shape(spec, gathered, manifest)?;
    rows.notes.extend(notes);
    Ok(rows)
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

/// The columns of a file, for a first specification.
pub(crate) struct Looked {
    /// The column that is probably the time of a row.
    pub time: Option<String>,
    /// All columns of type time.
    pub times: Vec<String>,
    /// Columns without any value.
    pub unfit: Vec<String>,
}

/// Reads the columns of the data.
pub(crate) async fn look(spec: &Spec) -> Result<Looked> {
    let (gathered, ..) = source::read(spec, &Reach::files()).await?;
    let mut looked = Looked {
        time: None,
        times: Vec::new(),
        unfit: Vec::new(),
    };

    for column in &gathered {
        match &column.values {
            columns::Raw::Times(all) => {
                looked.times.push(column.name.clone());
                let is_whole = all.iter().all(|t| *t != columns::NO_TIME);
                if is_whole && looked.time.is_none() {
                    looked.time = Some(column.name.clone());
                }
            }
            columns::Raw::Numbers(all) if all.iter().all(|v| v.is_nan()) => {
                looked.unfit.push(column.name.clone())
            }
            columns::Raw::Words(words) if words.list.is_empty() => {
                looked.unfit.push(column.name.clone())
            }
            _ => {}
        }
    }

    looked.unfit.retain(|name| *name != spec.schema.target);
    Ok(looked)
}

/// Assigns columns to their roles: target, time, group, weight, features.
fn shape(spec: &Spec, mut gathered: Vec<Gathered>, manifest: Manifest) -> Result<Rows> {
    let schema = &spec.schema;
    let names: Vec<String> = gathered.iter().map(|g| g.name.clone()).collect();
    let missing = |name: &str, what: &str| {
        let has = names.join(", ");
        Error::invalid(format!(
            "the data has no column '{}', the {what}; it has {}",
            short(name),
            short(&has)
        ))
    };

    let mut take = |name: &str, what: &str| -> Result<Gathered> {
        let at = gathered
            .iter()
            .position(|g| g.name == name)
            .ok_or_else(|| missing(name, what))?;
        Ok(gathered.remove(at))
    };

    let mut notes = Vec::new();
    let target = take(&schema.target, "target")?;
    let time = schema
        .time
        .as_deref()
        .map(|name| take(name, "time")?.times())
        .transpose()?;
    let group = schema
        .group
        .as_deref()
        .map(|name| Ok(take(name, "group")?.groups()))
        .transpose()?;
    let weight = schema
        .weight
        .as_deref()
        .map(|name| take(name, "weight")?.weights())
        .transpose()?;
    for name in &schema.ignore {
        take(name, "column to ignore")?;
    }

    let features = if schema.features.is_empty() {
        std::mem::take(&mut gathered)
    } else {
        schema
            .features
            .iter()
            .map(|name| take(name, "feature"))
            .collect::<Result<_>>()?
    };

    if let Some(name) = schema
        .categories
        .iter()
        .find(|name| !features.iter().any(|f| f.name == **name))
    {
        return Err(missing(name, "category"));
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

    let count = manifest.rows;
    let columns = features.into_iter().map(|f| {
        let is_category = schema.categories.contains(&f.name);
        f.feature(is_category)
    });
    let columns: Vec<Column> = columns.collect::<Result<_>>()?;
    let (target, labelled) = learned(spec, target)?;
    let unlabelled = count - labelled.len();
    if unlabelled as f64 > spec.data.unlabelled_max * count as f64 {
        return Err(Error::invalid(format!(
            "{unlabelled} of {count} rows have no '{}'; 'unlabelled_max' in [data] allows {}",
            short(&schema.target),
            spec.data.unlabelled_max
        )));
    }

    let frame = Frame {
        columns,
        rows: count,
    };
    let mut rows = Rows {
        frame,
        target,
        time,
        group,
        weight,
        manifest,
        notes: Vec::new(),
    };

    if unlabelled > 0 {
        notes.push(format!("{unlabelled} rows without a target are not used"));
        rows = rows.take(&labelled);
    }
    rows.notes = notes;
    Ok(rows)
}

/// Finds out what the target is, and which rows have one.
fn learned(spec: &Spec, target: Gathered) -> Result<(Target, Vec<u32>)> {
    let name = short(&spec.schema.target).to_owned();
    let is_whole = |v: &f64| v.fract() == 0.0 && v.abs() < 1e15;
    let task = match (spec.schema.task, &target.values) {
        (Task::Auto, columns::Raw::Numbers(all)) if !target.was_truth => {
            let mut kinds: Vec<i64> = all
                .iter()
                .filter(|v| !v.is_nan())
                .take_while(|v| is_whole(v))
                .map(|v| *v as i64)
                .collect();
            let is_whole = kinds.len() == all.iter().filter(|v| !v.is_nan()).count();
            kinds.sort_unstable();
            kinds.dedup();
            if is_whole && kinds.len() <= FEW {
                Task::Classification
            } else {
                Task::Regression
            }
        }
        (Task::Auto, _) => Task::Classification,
        (task, _) => task,
    };

    match (task, target.values) {
        (Task::Regression, columns::Raw::Numbers(all)) => {
            if let Some(row) = all
                .iter()
                .position(|v| v.is_infinite() || (v.is_finite() && (*v as f32).is_infinite()))
            {
                return Err(Error::invalid(format!(
                    "'{name}' of row {row} is {}, beyond the range of FP32",
                    all[row]
                )));
            }
            let labelled = (0..all.len() as u32)
                .filter(|r| all[*r as usize].is_finite())
                .collect();
            Ok((
                Target::Values(all.iter().map(|v| *v as f32).collect()),
                labelled,
            ))
        }
        (Task::Regression, _) => Err(Error::invalid(format!(
            "'{name}' holds text, but the task is regression; set task = \"classification\" in [schema]"
        ))),
        (_, columns::Raw::Times(_)) => Err(Error::invalid(format!(
            "'{name}' is a time; convert it to a number in the query"
        ))),
        (_, values) => {
            let words = match values {
                columns::Raw::Words(words) => words,
                columns::Raw::Numbers(all) => {
                    if let Some(row) = all.iter().position(|v| !v.is_nan() && !is_whole(v)) {
                        return Err(Error::invalid(format!(
                            "'{name}' of row {row} is {}, which is not a class",
                            all[row]
                        )));
                    }
                    columns::in_words(&all)
                }
                columns::Raw::Times(_) => Words::default(),
            };
            classes(spec, &name, &words)
        }
    }
}

fn classes(spec: &Spec, name: &str, words: &Words) -> Result<(Target, Vec<u32>)> {
    let mut is_used = vec![false; words.list.len()];
    words
        .codes
        .iter()
        .filter(|c| **c != MISSING)
        .for_each(|c| is_used[*c as usize] = true);
    let mut names: Vec<String> = words
        .list
        .iter()
        .zip(&is_used)
        .filter(|(_, used)| **used)
        .map(|(word, _)| word.clone())
        .collect();
    // Numbers first and by their size, then words by their letters.
    let number = |word: &String| word.parse::<f64>().ok();

    names.sort_by(|a, b| match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (x, y) => x.is_none().cmp(&y.is_none()).then_with(|| a.cmp(b)),
    });
    if !spec.schema.classes.is_empty() {
        if let Some(stranger) = names.iter().find(|n| !spec.schema.classes.contains(n)) {
            return Err(Error::invalid(format!(
                "'{name}' holds '{}', which is not in 'classes' of [schema]",
                short(stranger)
            )));
        }
        if let Some(absent) = spec.schema.classes.iter().find(|n| !names.contains(n)) {
            return Err(Error::invalid(format!(
                "no row has '{name}' = '{}', which 'classes' of [schema] lists",
                short(absent)
            )));
        }
        names.clone_from(&spec.schema.classes);
    }

    match names.len() {
        0 => {
            return Err(Error::invalid(format!(
                "no row has a value of the target '{name}'"
            )));
        }
        1 => {
            return Err(Error::invalid(format!(
                "every row has '{name}' = '{}'; training needs two classes",
                short(&names[0])
            )));
        }
        n if n > CLASSES_MAX => {
            return Err(Error::invalid(format!(
                "'{name}' has {n} classes, over {CLASSES_MAX}"
            )));
        }
        _ => {}
    }

    let place = |word: &String| {
        names
            .iter()
            .position(|n| n == word)
            .map_or(MISSING, |at| at as u32)
    };

    let places: Vec<u32> = words.list.iter().map(place).collect();
    let of: Vec<u32> = words
        .codes
        .iter()
        .map(|code| places.get(*code as usize).copied().unwrap_or(MISSING))
        .collect();
    let labelled = (0..of.len() as u32)
        .filter(|r| of[*r as usize] != MISSING)
        .collect();
    Ok((Target::Classes { of, names }, labelled))
}

impl Rows {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.frame.rows
    }

    /// Those at these places, in their order.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        fn of<T: Copy>(all: Option<&Vec<T>>, rows: &[u32]) -> Option<Vec<T>> {
            all.map(|all| rows.iter().map(|r| all[*r as usize]).collect())
        }
        Self {
            frame: self.frame.take(rows),
            target: self.target.take(rows),
            time: of(self.time.as_ref(), rows),
            group: of(self.group.as_ref(), rows),
            weight: of(self.weight.as_ref(), rows),
            manifest: self.manifest.clone(),
            notes: self.notes.clone(),
        }
    }
}
