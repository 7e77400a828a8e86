//! What was seen of a column so far: how many values may be of each kind, which formats fit all of them,
//! and the first value that is not of a kind. Parts of a file are tallied apart and merged.

use super::cell::{CellForm, form};
use super::format::TextRules;
use super::number::{DECIMAL_COMMA, DECIMAL_POINT, NumberValue, SignedNumber, WrittenNumber};
use super::place::{FirstCell, KindCount, RowPlace, ValueExtent};
use super::time_tally::{TimeFacts, TimeTally};

/// The different words that are kept for the report.
const WORDS_KEPT: usize = 5;
/// The different values that are counted; more are many.
const DIFFERENT_MAX: usize = 21;

/// What was seen of numbers. Pairs are for a decimal point and for a decimal comma.
#[derive(Clone, Debug)]
pub(super) struct NumberTally {
    /// The formats that fit all of them.
    pub formats: u8,
    pub extent: [ValueExtent<f64>; 2],
    /// Whether any has decimals.
    pub fraction: [bool; 2],
    /// Whether any has a mark or decimals.
    pub marks: bool,
    pub negative: bool,
    /// Whether any is beyond `i64`, and whether any is beyond `u64` or too small.
    pub large: bool,
    pub long: bool,
    pub zeros: KindCount,
    pub percent: KindCount,
    pub bare: KindCount,
    /// The first currency and whether there is another.
    pub currency: Option<u8>,
    pub currencies_differ: bool,
    /// The first values that fit only a decimal point, and only a decimal comma.
    pub only: [KindCount; 2],
}

/// What was seen of a column.
#[derive(Clone, Debug)]
pub(crate) struct TextTally {
    pub(super) missing: u64,
    /// How often each token of the rules stood for a missing value.
    pub(super) tokens: Vec<u64>,
    pub(super) bools: KindCount,
    pub(super) numbers: KindCount,
    pub(super) times: KindCount,
    pub(super) words: KindCount,
    pub(super) number: NumberTally,
    pub(super) time: TimeTally,
    /// Whether each value is the index of its row.
    pub(super) counts_rows: bool,
    /// Some different words, in the order of the file.
    pub(super) some_words: Vec<FirstCell>,
    /// Different numbers and different words.
    pub(super) different: [FewDifferent; 2],
}

/// Counts different values up to [`DIFFERENT_MAX`], by their hashes. The count does not depend on how
/// a file was parted.
#[derive(Clone, Debug, Default)]
pub(super) struct FewDifferent {
    hashes: Vec<u64>,
}

impl FewDifferent {
    fn add(&mut self, field: &[u8]) {
        if self.hashes.len() < DIFFERENT_MAX {
            // FNV-1a.
            let hash = field.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, b| {
                (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
            });
            self.add_hash(hash);
        }
    }

    fn add_hash(&mut self, hash: u64) {
        if self.hashes.len() < DIFFERENT_MAX && !self.hashes.contains(&hash) {
            self.hashes.push(hash);
        }
    }

    /// Returns the count; none if it is many.
    pub(super) fn few(&self) -> Option<usize> {
        (self.hashes.len() < DIFFERENT_MAX).then_some(self.hashes.len())
    }
}

impl NumberTally {
    fn new(formats: u8) -> Self {
        let none = ValueExtent {
            least: f64::INFINITY,
            most: f64::NEG_INFINITY,
        };
        Self {
            formats,
            extent: [none; 2],
            fraction: [false; 2],
            marks: false,
            negative: false,
            large: false,
            long: false,
            zeros: KindCount::default(),
            percent: KindCount::default(),
            bare: KindCount::default(),
            currency: None,
            currencies_differ: false,
            only: [KindCount::default(), KindCount::default()],
        }
    }

    /// Adds a number in the formats of one decimal mark.
    fn add(&mut self, side: usize, found: WrittenNumber) {
        self.extent[side].add(found.value.number());
        match found.value {
            NumberValue::Whole { negative, size } => {
                self.negative |= negative && size > 0;
                self.large |= !negative && size > i64::MAX.unsigned_abs();
                self.long |= negative && size > i64::MIN.unsigned_abs();
            }
            NumberValue::Long => self.long = true,
            NumberValue::Fraction(_) => self.fraction[side] = true,
        }
    }

    fn plain(&mut self, found: WrittenNumber, place: RowPlace, field: &[u8]) {
        self.only(found.formats, place, field);
        let before = self.formats;
        self.formats &= found.formats;
        if found.zeros {
            self.zeros.add(place, field);
        }
        if found.formats == u8::MAX {
            self.add(0, found);
            self.add(1, found);
            return;
        }
        self.marks = true;
        self.add(0, found);
        // Three decimals may be thousands: `1.234`.
        if before & found.formats & DECIMAL_COMMA != 0 {
            let thousands = (found.value.number() * 1000.0).round();
            let whole = NumberValue::Whole {
                negative: thousands < 0.0,
                size: thousands.abs() as u64,
            };
            let found = WrittenNumber {
                value: whole,
                ..found
            };
            self.add(1, found);
        }
    }

    /// Adds a number with signs or marks. False if it fits no format.
    fn signed(&mut self, found: &SignedNumber, place: RowPlace, field: &[u8]) -> bool {
        let (all, mut values) = found.fits(u8::MAX);
        if all == 0 {
            return false;
        }
        let fit = all & self.formats;
        if fit != 0 && fit != all {
            values = found.fits(fit).1;
        }
        self.only(all, place, field);
        self.formats &= all;
        self.marks |= found.has_marks();
        for (side, value) in values.into_iter().enumerate() {
            if let Some(value) = value {
                self.add(side, value);
            }
        }
        if let Some(currency) = found.currency {
            self.currencies_differ |= self.currency.is_some_and(|known| known != currency);
            self.currency.get_or_insert(currency);
        }
        match found.percent {
            true => self.percent.add(place, field),
            false => self.bare.add(place, field),
        }
        true
    }

    /// Remembers the first numbers that only one decimal mark explains.
    fn only(&mut self, formats: u8, place: RowPlace, field: &[u8]) {
        let side = match (formats & DECIMAL_POINT, formats & DECIMAL_COMMA) {
            (0, _) => 1,
            (_, 0) => 0,
            _ => return,
        };
        self.only[side].add(place, field);
    }

    fn merge(&mut self, other: Self) {
        self.formats &= other.formats;
        for side in 0..2 {
            self.extent[side].merge(other.extent[side]);
            self.fraction[side] |= other.fraction[side];
        }
        self.marks |= other.marks;
        self.negative |= other.negative;
        self.large |= other.large;
        self.long |= other.long;
        self.zeros.merge(other.zeros);
        self.percent.merge(other.percent);
        self.bare.merge(other.bare);
        let differ = self
            .currency
            .zip(other.currency)
            .is_some_and(|(a, b)| a != b);
        self.currencies_differ |= other.currencies_differ || differ;
        self.currency = self.currency.or(other.currency);
        let [own_point, own_comma] = &mut self.only;
        let [point, comma] = other.only;
        own_point.merge(point);
        own_comma.merge(comma);
    }
}

impl TextTally {
    pub(super) fn new(rules: &TextRules) -> Self {
        Self {
            missing: 0,
            tokens: vec![0; rules.missing.len()],
            bools: KindCount::default(),
            numbers: KindCount::default(),
            times: KindCount::default(),
            words: KindCount::default(),
            number: NumberTally::new(rules.numbers),
            time: TimeTally::new(rules),
            counts_rows: true,
            some_words: Vec::new(),
            different: Default::default(),
        }
    }

    /// Adds the value of a row.
    pub(super) fn add(&mut self, field: &[u8], place: RowPlace, rules: &TextRules) {
        let mut is_index = false;
        match form(field, rules) {
            CellForm::Missing(token) => {
                self.missing += 1;
                if let Some(token) = token {
                    self.tokens[token] += 1;
                }
            }
            CellForm::Plain(found) => {
                self.numbers.add(place, field);
                self.number.plain(found, place, field);
                is_index = self.counts_rows && found.value.number() == place.row as f64;
                self.different[0].add(field);
            }
            CellForm::Signed(found) if self.number.signed(&found, place, field) => {
                self.numbers.add(place, field);
                self.different[0].add(field);
            }
            CellForm::Time(found) => {
                self.times.add(place, field);
                self.time.add(found);
                self.word(field, place);
            }
            CellForm::Bool => {
                self.bools.add(place, field);
                self.word(field, place);
            }
            CellForm::Signed(_) | CellForm::Word => {
                self.words.add(place, field);
                self.word(field, place);
                self.different[1].add(field);
            }
        }
        self.counts_rows &= is_index;
    }

    /// Keeps some different words.
    fn word(&mut self, field: &[u8], place: RowPlace) {
        let is_new = |known: &FirstCell| known.value.as_bytes() != field;
        if self.some_words.len() < WORDS_KEPT && self.some_words.iter().all(is_new) {
            self.some_words.push(FirstCell::new(place, field));
        }
    }

    /// Adds a later part of the column.
    pub(super) fn merge(&mut self, other: Self) {
        self.missing += other.missing;
        for (own, other) in self.tokens.iter_mut().zip(other.tokens) {
            *own += other;
        }
        self.bools.merge(other.bools);
        self.numbers.merge(other.numbers);
        self.times.merge(other.times);
        self.words.merge(other.words);
        self.number.merge(other.number);
        self.time.merge(other.time);
        self.counts_rows &= other.counts_rows;
        for word in other.some_words {
            match self
                .some_words
                .iter_mut()
                .find(|own| own.value == word.value)
            {
                Some(own) if word.place() < own.place() => *own = word,
                Some(_) => {}
                None => self.some_words.push(word),
            }
        }
        self.some_words.sort_by_key(FirstCell::place);
        self.some_words.truncate(WORDS_KEPT);
        for (own, other) in self.different.iter_mut().zip(other.different) {
            other.hashes.into_iter().for_each(|hash| own.add_hash(hash));
        }
    }

    /// Returns the number of values that are not missing.
    pub(super) fn present(&self) -> u64 {
        self.bools.rows + self.numbers.rows + self.times.rows + self.words.rows
    }

    /// Returns what a person should know of times; none if at most half of the values are times.
    pub(super) fn times(&self, rules: &TextRules) -> Option<TimeFacts> {
        let mut others = self.words.clone();
        others.merge(self.numbers.clone());
        others.merge(self.bools.clone());
        let is_time = self.times.rows > others.rows;
        is_time.then(|| self.time.facts(rules, &self.times, others))
    }
}
