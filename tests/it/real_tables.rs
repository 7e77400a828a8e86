//! Real tables in the order of time, whose known story the monitor must tell: which columns change, when, and in which
//! words; nothing while nothing changes; and a fault that is put into the same rows. `tests/monitor/real_tables.py` writes
//! the tables from pinned packages and says what is known about each.

use crate::support::optional::{or_not_run, pinned, run};
use crate::support::{ortus, root};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// An incident that must be told.
struct Change<'s> {
    column: &'s str,
    /// It opens between these times.
    opened: (&'s str, &'s str),
    says: &'s str,
}

/// What is known about the served rows of a table.
struct Story<'s> {
    changes: &'s [Change<'s>],
    /// Columns that may be told besides: they follow from the changes.
    follow: &'s [&'s str],
}

/// Nothing is known to change.
const QUIET: Story<'_> = Story {
    changes: &[],
    follow: &[],
};

impl Story<'_> {
    /// Checks the incidents that were told.
    fn check(&self, about: &str, incidents: &[Value]) {
        let told: Vec<String> = incidents.iter().map(line).collect();
        let told = told.join("\n");
        for change in self.changes {
            let found = incidents.iter().any(|i| change.is_told_by(i));
            assert!(found, "{about}: {} is not told in\n{told}", change.says);
        }

        // Incidents before the first change, and of other columns, are false.
        let known = |column: &str| self.changes.iter().any(|c| c.column == column);
        let first = self.changes.iter().map(|change| change.opened.0).min();
        for incident in incidents {
            let columns = columns(incident);
            let is_known = columns
                .iter()
                .all(|c| known(c) || self.follow.contains(&c.as_str()));
            let is_late = first.is_some_and(|first| opened(incident) >= first);
            assert!(is_known && is_late, "{about}: {} is false", line(incident));
        }
    }
}

impl Change<'_> {
    fn is_told_by(&self, incident: &Value) -> bool {
        let opened = opened(incident);
        let summary = incident["summary"].as_str().expect("a sentence");
        columns(incident).iter().any(|column| column == self.column)
            && (self.opened.0..self.opened.1).contains(&opened)
            && summary.contains(self.says)
    }
}

fn opened(incident: &Value) -> &str {
    incident["opened"].as_str().expect("a time")
}

fn columns(incident: &Value) -> Vec<String> {
    let columns = incident["columns"].as_array().expect("columns");
    let name = |column: &Value| column["name"].as_str().expect("a name").to_owned();
    columns.iter().map(name).collect()
}

fn line(incident: &Value) -> String {
    format!("{} {}", opened(incident), incident["summary"])
}

/// Makes the baseline of a table, shows the served rows to the monitor, and those with a fault.
fn check(table: &str, served: &Story<'_>, faulty: &Story<'_>) {
    let python = pinned("test-real-tables", "monitor/real_tables.txt");
    let Some(python) = or_not_run("the packages with real tables", python) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let script = root().join("tests/monitor/real_tables.py");
    run(Command::new(python).arg(script).arg(table).arg(folder)).expect("writes the table");
    run(ortus()
        .current_dir(folder)
        .args(["profile", "reference.csv", "--onnx", "model.onnx"])
        .args(["-o", "baseline.json"]))
    .expect("makes a baseline");

    served.check(&format!("{table}, served"), &backtest(folder, "served.csv"));
    faulty.check(&format!("{table}, faulty"), &backtest(folder, "faulty.csv"));
}

/// Returns the incidents that there would have been.
fn backtest(folder: &Path, rows: &str) -> Vec<Value> {
    let told = run(ortus()
        .current_dir(folder)
        .args(["backtest", rows, "--onnx", "model.onnx", "--json"])
        .args(["--baseline", "baseline.json", "--time", "at"]))
    .expect("shows the rows");
    let report: Value = serde_json::from_str(&told).expect("JSON");
    let version = &report["versions"][0];
    assert_eq!(version["rows"], version["sampled_rows"], "all are counted");
    version["incidents"].as_array().cloned().unwrap_or_default()
}

#[test]
fn flights_of_september_are_quiet_until_an_airline_gets_another_code() {
    let renamed = Change {
        column: "carrier",
        opened: ("2013-09-16", "2013-09-17"),
        says: "carrier has values that the baseline never had",
    };
    let faulty = Story {
        changes: &[renamed],
        follow: &["score"],
    };
    check("flights_of_september", &QUIET, &faulty);
}

#[test]
fn months_that_a_model_of_flights_never_saw_are_told_on_their_first_day() {
    const MONTH: Change<'_> = Change {
        column: "month",
        opened: ("2013-10-01", "2013-10-02"),
        says: "month is above the range of the baseline in 100 % of rows",
    };
    let joined_wrongly = Change {
        column: "multivariate",
        opened: ("2013-11-01", "2013-11-07"),
        says: "most of all distance and air_time",
    };
    let served = Story {
        changes: &[MONTH],
        follow: &["score"],
    };
    let faulty = Story {
        changes: &[MONTH, joined_wrongly],
        follow: &["score"],
    };
    check("flights_of_autumn", &served, &faulty);
}

#[test]
fn new_months_and_seasons_of_rented_bikes_are_told_on_their_first_day() {
    const MONTH: Change<'_> = Change {
        column: "mnth",
        opened: ("2011-08-01", "2011-08-02"),
        says: "mnth has values that the baseline never had",
    };
    const SEASON: Change<'_> = Change {
        column: "season",
        opened: ("2011-09-23", "2011-09-24"),
        says: "season is above the range of the baseline",
    };
    let celsius = Change {
        column: "temp",
        opened: ("2011-10-10", "2011-10-11"),
        says: "temp is above the range of the baseline",
    };
    let served = Story {
        changes: &[MONTH, SEASON],
        follow: &[],
    };
    let faulty = Story {
        changes: &[MONTH, SEASON, celsius],
        follow: &["score"],
    };
    check("bikes", &served, &faulty);
}

#[test]
fn an_autumn_of_weather_is_quiet_until_a_barometer_is_silent() {
    let silent = Change {
        column: "pressure",
        opened: ("2013-11-01", "2013-11-05"),
        says: "is missing in",
    };
    let faulty = Story {
        changes: &[silent],
        follow: &["score"],
    };
    check("weather", &QUIET, &faulty);
}

#[test]
fn car_loans_are_quiet_until_cars_cost_twice_as_much() {
    const CARS: Change<'_> = Change {
        column: "car_value",
        opened: ("2019-03-30", "2019-04-03"),
        says: "car_value is higher than it was",
    };
    // One cause is one incident.
    const REPAID: Change<'_> = Change {
        column: "repaid_loan_on_prev_car",
        ..CARS
    };
    const FOLLOW: [&str; 6] = [
        "score",
        "salary_range",
        "loan_length",
        "driver_tenure",
        "debt_to_income_ratio",
        "multivariate",
    ];
    let percent = Change {
        column: "debt_to_income_ratio",
        opened: ("2019-01-15", "2019-01-17"),
        says: "debt_to_income_ratio is above the range of the baseline in 100 % of rows",
    };
    let served = Story {
        changes: &[CARS, REPAID],
        follow: &FOLLOW,
    };
    let faulty = Story {
        changes: &[percent, CARS, REPAID],
        follow: &FOLLOW,
    };
    check("loans", &served, &faulty);
}

#[test]
fn oil_that_was_never_as_dear_is_told_and_so_are_cents() {
    let dear = Change {
        column: "price",
        opened: ("2004-10-01", "2005-08-01"),
        says: "price is above the range of the baseline",
    };
    let cents = Change {
        column: "price",
        opened: ("2002-01-01", "2002-02-15"),
        says: "price is above the range of the baseline in 100 % of rows",
    };
    let served = Story {
        changes: &[dear],
        follow: &["score"],
    };
    let faulty = Story {
        changes: &[cents],
        follow: &["score"],
    };
    check("oil", &served, &faulty);
}
