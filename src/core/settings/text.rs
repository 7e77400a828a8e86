//! Messages about the text of a configuration: the line of a fault, and the nearest known key.

use crate::core::error::Error;
use crate::core::error::short;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::fmt;
use toml::de::DeValue;
use toml::{Spanned, Value};

/// A file's text and the name that messages give it.
#[derive(Clone, Copy)]
pub struct SourceText<'a> {
    /// Name of the source, for messages.
    pub name: &'a str,
    /// The whole text.
    pub text: &'a str,
}

impl SourceText<'_> {
    /// Names the line of a byte of the text.
    pub(crate) fn origin(self, at: usize) -> String {
        let line = 1 + self.text[..self.text.floor_char_boundary(at)]
            .matches('\n')
            .count();
        format!("{}:{line}", self.name)
    }

    /// Makes an error about the line of a byte.
    pub fn refuse(self, at: usize, fault: impl fmt::Display) -> Error {
        Error::invalid(format!("{}: {fault}", self.origin(at)))
    }
}

/// Removes the position from a value.
pub fn plain(value: Spanned<DeValue<'_>>) -> Result<Value, String> {
    Value::deserialize(value.into_deserializer()).map_err(|fault| fault.message().to_owned())
}

/// Suggests the nearest key, or lists all keys if none is near.
pub fn nearest(given: &str, keys: &[&str]) -> String {
    let far = |key: &&&str| strsim::levenshtein(short(given), key);
    match keys.iter().min_by_key(far) {
        Some(key) if far(&key) <= key.len().max(given.len()) / 2 => {
            format!("; did you mean '{key}'?")
        }
        _ => format!("; the known ones are {}", keys.join(", ")),
    }
}
