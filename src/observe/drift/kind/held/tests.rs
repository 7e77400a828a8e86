//! Tests of `held`.

use super::*;
use crate::observe::drift::facts::ColumnFacts;
use crate::observe::drift::kind::find_kind;
use crate::observe::drift::series::ColumnSeries;

/// A year of hours: the hour and the day of each row.
fn year() -> impl Iterator<Item = (usize, usize)> {
    (0..8_760).map(|row| (row % 24, row / 24))
}

fn held_days(name: &str, values: Vec<f64>) -> Option<f64> {
    let found = find_kind(name, &ColumnSeries::Numbers(values), ColumnFacts::default());
    let seconds = found.held_max_s?;
    Some(seconds as f64 / DAY_S as f64)
}

#[test]
fn a_unit_of_the_calendar_may_stay_until_it_changes() {
    let day = 26.0 / 24.0;
    let of = |name: &str, value: &dyn Fn((usize, usize)) -> usize| {
        held_days(name, year().map(|at| value(at) as f64).collect())
    };
    assert_eq!(of("hour", &|(hour, _)| hour), Some(day));
    assert_eq!(of("weekday", &|(_, day)| day % 7), Some(8.0));
    assert_eq!(of("month", &|(_, day)| 1 + (day / 31).min(11)), Some(32.0));
    assert_eq!(of("season", &|(_, day)| 1 + (day / 92).min(3)), Some(95.0));
    assert_eq!(of("day", &|(_, day)| 1 + day % 31), Some(day));
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun"];
    let words = (0..4_320).map(|row| months[row / 720].to_owned()).collect();
    let found = find_kind("mnth", &ColumnSeries::Words(words), ColumnFacts::default());
    assert_eq!(found.held_max_s, Some(32 * DAY_S));
}

#[test]
fn a_flag_of_the_week_may_stay_for_a_week_and_a_rare_one_for_ever() {
    let working = year()
        .map(|(_, day)| f64::from(u8::from(day % 7 < 4)))
        .collect();
    assert_eq!(
        held_days("busy", working),
        None,
        "four days of seven are over half of the rows"
    );
    let of_three = year().map(|(_, day)| (day % 7 / 3) as f64).collect();
    assert_eq!(held_days("plan", of_three), Some(8.0));
    let holiday = year()
        .map(|(_, day)| f64::from(u8::from(day % 45 == 0)))
        .collect();
    assert_eq!(held_days("holiday", holiday), None);
}

#[test]
fn a_value_that_changes_from_hour_to_hour_may_stay_for_a_day() {
    let daily = year().map(|(hour, day)| (hour as f64 / 3.8).sin() * 10.0 + (day % 9) as f64);
    assert_eq!(held_days("temp", daily.collect()), Some(26.0 / 24.0));
    let mostly_dry = year().map(|(hour, day)| if day % 9 == 0 { hour as f64 * 0.3 } else { 0.0 });
    assert_eq!(held_days("rain", mostly_dry.collect()), None);
}

#[test]
fn a_value_that_stays_for_long_in_the_baseline_has_no_limit() {
    let quarters = (0..8_000).map(|row| f64::from(row / 1_000) * 0.5).collect();
    assert_eq!(held_days("price", quarters), None);
}
