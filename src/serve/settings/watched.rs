//! The form of the setting `monitor` of a model: a table that says how its columns are monitored.

use crate::core::error::short;
use crate::core::settings::form::{Form, Plain};
use crate::core::settings::text::nearest;
use crate::observe::drift::column::rules::ColumnRule;
use crate::observe::drift::kind::ColumnKind;
use crate::observe::drift::watch::start::ColumnRules;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// The key of the setting.
pub(crate) const WATCHED: &str = "monitor";
/// The keys of its table.
pub(crate) const WATCHED_KEYS: [&str; 3] = ["ignore", "kind", "threshold"];
/// Most columns that a table names.
const COLUMNS_MAX: usize = 2_048;

/// What the setting accepts.
fn accepted() -> String {
    "a table such as { ignore = [\"row_id\"], kind = { hour = \"cyclic\" }, threshold = { income = 0.2 } }".to_owned()
}

impl Form<ColumnRules> for Plain {
    fn read(value: &Value) -> Result<ColumnRules, String> {
        let table = value.as_table().ok_or_else(accepted)?;
        if let Some(key) = table
            .keys()
            .find(|key| !WATCHED_KEYS.contains(&key.as_str()))
        {
            return Err(format!(
                "a table with the keys {} alone; '{}' is unknown{}",
                WATCHED_KEYS.join(", "),
                short(key),
                nearest(key, &WATCHED_KEYS)
            ));
        }

        let ignore = ignored(table)?;
        let mut of: BTreeMap<String, ColumnRule> = BTreeMap::new();
        for (name, value) in entries(table, "kind")? {
            of.entry(name.clone()).or_default().kind = Some(kind(name, value)?);
        }
        for (name, value) in entries(table, "threshold")? {
            of.entry(name.clone()).or_default().threshold = Some(threshold(name, value)?);
        }
        if ignore.len() + of.len() > COLUMNS_MAX {
            return Err(format!("a table that names at most {COLUMNS_MAX} columns"));
        }
        Ok(ColumnRules { ignore, of })
    }

    fn write(setting: &ColumnRules) -> Option<Value> {
        let names = setting.ignore.iter().cloned().map(Value::String);
        let kinds = setting.of.iter().filter_map(|(name, rule)| {
            Some((name.clone(), Value::String(rule.kind?.name().to_owned())))
        });
        let thresholds = setting
            .of
            .iter()
            .filter_map(|(name, rule)| Some((name.clone(), Value::Float(rule.threshold?))));
        Some(Value::Table(Table::from_iter([
            ("ignore".to_owned(), Value::Array(names.collect())),
            ("kind".to_owned(), Value::Table(kinds.collect())),
            ("threshold".to_owned(), Value::Table(thresholds.collect())),
        ])))
    }
}

fn ignored(table: &Table) -> Result<Vec<String>, String> {
    let must = || "a table whose 'ignore' is a list of column names".to_owned();
    let Some(value) = table.get("ignore") else {
        return Ok(Vec::new());
    };
    let names = value.as_array().ok_or_else(must)?.iter();
    names
        .map(|name| name.as_str().map(str::to_owned).ok_or_else(must))
        .collect()
}

/// Returns the entries of a table of columns; none if it is not set.
fn entries<'t>(
    table: &'t Table,
    key: &str,
) -> Result<impl Iterator<Item = (&'t String, &'t Value)>, String> {
    let of_columns = match table.get(key) {
        None => None,
        Some(value) => Some(
            value
                .as_table()
                .ok_or_else(|| format!("a table whose '{key}' is a table of columns"))?,
        ),
    };
    Ok(of_columns.into_iter().flatten())
}

fn kind(name: &str, value: &Value) -> Result<ColumnKind, String> {
    let kinds = ColumnKind::ALL.map(ColumnKind::name);
    let word = value.as_str().unwrap_or_default();
    let found = ColumnKind::ALL.into_iter().find(|kind| kind.name() == word);
    found.ok_or_else(|| {
        format!(
            "a table whose 'kind' of '{}' is one of {}",
            short(name),
            kinds.join(", ")
        )
    })
}

fn threshold(name: &str, value: &Value) -> Result<f64, String> {
    let number = value.as_float().or(value.as_integer().map(|n| n as f64));
    number.filter(|n| *n > 0.0 && *n <= 1.0).ok_or_else(|| {
        format!(
            "a table whose 'threshold' of '{}' is a number over 0, at most 1",
            short(name)
        )
    })
}
