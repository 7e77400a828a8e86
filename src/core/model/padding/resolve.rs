//! Finds the axis that declared padding is about in the signature of a model. Refuses every
//! declaration that the graph does not bear out, and says what would be accepted.

use super::{AxisNames, OutputAxis, PaddedInput, Padding, PaddingPlan, listed};
use crate::core::error::{Error, Result, short};
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::padding::PadValue;
use std::collections::BTreeSet;

impl PaddingPlan {
    /// Applies a declaration to a model.
    pub fn resolve(padding: &Padding, signature: &Signature, names: &AxisNames) -> Result<Self> {
        let resolving = Resolving {
            padding,
            signature,
            names,
        };
        resolving
            .plan()
            .map_err(|error| error.context("padding does not fit the model"))
    }
}

/// A declaration beside the model that it is for.
struct Resolving<'r> {
    padding: &'r Padding,
    signature: &'r Signature,
    names: &'r AxisNames,
}

impl Resolving<'_> {
    fn plan(&self) -> Result<PaddingPlan> {
        let mask = self.place(&self.padding.mask, "mask")?;
        let named = self.padding.inputs.keys();
        let mut padded: Vec<usize> = named
            .map(|name| self.place(name, "inputs"))
            .collect::<Result<_>>()?;
        if padded.contains(&mask) {
            return Err(Error::precondition(format!(
                "'{}' is the mask and one of the inputs; name it only as the mask, which is padded with 0",
                short(&self.padding.mask)
            )));
        }
        padded.push(mask);

        let axis_name = self.axis_name(&padded)?;
        let inputs = (0..self.signature.inputs.len())
            .map(|at| self.input(at, &axis_name, padded.contains(&at)))
            .collect::<Result<Vec<_>>>()?;
        let outputs = (0..self.signature.outputs.len())
            .map(|at| self.output(at, &axis_name))
            .collect::<Result<_>>()?;

        let before: usize = inputs_before(self.signature, mask);
        let axis = inputs[mask].as_ref().map_or(1, |input| input.axis);
        Ok(PaddingPlan {
            padding: self.padding.clone(),
            inputs,
            mask,
            outputs,
            length_at: before + axis - 1,
        })
    }

    /// Finds a required input.
    fn place(&self, name: &str, key: &str) -> Result<usize> {
        let inputs = &self.signature.inputs;
        let found = inputs.iter().position(|spec| spec.name == name);
        found.ok_or_else(|| {
            let what = match self.signature.find_optional(name) {
                Some(_) => "is an optional input, whose requests run alone",
                None => "is no input of the model",
            };
            Error::precondition(format!(
                "'{}' in '{key}' {what}; accepted: {}",
                short(name),
                listed(inputs.iter().map(|spec| spec.name.as_str()))
            ))
        })
    }

    /// Finds the name of the axis that all padded inputs share, besides the rows.
    fn axis_name(&self, padded: &[usize]) -> Result<String> {
        let mut shared: Option<BTreeSet<&str>> = None;
        for at in padded {
            let own: BTreeSet<&str> = self.inner_names(*at).collect();
            if own.is_empty() {
                return Err(Error::precondition(format!(
                    "input '{}' of shape {:?} has no dynamic axis with a name besides the first; export the model with a named sequence axis, or do not name this input",
                    short(&self.signature.inputs[*at].name),
                    self.signature.inputs[*at].shape_to_wire()
                )));
            }
            shared = Some(match shared {
                None => own,
                Some(shared) => shared.intersection(&own).copied().collect(),
            });
        }

        let shared = shared.unwrap_or_default();
        let mut found = shared.iter();
        match (found.next(), found.next()) {
            (Some(name), None) => Ok((*name).to_owned()),
            (None, _) => Err(Error::precondition(format!(
                "the padded inputs and the mask share no named axis besides the rows ({}); name only inputs that have the sequence axis of the mask",
                self.described(padded)
            ))),
            (Some(_), Some(_)) => Err(Error::precondition(format!(
                "the padded inputs and the mask share several named axes ({}); one of them must be the sequence axis alone",
                self.described(padded)
            ))),
        }
    }

    /// The names of an input's axes after the first, but that of the rows.
    fn inner_names(&self, at: usize) -> impl Iterator<Item = &str> {
        let names = self.names.inputs.get(at).map_or(&[][..], Vec::as_slice);
        let rows = names.first().cloned().flatten();
        let inner = names.iter().skip(1).flatten().map(String::as_str);
        inner.filter(move |name| rows.as_deref() != Some(name))
    }

    fn described(&self, padded: &[usize]) -> String {
        let one = |at: &usize| {
            let name = short(&self.signature.inputs[*at].name);
            format!("{name}: {}", listed(self.inner_names(*at)))
        };
        let all: Vec<String> = padded.iter().map(one).collect();
        all.join("; ")
    }

    /// How an input is padded; none if it does not have the axis.
    fn input(&self, at: usize, axis_name: &str, is_named: bool) -> Result<Option<PaddedInput>> {
        let spec = &self.signature.inputs[at];
        let name = short(&spec.name);
        if spec.shape.is_none() {
            return Err(Error::precondition(format!(
                "input '{name}' declares no shape, so its padded axis is unknown; export the model with shapes"
            )));
        }

        let names = self.names.inputs.get(at).map_or(&[][..], Vec::as_slice);
        let mut axes = (0..names.len()).filter(|axis| names[*axis].as_deref() == Some(axis_name));
        let axis = match (axes.next(), axes.next()) {
            (None, _) => return Ok(None),
            (Some(axis), None) if axis > 0 => axis,
            _ => {
                return Err(Error::precondition(format!(
                    "input '{name}' has the padded axis '{}' as its rows or more than once; accepted: once, after the first axis",
                    short(axis_name)
                )));
            }
        };
        if !is_named {
            return Err(Error::precondition(format!(
                "input '{name}' has the padded axis '{}' too; add it to 'inputs' with the value that it is padded with",
                short(axis_name)
            )));
        }

        let value = self.padding.inputs.get(&spec.name).copied();
        Ok(Some(PaddedInput {
            axis,
            fill: fill(spec, value.unwrap_or(0.0))?,
        }))
    }

    /// The axes of an output after the first. Each must be fixed, or be the padded one by name.
    fn output(&self, at: usize, axis_name: &str) -> Result<Vec<OutputAxis>> {
        let spec = &self.signature.outputs[at];
        let refuse = |what: &str| {
            Error::precondition(format!(
                "output '{}' {what}, so it cannot be told whether padded values would be part of the answer; export the model with this axis fixed or named '{}'",
                short(&spec.name),
                short(axis_name)
            ))
        };
        let shape = spec
            .shape
            .as_deref()
            .ok_or_else(|| refuse("declares no shape"))?;
        let names = self.names.outputs.get(at).map_or(&[][..], Vec::as_slice);
        let name = |axis: usize| names.get(axis).and_then(Option::as_deref);
        if name(0) == Some(axis_name) {
            return Err(refuse("has the padded axis as its rows"));
        }

        let axes = shape.iter().enumerate().skip(1);
        axes.map(|(axis, dim)| match (dim, name(axis)) {
            (Dim::Fixed(size), _) => Ok(OutputAxis::Fixed(*size)),
            (Dim::Dynamic, Some(name)) if name == axis_name => Ok(OutputAxis::Padded),
            (Dim::Dynamic, Some(name)) => {
                Err(refuse(&format!("has the dynamic axis '{}'", short(name))))
            }
            (Dim::Dynamic, None) => Err(refuse(&format!("has an unnamed dynamic axis {axis}"))),
        })
        .collect()
    }
}

/// How many axes but the first the inputs before this one have.
fn inputs_before(signature: &Signature, at: usize) -> usize {
    let before = signature.inputs.iter().take(at);
    let ranks = before.map(|spec| spec.shape.as_ref().map_or(0, Vec::len));
    ranks.map(|rank| rank.saturating_sub(1)).sum()
}

fn fill(spec: &TensorSpec, value: f64) -> Result<PadValue> {
    PadValue::new(spec.dtype, value)
        .map_err(|error| error.context(format!("input '{}'", short(&spec.name))))
}
