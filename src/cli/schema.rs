//! `ortus schema`: the JSON Schemas of documents that Ortus reads and writes.

use super::print::line;
use crate::core::error::{Error, Result};

/// Every schema, by name.
const SCHEMAS: [(&str, &str); 9] = [
    ("alarm", include_str!("../../docs/schemas/alarm.json")),
    ("baseline", include_str!("../../docs/schemas/baseline.json")),
    ("capture", include_str!("../../docs/schemas/capture.json")),
    ("drift", include_str!("../../docs/schemas/drift.json")),
    ("feedback", include_str!("../../docs/schemas/feedback.json")),
    (
        "feedback-reply",
        include_str!("../../docs/schemas/feedback-reply.json"),
    ),
    ("label", include_str!("../../docs/schemas/label.json")),
    (
        "performance",
        include_str!("../../docs/schemas/performance.json"),
    ),
    ("windows", include_str!("../../docs/schemas/windows.json")),
];

/// Prints a schema, or the names of all schemas.
pub(super) fn schema(name: Option<&str>) -> Result<()> {
    let Some(name) = name else {
        SCHEMAS.iter().for_each(|(name, _)| line(name));
        return Ok(());
    };
    let found = SCHEMAS.iter().find(|(n, _)| *n == name);
    let names: Vec<&str> = SCHEMAS.iter().map(|(n, _)| *n).collect();
    let (_, text) = found.ok_or_else(|| {
        Error::invalid(format!(
            "unknown schema '{name}'; the schemas are {}",
            names.join(", ")
        ))
    })?;

    line(text.trim_end());
    Ok(())
}
