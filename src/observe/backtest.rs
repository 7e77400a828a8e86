//! Shows the rows of a table to the monitor as if they had been served at their times, and tells which
//! incidents there would have been. Owns the virtual clock; works on this machine only.

pub(crate) mod clock;
#[cfg(test)]
mod tests;

use crate::core::error::Result;
use crate::core::model::Signature;
use crate::observe::drift::incident::IncidentLog;
use crate::observe::drift::layout::Side;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::drift::watch::{VersionWatch, WatchSubject};
use crate::observe::profile::rows::ModelRows;
use crate::observe::report::drift::VersionDrift;
use crate::observe::report::incident::{Incident, IncidentPhase};
use crate::onnx::runtime::Session;
use crate::storage::table::Table;
use chrono::{DateTime, Utc};
use std::time::{Duration, Instant};

/// Seconds between two looks while rows come, and until every window that they opened has had its time. Then only
/// hours end.
const STEP: i64 = 10;
const HOUR: i64 = 3_600;
/// Seconds between two looks at incidents that are open.
const INCIDENT_STEP: i64 = 300;
/// Seconds that the clock goes on after the last row, so that the last window closes.
const AFTER: i64 = 120;

/// The rows of a table in the order of their times.
pub(crate) struct TimedRows<'t> {
    pub table: &'t Table,
    /// The columns that the model takes, in its order.
    pub features: &'t [String],
    /// The time of each row, in seconds since 1970; must not fall.
    pub times: &'t [i64],
}

/// What the monitor would have told.
pub(crate) struct Backtested {
    /// The report at the end, with all incidents, the oldest first.
    pub report: VersionDrift,
}

/// A monitor whose clock follows the rows.
struct Simulated<'s> {
    watch: VersionWatch,
    settings: &'s MonitorSettings,
    incidents: IncidentLog,
    events: Vec<Incident>,
    start: Instant,
    /// The first second, the current one, that of the last row, and that of the last look at incidents.
    first: i64,
    now: i64,
    last_row: i64,
    looked: i64,
    /// For so many seconds after a row a window may close by the clock.
    busy: i64,
}

/// Shows the rows to the monitor of a version.
pub(crate) fn backtest(
    rows: &TimedRows<'_>,
    subject: WatchSubject,
    settings: &MonitorSettings,
    session: &mut dyn Session,
) -> Result<Backtested> {
    let signature: Signature = subject.signature.clone();
    let first = rows.times.first().copied().unwrap_or(0);
    let start = Instant::now();
    let mut simulated = Simulated {
        watch: VersionWatch::new(subject, 1, start)?,
        settings,
        incidents: IncidentLog::default(),
        events: Vec::new(),
        start,
        first,
        now: first,
        last_row: first,
        looked: first,
        busy: STEP + 2 * settings.window_max.as_secs().min(1 << 30) as i64,
    };
    let model_rows = ModelRows {
        table: rows.table,
        features: rows.features,
        signature: &signature,
    };
    let mut at = 0;
    while at < rows.times.len() {
        simulated.go_to(rows.times[at]);
        let most = rows.times.len().min(at + model_rows.run_rows());
        let same = |time: &&i64| **time < simulated.now + STEP;
        let end = at + rows.times[at..most].iter().take_while(same).count().max(1);
        let (inputs, outputs) = model_rows.run(session, at..end)?;
        simulated.watch.contracts.count(Side::Input, &inputs);
        simulated.watch.contracts.count(Side::Output, &outputs);
        let now = simulated.moment();
        simulated.watch.observe(&inputs, &outputs, (now, settings));
        simulated.last_row = rows.times[end - 1];
        at = end;
    }
    simulated.go_to(simulated.last_row + AFTER);
    Ok(simulated.finish(rows.times.len() as u64))
}

impl Simulated<'_> {
    /// Lets time pass until a second since 1970.
    fn go_to(&mut self, time: i64) {
        while self.now < time {
            let is_busy = self.now < self.last_row + self.busy;
            let next = if is_busy {
                self.now + STEP
            } else {
                (self.now.div_euclid(HOUR) + 1) * HOUR
            };
            self.now = time.min(next);
            self.look();
        }
    }

    fn moment(&self) -> Instant {
        let passed = u64::try_from(self.now - self.first).unwrap_or(0);
        self.start + Duration::from_secs(passed)
    }

    fn look(&mut self) {
        let hour = u64::try_from(self.now.div_euclid(HOUR)).unwrap_or(0);
        let begun = self.watch.advance(self.moment(), hour, self.settings);
        let is_due = self.incidents.open() > 0 && self.now >= self.looked + INCIDENT_STEP;
        if begun.is_empty() && !is_due {
            return;
        }
        self.looked = self.now;
        let report = self.watch.report(self.settings);
        let time = DateTime::<Utc>::from_timestamp(self.now, 0).unwrap_or_default();
        self.events.extend(self.incidents.step(&report, time));
    }

    fn finish(self, rows: u64) -> Backtested {
        let mut report = self.watch.report(self.settings);
        report.rows = rows;
        report.incidents = told(&self.events, self.incidents.listed());
        Backtested { report }
    }
}

/// Returns every incident as it was last told, the oldest first.
fn told(events: &[Incident], known: Vec<Incident>) -> Vec<Incident> {
    let mut all: Vec<Incident> = Vec::new();
    let opened = |event: &&Incident| event.phase == IncidentPhase::Opened;
    for event in events.iter().filter(opened) {
        let last = events.iter().rev().find(|e| e.incident == event.incident);
        let now = known.iter().find(|i| i.incident == event.incident);
        let told = now.or(last).unwrap_or(event).clone();
        if all.iter().all(|i| i.incident != told.incident) {
            all.push(told);
        }
    }
    all
}
