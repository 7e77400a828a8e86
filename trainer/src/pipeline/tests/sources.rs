//! Features that the graph computes from FP64 inputs: what is learned from them, and that the graph
//! computes them from the values of the file.

use super::{prove, served};
use crate::data::{self, Reach, Rows};
use crate::frame::FrameValues;
use crate::spec::{Algorithm, Spec};
use chrono::{DateTime, Datelike, Timelike};
use ortus::core::tensor::{DType, Tensor};
use ortus::explain::derivation::CalendarPart;
use ortus::testing::engine;
use std::fmt::Write as _;

const ROWS: usize = 3_000;

/// Reads rows from a CSV file, and the specification that reads them.
fn read(csv: &str, schema: &str) -> (Spec, Rows) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, csv).expect("written");
    let text = format!(
        "[model]\nname = \"m\"\n[data.sources]\nrows = {:?}\n[schema]\ntarget = \"y\"\n{schema}",
        path.display().to_string()
    );
    let mut spec = Spec::parse("train.toml", &text).expect("a specification");
    spec.trees.rounds_max = 60;
    let rows = ortus::testing::block_on(data::read(&spec, &Reach::files()));
    (spec, rows.unwrap_or_else(|e| panic!("{e}")))
}

/// Numbers in no order, each once.
fn shuffled(rows: usize) -> impl Iterator<Item = usize> {
    (0..rows).map(move |row| row * 1_999 % rows)
}

/// Unix seconds over three years, which decide `y` by the hour and the weekday where clocks are two hours
/// ahead.
fn office_hours(write: impl Fn(DateTime<chrono::Utc>) -> String) -> String {
    let mut csv = "when,y\n".to_owned();
    for row in shuffled(ROWS) {
        let seconds = 1_650_000_000 + row as i64 * 31_607;
        let local = DateTime::from_timestamp(seconds + 7_200, 0).expect("a time");
        let is_open = (9..17).contains(&local.hour()) && local.weekday().number_from_monday() < 6;
        let utc = DateTime::from_timestamp(seconds, 0).expect("a time");
        let _ = writeln!(csv, "{},{}", write(utc), u8::from(is_open));
    }
    csv
}

#[test]
fn the_hour_of_a_time_is_learned_however_it_is_written() {
    let engine = engine();
    let calendar =
        "[schema.calendar]\nwhen = { parts = [\"hour\", \"weekday\"], zone = \"+02:00\" }\n";
    let mut losses = Vec::new();
    for csv in [
        office_hours(|t| t.timestamp().to_string()),
        office_hours(|t| t.timestamp_millis().to_string()),
        office_hours(|t| t.format("%d/%m/%Y %H:%M:%S").to_string()),
        office_hours(|t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
    ] {
        let (spec, rows) = read(&csv, calendar);
        let names: Vec<&str> = rows.frame.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["when.hour", "when.weekday"]);
        let measures = prove(&engine, &rows, &spec);
        assert!(measures["accuracy"] > 0.98, "{measures:?}");
        losses.push(measures["log_loss"]);
    }
    assert!(
        losses.windows(2).all(|pair| pair[0] == pair[1]),
        "{losses:?}"
    );
}

#[test]
fn every_part_of_a_time_is_computed_by_the_graph_as_in_training() {
    let engine = engine();
    let mut csv = "joined,at,x,y\n".to_owned();
    for row in shuffled(ROWS) {
        // Times with fractions, before 1970, and none.
        let joined = (row as f64 - 1_000.0) * 1_234_567.89;
        let joined = DateTime::from_timestamp_micros((joined * 1e6) as i64).expect("a time");
        let at = DateTime::from_timestamp(1_650_000_000 + row as i64 * 40_000, 0).expect("a time");
        let joined_text = match row % 17 {
            0 => String::new(),
            _ => joined.format("%Y-%m-%d %H:%M:%S%.f").to_string(),
        };
        let y = joined.month() as usize + at.day() as usize;
        let at = at.format("%Y-%m-%d %H:%M:%S");
        let _ = writeln!(csv, "{joined_text},{at},{},{y}", row % 7);
    }
    let parts = CalendarPart::ALL
        .map(|(name, _)| format!("{name:?}"))
        .join(", ");
    let schema = format!(
        "time = \"at\"\ntask = \"regression\"\n[schema.calendar]\njoined = [{parts}, \"age_days\"]\nat = [\"day\"]\n"
    );
    let (mut spec, rows) = read(&csv, &schema);
    let age = rows.frame.column("joined.age_days").map(|c| &c.values);
    let Some(FrameValues::Numbers(ages)) = age else {
        panic!("an age")
    };
    let sources = [rows.frame.source("at"), rows.frame.source("joined")];
    let [Some(at), Some(joined)] = sources else {
        panic!("two inputs")
    };
    for row in 0..rows.len() {
        let days = ((at[row] - joined[row]) / 86_400.0).floor() as f32;
        assert!(ages[row] == days || (ages[row].is_nan() && joined[row].is_nan()));
    }
    for algorithm in [Algorithm::Trees, Algorithm::Linear] {
        spec.fit.algorithm = algorithm;
        let measures = prove(&engine, &rows, &spec);
        assert!(measures["r2"] > 0.5, "{measures:?}");
    }
}

#[test]
fn the_last_digits_of_long_numbers_are_learned_as_those_of_short_ones() {
    let engine = engine();
    let csv = |base: u64| {
        let mut csv = "account,y\n".to_owned();
        for row in shuffled(ROWS) {
            let _ = writeln!(csv, "{},{}", base + row as u64, row / 250 % 2);
        }
        csv
    };
    let (spec, long) = read(&csv(490_000_000_000), "");
    assert!(
        long.notes
            .iter()
            .any(|note| note.contains("'account' is an FP64 input"))
    );
    let short = prove(&engine, &read(&csv(0), "").1, &spec);
    let found = prove(&engine, &long, &spec);
    assert!(found["accuracy"] > 0.95, "{found:?}");
    assert_eq!(found["accuracy"], short["accuracy"]);
    let model = served(&engine, &long, &spec);
    assert_eq!(model.signature.inputs[0].dtype, DType::F64);
}

#[test]
fn unix_seconds_that_are_a_number_are_told_apart() {
    let engine = engine();
    let mut csv = "ts,y\n".to_owned();
    for row in shuffled(ROWS) {
        // Two minutes are one cycle, which a value of FP32 is longer than.
        let seconds = 1_700_000_000 + row as u64 / 2;
        let _ = writeln!(csv, "{seconds},{}", u8::from(seconds % 120 < 60));
    }
    let (mut spec, rows) = read(&csv, "");
    spec.trees.rounds_max = 200;
    let measures = prove(&engine, &rows, &spec);
    assert!(measures["accuracy"] > 0.9, "{measures:?}");

    // Rounded to FP32, as it would be without the shift, nothing can be learned.
    let mut rounded = rows;
    let source = rounded.frame.sources.remove(0);
    rounded.frame.derived.clear();
    let all = source.values.iter().map(|v| *v as f32).collect();
    rounded.frame.columns[0].values = FrameValues::Numbers(all);
    let mut kept = served(&engine, &rounded, &spec);
    let judged = crate::judge::judge(
        &mut kept,
        &crate::judge::losses::JudgedRows::of(&rounded, &spec.fit),
        crate::judge::measure::LossMeasure::LogLoss,
    );
    let accuracy = judged.expect("answers").measures["accuracy"];
    assert!(accuracy < 0.7, "{accuracy}");
}

#[test]
fn a_baseline_sees_the_input_as_it_is_served() {
    let engine = engine();
    let csv = office_hours(|t| t.format("%d.%m.%Y %H:%M:%S").to_string());
    let (spec, rows) = read(&csv, "[schema.calendar]\nwhen = [\"hour\", \"weekday\"]\n");
    let mut predictor = served(&engine, &rows, &spec);
    assert_eq!(predictor.columns, ["when"]);
    let mut seen = Vec::new();
    let answers = predictor.predict(&rows.frame, &mut |inputs: &[Tensor], _, _| {
        let raw = inputs[0].to_raw();
        let (all, _) = raw.as_chunks::<8>();
        seen.extend(all.iter().map(|bytes| f64::from_le_bytes(*bytes)));
    });
    assert!(answers.is_ok_and(|all| all.len() == ROWS));
    let expected: Vec<f64> = shuffled(ROWS)
        .map(|row| 1_650_000_000.0 + row as f64 * 31_607.0)
        .collect();
    assert_eq!(seen, expected, "seconds since 1970, exactly");

    let held_out: Vec<u32> = (0..600).collect();
    let importances = vec![
        crate::record::Importance("when.hour".to_owned(), 0.75),
        crate::record::Importance("when.weekday".to_owned(), 0.25),
    ];
    let baseline = crate::package::baseline(&mut predictor, &rows, &held_out, &importances);
    let baseline = baseline.expect("a baseline");
    let when = &baseline.inputs[0];
    assert_eq!((baseline.inputs.len(), when.name.as_str()), (1, "when"));
    assert_eq!(when.importance, Some(1.0));
}

/// Rows of which every tenth has neither `b` nor a target, as cancelled flights have no delay, and the last 300 have no
/// target yet.
fn cancelled() -> String {
    let mut csv = "at,a,b,y\n".to_owned();
    for row in 0..ROWS {
        let (day, a) = (1_700_000_000 + row * 3_600, (row as f64 * 0.7).sin());
        let (b, y) = match (row % 10, row < ROWS - 300) {
            (0, _) => (String::new(), String::new()),
            (_, is_known) => (
                format!("{:.3}", a + 0.1 * (row % 7) as f64),
                if is_known {
                    format!("{a:.3}")
                } else {
                    String::new()
                },
            ),
        };
        writeln!(csv, "{day},{a:.4},{b},{y}").expect("written");
    }
    csv
}

#[test]
fn rows_without_a_target_are_in_the_baseline_and_in_nothing_else() {
    let engine = engine();
    for (schema, others, missing) in [
        // Of the time of the held-out rows, all, and none of those of later.
        ("time = \"at\"\n", 53..=53, 53..=53),
        // A fifth of all.
        ("ignore = [\"at\"]\n", 95..=135, 45..=75),
    ] {
        let (spec, rows) = read(&cancelled(), schema);
        assert_eq!(rows.len(), ROWS - 300 - (ROWS - 300) / 10);
        assert!(rows.frame.columns.iter().all(|c| match &c.values {
            FrameValues::Numbers(all) => all.iter().all(|v| !v.is_nan()),
            FrameValues::Words(_) => false,
        }));

        let mut predictor = served(&engine, &rows, &spec);
        let held_out: Vec<u32> = (rows.len() as u32 - 486..rows.len() as u32).collect();
        let baseline = crate::package::baseline(&mut predictor, &rows, &held_out, &[]);
        let baseline = baseline.expect("a baseline");
        let of_others = baseline.rows - 486;
        assert!(others.contains(&of_others), "{of_others}");
        assert_eq!(
            baseline.source,
            format!("486 held-out rows and {of_others} without a target")
        );
        let b = baseline.inputs.iter().find(|c| c.name == "b").expect("b");
        assert!(missing.contains(&b.missing), "{schema}: {}", b.missing);
    }
}
