//! One message of a `config.pbtxt`, read strictly: every field must be known, of
//! the right type, and given once unless it may repeat. Knows no field by name;
//! `pbtxt.rs` lists them.

use super::syntax::{FieldValue, NamedField};
use crate::core::error::short;
use crate::core::error::{Error, Result};

/// Refuses a field, naming it and its line.
pub(super) fn refuse<T>(field: &NamedField, why: impl std::fmt::Display) -> Result<T> {
    Err(Error::invalid(format!(
        "{}field '{}' {why}",
        place(field.line),
        short(&field.name)
    )))
}

/// Names a line for an error; JSON has none.
pub(super) fn place(line: usize) -> String {
    match line {
        0 => String::new(),
        line => format!("line {line}: "),
    }
}

/// Refuses a field that this server does not support.
pub(super) fn unsupported<T>(field: &NamedField) -> Result<T> {
    refuse(
        field,
        "is not supported or misspelt, and leaving it out could change what the model answers; correct it, or remove it to serve the model without it",
    )
}

/// Refuses a field that is given twice, unless `repeatable` lists it.
pub(super) fn once<'a>(fields: &'a [NamedField], repeatable: &[&str]) -> Result<&'a [NamedField]> {
    let mut seen = std::collections::HashSet::new();
    for field in fields
        .iter()
        .filter(|f| !repeatable.contains(&f.name.as_str()))
    {
        if !seen.insert(field.name.as_str()) {
            return refuse(field, "is given twice");
        }
    }

    Ok(fields)
}

/// Reads a message whose only setting is a switch.
pub(super) fn is_on(whole: &NamedField, switch: &str) -> Result<bool> {
    let mut is_on = false;
    for field in whole.message()? {
        if field.name != switch {
            return unsupported(field);
        }
        is_on = field.flag()?;
    }
    Ok(is_on)
}

/// Writes an integer in decimal that is hexadecimal, such as `0x8`, or octal, such as `010`.
fn decimal(number: &str) -> Option<String> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => return Some(number.to_owned()),
    };

    let is_plain = digits.starts_with(|c: char| c.is_ascii_hexdigit());
    let value = u64::from_str_radix(digits, radix).ok();
    let value = value.filter(|_| is_plain)?;
    Some(format!("{sign}{value}"))
}

/// An integer type whose range an error can name.
pub(super) trait BoundedInteger: std::str::FromStr {
    /// Describes the accepted values.
    fn range() -> String;
}

macro_rules! bounded_integers {
    ($($type:ty),*) => {$(
        impl BoundedInteger for $type {
            fn range() -> String {
                format!("an integer from {} to {}", <$type>::MIN, <$type>::MAX)
            }
        }
    )*};
}
bounded_integers!(u32, u64, usize, i64);

impl NamedField {
    /// The string.
    pub(super) fn text(&self) -> Result<&str> {
        match &self.value {
            FieldValue::Str(text) | FieldValue::Json(text) => Ok(text),
            _ => refuse(self, "must be a string in quotes"),
        }
    }

    /// The bare word.
    pub(super) fn word(&self) -> Result<&str> {
        match &self.value {
            FieldValue::Ident(word) | FieldValue::Json(word) => Ok(word),
            _ => refuse(self, "must be a bare word such as KIND_CPU"),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Result<bool> {
        match &self.value {
            FieldValue::Ident(word) if matches!(word.as_str(), "true" | "True" | "t") => Ok(true),
            FieldValue::Ident(word) if matches!(word.as_str(), "false" | "False" | "f") => {
                Ok(false)
            }
            FieldValue::Num(number) if number == "1" => Ok(true),
            FieldValue::Num(number) if number == "0" => Ok(false),
            _ => refuse(self, "must be true or false"),
        }
    }

    /// An integer in the range of `N`.
    pub(super) fn number<N: BoundedInteger>(&self) -> Result<N> {
        self.as_number(&self.value)
    }

    /// Integers, one or a list in brackets.
    pub(super) fn numbers<N: BoundedInteger>(&self) -> Result<Vec<N>> {
        self.values().iter().map(|v| self.as_number(v)).collect()
    }

    fn as_number<N: BoundedInteger>(&self, value: &FieldValue) -> Result<N> {
        match value {
            FieldValue::Num(number) | FieldValue::Json(number) => {
                let value = decimal(number).and_then(|decimal| decimal.parse().ok());
                let refused = || {
                    let accepted = N::range();
                    refuse(self, format!("must be {accepted}, got {}", short(number)))
                };
                value.map_or_else(refused, Ok)
            }
            _ => refuse(self, format!("must be {}", N::range())),
        }
    }

    /// The fields of the message, none twice.
    pub(super) fn message(&self) -> Result<&[NamedField]> {
        match &self.value {
            FieldValue::Message(fields) => once(fields, &[]),
            _ => refuse(self, "must be a message in braces"),
        }
    }

    /// The messages, one or a list in brackets; `repeatable` as in [`once`].
    pub(super) fn messages(&self, repeatable: &[&str]) -> Result<Vec<&[NamedField]>> {
        let messages = self.values().iter().map(|value| match value {
            FieldValue::Message(fields) => once(fields, repeatable),
            _ => refuse(self, "must be a message in braces"),
        });
        messages.collect()
    }

    fn values(&self) -> &[FieldValue] {
        match &self.value {
            FieldValue::List(values) => values,
            single => std::slice::from_ref(single),
        }
    }

    /// Accepts only `false`.
    pub(super) fn only_false(&self) -> Result<()> {
        if self.flag()? {
            unsupported(self)
        } else {
            Ok(())
        }
    }
}
