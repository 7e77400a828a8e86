//! Logs when a part of a model directory can no longer be looked into, and when it can again.

use std::collections::BTreeMap;

/// Logs one line for each trouble that began or ended since the scan before. Keys are places in the
/// directory, the empty one the directory itself.
pub(super) fn log(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) {
    for (place, reason) in now.iter().filter(|(place, _)| !before.contains_key(*place)) {
        tracing::error!(
            place,
            reason,
            "model directory in trouble; loaded versions keep serving"
        );
    }
    for place in before.keys().filter(|place| !now.contains_key(*place)) {
        tracing::info!(place, "model directory in order again");
    }
}
