//! Times of ISO 8601 as numbers.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Times of ISO 8601 without an offset.
const TIMES: [&str; 4] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
];

/// The seconds since 1970 of a date or time in ISO 8601, as the trainer reads a column of times; UTC if it
/// has no offset.
pub fn seconds(text: &str) -> Option<f64> {
    let is_year = |bytes: &[u8]| bytes.len() > 4 && bytes[..4].iter().all(u8::is_ascii_digit);
    if !is_year(text.as_bytes()) || text.as_bytes()[4] != b'-' {
        return None;
    }
    let zoned = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
        .map(|time| time.naive_utc());
    let plain = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok();
    let day = || {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    };
    let time = zoned
        .ok()
        .or_else(|| TIMES.iter().find_map(plain))
        .or_else(day)?;
    let time = time.and_utc();
    // Whole microseconds, exactly as far as FP64 holds them.
    Some(time.timestamp_micros() as f64 / 1e6)
}
