//! Tests of `derivation`.

use super::*;
use chrono::{DateTime, Datelike, Timelike};

#[test]
fn parts_of_a_time_are_those_of_the_calendar() {
    let mut seconds = -3_000_000_000_i64;
    while seconds < 9_000_000_000 {
        let time = DateTime::from_timestamp(seconds, 0).expect("a time");
        let expected = [
            time.minute(),
            time.hour(),
            time.weekday().num_days_from_monday(),
            time.day(),
            time.month(),
        ];
        for ((name, part), expected) in CalendarPart::ALL.into_iter().zip(expected) {
            assert_eq!(
                part.of(seconds as f64),
                f64::from(expected),
                "{name} {time}"
            );
        }
        assert_eq!(
            CalendarPart::Year.of(seconds as f64),
            f64::from(time.year())
        );
        let days = seconds.div_euclid(86_400) as f64;
        assert_eq!(CalendarPart::Days.of(seconds as f64), days);
        // No divisor of a day, so that all times of day come.
        seconds += 400_009;
    }
}

#[test]
fn the_last_moment_of_an_hour_is_in_it() {
    let part = |part, per_second, zone| Derivation {
        source: "when".to_owned(),
        how: DerivedValue::Part {
            part,
            per_second,
            zone,
        },
    };
    let hour = part(CalendarPart::Hour, 1.0, 0.0);
    assert_eq!(hour.value(86_400.0 * 20_000.0 - 1e-6, 0.0), 23.0);
    assert_eq!(hour.value(86_400.0 * 20_000.0, 0.0), 0.0);
    assert!(hour.value(f64::NAN, 0.0).is_nan());
    // Milliseconds of a zone: 23:30 UTC is 1:30 of the next day.
    let at = 1_000.0 * (86_400.0 * 4.0 + 84_600.0);
    assert_eq!(part(CalendarPart::Hour, 1e3, 7_200.0).value(at, 0.0), 1.0);
    let weekday = |zone| part(CalendarPart::Weekday, 1e3, zone).value(at, 0.0);
    assert_eq!((weekday(0.0), weekday(7_200.0)), (0.0, 1.0), "a Monday");
}

#[test]
fn days_until_are_whole_and_a_shift_is_exact() {
    let age = Derivation {
        source: "joined".to_owned(),
        how: DerivedValue::DaysUntil {
            until: "at".to_owned(),
            per_second: 1.0,
            until_per_second: 1e3,
        },
    };
    assert_eq!(age.until(), Some("at"));
    assert_eq!(age.value(0.0, (2.0 * DAY - 1.0) * 1e3), 1.0);
    assert_eq!(age.value(0.0, 2.0 * DAY * 1e3), 2.0);
    assert_eq!(age.value(DAY, 0.0), -1.0);
    let shift = Derivation {
        source: "n".to_owned(),
        how: DerivedValue::Minus(4e11),
    };
    assert_eq!(shift.value(400_000_000_001.0, 0.0), 1.0);
}
