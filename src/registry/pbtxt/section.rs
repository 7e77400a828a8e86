//! One message of a `config.pbtxt`, read strictly: every field is known,
//! singular unless it may repeat, and of the right type. Knows no field by
//! name; the interpreter lists them.

use super::syntax::{Field, Value};
use crate::core::error::short;
use crate::core::error::{Error, Result};

/// Refuses a field, naming it and its line.
pub(super) fn refuse<T>(field: &Field, why: impl std::fmt::Display) -> Result<T> {
    Err(Error::invalid(format!(
        "line {}: field '{}' {why}",
        field.line,
        short(&field.name)
    )))
}

/// Refuses a field this server does not know how to honour.
pub(super) fn unsupported<T>(field: &Field) -> Result<T> {
    refuse(
        field,
        "is not supported, and leaving it out would change what the model answers",
    )
}

/// Refuses a field that is given twice, unless `repeatable` lists it.
pub(super) fn once<'a>(fields: &'a [Field], repeatable: &[&str]) -> Result<&'a [Field]> {
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

impl Field {
    /// The string.
    pub(super) fn text(&self) -> Result<&str> {
        match &self.value {
            Value::Str(text) => Ok(text),
            _ => refuse(self, "is not a string"),
        }
    }

    /// The bare word.
    pub(super) fn word(&self) -> Result<&str> {
        match &self.value {
            Value::Ident(word) => Ok(word),
            _ => refuse(self, "is not a name"),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Result<bool> {
        match &self.value {
            Value::Ident(word) if matches!(word.as_str(), "true" | "True" | "t") => Ok(true),
            Value::Ident(word) if matches!(word.as_str(), "false" | "False" | "f") => Ok(false),
            Value::Num(number) if number == "1" => Ok(true),
            Value::Num(number) if number == "0" => Ok(false),
            _ => refuse(self, "is neither true nor false"),
        }
    }

    /// A whole number in the range of `N`.
    pub(super) fn number<N: std::str::FromStr>(&self) -> Result<N> {
        self.as_number(&self.value)
    }

    /// Whole numbers, alone or between brackets.
    pub(super) fn numbers<N: std::str::FromStr>(&self) -> Result<Vec<N>> {
        self.values().iter().map(|v| self.as_number(v)).collect()
    }

    fn as_number<N: std::str::FromStr>(&self, value: &Value) -> Result<N> {
        match value {
            Value::Num(number) => number
                .parse()
                .or_else(|_| refuse(self, "is not a whole number in range")),
            _ => refuse(self, "is not a whole number"),
        }
    }

    /// The fields of the message, none twice.
    pub(super) fn message(&self) -> Result<&[Field]> {
        match &self.value {
            Value::Message(fields) => once(fields, &[]),
            _ => refuse(self, "is not a message"),
        }
    }

    /// The messages, alone or between brackets; `repeatable` as in [`once`].
    pub(super) fn messages(&self, repeatable: &[&str]) -> Result<Vec<&[Field]>> {
        let messages = self.values().iter().map(|value| match value {
            Value::Message(fields) => once(fields, repeatable),
            _ => refuse(self, "is not a message"),
        });
        messages.collect()
    }

    fn values(&self) -> &[Value] {
        match &self.value {
            Value::List(values) => values,
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
