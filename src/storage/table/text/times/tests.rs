//! Tests of `times`.

use super::*;
use chrono::NaiveDateTime;

#[test]
fn times_are_those_of_the_calendar() {
    for (text, format, expected) in [
        (
            "2024-02-29 23:59:59.999999",
            YEAR_FIRST,
            "2024-02-29 23:59:59.999999",
        ),
        ("2024-02-29T23:59:59,5", YEAR_FIRST, "2024-02-29 23:59:59.5"),
        ("2024-02-29T00:30+02:00", YEAR_FIRST, "2024-02-28 22:30:00"),
        (
            "2024-02-29T00:30:00-0330",
            YEAR_FIRST,
            "2024-02-29 04:00:00",
        ),
        ("2024-02-29 00:30:00 UTC", YEAR_FIRST, "2024-02-29 00:30:00"),
        ("1969-12-31 23:59:59", YEAR_FIRST, "1969-12-31 23:59:59"),
        ("29.2.2024", DAY_FIRST, "2024-02-29 00:00:00"),
        ("2/29/68 12:05 am", MONTH_FIRST, "2068-02-29 00:05:00"),
        ("31-12-69 12:05:06 PM", DAY_FIRST, "1969-12-31 12:05:06"),
    ] {
        let found = time(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        let expected = NaiveDateTime::parse_from_str(expected, "%Y-%m-%d %H:%M:%S%.f");
        let expected = expected.expect("a time").and_utc().timestamp_micros();
        assert_eq!(found.micros(format), expected, "{text}");
        assert!(found.formats & format != 0, "{text}");
    }
}

#[test]
fn what_is_no_time_is_none() {
    for text in [
        "",
        "2024",
        "2024-02",
        "2023-02-29",
        "2024-13-01",
        "00/00/2024",
        "1/2/3",
        "1/2/024",
        "12:30",
        "2024-02-01x",
        "2024-02-01 ",
        "2024-02-01 1",
        "2024-02-01 25:00",
        "2024-02-01 10:60",
        "2024-02-01 10:5",
        "2024-02-01 13:00 PM",
        "2024-02-01T10:00+9",
        "2024/02-01",
        "2024-02-01T10:00Zx",
        "1.234.567",
    ] {
        assert_eq!(time(text.as_bytes()), None, "{text}");
    }
}
