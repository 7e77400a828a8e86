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
        ("24-01-31", SHORT_YEAR_FIRST, "2024-01-31 00:00:00"),
        ("24/01/31 7:05 pm", SHORT_YEAR_FIRST, "2024-01-31 19:05:00"),
        ("3/31/2024, 2:30:00 PM", MONTH_FIRST, "2024-03-31 14:30:00"),
        ("2024/3/1", YEAR_FIRST, "2024-03-01 00:00:00"),
    ] {
        let found = time(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        let expected = NaiveDateTime::parse_from_str(expected, "%Y-%m-%d %H:%M:%S%.f");
        let expected = expected.expect("a time").and_utc().timestamp_micros();
        assert_eq!(found.micros(format, 0), expected, "{text}");
        assert!(found.formats & format != 0, "{text}");
    }
}

#[test]
fn a_value_fits_every_order_that_makes_a_date_of_it() {
    for (text, formats) in [
        ("01/02/2023", DAY_FIRST | MONTH_FIRST),
        ("01/02/03", DAY_FIRST | MONTH_FIRST | SHORT_YEAR_FIRST),
        ("25-12-23", DAY_FIRST | SHORT_YEAR_FIRST),
        ("12/31/23", MONTH_FIRST),
        ("99-12-31", SHORT_YEAR_FIRST),
        ("01.02.2023", DAY_FIRST),
        ("01.02.03", DAY_FIRST),
        ("2023-02-01", YEAR_FIRST),
    ] {
        let found = time(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(found.formats, formats, "{text}");
    }
    assert_eq!(time(b"2.29.2024"), None, "with points the day is first");
}

#[test]
fn a_zone_moves_only_times_without_an_offset() {
    assert_eq!(zone("+02:00"), Some(7_200));
    assert_eq!((zone("-0330"), zone("UTC")), (Some(-12_600), Some(0)));
    for text in ["", "Europe/Berlin", "02:00", "+02:00x", "+19:00"] {
        assert_eq!(zone(text), None, "{text}");
    }
    let micros = |text: &str| time(text.as_bytes()).map(|t| t.micros(YEAR_FIRST, 7_200));
    assert_eq!(
        micros("2024-03-01T02:00"),
        micros("2024-03-01T00:00Z"),
        "naive times are local"
    );
    assert_eq!(micros("2024-03-01T00:00+02:00"), micros("2024-03-01"));
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
