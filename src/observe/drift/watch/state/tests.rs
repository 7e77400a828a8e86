//! Tests of `state`: a watch that is saved and restored goes on as one that was never stopped.

use super::*;
use crate::observe::drift::watch::tests::{Random, Row, Stream, baseline, settings, usual};
use chrono::DateTime;
use std::time::Duration;

const WALL_MS: u64 = 1_764_000_000_000;

fn time(now: Instant) -> SavingTime {
    SavingTime {
        now,
        wall_ms: WALL_MS,
    }
}

fn saved(stream: &Stream, incidents: &IncidentLog) -> SavedWatch {
    let saved = stream.watch.save(incidents, 0, time(stream.now));
    saved.expect("not too many rows")
}

/// Restores a watch in a process that starts at another moment.
fn restored(stream: &Stream, bytes: &[u8], away: Duration) -> Result<VersionWatch, String> {
    let subject = stream.watch.subject.as_ref().clone();
    let mut watch = VersionWatch::new(subject, 1, stream.now).expect("fits");
    let at = SavingTime {
        now: stream.now,
        wall_ms: WALL_MS + away.as_millis() as u64,
    };
    watch.restore(SavedWatch::read(bytes)?, at)?;
    Ok(watch)
}

/// The report with what earlier processes counted.
fn report(stream: &Stream) -> serde_json::Value {
    let mut report = stream.watch.report(&settings());
    // The server counts the rows of its requests elsewhere.
    report.rows = 0;
    stream.watch.add_earlier(&mut report);
    report.rows = 0;
    serde_json::to_value(report).expect("JSON")
}

/// Checks that a stream that is interrupted ends with the same alarms and the same report.
fn check_continues(baseline: Option<&Baseline>, first: usize, second: usize, row: Row<'_>) {
    let mut whole = Stream::new(baseline.cloned());
    let mut parted = Stream::new(baseline.cloned());
    for stream in [&mut whole, &mut parted] {
        stream.send(40, &usual);
    }
    assert_eq!(whole.send(first, row), parted.send(first, row));

    let object = saved(&parted, &IncidentLog::default());
    let rows_came = object.rows_came_ms.clone();
    assert!(rows_came.iter().any(Option::is_some));
    let bytes = object.write(BYTES_MAX).expect("small");
    parted.watch = restored(&parted, &bytes, Duration::ZERO).expect("restored");
    let again = saved(&parted, &IncidentLog::default());
    assert_eq!(again.rows_came_ms, rows_came);
    assert_eq!(report(&parted)["columns"], report(&whole)["columns"]);
    assert_eq!(whole.send(second, row), parted.send(second, row));
    assert_eq!(report(&whole), report(&parted));
    assert_eq!(whole.watch.charts(0), parted.watch.charts(0));
}

fn shifted(random: &mut Random) -> ([f32; 2], &'static str) {
    let (x, word) = usual(random);
    let first = if random.next() < 0.05 {
        f32::NAN
    } else {
        x[0] + 0.5
    };
    (
        [first, x[1]],
        if random.next() < 0.1 { "purple" } else { word },
    )
}

#[test]
fn a_restored_watch_goes_on_as_one_that_was_never_stopped() {
    let training = baseline();
    check_continues(Some(&training), 65, 200, &usual);
    check_continues(Some(&training), 5, 300, &shifted);
    check_continues(Some(&training), 305, 30, &shifted);
}

#[test]
fn rows_gathered_before_a_restart_count() {
    // 50 requests of 100 rows make the baseline: before, and after the restart.
    check_continues(None, 3, 100, &usual);
    check_continues(None, 100, 100, &shifted);

    let mut stream = Stream::new(None);
    stream.send(15, &usual);
    let bytes = saved(&stream, &IncidentLog::default()).write(BYTES_MAX);
    let bytes = bytes.expect("small");
    stream.watch = restored(&stream, &bytes, Duration::ZERO).expect("restored");
    assert_eq!(stream.watch.gathered(&settings()), Some((1_500, 5_000)));
    stream.send(35, &usual);
    assert_eq!(stream.watch.gathered(&settings()), None);
    assert_eq!(report(&stream)["baseline"], "own");
    assert_eq!(report(&stream)["sampled_rows"], 5_000);
}

#[test]
fn an_hour_that_ended_during_the_restart_keeps_its_number() {
    let mut stream = Stream::new(Some(baseline()));
    stream.send(40, &usual);
    let bytes = saved(&stream, &IncidentLog::default()).write(BYTES_MAX);
    stream.watch = restored(&stream, &bytes.expect("small"), Duration::ZERO).expect("restored");
    let first = stream.hour;
    stream.hour += 5;
    stream.send(40, &usual);
    let week = serde_json::to_value(saved(&stream, &IncidentLog::default())).expect("JSON");
    let hours = week["columns"][0]["week"]
        .as_object()
        .expect("hours")
        .clone();
    assert_eq!(
        hours.keys().cloned().collect::<Vec<_>>(),
        [first.to_string()]
    );
}

#[test]
fn incidents_survive() {
    let mut stream = Stream::new(Some(baseline()));
    stream.send(300, &shifted);
    let mut incidents = IncidentLog::default();
    let now = DateTime::from_timestamp(1_764_000_000, 0).expect("a time");
    assert_eq!(
        incidents.step(&stream.watch.report(&settings()), now).len(),
        1
    );
    let bytes = saved(&stream, &incidents).write(BYTES_MAX).expect("small");

    let subject = stream.watch.subject.as_ref().clone();
    let mut watch = VersionWatch::new(subject, 1, stream.now).expect("fits");
    let read = SavedWatch::read(&bytes).expect("readable");
    let mut again = watch.restore(read, time(stream.now)).expect("restored");
    assert_eq!(again, incidents);
    assert_eq!(again.step(&watch.report(&settings()), now), []);
    assert_eq!(again.open(), 1);
}

#[test]
fn a_clock_that_jumped_back_does_not_make_ages_longer_or_shorter() {
    let mut stream = Stream::new(Some(baseline()));
    stream.send(40, &usual);
    let bytes = saved(&stream, &IncidentLog::default()).write(BYTES_MAX);
    let bytes = bytes.expect("small");
    let opened = |wall_ms| {
        let subject = stream.watch.subject.as_ref().clone();
        let mut watch = VersionWatch::new(subject, 1, stream.now).expect("fits");
        let read = SavedWatch::read(&bytes).expect("readable");
        let at = SavingTime {
            now: stream.now,
            wall_ms,
        };
        watch.restore(read, at).expect("restored");
        stream.now.saturating_duration_since(watch.opened)
    };
    let age = stream.now.saturating_duration_since(stream.watch.opened);
    assert_eq!(opened(WALL_MS), age);
    assert_eq!(opened(WALL_MS - 86_400_000), age);
    assert_eq!(opened(0), age);
    assert_eq!(opened(WALL_MS + 7_000), age + Duration::from_secs(7));
    // However far a clock jumps, the time away is bounded.
    assert_eq!(opened(u64::MAX), age + Duration::from_secs(40 * 86_400));
}

type Change<'c> = &'c dyn Fn(&mut serde_json::Value);

#[test]
fn other_versions_columns_cells_and_formats_are_refused_with_a_reason() {
    let mut stream = Stream::new(Some(baseline()));
    stream.send(40, &usual);
    let of = saved(&stream, &IncidentLog::default());
    let good = serde_json::to_value(&of).expect("JSON");
    let refused = |stream: &Stream, change: Change<'_>| {
        let mut changed = good.clone();
        change(&mut changed);
        let bytes = serde_json::to_vec(&changed).expect("JSON");
        restored(stream, &bytes, Duration::ZERO).err()
    };
    assert_eq!(refused(&stream, &|_| {}), None);
    let cases: [(&str, Change<'_>); 9] = [
        ("it is of format 2, not 1", &|v| v["format"] = 2.into()),
        ("it is damaged: ", &|v| v["closed"] = "x".into()),
        ("it is damaged: ", &|v| v["more"] = 1.into()),
        ("it is of another model file", &|v| {
            v["digest"] = "sha256:1".into()
        }),
        ("its columns are different", &|v| {
            v["contract"][0][1] = "other".into();
        }),
        ("it has 'z' in place of", &|v| {
            v["columns"][0]["name"] = "z".into()
        }),
        ("was counted in other cells", &|v| {
            let counts = v["columns"][0]["recent"]["counts"].as_array_mut();
            counts.expect("counts").push(0.into());
        }),
        ("the version has another baseline", &|v| {
            v["reference"]["training"] = "sha256:2".into();
        }),
        ("its contract counts contradict one another", &|v| {
            v["earlier"]["checked"] = 0.into();
        }),
    ];
    for (reason, change) in cases {
        let told = refused(&stream, change).expect("refused");
        assert!(told.contains(reason), "{told}");
    }
    let cut = of.write(BYTES_MAX).expect("small");
    assert!(restored(&stream, &cut[..cut.len() / 2], Duration::ZERO).is_err());

    // A version that lost its baseline, and one that gained one.
    let without = Stream::new(None);
    assert!(refused(&without, &|_| {}).is_some());
}

#[test]
fn an_object_that_is_too_large_loses_its_week_then_old_windows_then_all() {
    let mut stream = Stream::new(Some(baseline()));
    for _ in 0..4 {
        stream.send(200, &usual);
        stream.hour += 1;
    }
    let of = saved(&stream, &IncidentLog::default());
    let whole = of.clone().write(BYTES_MAX).expect("small");
    let parts = |bytes: &[u8]| {
        let read: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        let column = &read["columns"][0];
        let hours = column["week"].as_object().expect("hours").len();
        let tiers = &column["spans"]["tiers"];
        let kept = |tier: usize| tiers[tier].as_array().expect("a tier").len();
        (hours > 0, kept(1) > 0, kept(0) > 0)
    };
    assert_eq!(parts(&whole), (true, true, true));
    let smaller = of.clone().write(whole.len() - 1).expect("without the week");
    assert_eq!(parts(&smaller), (false, true, true));
    let least = of
        .clone()
        .write(smaller.len() - 1)
        .expect("without old windows");
    assert_eq!(parts(&least), (false, false, true));
    assert_eq!(of.clone().write(least.len()).expect("fits"), least);
    assert_eq!(of.write(least.len() - 1), Err(TooLarge));
}

#[test]
fn an_object_of_format_1_is_read() {
    let text = include_str!("golden-1.json");
    let read = SavedWatch::read(text.as_bytes()).expect("readable");
    let written = serde_json::to_value(&read).expect("JSON");
    let golden: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(written, golden);

    // The first rows: 0.5 and NaN in 32 bits, 0.1 in 64 bits, codes and words.
    let mut gathering = golden;
    gathering["reference"] = serde_json::json!({"gathering": {"rows": 2, "columns": [
        ["input", "a", {"f32": "AAAAPwAAwH8="}],
        ["input", "b", {"f64": "mpmZmZmZuT8="}],
        ["input", "c", {"whole": [1, 2]}],
        ["output", "d", {"words": ["x", ""]}],
    ]}});
    let bytes = serde_json::to_vec(&gathering).expect("JSON");
    let read = SavedWatch::read(&bytes).expect("readable");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), gathering);
    let SavedReference::Gathering(rows) = read.reference else {
        panic!("the first rows are gathered");
    };
    assert_eq!(rows.lengths(), [2, 1, 2, 2]);
}
