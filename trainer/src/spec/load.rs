//! Reads `train.toml` into its tree; an error names the file, the line and the
//! nearest known key.

use super::Join;
use super::calendar::CalendarFeatures;
use super::{
    Data, Fit, Gates, Linear, Mlp, Model, Program, Publish, Schema, Spec, Split, Sweep, Trees,
    TrialValues, Triggers,
};
use ortus::core::error::short;
use ortus::core::error::{Error, Result};
use ortus::core::settings::section::SettingSection;
use ortus::core::settings::text::{SourceText, nearest, plain};
use ortus::storage::table::text::format::TextFormat;
use std::path::Path;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// The largest file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The table whose keys are names of sources.
const JOINS: &str = "data.joins";
/// The table whose keys are columns.
const CALENDAR: &str = "schema.calendar";
/// The tables of the file.
const TABLES: &[&str] = &[
    "model",
    "data",
    "data.sources",
    JOINS,
    "schema",
    CALENDAR,
    "split",
    "fit",
    "fit.trees",
    "fit.linear",
    "fit.mlp",
    "fit.command",
    "gates",
    "publish",
    "triggers",
    "sweep",
    "sweep.values",
];

pub(super) fn read(path: &Path) -> Result<Spec> {
    let name = path.display().to_string();
    let unreadable = |e: std::io::Error| Error::invalid(format!("read {name}")).with_source(e);
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(Error::invalid(format!(
            "{name} is larger than {FILE_BYTES_MAX} bytes"
        )));
    }

    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let mut spec = parse(&name, &text)?;
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    spec.folder = folder.to_owned();

    Ok(spec)
}

pub(super) fn parse(name: &str, text: &str) -> Result<Spec> {
    let source = SourceText { name, text };
    let root = DeTable::parse(text).map_err(|fault| {
        source.refuse(fault.span().map_or(0, |span| span.start), fault.message())
    })?;
    let mut spec = Spec::default();
    table(&mut spec, source, "", root.into_inner())?;
    spec.check().map_err(|e| e.context(name))?;
    Ok(spec)
}

/// Reads a table and its subtables.
fn table(spec: &mut Spec, source: SourceText<'_>, path: &str, found: DeTable<'_>) -> Result<()> {
    for (key, value) in found {
        let at = key.span().start;
        let key = key.into_inner().into_owned();
        let whole = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        if let DeValue::Table(_) = value.get_ref()
            && (TABLES.contains(&whole.as_str()) || path == JOINS)
        {
            let DeValue::Table(inner) = value.into_inner() else {
                continue;
            };
            table(spec, source, &whole, inner)?;
            continue;
        }
        if path.is_empty() {
            return Err(source.refuse(
                at,
                format!("unknown table '{}'{}", short(&key), nearest(&key, TABLES)),
            ));
        }
        let value = plain(value).map_err(|fault| source.refuse(at, fault))?;
        let fault = match set(spec, path, &key, &value) {
            Ok(true) => continue,
            Ok(false) => format!(
                "unknown key '{}' in [{path}]{}",
                short(&key),
                nearest(&key, keys(path))
            ),
            Err(must) => format!(
                "'{}' in [{path}] is {}; it must be {must}",
                short(&key),
                short(&value.to_string())
            ),
        };
        return Err(source.refuse(at, fault));
    }

    Ok(())
}

fn set(spec: &mut Spec, path: &str, key: &str, value: &Value) -> Result<bool, String> {
    match path {
        "model" => spec.model.set(key, value),
        "data" => spec.data.set(key, value),
        "data.sources" => {
            set_source(spec, key, value)?;
            Ok(true)
        }
        _ if path.starts_with("data.joins.") => {
            let name = path["data.joins.".len()..].to_owned();
            spec.joins.0.entry(name).or_default().set(key, value)
        }
        "schema" => spec.schema.set(key, value),
        CALENDAR => {
            let features = CalendarFeatures::read(value)?;
            spec.calendar.0.insert(key.to_owned(), features);
            Ok(true)
        }
        "split" => spec.split.set(key, value),
        "fit" => spec.fit.set(key, value),
        "fit.trees" => spec.trees.set(key, value),
        "fit.linear" => spec.linear.set(key, value),
        "fit.mlp" => spec.mlp.set(key, value),
        "fit.command" => spec.program.set(key, value),
        "gates" => spec.gates.set(key, value),
        "publish" => spec.publish.set(key, value),
        "triggers" => spec.triggers.set(key, value),
        "sweep" => spec.sweep.set(key, value),
        "sweep.values" => {
            let values = TrialValues::read(value)?;
            for end in values.extremes() {
                put(&mut spec.clone(), key, &end)?;
            }
            spec.sweep_values.0.insert(key.to_owned(), values);
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Sets a source: a path or an address, or a table of it and of the format of its text files.
fn set_source(spec: &mut Spec, name: &str, value: &Value) -> Result<(), String> {
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
    let (at, format) = match value {
        Value::Table(table) => {
            let is_known = |key: &String| ["path", "format"].contains(&key.as_str());
            if let Some(unknown) = table.keys().find(|key| !is_known(key)) {
                return Err(format!(
                    "a table of 'path' and 'format'; '{}' is unknown",
                    short(unknown)
                ));
            }
            (table.get("path"), table.get("format"))
        }
        value => (Some(value), None),
    };

    let at = at.and_then(Value::as_str);
    let at = at.filter(|at| is_name && !at.is_empty() && !at.contains('\0'));
    let must = "a path or an address, under a name of letters, digits and _; or a table such as { path = \"rows.csv\", format = { delimiter = \";\" } }";
    spec.sources
        .0
        .insert(name.to_owned(), at.ok_or(must)?.to_owned());
    if let Some(format) = format {
        let wrong = |why: &str| format!("a table whose 'format' is right: {}", why.trim_end());
        let format: TextFormat = format
            .clone()
            .try_into()
            .map_err(|e: toml::de::Error| wrong(e.message()))?;
        format.check().map_err(|e| wrong(&e.message))?;
        if format != TextFormat::default() {
            spec.formats.0.insert(name.to_owned(), format);
        }
    }
    Ok(())
}

/// Sets a setting by its full name. Refuses unknown settings, and settings
/// outside of `[fit]` and `[schema]`.
pub(super) fn put(spec: &mut Spec, name: &str, value: &Value) -> Result<(), String> {
    let (path, key) = name.rsplit_once('.').unwrap_or(("", name));
    if path != "fit" && !path.starts_with("fit.") && path != "schema" {
        return Err("a name such as \"fit.trees.leaves_max\"; a sweep varies only settings of [fit] and [schema]".to_owned());
    }
    match set(spec, path, key, value) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "the name of a setting; '{}' is unknown",
            short(name)
        )),
        Err(must) => Err(format!(
            "a list of valid values; {} for '{}' must be {must}",
            short(&value.to_string()),
            short(name)
        )),
    }
}

fn keys(path: &str) -> &'static [&'static str] {
    match path {
        "model" => Model::KEYS,
        "data" => Data::KEYS,
        _ if path.starts_with("data.joins.") => Join::KEYS,
        "schema" => Schema::KEYS,
        "split" => Split::KEYS,
        "fit" => Fit::KEYS,
        "fit.trees" => Trees::KEYS,
        "fit.linear" => Linear::KEYS,
        "fit.mlp" => Mlp::KEYS,
        "fit.command" => Program::KEYS,
        "gates" => Gates::KEYS,
        "publish" => Publish::KEYS,
        "triggers" => Triggers::KEYS,
        "sweep" => Sweep::KEYS,
        _ => &[],
    }
}
