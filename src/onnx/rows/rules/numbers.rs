//! Shape arithmetic: the few whole numbers that exporters compute from shapes, and that a
//! Reshape or Expand uses.

use super::{Facts, NodeCall};
use crate::onnx::rows::fact::{Extent, Fact, from_front, product, unknown};
use crate::onnx::rows::read::TensorView;

/// The number of `TensorProto.DataType` for truth values.
const BOOL: i64 = 9;

/// Shape: the lengths of its input's axes.
pub(in crate::onnx::rows) fn shape(call: &NodeCall<'_>) -> Facts {
    let dims = call.input(0)?.dims()?;
    let rank = dims.len() as i64;
    let bound = |n: i64| if n < 0 { n + rank } else { n }.clamp(0, rank) as usize;
    let from = bound(call.node.int("start").unwrap_or(0));
    let to = bound(call.node.int("end").unwrap_or(rank)).max(from);
    Ok(vec![vector(dims[from..to].to_vec())])
}

/// Size: the number of elements.
pub(in crate::onnx::rows) fn size(call: &NodeCall<'_>) -> Facts {
    match product(call.input(0)?.dims()?) {
        Some(size) => Ok(vec![Fact {
            numbers: Some(vec![size]),
            ..Fact::uniform(Some(Vec::new()))
        }]),
        None => unknown("the number of elements is too large"),
    }
}

fn vector(numbers: Vec<Extent>) -> Fact {
    Fact {
        dims: Some(vec![Extent::fixed(numbers.len() as i64)]),
        numbers: Some(numbers),
        axis: None,
    }
}

/// A constant of the file.
pub(in crate::onnx::rows) fn constant(tensor: &TensorView<'_>) -> Fact {
    let numbers = tensor.numbers.as_ref().and_then(|numbers| {
        let whole = numbers.iter().map(|n| n.map(Extent::fixed));
        whole.collect::<Option<Vec<Extent>>>()
    });
    Fact {
        numbers,
        ..Fact::uniform(Some(
            tensor.dims.iter().map(|d| Extent::fixed(*d)).collect(),
        ))
    }
}

/// The Constant operator.
pub(in crate::onnx::rows) fn constant_node(call: &NodeCall<'_>) -> Facts {
    let node = call.node;
    if let Some(tensor) = node.attribute("value").and_then(|a| a.tensor.as_ref()) {
        return Ok(vec![constant(tensor)]);
    }
    if let Some(number) = node.int("value_int") {
        return Ok(vec![Fact {
            numbers: Some(vec![Extent::fixed(number)]),
            ..Fact::uniform(Some(Vec::new()))
        }]);
    }
    if let Some(list) = node
        .attribute("value_ints")
        .filter(|a| a.listed == a.ints.len())
    {
        return Ok(vec![vector(
            list.ints.iter().map(|n| Extent::fixed(*n)).collect(),
        )]);
    }
    if node.attribute("value_float").is_some() || node.attribute("value_string").is_some() {
        return Ok(vec![Fact::uniform(Some(Vec::new()))]);
    }
    unknown("the shape of the constant is not read")
}

/// The numbers of the single output of a node whose inputs are the same for all rows.
pub(in crate::onnx::rows) fn computed(call: &NodeCall<'_>) -> Option<Vec<Extent>> {
    let list = |at: usize| call.inputs.get(at)?.as_ref()?.numbers.clone();
    // A number that becomes a truth value is another number.
    if call.node.op == "Cast" && call.node.int("to") == Some(BOOL) {
        return None;
    }
    let is_flat = |f: &Fact| f.dims.as_ref().is_some_and(|d| d.len() < 2);
    let by_place = ["Add", "Sub", "Mul", "Div", "Equal", "Where", "ReduceProd"];
    if by_place.contains(&call.node.op) && !call.present().all(is_flat) {
        return None;
    }

    match call.node.op {
        "Identity" | "Cast" | "CastLike" | "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten"
        | "Floor" | "Ceil" => list(0),
        "Concat" => {
            let is_vector = |f: &Fact| f.dims.as_ref().is_some_and(|d| d.len() == 1);
            let all: Option<Vec<Vec<Extent>>> = call
                .present()
                .map(|f| f.numbers.clone().filter(|_| is_vector(f)))
                .collect();
            Some(all?.concat())
        }
        "Gather" => gathered(call, &list(0)?),
        "Slice" => sliced(call, &list(0)?),
        "ReduceProd" => product(&list(0)?).map(|n| vec![n]),
        "ConstantOfShape" => filled(call, &list(0)?),
        "Where" => {
            let (chosen, yes, no) = (list(0)?, list(1)?, list(2)?);
            each(&[chosen, yes, no], |n| match n[0].as_fixed() {
                Some(0) => Some(n[2].clone()),
                Some(_) => Some(n[1].clone()),
                None => None,
            })
        }
        "Add" | "Sub" | "Mul" | "Div" | "Equal" => {
            let op = call.node.op;
            each(&[list(0)?, list(1)?], |n| pair(op, &n[0], &n[1]))
        }
        _ => None,
    }
}

fn pair(op: &str, a: &Extent, b: &Extent) -> Option<Extent> {
    match op {
        "Add" => a.plus(b),
        "Sub" => a.plus(&b.negative()?),
        "Mul" => a.times(b),
        "Div" => a.divided(b),
        _ => a.equals(b).map(|same| Extent::fixed(i64::from(same))),
    }
}

/// Applies a function to the lists, place by place; a list of one stands for all places.
fn each(lists: &[Vec<Extent>], f: impl Fn(&[Extent]) -> Option<Extent>) -> Option<Vec<Extent>> {
    let count = lists.iter().map(Vec::len).max()?;
    let place = |at: usize| {
        let numbers = lists.iter().map(|list| match list.len() {
            1 => list.first().cloned(),
            _ => list.get(at).cloned(),
        });
        f(&numbers.collect::<Option<Vec<Extent>>>()?)
    };
    (0..count).map(place).collect()
}

fn gathered(call: &NodeCall<'_>, numbers: &[Extent]) -> Option<Vec<Extent>> {
    let places = call.input(1).ok()?.fixed_numbers().ok()?;
    let dims = call.input(0).ok()?.dims.as_ref()?;
    (dims.len() == 1).then_some(())?;
    let take = |place: &i64| {
        let at = from_front(*place, numbers.len()).ok()?;
        Some(numbers[at].clone())
    };
    places.iter().map(take).collect()
}

/// A slice of a vector with step 1.
fn sliced(call: &NodeCall<'_>, numbers: &[Extent]) -> Option<Vec<Extent>> {
    let one = |name: &str, at: usize, default: i64| {
        let list = call.list(name, at, 10).ok()?;
        list.map_or(Some(default), |l| l.first().copied())
    };
    let dims = call.input(0).ok()?.dims.as_ref()?;
    (dims.len() == 1 && one("steps", 4, 1)? == 1).then_some(())?;
    let length = numbers.len() as i64;
    let bound = |n: i64| if n < 0 { n.saturating_add(length) } else { n }.clamp(0, length) as usize;
    let (from, to) = (
        bound(one("starts", 1, 0)?),
        bound(one("ends", 2, i64::MAX)?),
    );
    Some(numbers.get(from..to).unwrap_or_default().to_vec())
}

/// The most elements of a filled vector that are kept.
const FILLED_MAX: i64 = 32;

fn filled(call: &NodeCall<'_>, shape: &[Extent]) -> Option<Vec<Extent>> {
    let [length] = shape else { return None };
    let length = length.as_fixed().filter(|n| (0..=FILLED_MAX).contains(n))?;
    let value = match call.node.attribute("value").and_then(|a| a.tensor.as_ref()) {
        Some(tensor) => tensor.numbers.as_ref()?.first().copied()??,
        None => 0,
    };
    Some(vec![Extent::fixed(value); usize::try_from(length).ok()?])
}
