//! The settings that clients of Triton read and change: of the log, and of traces. Changes need the consent of
//! whoever configured the server.

#[cfg(test)]
mod tests;

use crate::api::Front;
use crate::core::error::{Error, Result, short};
use crate::observe::logging::LogFormat;
use crate::observe::logging::switches::{self, LogSwitches};
use crate::observe::traces::Tracer;

/// The value of one setting of the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LogValue {
    Flag(bool),
    Number(u64),
    Text(String),
}

/// Changes settings of the log, if any are given, and returns all.
pub(super) fn log(
    front: &Front,
    changes: Vec<(String, LogValue)>,
) -> Result<Vec<(&'static str, LogValue)>> {
    let mut switches = switches::current()?;
    let format = log_format(front.options.log_format);
    if !changes.is_empty() {
        check_consent(front)?;
        for (name, value) in changes {
            set_log(&mut switches, format, &name, value)?;
        }
        switches::switch(switches)?;
    }

    let text = |text: &str| LogValue::Text(text.to_owned());
    Ok(vec![
        ("log_file", text("")),
        ("log_info", LogValue::Flag(switches.infos)),
        ("log_warning", LogValue::Flag(switches.warnings)),
        ("log_error", LogValue::Flag(switches.errors)),
        (
            "log_verbose_level",
            LogValue::Number(switches.detail.into()),
        ),
        ("log_format", text(format)),
    ])
}

/// What the format of lines is called.
fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "ISO8601",
        LogFormat::Json => "json",
    }
}

fn set_log(switches: &mut LogSwitches, format: &str, name: &str, value: LogValue) -> Result<()> {
    match (name, value) {
        ("log_info", LogValue::Flag(on)) => switches.infos = on,
        ("log_warning", LogValue::Flag(on)) => switches.warnings = on,
        ("log_error", LogValue::Flag(on)) => switches.errors = on,
        ("log_verbose_level", LogValue::Number(level)) => {
            switches.detail = u32::try_from(level).unwrap_or(u32::MAX);
        }
        ("log_file", LogValue::Text(file)) if file.is_empty() => {}
        ("log_format", LogValue::Text(same)) if same == format => {}
        ("log_file" | "log_format", LogValue::Text(_)) => {
            return Err(Error::invalid(format!(
                "setting '{name}' cannot be changed while the server runs"
            )));
        }
        ("log_info" | "log_warning" | "log_error", _) => {
            return Err(wrong_type(name, "true or false"));
        }
        ("log_verbose_level", _) => return Err(wrong_type(name, "an integer of 0 or more")),
        ("log_file" | "log_format", _) => return Err(wrong_type(name, "a string")),
        _ => return Err(unknown(name)),
    }
    Ok(())
}

/// Changes settings of traces, if any are given, and returns all. An empty list puts a setting back to what is
/// configured. They are the same for all models.
pub(super) fn trace(
    front: &Front,
    model: &str,
    changes: &[(String, Vec<String>)],
) -> Result<Vec<(&'static str, Vec<String>)>> {
    let tracer = front.predictor.tracer();
    if !changes.is_empty() {
        check_consent(front)?;
        if !model.is_empty() {
            return Err(Error::unimplemented(
                "settings of traces are the same for all models; send them without a model",
            ));
        }
        let tracer = tracer.ok_or_else(|| {
            Error::precondition("traces are off; set traces.endpoint to a collector of spans")
        })?;
        change(tracer, changes)?;
    }

    let sampling = tracer.map(Tracer::sampling).unwrap_or_default();
    let level = if sampling.is_on { "TIMESTAMPS" } else { "OFF" };
    let left = sampling
        .left
        .map_or("-1".to_owned(), |left| left.to_string());
    let one = |text: &str| vec![text.to_owned()];
    Ok(vec![
        ("trace_file", one("")),
        ("trace_level", one(level)),
        ("trace_rate", vec![rate(sampling.share).to_string()]),
        ("trace_count", vec![left]),
        ("log_frequency", one("0")),
        ("trace_mode", one(TRACE_MODE)),
    ])
}

/// Spans are sent to a collector of OpenTelemetry.
const TRACE_MODE: &str = "opentelemetry";
/// The rarest traces.
const RATE_MAX: f64 = 1e9;

/// One of how many predictions is traced.
fn rate(share: f64) -> u64 {
    match share > 0.0 {
        true => (1.0 / share).round().clamp(1.0, RATE_MAX) as u64,
        false => 0,
    }
}

fn change(tracer: &Tracer, changes: &[(String, Vec<String>)]) -> Result<()> {
    let (mut sampling, configured) = (tracer.sampling(), tracer.configured());
    for (name, values) in changes {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        match (name.as_str(), values.as_slice()) {
            ("trace_level", []) => sampling.is_on = configured.is_on,
            ("trace_level", ["OFF"]) => sampling.is_on = false,
            ("trace_level", ["TIMESTAMPS"]) => sampling.is_on = true,
            ("trace_level", _) => return Err(wrong_type(name, "OFF or TIMESTAMPS")),
            ("trace_rate", []) => sampling.share = configured.share,
            ("trace_rate", [text]) => sampling.share = 1.0 / parsed_rate(name, text)?,
            ("trace_count", [] | ["-1"]) => sampling.left = None,
            ("trace_count", [text]) => {
                let left = text
                    .parse()
                    .map_err(|_| wrong_type(name, "an integer of -1 or more"))?;
                sampling.left = Some(left);
            }
            ("trace_file", [] | [""])
            | ("log_frequency", [] | ["0"])
            | ("trace_mode", [] | [TRACE_MODE]) => {}
            ("trace_file" | "log_frequency" | "trace_mode", _) => {
                return Err(Error::invalid(format!(
                    "setting '{name}' cannot be changed: spans go to the collector of traces.endpoint"
                )));
            }
            ("trace_rate" | "trace_count", _) => return Err(wrong_type(name, "one integer")),
            _ => return Err(unknown(name)),
        }
    }
    tracer.sample(sampling);
    Ok(())
}

fn parsed_rate(name: &str, text: &str) -> Result<f64> {
    let rate: Option<u64> = text.parse().ok();
    let rate = rate
        .map(|rate| rate as f64)
        .filter(|rate| (1.0..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| wrong_type(name, "an integer from 1 to 1000000000"))
}

fn check_consent(front: &Front) -> Result<()> {
    match front.options.accepts_settings {
        true => Ok(()),
        false => Err(Error::denied(
            "calls may not change settings; start the server with server.client_settings = true",
        )),
    }
}

fn wrong_type(name: &str, wanted: &str) -> Error {
    Error::invalid(format!("setting '{}' must be {wanted}", short(name)))
}

fn unknown(name: &str) -> Error {
    Error::invalid(format!("setting '{}' is unknown", short(name)))
}

/// Reads the settings of the log from a call over REST.
pub(super) fn log_of_json(
    members: serde_json::Map<String, serde_json::Value>,
) -> Result<Vec<(String, LogValue)>> {
    use serde_json::Value;
    let setting = |(name, value): (String, Value)| {
        let value = match value {
            Value::Bool(on) => LogValue::Flag(on),
            Value::String(text) => LogValue::Text(text),
            Value::Number(number) => LogValue::Number(
                number
                    .as_u64()
                    .ok_or_else(|| wrong_type(&name, "an integer of 0 or more"))?,
            ),
            _ => return Err(wrong_type(&name, "true, false, an integer or a string")),
        };
        Ok((name, value))
    };
    members.into_iter().map(setting).collect()
}

/// Reads the settings of traces from a call over REST.
pub(super) fn trace_of_json(
    members: serde_json::Map<String, serde_json::Value>,
) -> Result<Vec<(String, Vec<String>)>> {
    use serde_json::Value;
    let text = |name: &str, value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(wrong_type(name, "a string, a list of strings or null")),
    };
    let setting = |(name, value): (String, Value)| {
        let values = match value {
            Value::Null => Vec::new(),
            Value::Array(values) => {
                let texts = values.into_iter().map(|value| text(&name, value));
                texts.collect::<Result<_>>()?
            }
            value => vec![text(&name, value)?],
        };
        Ok((name, values))
    };
    members.into_iter().map(setting).collect()
}
