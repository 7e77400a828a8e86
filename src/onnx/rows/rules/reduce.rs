//! Operators that work along axes: they keep rows apart if the batch axis is not one of
//! these.

use super::{Facts, NodeCall};
use crate::onnx::rows::fact::{Doubt, Extent, Fact, dependent, from_front, unknown};

const ALONG: &str = "it works along the batch axis";

/// Refuses the batch axis of a tensor.
pub(super) fn not_batch(fact: &Fact, axis: usize) -> Result<(), Doubt> {
    if fact.axis == Some(axis) {
        return dependent(ALONG);
    }
    Ok(())
}

/// Reductions; their axes are an input since operator set 18, for ReduceSum since 13.
pub(in crate::onnx::rows) fn reduce(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let opset = if call.node.op == "ReduceSum" { 13 } else { 18 };
    let axes = call.list("axes", 1, opset)?.unwrap_or_default();
    if axes.is_empty() && call.node.int("noop_with_empty_axes") == Some(1) {
        return Ok(vec![Fact::of(first.axis, first.dims()?.to_vec())]);
    }
    reduced(call, &axes)
}

/// Removes axes, or all if none are named.
fn reduced(call: &NodeCall<'_>, axes: &[i64]) -> Facts {
    let first = call.input(0)?;
    let keep = call.node.int("keepdims") != Some(0);
    if axes.is_empty() && first.axis.is_some() {
        return dependent("it reduces over all axes, the batch axis included");
    }
    let rank = first.rank()?;
    let mut gone: Vec<usize> = Vec::new();
    for axis in axes {
        gone.push(from_front(*axis, rank)?);
    }
    if axes.is_empty() {
        gone = (0..rank).collect();
    }
    for axis in &gone {
        not_batch(first, *axis)?;
    }

    let kept = |at: &usize| keep || !gone.contains(at);
    let dims = first.dims()?;
    let length = |at: usize| {
        if gone.contains(&at) {
            Extent::fixed(1)
        } else {
            dims[at].clone()
        }
    };
    let out = (0..rank).filter(kept).map(length).collect();
    let axis = first.axis.map(|axis| (0..axis).filter(kept).count());
    Ok(vec![Fact::of(axis, out)])
}

/// ArgMax and ArgMin.
pub(in crate::onnx::rows) fn arg_reduce(call: &NodeCall<'_>) -> Facts {
    reduced(call, &[call.node.int("axis").unwrap_or(0)])
}

/// Softmax and its relatives: before operator set 13 over all axes from `axis` on.
pub(in crate::onnx::rows) fn softmax(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let rank = first.rank()?;
    if call.opset < 13 && call.node.domain.is_empty() {
        let from = call.node.int("axis").unwrap_or(1);
        let from = if from == rank as i64 {
            rank
        } else {
            from_front(from, rank)?
        };
        if first.axis.is_some_and(|axis| axis >= from) {
            return dependent(ALONG);
        }
    } else {
        not_batch(first, call.axis(-1, rank)?)?;
    }

    Ok(vec![Fact::of(first.axis, first.dims()?.to_vec())])
}

/// Operators along one axis, the last unless it is named, that keep the shape.
pub(in crate::onnx::rows) fn along_last(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    not_batch(first, call.axis(-1, first.rank()?)?)?;
    Ok(vec![Fact::of(first.axis, first.dims()?.to_vec())])
}

/// Normalisation over all axes from one on.
pub(in crate::onnx::rows) fn layer_norm(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let from = call.axis(-1, first.rank()?)?;
    if first.axis.is_some_and(|axis| axis >= from) {
        return dependent(ALONG);
    }

    // Scale and bias are broadcast to the input.
    let facts: Vec<&Fact> = call.present().take(3).collect();
    let out = super::broadcast(&facts, call.symbols)?;
    let mut statistics = out.clone();
    for dim in statistics.dims.iter_mut().flatten().skip(from) {
        *dim = Extent::fixed(1);
    }
    Ok(vec![out, statistics.clone(), statistics])
}

/// CumSum: its axis is an input.
pub(in crate::onnx::rows) fn cumulative(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    match call.list("axis", 1, 0)?.as_deref() {
        Some([axis]) => not_batch(first, from_front(*axis, first.rank()?)?)?,
        _ => return unknown("its axis is not a constant"),
    }
    Ok(vec![Fact::of(first.axis, first.dims()?.to_vec())])
}

/// TopK: values and their places.
pub(in crate::onnx::rows) fn top_k(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let axis = call.axis(-1, first.rank()?)?;
    not_batch(first, axis)?;
    let mut dims = first.dims()?.to_vec();
    dims[axis] = call.symbols.fresh();
    let out = Fact::of(first.axis, dims);
    Ok(vec![out.clone(), out])
}

/// Mean and variance over axes that are an attribute.
pub(in crate::onnx::rows) fn mean_variance(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let rank = first.rank()?;
    let axes = call.ints("axes")?.unwrap_or(&[0, 2, 3]);
    for axis in axes {
        not_batch(first, from_front(*axis, rank)?)?;
    }
    Ok(vec![Fact::of(first.axis, first.dims()?.to_vec())])
}

/// Matrix operators on the last two axes that keep the shape.
pub(in crate::onnx::rows) fn last_two(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let rank = first.rank()?;
    if first.axis.is_some_and(|axis| axis + 2 >= rank) {
        return dependent("the batch axis is one of the axes of its matrices");
    }
    let dims = first.dims()?;
    let kept = if call.node.op == "Det" {
        rank.saturating_sub(2)
    } else {
        rank
    };
    Ok(vec![Fact::of(first.axis, dims[..kept].to_vec())])
}
