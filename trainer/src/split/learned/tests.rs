//! Tests of which rows a run would learn from.

use super::super::split;
use super::super::tests::rows;
use super::*;
use crate::spec::Algorithm;

const SECOND: i64 = 1_000_000;

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

fn labelled(times: Vec<i64>, groups: Option<Vec<u32>>) -> LabelledTimes {
    LabelledTimes {
        rows: times.len(),
        times: Some(times),
        groups,
        future: 0,
    }
}

/// Checks that what is foretold is what a split of the same rows gives, and what its record says.
fn check(spec: &Spec, times: &[i64], groups: Option<Vec<u32>>, at: i64) {
    let mut data = rows(times.len());
    (data.time, data.group) = (Some(times.to_vec()), groups.clone());
    let (folds, summary) = split(spec, &data).expect("splits");
    let train = folds.last().expect("an origin").train.iter();
    let newer = train.filter(|row| times[**row as usize] > at * SECOND);
    let newer = newer.count();

    let found = labelled(times.to_vec(), groups);
    let after = times.iter().filter(|time| **time > at * SECOND).count();
    let told = LearnedRows::of(spec, &found, None).after(moment(at), after);
    assert_eq!(told, newer, "foretold, after {at}");
    let recorded = summary.learned_times.expect("times").after(moment(at));
    assert!(
        recorded <= newer && recorded > newer / 2 || newer == 0 && recorded == 0,
        "{recorded} of {newer} recorded"
    );
    let enough = spec.triggers.alarm_rows;
    assert_eq!(recorded >= enough, newer >= enough, "{recorded} of {newer}");
}

#[test]
fn what_is_foretold_is_what_a_split_by_time_learns_from() {
    let times: Vec<i64> = (0..1_000).map(|row| row * SECOND).collect();
    let groups = Some((0..1_000).map(|row| row / 7).collect::<Vec<u32>>());
    let mut spec = Spec::default();
    spec.schema.time = Some("at".to_owned());
    spec.triggers.alarm_rows = 100;
    for at in [0, 100, 500, 578, 579, 580, 678, 679, 680, 700, 900] {
        check(&spec, &times, None, at);
        check(&spec, &times, groups.clone(), at);
    }
    spec.split.embargo = std::time::Duration::from_secs(10);
    spec.split.folds = 2;
    spec.fit.algorithm = Algorithm::Linear;
    for at in [0, 500, 789, 790, 800, 900] {
        check(&spec, &times, None, at);
    }
    // All rows of one time cannot be split, so none would be learned from.
    let one = labelled(vec![0; 100], None);
    assert_eq!(
        LearnedRows::of(&spec, &one, None),
        LearnedRows::Times(Vec::new())
    );
}

#[test]
fn rows_that_are_not_split_by_time_are_learned_from_by_share() {
    let mut spec = Spec::default();
    let found = LabelledTimes {
        rows: 1_000,
        times: None,
        groups: None,
        future: 0,
    };
    let learned = LearnedRows::of(&spec, &found, None);
    assert_eq!(learned.after(moment(0), 500), 340);
    assert_eq!(
        held_back(&spec, 1_000),
        "20 % of the rows judge the model, and 15 % of the others stop its fit, whatever their time"
    );
    assert_eq!(rows_needed(&spec, 1_000, 500), Some(736));
    spec.fit.algorithm = Algorithm::Linear;
    assert_eq!(share(&spec), 0.8);
}

#[test]
fn as_many_rows_as_are_said_to_be_needed_are_enough() {
    let mut spec = Spec::default();
    spec.schema.time = Some("at".to_owned());
    let learned = |after: i64| {
        let times: Vec<i64> = (0..1_000 + after).map(|row| row * SECOND).collect();
        LearnedRows::of(&spec, &labelled(times, None), None).after(moment(999), after as usize)
    };
    let needed = rows_needed(&spec, 1_000, 100).expect("known") as i64;
    assert_eq!(needed, 619);
    assert!(learned(needed) >= 100 && learned(needed - 1) < 100);
    // The rows of after the moment all judge the model.
    assert_eq!(learned(200), 0);
    assert_eq!(
        held_back(&spec, 1_200),
        "the newest 20 % of all 1200 rows judge the model, and the newest 15 % of the others stop its fit"
    );
    spec.split.embargo = std::time::Duration::from_secs(1);
    assert_eq!(rows_needed(&spec, 1_000, 100), None);
}
