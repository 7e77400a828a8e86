//! Merges the layers: turns a file, variables and flags into entries that remember their origin,
//! and applies them in order.

mod place;

use crate::core::settings::section::SettingSection;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::serve::settings::watched::WATCHED;
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::{
    CaptureSettings, Config, FeedbackSettings, Limits, LogSettings, Models, MonitorSettings,
    Records, Registry, Runtime, Server, TraceSettings,
};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::settings::form::{Form, Plain};
use crate::core::settings::text::{SourceText, nearest, plain};
use place::SettingPlace;

/// File that is read if none is named.
const FILE: &str = "ortus.toml";
/// The largest file, in bytes; a larger one is refused.
const FILE_BYTES_MAX: usize = 4 << 20;
/// Prefix of the variables that are settings.
const PREFIX: &str = "ORTUS_";

/// A table of the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Server,
    Limits,
    Models,
    Defaults,
    Registry,
    Monitor,
    Records,
    Feedback,
    Capture,
    Traces,
    Runtime,
    Log,
    Model(String),
}

/// One setting and its origin.
struct SettingEntry {
    section: Section,
    key: String,
    /// The key within the setting's table, where only that is set.
    part: Option<String>,
    /// The value, and a second one to try if the first is refused.
    value: Value,
    otherwise: Option<Value>,
    origin: String,
}

/// Reads the file's name and text. A missing file is refused if it was named.
pub(super) fn read(file: Option<&Path>) -> Result<Option<(String, String)>> {
    let path = file.unwrap_or(Path::new(FILE));
    let name = path.display().to_string();
    let mut text = String::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    match File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)) {
        Ok(bytes) if bytes > FILE_BYTES_MAX => Err(Error::invalid(format!(
            "{name} is larger than {FILE_BYTES_MAX} bytes; the file must be smaller"
        ))),
        Ok(_) => Ok(Some((name, text))),
        Err(source) if source.kind() == ErrorKind::NotFound && file.is_none() => Ok(None),
        Err(source) => {
            Err(Error::invalid(format!("read the configuration file {name}")).with_source(source))
        }
    }
}

/// Applies the layers over the defaults and checks the result.
pub(super) fn merge(
    file: Option<(&str, &str)>,
    env: impl Iterator<Item = (String, String)>,
    flags: Vec<(String, Value)>,
) -> Result<Config> {
    let mut entries = match file {
        Some((name, text)) => from_file(name, text)?,
        None => Vec::new(),
    };
    // Sorted, so that the same one of two errors is always reported.
    let env: BTreeMap<String, String> = env.filter(|(name, _)| is_setting(name)).collect();
    for (name, text) in env {
        entries.push(from_variable(name, text)?);
    }
    for (path, value) in flags {
        entries.push(from_flag(&path, value)?);
    }
    let mut config = Config::default();
    let mut origins = BTreeMap::new();
    for entry in entries {
        config.apply(&entry)?;
        origins.insert((entry.section, entry.key), entry.origin);
    }
    config.check(&origins)?;
    Ok(config)
}

/// Lists the settings of a file in the order of their lines.
fn from_file(name: &str, text: &str) -> Result<Vec<SettingEntry>> {
    let source = SourceText { name, text };
    let mut entries = Vec::new();
    for (section, table) in tables(source)? {
        for (key, value) in table {
            let at = key.span().start;
            let value = plain(value).map_err(|fault| source.refuse(at, fault))?;
            let (section, key) = (section.clone(), key.into_inner().into_owned());
            entries.push((
                at,
                SettingEntry {
                    section,
                    key,
                    part: None,
                    value,
                    otherwise: None,
                    origin: source.origin(at),
                },
            ));
        }
    }

    entries.sort_by_key(|(at, _)| *at);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// Lists the tables of a file that hold settings.
fn tables(source: SourceText<'_>) -> Result<Vec<(Section, DeTable<'_>)>> {
    let root = DeTable::parse(source.text).map_err(|fault| {
        source.refuse(fault.span().map_or(0, |span| span.start), fault.message())
    })?;
    let mut tables = Vec::new();
    for (key, value) in root.into_inner() {
        let at = key.span().start;
        let DeValue::Table(mut table) = value.into_inner() else {
            return Err(source.refuse(at, outside(key.get_ref())));
        };
        if key.get_ref() == "model" {
            models(source, table, &mut tables)?;
            continue;
        }
        let section =
            Section::parse(key.get_ref(), ".").map_err(|fault| source.refuse(at, fault))?;
        if section == Section::Models
            && let Some(at) = table
                .keys()
                .find(|key| key.get_ref() == "defaults")
                .cloned()
            && let Some(DeValue::Table(defaults)) =
                table.get(&at).map(|value| value.get_ref().clone())
        {
            table.remove(&at);
            tables.push((Section::Defaults, defaults));
        }
        tables.push((section, table));
    }

    Ok(tables)
}

/// Adds the tables below `[model]`.
fn models<'a>(
    source: SourceText<'a>,
    table: DeTable<'a>,
    tables: &mut Vec<(Section, DeTable<'a>)>,
) -> Result<()> {
    for (name, value) in table {
        let at = name.span().start;
        let DeValue::Table(table) = value.into_inner() else {
            return Err(source.refuse(
                at,
                format!("'{}' in [model] must be a table", short(name.get_ref())),
            ));
        };
        tables.push((
            Section::model(name.get_ref()).map_err(|fault| source.refuse(at, fault))?,
            table,
        ));
    }

    Ok(())
}

fn is_setting(variable: &str) -> bool {
    variable
        .strip_prefix(PREFIX)
        .is_some_and(|rest| rest.contains("__"))
}

/// Reads `ORTUS_SERVER__HTTP`: a TOML value if it is one and fits, else text.
fn from_variable(name: String, text: String) -> Result<SettingEntry> {
    let path = name[PREFIX.len()..].to_ascii_lowercase();
    let (section, key) = path.rsplit_once("__").unwrap_or((&path, ""));
    let place = SettingPlace::of(section, key, "__");
    let section = Section::parse(place.section, "__")
        .map_err(|fault| Error::invalid(format!("{name}: {fault}")))?;
    let string = Value::String(text.clone());
    let parsed = DeValue::parse(&text)
        .ok()
        .and_then(|value| plain(value).ok());
    let (value, otherwise) = match parsed {
        Some(value) => (value, Some(string)),
        None => (string, None),
    };
    Ok(SettingEntry {
        section,
        key: place.key.to_owned(),
        part: place.part.map(str::to_owned),
        value,
        otherwise,
        origin: name,
    })
}

fn from_flag(path: &str, value: Value) -> Result<SettingEntry> {
    let origin = format!("flag {}", short(path));
    let refused = |fault: String| Error::invalid(format!("{origin}: {fault}"));
    let (section, key) = path
        .rsplit_once('.')
        .ok_or_else(|| refused(outside(path)))?;
    let place = SettingPlace::of(section, key, ".");
    let section = Section::parse(place.section, ".").map_err(refused)?;
    Ok(SettingEntry {
        section,
        key: place.key.to_owned(),
        part: place.part.map(str::to_owned),
        value,
        otherwise: None,
        origin,
    })
}

impl Config {
    fn apply(&mut self, entry: &SettingEntry) -> Result<()> {
        let SettingEntry {
            section,
            key,
            value,
            ..
        } = entry;

        let whole = |value: &Value| match &entry.part {
            None => value.clone(),
            Some(part) => {
                let mut table = self.table(section, key);
                table.insert(part.clone(), value.clone());
                Value::Table(table)
            }
        };
        let (first, second) = (whole(value), entry.otherwise.as_ref().map(whole));
        let mut known = self.set(section, key, &first);
        if known.is_err()
            && let Some(otherwise) = &second
        {
            // The first error is clearer: it names the value as it was written.
            known = self.set(section, key, otherwise).or(known);
        }

        let fault = match known {
            Ok(true) => return Ok(()),
            Ok(false) => {
                format!(
                    "unknown key '{}' in {section}{}",
                    short(key),
                    nearest(key, section.keys())
                )
            }
            Err(must) if first.is_table() => {
                format!("'{key}' in {section} is not accepted; it must be {must}")
            }
            Err(must) => format!(
                "'{key}' in {section} is {}; it must be {must}",
                short(&value.to_string())
            ),
        };

        Err(Error::invalid(format!("{}: {fault}", entry.origin)))
    }

    /// The table that a setting of a section is so far.
    fn table(&self, section: &Section, key: &str) -> toml::Table {
        let own = match section {
            Section::Model(name) => self.model.get(name),
            _ => None,
        };
        let written = if key == WATCHED {
            let set = own.and_then(|model| model.monitor.clone());
            let set = set.or_else(|| self.defaults.monitor.clone());
            set.and_then(|rules| Plain::write(&rules))
        } else {
            let set = own.and_then(|model| model.padding.clone());
            let set = set.or_else(|| self.defaults.padding.clone());
            Plain::write(&set.flatten())
        };
        let written = written.and_then(|value| value.as_table().cloned());
        written.unwrap_or_default()
    }

    fn set(&mut self, section: &Section, key: &str, value: &Value) -> Result<bool, String> {
        match section {
            Section::Server => self.server.set(key, value),
            Section::Limits => self.limits.set(key, value),
            Section::Models => self.models.set(key, value),
            Section::Registry => self.registry.set(key, value),
            Section::Monitor => self.monitor.set(key, value),
            Section::Records => self.records.set(key, value),
            Section::Feedback => self.feedback.set(key, value),
            Section::Capture => self.capture.set(key, value),
            Section::Traces => self.traces.set(key, value),
            Section::Runtime => self.runtime.set(key, value),
            Section::Log => self.log.set(key, value),
            Section::Defaults => self.defaults.set(key, value),
            Section::Model(name) => self.model.entry(name.clone()).or_default().set(key, value),
        }
    }

    /// Checks settings that depend on each other.
    fn check(&self, origins: &BTreeMap<(Section, String), String>) -> Result<()> {
        let refused = |section: &Section, keys: &[&str], fault: String| {
            let origin = |key: &&str| origins.get(&(section.clone(), (*key).to_owned()));
            let origin = keys
                .iter()
                .find_map(origin)
                .map(|origin| format!("{origin}: "))
                .unwrap_or_default();
            Error::invalid(format!("{origin}{fault}"))
        };

        let limits = &self.limits;
        if limits.bytes_in_flight_max < limits.message_bytes_max {
            let fault = format!(
                "'bytes_in_flight_max' in [limits] is {}; it must be at least 'message_bytes_max', {}, \
                 or the largest message could never be accepted",
                limits.bytes_in_flight_max, limits.message_bytes_max
            );
            return Err(refused(
                &Section::Limits,
                &["bytes_in_flight_max", "message_bytes_max"],
                fault,
            ));
        }

        if let Some((one, other)) = self.server.clash() {
            let fault = format!(
                "'{other}' in [server] is the same address as '{one}'; each listener needs its own"
            );
            return Err(refused(&Section::Server, &[other, one], fault));
        }

        let rows = ["queue_rows_max", "batch_rows_max"];
        let agree = |model: crate::serve::settings::Model, section: Section| {
            if model.batch_invariant && model.padding.is_some() {
                let fault = format!(
                    "{section}: 'batch_invariant' and 'padding' exclude each other: not every length can be tested \
                     bit for bit; set 'padding' to \"off\" or 'batch_invariant' to false"
                );
                return Err(refused(&section, &["batch_invariant", "padding"], fault));
            }
            model
                .check()
                .map_err(|fault| refused(&section, &rows, format!("{section}: {}", fault.message)))
        };

        agree(self.defaults.clone().resolve(), Section::Defaults)?;
        self.model
            .keys()
            .try_for_each(|name| agree(self.model(name), Section::Model(name.clone())))
    }
}

impl Server {
    /// Finds two listeners with the same address.
    fn clash(&self) -> Option<(&'static str, &'static str)> {
        let all = [
            ("http", self.http),
            ("grpc", self.grpc),
            ("ops", self.ops),
            ("operator", self.operator),
        ];

        all.iter().enumerate().find_map(|(at, (other, b))| {
            let meets = |(_, a): &&(&str, std::net::SocketAddr)| {
                let any = a.ip().is_unspecified() || b.ip().is_unspecified();
                let family = a.is_ipv4() == b.is_ipv4();
                a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || (any && family))
            };
            all[..at].iter().find(meets).map(|(one, _)| (*one, *other))
        })
    }
}

impl Section {
    /// The section names that can precede a dot.
    const NAMES: &[&str] = &[
        "server",
        "limits",
        "models",
        "models.defaults",
        "registry",
        "monitor",
        "records",
        "feedback",
        "capture",
        "traces",
        "runtime",
        "log",
        "model.NAME",
    ];

    fn parse(path: &str, separator: &str) -> Result<Self, String> {
        Ok(match path {
            "server" => Self::Server,
            "limits" => Self::Limits,
            "models" => Self::Models,
            "registry" => Self::Registry,
            "monitor" => Self::Monitor,
            "records" => Self::Records,
            "feedback" => Self::Feedback,
            "capture" => Self::Capture,
            "traces" => Self::Traces,
            "runtime" => Self::Runtime,
            "log" => Self::Log,
            _ => match path.split_once(separator) {
                Some(("models", "defaults")) => Self::Defaults,
                Some(("model", name)) => Self::model(name)?,
                _ => {
                    return Err(format!(
                        "unknown section '{}'{}",
                        short(path),
                        nearest(path, Self::NAMES)
                    ));
                }
            },
        })
    }

    fn model(name: &str) -> Result<Self, String> {
        match ModelName::parse(name) {
            Ok(name) => Ok(Self::Model(name.as_str().to_owned())),
            Err(fault) => Err(format!("[model.{}]: {}", short(name), fault.message)),
        }
    }

    fn keys(&self) -> &'static [&'static str] {
        match self {
            Self::Server => Server::KEYS,
            Self::Limits => Limits::KEYS,
            Self::Models => Models::KEYS,
            Self::Registry => Registry::KEYS,
            Self::Monitor => MonitorSettings::KEYS,
            Self::Records => Records::KEYS,
            Self::Feedback => FeedbackSettings::KEYS,
            Self::Capture => CaptureSettings::KEYS,
            Self::Traces => TraceSettings::KEYS,
            Self::Runtime => Runtime::KEYS,
            Self::Log => LogSettings::KEYS,
            Self::Defaults | Self::Model(_) => crate::serve::settings::Model::KEYS,
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("[server]"),
            Self::Limits => f.write_str("[limits]"),
            Self::Models => f.write_str("[models]"),
            Self::Registry => f.write_str("[registry]"),
            Self::Monitor => f.write_str("[monitor]"),
            Self::Records => f.write_str("[records]"),
            Self::Feedback => f.write_str("[feedback]"),
            Self::Capture => f.write_str("[capture]"),
            Self::Traces => f.write_str("[traces]"),
            Self::Runtime => f.write_str("[runtime]"),
            Self::Log => f.write_str("[log]"),
            Self::Defaults => f.write_str("[models.defaults]"),
            Self::Model(name) => write!(f, "[model.{name}]"),
        }
    }
}

fn outside(key: &str) -> String {
    format!(
        "key '{}' is outside of any section; the sections are {}",
        short(key),
        Section::NAMES.join(", ")
    )
}
