//! Rows that servers predicted, by hour and version: the denominator of the maturity. Each run of a
//! server writes its own objects, and every server adds up those of all.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::ModelName;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::labels::line::VersionKey;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;
/// Hours that a run keeps in memory.
const HOURS_MAX: usize = 48;

/// Rows predicted by one run of this server.
#[derive(Default)]
pub(super) struct RunRows {
    hours: BTreeMap<u64, BTreeMap<VersionKey, u64>>,
    /// Hours whose rows are not in the store yet.
    changed: BTreeSet<u64>,
    /// The version that was counted last, so that its key is not made for every prediction.
    last: Option<(Arc<WatchSubject>, VersionKey)>,
}

/// Rows of an hour, as they are stored.
#[derive(Serialize, Deserialize)]
struct HourRows {
    format: u32,
    versions: Vec<PredictedRows>,
}

/// FreshPrediction rows of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PredictedRows {
    model: String,
    version: u64,
    digest: String,
    rows: u64,
}

impl RunRows {
    /// Counts predicted rows of an hour.
    pub(super) fn add(&mut self, hour: u64, subject: &Arc<WatchSubject>, rows: u64) {
        if self
            .last
            .as_ref()
            .is_none_or(|(last, _)| !Arc::ptr_eq(last, subject))
        {
            let key = (
                subject.model.clone(),
                subject.version.number(),
                subject.digest,
            );
            self.last = Some((Arc::clone(subject), key));
        }
        let Some((_, key)) = &self.last else { return };

        let versions = self.hours.entry(hour).or_default();
        match versions.get_mut(key) {
            Some(known) => *known += rows,
            None => drop(versions.insert(key.clone(), rows)),
        }
        self.changed.insert(hour);
    }

    /// Takes the hours that changed, as they are stored.
    pub(super) fn take_changed(&mut self) -> Vec<(u64, Vec<u8>)> {
        let changed = std::mem::take(&mut self.changed);
        let written = changed.into_iter().filter_map(|hour| {
            let versions = self.hours.get(&hour)?;
            Some((hour, write(versions)))
        });
        let written = written.collect();

        while self.hours.len() > HOURS_MAX {
            self.hours.pop_first();
        }
        written
    }

    /// Marks an hour that could not be stored.
    pub(super) fn failed(&mut self, hour: u64) {
        self.changed.insert(hour);
    }
}

fn write(versions: &BTreeMap<VersionKey, u64>) -> Vec<u8> {
    let row = |((model, version, digest), rows): (&VersionKey, &u64)| PredictedRows {
        model: model.to_string(),
        version: *version,
        digest: digest.to_string(),
        rows: *rows,
    };
    let hour = HourRows {
        format: FORMAT,
        versions: versions.iter().map(row).collect(),
    };
    serde_json::to_vec(&hour).expect("plain data is JSON")
}

/// Reads the rows of an hour. Refuses another format.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(VersionKey, u64)>> {
    let malformed = |e| Error::precondition("the predicted rows are damaged").with_source(e);
    let hour: HourRows = serde_json::from_slice(bytes).map_err(malformed)?;
    if hour.format != FORMAT {
        return Err(Error::precondition(format!(
            "the predicted rows are of format {}; this version of Ortus reads format {FORMAT}",
            hour.format
        )));
    }

    let one = |row: PredictedRows| {
        let key = (
            ModelName::parse(&row.model)?,
            row.version,
            Digest::parse(&row.digest)?,
        );
        Ok((key, row.rows))
    };
    hour.versions.into_iter().map(one).collect()
}
