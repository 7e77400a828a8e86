//! The names of the columns of a text table, from its first record.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result, short};
use std::collections::HashMap;

/// The most columns.
const COLUMNS_MAX: usize = 100_000;

/// The name of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderName {
    pub name: String,
    /// Whether the file gives it no name, or the one that pandas gives to such a column.
    pub unnamed: bool,
    /// What was done to the name.
    pub note: Option<String>,
}

/// Names the columns. Refuses two of one name.
pub(super) fn names(fields: &[String]) -> Result<Vec<HeaderName>> {
    if fields.len() > COLUMNS_MAX {
        return Err(Error::too_large(format!(
            "has {} columns, over {COLUMNS_MAX}; leave some out, or set 'delimiter'",
            fields.len()
        )));
    }
    let mut times: HashMap<&str, usize> = HashMap::new();
    for field in fields {
        *times.entry(field.trim()).or_default() += 1;
    }

    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::with_capacity(fields.len());
    for (at, field) in fields.iter().enumerate() {
        let trimmed = field.trim();
        if trimmed.is_empty() {
            found.push(unnamed(at, &times));
            continue;
        }
        if let Some(before) = seen.insert(field, at) {
            return Err(Error::invalid(format!(
                "columns {} and {} are both named '{}'; rename one of them",
                before + 1,
                at + 1,
                short(trimmed)
            )));
        }
        let keeps_blanks = times[trimmed] > 1 && field != trimmed;
        let note = keeps_blanks.then(|| {
            format!(
                "the blanks of its name stay, since another column is named '{}'",
                short(trimmed)
            )
        });
        found.push(HeaderName {
            name: if keeps_blanks { field } else { trimmed }.to_owned(),
            unnamed: at == 0 && trimmed == "Unnamed: 0",
            note,
        });
    }
    Ok(found)
}

/// Names a column that has no name by its position.
fn unnamed(at: usize, taken: &HashMap<&str, usize>) -> HeaderName {
    let mut name = format!("column_{}", at + 1);
    while taken.contains_key(name.as_str()) {
        name.push('_');
    }
    HeaderName {
        note: Some(format!("it has no name in the file; here it is '{name}'")),
        name,
        unnamed: true,
    }
}
