//! Reads the target column: values for regression, classes for classification.

use super::columns::{self, Gathered, Raw};
use super::{CLASSES_MAX, RowTarget};
use crate::frame::{MISSING, WordCodes};
use crate::ndcg::GRADE_MAX;
use crate::spec::{Objective, Spec, Task};
use ortus::core::error::{Error, Result, short};

/// Integers of at most this many distinct values are classes by default.
const FEW: usize = 10;

/// The target of each row, and the rows that have one.
type TargetValues = (RowTarget, Vec<u32>);

/// Returns the targets, and the rows that have one. Refuses values that do not fit the task.
pub(super) fn read(spec: &Spec, target: Gathered) -> Result<TargetValues> {
    let name = short(&spec.schema.target).to_owned();
    match (task(spec, &target), target.values) {
        (Task::Regression, Raw::Numbers(all)) => {
            check_values(spec, &name, &all)?;
            values(&name, &all)
        }
        (Task::Regression, _) if spec.fit.objective != Objective::Auto => {
            Err(Error::invalid(format!(
                "'{name}' holds text, but 'objective' in [fit] is \"{}\", which predicts numbers; leave it out for classes",
                spec.fit.objective.word()
            )))
        }
        (Task::Regression, _) => Err(Error::invalid(format!(
            "'{name}' holds text, but the task is regression; set task = \"classification\" in [schema]"
        ))),
        (_, Raw::Times(_)) => Err(Error::invalid(format!(
            "'{name}' is a time; convert it to a number in the query"
        ))),
        (_, Raw::Words(words)) => classes(spec, &name, &words),
        (_, Raw::Numbers(all)) => {
            if let Some(row) = all.iter().position(|v| !v.is_nan() && !is_whole(v)) {
                return Err(Error::invalid(format!(
                    "'{name}' of row {row} is {}, which is not a class",
                    all[row]
                )));
            }
            classes(spec, &name, &columns::integers_as_words(&all))
        }
    }
}

/// Returns the task of the specification, or the one that fits the values.
fn task(spec: &Spec, target: &Gathered) -> Task {
    if spec.fit.objective != Objective::Auto {
        return Task::Regression;
    }
    match (spec.schema.task, &target.values) {
        (Task::Auto, Raw::Numbers(all)) if !target.was_truth => {
            if are_few_integers(all) {
                Task::Classification
            } else {
                Task::Regression
            }
        }
        (Task::Auto, _) => Task::Classification,
        (task, _) => task,
    }
}

/// Refuses targets that the objective, or the measure of the gates, cannot judge.
fn check_values(spec: &Spec, name: &str, all: &[f64]) -> Result<()> {
    let objective = spec.fit.objective;
    let measure = spec.gates.measure.as_deref().unwrap_or_default();
    let is_rate = matches!(objective, Objective::Poisson | Objective::Tweedie)
        || matches!(measure, "poisson_deviance" | "tweedie_deviance");
    let is_ranking = objective == Objective::LambdaRank || measure.starts_with("ndcg_at_");
    let of = match is_rate || is_ranking {
        false => return Ok(()),
        true if objective == Objective::Auto => format!("'measure' in [gates] is \"{measure}\""),
        true => format!("'objective' in [fit] is \"{}\"", objective.word()),
    };

    let negative = all.iter().position(|v| *v < 0.0);
    let no_grade = all
        .iter()
        .position(|v| !(v.is_nan() || v.fract() == 0.0 && (0.0..=GRADE_MAX).contains(v)));
    match (
        negative.filter(|_| is_rate),
        no_grade.filter(|_| is_ranking),
    ) {
        (Some(row), _) => Err(Error::invalid(format!(
            "'{name}' of row {row} is {}, but {of}, which needs targets of 0 or more; leave such rows out in 'sql' of [data], or use objective = \"squared\"",
            all[row]
        ))),
        (_, Some(row)) => Err(Error::invalid(format!(
            "'{name}' of row {row} is {}, but {of}, which needs grades: whole numbers from 0 to {GRADE_MAX}; convert it in 'sql' of [data]",
            all[row]
        ))),
        _ if !all.iter().any(|v| *v > 0.0) => Err(Error::invalid(format!(
            "'{name}' is 0 in every row, but {of}, which needs a target above 0"
        ))),
        _ => Ok(()),
    }
}

fn are_few_integers(all: &[f64]) -> bool {
    let known = || all.iter().filter(|v| !v.is_nan());
    if !known().all(is_whole) {
        return false;
    }
    let mut kinds: Vec<i64> = known().map(|v| *v as i64).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.len() <= FEW
}

fn is_whole(value: &f64) -> bool {
    value.fract() == 0.0 && value.abs() < 1e15
}

fn values(name: &str, all: &[f64]) -> Result<TargetValues> {
    if let Some(row) = all
        .iter()
        .position(|v| v.is_infinite() || (v.is_finite() && (*v as f32).is_infinite()))
    {
        return Err(Error::invalid(format!(
            "'{name}' of row {row} is {}, beyond the range of FP32",
            all[row]
        )));
    }

    let labelled = (0..all.len() as u32).filter(|row| all[*row as usize].is_finite());
    Ok((
        RowTarget::Values(all.iter().map(|v| *v as f32).collect()),
        labelled.collect(),
    ))
}

fn classes(spec: &Spec, name: &str, words: &WordCodes) -> Result<TargetValues> {
    let mut names = used(words);
    // Numbers first and by their size, then words by their letters.
    let number = |word: &String| word.parse::<f64>().ok();
    names.sort_by(|a, b| match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (x, y) => x.is_none().cmp(&y.is_none()).then_with(|| a.cmp(b)),
    });
    if !spec.schema.classes.is_empty() {
        check_listed(name, &names, &spec.schema.classes)?;
        names.clone_from(&spec.schema.classes);
    }
    check_count(name, &names)?;

    let place = |word: &String| {
        let place = names.iter().position(|name| name == word);
        place.map_or(MISSING, |at| at as u32)
    };
    let places: Vec<u32> = words.list.iter().map(place).collect();
    let codes = words.codes.iter();
    let of: Vec<u32> = codes
        .map(|code| places.get(*code as usize).copied().unwrap_or(MISSING))
        .collect();
    let labelled = (0..of.len() as u32)
        .filter(|row| of[*row as usize] != MISSING)
        .collect();
    Ok((RowTarget::Classes { of, names }, labelled))
}

/// Returns the words that a row has.
fn used(words: &WordCodes) -> Vec<String> {
    let mut is_used = vec![false; words.list.len()];
    for code in words.codes.iter().filter(|code| **code != MISSING) {
        is_used[*code as usize] = true;
    }
    let listed = words.list.iter().zip(is_used);
    listed
        .filter(|(_, is_used)| *is_used)
        .map(|(word, _)| word.clone())
        .collect()
}

/// Checks that the rows have the classes of the schema, and no others.
fn check_listed(name: &str, found: &[String], listed: &[String]) -> Result<()> {
    if let Some(unlisted) = found.iter().find(|class| !listed.contains(class)) {
        return Err(Error::invalid(format!(
            "'{name}' holds '{}', which is not in 'classes' of [schema]",
            short(unlisted)
        )));
    }
    if let Some(absent) = listed.iter().find(|class| !found.contains(class)) {
        return Err(Error::invalid(format!(
            "no row has '{name}' = '{}', which 'classes' of [schema] lists",
            short(absent)
        )));
    }
    Ok(())
}

fn check_count(name: &str, classes: &[String]) -> Result<()> {
    match classes {
        [] => Err(Error::invalid(format!(
            "no row has a value of the target '{name}'"
        ))),
        [only] => Err(Error::invalid(format!(
            "every row has '{name}' = '{}'; training needs two classes",
            short(only)
        ))),
        classes if classes.len() > CLASSES_MAX => Err(Error::invalid(format!(
            "'{name}' has {} classes, over {CLASSES_MAX}",
            classes.len()
        ))),
        _ => Ok(()),
    }
}
