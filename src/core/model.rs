//! Names, versions and the signature of a model. Checks the tensors of a request
//! against the signature once; no later code looks at shapes again.

pub mod task;
#[cfg(test)]
mod tests;

use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::tensor::{DType, Tensor};
use std::fmt;

/// A model's name: 1 to 128 characters of `A-Z a-z 0-9 _ . -`, not starting
/// with a dot. The grammar is an allow-list because names become folder names
/// and metric labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(std::sync::Arc<str>);

/// The longest model name.
pub const NAME_BYTES_MAX: usize = 128;

impl ModelName {
    /// Checks the rules of names.
    pub fn parse(name: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::invalid("the model name is empty"));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.len() > NAME_BYTES_MAX || name.starts_with('.') || !name.chars().all(legal) {
            return Err(Error::invalid(format!(
                "the model name must be 1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 _ . - without a leading dot"
            )));
        }

        Ok(Self(name.into()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version number, 1 or greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(u64);

impl Version {
    /// Accepts 1 to 2⁶³ − 1, which every protocol can carry.
    pub fn new(number: u64) -> Option<Self> {
        (1..=i64::MAX as u64)
            .contains(&number)
            .then_some(Self(number))
    }

    /// Reads decimal digits without sign or leading zero.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| text.parse().ok().and_then(Self::new))
            .flatten()
            .ok_or_else(|| Error::invalid("the model version must be a positive integer"))
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A movable name of a version: 1 to 64 characters of
/// `a-z 0-9 _ -` that begin with a letter, so that it is never a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias(std::sync::Arc<str>);

/// The longest alias.
pub const ALIAS_BYTES_MAX: usize = 64;

impl Alias {
    /// Checks the rules of names.
    pub fn parse(alias: &str) -> Result<Self> {
        let legal =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        let begins = alias.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || alias.len() > ALIAS_BYTES_MAX || !alias.chars().all(legal) {
            return Err(Error::invalid(format!(
                "an alias must be 1 to {ALIAS_BYTES_MAX} characters of a-z 0-9 _ - that begin with a letter"
            )));
        }

        Ok(Self(alias.into()))
    }

    /// The version for requests that do not name one.
    pub fn champion() -> Self {
        Self("champion".into())
    }

    /// The champion before the current one.
    pub fn previous() -> Self {
        Self("previous".into())
    }
}

impl std::borrow::Borrow<str> for Alias {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One axis of a declared tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Always this long.
    Fixed(usize),
    /// As long as in the request.
    Dynamic,
}

impl Dim {
    /// The wire form, −1 for a dynamic axis.
    pub fn to_wire(self) -> i64 {
        match self {
            Self::Fixed(n) => i64::try_from(n).unwrap_or(i64::MAX),
            Self::Dynamic => -1,
        }
    }
}

/// A declared input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The graph's name for it.
    pub name: String,
    /// The datatype.
    pub dtype: DType,
    /// The axes; `None` if the graph declares no rank.
    pub shape: Option<Vec<Dim>>,
}

impl TensorSpec {
    /// The shape on the wire: −1 for dynamic axes, `[-1]` where it is unknown.
    pub fn shape_to_wire(&self) -> Vec<i64> {
        match &self.shape {
            Some(dims) => dims.iter().map(|d| d.to_wire()).collect(),
            None => vec![-1],
        }
    }

    fn check(&self, tensor: &Tensor) -> Result<()> {
        let name = &self.name;
        if tensor.dtype() != self.dtype {
            return Err(Error::invalid(format!(
                "input '{name}' is {}, the model takes {}",
                tensor.dtype(),
                self.dtype
            )));
        }

        let Some(dims) = &self.shape else {
            return Ok(());
        };
        let fits = |(dim, n): (&Dim, &usize)| *dim == Dim::Dynamic || *dim == Dim::Fixed(*n);
        if dims.len() != tensor.shape().len() || !dims.iter().zip(tensor.shape()).all(fits) {
            return Err(Error::invalid(format!(
                "input '{name}' has shape {:?}, the model takes {:?}",
                tensor.shape(),
                self.shape_to_wire()
            )));
        }

        Ok(())
    }

    fn has_dynamic_first_axis(&self) -> bool {
        self.shape.as_ref().and_then(|s| s.first()) == Some(&Dim::Dynamic)
    }
}

/// The inputs and outputs of a model.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Signature {
    /// In the graph's order.
    pub inputs: Vec<TensorSpec>,
    /// In the graph's order.
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Checks named tensors against the inputs and puts them into the graph's
    /// order. Refuses a missing, unknown or repeated name and a datatype or
    /// shape that does not fit.
    pub fn check(&self, given: Vec<(String, Tensor)>) -> Result<Vec<Tensor>> {
        let mut slots: Vec<Option<Tensor>> = Vec::new();
        slots.resize_with(self.inputs.len(), || None);
        for (name, tensor) in given {
            let at = self
                .inputs
                .iter()
                .position(|spec| spec.name == name)
                .ok_or_else(|| {
                    Error::invalid(format!(
                        "input '{}' is unknown{}",
                        short(&name),
                        self.takes()
                    ))
                })?;
            self.inputs[at].check(&tensor)?;
            if slots[at].replace(tensor).is_some() {
                return Err(Error::invalid(format!(
                    "input '{}' is given twice",
                    short(&name)
                )));
            }
        }

        let missing = slots.iter().position(Option::is_none);
        match missing {
            Some(at) => Err(Error::invalid(format!(
                "input '{}' is missing{}",
                self.inputs[at].name,
                self.takes()
            ))),
            None => Ok(slots.into_iter().flatten().collect()),
        }
    }

    /// Finds the outputs that a request names; all if it names none.
    pub fn select(&self, names: &[String]) -> Result<Vec<usize>> {
        if names.is_empty() {
            return Ok((0..self.outputs.len()).collect());
        }
        let mut picked = Vec::with_capacity(names.len());
        for name in names {
            let at = self
                .outputs
                .iter()
                .position(|spec| spec.name == *name)
                .ok_or_else(|| {
                    let all: Vec<&str> = self.outputs.iter().map(|s| s.name.as_str()).collect();
                    Error::invalid(format!(
                        "output '{}' is unknown; the model answers {}",
                        short(name),
                        all.join(", ")
                    ))
                })?;
            if picked.contains(&at) {
                return Err(Error::invalid(format!(
                    "output '{}' is requested twice",
                    short(name)
                )));
            }
            picked.push(at);
        }

        Ok(picked)
    }

    /// Returns whether every input and every output has a dynamic first axis:
    /// necessary for batching, not sufficient.
    pub fn has_dynamic_first_axis(&self) -> bool {
        !self.inputs.is_empty()
            && !self.outputs.is_empty()
            && self
                .inputs
                .iter()
                .chain(&self.outputs)
                .all(TensorSpec::has_dynamic_first_axis)
    }

    fn takes(&self) -> String {
        let names: Vec<&str> = self
            .inputs
            .iter()
            .take(16)
            .map(|s| s.name.as_str())
            .collect();
        format!("; the model takes {}", names.join(", "))
    }
}
