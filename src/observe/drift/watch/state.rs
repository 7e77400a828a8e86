//! What the monitor of a version keeps over a restart, and its format. Knows neither the store nor the
//! clock: moments are ages, and the caller says how long nobody watched.

#[cfg(test)]
mod tests;

use super::VersionWatch;
use super::own::SavedGathering;
use crate::core::hash::Digest;
use crate::observe::drift::age::{age_ms, moment};
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::breach::saved::SavedBreaches;
use crate::observe::drift::column::spans::TIERS;
use crate::observe::drift::column::state::SavedColumn;
use crate::observe::drift::contract::Breaches;
use crate::observe::drift::history::DriftHistory;
use crate::observe::drift::incident::IncidentLog;
use crate::observe::drift::layout::Side;
use crate::observe::report::column::BaselineSource;
use crate::observe::report::drift::VersionDrift;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The format written, and the only one that is read.
pub(crate) const FORMAT: u32 = 1;
/// Most bytes of an object.
pub(crate) const BYTES_MAX: usize = 8 << 20;
/// Longest time without a monitor that counts, in milliseconds: 40 days.
const AWAY_MAX_MS: u64 = 40 * 86_400_000;

/// The monitor of a version for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedWatch {
    format: u32,
    digest: String,
    /// When it was saved, in milliseconds since 1970.
    saved_ms: u64,
    reference: SavedReference,
    earlier: EarlierCounts,
    window_rows: u64,
    opened_ms: u64,
    tested_ms: [u64; TIERS],
    closed: u64,
    hour: Option<u64>,
    remembered: u64,
    differences: Vec<String>,
    history: DriftHistory,
    columns: Vec<SavedColumn>,
    /// The columns of the parts of slices; none where they would be too large.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<SavedColumn>,
    /// The columns of the contract, whose alarms name them by their number.
    contract: Vec<(Side, String)>,
    breaches: SavedBreaches,
    /// How long ago rows came in each hour of the day, in milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rows_came_ms: Vec<Option<u64>>,
    incidents: IncidentLog,
}

/// What windows are compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedReference {
    /// The digest of the training baseline.
    Training(String),
    Own(Box<Baseline>),
    Gathering(SavedGathering),
}

/// What earlier processes counted of a version. The counts of this one begin at 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EarlierCounts {
    /// Rows of requests that were answered.
    answered: u64,
    /// Rows that were counted in windows.
    sampled: u64,
    /// Rows that were checked against the contract, and the violations of each column.
    checked: u64,
    breaches: Vec<Breaches>,
}

impl EarlierCounts {
    pub(super) fn none(columns: usize) -> Self {
        Self {
            breaches: vec![Breaches::default(); columns],
            ..Self::default()
        }
    }

    /// Adds the contract's counts of this process.
    pub(super) fn and(&self, (rows, mut counts): (u64, Vec<Breaches>)) -> (u64, Vec<Breaches>) {
        let both = counts.iter_mut().zip(&self.breaches);
        both.for_each(|(sum, earlier)| sum.add(*earlier));
        (rows + self.checked, counts)
    }
}

/// When a watch is saved or restored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SavingTime {
    pub now: Instant,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
}

/// An object that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl SavedWatch {
    /// Writes the object. Drops the hours of the week where it is too large, then the parts of slices,
    /// then older windows.
    pub(crate) fn write(mut self, bytes_max: usize) -> Result<Vec<u8>, TooLarge> {
        let smaller: [fn(&mut Self); 4] = [
            |_| {},
            |all| all.columns.iter_mut().for_each(SavedColumn::drop_week),
            |all| all.parts.clear(),
            |all| all.columns.iter_mut().for_each(SavedColumn::drop_old_spans),
        ];
        for make_smaller in smaller {
            make_smaller(&mut self);
            let bytes = serde_json::to_vec(&self).expect("plain data is JSON");
            if bytes.len() <= bytes_max {
                return Ok(bytes);
            }
        }
        Err(TooLarge)
    }

    /// Reads an object. Refuses another format and damage, with the reason.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct StateHead {
            format: u32,
        }
        let damaged = |error: serde_json::Error| format!("it is damaged: {error}");
        let head: StateHead = serde_json::from_slice(bytes).map_err(damaged)?;
        if head.format != FORMAT {
            return Err(format!("it is of format {}, not {FORMAT}", head.format));
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }
}

impl VersionWatch {
    /// Returns what the next process needs; none if the first rows are too many for that. `answered`
    /// are the rows that this process answered.
    pub(crate) fn save(
        &self,
        incidents: &IncidentLog,
        answered: u64,
        time: SavingTime,
    ) -> Option<SavedWatch> {
        let (checked, breaches) = self.earlier.and(self.contracts.counts());
        let reference = match (self.source, &self.own, &self.subject.baseline) {
            (BaselineSource::Gathering, ..) => {
                SavedReference::Gathering(self.gathered.save(&self.places)?)
            }
            (_, Some(own), _) => SavedReference::Own(Box::new(own.as_ref().clone())),
            (.., training) => SavedReference::Training(digest_of(training.as_ref()?)),
        };
        let age = |at: Instant| age_ms(time.now, at);
        Some(SavedWatch {
            format: FORMAT,
            digest: self.subject.digest.to_string(),
            saved_ms: time.wall_ms,
            reference,
            earlier: EarlierCounts {
                answered: self.earlier.answered + answered,
                sampled: self.earlier.sampled + self.sampled_rows,
                checked,
                breaches,
            },
            window_rows: self.window_rows,
            opened_ms: age(self.opened),
            tested_ms: self.tested.map(age),
            closed: self.closed,
            hour: self.hour,
            remembered: self.remembered,
            differences: self.differences.clone(),
            history: self.history.clone(),
            columns: self.columns.iter().map(|c| c.save(time.now)).collect(),
            parts: self.parts.save(time.now),
            contract: self.contracts.columns(),
            breaches: self.breaches.save(time.now),
            rows_came_ms: self.arrivals.save(time.now),
            incidents: incidents.clone(),
        })
    }

    /// Goes on where an earlier process ended. Returns its incidents. After a refusal, whose reason it
    /// returns, the watch must be dropped: it may be half of each.
    pub(crate) fn restore(
        &mut self,
        saved: SavedWatch,
        time: SavingTime,
    ) -> Result<IncidentLog, String> {
        if saved.digest != self.subject.digest.to_string() {
            return Err("it is of another model file".to_owned());
        }
        if saved.contract != self.contracts.columns()
            || saved.earlier.breaches.len() != saved.contract.len()
        {
            return Err("its columns are different".to_owned());
        }
        self.earlier = saved.earlier;
        self.restore_reference(saved.reference, time.now)?;
        if saved.columns.len() != self.columns.len() {
            return Err("its columns are different".to_owned());
        }
        for (column, earlier) in self.columns.iter_mut().zip(saved.columns) {
            column.restore(earlier, time.now)?;
        }
        self.parts.restore(saved.parts, time.now)?;
        self.arrivals.restore(&saved.rows_came_ms, time.now);

        // A clock that jumped back says nothing about the time between.
        let away_ms = time.wall_ms.saturating_sub(saved.saved_ms).min(AWAY_MAX_MS);
        let at = |age_ms: u64| moment(time.now, age_ms.saturating_add(away_ms));
        let so_far = self.earlier.and(self.contracts.counts());
        self.breaches
            .restore(saved.breaches, &so_far, (time.now, away_ms))?;
        (self.window_rows, self.opened) = (saved.window_rows, at(saved.opened_ms));
        self.tested = saved.tested_ms.map(at);
        (self.closed, self.remembered, self.hour) = (saved.closed, saved.remembered, saved.hour);
        (self.differences, self.history) = (saved.differences, saved.history);
        Ok(saved.incidents)
    }

    fn restore_reference(&mut self, saved: SavedReference, now: Instant) -> Result<(), String> {
        let training = self.subject.baseline.as_ref().map(digest_of);
        match (saved, training) {
            (SavedReference::Training(digest), Some(known)) if digest == known => Ok(()),
            (SavedReference::Gathering(rows), None) => self.gathered.restore(rows, &self.places),
            (SavedReference::Own(baseline), None) => {
                let baseline = Baseline::read(&baseline.write())
                    .map_err(|error| format!("its own baseline is damaged: {error}"))?;
                self.begin_own(baseline, now);
                Ok(())
            }
            _ => Err("the version has another baseline".to_owned()),
        }
    }

    /// Adds what earlier processes counted to a report.
    pub(crate) fn add_earlier(&self, report: &mut VersionDrift) {
        report.rows += self.earlier.answered;
        report.sampled_rows += self.earlier.sampled;
        for column in &mut report.columns {
            let key = (column.side, column.name.clone());
            let at = self.contract_columns.get(&key);
            if let Some(earlier) = at.and_then(|at| self.earlier.breaches.get(*at)) {
                column.contract.add(*earlier);
            }
        }
    }
}

fn digest_of(baseline: &Baseline) -> String {
    Digest::of(&baseline.write()).to_string()
}
