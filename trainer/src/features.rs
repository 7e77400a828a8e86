//! The features of a model, found in its training rows: which are numbers, which
//! are categories, and which categories are known.

#[cfg(test)]
mod tests;

use crate::frame::{Frame, FrameValues};
use ortus::explain::derivation::Derivation;
use ortus::explain::model;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The most distinct categories; rarer ones share a code.
pub(crate) const CATEGORIES_MAX: usize = 254;
/// The code of an unknown or rare category.
pub(crate) const OTHER: u8 = model::OTHER;
/// The code of a missing category.
pub(crate) const ABSENT: u8 = model::ABSENT;

/// One input of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Feature {
    pub name: String,
    /// The known categories, the most frequent first; none for a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// How it is computed, if it is no input itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived: Option<Derivation>,
}

impl Feature {
    /// Finds the categories of a column in some of its rows.
    pub(crate) fn learn(frame: &Frame, at: usize, rows: &[u32]) -> Self {
        let column = &frame.columns[at];
        let categories = match &column.values {
            FrameValues::Numbers(_) => None,
            FrameValues::Words(words) => {
                let mut counts = vec![0_u64; words.list.len()];
                for row in rows {
                    if let Some(count) = counts.get_mut(words.codes[*row as usize] as usize) {
                        *count += 1;
                    }
                }
                let mut seen: Vec<usize> =
                    (0..counts.len()).filter(|code| counts[*code] > 0).collect();
                // Ties are ordered by name, so that the order of rows does not matter.
                seen.sort_by_key(|code| (std::cmp::Reverse(counts[*code]), &words.list[*code]));
                Some(
                    seen.into_iter()
                        .take(CATEGORIES_MAX)
                        .map(|code| words.list[code].clone())
                        .collect(),
                )
            }
        };

        Self {
            name: column.name.clone(),
            categories,
            derived: frame.derived.get(&column.name).cloned(),
        }
    }

    /// Returns the code of each word of a column's list.
    pub(crate) fn codes(&self, list: &[String]) -> Vec<u8> {
        let known: HashMap<&str, u8> = self
            .categories
            .iter()
            .flatten()
            .zip(0_u8..)
            .map(|(word, code)| (word.as_str(), code))
            .collect();
        list.iter()
            .map(|word| known.get(word.as_str()).copied().unwrap_or(OTHER))
            .collect()
    }
}

/// Returns the code of a row, given the codes of its column's words.
pub(crate) fn code(codes: &[u8], word: u32) -> u8 {
    codes.get(word as usize).copied().unwrap_or(ABSENT)
}
