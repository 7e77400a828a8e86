//! Products of matrices: a row of the batch must be a row of the left matrix, or a matrix of
//! its own.

use super::{Facts, NodeCall, broadcast};
use crate::onnx::rows::fact::{Doubt, Extent, Fact, dependent, unknown};

/// The longest equation that is followed.
const EQUATION_MAX: usize = 256;

const SUMMED: &str = "it sums over the batch axis";

/// MatMul, with nothing but parameters after the two matrices.
pub(in crate::onnx::rows) fn matmul(call: &NodeCall<'_>) -> Facts {
    call.only_uniform_from(2)?;
    product_of(call, 0, 1)
}

/// MatMulInteger: a zero point for each row of the left matrix would belong to a place in
/// the batch.
pub(in crate::onnx::rows) fn matmul_integer(call: &NodeCall<'_>) -> Facts {
    if call.has(2) && !call.input(2)?.dims()?.iter().all(Extent::is_one) {
        return unknown("its left zero point is not a single number");
    }
    matmul(call)
}

/// QLinearMatMul: the right matrix is input 3.
pub(in crate::onnx::rows) fn quantized_matmul(call: &NodeCall<'_>) -> Facts {
    for at in [1, 2, 6, 7] {
        if !call.input(at)?.is_single() {
            return unknown("a scale is not a single constant");
        }
    }
    for at in [4, 5] {
        if call.input(at)?.axis.is_some() {
            return unknown("a parameter is computed from the rows");
        }
    }
    product_of(call, 0, 3)
}

fn product_of(call: &NodeCall<'_>, left: usize, right: usize) -> Facts {
    let (a, b) = (call.input(left)?, call.input(right)?);
    let flags = ["transA", "transB", "transBatchA", "transBatchB"];
    if flags
        .iter()
        .any(|flag| call.node.int(flag).unwrap_or(0) != 0)
    {
        return transposed(call, a, b);
    }
    multiplied(call, a, b).map(|fact| vec![fact])
}

/// FusedMatMul with a transposed right matrix; other forms are not covered.
fn transposed(call: &NodeCall<'_>, a: &Fact, b: &Fact) -> Facts {
    let others = ["transA", "transBatchA", "transBatchB"];
    if others
        .iter()
        .any(|flag| call.node.int(flag).unwrap_or(0) != 0)
    {
        return unknown("its left matrix is transposed");
    }
    let mut turned = b.clone();
    let rank = b.rank()?;
    if rank < 2 || b.axis.is_some_and(|axis| axis + 2 >= rank) {
        return unknown("its right matrix is transposed");
    }
    if let Some(dims) = &mut turned.dims {
        dims.swap(rank - 1, rank - 2);
    }
    multiplied(call, a, &turned).map(|fact| vec![fact])
}

fn multiplied(call: &NodeCall<'_>, a: &Fact, b: &Fact) -> Result<Fact, Doubt> {
    let (left, right) = (a.dims()?, b.dims()?);
    if left.is_empty() || right.is_empty() {
        return unknown("it multiplies a number");
    }
    if a.axis == Some(left.len() - 1) {
        return dependent(SUMMED);
    }
    let summed = right.len().saturating_sub(2);
    if b.axis == Some(summed) {
        return dependent(SUMMED);
    }
    if right.len() == 1 {
        return Ok(Fact::of(a.axis, left[..left.len() - 1].to_vec()));
    }
    if left.len() == 1 {
        return match b.axis {
            None => Ok(Fact::uniform(None)),
            Some(_) => unknown("it multiplies a vector with the rows"),
        };
    }

    // The axis of the left matrix that stays is broadcast against 1, and so is the right one.
    let (stays, columns) = (left.len() - 2, right.len() - 1);
    let mut outer = a.clone();
    if let Some(dims) = &mut outer.dims {
        dims[stays + 1] = Extent::fixed(1);
    }
    let mut inner = b.clone();
    if let Some(dims) = &mut inner.dims {
        dims[columns - 1] = Extent::fixed(1);
    }
    broadcast(&[&outer, &inner], call.symbols)
}

/// Gemm: rows are rows of the left matrix.
pub(in crate::onnx::rows) fn gemm(call: &NodeCall<'_>) -> Facts {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let turned = |fact: &Fact, flag: &str| {
        let mut fact = fact.clone();
        if call.node.int(flag).unwrap_or(0) != 0 {
            fact.axis = fact.axis.map(|axis| 1 - axis.min(1));
            if let Some(dims) = &mut fact.dims {
                dims.reverse();
            }
        }
        fact
    };
    if a.rank()? != 2 || b.rank()? != 2 {
        return unknown("its matrices do not have two axes");
    }

    let product = multiplied(call, &turned(a, "transA"), &turned(b, "transB"))?;
    if !call.has(2) {
        return Ok(vec![product]);
    }
    broadcast(&[&product, call.input(2)?], call.symbols).map(|fact| vec![fact])
}

/// Einsum: the batch axis must have one letter everywhere, which stands in the result.
pub(in crate::onnx::rows) fn einsum(call: &NodeCall<'_>) -> Facts {
    let equation: String = call
        .node
        .text("equation")
        .unwrap_or_default()
        .replace(' ', "");
    let Some((terms, result)) = equation.split_once("->") else {
        return unknown("its equation names no result");
    };
    if equation.len() > EQUATION_MAX {
        return unknown("its equation is too long");
    }
    if equation.contains('.') {
        return unknown("its equation has an ellipsis");
    }

    let mut letter = None;
    let mut lengths: Vec<(char, Extent)> = Vec::new();
    for (term, fact) in terms.split(',').zip(call.present()) {
        let dims = fact.dims()?;
        if dims.len() != term.chars().count() {
            return unknown("its equation does not fit the shapes");
        }
        for (at, (name, dim)) in term.chars().zip(dims).enumerate() {
            if fact.axis == Some(at) {
                if letter.is_some_and(|other| other != name) {
                    return dependent("it combines the rows of one input with all rows of another");
                }
                letter = Some(name);
            }
            lengths.push((name, dim.clone()));
        }
    }

    let Some(letter) = letter else {
        return Ok(vec![Fact::uniform(None)]);
    };
    let batch: Vec<&Extent> = lengths
        .iter()
        .filter(|(n, _)| *n == letter)
        .map(|(_, d)| d)
        .collect();
    if batch.windows(2).any(|pair| pair[0] != pair[1]) {
        return unknown("its inputs have different numbers of elements for each row");
    }
    let Some(axis) = result.chars().position(|name| name == letter) else {
        return dependent(SUMMED);
    };
    let repeated = |term: &str| term.chars().filter(|name| *name == letter).count() > 1;
    if terms.split(',').any(repeated) || repeated(result) {
        return dependent("it takes a diagonal over the batch axis");
    }
    // A length of 1 is repeated to that of another term with the same letter.
    let length = |name: char| {
        let all = lengths.iter().filter(|(n, _)| *n == name);
        let mut all = all.map(|(_, dim)| dim).filter(|dim| !dim.is_one());
        match all.next() {
            None => Extent::fixed(1),
            Some(dim) if all.all(|other| other == dim) => dim.clone(),
            Some(_) => call.symbols.fresh(),
        }
    };
    Ok(vec![Fact::of(
        Some(axis),
        result.chars().map(length).collect(),
    )])
}
