//! How a text table is written, as far as it is set. What is not set is found from the content.
//! Checks the settings; reads no file.

use super::number::{APOSTROPHE, COMMA, DECIMAL_COMMA, DECIMAL_POINT, NO_MARK, POINT, SPACE};
use super::times;
use crate::core::error::{Error, Result, short};
use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};

/// Settings of a text table. Each may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextFormat {
    /// What separates fields: one ASCII character, or `tab`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// What encloses fields: one ASCII character, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// The decimal mark: `.` or `,`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<String>,
    /// The mark between thousands: `,`, `.`, a space, an apostrophe, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thousands: Option<String>,
    /// The encoding, such as `utf-8`, `utf-16le` or `windows-1252`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// What to do with a row of another number of fields: `error`, `skip` or `fill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ragged: Option<String>,
    /// The values that mean "missing", besides the empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<String>>,
    /// The order of day, month and year: `dmy`, `mdy` or `ymd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dates: Option<String>,
    /// The zone of times without an offset: `UTC`, or an offset such as `+02:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What a number such as `00123` is: `words` or `numbers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leading_zeros: Option<String>,
}

/// The order of day, month and year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOrder {
    /// Day, month, year.
    Dmy,
    /// Month, day, year.
    Mdy,
    /// Year, month, day.
    Ymd,
}

impl DateOrder {
    /// Returns the value of `dates` for it.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Dmy => "dmy",
            Self::Mdy => "mdy",
            Self::Ymd => "ymd",
        }
    }

    /// Returns it in words.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dmy => "day/month/year",
            Self::Mdy => "month/day/year",
            Self::Ymd => "year/month/day",
        }
    }
}

/// What to do with a row of another number of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RaggedRule {
    Refuse,
    Skip,
    Fill,
}

/// The checked settings.
#[derive(Clone, Debug)]
pub(crate) struct TextRules {
    pub delimiter: Option<u8>,
    /// None if nothing encloses fields.
    pub quote: Option<u8>,
    /// The number formats that are allowed.
    pub numbers: u8,
    pub encoding: Option<&'static Encoding>,
    pub ragged: RaggedRule,
    /// The values that mean "missing".
    pub missing: Vec<Vec<u8>>,
    /// Whether one of them may be a value of another kind: they were set.
    pub missing_first: bool,
    pub dates: Option<DateOrder>,
    /// The offset from UTC of times without one, in seconds.
    pub zone: i32,
    pub zeros_are_words: bool,
}

impl Default for TextRules {
    fn default() -> Self {
        TextFormat::default()
            .rules()
            .expect("settings that are not set are valid")
    }
}

/// The values that mean "missing" unless others are set. The empty one always does.
pub const MISSING: [&str; 18] = [
    "NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL", "Null", "NaN", "nan", "NAN", "None",
    "none", "NONE", "?", "-", "--", ".",
];

impl TextFormat {
    /// Checks the settings.
    pub fn check(&self) -> Result<()> {
        self.rules().map(drop)
    }

    /// Returns the checked settings.
    pub(crate) fn rules(&self) -> Result<TextRules> {
        let delimiter = self.delimiter.as_deref().map(delimiter).transpose()?;
        let quote = match self.quote.as_deref() {
            None => Some(b'"'),
            Some("") => None,
            Some(quote) => Some(one_ascii("quote", quote)?),
        };
        if delimiter.is_some() && delimiter == quote {
            return Err(Error::invalid("'quote' is the same as 'delimiter'"));
        }

        let missing: Vec<Vec<u8>> = match &self.missing {
            None => MISSING.iter().map(|token| (*token).into()).collect(),
            Some(tokens) => tokens.iter().map(|token| token.trim().into()).collect(),
        };
        Ok(TextRules {
            delimiter,
            quote,
            numbers: self.numbers()?,
            encoding: self.encoding.as_deref().map(encoding).transpose()?,
            ragged: match self.ragged.as_deref() {
                None | Some("error") => RaggedRule::Refuse,
                Some("skip") => RaggedRule::Skip,
                Some("fill") => RaggedRule::Fill,
                Some(other) => {
                    return refused("ragged", other, "\"error\", \"skip\" or \"fill\"");
                }
            },
            missing_first: self.missing.is_some(),
            missing,
            dates: self.dates.as_deref().map(order).transpose()?,
            zone: self.zone.as_deref().map_or(Ok(0), zone)?,
            zeros_are_words: match self.leading_zeros.as_deref() {
                None | Some("words") => true,
                Some("numbers") => false,
                Some(other) => {
                    return refused("leading_zeros", other, "\"words\" or \"numbers\"");
                }
            },
        })
    }

    /// Returns the number formats that are allowed.
    fn numbers(&self) -> Result<u8> {
        let decimal = match self.decimal.as_deref() {
            None => DECIMAL_POINT | DECIMAL_COMMA,
            Some(".") => DECIMAL_POINT,
            Some(",") => DECIMAL_COMMA,
            Some(other) => return refused("decimal", other, "\".\" or \",\""),
        };
        let thousands = match self.thousands.as_deref() {
            None => u8::MAX,
            Some("") => NO_MARK,
            Some(",") => COMMA,
            Some(".") => POINT,
            Some(" " | "\u{a0}" | "\u{202f}") => SPACE,
            Some("'" | "’") => APOSTROPHE,
            Some(other) => {
                return refused(
                    "thousands",
                    other,
                    "\",\", \".\", \" \", \"'\" or \"\" for none",
                );
            }
        };
        match decimal & thousands {
            0 => Err(Error::invalid("'thousands' is the same as 'decimal'")),
            formats => Ok(formats),
        }
    }
}

fn order(text: &str) -> Result<DateOrder> {
    let all = [DateOrder::Dmy, DateOrder::Mdy, DateOrder::Ymd];
    match all.into_iter().find(|order| order.setting() == text) {
        Some(order) => Ok(order),
        None => refused("dates", text, "\"dmy\", \"mdy\" or \"ymd\""),
    }
}

/// Returns the offset of a zone from UTC in seconds; none unless it is `UTC` or an offset such as
/// `+02:00`.
pub fn zone_seconds(text: &str) -> Option<i32> {
    times::zone(text)
}

fn zone(text: &str) -> Result<i32> {
    match zone_seconds(text) {
        Some(seconds) => Ok(seconds),
        None => refused(
            "zone",
            text,
            "\"UTC\" or an offset such as \"+02:00\"; for a zone with daylight saving time leave it out, and write column AT TIME ZONE 'Europe/Berlin' in 'sql' of [data]",
        ),
    }
}

fn delimiter(text: &str) -> Result<u8> {
    match text {
        "tab" => Ok(b'\t'),
        _ => one_ascii("delimiter", text),
    }
}

fn one_ascii(key: &str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [one]
            if one.is_ascii() && !one.is_ascii_alphanumeric() && *one != b'\n' && *one != b'\r' =>
        {
            Ok(*one)
        }
        _ => refused(key, text, "one character of ASCII punctuation"),
    }
}

fn encoding(label: &str) -> Result<&'static Encoding> {
    let label = match label.to_ascii_lowercase().as_str() {
        "utf-16" | "utf16" => "utf-16le".to_owned(),
        "cp1252" => "windows-1252".to_owned(),
        other => other.to_owned(),
    };
    match Encoding::for_label(label.as_bytes()) {
        Some(encoding) => Ok(encoding),
        None => refused(
            "encoding",
            &label,
            "the name of an encoding, such as \"utf-8\", \"utf-16le\" or \"windows-1252\"",
        ),
    }
}

fn refused<T>(key: &str, value: &str, must: &str) -> Result<T> {
    Err(Error::invalid(format!(
        "'{key}' is \"{}\"; it must be {must}",
        short(value)
    )))
}
