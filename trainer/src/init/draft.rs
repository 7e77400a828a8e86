//! The first decisions about the columns, each from what was seen of it: the target, the time of a row,
//! the group, the features, and what is left out.

use super::outcome::late_columns;
use super::quote::{quoted, sql_name};
use super::useless::Useless;
use super::{Remark, RemarkRank, refused};
use crate::data::CLASSES_MAX;
use crate::data::look::{LookedColumn, LookedKind, LookedTable, RowChanges};
use crate::data::percent::percent;
use crate::features::CATEGORIES_MAX;
use crate::spec::Spec;
use crate::tensors;
use ortus::core::count::counted;
use ortus::core::error::{Error, Result, short};
use ortus::core::names;
use std::collections::{HashMap, HashSet};

/// What the reader says of a column that is words because of some values.
const WHY_WORDS: &str = "it is words because";
/// The largest share of rows without a time that are left out for the sake of the others.
const UNTIMED_MAX: f64 = 0.05;

/// A specification while it is decided.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub spec: Spec,
    pub changes: RowChanges,
    /// What each column is used for.
    pub uses: HashMap<String, String>,
    pub remarks: Vec<Remark>,
    /// Conditions on rows, as SQL.
    pub conditions: Vec<String>,
    /// Whether equal rows are read once.
    pub is_distinct: bool,
    /// Lines of settings to think about, by their table.
    pub proposals: Vec<(&'static str, String)>,
    /// What rows are split by.
    pub split_by: &'static str,
}

impl Draft {
    /// Decides the columns. Refuses a target that cannot be predicted.
    pub(super) fn of(table: &LookedTable, spec: Spec) -> Result<Self> {
        let mut draft = Self {
            spec,
            split_by: "random",
            ..Self::default()
        };
        draft.target(table)?;
        draft.time(table);
        draft.group(table);
        draft.late(table);
        for column in &table.columns {
            if !draft.uses.contains_key(&column.name) {
                draft.feature(column, &table.captured);
            }
        }
        draft.keep_counters(table);
        draft.rename(table);
        Ok(draft)
    }

    pub(super) fn remark(&mut self, rank: RemarkRank, what: String, way_out: &str) {
        self.remarks.push(Remark {
            rank,
            what,
            way_out: way_out.to_owned(),
        });
    }

    pub(super) fn leave_out(&mut self, name: &str, why: &str) {
        self.changes.without.insert(name.to_owned());
        let left = format!("left out: {why}");
        self.uses.insert(name.to_owned(), left);
    }

    fn target(&mut self, table: &LookedTable) -> Result<()> {
        let name = self.spec.schema.target.clone();
        let shown = short(&name);
        if let Some((_, kind)) = table.unfit.iter().find(|(unfit, _)| *unfit == name) {
            return refused(
                &format!("the target '{shown}' is of type {kind}, which no model predicts"),
                "choose another column with --target",
            );
        }
        let Some(column) = table.columns.iter().find(|column| column.name == name) else {
            let has: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
            return Err(Error::invalid(format!(
                "the data has no column '{shown}', the target{}",
                names::instead(&name, &has, "it has") + "; compute another with --sql"
            )));
        };
        let why = words_because(column);
        let also = why.map_or_else(String::new, |why| format!(" ('{shown}': {why})"));
        match column.kind {
            LookedKind::Missing => {
                return refused(
                    &format!("no row has a value of the target '{shown}'"),
                    "choose another column with --target, or add labelled rows",
                );
            }
            LookedKind::Constant => return one_value(shown, &column.values),
            LookedKind::Time => {
                return refused(
                    &format!("the target '{shown}' is a time, which no model predicts"),
                    "choose another column with --target, or write a column with the time until then",
                );
            }
            _ => {}
        }
        let is_words = matches!(column.kind, LookedKind::Words | LookedKind::Codes);
        match column.different {
            Some(1) => return one_value(shown, &column.values),
            Some(many) if is_words && many > CLASSES_MAX => {
                return refused(
                    &format!("the target '{shown}' has {many} classes, over {CLASSES_MAX}{also}"),
                    "choose another column with --target, or set the format with --format if its words are numbers",
                );
            }
            _ => {}
        }

        if let Some(why) = why {
            self.remark(
                RemarkRank::Target,
                format!("the target '{shown}' is classes of words: {why}"),
                "pass such values as --format '{ missing = [\"…\"] }' if they mean no label",
            );
        }
        self.unlabelled(column, table.rows);
        self.uses.insert(name.clone(), "target".to_owned());
        Ok(())
    }

    /// Allows for rows without a target.
    fn unlabelled(&mut self, column: &LookedColumn, rows: usize) {
        let share = column.missing as f64 / rows.max(1) as f64;
        // Up to the next percent, which a run allows.
        self.spec.data.unlabelled_max = match share > 0.5 {
            true => ((share * 100.0).floor() / 100.0 + 0.01).min(1.0),
            false => 0.5,
        };
        if column.missing > 0 {
            self.remark(
                RemarkRank::Target,
                format!(
                    "{} of {} have no '{}'",
                    percent(column.missing, rows),
                    counted(rows, "row"),
                    short(&column.name)
                ),
                "they are not learned from; label them to use them",
            );
        }
    }

    /// Chooses the time of a row: the first column of times that has no future and few gaps.
    fn time(&mut self, table: &LookedTable) {
        let times = table.columns.iter().filter(|c| c.kind == LookedKind::Time);
        let times = times.filter(|column| !self.uses.contains_key(&column.name));
        let times: Vec<&LookedColumn> = times.collect();
        let gaps = |column: &LookedColumn| column.missing as f64 / table.rows.max(1) as f64;
        let fits = |column: &&&LookedColumn| {
            column.time.is_some_and(|range| range.future == 0) && gaps(column) <= UNTIMED_MAX
        };
        let whole = times.iter().filter(fits).find(|c| c.missing == 0);
        let chosen = whole.or_else(|| times.iter().find(fits)).copied();
        if let Some(column) = chosen {
            self.spec.schema.time = Some(column.name.clone());
            self.split_by = "time";
            let used = "time of the row: the newest rows judge the model";
            self.uses.insert(column.name.clone(), used.to_owned());
            if column.missing > 0 {
                self.changes.timed = Some(column.name.clone());
                let name = sql_name(&column.name);
                self.conditions.push(format!("{name} IS NOT NULL"));
                self.remark(
                    RemarkRank::Time,
                    format!(
                        "{} no '{}', the time by which rows are split; the query leaves them out",
                        rows_have(column.missing),
                        short(&column.name)
                    ),
                    "remove 'time' and the condition to learn from them, split at random",
                );
            }
        }

        for column in times {
            if chosen.is_some_and(|chosen| chosen.name == column.name) {
                continue;
            }
            self.leave_out(&column.name, "a time, which a model takes as a number only");
            if chosen.is_none() {
                let why = match column.time {
                    Some(range) if range.future > 0 => {
                        format!(
                            "{} a '{}' in the future",
                            rows_have(range.future),
                            short(&column.name)
                        )
                    }
                    _ => format!("{} no '{}'", rows_have(column.missing), short(&column.name)),
                };
                self.remark(
                    RemarkRank::Time,
                    format!("{why}, so it is not the time by which rows are split"),
                    "leave such rows out with 'sql' in [data] to split by it",
                );
            }
        }
        if chosen.is_none() {
            self.time_of_numbers(table);
        }
        for column in &table.columns {
            if !self.uses.contains_key(&column.name) {
                self.doubtful_time(column);
            }
        }
    }

    /// Chooses numbers since 1970 as the time of a row.
    fn time_of_numbers(&mut self, table: &LookedTable) {
        let is_free = |c: &&LookedColumn| !self.uses.contains_key(&c.name) && c.missing == 0;
        let mut free = table.columns.iter().filter(is_free);
        let Some((column, unit)) = free.find_map(|c| Some((c, c.unix?))) else {
            return;
        };
        let is_other = |c: &LookedColumn| {
            let is_useful = !matches!(c.kind, LookedKind::Missing | LookedKind::Constant);
            c.name != column.name && !self.uses.contains_key(&c.name) && is_useful
        };
        // Numbers that are the only feature stay one.
        if !table.columns.iter().any(is_other) {
            return;
        }
        self.spec.schema.time = Some(column.name.clone());
        self.split_by = "time";
        let used = "time of the row: the newest rows judge the model";
        self.uses.insert(column.name.clone(), used.to_owned());
        let name = short(&column.name);
        self.remark(
            RemarkRank::Time,
            format!("'{name}' looks like {unit} since 1970, and is taken for the time of the row"),
            "remove 'time' from [schema] if it is none; [schema.calendar] makes features of it, such as the hour",
        );
    }

    /// Says which columns look like times and are none.
    fn doubtful_time(&mut self, column: &LookedColumn) {
        let name = short(&column.name);
        let looks_like_time = words_because(column).is_none();
        if let Some(doubt) = &column.time_doubt {
            let (what, way_out) = doubt.split_once(": ").unwrap_or((doubt, ""));
            let way_out = format!("{way_out}; --format passes settings of the format");
            self.remark(RemarkRank::Time, what.to_owned(), &way_out);
            self.leave_out(&column.name, "looks like a time, and is not read as one");
        } else if let Some(example) = column.unread_time.as_ref().filter(|_| looks_like_time) {
            self.remark(
                RemarkRank::Time,
                format!("'{name}' looks like a time that is not read, such as '{example}'"),
                "write it as 2026-03-01 14:30:00, or convert it with to_timestamp in 'sql'; as a category it is no use tomorrow",
            );
            self.leave_out(&column.name, "looks like a time, and is not read as one");
        } else if let Some(unit) = column.unix {
            self.remark(
                RemarkRank::Time,
                format!("'{name}' looks like {unit} since 1970"),
                "name it in 'time' of [schema] if it is the time of the row, and in [schema.calendar] for features such as the hour",
            );
        }
    }

    /// Chooses the group: rows that must stay together. Rows with a time are split by it instead.
    fn group(&mut self, table: &LookedTable) {
        let mut found: Vec<&LookedColumn> = table
            .columns
            .iter()
            .filter(|c| c.entity.is_some() && !self.uses.contains_key(&c.name))
            .filter(|c| !table.captured.contains(&c.name))
            .collect();
        let agreement = |c: &LookedColumn| c.entity.map_or(0.0, |entity| entity.agreement);
        found.sort_by(|a, b| agreement(b).total_cmp(&agreement(a)));
        for column in found {
            let Some(entity) = column.entity else {
                continue;
            };
            let name = short(&column.name);
            let what = format!(
                "'{name}' repeats: {} different values in {} rows, and rows of one value are alike in the target",
                entity.values,
                table.rows - column.missing
            );
            let is_free = self.spec.schema.group.is_none();
            if entity.is_sure && is_free && self.spec.schema.time.is_none() {
                self.spec.schema.group = Some(column.name.clone());
                self.split_by = "group";
                let used = "group: its rows stay in one part of the split, and it is no feature";
                self.uses.insert(column.name.clone(), used.to_owned());
                self.remark(
                    RemarkRank::Group,
                    format!("{what}; 'group' keeps them in one part of the split"),
                    "remove 'group' from [schema] if predictions are made for known values only",
                );
            } else {
                let line = format!("group = {}", quoted(&column.name));
                self.proposals.push(("schema", line.clone()));
                self.remark(
                    RemarkRank::Group,
                    what,
                    &format!(
                        "set {line} in [schema] if predictions are made for values that are new"
                    ),
                );
            }
        }
    }

    /// Leaves out what is known only after the outcome.
    fn late(&mut self, table: &LookedTable) {
        let uses = &self.uses;
        let is_free = |name: &str| !uses.contains_key(name);
        for late in late_columns(table, &self.spec.schema.target, is_free) {
            if late.is_left_out {
                self.leave_out(&late.name, "known only after the outcome");
            }
            self.remark(RemarkRank::Leak, late.what, late.way_out);
        }
    }

    /// Decides about a column that has no other role.
    fn feature(&mut self, column: &LookedColumn, captured: &[String]) {
        let name = short(&column.name).to_owned();
        if captured.contains(&column.name) {
            self.leave_out(
                &column.name,
                "the model's answer, or book-keeping of captured rows",
            );
            return;
        }
        if let Some(why) = words_because(column) {
            let way_out = "settings of the format are passed by --format '{ missing = [\"…\"] }'";
            self.remark(RemarkRank::Type, format!("'{name}': {why}"), way_out);
        }
        if let Some(useless) = Useless::of(column) {
            self.leave_out(&column.name, useless.why);
            return self.remark(
                useless.rank,
                format!("'{name}' {}", useless.what),
                useless.way_out,
            );
        }
        let is_category = matches!(column.kind, LookedKind::Words | LookedKind::Codes);
        if let Some(many) = column
            .different
            .filter(|n| is_category && *n > CATEGORIES_MAX)
        {
            self.remark(
                RemarkRank::Category,
                format!(
                    "'{name}' has {many} different values; the {CATEGORIES_MAX} most frequent are told apart, the others are one"
                ),
                "group values with 'sql' in [data] to tell more of them apart",
            );
        }
        if column.is_codes {
            let line = format!("categories = [{}]", quoted(&column.name));
            self.remark(
                RemarkRank::Category,
                format!("the numbers of '{name}' look like codes, without an order"),
                &format!("set {line} in [schema] to learn from them as categories"),
            );
            self.proposals.push(("schema", line));
        }
        let used = match column.kind {
            LookedKind::Words | LookedKind::Codes => "feature: a category",
            LookedKind::Boolean => "feature: 0 or 1",
            _ => "feature",
        };
        self.uses.insert(column.name.clone(), used.to_owned());
    }

    /// Takes counters as features after all, if there is no other.
    fn keep_counters(&mut self, table: &LookedTable) {
        if self.uses.values().any(|used| used.starts_with("feature")) {
            return;
        }
        let is_number = |c: &&LookedColumn| c.kind == LookedKind::Whole && c.row_name.is_some();
        for column in table.columns.iter().filter(is_number) {
            if self.changes.without.remove(&column.name) {
                let used = "feature, since there is no other";
                self.uses.insert(column.name.clone(), used.to_owned());
                let name = format!("'{}'", short(&column.name));
                self.remarks
                    .retain(|r| r.rank != RemarkRank::RowName || !r.what.starts_with(&name));
            }
        }
    }

    /// Renames columns whose names a specification or a model cannot have.
    fn rename(&mut self, table: &LookedTable) {
        let mut taken: HashSet<String> = table.columns.iter().map(|c| c.name.clone()).collect();
        for column in &table.columns {
            let name = &column.name;
            let is_feature = self
                .uses
                .get(name)
                .is_some_and(|used| used.starts_with("feature"));
            let is_bad = name.is_empty() || name.contains(char::is_control);
            if self.changes.without.contains(name) && !is_bad {
                continue;
            }
            let is_taken = is_feature && tensors::is_reserved(name);
            if !is_bad && !is_taken {
                continue;
            }
            let mut new = match is_taken && !is_bad {
                true => format!("{name}_feature"),
                false => name.replace(char::is_control, " ").trim().to_owned(),
            };
            if new.is_empty() {
                "column".clone_into(&mut new);
            }
            while !taken.insert(new.clone()) {
                new.push('_');
            }
            if self.spec.schema.target == *name {
                self.spec.schema.target.clone_from(&new);
            }
            for role in [&mut self.spec.schema.time, &mut self.spec.schema.group] {
                if role.as_ref() == Some(name) {
                    *role = Some(new.clone());
                }
            }
            self.changes.renamed.insert(name.clone(), new.clone());
            if !self.changes.without.contains(name) {
                let why = match is_taken {
                    true => "a tensor of the model has that name",
                    false => "a specification cannot write that name",
                };
                self.remark(
                    RemarkRank::Name,
                    format!(
                        "'{}' becomes '{new}' in the query: {why}",
                        name.escape_debug()
                    ),
                    "clients send it by the new name",
                );
            }
        }
    }
}

fn one_value<T>(name: &str, value: &str) -> Result<T> {
    refused(
        &format!(
            "the target '{name}' has one value in all rows ({}); training needs two",
            short(value)
        ),
        "choose another column with --target, or add rows with another outcome",
    )
}

/// Returns why a column is words although most values are of another kind.
fn words_because(column: &LookedColumn) -> Option<&str> {
    let why = column.notes.iter().find(|note| note.starts_with(WHY_WORDS));
    why.map(String::as_str)
}

fn rows_have(rows: usize) -> String {
    let have = ortus::core::count::agreed(rows, "has", "have");
    format!("{} {have}", counted(rows, "row"))
}
