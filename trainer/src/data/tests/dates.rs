//! Times of text files: their order and zone, rows without one, and times that are no features.

use super::*;
use crate::init::{InitRequest, init};
use ortus::storage::table::text::format::TextFormat;

/// Reads rows whose text files have a format.
fn formatted(text: &str, format: &TextFormat, more: &[(&str, &str)]) -> Result<Rows> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rows.csv"), text).expect("written");
    let mut spec = spec(folder.path(), "rows.csv", more);
    spec.formats.0.insert("rows".to_owned(), format.clone());
    run(&spec)
}

fn seconds(rows: &Rows) -> Vec<i64> {
    let times = rows.time.as_ref().expect("times");
    times.iter().map(|micros| micros / 1_000_000).collect()
}

#[test]
fn dates_have_the_order_and_the_zone_that_are_set() {
    let text = "x,at,y\n1,01/02/2026 10:00,0\n2,03/02/2026 10:00,1\n";
    let message = match of(text, &[("time", "at")]) {
        Err(error) => error.message,
        Ok(rows) => panic!("{:?}", rows.time),
    };
    let part = "could be day/month/year or month/day/year: set 'dates' in the format of the source to \"dmy\" or \"mdy\"";
    assert!(message.contains(part), "{message}");

    for (dates, zone, expected) in [
        ("dmy", None, 1_769_940_000),
        ("mdy", None, 1_767_348_000),
        ("dmy", Some("+01:00"), 1_769_936_400),
    ] {
        let format = TextFormat {
            dates: Some(dates.to_owned()),
            zone: zone.map(str::to_owned),
            ..TextFormat::default()
        };
        let rows = formatted(text, &format, &[("time", "at")]).expect("reads");
        assert_eq!(seconds(&rows)[0], expected, "{dates} {zone:?}");
    }

    // A zone with daylight saving time: +01:00 in February, +02:00 in July.
    let text = "x,at,y\n1,01.02.2026 10:00,0\n2,01.07.2026 10:00,1\n";
    let sql = "SELECT x, at AT TIME ZONE 'Europe/Berlin' AS at, y FROM rows";
    let rows = of(text, &[("time", "at"), ("sql", sql)]).expect("reads");
    assert_eq!(seconds(&rows), [1_769_936_400, 1_782_892_800]);
}

#[test]
fn rows_without_a_time_are_left_out_and_counted_up_to_a_share() {
    let rows_of = |holes: usize| {
        let row = |row: usize| {
            let time = match row < holes {
                true => "",
                false => "2026-01-02 10:00",
            };
            format!("{row},{time},{}\n", row % 2)
        };
        let rows: String = (0..100).map(row).collect();
        of(&format!("x,at,y\n{rows}"), &[("time", "at")])
    };
    let rows = rows_of(5).expect("reads");
    assert_eq!(
        (rows.len(), rows.time.as_ref().map(Vec::len)),
        (95, Some(95))
    );
    let FrameValues::Numbers(x) = &rows.frame.columns[0].values else {
        panic!("numbers")
    };
    assert_eq!(x[0], 5.0, "of the same rows");
    let note = "not used: 5 rows without a 'at', the time";
    assert!(
        rows.notes.iter().any(|found| found == note),
        "{:?}",
        rows.notes
    );

    let message = rows_of(6).err().map(|error| error.message);
    let expected = "6 of 100 rows have no 'at', the time; 'untimed_max' in [data] allows 0.05";
    assert_eq!(message.as_deref(), Some(expected));
}

#[test]
fn times_are_never_categories_nor_rounded_numbers() {
    for (cell, part) in [
        (
            "2026-01-02",
            "'at' is a time, which is no feature as it is; name it in [schema.calendar]",
        ),
        ("01/02/2026", "could be day/month/year or month/day/year"),
    ] {
        let text = format!("x,at,y\n1,{cell},0\n2,{cell},1\n");
        let message = refused(&text, &[]);
        assert!(message.contains(part), "{message}");
        assert!(message.contains("'ignore' of [schema]"), "{message}");
    }
    let format = TextFormat {
        dates: Some("dmy".to_owned()),
        ..TextFormat::default()
    };
    let text = "x,at,y\n1,02/13/2026,0\n2,02/14/2026,1\n";
    let message = formatted(text, &format, &[])
        .err()
        .map(|error| error.message);
    let message = message.unwrap_or_default();
    assert!(
        message.contains("to \"mdy\""),
        "the order that is set is wrong: {message}"
    );
    let message = refused("x,at,y\n1,2026-01-02,0\n2,2026-01-03,1\n3,soon,0\n", &[]);
    assert!(
        message.contains("'soon'") && message.contains("'missing'"),
        "{message}"
    );
    let message = refused("id,y\n9007199254740993,0\n2,1\n", &[]);
    assert!(
        message.contains("beyond 2^53, such as 9007199254740993"),
        "{message}"
    );

    // Codes with leading zeros stay words.
    let rows = of("zip,y\n00123,0\n00124,1\n", &[]).expect("reads");
    assert_eq!(words(&rows, 0).and_then(|w| w.get(0)), Some("00123"));
}

#[test]
fn a_time_in_milliseconds_is_read_joined_and_counted_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    let day = 86_400_000_i64;
    let at = 1_767_225_600_000_i64;
    write(
        "rows.csv",
        &format!("k,at,y\n1,{at},0\n1,{},1\n", at + 2 * day),
    );
    write(
        "known.csv",
        &format!("k,booked,v\n1,{},5\n1,{},7\n", at - day, at + day),
    );
    let mut spec = spec(folder.path(), "rows.csv", &[("time", "at")]);
    spec.sources
        .0
        .insert("known".to_owned(), "known.csv".to_owned());
    spec.joins.0.insert(
        "known".to_owned(),
        crate::spec::Join {
            on: vec!["k".to_owned()],
            time: "booked".to_owned(),
            ..crate::spec::Join::default()
        },
    );
    let rows = run(&spec).expect("reads");
    assert_eq!(seconds(&rows), [at / 1_000, (at + 2 * day) / 1_000]);
    let joined = rows.frame.column("known_v").map(|c| &c.values);
    assert_eq!(joined, Some(&FrameValues::Numbers(vec![5.0, 7.0].into())));
    let note = "'at', the time, is milliseconds since 1970";
    assert!(
        rows.notes.iter().any(|found| found == note),
        "{:?}",
        rows.notes
    );

    spec.joins.0.clear();
    spec.data.sql = Some("SELECT * FROM rows".to_owned());
    let after = DateTime::from_timestamp_millis(at + day);
    let count = ortus::testing::block_on(count(&spec, &Reach::files(), after));
    assert_eq!(count.ok(), Some(1), "one is later");
    let reach = Reach {
        as_of: after,
        ..Reach::files()
    };
    spec.schema.task = crate::spec::Task::Regression;
    let seen = ortus::testing::block_on(read(&spec, &reach)).map(|rows| rows.len());
    assert_eq!(seen.ok(), Some(1), "no later row is seen");
}

#[test]
fn a_first_specification_reads_times_however_they_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = |head: &str, cell: &dyn Fn(i64) -> String| {
        let row = |row: i64| format!("{},{},{}\n", row * 7 % 100, cell(row), row % 2);
        let rows: String = (0..100).map(row).collect();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, format!("x,{head},y\n{rows}")).expect("written");
        let request = InitRequest {
            at: path.to_string_lossy().into_owned(),
            target: "y".to_owned(),
            sql: None,
            format: None,
        };
        let made = ortus::testing::block_on(init(&request, &Reach::files())).expect("a text");
        Spec::parse("train.toml", &made.text).unwrap_or_else(|e| panic!("{e}: {}", made.text));
        let remarks = made.understood.remarks.iter();
        let remarks = remarks.map(|remark| format!("\n{}: {}", remark.what, remark.way_out));
        made.text + &remarks.collect::<String>()
    };
    let at = |row: i64| DateTime::from_timestamp(1_767_225_600 + row * 40_000, 0).expect("a time");
    let has = |text: String, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "{text} does not say {part}");
        }
    };
    let by_time = "time = \"when\"";
    has(
        told("when", &|row| at(row).format("%d/%m/%Y %H:%M").to_string()),
        &[by_time],
    );
    has(
        told("when", &|row| at(row).format("%m/%d/%Y").to_string()),
        &[by_time],
    );
    has(
        told("when", &|row| at(row).format("%Y-%m-%d %H:%M").to_string()),
        &[by_time, "by = \"time\""],
    );
    has(
        told("when", &|row| match row {
            3 => String::new(),
            row => at(row).to_rfc3339(),
        }),
        &[by_time],
    );
    has(
        told("when", &|row| at(row).timestamp_millis().to_string()),
        &[
            by_time,
            "'when' looks like milliseconds since 1970, and is taken for the time of the row",
        ],
    );
    let either = told("when", &|row| format!("{:02}/01/2026", row % 12 + 1));
    has(
        either,
        &[
            "ignore = [\"when\"]",
            "by = \"random\"",
            "could be day/month/year or month/day/year",
        ],
    );
    // A range of times alone is not enough.
    let number = told("amount", &|row| at(row * 37 % 100).timestamp().to_string());
    has(number, &["by = \"random\""]);
}

#[test]
fn a_time_that_is_the_only_feature_stays_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("only.csv");
    let rows: String = (0..100)
        .map(|row| format!("{},{}\n", 1_700_000_000 + row * 37, row % 2))
        .collect();
    std::fs::write(&path, format!("ts,y\n{rows}")).expect("written");
    let request = InitRequest {
        at: path.to_string_lossy().into_owned(),
        target: "y".to_owned(),
        sql: None,
        format: None,
    };
    let made = ortus::testing::block_on(init(&request, &Reach::files())).expect("a text");
    let only = made.text;
    assert!(
        !only.contains("time = \"ts\""),
        "the only feature stays one: {only}"
    );
}
