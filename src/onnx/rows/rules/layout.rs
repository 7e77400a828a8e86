//! Operators that move elements without computing: the batch axis may move with them, but
//! elements of one row must stay together.

use super::reduce::not_batch;
use super::{Facts, NodeCall};
use crate::onnx::rows::fact::{Doubt, Extent, Fact, dependent, from_front, product, unknown};

pub(in crate::onnx::rows) fn transpose(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let dims = first.dims()?;
    let reversed: Vec<i64> = (0..dims.len() as i64).rev().collect();
    let order = call.ints("perm")?.unwrap_or(&reversed);
    if order.len() != dims.len() {
        return unknown("its permutation does not fit the shape");
    }

    let mut from = Vec::new();
    for axis in order {
        from.push(from_front(*axis, dims.len())?);
    }
    let axis = first
        .axis
        .and_then(|axis| from.iter().position(|f| *f == axis));
    if axis.is_none() != first.axis.is_none() {
        return unknown("its permutation does not fit the shape");
    }
    Ok(vec![Fact::of(
        axis,
        from.iter().map(|f| dims[*f].clone()).collect(),
    )])
}

pub(in crate::onnx::rows) fn reshape(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let target = if call.opset < 5 {
        let numbers = call.ints("shape")?.unwrap_or_default();
        numbers.iter().map(|n| Extent::fixed(*n)).collect()
    } else {
        let shape = call.input(1)?;
        if shape.axis.is_some() {
            return dependent("its shape is computed from the rows");
        }
        match &shape.numbers {
            Some(numbers) => numbers.clone(),
            None => return unknown("its shape is not known"),
        }
    };
    let copies_zero = call.node.int("allowzero") != Some(1);

    let target = resolved(first.dims()?, target, copies_zero)?;
    regrouped(first, target)
}

/// Replaces 0 and −1 in the shape that a Reshape asks for.
fn resolved(
    dims: &[Extent],
    mut target: Vec<Extent>,
    copies_zero: bool,
) -> Result<Vec<Extent>, Doubt> {
    for (at, extent) in target.iter_mut().enumerate() {
        if extent.as_fixed() == Some(0) && copies_zero {
            match dims.get(at) {
                Some(dim) => *extent = dim.clone(),
                None => return unknown("its shape does not fit the input"),
            }
        }
    }

    let is_free = |e: &Extent| e.as_fixed() == Some(-1);
    let Some(free) = target.iter().position(is_free) else {
        return Ok(target);
    };
    target[free] = Extent::fixed(1);
    let quotient = product(dims)
        .zip(product(&target))
        .and_then(|(all, known)| all.divided(&known));
    match quotient {
        Some(quotient) => target[free] = quotient,
        None => return unknown("the length of an axis of its result cannot be derived"),
    }
    Ok(target)
}

/// The same elements in another shape. They stay together if as many elements lie before
/// the batch axis as before.
fn regrouped(first: &Fact, target: Vec<Extent>) -> Facts {
    let shaped = Fact::shaped(target)?;
    let dims = first.dims()?;
    match (first.axis, shaped.axis) {
        (None, None) => {}
        (Some(_), None) => return dependent("its result has a fixed number of elements"),
        (None, Some(_)) => return unknown("it spreads a constant over the rows"),
        (Some(from), Some(to)) => {
            // ONNX Runtime may run what the operator forbids, with other lengths than these.
            let is_other = |given: Extent, asked: Extent| {
                given.is_certain() && asked.is_certain() && given != asked
            };
            let all = product(dims).zip(product(shaped.dims()?));
            if all.is_some_and(|(given, asked)| is_other(given, asked)) {
                return unknown("its result has another number of elements");
            }
            let before = product(&dims[..from]);
            if before.is_none() || before != product(&shaped.dims()?[..to]) {
                return unknown("it may mix elements of different rows");
            }
        }
    }
    Ok(vec![shaped])
}

pub(in crate::onnx::rows) fn flatten(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let dims = first.dims()?;
    let at = call.node.int("axis").unwrap_or(1);
    let at = if at == dims.len() as i64 {
        dims.len()
    } else {
        from_front(at, dims.len())?
    };
    match (product(&dims[..at]), product(&dims[at..])) {
        (Some(outer), Some(inner)) => regrouped(first, vec![outer, inner]),
        _ => unknown("the length of its result is too large"),
    }
}

pub(in crate::onnx::rows) fn squeeze(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let dims = first.dims()?;
    // An empty list stands for every axis of length 1, as no list does.
    let named = call.list("axes", 1, 13)?.filter(|axes| !axes.is_empty());
    let Some(axes) = named else {
        if first.axis.is_some() {
            return dependent("it removes the batch axis of a single row");
        }
        if dims.iter().any(|d| d.as_fixed().is_none()) {
            return unknown("which axes it removes is not known");
        }
        let kept = dims.iter().filter(|d| !d.is_one()).cloned().collect();
        return Ok(vec![Fact::of(None, kept)]);
    };

    let mut gone = Vec::new();
    for axis in axes {
        let axis = from_front(axis, dims.len())?;
        if first.axis == Some(axis) {
            return dependent("it removes the batch axis");
        }
        gone.push(axis);
    }
    let kept = |at: &usize| !gone.contains(at);
    let axis = first.axis.map(|axis| (0..axis).filter(kept).count());
    let out = (0..dims.len()).filter(kept).map(|at| dims[at].clone());
    Ok(vec![Fact::of(axis, out.collect())])
}

pub(in crate::onnx::rows) fn unsqueeze(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let axes = call.list("axes", 1, 13)?.unwrap_or_default();
    let rank = first.rank()? + axes.len();
    let mut new = vec![false; rank];
    for axis in axes {
        new[from_front(axis, rank)?] = true;
    }

    let mut old = first.dims()?.iter();
    let mut dims = Vec::with_capacity(rank);
    let mut axis = None;
    for is_new in new {
        if is_new {
            dims.push(Extent::fixed(1));
            continue;
        }
        let Some(dim) = old.next() else {
            return unknown("an axis is named twice");
        };
        if first.axis == Some(first.rank()? - old.len() - 1) {
            axis = Some(dims.len());
        }
        dims.push(dim.clone());
    }
    if old.len() > 0 {
        return unknown("an axis is named twice");
    }
    Ok(vec![Fact::of(axis, dims)])
}

pub(in crate::onnx::rows) fn expand(call: &NodeCall<'_>) -> Facts {
    let (first, shape) = (call.input(0)?, call.input(1)?);
    if shape.axis.is_some() {
        return dependent("its shape is computed from the rows");
    }
    let Some(numbers) = &shape.numbers else {
        return unknown("its shape is not known");
    };
    let shape = Fact::shaped(numbers.clone())?;

    super::broadcast(&[first, &shape], call.symbols).map(|fact| vec![fact])
}

pub(in crate::onnx::rows) fn constant_of_shape(call: &NodeCall<'_>) -> Facts {
    let shape = call.input(0)?;
    match (&shape.numbers, shape.axis) {
        (Some(numbers), None) => Fact::shaped(numbers.clone()).map(|fact| vec![fact]),
        (None, None) => unknown("its shape is not known"),
        (_, Some(_)) => dependent("its shape is computed from the rows"),
    }
}

pub(in crate::onnx::rows) fn tile(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let repeats = call.input(1)?;
    if repeats.axis.is_some() {
        return dependent("its repeats are computed from the rows");
    }
    let Some(numbers) = &repeats.numbers else {
        return unknown("its repeats are not known");
    };
    let mut dims = first.dims()?.to_vec();
    if numbers.len() != dims.len() {
        return unknown("its repeats do not fit the shape");
    }
    for (at, repeat) in numbers.iter().enumerate() {
        if first.axis == Some(at) && !repeat.is_one() {
            return dependent("it repeats the batch");
        }
        if repeat.has_rows() && !(first.axis.is_none() && dims[at].is_one()) {
            return dependent("it repeats its input by the number of rows");
        }
        dims[at] = dims[at]
            .times(repeat)
            .unwrap_or_else(|| call.symbols.fresh());
    }

    match first.axis {
        Some(_) => {
            if dims.iter().filter(|d| d.has_rows()).count() > 1 {
                return dependent("it repeats its input by the number of rows");
            }
            Ok(vec![Fact::of(first.axis, dims)])
        }
        None => Fact::shaped(dims).map(|fact| vec![fact]),
    }
}

pub(in crate::onnx::rows) fn concat(call: &NodeCall<'_>) -> Facts {
    let facts: Vec<&Fact> = call.present().collect();
    let rank = call.input(0)?.rank()?;
    let joined = from_front(call.node.int("axis").unwrap_or(1), rank)?;
    let Some(first) = facts.iter().find(|f| f.axis.is_some()) else {
        let mut dims = call.input(0)?.dims()?.to_vec();
        dims[joined] = joined_length(call, joined);
        return Ok(vec![Fact::of(None, dims)]);
    };
    let axis = first.axis.unwrap_or_default();
    not_batch(first, joined)?;

    for fact in &facts {
        if fact.rank()? != rank {
            return unknown("its inputs differ in rank");
        }
        if fact.axis.is_none() {
            return dependent("it joins a constant of a fixed number of rows with the batch");
        }
        if fact.axis != first.axis {
            return dependent("the batch axes of its inputs differ");
        }
        if fact.dims()?[axis] != first.dims()?[axis] {
            return unknown("its inputs have different numbers of elements for each row");
        }
    }

    let mut dims = first.dims()?.to_vec();
    dims[joined] = joined_length(call, joined);
    Ok(vec![Fact::of(first.axis, dims)])
}

/// The sum of the lengths of an axis.
fn joined_length(call: &NodeCall<'_>, axis: usize) -> Extent {
    let length = |fact: &Fact| fact.dims.as_ref()?.get(axis).cloned();
    let lengths: Option<Vec<Extent>> = call.present().map(length).collect();
    let sum = lengths.and_then(|lengths| {
        let mut lengths = lengths.into_iter();
        let first = lengths.next()?;
        lengths.try_fold(first, |sum, length| sum.plus(&length))
    });
    sum.unwrap_or_else(|| call.symbols.fresh())
}

pub(in crate::onnx::rows) fn split(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    let rank = first.rank()?;
    let axis = call.axis(0, rank)?;
    not_batch(first, axis)?;
    let given = call.list("split", 1, 13)?;
    let outputs = call.node.outputs.len();
    let even = first.dims()?[axis]
        .divided(&Extent::fixed(outputs as i64))
        .filter(|_| given.is_none());

    let part = |at: usize| {
        let mut dims = first.dims()?.to_vec();
        let length = given
            .as_ref()
            .and_then(|g| g.get(at))
            .map(|n| Extent::fixed(*n));
        dims[axis] = length
            .or_else(|| even.clone())
            .unwrap_or_else(|| call.symbols.fresh());
        Ok(Fact::of(first.axis, dims))
    };
    (0..outputs).map(part).collect()
}
