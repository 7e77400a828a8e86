//! The text of a configuration: where something stands in it, and what was
//! probably meant.

use crate::core::error::Error;
use crate::core::model::short;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::fmt;
use toml::de::DeValue;
use toml::{Spanned, Value};

/// A file's text and the name that messages give it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Name of the source, for messages.
    pub name: &'a str,
    /// The whole text.
    pub text: &'a str,
}

impl Source<'_> {
    /// Names the line of a byte of the text.
    pub(crate) fn origin(self, at: usize) -> String {
        let line = 1 + self.text[..self.text.floor_char_boundary(at)]
            .matches('\n')
            .count();
        format!("{}:{line}", self.name)
    }

    /// Refuses what stands at a byte of the text.
    pub fn refuse(self, at: usize, fault: impl fmt::Display) -> Error {
        Error::invalid(format!("{}: {fault}", self.origin(at)))
    }
}

/// A value without its place.
pub fn plain(value: Spanned<DeValue<'_>>) -> Result<Value, String> {
    Value::deserialize(value.into_deserializer()).map_err(|fault| fault.message().to_owned())
}

/// Names the key that was probably meant, or all of them where none is near.
pub fn nearest(given: &str, keys: &[&str]) -> String {
    let far = |key: &&&str| strsim::levenshtein(short(given), key);
    match keys.iter().min_by_key(far) {
        Some(key) if far(&key) <= key.len().max(given.len()) / 2 => {
            format!("; did you mean '{key}'?")
        }
        _ => format!("; known are {}", keys.join(", ")),
    }
}
