//! Names, versions and the signature of a model. Checks the tensors of a request
//! against the signature once; no later code looks at shapes again.

pub mod answered;
pub mod columns;
pub mod optional;
pub mod padding;
pub mod task;
#[cfg(test)]
mod tests;

use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::tensor::{DType, Tensor};
use optional::{CheckedInputs, FixedInput, OptionalInput, OptionalTensor};
use smallvec::SmallVec;
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
    /// The first version.
    pub const ONE: Self = Self(1);

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
    /// What every request must give, in the graph's order.
    pub inputs: Vec<TensorSpec>,
    /// What a request may give, in the graph's order.
    pub optional: Vec<OptionalInput>,
    /// Inputs whose defaults no request can replace.
    pub fixed: Vec<FixedInput>,
    /// In the graph's order.
    pub outputs: Vec<TensorSpec>,
}

/// Places of outputs in the graph's order; few requests have many.
pub type OutputPlaces = SmallVec<[usize; 4]>;

/// Takes the tensors of slots that are all filled.
fn required(slots: Vec<Option<Tensor>>) -> Vec<Tensor> {
    let mut required = Vec::with_capacity(slots.len());
    required.extend(slots.into_iter().flatten());
    required
}

/// The most names of inputs in an error.
const NAMES_MAX: usize = 16;

impl Signature {
    /// Tells whether every input has a fixed shape but for its first axis.
    pub(crate) fn has_fixed_inner_axes(&self) -> bool {
        let shapes = self.inputs.iter().map(|input| input.shape.as_deref());
        shapes.into_iter().all(|shape| {
            let inner = shape.and_then(|dims| dims.get(1..));
            inner.is_some_and(|dims| dims.iter().all(|dim| *dim != Dim::Dynamic))
        })
    }

    /// Checks named tensors against the inputs and puts them into the graph's
    /// order. Refuses a missing, unknown or repeated name and a datatype or
    /// shape that does not fit.
    pub fn check(&self, given: Vec<(String, Tensor)>) -> Result<CheckedInputs> {
        let mut slots: Vec<Option<Tensor>> = Vec::with_capacity(self.inputs.len());
        slots.resize_with(self.inputs.len(), || None);
        let mut optional: Vec<(usize, OptionalTensor)> = Vec::new();
        for (name, tensor) in given {
            let required = self.inputs.iter().position(|spec| spec.name == name);
            let is_new = match required {
                Some(at) => {
                    self.inputs[at].check(&tensor)?;
                    slots[at].replace(tensor).is_none()
                }
                None => {
                    let at = self
                        .find_optional(&name)
                        .ok_or_else(|| self.refuse_input(&name))?;
                    self.optional[at].spec.check(&tensor)?;
                    let is_new = optional.iter().all(|(other, _)| *other != at);
                    optional.push((
                        at,
                        OptionalTensor {
                            name: name.clone(),
                            tensor,
                        },
                    ));
                    is_new
                }
            };
            if !is_new {
                return Err(Error::invalid(format!(
                    "input '{}' is given twice",
                    short(&name)
                )));
            }
        }

        if let Some(at) = slots.iter().position(Option::is_none) {
            return Err(Error::invalid(format!(
                "input '{}' is missing{}",
                self.inputs[at].name,
                self.takes()
            )));
        }

        optional.sort_by_key(|(at, _)| *at);
        Ok(CheckedInputs {
            required: required(slots),
            optional: optional.into_iter().map(|(_, given)| given).collect(),
        })
    }

    /// Finds an optional input by its name.
    pub fn find_optional(&self, name: &str) -> Option<usize> {
        self.optional.iter().position(|o| o.spec.name == name)
    }

    /// Returns the optional inputs that metadata lists.
    pub fn listed_optional(&self) -> impl Iterator<Item = &TensorSpec> {
        self.optional
            .iter()
            .filter(|o| o.is_listed)
            .map(|o| &o.spec)
    }

    /// Returns the inputs that metadata lists: required ones first.
    pub fn listed_inputs(&self) -> impl Iterator<Item = &TensorSpec> {
        self.inputs.iter().chain(self.listed_optional())
    }

    /// Returns the error for an input that is neither required nor optional.
    pub fn refuse_input(&self, name: &str) -> Error {
        let (named, takes) = (short(name), self.takes());
        match self.fixed.iter().find(|fixed| fixed.name == name) {
            Some(FixedInput { reason, .. }) => Error::invalid(format!(
                "input '{named}' has a fixed default: {reason}{takes}"
            )),
            None => Error::invalid(format!("input '{named}' is unknown{takes}")),
        }
    }

    /// Finds the outputs that a request names; all if it names none.
    pub fn select(&self, names: &[String]) -> Result<OutputPlaces> {
        if names.is_empty() {
            return Ok((0..self.outputs.len()).collect());
        }
        let mut picked = OutputPlaces::with_capacity(names.len());
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

    /// Returns whether every required input and every output has a dynamic first axis:
    /// necessary for batching, not sufficient.
    pub fn has_dynamic_first_axis(&self) -> bool {
        self.why_unsplit().is_none()
    }

    /// Returns why requests cannot be merged along the first axis, with the first tensor that is in
    /// the way; none if every tensor has a dynamic first axis.
    pub(crate) fn why_unsplit(&self) -> Option<String> {
        let inputs = self.inputs.iter().map(|spec| ("input", spec));
        let outputs = self.outputs.iter().map(|spec| ("output", spec));
        let fixed = inputs
            .chain(outputs)
            .find(|(_, spec)| !spec.has_dynamic_first_axis());

        let reason = match fixed {
            Some((role, spec)) => {
                let shape = match spec.shape {
                    Some(_) => format!("has the shape {:?}", spec.shape_to_wire()),
                    None => "has no known shape".to_owned(),
                };
                format!("{role} '{}' {shape}", short(&spec.name))
            }
            None if self.inputs.is_empty() => "there is no required input".to_owned(),
            None if self.outputs.is_empty() => "there is no output".to_owned(),
            None => return None,
        };
        Some(format!(
            "not every input and output has a dynamic first axis: {reason}"
        ))
    }

    fn takes(&self) -> String {
        let names = |specs: &mut dyn Iterator<Item = &TensorSpec>| {
            let names: Vec<&str> = specs.take(NAMES_MAX).map(|s| s.name.as_str()).collect();
            names.join(", ")
        };
        let required = names(&mut self.inputs.iter());
        let optional = names(&mut self.listed_optional());

        match (required.is_empty(), optional.is_empty()) {
            (_, true) => format!("; the model takes {required}"),
            (true, false) => format!("; the model takes, optionally, {optional}"),
            (false, false) => format!("; the model takes {required}, and optionally {optional}"),
        }
    }
}
