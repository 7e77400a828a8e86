//! Times as people write them: ISO 8601, day/month/year and month/day/year, with or without a time of
//! day. A value may fit several formats; the column decides. Knows no time zone but fixed offsets.

#[cfg(test)]
mod tests;

use chrono::NaiveDate;

/// The formats that a time may fit.
pub(super) const YEAR_FIRST: u8 = 1;
pub(super) const DAY_FIRST: u8 = 2;
pub(super) const MONTH_FIRST: u8 = 4;
/// A year of two digits first.
pub(super) const SHORT_YEAR_FIRST: u8 = 8;
/// All of them.
pub(super) const ANY_ORDER: u8 = YEAR_FIRST | DAY_FIRST | MONTH_FIRST | SHORT_YEAR_FIRST;

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
    /// Microseconds since 1970 by the day first, the month first and the year first.
    micros: [i64; 3],
    /// Whether it has an offset from UTC.
    pub zoned: bool,
    /// Whether it has a time of day.
    pub clock: bool,
    /// Whether dashes stand between day, month and year.
    pub dashes: bool,
}

impl WrittenTime {
    /// Returns microseconds since 1970, UTC, in a format. `offset` is that of times without one, in
    /// seconds.
    pub(super) fn micros(&self, format: u8, offset: i32) -> i64 {
        let offset = if self.zoned { 0 } else { i64::from(offset) };
        self.micros[place(format)] - offset * 1_000_000
    }
}

/// Returns the place of a format's microseconds.
pub(super) fn place(format: u8) -> usize {
    match format {
        DAY_FIRST => 0,
        MONTH_FIRST => 1,
        _ => 2,
    }
}

/// Reads an offset from UTC, such as `+02:00`, in seconds.
pub(super) fn zone(text: &str) -> Option<i32> {
    let mut rest = text.as_bytes();
    let seconds = offset(&mut rest)??;
    i32::try_from(seconds).ok().filter(|_| rest.is_empty())
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
    let WrittenDate {
        formats,
        days,
        mark,
    } = date(&mut rest)?;
    let clock = !rest.is_empty();
    let (micros, zoned) = if clock {
        take(&mut rest, b"Tt ,")?;
        blanks(&mut rest);
        time_of_day(rest)?
    } else {
        (0, false)
    };
    let micros = days.map(|day| day.unwrap_or_default() * DAY_MICROS + micros);
    Some(WrittenTime {
        formats,
        micros,
        zoned,
        clock,
        dashes: mark == b'-',
    })
}

/// A date as it is written.
struct WrittenDate {
    formats: u8,
    /// Days since 1970 by the day first, the month first and the year first.
    days: [Option<i64>; 3],
    mark: u8,
}

fn date(text: &mut &[u8]) -> Option<WrittenDate> {
    let (first, length) = digits(text, 4)?;
    let mark = take(text, b"-/.")?;
    let (second, second_length) = digits(text, 2)?;
    take(text, &[mark])?;

    if length == 4 {
        let (third, _) = digits(text, 2)?;
        let day = days(first, second, third)?;
        return Some(WrittenDate {
            formats: YEAR_FIRST,
            days: [Some(day); 3],
            mark,
        });
    }
    if length > 2 || second_length > 2 {
        return None;
    }
    let (third, third_length) = digits(text, 4)?;
    let year = match third_length {
        4 => third,
        2 => century(third),
        _ => return None,
    };
    // With points the day is first, wherever such dates are written.
    let is_slashed = mark != b'.';
    let is_short = is_slashed && length == 2 && third_length == 2;
    let all = [
        days(year, second, first),
        days(year, first, second).filter(|_| is_slashed),
        days(century(first), second, third).filter(|_| is_short),
    ];
    let formats = [DAY_FIRST, MONTH_FIRST, SHORT_YEAR_FIRST];
    let fits = formats.iter().zip(&all).filter(|(_, day)| day.is_some());
    let formats = fits.fold(0, |fits, (format, _)| fits | format);
    (formats != 0).then_some(WrittenDate {
        formats,
        days: all,
        mark,
    })
}

/// Returns the year of two digits.
fn century(year: u32) -> u32 {
    match year {
        ..=CENTURY_LAST => 2000 + year,
        _ => 1900 + year,
    }
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
