//! Columns that are empty where the target is.

use super::*;

#[test]
fn what_is_empty_where_the_target_is_comes_after_the_outcome() {
    // Every tenth flight is cancelled: it has no arrival, and mostly no departure.
    let of_day = |row: usize, is_known: bool| match is_known {
        true => format!("{:.3}", noise(row, 5)),
        false => String::new(),
    };
    let flights = table(
        600,
        &[
            ("arrival", &|row| of_day(row, row % 10 != 0)),
            ("departure", &|row| {
                of_day(row, row % 10 != 0 || row % 30 == 0)
            }),
            ("gate", &|row| of_day(row, row % 7 != 0)),
        ],
    );
    let rows = flights.lines().enumerate().map(|(at, line)| match at {
        1.. if (at - 1) % 10 == 0 => format!("{},", &line[..line.rfind(',').expect("cells")]),
        _ => line.to_owned(),
    });
    let flights = rows.collect::<Vec<_>>().join("\n");

    let made = first(&flights, None).expect("a specification");
    let first_said = &made.understood.remarks[..3];
    assert!(
        first_said.iter().any(|r| r.what.contains("'arrival'")),
        "{first_said:?}"
    );
    say(
        &made,
        &[
            "'arrival' is missing in 100.0 % of the rows without 'y' and in 0.0 % of the others, as something known only after the outcome is; it is left out",
            "'departure' is missing in 66.7 % of the rows without 'y' and in 0.0 % of the others; it may be known only after the outcome → name it in 'ignore'",
        ],
    );
    assert_eq!(
        use_of(&made, "arrival"),
        "left out: known only after the outcome"
    );
    assert_eq!(use_of(&made, "departure"), "feature");
    assert!(
        !made
            .understood
            .remarks
            .iter()
            .any(|r| r.what.contains("'gate'"))
    );

    // Empty lines are empty in every column.
    let empty = table(600, &[("w", &|row| of_day(row, true))]);
    let empty = format!("{empty}{}", ",,\n".repeat(60));
    let made = first(&empty, None).expect("a specification");
    assert_eq!(use_of(&made, "w"), "feature");
}

#[test]
fn a_target_may_be_computed_by_a_query() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.csv");
    let mut text = "x,delay,y\n".to_owned();
    for row in 0..400 {
        let delay = 60.0 * noise(row, 1) + 10.0 * noise(row, 2);
        text.push_str(&format!("{:.3},{delay:.2},same\n", noise(row, 1)));
    }
    std::fs::write(&path, text).expect("written");
    let request = InitRequest {
        at: path.display().to_string(),
        target: "late".to_owned(),
        sql: Some("SELECT *, delay > 30 AS late FROM rows".to_owned()),
        format: None,
    };
    let made = ortus::testing::block_on(init(&request, &reach())).expect("a specification");
    say(&made, &["'delay' alone predicts the target"]);

    let spec = Spec::parse("train.toml", &made.text).expect("a specification");
    let rows = ortus::testing::block_on(data::read(&spec, &reach())).expect("is read");
    let names: Vec<&str> = rows.frame.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!((names.as_slice(), rows.len()), (["x"].as_slice(), 400));
}
