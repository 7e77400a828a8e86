//! What was seen of the times of a column, and what a person should know of them: their order of day,
//! month and year, values that are no times, and the zone that was assumed.

use super::format::{DateOrder, TextRules};
use super::place::{FirstCell, KindCount, RowPlace, ValueExtent};
use super::times::{
    ANY_ORDER, DAY_FIRST, MONTH_FIRST, SHORT_YEAR_FIRST, WrittenTime, YEAR_FIRST, place, time,
};

/// What was seen of times.
#[derive(Clone, Debug)]
pub(super) struct TimeTally {
    /// The formats that fit all of them.
    formats: u8,
    /// By the day first, the month first and the year first.
    extent: [ValueExtent<i64>; 3],
    pub zoned: u64,
    clock: bool,
    dashes: bool,
    offset: i32,
}

/// What was understood of a column of times, or of words that are mostly times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFacts {
    /// The order of day, month and year; none if several fit, or no one fits all values.
    pub order: Option<DateOrder>,
    /// The orders that fit all values: more than one if `dates` has to be set.
    pub fits: Vec<DateOrder>,
    /// Values that are times, with the first of them.
    pub readable: u64,
    /// The first time.
    pub example: Option<FirstCell>,
    /// Values that are neither times nor missing.
    pub unreadable: u64,
    /// The first of them.
    pub first_unreadable: Option<FirstCell>,
    /// Times with an offset from UTC.
    pub zoned: u64,
    /// The offset from UTC in seconds that is taken for the others.
    pub zone: i32,
    /// Whether any has a time of day.
    pub clock: bool,
}

impl TimeFacts {
    /// Returns whether several orders of day, month and year fit all values.
    pub fn is_ambiguous(&self) -> bool {
        self.order.is_none() && self.fits.len() > 1
    }

    /// Looks at different words. None if at most half of them are times.
    pub fn of_words<'w>(words: impl Iterator<Item = &'w str>) -> Option<Self> {
        let rules = TextRules::default();
        let mut tally = TimeTally::new(&rules);
        let (mut times, mut others) = (KindCount::default(), KindCount::default());
        for (at, word) in words.enumerate() {
            let place = RowPlace {
                file: 0,
                line: at as u64 + 1,
                row: at as u64,
            };
            match time(word.trim().as_bytes()) {
                Some(found) => {
                    times.add(place, word.as_bytes());
                    tally.add(found);
                }
                None => others.add(place, word.as_bytes()),
            }
        }
        let is_time = times.rows > others.rows;
        is_time.then(|| tally.facts(&rules, &times, others))
    }

    /// Reads a word as microseconds since 1970, in the order of the column.
    pub fn read(&self, word: &str) -> Option<i64> {
        let format = format(self.order?);
        let found = time(word.trim().as_bytes())?;
        // Years of four digits are in the first place also where two digits would be.
        let fits = found.formats & format != 0;
        fits.then(|| found.micros(found.formats & format, self.zone))
    }
}

/// Returns the formats of an order.
fn format(order: DateOrder) -> u8 {
    match order {
        DateOrder::Dmy => DAY_FIRST,
        DateOrder::Mdy => MONTH_FIRST,
        DateOrder::Ymd => YEAR_FIRST | SHORT_YEAR_FIRST,
    }
}

impl TimeTally {
    pub(super) fn new(rules: &TextRules) -> Self {
        let none = ValueExtent {
            least: i64::MAX,
            most: i64::MIN,
        };
        Self {
            formats: ANY_ORDER,
            extent: [none; 3],
            zoned: 0,
            clock: false,
            dashes: false,
            offset: rules.zone,
        }
    }

    pub(super) fn add(&mut self, found: WrittenTime) {
        self.formats &= found.formats;
        let fits = |format: u8| found.formats & (YEAR_FIRST | format) != 0;
        for format in [DAY_FIRST, MONTH_FIRST, SHORT_YEAR_FIRST] {
            if fits(format) {
                self.extent[place(format)].add(found.micros(format, self.offset));
            }
        }
        self.zoned += u64::from(found.zoned);
        self.clock |= found.clock;
        self.dashes |= found.dashes;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.formats &= other.formats;
        for (own, other) in self.extent.iter_mut().zip(other.extent) {
            own.merge(other);
        }
        self.zoned += other.zoned;
        self.clock |= other.clock;
        self.dashes |= other.dashes;
    }

    /// Returns the least and the largest in a format.
    pub(super) fn extent(&self, format: u8) -> ValueExtent<i64> {
        self.extent[place(format)]
    }

    /// Returns the formats that fit all values, as far as the rules allow them.
    pub(super) fn fitting(&self, rules: &TextRules) -> u8 {
        match rules.dates {
            // An ISO date is never ambiguous.
            Some(order) => self.formats & (YEAR_FIRST | format(order)),
            // A year of two digits is rarely first, except with dashes, as a short ISO date.
            None if self.dashes => self.formats,
            None => self.formats & !SHORT_YEAR_FIRST,
        }
    }

    pub(super) fn facts(
        &self,
        rules: &TextRules,
        times: &KindCount,
        others: KindCount,
    ) -> TimeFacts {
        let fitting = self.fitting(rules);
        let fits = |order: &DateOrder| fitting & format(*order) != 0;
        let all = [DateOrder::Dmy, DateOrder::Mdy, DateOrder::Ymd];
        let fits: Vec<DateOrder> = all.into_iter().filter(fits).collect();
        TimeFacts {
            order: match fits.as_slice() {
                [only] => Some(*only),
                _ => None,
            },
            fits,
            readable: times.rows,
            example: times.first.clone(),
            unreadable: others.rows,
            first_unreadable: others.first,
            zoned: self.zoned,
            zone: self.offset,
            clock: self.clock,
        }
    }
}
