//! The form of the setting `padding`: a table that declares how requests of different lengths are padded.

use crate::core::error::short;
use crate::core::model::padding::Padding;
use crate::core::settings::form::{Form, Plain};
use crate::core::settings::text::nearest;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// The key of the setting.
pub(crate) const PADDING: &str = "padding";
/// The keys of its table.
pub(crate) const PADDING_KEYS: [&str; 4] = ["lengths", "inputs", "mask", "tokens_max"];
/// Most lengths.
const LENGTHS_MAX: usize = 64;
/// The largest length, and the most tokens of a batch.
const TOKENS_MAX: usize = 16_777_216;
/// Most inputs that are padded.
const INPUTS_MAX: usize = 64;
/// The word for no padding, where a lower layer declares some.
const OFF: &str = "off";

/// What the setting accepts.
fn accepted() -> String {
    "\"off\", or a table such as { lengths = [16, 32, 64], inputs = { input_ids = 0 }, mask = \"attention_mask\", tokens_max = 4096 }".to_owned()
}

/// Padding, or none.
impl Form<Option<Padding>> for Plain {
    fn read(value: &Value) -> Result<Option<Padding>, String> {
        if value.as_str() == Some(OFF) {
            return Ok(None);
        }
        let table = value.as_table().ok_or_else(accepted)?;
        if let Some(key) = table
            .keys()
            .find(|key| !PADDING_KEYS.contains(&key.as_str()))
        {
            return Err(format!(
                "a table with the keys {} alone; '{}' is unknown{}",
                PADDING_KEYS.join(", "),
                short(key),
                nearest(key, &PADDING_KEYS)
            ));
        }

        let padding = Padding {
            lengths: lengths(table)?,
            inputs: inputs(table)?,
            mask: mask(table)?,
            tokens_max: tokens_max(table)?,
        };
        let longest = padding.lengths.last().copied().unwrap_or(0);
        if padding.tokens_max.is_some_and(|tokens| tokens < longest) {
            return Err(format!(
                "a table whose 'tokens_max' is at least its longest length, {longest}, or one row would be over it"
            ));
        }
        Ok(Some(padding))
    }

    fn write(setting: &Option<Padding>) -> Option<Value> {
        let padding = setting.as_ref()?;
        let whole = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let inputs = padding.inputs.iter();
        let inputs = inputs.map(|(name, fill)| (name.clone(), number(*fill)));
        let lengths = padding.lengths.iter().map(|length| whole(*length));
        let mut table = Table::from_iter([
            ("lengths".to_owned(), Value::Array(lengths.collect())),
            ("inputs".to_owned(), Value::Table(inputs.collect())),
            ("mask".to_owned(), Value::String(padding.mask.clone())),
        ]);
        if let Some(tokens) = padding.tokens_max {
            table.insert("tokens_max".to_owned(), whole(tokens));
        }
        Some(Value::Table(table))
    }
}

/// Writes a whole number as an integer.
fn number(value: f64) -> Value {
    match value.fract() == 0.0 && value.abs() < 9e15 {
        true => Value::Integer(value as i64),
        false => Value::Float(value),
    }
}

fn lengths(table: &Table) -> Result<Vec<usize>, String> {
    let read = |value: &Value| {
        let length = usize::try_from(value.as_integer()?).ok()?;
        (1..=TOKENS_MAX).contains(&length).then_some(length)
    };
    let all = table.get("lengths").and_then(Value::as_array);
    let all: Option<Vec<usize>> = all.and_then(|all| all.iter().map(read).collect());
    let is_legal = |all: &Vec<usize>| {
        (1..=LENGTHS_MAX).contains(&all.len()) && all.is_sorted_by(|one, next| one < next)
    };
    all.filter(is_legal).ok_or_else(|| {
        format!(
            "a table whose 'lengths' are 1 to {LENGTHS_MAX} ascending integers from 1 to {TOKENS_MAX}, such as [16, 32, 64]"
        )
    })
}

fn inputs(table: &Table) -> Result<BTreeMap<String, f64>, String> {
    let read = |(name, value): (&String, &Value)| {
        let fill: f64 = Plain::read(value).ok()?;
        Some((name.clone(), fill))
    };
    let all = table.get("inputs").and_then(Value::as_table);
    let all = all.filter(|all| (1..=INPUTS_MAX).contains(&all.len()));
    let all: Option<BTreeMap<String, f64>> = all.and_then(|all| all.iter().map(read).collect());
    all.ok_or_else(|| {
        format!(
            "a table whose 'inputs' are 1 to {INPUTS_MAX} names of inputs and the number that each is padded with, such as {{ input_ids = 0 }}"
        )
    })
}

fn mask(table: &Table) -> Result<String, String> {
    let mask = table.get("mask").and_then(Value::as_str);
    let mask = mask.filter(|mask| !mask.is_empty());
    mask.map(str::to_owned).ok_or_else(|| {
        "a table whose 'mask' is the name of the input that is 0 where a place is padded, such as \"attention_mask\"".to_owned()
    })
}

fn tokens_max(table: &Table) -> Result<Option<usize>, String> {
    let Some(value) = table.get("tokens_max") else {
        return Ok(None);
    };
    let tokens = value.as_integer().and_then(|n| usize::try_from(n).ok());
    let tokens = tokens.filter(|tokens| (1..=TOKENS_MAX).contains(tokens));
    tokens.map(Some).ok_or_else(|| {
        format!("a table whose 'tokens_max', rows × length of a batch, is an integer from 1 to {TOKENS_MAX}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Padding>, String> {
        let table: Table = format!("padding = {text}").parse().expect("TOML");
        Plain::read(&table["padding"])
    }

    #[test]
    fn padding_is_read_as_it_is_written() {
        for text in [
            "{ lengths = [16], inputs = { ids = 0 }, mask = \"m\" }",
            "{ lengths = [1, 2, 16777216], inputs = { ids = -1, x = 0.5 }, mask = \"m\", tokens_max = 16777216 }",
        ] {
            let padding = read(text).expect("legal");
            let written = Plain::write(&padding).expect("set");
            assert_eq!(Plain::read(&written), Ok(padding), "{text}");
        }
        assert_eq!(read("\"off\""), Ok(None));
    }

    #[test]
    fn a_wrong_table_is_refused_with_what_is_accepted() {
        let rest = "inputs = { ids = 0 }, mask = \"m\"";
        for (text, words) in [
            ("true".to_owned(), "\"off\", or a table such as"),
            ("{}".to_owned(), "'lengths' are 1 to 64 ascending integers"),
            (format!("{{ lengths = [], {rest} }}"), "'lengths' are"),
            (format!("{{ lengths = [2, 2], {rest} }}"), "'lengths' are"),
            (format!("{{ lengths = [4, 2], {rest} }}"), "'lengths' are"),
            (format!("{{ lengths = [0, 2], {rest} }}"), "'lengths' are"),
            (
                format!("{{ lengths = [16777217], {rest} }}"),
                "'lengths' are",
            ),
            (format!("{{ lengths = [1.5], {rest} }}"), "'lengths' are"),
            (
                "{ lengths = [2], mask = \"m\" }".to_owned(),
                "'inputs' are 1 to 64",
            ),
            (
                "{ lengths = [2], inputs = {}, mask = \"m\" }".to_owned(),
                "'inputs' are",
            ),
            (
                "{ lengths = [2], inputs = { a = nan }, mask = \"m\" }".to_owned(),
                "'inputs' are",
            ),
            (
                "{ lengths = [2], inputs = { a = 0 } }".to_owned(),
                "'mask' is the name",
            ),
            (
                "{ lengths = [2], inputs = { a = 0 }, mask = 0 }".to_owned(),
                "'mask' is the name",
            ),
            (
                format!("{{ lengths = [2], {rest}, tokens_max = 0 }}"),
                "'tokens_max', rows × length",
            ),
            (
                format!("{{ lengths = [2, 9], {rest}, tokens_max = 8 }}"),
                "at least its longest length, 9",
            ),
            (
                format!("{{ lengths = [2], {rest}, bucket = 8 }}"),
                "'bucket' is unknown",
            ),
        ] {
            let fault = read(&text).expect_err(&text);
            assert!(fault.contains(words), "{text}: {fault}");
        }
    }
}
