//! Tests of `incident`: which alarms are one story, and what is sent.

use super::*;
use crate::observe::drift::contract::BreachKind;
use crate::observe::drift::contract::Breaches;
use crate::observe::drift::kind::ColumnKind;
use crate::observe::report::column::{BaselineSource, BreachTest};
use crate::observe::report::drift::Hints;

fn column(name: &str, side: Side, is_raised: bool) -> ColumnDrift {
    let breach = BreachTest {
        kind: BreachKind::Above,
        share: 0.82,
        lower: 0.8,
        allowed: 0.01,
        breaches: 820,
        rows: 1_000,
        seconds: 60,
        alarm: true,
    };
    ColumnDrift {
        name: name.to_owned(),
        side,
        part: None,
        importance: None,
        contract: Breaches::default(),
        kind: ColumnKind::Stationary,
        reason: String::new(),
        ignored: false,
        smallest: None,
        then: None,
        now: None,
        changed: None,
        pair: None,
        breaches: if is_raised { vec![breach] } else { Vec::new() },
        hints: Hints::default(),
        tests: Vec::new(),
    }
}

/// The incidents of a model with three inputs and one output, in virtual time.
struct Story {
    log: IncidentLog,
    now: DateTime<Utc>,
}

impl Story {
    fn new() -> Self {
        Self {
            log: IncidentLog::default(),
            now: DateTime::UNIX_EPOCH,
        }
    }

    /// Lets minutes pass, and then has these columns in alarm. Returns the events.
    fn after(&mut self, minutes: i64, raised: &[&str]) -> Vec<Incident> {
        self.now += TimeDelta::minutes(minutes);
        self.log.step(&report(raised), self.now)
    }
}

/// The report of a model with three inputs and one output, some of which are in alarm.
pub(crate) fn report(raised: &[&str]) -> VersionDrift {
    let one = |(name, side): (&str, Side)| column(name, side, raised.contains(&name));
    let columns = [
        ("age", Side::Input),
        ("income", Side::Input),
        ("region", Side::Input),
        ("score", Side::Output),
    ];
    VersionDrift {
        model: "m".to_owned(),
        version: 1,
        digest: "sha256:00".to_owned(),
        baseline: BaselineSource::Training,
        baseline_rows: 5_000,
        gathered_rows: None,
        own_rows: None,
        rows: 1_000,
        sampled_rows: 1_000,
        counted_share: None,
        windows: 1,
        alpha: 0.01,
        alarms: raised.len(),
        estimated: None,
        incidents: Vec::new(),
        differences: Vec::new(),
        columns: columns.map(one).into(),
        parts: Vec::new(),
        sample_share: None,
        dropped_requests: None,
        fleet: None,
    }
}

fn phases(events: &[Incident]) -> Vec<IncidentPhase> {
    events.iter().map(|event| event.phase).collect()
}

#[test]
fn alarms_of_one_onset_are_one_incident_with_one_event() {
    let mut story = Story::new();
    let opened = story.after(0, &["income"]);
    assert_eq!(phases(&opened), [IncidentPhase::Opened]);
    assert_eq!(
        opened[0].summary,
        "income is above the range of the baseline in 82 % of rows."
    );
    assert!(opened[0].advice[0].contains("Check income at its source"));
    assert!(
        story.after(1, &["income", "age", "score"]).is_empty(),
        "too soon"
    );
    let updated = story.after(5, &["income", "age", "score"]);
    assert_eq!(phases(&updated), [IncidentPhase::Updated]);
    assert_eq!((updated[0].columns_total, story.log.open()), (3, 1));
    assert!(
        updated[0]
            .effect
            .starts_with("The model's answers changed too: score")
    );
    assert!(
        story.after(60, &["income", "age", "score"]).is_empty(),
        "nothing new"
    );
    assert!(story.after(1, &["age"]).is_empty());
    let closed = story.after(1, &[]);
    assert_eq!(phases(&closed), [IncidentPhase::Closed]);
    assert_eq!((story.log.open(), story.log.listed().len()), (0, 1));
}

#[test]
fn a_later_cause_is_another_incident_and_outputs_follow_inputs() {
    let mut story = Story::new();
    story.after(0, &["income"]);
    assert!(story.after(30, &["income", "score"]).is_empty() || story.log.open() == 1);
    let second = story.after(30, &["income", "score", "region"]);
    assert!(
        phases(&second).contains(&IncidentPhase::Opened),
        "{second:?}"
    );
    assert_eq!(story.log.open(), 2);
}

#[test]
fn a_column_that_alarms_again_within_a_day_opens_no_new_incident() {
    let mut story = Story::new();
    let first = story.after(0, &["income"])[0].incident.clone();
    story.after(10, &[]);
    let again = story.after(120, &["income"]);
    assert_eq!(phases(&again), [IncidentPhase::Updated]);
    assert_eq!((&again[0].incident, again[0].closed), (&first, None));
    story.after(10, &[]);
    let later = story.after(25 * 60, &["income"]);
    assert_eq!(phases(&later), [IncidentPhase::Opened]);
    assert_ne!(later[0].incident, first);
}

#[test]
fn answers_that_change_alone_are_said_to_be_so() {
    let mut story = Story::new();
    let opened = story.after(0, &["score"]);
    assert!(
        opened[0]
            .summary
            .starts_with("The answers changed while no input is in alarm: score"),
        "{}",
        opened[0].summary
    );
    assert!(opened[0].advice[0].contains("ortus replay"));
}

#[test]
fn inputs_that_are_noticed_after_the_answers_are_their_cause() {
    let mut story = Story::new();
    story.after(0, &["score"]);
    let told = story.after(30, &["score", "income"]);
    assert_eq!(phases(&told), [IncidentPhase::Updated]);
    assert!(
        told[0].summary.starts_with("income is"),
        "{}",
        told[0].summary
    );
    assert_eq!(story.log.open(), 1);
}

#[test]
fn where_windows_take_hours_alarms_within_eight_of_them_are_one_incident() {
    let mut story = Story::new();
    let mut windows = 0;
    let mut after = |hours: i64, raised: &[&str]| {
        story.now += TimeDelta::hours(hours);
        windows += hours.unsigned_abs() / 2;
        let report = VersionDrift {
            windows,
            ..report(raised)
        };
        story.log.step(&report, story.now);
        story.log.open()
    };
    after(10, &[]);
    assert_eq!(after(4, &["income"]), 1);
    assert_eq!(after(16, &["income", "region"]), 1);
    assert_eq!(after(18, &["income", "region", "age"]), 2);
}

#[test]
fn closed_incidents_are_bounded() {
    let mut story = Story::new();
    for _ in 0..50 {
        story.after(2 * 24 * 60, &["age"]);
        story.after(1, &[]);
    }
    assert_eq!(story.log.listed().len(), CLOSED_MAX);
}

#[test]
fn importance_is_told_as_a_share_of_the_models() {
    let mut report = report(&["income", "score"]);
    for (column, importance) in report.columns.iter_mut().zip([0.5, 1.0, 0.5]) {
        column.importance = Some(importance);
    }
    let opened = IncidentLog::default().step(&report, DateTime::UNIX_EPOCH);
    let effect = &opened[0].effect;
    let share = "The columns in alarm have 50 % of the model's feature importance.";
    assert!(effect.ends_with(share), "{effect}");
}

#[test]
fn a_clock_that_jumps_neither_hides_an_incident_nor_repeats_it() {
    let day = 24 * 60;
    for jump in [-day, -365 * day, day, 365 * day] {
        let mut story = Story::new();
        story.after(0, &["age"]);
        // The same alarm after the jump is the same incident, and nothing is sent.
        assert!(story.after(jump, &["age"]).is_empty(), "{jump}");
        // What starts after the jump is another one.
        let opened = story.after(1, &["age", "region"]);
        assert_eq!(phases(&opened), [IncidentPhase::Opened], "{jump}");
        let closed = story.after(1, &[]);
        assert_eq!(phases(&closed), [IncidentPhase::Closed; 2], "{jump}");
    }
}

#[test]
fn an_update_is_not_held_back_until_a_clock_that_was_set_back_is_there_again() {
    let mut story = Story::new();
    story.after(0, &["age"]);
    story.after(1, &["age", "income"]);
    let updated = story.after(-24 * 60, &["age", "income"]);
    assert_eq!(phases(&updated), [IncidentPhase::Updated]);
}

/// A report in which the income is this far from its baseline, in all rows or in a part of them.
fn drifted_report(far: f64, (before, now): (f64, f64), part: Option<&str>) -> VersionDrift {
    use crate::observe::drift::alarm::{Against, Metric};
    use crate::observe::report::column::{ColumnSummary, DriftTest, SlicePart};
    use crate::observe::report::drift::PartDrift;
    let mut column = column("income", Side::Input, false);
    let summary = |value: f64| {
        Some(ColumnSummary {
            rows: 1_000,
            missing: 0.0,
            mean: Some(value),
            median: Some(value),
            largest: None,
        })
    };
    (column.then, column.now) = (summary(before), summary(now));
    column.tests.push(DriftTest {
        metric: Metric::Ks,
        against: Against::Training,
        span: 8,
        value: far,
        lower: far / 2.0,
        certain: far / 2.0,
        threshold: 0.05,
        rows: 1_000,
        effective_rows: 1_000.0,
        baseline_rows: 5_000,
        alarm: true,
    });
    let mut report = report(&[]);
    let Some(part) = part else {
        report.columns[1] = column;
        return report;
    };
    let of = SlicePart {
        slice: "region".to_owned(),
        part: part.to_owned(),
    };
    column.part = Some(of.clone());
    report.parts.push(PartDrift {
        of,
        baseline_rows: 1_000,
        rows: 500,
        columns_total: 1,
        alarms: 1,
        columns: vec![column],
    });
    report
}

#[test]
fn the_story_stays_that_of_the_worst_while_the_columns_return() {
    let mut log = IncidentLog::default();
    let minute = |n: i64| DateTime::UNIX_EPOCH + TimeDelta::minutes(n);
    log.step(&drifted_report(0.4, (52.0, 70.0), None), minute(0));
    log.step(&drifted_report(0.6, (52.0, 90.0), None), minute(1));
    let worst = "income is higher than it was (typical value 90, was 52).";
    assert_eq!(log.listed()[0].summary, worst);
    log.step(&drifted_report(0.3, (52.0, 51.0), None), minute(2));
    log.step(&drifted_report(0.2, (52.0, 51.0), None), minute(3));
    let listed = log.listed();
    assert_eq!(listed[0].summary, worst, "not \"lower\"");
    assert_eq!(listed[0].effect.matches(RETURNS).count(), 1);

    log.step(&drifted_report(0.5, (52.0, 20.0), None), minute(4));
    let listed = log.listed();
    assert!(listed[0].summary.contains("lower"), "{}", listed[0].summary);
    assert!(!listed[0].effect.contains(RETURNS), "it goes on");
}

#[test]
fn the_part_that_explains_the_whole_is_told() {
    let told = |whole: f64, part: f64, unit: bool| {
        let mut both = drifted_report(whole, (52.0, 90.0), None);
        let of_part = drifted_report(part, (52.0, 5_200.0), Some("north"));
        both.parts = of_part.parts;
        if unit {
            both.parts[0].columns[0].hints.scale = Some(100.0);
        }
        let events = IncidentLog::default().step(&both, DateTime::UNIX_EPOCH);
        events[0].summary.clone()
    };
    assert!(told(0.4, 0.45, false).starts_with("income is higher"));
    assert!(told(0.25, 0.9, false).starts_with("income where region is north is higher"));
    assert_eq!(
        told(0.9, 0.9, true),
        "income where region is north is 100 times what it was (typical value 5200, was 52)."
    );
}
