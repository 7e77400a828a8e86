//! What one value of a text table may be: missing, a boolean, a number, a time, or a word. Decides
//! nothing about its column.

use super::format::TextRules;
use super::number::{self, SignedNumber, WrittenNumber};
use super::times::{self, WrittenTime};

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum CellForm {
    /// Missing, by the empty value or by a token of the rules.
    Missing(Option<usize>),
    Bool,
    /// A number without signs and marks.
    Plain(WrittenNumber),
    /// A number with signs or marks, which the column reads.
    Signed(SignedNumber),
    Time(WrittenTime),
    Word,
}

/// Tells what a value may be. Blanks around it are gone.
pub(super) fn form(field: &[u8], rules: &TextRules) -> CellForm {
    let Some(first) = field.first() else {
        return CellForm::Missing(None);
    };
    if rules.missing_first
        && let Some(token) = missing(field, rules)
    {
        return CellForm::Missing(Some(token));
    }
    match first {
        b'0'..=b'9' => digits(field),
        b'-' | b'+' | b'.' => match number::plain(field) {
            Some(found) => CellForm::Plain(found),
            None => rare(field, rules),
        },
        _ => rare(field, rules),
    }
}

/// Returns whether a value is missing.
pub(super) fn is_missing(field: &[u8], rules: &TextRules) -> bool {
    field.is_empty() || missing(field, rules).is_some()
}

fn missing(field: &[u8], rules: &TextRules) -> Option<usize> {
    rules.missing.iter().position(|token| token == field)
}

fn digits(field: &[u8]) -> CellForm {
    if let Some(found) = number::plain(field) {
        return CellForm::Plain(found);
    }
    if let Some(found) = times::time(field) {
        return CellForm::Time(found);
    }
    match std::str::from_utf8(field).ok().and_then(number::signed) {
        Some(found) => CellForm::Signed(found),
        None => CellForm::Word,
    }
}

/// Tells what a value that does not begin with a digit may be.
fn rare(field: &[u8], rules: &TextRules) -> CellForm {
    if let Some(token) = missing(field, rules) {
        return CellForm::Missing(Some(token));
    }
    if boolean(field).is_some() {
        return CellForm::Bool;
    }
    let Ok(text) = std::str::from_utf8(field) else {
        return CellForm::Word;
    };
    if let Some(found) = number::signed(text) {
        return CellForm::Signed(found);
    }
    match number::infinite(text) {
        Some(value) => CellForm::Plain(WrittenNumber {
            value: number::NumberValue::Fraction(value),
            formats: u8::MAX,
            zeros: false,
        }),
        None => CellForm::Word,
    }
}

/// Reads `true` or `false`, in any case.
pub(super) fn boolean(field: &[u8]) -> Option<bool> {
    match field.len() {
        4 if field.eq_ignore_ascii_case(b"true") => Some(true),
        5 if field.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}
