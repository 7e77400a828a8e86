//! Decides the type of each column of a text table from all of its values, and says why. Careful: where
//! the values leave two meanings, a column stays words, with the setting that decides it.

use super::column::TextTally;
use super::format::TextRules;
use super::number::{COMMA, DECIMAL_COMMA, DECIMAL_POINT, POINT, currency_name};
use super::place::{FirstCell, KindCount};
use super::time_tally::TimeFacts;
use crate::core::count::{agreed, counted};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextType {
    /// No row has a value.
    Missing,
    /// `true` and `false`.
    Bool,
    /// Whole numbers of 64 bits.
    Whole,
    /// Whole numbers of 64 bits, of which some are beyond `i64`.
    Unsigned,
    /// Numbers in double precision.
    Number,
    /// Times, in microseconds since 1970.
    Time {
        /// Whether the values have offsets from UTC.
        zoned: bool,
    },
    /// Text.
    Words,
}

impl TextType {
    /// Returns the name in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::Missing => "no value",
            Self::Bool => "boolean",
            Self::Whole | Self::Unsigned => "whole number",
            Self::Number => "number",
            Self::Time { .. } => "time",
            Self::Words => "words",
        }
    }
}

/// How the values of a column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnDecision {
    pub kind: TextType,
    /// The number format, or the order of a date; 0 for other types.
    pub format: u8,
}

/// What decides beside the values of the column.
pub(super) struct DecisionContext<'c> {
    pub rules: &'c TextRules,
    /// Names of the files, for messages.
    pub files: &'c [String],
    /// The decimal mark that other columns leave no doubt of: a set of number formats, or 0.
    pub decimal: u8,
    /// Whether the fields are separated by semicolons.
    pub semicolons: bool,
}

/// Returns the decimal mark that columns of numbers leave no doubt of; 0 if they differ, or do not tell.
pub(super) fn decimal<'t>(tallies: impl Iterator<Item = &'t TextTally>) -> u8 {
    let mut found = 0;
    for tally in tallies.filter(|tally| tally.numbers.rows == tally.present()) {
        let formats = tally.number.formats;
        if tally.number.marks {
            found |= match (formats & DECIMAL_POINT, formats & DECIMAL_COMMA) {
                (0, comma) => comma & DECIMAL_COMMA,
                (point, 0) => point & DECIMAL_POINT,
                _ => 0,
            };
        }
    }
    match (found & DECIMAL_POINT, found & DECIMAL_COMMA) {
        (0, 0) => 0,
        (_, 0) => DECIMAL_POINT,
        (0, _) => DECIMAL_COMMA,
        _ => 0,
    }
}

/// Why a column is words, and a note on other types.
struct TypeVerdict {
    decision: ColumnDecision,
    notes: Vec<String>,
}

fn words(why: impl Into<Option<String>>) -> TypeVerdict {
    verdict(TextType::Words, 0, why)
}

fn verdict(kind: TextType, format: u8, note: impl Into<Option<String>>) -> TypeVerdict {
    TypeVerdict {
        decision: ColumnDecision { kind, format },
        notes: note.into().into_iter().collect(),
    }
}

/// Decides the type of a column. Returns notes for a person as well.
pub(super) fn decide(
    tally: &TextTally,
    context: &DecisionContext<'_>,
) -> (ColumnDecision, Vec<String>) {
    let present = tally.present();
    let TypeVerdict {
        decision,
        mut notes,
    } = match present {
        0 => verdict(TextType::Missing, 0, None),
        n if tally.bools.rows == n => verdict(TextType::Bool, 0, None),
        n if tally.numbers.rows == n => numbers(tally, context),
        n if tally.times.rows == n => times(tally, context),
        _ => words(mixed(tally, context)),
    };

    let tokens = tally.tokens.iter().zip(&context.rules.missing);
    let tokens: Vec<String> = tokens
        .filter(|(count, _)| **count > 0)
        .map(|(count, token)| {
            let token = String::from_utf8_lossy(token);
            format!("'{token}' in {}", counted(*count, "row"))
        })
        .collect();
    if !tokens.is_empty() {
        notes.push(format!("read as missing: {}", tokens.join(", ")));
    }
    (decision, notes)
}

impl DecisionContext<'_> {
    /// Returns the value and the place of a cell.
    fn at(&self, count: &KindCount) -> String {
        match &count.first {
            Some(first) => self.cell(first),
            None => String::new(),
        }
    }

    fn cell(&self, first: &FirstCell) -> String {
        match self.files.get(first.file).filter(|_| self.files.len() > 1) {
            Some(file) => format!("'{}' ({file}, line {})", first.value, first.line),
            None => format!("'{}' (line {})", first.value, first.line),
        }
    }
}

fn numbers(tally: &TextTally, context: &DecisionContext<'_>) -> TypeVerdict {
    let number = &tally.number;
    if number.formats == 0 {
        return words(Some(incompatible(tally, context)));
    }
    if number.percent.rows > 0 && number.percent.rows < tally.numbers.rows {
        return words(format!(
            "it is words because only some values have a percent sign: {} of {}, first {}; write all of them in one way",
            number.percent.rows,
            tally.numbers.rows,
            context.at(&number.percent)
        ));
    }
    if number.currencies_differ {
        return words(
            "it is words because its values are in several currencies; write all of them in one"
                .to_owned(),
        );
    }
    if context.rules.zeros_are_words && number.zeros.rows > 0 {
        return words(format!(
            "it is words because {} {} with a 0, first {}; set leading_zeros = \"numbers\" if they are numbers",
            counted(number.zeros.rows, "value"),
            agreed(number.zeros.rows, "begins", "begin"),
            context.at(&number.zeros)
        ));
    }

    let (format, note) = match chosen(tally, context) {
        Ok(chosen) => chosen,
        Err(why) => return words(why),
    };
    let side = usize::from(format & DECIMAL_COMMA != 0);
    let kind = match (number.fraction[side], number.long, number.large) {
        (true, ..) => TextType::Number,
        (_, true, _) | (_, _, true) if number.long || number.negative => {
            return words(
                "it is words because some whole numbers are beyond 64 bits, which no number keeps exactly"
                    .to_owned(),
            );
        }
        (_, _, true) => TextType::Unsigned,
        _ => TextType::Whole,
    };
    let mut found = verdict(kind, format, note);
    found.notes.extend(signs(tally));
    found
}

/// Says which signs were taken off numbers.
fn signs(tally: &TextTally) -> Vec<String> {
    let mut notes = Vec::new();
    if tally.number.percent.rows > 0 {
        notes.push("percent signs are left out: 12 % is 12".to_owned());
    }
    if let Some(currency) = tally.number.currency {
        let name = currency_name(currency);
        notes.push(format!("the currency '{name}' is left out"));
    }
    notes
}

/// Chooses among the number formats that fit.
fn chosen(
    tally: &TextTally,
    context: &DecisionContext<'_>,
) -> Result<(u8, Option<String>), String> {
    let formats = tally.number.formats;
    let lowest = |formats: u8| formats & formats.wrapping_neg();
    let (point, comma) = (formats & DECIMAL_POINT, formats & DECIMAL_COMMA);
    if point == 0 || comma == 0 || !tally.number.marks {
        let format = if point == 0 { comma } else { point };
        return Ok((lowest(format), grouped(lowest(format))));
    }

    let example = tally
        .numbers
        .first
        .as_ref()
        .map(|first| first.value.as_str());
    let example = example.unwrap_or_default();
    let no_mark = formats & 1 != 0;
    match context.decimal {
        DECIMAL_POINT => Ok((lowest(point), grouped(lowest(point)))),
        DECIMAL_COMMA => Ok((
            lowest(comma),
            grouped(lowest(comma))
                .or_else(|| Some("the comma is its decimal mark, as in other columns".to_owned())),
        )),
        _ if no_mark => Ok((lowest(point), None)),
        // Such files come from where the comma is the decimal mark.
        _ if context.semicolons => Ok((
            lowest(comma),
            Some("the comma is taken as its decimal mark, since semicolons separate the fields; set 'decimal' to be sure".to_owned()),
        )),
        _ => Err(format!(
            "it is words because '{example}' may be thousands or decimals; set decimal = \".\" or decimal = \",\""
        )),
    }
}

/// Says which mark between thousands was taken off.
fn grouped(format: u8) -> Option<String> {
    let mark = match format {
        COMMA => "commas",
        POINT => "points",
        _ => return None,
    };
    Some(format!("its {mark} are marks between thousands"))
}

/// Says why numbers fit no common format.
fn incompatible(tally: &TextTally, context: &DecisionContext<'_>) -> String {
    let [point, comma] = &tally.number.only;
    if point.rows > 0 && comma.rows > 0 {
        return format!(
            "it is words because some numbers have a decimal point, first {}, and others a decimal comma, first {}; write all of them in one way",
            context.at(point),
            context.at(comma)
        );
    }
    let first = if point.rows > 0 { point } else { comma };
    if context.rules.numbers != u8::MAX && first.rows > 0 {
        return format!(
            "it is words because {} does not have the number format that is set; check 'decimal' and 'thousands'",
            context.at(first)
        );
    }
    "it is words because its numbers have several formats; set 'decimal' and 'thousands'".to_owned()
}

fn times(tally: &TextTally, context: &DecisionContext<'_>) -> TypeVerdict {
    let fitting = tally.time.fitting(context.rules);
    if fitting.is_power_of_two() {
        let zoned = tally.time.zoned > 0;
        let some = zoned && tally.time.zoned < tally.times.rows;
        let note = some
            .then(|| "times without an offset are taken as UTC, unless 'zone' is set".to_owned());
        return verdict(TextType::Time { zoned }, fitting, note);
    }
    match tally.times(context.rules).filter(TimeFacts::is_ambiguous) {
        Some(facts) => words(ambiguous(&facts, &context.at(&tally.times))),
        None if context.rules.dates.is_some() => words(
            "it is words because not all of its times have the order that 'dates' sets".to_owned(),
        ),
        None => words(
            "it is words because its times have several formats; write all of them as 2026-03-01 14:30:00"
                .to_owned(),
        ),
    }
}

/// Says that the order of dates has to be set.
fn ambiguous(facts: &TimeFacts, example: &str) -> String {
    let labels: Vec<&str> = facts.fits.iter().map(|order| order.label()).collect();
    let settings = facts.fits.iter().map(|order| order.setting());
    let settings: Vec<String> = settings.map(|set| format!("dates = \"{set}\"")).collect();
    format!(
        "it is words because {example} could be {}: set {}",
        labels.join(" or "),
        settings.join(" or ")
    )
}

/// Says what makes words of a column that is mostly of another type.
fn mixed(tally: &TextTally, context: &DecisionContext<'_>) -> Option<String> {
    let present = tally.present();
    let kinds = [
        (&tally.numbers, "numbers"),
        (&tally.times, "times"),
        (&tally.bools, "booleans"),
    ];
    let (main, name) = kinds.into_iter().max_by_key(|(count, _)| count.rows)?;
    let [numbers, words] = &tally.different;
    let few_words = words.few().filter(|n| *n > 0);
    let differ = match (numbers.few(), few_words) {
        (None, Some(_)) => true,
        (Some(numbers), Some(words)) => numbers > words.max(2),
        _ => false,
    };
    if main.rows * 2 <= present && !(differ && name == "numbers") {
        return None;
    }

    let others = present - main.rows;
    let first = kinds
        .into_iter()
        .map(|(count, _)| count)
        .chain([&tally.words])
        .filter(|count| !std::ptr::eq(*count, main))
        .filter_map(|count| count.first.as_ref())
        .min_by_key(|first| (first.file, first.line))?;
    Some(format!(
        "it is words because of {} in {others} of {present} rows; the others are {name}; if it means \"missing\", list it in 'missing'",
        context.cell(first)
    ))
}
