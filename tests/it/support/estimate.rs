//! Performance that a server estimates without labels.

use super::optional::run;
use super::{Server, eventually, ortus};
use serde_json::Value;

/// The estimate once a window of `rows` rows has closed.
pub(crate) fn estimated(server: &Server, model: &str, rows: u64) -> Value {
    eventually("the window closes", || {
        estimates(server, model)["rows"] == rows
    });
    estimates(server, model)
}

/// The current estimate of a server.
pub(crate) fn estimates(server: &Server, model: &str) -> Value {
    let said = run(ortus().args(["performance", model, "--json", "--server", &server.operator]))
        .unwrap_or_default();
    let said: Value = serde_json::from_str(&said).unwrap_or_default();
    said["estimated"][0]["estimated"].clone()
}
