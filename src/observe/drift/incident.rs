//! Incidents: groups the alarms of a version that have one cause, and tells when an incident opens,
//! changes and closes. Pure: the caller passes the time.

mod pace;
#[cfg(test)]
pub(crate) mod tests;

use super::layout::Side;
use crate::observe::report::drift::{ColumnDrift, VersionDrift};
use crate::observe::report::incident::{Incident, IncidentColumn, IncidentPhase};
use crate::observe::report::story::{self, AlarmCause};
use chrono::{DateTime, TimeDelta, Utc};
use pace::WindowPace;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

/// Least time between two updates of an incident.
const UPDATE: TimeDelta = TimeDelta::minutes(5);
/// Closed incidents that are kept.
const CLOSED_MAX: usize = 20;
/// Columns that an incident lists.
const LISTED_MAX: usize = 20;
/// The distance from the baseline, as a share of the largest, below which columns are returning to it.
const RETURNING: f64 = 0.7;
/// What is said of an incident whose columns are.
const RETURNS: &str = " The last rows are nearer to the baseline again.";
/// How many times the distance of all rows that of a part must be for the part to be told.
const PART_APART: f64 = 1.25;
/// Columns for which advice is given.
const ADVISED_MAX: usize = 3;

/// The incidents of a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct IncidentLog {
    open: Vec<OpenIncident>,
    closed: VecDeque<(Incident, BTreeSet<ColumnKey>)>,
    #[serde(default, skip_serializing_if = "WindowPace::is_new")]
    pace: WindowPace,
}

fn is_nothing(far: &f64) -> bool {
    *far == 0.0
}

fn is_none(columns: &usize) -> bool {
    *columns == 0
}

/// A column of a model.
pub(crate) type ColumnKey = (Side, String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OpenIncident {
    incident: Incident,
    /// Every column that was in alarm.
    columns: BTreeSet<ColumnKey>,
    /// When the last column joined.
    joined: DateTime<Utc>,
    /// The last event, and the columns at that time.
    sent: DateTime<Utc>,
    sent_columns: usize,
    /// Whether it was closed before, which no event has taken back yet.
    is_again: bool,
    /// How far its columns were from the baseline at most.
    #[serde(default, skip_serializing_if = "is_nothing")]
    worst: f64,
    /// How many columns it had when it was told last.
    #[serde(default, skip_serializing_if = "is_none")]
    told_columns: usize,
}

impl IncidentLog {
    /// Brings the incidents up to date with a report. Returns those that open, change or close.
    pub(crate) fn step(&mut self, report: &VersionDrift, now: DateTime<Utc>) -> Vec<Incident> {
        let raised = in_alarm(report);
        self.pace.see(report.windows, now);

        let mut events = Vec::new();
        for key in raised.keys() {
            if !self.open.iter().any(|open| open.columns.contains(key)) {
                self.assign(key, report, now);
            }
        }
        for open in &mut self.open {
            let of: Vec<&ColumnDrift> = open
                .columns
                .iter()
                .filter_map(|key| raised.get(key).copied())
                .collect();
            events.extend(open.refresh(&of, report, now));
        }

        let (closed, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|open: &OpenIncident| open.incident.closed.is_some());
        self.open = open;
        for ended in closed {
            self.closed.push_back((ended.incident, ended.columns));
        }
        while self.closed.len() > CLOSED_MAX {
            self.closed.pop_front();
        }
        events
    }

    /// Returns the open incidents, then those that closed last.
    pub(crate) fn listed(&self) -> Vec<Incident> {
        let open = self.open.iter().rev().map(|open| open.incident.clone());
        let closed = self
            .closed
            .iter()
            .rev()
            .map(|(incident, _)| incident.clone());
        open.chain(closed).collect()
    }

    /// Returns the number of open incidents.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Returns the open incidents, each with every column that was in alarm.
    pub(crate) fn open_with_columns(
        &self,
    ) -> impl Iterator<Item = (&Incident, &BTreeSet<ColumnKey>)> {
        self.open.iter().map(|open| (&open.incident, &open.columns))
    }

    /// Finds the incident of a column that is newly in alarm, or opens one.
    fn assign(&mut self, key: &ColumnKey, report: &VersionDrift, now: DateTime<Utc>) {
        // What the model answers follows from what it is asked, whichever is noticed first.
        let is_output = key.0 == Side::Output;
        let (join, reopen) = (self.pace.join(), self.pace.reopen());
        let fits = |open: &&mut OpenIncident| {
            let of_answers = open.columns.iter().all(|(side, _)| *side == Side::Output);
            is_output || of_answers || apart(now, open.joined) <= join
        };
        if let Some(open) = self.open.iter_mut().rev().find(fits) {
            open.columns.insert(key.clone());
            open.joined = now;
            return;
        }

        let again = self.closed.iter().position(|(incident, columns)| {
            columns.contains(key) && incident.closed.is_some_and(|end| apart(now, end) <= reopen)
        });
        let known = again.and_then(|at| self.closed.remove(at));
        let (incident, mut columns) =
            known.unwrap_or_else(|| (blank(report, now), BTreeSet::new()));
        let is_new = columns.is_empty();
        columns.insert(key.clone());
        self.open.push(OpenIncident {
            sent_columns: if is_new { 0 } else { columns.len() },
            sent: incident.updated,
            incident: Incident {
                closed: None,
                ..incident
            },
            columns,
            joined: now,
            is_again: !is_new,
            worst: 0.0,
            told_columns: 0,
        });
    }
}

impl OpenIncident {
    /// Tells the story anew. Returns the event, if there is one.
    fn refresh(
        &mut self,
        columns: &[&ColumnDrift],
        report: &VersionDrift,
        now: DateTime<Utc>,
    ) -> Option<Incident> {
        if columns.is_empty() {
            self.incident.phase = IncidentPhase::Closed;
            (self.incident.closed, self.incident.updated) = (Some(now), now);
            return Some(self.incident.clone());
        }

        self.tell(columns, report);
        self.incident.columns_total = self.columns.len();
        let is_first = self.sent_columns == 0;
        let has_changed = self.columns.len() > self.sent_columns || self.is_again;
        let is_due = has_changed && apart(now, self.sent) >= UPDATE;
        if !is_first && !is_due {
            return None;
        }
        self.incident.phase = if is_first {
            IncidentPhase::Opened
        } else {
            IncidentPhase::Updated
        };
        self.incident.updated = now;
        (self.sent, self.sent_columns) = (now, self.columns.len());
        self.is_again = false;
        Some(self.incident.clone())
    }

    /// Tells the story. While the columns return to the baseline, it stays that of the worst: the values of the last
    /// rows no longer show what happened.
    fn tell(&mut self, columns: &[&ColumnDrift], report: &VersionDrift) {
        let far: f64 = columns.iter().map(|column| drifted(column)).sum();
        let is_breached = columns.iter().any(|column| !column.breaches.is_empty());
        let is_new = self.columns.len() > self.told_columns;
        if is_new || is_breached || far >= RETURNING * self.worst {
            tell(&mut self.incident, columns, report);
            self.worst = self.worst.max(far);
            self.told_columns = self.columns.len();
        } else if !self.incident.effect.ends_with(RETURNS) {
            self.incident.effect.push_str(RETURNS);
        }
    }
}

/// Returns each column in alarm: of all rows, or else of the part of the rows in which it differs most.
fn in_alarm(report: &VersionDrift) -> BTreeMap<ColumnKey, &ColumnDrift> {
    let mut raised: BTreeMap<ColumnKey, &ColumnDrift> = BTreeMap::new();
    for column in report.columns_in_alarm() {
        let known = raised.entry((column.side, column.name.clone()));
        let known = known.or_insert(column);
        let is_unit = |column: &ColumnDrift| story::cause(column) == Some(AlarmCause::Unit);
        let apart = if known.part.is_none() {
            PART_APART
        } else {
            1.0
        };
        let is_clearer = distance(column) > apart * distance(known) || is_unit(column);
        if column.part.is_some() && is_clearer && !is_unit(known) {
            *known = column;
        }
    }
    raised
}

/// Returns the time between two moments. A clock that was set back makes the later one earlier.
fn apart(a: DateTime<Utc>, b: DateTime<Utc>) -> TimeDelta {
    (a - b).abs()
}

/// Returns an incident without a story.
fn blank(report: &VersionDrift, now: DateTime<Utc>) -> Incident {
    Incident {
        incident: Uuid::now_v7().to_string(),
        model: report.model.clone(),
        version: report.version,
        digest: report.digest.clone(),
        phase: IncidentPhase::Opened,
        opened: now,
        updated: now,
        closed: None,
        baseline: report.baseline,
        summary: String::new(),
        effect: String::new(),
        advice: Vec::new(),
        columns: Vec::new(),
        columns_total: 0,
        servers: None,
    }
}

/// Tells what happened, what it does to the answers, and what to do.
fn tell(incident: &mut Incident, columns: &[&ColumnDrift], report: &VersionDrift) {
    let mut order: Vec<&ColumnDrift> = columns.to_vec();
    order.sort_by(|a, b| weight(b, report).total_cmp(&weight(a, report)));
    let (mut inputs, outputs): (Vec<&ColumnDrift>, Vec<&ColumnDrift>) =
        order.iter().partition(|column| column.side == Side::Input);
    // That the inputs no longer fit together says little beside those that changed.
    let is_single = |column: &&ColumnDrift| story::cause(column) != Some(AlarmCause::Together);
    if inputs.iter().any(is_single) {
        inputs.retain(is_single);
    }

    let told = if inputs.is_empty() { &outputs } else { &inputs };
    incident.summary = summary(told, inputs.is_empty());
    incident.effect = effect(&inputs, &outputs, report);
    incident.advice = advised(told);
    incident.columns = order.iter().take(LISTED_MAX).map(|c| listed(c)).collect();
}

/// Returns the share of the model's feature importance that columns have together; none if no importance
/// is known.
fn importance_share(columns: &[&ColumnDrift], report: &VersionDrift) -> Option<f64> {
    let importance = |column: &ColumnDrift| column.importance.unwrap_or(0.0).max(0.0);
    let whole: f64 = report.columns.iter().map(importance).sum();
    let part: f64 = columns.iter().map(|column| importance(column)).sum();
    (whole > 0.0).then(|| part / whole)
}

/// How much a column matters: how far it moved, times its importance.
fn weight(column: &ColumnDrift, report: &VersionDrift) -> f64 {
    // A cause that explains the others is told before them.
    let first = match story::cause(column) {
        Some(AlarmCause::Unit) => 2.0,
        Some(AlarmCause::Shift) | None => 1.0,
        Some(_) => 1.5,
    };
    // A column without importance is not nothing.
    let share = importance_share(&[column], report).map_or(1.0, |share| share + 0.01);
    first * share * distance(column)
}

/// How far a column moved, from 0 to 1.
fn distance(column: &ColumnDrift) -> f64 {
    let breaches = column.breaches.iter().map(|breach| breach.share);
    breaches.fold(drifted(column), f64::max)
}

/// How far its distribution is from that of the baseline, from 0 to 1.
fn drifted(column: &ColumnDrift) -> f64 {
    let raised = column.tests.iter().filter(|test| test.alarm);
    raised.map(|test| test.value.min(1.0)).fold(0.0, f64::max)
}

fn summary(told: &[&ColumnDrift], only_outputs: bool) -> String {
    let mut sentences = told.iter().filter_map(|column| story::sentence(column));
    let first = sentences.next().unwrap_or_default();
    let lead = if only_outputs {
        "The answers changed while no input is in alarm: "
    } else {
        ""
    };
    match (told.len(), sentences.next()) {
        (2, Some(second)) => format!("{lead}{first}; {second}."),
        (more, Some(_)) => format!("{lead}{first}; {} more columns changed too.", more - 1),
        _ => format!("{lead}{first}."),
    }
}

fn effect(inputs: &[&ColumnDrift], outputs: &[&ColumnDrift], report: &VersionDrift) -> String {
    let mut text = match outputs.first().and_then(|column| story::sentence(column)) {
        Some(sentence) if inputs.is_empty() => format!("{sentence}."),
        Some(sentence) => format!("The model's answers changed too: {sentence}."),
        None => "No change of the model's answers is certain so far.".to_owned(),
    };
    if let Some(share) = importance_share(inputs, report).filter(|share| *share > 0.0) {
        text.push_str(&format!(
            " The columns in alarm have {} of the model's feature importance.",
            story::percent(share)
        ));
    }
    text
}

fn advised(told: &[&ColumnDrift]) -> Vec<String> {
    told.iter()
        .take(ADVISED_MAX)
        .filter_map(|column| {
            Some(story::advice(
                story::cause(column)?,
                column.side,
                &column.described(),
            ))
        })
        .collect()
}

fn listed(column: &ColumnDrift) -> IncidentColumn {
    IncidentColumn {
        name: column.name.clone(),
        side: column.side,
        part: column.part.clone(),
        importance: column.importance,
        summary: story::sentence(column).unwrap_or_default(),
        then: column.then.clone(),
        now: column.now.clone(),
        tests: column.tests.iter().filter(|t| t.alarm).cloned().collect(),
        breaches: column.breaches.clone(),
    }
}
