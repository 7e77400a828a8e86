//! The columns of a model's inputs and their names: what a row of a table has to give.

#[cfg(test)]
mod tests;

use super::{Dim, Signature, TensorSpec};
use crate::core::count::{agreed, counted};
use crate::core::error::{Error, Result, short};
use crate::core::tensor::{DType, elements};
use std::collections::HashMap;

/// The most columns of a model that a table can fill.
pub const TABLE_COLUMNS_MAX: usize = 65_536;
/// The most names in an error.
const NAMES_MAX: usize = 16;

/// The columns of a model's required inputs, those of one input after those of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputColumns {
    /// For each input, where its columns begin, and how many they are.
    inputs: Vec<InputWidth>,
    /// The name of each column, if it has one.
    names: Vec<Option<String>>,
    by_name: HashMap<String, usize>,
    /// The input without a fixed number of columns, if there is one: then no table can fill the model.
    open: Option<String>,
}

/// The columns of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputWidth {
    /// The number of its first column.
    pub first: usize,
    /// How many there are.
    pub count: usize,
    /// The datatype.
    pub dtype: DType,
    /// The lengths of the axes behind the rows.
    pub inner: Vec<usize>,
}

impl InputColumns {
    /// Finds the columns of a signature. `features` name all of them in order, or are empty; then an
    /// input of one column has its own name. Names for another number of columns are refused.
    pub fn of(signature: &Signature, features: &[String]) -> Result<Self> {
        let mut columns = Self::default();
        for spec in &signature.inputs {
            let first = columns.names.len();
            let inner = inner(spec);
            let count = inner.as_deref().and_then(elements);
            let Some((inner, count)) = inner.zip(count.filter(|n| first + n <= TABLE_COLUMNS_MAX))
            else {
                columns.open = Some(spec.name.clone());
                break;
            };
            columns.inputs.push(InputWidth {
                first,
                count,
                dtype: spec.dtype,
                inner,
            });
            let own = (count == 1).then(|| spec.name.clone());
            columns.names.extend((0..count).map(|_| own.clone()));
        }

        if !features.is_empty() {
            columns.rename(features)?;
        }
        for (at, name) in columns.names.iter().enumerate() {
            if let Some(name) = name
                && columns.by_name.insert(name.clone(), at).is_some()
            {
                return Err(Error::precondition(format!(
                    "two columns of the model are called '{}'",
                    short(name)
                )));
            }
        }
        Ok(columns)
    }

    fn rename(&mut self, features: &[String]) -> Result<()> {
        let count = self.names.len();
        if self.open.is_none() && features.len() != count {
            return Err(Error::precondition(format!(
                "{} {} named, the model has {}",
                counted(features.len(), "feature"),
                agreed(features.len(), "is", "are"),
                counted(count, "input column")
            )));
        }
        for (name, feature) in self.names.iter_mut().zip(features) {
            *name = Some(feature.clone());
        }
        Ok(())
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The columns of each input, in the order of the signature.
    pub fn inputs(&self) -> &[InputWidth] {
        &self.inputs
    }

    /// Whether every column has a name.
    pub fn are_named(&self) -> bool {
        self.open.is_none() && !self.is_empty() && self.names.iter().all(Option::is_some)
    }

    /// Whether no column has a name.
    pub fn are_nameless(&self) -> bool {
        self.names.iter().all(Option::is_none)
    }

    /// Finds a column by its name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The name of a column, or its number.
    pub fn name(&self, at: usize) -> String {
        match self.names.get(at) {
            Some(Some(name)) => short(name).to_owned(),
            _ => at.to_string(),
        }
    }

    /// Refuses a model that no table can fill.
    pub fn check_fillable(&self) -> Result<()> {
        match &self.open {
            Some(input) => Err(Error::invalid(format!(
                "input '{}' has no fixed number of columns, so a table cannot give it; send tensors",
                short(input)
            ))),
            None if self.is_empty() => Err(Error::invalid("the model takes no columns")),
            None => Ok(()),
        }
    }

    /// The error of a column that the model does not have.
    pub fn unknown(&self, name: &str) -> Error {
        let name = short(name);
        match self.are_nameless() {
            true => Error::invalid(format!(
                "column '{name}' is unknown: the model has {} without names; name them with 'features' in its configuration",
                counted(self.len(), "input column")
            )),
            false => Error::invalid(format!(
                "column '{name}' is unknown; the model takes {}",
                self.listed(0..self.len())
            )),
        }
    }

    /// The error of columns that were not given; `what` was to give them.
    pub fn missing(&self, what: &str, missing: &[usize]) -> Error {
        let columns = if missing.len() == 1 {
            "column"
        } else {
            "columns"
        };
        Error::invalid(format!(
            "{what} lacks the {columns} {}",
            self.listed(missing.iter().copied())
        ))
    }

    fn listed(&self, columns: impl ExactSizeIterator<Item = usize>) -> String {
        let more = columns.len().saturating_sub(NAMES_MAX);
        let names: Vec<String> = columns.take(NAMES_MAX).map(|at| self.name(at)).collect();
        match more {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    }
}

/// The lengths of the axes behind the rows; none if one is dynamic or the rank is unknown.
fn inner(spec: &TensorSpec) -> Option<Vec<usize>> {
    let dims = spec.shape.as_ref().filter(|dims| !dims.is_empty())?;
    let fixed = |dim: &Dim| match dim {
        Dim::Fixed(n) => Some(*n),
        Dim::Dynamic => None,
    };
    dims.iter().skip(1).map(fixed).collect()
}
