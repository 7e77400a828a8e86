//! Operators that take or place elements by indices.

use super::reduce::not_batch;
use super::{Facts, NodeCall, like_first};
use crate::onnx::rows::fact::{Extent, Fact, dependent, from_front, unknown};

/// An end of a slice that stands for the end of any axis.
const FAR: i64 = i32::MAX as i64;

pub(in crate::onnx::rows) fn slice(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    if call.opset >= 10 {
        call.only_uniform_from(1)?;
    }
    let rank = first.rank()?;
    let axes = call.list("axes", 3, 10)?;
    let ends = if call.opset >= 10 {
        call.input(2)?.numbers.clone()
    } else {
        call.ints("ends")?
            .map(|e| e.iter().map(|n| Extent::fixed(*n)).collect())
    };
    let count = ends.as_ref().map_or(rank, Vec::len);
    let axes = axes.unwrap_or_else(|| (0..count as i64).collect());

    let mut dims = first.dims()?.to_vec();
    for (at, axis) in axes.iter().enumerate() {
        let axis = from_front(*axis, rank)?;
        if first.axis != Some(axis) {
            if first.axis.is_some() && counts_rows(call, at) {
                return dependent("it cuts an axis by the number of rows");
            }
            dims[axis] = sliced_length(call, at, dims[axis].as_fixed(), ends.as_deref());
            continue;
        }
        let end = ends.as_ref().and_then(|e| e.get(at));
        let is_whole =
            end.is_some_and(|end| *end == dims[axis] || end.as_fixed().is_some_and(|n| n >= FAR));
        if !is_whole || !starts_at_front(call, at) {
            return dependent("it cuts the batch axis");
        }
    }
    Ok(vec![Fact::of(first.axis, dims)])
}

/// The length of an axis after part `at` of a slice.
fn sliced_length(
    call: &NodeCall<'_>,
    at: usize,
    length: Option<i64>,
    ends: Option<&[Extent]>,
) -> Extent {
    let number = |name, input| {
        let list = call.list(name, input, 10).ok()??;
        list.get(at).copied()
    };
    let known = || {
        let length = length.filter(|n| *n >= 0)?;
        let is_forward = !call.has(4) || number("steps", 4)? == 1;
        let bound = |n: i64| if n < 0 { n.saturating_add(length) } else { n }.clamp(0, length);
        let end = bound(ends?.get(at)?.as_fixed()?);
        let start = bound(number("starts", 1)?);
        is_forward.then_some(Extent::fixed((end - start).max(0)))
    };
    known().unwrap_or_else(|| call.symbols.fresh())
}

/// Whether part `at` of a slice starts or ends at the number of rows.
fn counts_rows(call: &NodeCall<'_>, at: usize) -> bool {
    let mut ranges = call.inputs.iter().skip(1).take(2).flatten();
    ranges.any(|fact| {
        let number = fact.numbers.as_ref().and_then(|n| n.get(at));
        number.is_some_and(Extent::has_rows)
    })
}

/// Whether part `at` of a slice starts at 0 and takes every element.
fn starts_at_front(call: &NodeCall<'_>, at: usize) -> bool {
    let number = |name, input, opset| {
        let list = call.list(name, input, opset).ok()?;
        list.map_or(Some(None), |l| l.get(at).map(|n| Some(*n)))
    };
    let start = number("starts", 1, 10);
    let step = number("steps", 4, 10);
    start == Some(Some(0)) && matches!(step, Some(None | Some(1)))
}

pub(in crate::onnx::rows) fn pad(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let rank = first.rank()?;
    let name = if call.opset < 2 { "paddings" } else { "pads" };
    let Some(pads) = call.list(name, 1, 11)? else {
        return unknown("its padding is not known");
    };
    let axes = if call.has(3) {
        call.list("axes", 3, 0)?
    } else {
        None
    };
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    if pads.len() != 2 * axes.len() {
        return unknown("its padding does not fit the shape");
    }

    let mut dims = first.dims()?.to_vec();
    for (at, axis) in axes.iter().enumerate() {
        let axis = from_front(*axis, rank)?;
        let is_kept = pads[at] == 0 && pads[at + axes.len()] == 0;
        if first.axis == Some(axis) && !is_kept {
            return dependent("it pads the batch axis");
        }
        if !is_kept {
            dims[axis] = call.symbols.fresh();
        }
    }
    Ok(vec![Fact::of(first.axis, dims)])
}

pub(in crate::onnx::rows) fn gather(call: &NodeCall<'_>) -> Facts {
    let (values, places) = (call.input(0)?, call.input(1)?);
    let rank = values.rank()?;
    let axis = call.axis(0, rank)?;
    not_batch(values, axis)?;
    let batch = match (values.axis, places.axis) {
        (Some(_), Some(_)) => {
            return dependent("it looks up the indices of every row in every row");
        }
        (Some(own), None) if own > axis => Some(own + places.rank()? - 1),
        (own, None) => own,
        (None, Some(own)) => Some(axis + own),
    };

    let dims = values.dims()?;
    let out = [&dims[..axis], places.dims()?, &dims[axis + 1..]].concat();
    Ok(vec![Fact::of(batch, out)])
}

/// GatherElements and ScatterElements: all inputs have the same batch axis.
pub(in crate::onnx::rows) fn elements(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let axis = call.axis(0, first.rank()?)?;
    for fact in call.present() {
        not_batch(fact, axis)?;
        if fact.axis != first.axis || fact.rank()? != first.rank()? {
            return unknown("only some of its inputs have a batch axis");
        }
    }
    if let Some(batch) = first.axis {
        for fact in call.present() {
            if fact.dims()?[batch] != first.dims()?[batch] {
                return unknown("its inputs have different numbers of elements for each row");
            }
        }
    }

    let like = if call.node.op == "GatherElements" {
        call.input(1)?
    } else {
        first
    };
    Ok(vec![Fact::of(like.axis, like.dims()?.to_vec())])
}

pub(in crate::onnx::rows) fn gather_nd(call: &NodeCall<'_>) -> Facts {
    let (values, places) = (call.input(0)?, call.input(1)?);
    let shared = call.node.int("batch_dims").unwrap_or(0);
    let Ok(shared) = usize::try_from(shared) else {
        return unknown("its batch_dims is negative");
    };
    let (own, index) = (values.dims()?, places.dims()?);
    let Some((taken, outer)) = index.split_last() else {
        return unknown("its indices are a number");
    };
    let Some(taken) = taken.as_fixed().and_then(|n| usize::try_from(n).ok()) else {
        return unknown("the length of its indices is not known");
    };
    let Some(kept) = shared.checked_add(taken).filter(|n| *n <= own.len()) else {
        return unknown("its indices do not fit the shape");
    };

    let batch = match (values.axis, places.axis) {
        (None, None) => None,
        (None, Some(axis)) if shared == 0 && axis < outer.len() => Some(axis),
        (Some(a), Some(b)) if a == b && a < shared && own[a] == index[b] => Some(a),
        (Some(a), _) if (shared..kept).contains(&a) => {
            return dependent("it takes elements of other rows");
        }
        _ => return unknown("only some of its inputs have a batch axis"),
    };
    Ok(vec![Fact::of(batch, [outer, &own[kept..]].concat())])
}

pub(in crate::onnx::rows) fn one_hot(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let rank = first.rank()? + 1;
    let at = call.axis(-1, rank)?;
    let mut dims = first.dims()?.to_vec();
    dims.insert(at, call.symbols.fresh());
    let axis = first.axis.map(|axis| axis + usize::from(at <= axis));
    Ok(vec![Fact::of(axis, dims)])
}

/// StringNormalizer: without words to drop it changes each text by itself.
pub(in crate::onnx::rows) fn texts(call: &NodeCall<'_>) -> Facts {
    if call
        .node
        .attribute("stopwords")
        .is_some_and(|a| a.listed > 0)
    {
        return dependent("it drops words, so its length depends on every row");
    }
    like_first(call)
}

pub(in crate::onnx::rows) fn compress(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    if call.node.int("axis").is_none() && first.axis.is_some() {
        return dependent("it selects from all rows together");
    }
    let axis = call.axis(0, first.rank()?)?;
    not_batch(first, axis)?;
    if call.input(1)?.axis.is_some() {
        return dependent("how many elements it selects depends on the rows");
    }
    let mut dims = first.dims()?.to_vec();
    dims[axis] = call.symbols.fresh();
    Ok(vec![Fact::of(first.axis, dims)])
}

pub(in crate::onnx::rows) fn reverse_sequence(call: &NodeCall<'_>) -> Facts {
    let (first, lengths) = (call.input(0)?, call.input(1)?);
    let rank = first.rank()?;
    let time = from_front(call.node.int("time_axis").unwrap_or(0), rank)?;
    let batch = from_front(call.node.int("batch_axis").unwrap_or(1), rank)?;
    not_batch(first, time)?;
    if lengths.axis.is_some() != (first.axis == Some(batch)) {
        return unknown("only one of its inputs has the batch axis");
    }
    if lengths.axis.is_some() && lengths.dims()?[0] != first.dims()?[batch] {
        return unknown("its inputs have different numbers of elements for each row");
    }
    Ok(vec![Fact::of(first.axis, first.dims()?.to_vec())])
}
