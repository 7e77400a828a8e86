//! Tests of alarms of parts, from labels to the report, in virtual time; and that a restart leads to the
//! same state.

use super::*;
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::baseline::part::{BaselinePart, PartLoss};
use crate::observe::labels::line::Joined;
use crate::observe::labels::state::LabelState;
use crate::observe::report::performance::{MeasuredPerformance, SlicePerformance};
use chrono::{DateTime, TimeDelta};
use std::collections::BTreeMap;

const COLOURS: [&str; 5] = ["blue", "green", "grey", "red", "white"];

/// Makes a baseline of which a tenth is wrong, in all rows and in each colour.
fn baseline(with_parts: bool) -> Baseline {
    let part = |colour: &&str| BaselinePart {
        slice: "colour".to_owned(),
        part: (*colour).to_owned(),
        rows: 1_000,
        inputs: Vec::new(),
        outputs: Vec::new(),
        loss: with_parts.then_some(PartLoss {
            rows: 1_000,
            lost: 100,
        }),
    };
    let mut made = Baseline::of_columns(5_000, Vec::new(), Vec::new());
    made.parts = COLOURS.iter().map(part).collect();
    made.performance = BTreeMap::from([("accuracy".to_owned(), 0.9)]);
    made
}

fn options() -> LabelOptions {
    LabelOptions {
        settings: settings(),
        false_alarms_per_month: 0.1,
    }
}

/// When the first label comes.
fn beginning() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).expect("a time")
}

/// Makes 3,000 labels of a day, of which a tenth is wrong; in `worse` colours, four tenths from the middle
/// on.
fn lines(subject: &WatchSubject, worse: &[&str]) -> Vec<LabelLine> {
    let one = |at: usize| {
        let colour = COLOURS[at % 5];
        let wrong_of_ten = if at >= 1_500 && worse.contains(&colour) {
            4
        } else {
            1
        };
        let is_wrong = (at / 5 * 7 + at % 5 * 3) % 10 < wrong_of_ten;
        let time = beginning() + TimeDelta::seconds(20 * at as i64);
        LabelLine {
            format: 1,
            prediction_id: Uuid::from_u128(at as u128),
            row: 0,
            label: Label::Word(if is_wrong { "yes" } else { "no" }.to_owned()),
            time,
            joined: Some(Joined {
                model: subject.model.to_string(),
                version: subject.version.number(),
                digest: subject.digest.to_string(),
                answer: RowAnswer::Class(0, vec![0.8, 0.2]),
                truth: crate::observe::quality::answer::Truth::Class(usize::from(is_wrong)).into(),
                slices: BTreeMap::from([("colour".to_owned(), colour.to_owned())]),
            }),
        }
    };
    (0..3_000).map(one).collect()
}

fn subject(with_parts: bool) -> WatchSubject {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let folder = tempfile::tempdir().expect("a folder");
    let desk = runtime
        .expect("a runtime")
        .block_on(async { desk(folder.path(), settings()) });
    WatchSubject {
        baseline: Some(baseline(with_parts)),
        ..(*desk.subject).clone()
    }
}

/// Applies labels one by one as they come. Returns the state and the alarms.
fn live(subject: &WatchSubject, lines: &[LabelLine]) -> (LabelState, Vec<PerformanceAlarm>) {
    let mut state = LabelState::new(&options(), beginning());
    let mut alarms = state.loaded(subject, &options());
    alarms.extend(state.begin_testing(&options()));
    let mut applied = AppliedLabels::default();
    for line in lines {
        state.apply((line, LineSource::Own), &options(), &mut applied);
    }
    alarms.extend(applied.alarms);
    (state, alarms)
}

/// Reads labels from the log after a restart at a time. Returns the state and the alarms.
fn restarted(
    subject: &WatchSubject,
    lines: &[LabelLine],
    start: DateTime<Utc>,
) -> (LabelState, Vec<PerformanceAlarm>) {
    let mut state = LabelState::new(&options(), start);
    let mut applied = AppliedLabels::default();
    for line in lines {
        state.apply((line, LineSource::Log), &options(), &mut applied);
    }
    assert!(applied.alarms.is_empty() && state.begin_testing(&options()).is_empty());
    let alarms = state.loaded(subject, &options());
    (state, alarms)
}

fn report(state: &LabelState, subject: &WatchSubject) -> MeasuredPerformance {
    state.report(&subject.model, None).remove(0)
}

/// Names the parts in alarm.
fn in_alarm(report: &MeasuredPerformance) -> Vec<&str> {
    let parts = report.slices.iter().filter(|part| part.alarm);
    parts.map(|part| part.part.as_str()).collect()
}

#[test]
fn an_alarm_of_a_part_names_it_and_a_restart_leads_to_the_same_state() {
    let subject = subject(true);
    let lines = lines(&subject, &["red"]);
    let (state, alarms) = live(&subject, &lines);
    let named: Vec<String> = alarms
        .iter()
        .map(|alarm| {
            alarm
                .part
                .as_ref()
                .map_or_else(String::new, SlicePart::condition)
        })
        .collect();
    assert_eq!(named, ["colour is red"]);
    assert!(alarms[0].lost < alarms[0].rows && alarms[0].time > beginning());
    let shown = report(&state, &subject);
    assert_eq!((in_alarm(&shown), shown.alarm), (vec!["red"], false));
    let allows = |part: &SlicePerformance| part.loss_allowed.is_some_and(|share| share > 0.12);
    assert!(shown.slices.len() == 5 && shown.slices.iter().all(allows));

    let end = beginning() + TimeDelta::days(1);
    let (again, told) = restarted(&subject, &lines, end);
    assert_eq!(
        (report(&again, &subject), told),
        (shown.clone(), Vec::new())
    );
    // Labels that came since the start were not told yet.
    let (during, told) = restarted(&subject, &lines, beginning());
    assert_eq!((report(&during, &subject), told), (shown, alarms));
}

#[test]
fn a_model_that_became_wrong_everywhere_is_one_alarm() {
    let subject = subject(true);
    let (state, alarms) = live(&subject, &lines(&subject, &COLOURS));
    let parts: Vec<Option<&SlicePart>> = alarms.iter().map(|alarm| alarm.part.as_ref()).collect();
    assert_eq!(parts, [None]);
    let shown = report(&state, &subject);
    assert_eq!((in_alarm(&shown), shown.alarm), (Vec::new(), true));
}

#[test]
fn a_baseline_without_errors_of_its_parts_has_the_test_of_all_rows_only() {
    let subject = subject(false);
    let (state, alarms) = live(&subject, &lines(&subject, &["red"]));
    assert!(alarms.is_empty(), "{alarms:?}");
    let shown = report(&state, &subject);
    assert!(
        shown.loss_allowed.is_some() && shown.slices.iter().all(|part| part.loss_allowed.is_none())
    );
    let (_, alarms) = live(&subject, &lines(&subject, &COLOURS));
    assert_eq!(alarms.len(), 1);
}
