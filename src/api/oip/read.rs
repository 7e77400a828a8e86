//! Reads ModelInferRequest straight from its bytes: first which model it is for, so that a refusal costs
//! little, then its tensors. Only a plain message is read here, as most clients send it: raw contents
//! and no parameters. Others are decoded as a whole by [`super::codec`], with the same result.

#[cfg(test)]
mod tests;

use super::codec::{self, AnswerForm};
use crate::api::inbound::Decoded;
use crate::core::error::{Error, Result, short};
use crate::core::fields::{Fields, WireField, varint};
use crate::core::request::{INPUTS_MAX, Request};
use crate::core::tensor::{RANK_MAX, Tensor, shape_from_wire};
use bytes::Bytes;

// Field numbers of ModelInferRequest, of its InferInputTensor and of its InferRequestedOutputTensor.
const MODEL_NAME: u64 = 1;
const MODEL_VERSION: u64 = 2;
const ID: u64 = 3;
const INPUTS: u64 = 5;
const OUTPUTS: u64 = 6;
const RAW_INPUT_CONTENTS: u64 = 7;
const NAME: u64 = 1;
const DATATYPE: u64 = 2;
const SHAPE: u64 = 3;

/// The highest number of a field in any message.
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// What a message says besides its tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestOutline<'m> {
    pub model: &'m str,
    pub version: &'m str,
    id: &'m str,
    inputs: usize,
    outputs: usize,
    raw: usize,
    /// Whether [`read`] reads all that it says.
    pub is_plain: bool,
}

impl RequestOutline<'_> {
    /// Refuses more inputs or outputs than any model has.
    pub(crate) fn check_limits(&self) -> Result<()> {
        Request::check_limits(self.id, self.inputs)?;
        match self.outputs > INPUTS_MAX {
            true => Err(Error::invalid(format!(
                "{} outputs are over the limit of {INPUTS_MAX}",
                self.outputs
            ))),
            false => Ok(()),
        }
    }
}

/// Finds what a message says besides its tensors; none if it is malformed.
pub(crate) fn outline(message: &[u8]) -> Option<RequestOutline<'_>> {
    let mut found = RequestOutline {
        is_plain: true,
        ..RequestOutline::default()
    };
    for field in Fields::of(message) {
        let (number, field) = field.ok()?;
        match (number, field) {
            (MODEL_NAME, WireField::Body(name)) => found.model = text(name)?,
            (MODEL_VERSION, WireField::Body(version)) => found.version = text(version)?,
            (ID, WireField::Body(id)) => found.id = text(id)?,
            (INPUTS, WireField::Body(input)) => {
                found.inputs += 1;
                found.is_plain &= PlainInput::read(input).is_some();
            }
            (OUTPUTS, WireField::Body(output)) => {
                found.outputs += 1;
                found.is_plain &= output_name(output).is_some();
            }
            (RAW_INPUT_CONTENTS, WireField::Body(_)) => found.raw += 1,
            // Parameters, and what is malformed.
            (0..=RAW_INPUT_CONTENTS, _) => found.is_plain = false,
            _ => found.is_plain &= number <= NUMBER_MAX,
        }
    }

    found.is_plain &= found.raw > 0;
    Some(found)
}

/// Reads a plain message.
pub(crate) fn read(message: &Bytes, outline: &RequestOutline<'_>) -> Result<Decoded<AnswerForm>> {
    outline.check_limits()?;
    codec::check_raw_count(outline.raw, outline.inputs)?;

    let bodies = |wanted: u64| {
        Fields::of(message).filter_map(move |field| match field {
            Ok((number, WireField::Body(body))) if number == wanted => Some(body),
            _ => None,
        })
    };
    let mut inputs = Vec::with_capacity(outline.inputs);
    for (input, raw) in bodies(INPUTS).zip(bodies(RAW_INPUT_CONTENTS)) {
        let input = PlainInput::read(input)
            .ok_or_else(|| Error::internal("a message changed while it was read"))?;
        let tensor = input.tensor(message.slice_ref(raw));
        let tensor =
            tensor.map_err(|e| e.context(format_args!("input '{}'", short(input.name))))?;
        inputs.push((input.name.to_owned(), tensor));
    }
    let mut outputs = Vec::with_capacity(outline.outputs);
    outputs.extend(bodies(OUTPUTS).filter_map(output_name).map(str::to_owned));

    Ok(Decoded {
        id: outline.id.to_owned(),
        priority: 0,
        timeout_us: None,
        route_key: None,
        inputs,
        outputs,
        form: AnswerForm::RAW,
    })
}

/// An input without parameters and contents.
struct PlainInput<'m> {
    name: &'m str,
    datatype: &'m str,
    dims: [i64; RANK_MAX],
    rank: usize,
}

impl<'m> PlainInput<'m> {
    /// Reads it; none if it is malformed or has more.
    fn read(input: &'m [u8]) -> Option<Self> {
        let mut found = Self {
            name: "",
            datatype: "",
            dims: [0; RANK_MAX],
            rank: 0,
        };
        for field in Fields::of(input) {
            match field.ok()? {
                (NAME, WireField::Body(name)) => found.name = text(name)?,
                (DATATYPE, WireField::Body(datatype)) => found.datatype = text(datatype)?,
                (SHAPE, WireField::Number(dim)) => found.add(dim)?,
                (SHAPE, WireField::Body(mut dims)) => {
                    while !dims.is_empty() {
                        found.add(varint(&mut dims).ok()?)?;
                    }
                }
                _ => return None,
            }
        }
        Some(found)
    }

    fn add(&mut self, dim: u64) -> Option<()> {
        *self.dims.get_mut(self.rank)? = dim.cast_signed();
        self.rank += 1;
        Some(())
    }

    fn tensor(&self, raw: Bytes) -> Result<Tensor> {
        let dtype = codec::dtype(self.datatype)?;
        Tensor::from_raw(dtype, shape_from_wire(&self.dims[..self.rank])?, raw)
    }
}

/// The name of a requested output; none if it is malformed or has parameters.
fn output_name(output: &[u8]) -> Option<&str> {
    let mut found = "";
    for field in Fields::of(output) {
        match field.ok()? {
            (NAME, WireField::Body(name)) => found = text(name)?,
            _ => return None,
        }
    }
    Some(found)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
