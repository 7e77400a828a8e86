//! The log: one subscriber that writes to standard error. Owns no call sites and does not rotate;
//! that is the task of the process that collects the lines.

pub(crate) mod switches;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::time::Duration;
use switches::{SwitchedTargets, reloadable};

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use crate::core::error::{Error, Result};
use crate::core::settings::form::Form;
use crate::{section, words};

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text for people; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

words! { LogFormat { Text = "text", Json = "json" } }

const HOUR: Duration = Duration::from_secs(3600);

section! {
    /// Log messages on standard error.
    LogSettings {
        /// Log level, for everything or for one target, such as `info,ortus::batch=debug`.
        level: String as LogFilter = "info".into();
        /// Log format: `text` or `json`.
        format: LogFormat = LogFormat::Text;
        /// Duration from which a prediction is logged as slow, with its ids, at most ten per
        /// second. `"0s"` switches it off.
        slow: Duration = Duration::from_secs(1), in Duration::ZERO..=HOUR;
    }
}

/// A log filter, as a setting.
pub(crate) struct LogFilter;

impl Form<String> for LogFilter {
    fn read(value: &toml::Value) -> std::result::Result<String, String> {
        let text = value.as_str().filter(|text| filter(text).is_ok());
        text.map(String::from).ok_or_else(|| {
            "off, error, warn, info, debug or trace, for everything or for a target, such as \
             \"info,ortus::batch=debug\""
                .into()
        })
    }

    fn write(setting: &String) -> Option<toml::Value> {
        Some(toml::Value::String(setting.clone()))
    }
}

/// Starts the log of this process: writes messages of `level` to standard error. Refuses a
/// malformed level, and a second start.
pub(crate) fn start(level: &str, format: LogFormat) -> Result<()> {
    let filter = reloadable(SwitchedTargets::new(level)?);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(coloured())
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed(),
    };

    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        .map_err(|source| Error::precondition("the log is already started").with_source(source))
}

/// Reads a level such as `info` or `info,ortus::batch=debug`: levels for everything and for
/// targets, separated by commas. For ONNX Runtime (target `ort`) the level is at most `warn` unless
/// the text names it.
pub(crate) fn filter(level: &str) -> Result<Targets> {
    let refused = |part: &str| {
        Error::invalid(format!(
            "the log level must be off, error, warn, info, debug, trace or TARGET=LEVEL; got '{}'",
            crate::core::error::short(part)
        ))
    };

    // `Targets` would read a misspelt level as a target, and switch everything else off.
    for part in level.split(',') {
        let (target, threshold) = part.split_once('=').unwrap_or(("all", part));
        if target.is_empty() || threshold.is_empty() || threshold.parse::<LevelFilter>().is_err() {
            return Err(refused(part));
        }
    }

    let mut targets: Targets = level
        .parse()
        .map_err(|source| refused(level).with_source(source))?;
    let general = targets.default_level().unwrap_or(LevelFilter::OFF);
    let named = |name: &str| targets.iter().any(|(target, _)| target == name);
    // Targets match by prefix: without an entry of its own, `ortus` would be matched by `ort`.
    let (ort, ortus) = (named("ort"), named("ortus"));
    if !ort {
        targets = targets.with_target("ort", general.min(LevelFilter::WARN));
    }
    if !ortus {
        targets = targets.with_target("ortus", general);
    }
    Ok(targets)
}

fn coloured() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
