//! Tests of `told`, in virtual time: whose incident is sent, and when.

use super::*;
use crate::observe::drift::incident::tests::report;
use IncidentPhase::{Closed, Opened, Updated};
use chrono::TimeDelta;

/// The fleet's incidents of a version, and what the servers tell themselves.
struct Story {
    log: FleetLog,
    now: DateTime<Utc>,
}

impl Story {
    fn new() -> Self {
        Self {
            log: FleetLog::default(),
            now: DateTime::UNIX_EPOCH,
        }
    }

    /// Lets minutes pass. Then these columns are in alarm over all servers, and those in open incidents
    /// of servers. Returns what is sent.
    fn after(&mut self, minutes: i64, raised: &[&str], own: &[&str]) -> Vec<IncidentPhase> {
        self.now += TimeDelta::minutes(minutes);
        let changed = self.log.incidents.step(&report(raised), self.now);
        let columns = report(&[]).columns.into_iter();
        let covered: BTreeSet<ColumnKey> = columns
            .filter(|column| own.contains(&column.name.as_str()))
            .map(|column| (column.side, column.name))
            .collect();
        let sent = self.log.choose(&changed, &covered, self.now);
        sent.iter().map(|incident| incident.phase).collect()
    }
}

#[test]
fn what_no_server_tells_is_sent() {
    let mut story = Story::new();
    assert_eq!(story.after(1, &["age"], &[]), [Opened]);
    assert_eq!(story.after(5, &["age", "income"], &["age"]), [Updated]);
    assert_eq!(story.after(1, &[], &["age"]), [Closed]);
}

#[test]
fn an_incident_that_a_server_tells_is_never_sent() {
    let mut story = Story::new();
    assert_eq!(story.after(1, &["age"], &["age", "score"]), []);
    assert_eq!(story.after(6, &["age", "score"], &["age", "score"]), []);
    // It closes before the server's own does, so nothing was opened that could close.
    assert_eq!(story.after(1, &[], &["age", "score"]), []);
    assert_eq!(story.after(60, &[], &[]), []);
}

#[test]
fn the_fleets_incident_takes_over_when_the_servers_own_closes() {
    let mut story = Story::new();
    assert_eq!(story.after(1, &["age"], &["age"]), []);
    assert_eq!(story.after(60, &["age"], &["age"]), []);
    assert_eq!(story.after(1, &["age"], &[]), [Opened]);
    assert_eq!(story.after(1, &["age"], &[]), [], "once");
    assert_eq!(story.after(1, &["age"], &["age"]), [], "it stays open");
    assert_eq!(story.after(1, &[], &[]), [Closed]);
}

#[test]
fn a_column_that_no_server_tells_opens_the_fleets_incident() {
    let mut story = Story::new();
    assert_eq!(story.after(1, &["age"], &["age"]), []);
    assert_eq!(story.after(1, &["age", "income"], &["age"]), [Opened]);
}

#[test]
fn an_incident_that_comes_back_is_chosen_anew() {
    let mut story = Story::new();
    assert_eq!(story.after(1, &["age"], &[]), [Opened]);
    assert_eq!(story.after(1, &[], &[]), [Closed]);
    assert_eq!(story.after(60, &["age"], &["age"]), []);
    assert_eq!(story.after(1, &["age"], &[]), [Opened]);
    assert_eq!(story.after(1, &[], &[]), [Closed]);
    assert_eq!(story.after(60, &["age"], &[]), [Updated]);
}

#[test]
fn the_incidents_of_a_server_that_wrote_nothing_count_as_sent() {
    let mut story = Story::new();
    drop(story.log.incidents.step(&report(&["age"]), story.now));
    story.log.assume_told();
    assert_eq!(story.after(1, &["age"], &[]), []);
    assert_eq!(story.after(1, &[], &[]), [Closed]);
}
