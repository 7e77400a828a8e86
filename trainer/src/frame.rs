//! Rows in memory, column by column: numbers as FP32, as a served model sees them,
//! and words as codes into a list. Does not know their source.

#[cfg(test)]
mod tests;

use crate::values::Values;
use ortus::explain::derivation::Derivation;
use std::collections::{BTreeMap, HashMap};

/// The code of a missing word.
pub(crate) const MISSING: u32 = u32::MAX;

/// Columns of the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Frame {
    pub columns: Vec<FrameColumn>,
    pub rows: usize,
    /// Inputs of the model in FP64, from which columns are computed.
    pub sources: Vec<SourceColumn>,
    /// How columns are computed from them, by the name of the column.
    pub derived: BTreeMap<String, Derivation>,
}

/// An input in FP64, NaN if missing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SourceColumn {
    pub name: String,
    pub values: Values<f64>,
}

/// A named column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FrameColumn {
    pub name: String,
    pub values: FrameValues,
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FrameValues {
    /// NaN if missing.
    Numbers(Values<f32>),
    Words(WordCodes),
}

/// Words by code, [`MISSING`] if there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WordCodes {
    pub codes: Values<u32>,
    pub list: Vec<String>,
}

impl Frame {
    /// Returns a column by its name.
    pub(crate) fn column(&self, name: &str) -> Option<&FrameColumn> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Returns an FP64 input by its name.
    pub(crate) fn source(&self, name: &str) -> Option<&[f64]> {
        let found = self.sources.iter().find(|source| source.name == name);
        found.map(|source| &*source.values)
    }

    /// Returns the columns that are inputs of the model themselves.
    pub(crate) fn plain(&self) -> impl Iterator<Item = &FrameColumn> {
        let is_plain = |column: &&FrameColumn| !self.derived.contains_key(&column.name);
        self.columns.iter().filter(is_plain)
    }

    /// Returns whether a model can have an input of this name.
    pub(crate) fn has_input(&self, name: &str) -> bool {
        self.column(name).is_some() || self.source(name).is_some()
    }

    /// Computes the derived columns from their inputs.
    pub(crate) fn derive(&mut self) {
        let missing = vec![f64::NAN; self.rows];
        let mut all = Vec::with_capacity(self.derived.len());
        for (name, derivation) in &self.derived {
            let of = self.source(&derivation.source).unwrap_or(&missing);
            let until = derivation.until().and_then(|name| self.source(name));
            let pairs = of.iter().zip(until.unwrap_or(&missing));
            let values = pairs.map(|(of, until)| derivation.value(*of, *until));
            all.push((name.clone(), values.collect()));
        }
        for (name, values) in all {
            if let Some(column) = self.columns.iter_mut().find(|c| c.name == name) {
                column.values = FrameValues::Numbers(values);
            }
        }
    }

    /// Returns the rows at these indices. Words keep their whole list.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        let columns = self.columns.iter().map(|c| FrameColumn {
            name: c.name.clone(),
            values: c.values.take(rows),
        });
        let sources = self.sources.iter().map(|source| SourceColumn {
            name: source.name.clone(),
            values: source.values.take(rows),
        });
        Self {
            columns: columns.collect(),
            rows: rows.len(),
            sources: sources.collect(),
            derived: self.derived.clone(),
        }
    }
}

impl Frame {
    /// Adds rows of a frame of the same columns and words.
    pub(crate) fn append(&mut self, other: &Self) {
        for (column, more) in self.columns.iter_mut().zip(&other.columns) {
            match (&mut column.values, &more.values) {
                (FrameValues::Numbers(all), FrameValues::Numbers(more)) => all.append(more),
                (FrameValues::Words(all), FrameValues::Words(more)) => {
                    all.codes.append(&more.codes);
                }
                _ => debug_assert!(false, "other columns"),
            }
        }
        for (source, more) in self.sources.iter_mut().zip(&other.sources) {
            source.values.append(&more.values);
        }
        self.rows += other.rows;
    }
}

impl FrameValues {
    fn take(&self, rows: &[u32]) -> Self {
        match self {
            Self::Numbers(all) => Self::Numbers(all.take(rows)),
            Self::Words(words) => Self::Words(WordCodes {
                codes: words.codes.take(rows),
                list: words.list.clone(),
            }),
        }
    }
}

impl WordCodes {
    /// Returns the word of a row.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        self.list.get(self.codes[row] as usize).map(String::as_str)
    }
}

/// The words that were seen, each with its code.
#[derive(Default)]
pub(crate) struct WordList {
    list: Vec<String>,
    known: HashMap<String, u32>,
}

impl WordList {
    /// Returns the code of a word; an empty one is missing, as in a served model.
    pub(crate) fn code(&mut self, word: Option<&str>) -> u32 {
        let Some(word) = word.filter(|w| !w.is_empty()) else {
            return MISSING;
        };
        if let Some(code) = self.known.get(word) {
            return *code;
        }
        let code = self.list.len() as u32;
        self.list.push(word.to_owned());
        self.known.insert(word.to_owned(), code);
        code
    }

    /// Returns words by their codes.
    pub(crate) fn with(self, codes: Values<u32>) -> WordCodes {
        WordCodes {
            codes,
            list: self.list,
        }
    }
}

/// Encodes words in memory.
#[derive(Default)]
pub(crate) struct Coder {
    words: WordList,
    codes: Vec<u32>,
}

impl Coder {
    /// Adds a row's word.
    pub(crate) fn push(&mut self, word: Option<&str>) {
        let code = self.words.code(word);
        self.codes.push(code);
    }

    /// Returns the words so far.
    pub(crate) fn finish(self) -> WordCodes {
        self.words.with(self.codes.into())
    }
}
