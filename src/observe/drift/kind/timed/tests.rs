//! Tests of `timed`: columns that the times of the rows tell, and columns that only seem so.

use super::*;
use crate::core::hash::SplitMix;

/// A Sunday at midnight in UTC, in winter.
const START: i64 = 1_767_484_800;

/// Times of `rows` rows over some days, in order.
fn times(rows: i64, days: i64) -> Vec<i64> {
    (0..rows)
        .map(|row| START + row * days * DAY_S / rows)
        .collect()
}

/// Times in Central Europe, whose clocks change at the end of March.
fn local(time: i64) -> i64 {
    let is_summer = time > START + 84 * DAY_S;
    time + if is_summer { 2 } else { 1 } * HOUR_S
}

fn numbers(times: &[i64], of: impl Fn(i64) -> f64) -> ColumnSeries {
    ColumnSeries::Numbers(times.iter().map(|time| of(*time)).collect())
}

fn random() -> impl FnMut() -> f64 {
    let mut random = SplitMix(5);
    move || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[test]
fn hours_and_weekdays_are_told_whatever_their_names_and_words() {
    let times = times(5_000, 180);
    let hour = numbers(&times, |time| (local(time) / HOUR_S % 24) as f64);
    assert_eq!(follows(&hour, &times).and_then(|(_, n)| n), Some(24.0));

    let names = ["So", "Po", "Út", "St", "Čt", "Pá", "Ne"];
    let day = |time: &i64| names[(local(*time) / DAY_S).rem_euclid(7) as usize].to_owned();
    let weekday = ColumnSeries::Words(times.iter().map(day).collect());
    assert_eq!(follows(&weekday, &times).and_then(|(_, n)| n), Some(7.0));

    let is_night = numbers(&times, |time| {
        f64::from(u8::from(!(6..22).contains(&(local(time) / HOUR_S % 24))))
    });
    let (reason, length) = follows(&is_night, &times).expect("follows the hour");
    assert!(reason.contains("hour of the day"), "{reason}");
    assert_eq!(length, None, "a flag may stay as long as its hours do");
}

#[test]
fn two_years_tell_a_month() {
    let times = times(8_000, 800);
    let month = numbers(&times, |time| {
        DateTime::from_timestamp(time, 0).map_or(0.0, |at| at.month().into())
    });
    assert_eq!(follows(&month, &times).and_then(|(_, n)| n), Some(12.0));
}

#[test]
fn columns_that_change_on_their_own_do_not_follow_the_clock() {
    let days = 30;
    let times = times(6_000, days);
    let mut next = random();
    let region = ColumnSeries::Words(
        times
            .iter()
            .map(|_| format!("{:.0}", 3.0 * next()))
            .collect(),
    );
    let rare = ColumnSeries::Numbers(
        times
            .iter()
            .map(|_| f64::from(u8::from(next() < 0.02)))
            .collect(),
    );
    // One campaign after the other, and one that ran for half of the time.
    let campaign = numbers(&times, |time| ((time - START) / (6 * DAY_S)) as f64);
    let half = numbers(&times, |time| {
        f64::from(u8::from(time > START + days * DAY_S / 2))
    });
    // The last week has most rows, and another value.
    let growing: Vec<i64> = (0..6_000)
        .map(|row| {
            START
                + if row < 600 {
                    row * 2_500
                } else {
                    1_500_000 + (row - 600) * 150
                }
        })
        .collect();
    let new = numbers(&growing, |time| {
        f64::from(u8::from(time > START + 1_500_000))
    });
    let noisy_hour = ColumnSeries::Numbers(
        times
            .iter()
            .map(|time| ((time / HOUR_S % 24) as f64 / 8.0).floor() + (next() * 1.5).floor())
            .collect(),
    );
    for (name, series, times) in [
        ("region", &region, &times),
        ("rare", &rare, &times),
        ("campaign", &campaign, &times),
        ("half", &half, &times),
        ("new", &new, &growing),
        ("noisy", &noisy_hour, &times),
    ] {
        assert_eq!(follows(series, times), None, "{name}");
    }
}

#[test]
fn too_short_a_time_tells_nothing() {
    let times = times(2_000, 2);
    let hour = numbers(&times, |time| (time / HOUR_S % 24) as f64);
    assert_eq!(follows(&hour, &times), None, "two days");
    assert_eq!(follows(&hour, &[]), None, "no times");
}
