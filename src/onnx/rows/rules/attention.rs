//! Operators on sequences `[N, …]` that take more than one input with rows.

use super::{Facts, NodeCall};
use crate::onnx::rows::fact::{Extent, Fact, dependent, unknown};

const DIFFER: &str = "only some of its inputs have the batch on their first axis";

/// Attention: queries, keys, values and states have the rows on their first axis. A mask has them on the
/// first of four axes, or is the same for all rows.
pub(in crate::onnx::rows) fn attention(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let batch = first.dims()?.first().cloned();
    for (at, fact) in call.inputs.iter().enumerate() {
        let Some(fact) = fact else { continue };
        let (rank, own) = (fact.rank()?, fact.dims()?.first());
        let is_shared =
            at == 3 && fact.axis.is_none() && (rank < 4 || own.is_some_and(Extent::is_one));
        if is_shared {
            continue;
        }
        if at == 3 && fact.axis.is_some() && rank < 4 {
            return dependent("the rows of its mask are not on its batch axis");
        }
        if fact.axis != Some(0) || own != batch.as_ref() {
            return unknown(DIFFER);
        }
    }

    let rank = first.rank()?;
    let like = |rank| batched(call, batch.as_ref(), rank);
    Ok(vec![like(rank), like(4), like(4), like(4)])
}

/// A tensor with the batch on its first axis.
fn batched(call: &NodeCall<'_>, batch: Option<&Extent>, rank: usize) -> Fact {
    let mut dims: Vec<Extent> = (0..rank).map(|_| call.symbols.fresh()).collect();
    if let (Some(first), Some(batch)) = (dims.first_mut(), batch) {
        *first = batch.clone();
    }
    Fact::of(Some(0), dims)
}

/// RotaryEmbedding: rotates each position by its number, or by its place in the sequence.
pub(in crate::onnx::rows) fn rotary(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let batch = first.dims()?.first();
    for (at, fact) in call.inputs.iter().enumerate() {
        let Some(fact) = fact else { continue };
        // With position numbers the tables are the same for all rows.
        let is_shared = (at == 1 || at == 2) && call.has(3) && fact.axis.is_none();
        if !is_shared && (fact.axis != Some(0) || fact.dims()?.first() != batch) {
            return unknown(DIFFER);
        }
    }
    Ok(vec![Fact::of(first.axis, first.dims()?.to_vec())])
}

/// DeformConv: offsets and masks of each row.
pub(in crate::onnx::rows) fn deform(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let rank = first.rank()?;
    let batch = first.dims()?.first();
    for at in [0, 2, 4] {
        if !call.has(at) {
            continue;
        }
        let fact = call.input(at)?;
        if fact.axis != Some(0) || fact.dims()?.first() != batch {
            return unknown(DIFFER);
        }
    }
    for at in [1, 3] {
        if call.has(at) && call.input(at)?.axis.is_some() {
            return unknown("a parameter is computed from the rows");
        }
    }
    Ok(vec![batched(call, batch, rank)])
}

/// AffineGrid: a grid for each row, of a size whose first number is the number of rows.
pub(in crate::onnx::rows) fn affine_grid(call: &NodeCall<'_>) -> Facts {
    let (first, size) = (call.input(0)?, call.input(1)?);
    let Some(numbers) = &size.numbers else {
        return unknown("its size is not known");
    };
    let counts = numbers.iter().filter(|n| n.has_rows()).count();
    if first.axis != Some(0) || numbers.first() != first.dims()?.first() || counts != 1 {
        return unknown("its size does not follow the batch");
    }
    Ok(vec![batched(call, numbers.first(), numbers.len())])
}

/// CenterCropPad along axes that it names, of which the batch axis is none.
pub(in crate::onnx::rows) fn center(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let rank = first.rank()?;
    let Some(axes) = call.ints("axes")? else {
        return unknown("it names no axes");
    };
    let mut dims = first.dims()?.to_vec();
    for axis in axes {
        let axis = crate::onnx::rows::fact::from_front(*axis, rank)?;
        super::reduce::not_batch(first, axis)?;
        dims[axis] = call.symbols.fresh();
    }
    Ok(vec![Fact::of(first.axis, dims)])
}
