//! Padding of requests of different lengths: what an operator declares, and what that means for the inputs
//! and outputs of one model. Pure: decides which length a request runs at and which axes are padded or cut.
//! What cannot be decided from the graph is refused, so that no padded value can reach an answer.

mod resolve;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result, short};
use crate::core::tensor::padding::{PadValue, cut};
use crate::core::tensor::{DType, Data, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The padding that an operator declares for a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Padding {
    /// Lengths at which padded requests run, ascending.
    pub lengths: Vec<usize>,
    /// The inputs that are padded, and the value that each is padded with.
    pub inputs: BTreeMap<String, f64>,
    /// The input that says which places are real. It is padded with 0.
    pub mask: String,
    /// Most tokens, rows × length, of a batch.
    pub tokens_max: Option<usize>,
}

/// The names that a graph gives to the axes of its required inputs and its outputs. Axes of one name are
/// equally long in every run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AxisNames {
    /// Each input's axes; none for an axis that is fixed or has no name.
    pub inputs: Vec<Vec<Option<String>>>,
    /// Each output's.
    pub outputs: Vec<Vec<Option<String>>>,
}

/// An input that is padded.
#[derive(Clone, Debug, PartialEq)]
struct PaddedInput {
    axis: usize,
    fill: PadValue,
}

/// An axis of an output, after the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputAxis {
    /// As long as the padded inputs; it is cut.
    Padded,
    Fixed(usize),
}

/// What padding does to the tensors of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct PaddingPlan {
    padding: Padding,
    /// For each required input of the signature.
    inputs: Vec<Option<PaddedInput>>,
    /// The place of the mask among them.
    mask: usize,
    /// The axes of each output after the first.
    outputs: Vec<Vec<OutputAxis>>,
    /// The place of the length among the sizes of all axes but the first, of all inputs.
    length_at: usize,
}

/// The length of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLength {
    /// In the request.
    pub own: usize,
    /// In the batches that it can join; equal to `own` if it is not padded.
    pub bucket: usize,
}

impl RequestLength {
    /// Tells whether it is padded in a batch.
    pub fn is_padded(self) -> bool {
        self.own != self.bucket
    }
}

impl PaddingPlan {
    /// What was declared.
    pub fn declared(&self) -> &Padding {
        &self.padding
    }

    /// The place of the length among the sizes of all axes but the first, of all inputs.
    pub fn length_at(&self) -> usize {
        self.length_at
    }

    /// The place of the mask among the required inputs.
    pub fn mask(&self) -> usize {
        self.mask
    }

    /// The axis along which a required input is padded.
    pub fn axis(&self, input: usize) -> Option<usize> {
        self.inputs.get(input)?.as_ref().map(|input| input.axis)
    }

    /// What a required input is padded with.
    pub fn fill(&self, input: usize) -> Option<&PadValue> {
        self.inputs.get(input)?.as_ref().map(|input| &input.fill)
    }

    /// Returns the length of a request, and the one it is padded to. None if its padded inputs do not
    /// have one length. It keeps its own length if that is 0 or longer than every bucket, and if the mask
    /// hides all of a row: models answer such a row differently at each length.
    pub fn measure(&self, inputs: &[Tensor]) -> Option<RequestLength> {
        let length = |input: usize| inputs.get(input)?.shape().get(self.axis(input)?).copied();
        let own = length(self.mask)?;
        let padded = (0..self.inputs.len()).filter(|input| self.inputs[*input].is_some());
        if !padded.into_iter().all(|input| length(input) == Some(own)) {
            return None;
        }

        let bucket = self
            .bucket(own)
            .filter(|_| shows_each_row(&inputs[self.mask]));
        Some(RequestLength {
            own,
            bucket: bucket.unwrap_or(own),
        })
    }

    /// The smallest of the lengths that holds `own`.
    fn bucket(&self, own: usize) -> Option<usize> {
        let lengths = self.padding.lengths.iter().copied();
        lengths.filter(|_| own > 0).find(|length| *length >= own)
    }

    /// Cuts all outputs of padded rows, as [`PaddingPlan::cut`] does.
    pub fn cut_all(&self, outputs: Vec<Tensor>, length: RequestLength) -> Result<Vec<Tensor>> {
        let outputs = outputs.into_iter().enumerate();
        let cut = outputs.map(|(at, output)| self.cut(at, output, length));
        cut.collect()
    }

    /// Cuts an output of padded rows to the request's own length. Refuses one whose shape is not what the
    /// graph declares, because then padded values might be part of it.
    pub fn cut(&self, at: usize, output: Tensor, length: RequestLength) -> Result<Tensor> {
        let axes = self.outputs.get(at).map_or(&[][..], Vec::as_slice);
        let is_declared = |(axis, size): (&OutputAxis, &usize)| match axis {
            OutputAxis::Padded => *size == length.bucket,
            OutputAxis::Fixed(fixed) => size == fixed,
        };
        let sizes = output.shape().get(1..).unwrap_or_default();
        if axes.len() != sizes.len() || !axes.iter().zip(sizes).all(is_declared) {
            return Err(Error::internal(format!(
                "output {at} of the model has the shape {:?} where requests are padded to {}, which is not the shape that its graph declares",
                output.shape(),
                length.bucket
            )));
        }

        let padded = axes.iter().enumerate();
        let mut padded = padded.filter(|(_, axis)| **axis == OutputAxis::Padded);
        padded.try_fold(output, |output, (axis, _)| {
            cut(output, axis + 1, length.own)
        })
    }
}

/// Tells whether a mask shows something of each of its rows.
fn shows_each_row(mask: &Tensor) -> bool {
    let Data::Fixed(bytes) = mask.data() else {
        return false;
    };
    let Some(width) = mask.dtype().element_bytes() else {
        return false;
    };
    let is_signed_zero = matches!(
        mask.dtype(),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64
    );
    let is_shown = |element: &[u8]| {
        let (last, rest) = element.split_last().unwrap_or((&0, &[]));
        // The sign of a zero says nothing.
        let last = if is_signed_zero { last & 0x7f } else { *last };
        last != 0 || rest.iter().any(|byte| *byte != 0)
    };

    let rows = mask.rows().unwrap_or(0);
    let row_bytes = bytes.len().checked_div(rows).unwrap_or(0);
    row_bytes > 0
        && bytes
            .chunks_exact(row_bytes)
            .all(|row| row.chunks_exact(width).any(is_shown))
}

/// Joins names for an error.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.take(16).map(short).collect();
    names.join(", ")
}
