//! Tries a draft on the rows as a run would: few rows, rare classes, leaks, duplicates, the split.
//! Changes the draft until a run takes it, or says why there is no way.

use super::draft::Draft;
use super::quote::sql_name;
use super::{RemarkRank, refused};
use crate::data::check::{self, distinct_rows, duplicates, leaks};
use crate::data::look::{LookedColumn, LookedKind};
use crate::data::percent::percent;
use crate::data::{Reach, RowTarget, Rows};
use crate::frame::{FrameColumn, FrameValues};
use crate::guess::RARE;
use crate::split;
use ortus::core::count::{agreed, counted};
use ortus::core::error::{Result, short};
use ortus::core::names;
use std::collections::HashSet;

/// The fewest rows that are learned from.
const ROWS_MIN: usize = 20;
/// A class of fewer rows may be left out, if the split has no place for it.
const CLASS_ROWS_MIN: usize = 20;
/// How many rows there may be for each combination of values, before equal rows are copies rather than
/// chance.
const COMBINATIONS: f64 = 10.0;

/// Tries the draft, and returns the rows of a run.
pub(super) fn settle(
    draft: &mut Draft,
    columns: &[LookedColumn],
    rows: Rows,
    reach: &Reach,
) -> Result<Rows> {
    few_rows(draft, &rows)?;
    let mut rows = without_leaks(draft, columns, rows)?;
    rows = without_copies(draft, rows);
    few_rows(draft, &rows)?;
    rows = split(draft, columns, rows)?;
    imbalance(draft, &rows);
    // Leaks were looked for above.
    let mut spec = draft.spec.clone();
    spec.data.leak_max = 1.0;
    check::check(&spec, &rows, reach.now)?;
    Ok(rows)
}

fn few_rows(draft: &mut Draft, rows: &Rows) -> Result<()> {
    if rows.len() < ROWS_MIN {
        return refused(
            &format!(
                "{} {} a target, fewer than {ROWS_MIN}: no model can be learned and judged",
                counted(rows.len(), "row"),
                agreed(rows.len(), "has", "have")
            ),
            "add rows",
        );
    }
    if rows.len() < draft.spec.data.rows_min {
        draft.spec.data.rows_min = rows.len();
        draft.remark(
            RemarkRank::Rows,
            format!(
                "{} are few: the model may not be better than a guess",
                counted(rows.len(), "row")
            ),
            "add rows; 'rows_min' in [data] is lowered for now",
        );
    }
    Ok(())
}

/// Leaves out features that predict the target by themselves.
fn without_leaks(draft: &mut Draft, columns: &[LookedColumn], mut rows: Rows) -> Result<Rows> {
    let found = leaks(&rows, draft.spec.data.leak_max);
    let names: Vec<&str> = found.iter().map(|leak| leak.column.as_str()).collect();
    if names.len() == rows.frame.columns.len() {
        return refused(
            &format!(
                "every feature alone predicts the target ({}), as a copy of it does",
                names::listed(&names)
            ),
            "add columns that are known before the outcome, or write train.toml with leak_max = 1.0 in [data]",
        );
    }
    rows.frame
        .columns
        .retain(|column| !names.contains(&column.name.as_str()));
    for leak in &found {
        let old = columns.iter().map(|column| &column.name);
        let old = old
            .clone()
            .find(|name| draft.changes.renamed.get(*name) == Some(&leak.column))
            .unwrap_or(&leak.column)
            .clone();
        draft.leave_out(&old, "predicts the target by itself");
        draft.remark(
            RemarkRank::Leak,
            format!(
                "'{}' alone predicts the target ({:.4} of 1), as something known only after the outcome does; it is left out",
                short(&leak.column),
                leak.power
            ),
            "if it is known before, remove it from 'ignore' and set leak_max = 1.0 in [data]",
        );
    }
    Ok(rows)
}

/// Reads copies of rows once, unless equal rows are what few possible values make by chance.
fn without_copies(draft: &mut Draft, rows: Rows) -> Rows {
    let copies = duplicates(&rows);
    let share = copies as f64 / rows.len() as f64;
    if share <= draft.spec.data.duplicates_max {
        return rows;
    }

    let what = format!(
        "{} of {} rows are equal to another",
        percent(copies, rows.len()),
        rows.len()
    );
    if combinations(&rows) < COMBINATIONS * rows.len() as f64 {
        draft.spec.data.duplicates_max = 1.0;
        draft.remark(
            RemarkRank::Rows,
            format!("{what}, as their few different values make it; they are kept"),
            "if they are copies, lower 'duplicates_max' in [data] and write SELECT DISTINCT",
        );
        return rows;
    }
    let kept = distinct_rows(&rows);
    draft.is_distinct = true;
    draft.remark(
        RemarkRank::Rows,
        format!("{what}; the query reads each once, since a copy in both parts of a split leaks its target"),
        "remove DISTINCT, and set duplicates_max = 1.0 in [data], if they are no copies",
    );
    rows.take(&kept)
}

/// Returns how many different rows of features there could be.
fn combinations(rows: &Rows) -> f64 {
    let of_column = |column: &FrameColumn| match &column.values {
        FrameValues::Numbers(all) => different(all.iter().map(|v| v.to_bits().into())),
        FrameValues::Words(words) => different(words.codes.iter().map(|c| (*c).into())),
    };
    let times = rows.time.iter();
    let times = times.map(|all| different(all.iter().map(|t| t.cast_unsigned())));
    let features = rows.frame.columns.iter().map(of_column);
    features.chain(times).product()
}

fn different(values: impl Iterator<Item = u64>) -> f64 {
    values.collect::<HashSet<u64>>().len() as f64
}

/// Splits the rows; leaves out classes too rare for it, and splits in another way where time or group
/// leave no rows to learn from.
fn split(draft: &mut Draft, columns: &[LookedColumn], mut rows: Rows) -> Result<Rows> {
    loop {
        let Err(error) = split::split(&draft.spec, &rows) else {
            return Ok(rows);
        };
        if let Some(class) = rarest(&rows) {
            rows = without_class(draft, columns, rows, &class)?;
            continue;
        }
        let role = match (
            draft.spec.schema.group.take(),
            draft.spec.schema.time.take(),
        ) {
            (Some(group), time) => {
                draft.spec.schema.time = time;
                rows.group = None;
                group
            }
            (None, Some(time)) => {
                rows.time = None;
                time
            }
            (None, None) => return Err(error),
        };
        draft.split_by = if draft.spec.schema.time.is_some() {
            "time"
        } else {
            "random"
        };
        let old = columns.iter().map(|column| &column.name);
        let old = old
            .clone()
            .find(|name| draft.changes.renamed.get(*name) == Some(&role));
        let old = old.unwrap_or(&role).clone();
        draft.leave_out(&old, "rows cannot be split by it");
        draft.remark(
            RemarkRank::Time,
            format!(
                "rows cannot be split by '{}': {}",
                short(&role),
                error.message
            ),
            "add rows; until then they are split at random, which may flatter the model",
        );
    }
}

/// A class and its rows.
struct RareClass {
    index: u32,
    name: String,
    rows: usize,
}

/// Returns the rarest class, if it is rare and not one of two.
fn rarest(rows: &Rows) -> Option<RareClass> {
    let RowTarget::Classes { of, names } = &rows.target else {
        return None;
    };
    let counts = counts(of, names.len());
    let (index, rows_of) = counts
        .into_iter()
        .enumerate()
        .min_by_key(|(_, rows)| *rows)?;
    (rows_of < CLASS_ROWS_MIN).then(|| RareClass {
        index: index as u32,
        name: names[index].clone(),
        rows: rows_of,
    })
}

fn counts(of: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    of.iter().for_each(|class| counts[*class as usize] += 1);
    counts
}

fn without_class(
    draft: &mut Draft,
    columns: &[LookedColumn],
    rows: Rows,
    class: &RareClass,
) -> Result<Rows> {
    let RowTarget::Classes { of, names } = &rows.target else {
        return Ok(rows);
    };
    let (name, target) = (
        short(&class.name),
        short(&draft.spec.schema.target).to_owned(),
    );
    if names.len() == 2 {
        return refused(
            &format!(
                "'{target}' is '{name}' in {} of {}: too few to learn from and to judge by",
                class.rows,
                counted(rows.len(), "row")
            ),
            &format!("add rows that are '{name}', or choose another column with --target"),
        );
    }

    let kept: Vec<u32> = (0..of.len() as u32)
        .filter(|row| of[*row as usize] != class.index)
        .collect();
    let mut left = rows.take(&kept);
    if let RowTarget::Classes { of, names } = &mut left.target {
        names.remove(class.index as usize);
        of.iter_mut()
            .filter(|of| **of > class.index)
            .for_each(|of| *of -= 1);
    }
    let old = columns.iter().find(|column| {
        let new = draft.changes.renamed.get(&column.name);
        *new.unwrap_or(&column.name) == draft.spec.schema.target
    });
    let is_words = old.is_none_or(|c| matches!(c.kind, LookedKind::Words | LookedKind::Codes));
    let value = match is_words {
        true => format!("'{}'", class.name.replace('\'', "''")),
        false => class.name.clone(),
    };
    let column = sql_name(old.map_or(&draft.spec.schema.target, |column| &column.name));
    draft.conditions.push(format!("{column} <> {value}"));
    draft.remark(
        RemarkRank::Target,
        format!(
            "'{target}' is '{name}' in {} only, too few to learn from and to judge by; the query leaves them out",
            counted(class.rows, "row")
        ),
        "add rows of this class and remove the condition, or correct the value",
    );
    Ok(left)
}

fn imbalance(draft: &mut Draft, rows: &Rows) {
    let RowTarget::Classes { of, names } = &rows.target else {
        return;
    };
    let counts = counts(of, names.len());
    let Some((class, least)) = counts.iter().enumerate().min_by_key(|(_, rows)| **rows) else {
        return;
    };
    if *least as f64 >= RARE * rows.len() as f64 {
        return;
    }
    draft.remark(
        RemarkRank::Imbalance,
        format!(
            "'{}' is '{}' in {} of the rows: accuracy is high for a model that never says so; judge by average_precision, which is shown first",
            short(&draft.spec.schema.target),
            short(&names[class]),
            percent(*least, rows.len())
        ),
        "balanced = true in [fit] weighs all classes alike, at the price of calibrated probabilities",
    );
    draft.proposals.push((
        "fit",
        "balanced = true # all classes weigh alike; probabilities are then not calibrated"
            .to_owned(),
    ));
}
