//! Shape arithmetic: the few whole numbers that exporters compute from shapes, and that a
//! Reshape or Expand uses.

use super::{Facts, NodeCall};
use crate::onnx::rows::fact::{Extent, Fact, Symbols, from_front, product, unknown};
use crate::onnx::rows::read::TensorView;

/// Numbers of `TensorProto.DataType` that a whole number keeps its value in: FP32, INT32, INT64
/// and FP64.
const KEEP: [i64; 4] = [1, 6, 7, 11];
/// The most numbers of one tensor that are followed.
const FOLLOWED_MAX: usize = 64;
/// The largest number that is computed with: every type of [`KEEP`] has all whole numbers up to it.
const EXACT_MAX: u64 = 1 << 24;

/// Shape: the lengths of its input's axes.
pub(in crate::onnx::rows) fn shape(call: &NodeCall<'_>) -> Facts {
    let dims = call.input(0)?.dims()?;
    let rank = dims.len() as i64;
    let bound = |n: i64| if n < 0 { n.saturating_add(rank) } else { n }.clamp(0, rank) as usize;
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

/// A constant of the file. A number with a fraction has a name in place of its value.
pub(in crate::onnx::rows) fn constant(tensor: &TensorView<'_>, symbols: &Symbols) -> Fact {
    let numbers = tensor.numbers.as_ref().map(|numbers| {
        let number = |n: &Option<i64>| n.map_or_else(|| symbols.any(), Extent::fixed);
        numbers.iter().map(number).collect()
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
        return Ok(vec![constant(tensor, call.symbols)]);
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
    let lists = ["value_floats", "value_ints", "value_strings"];
    if let Some(list) = lists.iter().find_map(|name| node.attribute(name)) {
        let length = i64::try_from(list.listed).unwrap_or(i64::MAX);
        return Ok(vec![Fact::uniform(Some(vec![Extent::fixed(length)]))]);
    }
    if node.attribute("value_float").is_some() || node.attribute("value_string").is_some() {
        return Ok(vec![Fact::uniform(Some(Vec::new()))]);
    }
    unknown("the shape of the constant is not read")
}

/// The numbers of the outputs of a node whose inputs are the same for all rows.
pub(in crate::onnx::rows) fn computed(
    call: &NodeCall<'_>,
    facts: &[Fact],
) -> Vec<Option<Vec<Extent>>> {
    let lists = if call.node.op == "Split" {
        parts(call, facts)
    } else {
        vec![single(call)]
    };
    let computes = ["Add", "Sub", "Mul", "Div", "ReduceProd", "Cast"].contains(&call.node.op);
    let is_followed = |list: &Vec<Extent>| {
        list.len() <= FOLLOWED_MAX && (!computes || list.iter().all(|n| n.is_within(EXACT_MAX)))
    };
    lists
        .into_iter()
        .map(|list| list.filter(is_followed))
        .collect()
}

/// The numbers of the first output.
fn single(call: &NodeCall<'_>) -> Option<Vec<Extent>> {
    let op = call.node.op;
    let list = |at: usize| known(call, call.inputs.get(at)?.as_ref()?);
    let is_flat = |f: &Fact| f.dims.as_ref().is_some_and(|d| d.len() < 2);
    let by_place = ["Add", "Sub", "Mul", "Div", "Equal", "Where", "ReduceProd"];
    if by_place.contains(&op) && !call.present().all(is_flat) {
        return None;
    }

    match op {
        "Identity" | "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" => list(0),
        "Cast" if !KEEP.contains(&call.node.int("to")?) => None,
        "Cast" | "Floor" | "Ceil" => rounded(call, &list(0)?),
        "Neg" => list(0)?.iter().map(Extent::negative).collect(),
        "Concat" => {
            let is_vector = |f: &Fact| f.dims.as_ref().is_some_and(|d| d.len() == 1);
            let all: Option<Vec<Vec<Extent>>> = call
                .present()
                .map(|f| known(call, f).filter(|_| is_vector(f)))
                .collect();
            Some(all?.concat())
        }
        "Gather" => gathered(call, &list(0)?),
        "Slice" => sliced(call, &list(0)?),
        "Range" => counted(call),
        "ReduceProd" => product(&list(0)?).map(|n| vec![n]),
        "ConstantOfShape" => filled(call, &list(0)?),
        "Where" => {
            let (chosen, yes, no) = (list(0)?, list(1)?, list(2)?);
            each(call, &[chosen, yes, no], |n| match n[0].as_fixed() {
                Some(0) => Some(n[2].clone()),
                Some(_) => Some(n[1].clone()),
                None => None,
            })
        }
        "Add" | "Sub" | "Mul" | "Div" | "Equal" => {
            each(call, &[list(0)?, list(1)?], |n| pair(op, &n[0], &n[1]))
        }
        _ => None,
    }
}

/// The most elements of a tensor to which names are given in place of their values.
const NAMED_MAX: i64 = 8;

/// The numbers of a tensor; names where it has few elements of unknown values.
fn known(call: &NodeCall<'_>, fact: &Fact) -> Option<Vec<Extent>> {
    if fact.numbers.is_some() {
        return fact.numbers.clone();
    }
    let count = product(fact.dims.as_ref()?)?.as_fixed();
    let count = count.filter(|n| fact.axis.is_none() && *n <= NAMED_MAX)?;
    Some((0..count).map(|_| call.symbols.any()).collect())
}

/// Numbers without their fractions.
fn rounded(call: &NodeCall<'_>, numbers: &[Extent]) -> Option<Vec<Extent>> {
    let round = |n: &Extent| match (n.is_whole(), n.has_rows()) {
        (true, _) => Some(n.clone()),
        (false, true) => None,
        (false, false) => Some(call.symbols.any()),
    };
    numbers.iter().map(round).collect()
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

/// Applies a function to the lists, place by place; a list of one stands for all places. What is
/// not certain gets a name, unless it depends on the number of rows.
fn each(
    call: &NodeCall<'_>,
    lists: &[Vec<Extent>],
    f: impl Fn(&[Extent]) -> Option<Extent>,
) -> Option<Vec<Extent>> {
    let count = lists.iter().map(Vec::len).max()?;
    let place = |at: usize| {
        let numbers = lists.iter().map(|list| match list.len() {
            1 => list.first().cloned(),
            _ => list.get(at).cloned(),
        });
        let numbers = numbers.collect::<Option<Vec<Extent>>>()?;
        let is_free = !numbers.iter().any(Extent::has_rows);
        f(&numbers).or_else(|| is_free.then(|| call.symbols.any()))
    };
    (0..count).map(place).collect()
}

/// A vector cut into parts of known lengths.
fn parts(call: &NodeCall<'_>, facts: &[Fact]) -> Vec<Option<Vec<Extent>>> {
    let numbers = call
        .inputs
        .first()
        .and_then(|fact| known(call, fact.as_ref()?));
    let mut at = 0;
    let part = |fact: &Fact| {
        let [length] = fact.dims.as_deref()? else {
            return None;
        };
        let end = usize::try_from(length.as_fixed()?).ok()?.checked_add(at)?;
        let list = numbers.as_ref()?.get(at..end)?.to_vec();
        at = end;
        Some(list)
    };
    let lists: Option<Vec<Vec<Extent>>> = facts.iter().map(part).collect();
    lists.map_or_else(Vec::new, |lists| lists.into_iter().map(Some).collect())
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

/// The numbers of a Range between constants.
fn counted(call: &NodeCall<'_>) -> Option<Vec<Extent>> {
    let one = |at: usize| match call.input(at).ok()?.fixed_numbers().ok()?[..] {
        [number] => Some(number),
        _ => None,
    };
    let (start, end, step) = (one(0)?, one(1)?, one(2)?);
    let place = |at: i64| start.checked_add(at.checked_mul(step)?);
    let is_inside = |n: &i64| if step > 0 { *n < end } else { *n > end };
    let numbers = (0..FILLED_MAX + 1).map_while(|at| place(at).filter(is_inside));
    let numbers: Vec<Extent> = numbers.map(Extent::fixed).collect();
    (step != 0 && numbers.len() as i64 <= FILLED_MAX).then_some(numbers)
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
