//! Assigns the columns of a query's result to their roles in `[schema]`: target,
//! time, group, weight, features. Reads no file.

use super::columns::{Gathered, NO_TIME};
use super::derived::{FeatureColumns, RowMoment};
use super::unlabelled::UnlabelledRows;
use super::{DataManifest, Rows, target, times};
use crate::frame::{Frame, FrameValues};
use crate::spec::{CalibrationMethod, Spec};
use crate::tensors;
use ortus::core::count::counted;
use ortus::core::error::{Error, Result, short};
use ortus::core::names;

/// Returns the rows of the columns, each in its role. Refuses columns that are
/// absent or do not fit their roles, and rows without a target or a time beyond a share. `captured` names the
/// columns that captured predictions have beside the inputs of the model; unless they are listed in
/// `features`, they are none.
pub(super) fn assign(
    spec: &Spec,
    gathered: Vec<Gathered>,
    manifest: DataManifest,
    captured: &[String],
) -> Result<Rows> {
    let schema = &spec.schema;
    let (gathered, mut notes) = timed(spec, gathered, manifest.rows)?;
    let mut columns = Columns::new(gathered);
    let target = columns.take(&schema.target, "target")?;
    let time = columns.take_if_set(schema.time.as_deref(), "time")?;
    let group = columns.take_if_set(schema.group.as_deref(), "group")?;
    let weight = columns.take_if_set(schema.weight.as_deref(), "weight")?;
    let group = group.map(Gathered::groups);
    let weight = weight.map(Gathered::weights).transpose()?;
    for name in &schema.ignore {
        columns.take(name, "column to ignore")?;
    }
    if schema.features.is_empty() {
        let unused = columns.leave_out(captured);
        notes.extend(note_of_captured(&unused));
    }
    let (mut frame, about) = features(spec, columns, time.as_ref())?;
    notes.extend(about);
    let time = time.map(Gathered::times).transpose()?;

    let (target, labelled) = target::read(spec, target)?;
    let count = time.as_ref().map_or(manifest.rows, Vec::len);
    frame.rows = count;
    let unlabelled = count - labelled.len();
    if unlabelled as f64 > spec.data.unlabelled_max * count as f64 {
        return Err(Error::invalid(format!(
            "{unlabelled} of {count} rows have no '{}'; 'unlabelled_max' in [data] allows {}",
            short(&schema.target),
            spec.data.unlabelled_max
        )));
    }

    let mut rows = Rows {
        frame,
        target,
        time,
        group,
        weight,
        manifest,
        notes: Vec::new(),
        unlabelled: None,
    };
    if unlabelled > 0 {
        let without = UnlabelledRows::of(&rows, &labelled);
        rows = rows.take(&labelled);
        let told = without.notes(&rows, short(&schema.target));
        rows.unlabelled = Some(without);
        rows.notes.extend(told);
        rows.notes.push(format!(
            "{} without a target: nothing is learned from them; those of the time of the held-out rows are in the baseline, since a server gets such rows too",
            counted(unlabelled, "row")
        ));
    }
    rows.notes.extend(notes);
    check_fit(spec, &rows)?;
    Ok(rows)
}

/// Refuses monotone features that are absent or categories, and settings of the fit that the number of
/// classes does not allow.
fn check_fit(spec: &Spec, rows: &Rows) -> Result<()> {
    let (fit, classes) = (&spec.fit, rows.target.classes().map_or(0, <[String]>::len));
    for name in fit.monotone.0.keys() {
        let short = short(name);
        let why = match rows.frame.column(name).map(|column| &column.values) {
            Some(FrameValues::Numbers(_)) if classes > 2 => format!(
                "the target has {classes} classes, and predictions are monotone only for numbers and two classes"
            ),
            Some(FrameValues::Numbers(_)) => continue,
            Some(FrameValues::Words(_)) => {
                "it is a category, which has no order; make a number of it in 'sql' of [data]"
                    .to_owned()
            }
            None => {
                let has = rows.frame.columns.iter().map(|column| column.name.as_str());
                format!(
                    "it is no feature{}",
                    names::instead(name, &has.collect::<Vec<_>>(), "the features are")
                )
            }
        };
        return Err(Error::invalid(format!(
            "'monotone' in [fit] names '{short}': {why}"
        )));
    }
    if fit.calibration != CalibrationMethod::None && classes != 2 {
        let found = match classes {
            0 => "the target is a number".to_owned(),
            classes => format!("the target has {classes} classes"),
        };
        return Err(Error::invalid(format!(
            "'calibration' in [fit] is for two classes, and {found}; leave it out"
        )));
    }
    Ok(())
}

/// Says which columns of captured predictions are no features.
fn note_of_captured(unused: &[String]) -> Option<String> {
    let names: Vec<String> = unused
        .iter()
        .map(|name| format!("'{}'", short(name)))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "no features, since they are outputs of the model or keep its books: {}; list them in 'features' of [schema] to learn from them",
            names.join(", ")
        )
    })
}

/// Leaves out rows without a time, if rows have times. Refuses more of them than a share.
fn timed(
    spec: &Spec,
    gathered: Vec<Gathered>,
    count: usize,
) -> Result<(Vec<Gathered>, Vec<String>)> {
    let is_time = |column: &&Gathered| spec.schema.time.as_ref() == Some(&column.name);
    let Some(time) = gathered.iter().find(is_time) else {
        return Ok((gathered, Vec::new()));
    };
    let known = time.clone().times()?;
    let kept = (0..).zip(&known).filter(|(_, time)| **time != NO_TIME);
    let kept: Vec<u32> = kept.map(|(row, _)| row).collect();
    let untimed = count - kept.len();
    if untimed as f64 > spec.data.untimed_max * count as f64 {
        return Err(Error::invalid(format!(
            "{untimed} of {count} rows have no '{}', the time; 'untimed_max' in [data] allows {}",
            short(&time.name),
            spec.data.untimed_max
        )));
    }

    let notes = times::found(time).map_or_else(Vec::new, |found| times::notes(&found));
    if untimed == 0 {
        return Ok((gathered, notes));
    }
    let some = gathered.iter().map(|column| column.take(&kept)).collect();
    Ok((some, notes))
}

/// Returns the features of the schema, or all columns that have no other role; and those that are
/// computed from times.
fn features(
    spec: &Spec,
    mut columns: Columns,
    time: Option<&Gathered>,
) -> Result<(Frame, Vec<String>)> {
    let (schema, calendar) = (&spec.schema, &spec.calendar.0);
    let mut chosen = if schema.features.is_empty() {
        std::mem::take(&mut columns.unassigned)
    } else {
        let names = schema.features.iter();
        names
            .map(|name| columns.take(name, "feature"))
            .collect::<Result<_>>()?
    };
    for name in calendar.keys() {
        let is_time = schema.time.as_ref() == Some(name);
        match time.filter(|_| is_time) {
            Some(time) => chosen.push(time.clone()),
            None if chosen.iter().any(|column| column.name == *name) => {}
            None => chosen.push(columns.take(name, "column of [schema.calendar]")?),
        }
    }
    check_names(spec, &columns, &chosen)?;

    let mut all = FeatureColumns::default();
    if let Some(time) = time.filter(|_| calendar.values().any(|features| features.age)) {
        all.time = Some(RowMoment {
            name: time.name.clone(),
            moments: time.clone().moments()?,
        });
    }
    for column in chosen {
        match calendar.get(&column.name) {
            Some(of) => all.calendar(column, of)?,
            None if schema.categories.contains(&column.name) => all.category(column)?,
            None => all.plain(column)?,
        }
    }
    all.finish()
}

/// Refuses features of reserved names, categories that are no features, and no feature at all.
fn check_names(spec: &Spec, columns: &Columns, features: &[Gathered]) -> Result<()> {
    let has = |name: &String| features.iter().any(|feature| feature.name == *name);
    if let Some(name) = spec.schema.categories.iter().find(|name| !has(name)) {
        return Err(columns.missing(name, "category"));
    }
    if features.is_empty() {
        return Err(Error::invalid(
            "the data has no feature column; add columns, or shorten 'ignore' in [schema]",
        ));
    }
    let is_reserved = |f: &&Gathered| tensors::is_reserved(&f.name);
    match features.iter().find(is_reserved) {
        Some(taken) => Err(Error::invalid(format!(
            "the feature name '{}' is reserved for a tensor of the model; rename the column in the query",
            short(&taken.name)
        ))),
        None => Ok(()),
    }
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

    /// Removes columns that have no role yet, and returns the names of those that were there.
    fn leave_out(&mut self, names: &[String]) -> Vec<String> {
        let is_named = |column: &mut Gathered| names.contains(&column.name);
        let left = self.unassigned.extract_if(.., is_named);
        left.map(|column| column.name).collect()
    }

    fn take_if_set(&mut self, name: Option<&str>, role: &str) -> Result<Option<Gathered>> {
        name.map(|name| self.take(name, role)).transpose()
    }

    fn missing(&self, name: &str, role: &str) -> Error {
        let has: Vec<&str> = self.names.iter().map(|name| name.as_ref()).collect();
        Error::invalid(format!(
            "the data has no column '{}', the {role}{}",
            short(name),
            names::instead(name, &has, "it has")
        ))
    }
}
