//! Times as people write them: ISO 8601, day/month/year and month/day/year, with or without a time of
//! day. A value may fit two formats; the column decides. Knows no time zone but fixed offsets.

#[cfg(test)]
mod tests;

use chrono::NaiveDate;

/// The formats that a time may fit.
pub(super) const YEAR_FIRST: u8 = 1;
pub(super) const DAY_FIRST: u8 = 2;
pub(super) const MONTH_FIRST: u8 = 4;
/// All of them.
pub(super) const ANY_ORDER: u8 = YEAR_FIRST | DAY_FIRST | MONTH_FIRST;

const DAY_MICROS: i64 = 86_400_000_000;
/// The number of 1970-01-01, counted from the year 1.
const EPOCH_DAYS: i64 = 719_163;
/// Years of two digits up to this one are of this century.
const CENTURY_LAST: u32 = 68;

/// A time as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrittenTime {
    /// The formats that it fits.
    pub formats: u8,
    /// Microseconds since 1970 by the day first, and by the month first; the same if the year is first.
    micros: [i64; 2],
    /// Whether it has an offset from UTC.
    pub zoned: bool,
}

impl WrittenTime {
    /// Returns microseconds since 1970, UTC, in a format.
    pub(super) fn micros(&self, format: u8) -> i64 {
        self.micros[usize::from(format == MONTH_FIRST)]
    }
}

/// Reads digits, and takes them off the text.
fn digits(text: &mut &[u8], most: usize) -> Option<(u32, usize)> {
    let mut value = 0;
    let mut length = 0;
    while length < most
        && let Some(digit) = text.get(length).filter(|b| b.is_ascii_digit())
    {
        value = value * 10 + u32::from(digit - b'0');
        length += 1;
    }
    *text = &text[length..];
    (length > 0).then_some((value, length))
}

fn take(text: &mut &[u8], accepted: &[u8]) -> Option<u8> {
    let (first, rest) = text.split_first()?;
    if !accepted.contains(first) {
        return None;
    }
    *text = rest;
    Some(*first)
}

fn blanks(text: &mut &[u8]) {
    while take(text, b" ").is_some() {}
}

/// Reads a time.
pub(super) fn time(text: &[u8]) -> Option<WrittenTime> {
    let mut rest = text;
    // Most values that are no time end here.
    if !rest.first()?.is_ascii_digit() {
        return None;
    }
    let (formats, days) = date(&mut rest)?;
    let (micros, zoned) = if rest.is_empty() {
        (0, false)
    } else {
        take(&mut rest, b"Tt ")?;
        blanks(&mut rest);
        time_of_day(rest)?
    };
    let micros = days.map(|day| day.unwrap_or_default() * DAY_MICROS + micros);
    Some(WrittenTime {
        formats,
        micros,
        zoned,
    })
}

/// Reads a date, as days since 1970 by the day first and by the month first.
fn date(text: &mut &[u8]) -> Option<(u8, [Option<i64>; 2])> {
    let (first, length) = digits(text, 4)?;
    let mark = take(text, b"-/.")?;
    let (second, second_length) = digits(text, 2)?;
    take(text, &[mark])?;

    if length == 4 {
        let (third, _) = digits(text, 2)?;
        let day = days(first, second, third)?;
        return Some((YEAR_FIRST, [Some(day); 2]));
    }
    if length > 2 || second_length > 2 {
        return None;
    }
    let (year, year_length) = digits(text, 4)?;
    let year = match year_length {
        4 => year,
        2 if year <= CENTURY_LAST => 2000 + year,
        2 => 1900 + year,
        _ => return None,
    };
    let both = [days(year, second, first), days(year, first, second)];
    let formats = match both {
        [Some(_), Some(_)] => DAY_FIRST | MONTH_FIRST,
        [Some(_), None] => DAY_FIRST,
        [None, Some(_)] => MONTH_FIRST,
        [None, None] => return None,
    };
    Some((formats, both))
}

fn days(year: u32, month: u32, day: u32) -> Option<i64> {
    let date = NaiveDate::from_ymd_opt(year.cast_signed(), month, day)?;
    let days = chrono::Datelike::num_days_from_ce(&date);
    Some(i64::from(days) - EPOCH_DAYS)
}

/// Reads a time of day as microseconds, with its offset taken off.
fn time_of_day(text: &[u8]) -> Option<(i64, bool)> {
    let mut rest = text;
    let (mut hour, _) = digits(&mut rest, 2)?;
    take(&mut rest, b":")?;
    let minute = digits(&mut rest, 2).filter(|(_, length)| *length == 2)?.0;
    let mut second = 0;
    let mut fraction = 0;
    if take(&mut rest, b":").is_some() {
        second = digits(&mut rest, 2).filter(|(_, length)| *length == 2)?.0;
        if take(&mut rest, b".,").is_some() {
            let (value, length) = digits(&mut rest, 6)?;
            fraction = value * 10_u32.pow(6 - u32::try_from(length).ok()?);
            // Beyond microseconds.
            digits(&mut rest, 9);
        }
    }

    blanks(&mut rest);
    if let Some(half) = take(&mut rest, b"aApP") {
        take(&mut rest, b"mM")?;
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if matches!(half, b'p' | b'P') { 12 } else { 0 };
        blanks(&mut rest);
    }
    let offset = offset(&mut rest)?;
    // A minute may have a leap second.
    if hour > 23 || minute > 59 || second > 60 || !rest.is_empty() {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second) - offset.unwrap_or(0);
    Some((seconds * 1_000_000 + i64::from(fraction), offset.is_some()))
}

/// Reads an offset from UTC in seconds, if there is one.
fn offset(text: &mut &[u8]) -> Option<Option<i64>> {
    if text.is_empty() {
        return Some(None);
    }
    if take(text, b"zZ").is_some() {
        return Some(Some(0));
    }
    for name in [&b"UTC"[..], b"GMT"] {
        if let Some(rest) = text.strip_prefix(name) {
            *text = rest;
            return Some(Some(0));
        }
    }

    let sign = take(text, b"+-")?;
    let hours = digits(text, 2).filter(|(_, length)| *length == 2)?.0;
    take(text, b":");
    let minutes = match text.is_empty() {
        true => 0,
        false => digits(text, 2).filter(|(_, length)| *length == 2)?.0,
    };
    if hours > 18 || minutes > 59 {
        return None;
    }
    let seconds = i64::from(hours * 3600 + minutes * 60);
    Some(Some(if sign == b'-' { -seconds } else { seconds }))
}
