//! Features that are computed from an FP64 input of the model: parts of a time, days between two times,
//! and numbers that are shifted before FP32 rounds them. The exported graph computes the same, operation
//! by operation. Knows no graph and no file.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// Seconds of a day.
pub const DAY: f64 = 86_400.0;

/// How a feature is computed from an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Derivation {
    /// The input, which is FP64.
    pub source: String,
    /// What is computed from it.
    pub how: DerivedValue,
}

/// What is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DerivedValue {
    /// The number minus a constant.
    Minus(f64),
    /// A part of a time.
    Part {
        /// Which part.
        part: CalendarPart,
        /// How many of the input's unit are a second.
        per_second: f64,
        /// The offset from UTC in seconds.
        zone: f64,
    },
    /// Whole days from a time until another, in the unit of each.
    DaysUntil {
        /// The input with the other time.
        until: String,
        /// How many of the input's unit are a second.
        per_second: f64,
        /// How many of the other input's unit are a second.
        until_per_second: f64,
    },
}

/// A part of a time. All are whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalendarPart {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 0 for Monday to 6 for Sunday.
    Weekday,
    /// The day of the month, 1 to 31.
    Day,
    /// 1 to 12.
    Month,
    /// The year.
    Year,
    /// Days since 1970-01-01.
    Days,
}

impl CalendarPart {
    /// Its parts with their names in the specification.
    pub const ALL: [(&'static str, Self); 7] = [
        ("minute", Self::Minute),
        ("hour", Self::Hour),
        ("weekday", Self::Weekday),
        ("day", Self::Day),
        ("month", Self::Month),
        ("year", Self::Year),
        ("days", Self::Days),
    ];

    /// Returns the part of a time in seconds since 1970. Every step is exact for whole numbers.
    pub fn of(self, seconds: f64) -> f64 {
        let days = (seconds / DAY).floor();
        match self {
            Self::Days => days,
            Self::Weekday => {
                // 1970-01-01 was a Thursday.
                let from_monday = days + 3.0;
                from_monday - (from_monday / 7.0).floor() * 7.0
            }
            Self::Hour => ((seconds - days * DAY) / 3_600.0).floor(),
            Self::Minute => {
                let minutes = (seconds / 60.0).floor();
                minutes - (minutes / 60.0).floor() * 60.0
            }
            Self::Day | Self::Month | Self::Year => self.of_date(days),
        }
    }

    /// Returns a part of a date by the civil calendar: years begin in March, so that the leap day is
    /// last, and 400 of them have 146,097 days.
    fn of_date(self, days: f64) -> f64 {
        let shifted = days + 719_468.0;
        let era = (shifted / 146_097.0).floor();
        let of_era = shifted - era * 146_097.0;
        let leaps =
            (of_era / 1_460.0).floor() - (of_era / 36_524.0).floor() + (of_era / 146_096.0).floor();
        let year = ((of_era - leaps) / 365.0).floor();
        let before = year * 365.0 + (year / 4.0).floor() - (year / 100.0).floor();
        let of_year = of_era - before;
        let month = ((of_year * 5.0 + 2.0) / 153.0).floor();
        let is_next = (month / 10.0).floor();
        match self {
            Self::Year => era * 400.0 + year + is_next,
            Self::Month => month + 3.0 - is_next * 12.0,
            _ => of_year - ((month * 153.0 + 2.0) / 5.0).floor() + 1.0,
        }
    }
}

impl Derivation {
    /// Returns the input besides the first, if there is one.
    pub fn until(&self) -> Option<&str> {
        match &self.how {
            DerivedValue::DaysUntil { until, .. } => Some(until),
            DerivedValue::Minus(_) | DerivedValue::Part { .. } => None,
        }
    }

    /// Computes the feature. `until` is the value of the other input.
    pub fn value(&self, source: f64, until: f64) -> f32 {
        let value = match &self.how {
            DerivedValue::Minus(constant) => source - constant,
            DerivedValue::Part {
                part,
                per_second,
                zone,
            } => part.of((source / per_second).floor() + zone),
            DerivedValue::DaysUntil {
                per_second,
                until_per_second,
                ..
            } => ((until / until_per_second - source / per_second) / DAY).floor(),
        };
        value as f32
    }
}
