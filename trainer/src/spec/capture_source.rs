//! The address of captured predictions as a data source:
//! `capture:MODEL` or `capture:MODEL?days=N`.

use ortus::core::error::short;
use ortus::core::error::{Error, Result};
use ortus::core::model::ModelName;
use std::time::Duration;

/// The scheme of the address.
const SCHEME: &str = "capture:";
/// Days of predictions that are read by default.
const DAYS: u64 = 30;

/// Captured predictions of one model, over a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaptureSource {
    pub model: ModelName,
    pub back: Duration,
}

impl CaptureSource {
    /// Parses an address. Returns none for another scheme; refuses a malformed one.
    pub(crate) fn parse(at: &str) -> Result<Option<Self>> {
        let Some(rest) = at.strip_prefix(SCHEME) else {
            return Ok(None);
        };
        let (model, asked) = rest.split_once('?').unwrap_or((rest, ""));
        let days = match asked.split_once('=') {
            None if asked.is_empty() => Some(DAYS),
            Some(("days", days)) => days.parse().ok().filter(|days| (1..=3_650).contains(days)),
            _ => None,
        };

        let days = days.ok_or_else(|| {
            Error::invalid(format!(
                "'{}' is not a capture source; write capture:MODEL?days=N, N from 1 to 3650",
                short(at)
            ))
        })?;

        Ok(Some(Self {
            model: ModelName::parse(model)?,
            back: Duration::from_secs(days * 86_400),
        }))
    }
}
