//! How each kind of operator treats the batch axis, by its attributes and the shapes of
//! its inputs. Each rule gives the outputs or a doubt, and decides nothing else.

pub(super) mod attention;
pub(super) mod index;
pub(super) mod layout;
pub(super) mod matrix;
pub(super) mod numbers;
pub(super) mod reduce;
#[cfg(test)]
mod tests;
pub(super) mod window;

use super::fact::{Doubt, Extent, Fact, Symbols, dependent, from_front, unknown};
use super::read::NodeView;

/// A node with what is known about its inputs.
pub(super) struct NodeCall<'c> {
    pub node: &'c NodeView<'c>,
    pub inputs: Vec<Option<Fact>>,
    /// Version of the operator set of the node's domain.
    pub opset: i64,
    pub symbols: &'c Symbols,
}

pub(super) type Facts = Result<Vec<Fact>, Doubt>;

impl NodeCall<'_> {
    pub(super) fn has(&self, at: usize) -> bool {
        self.inputs.get(at).is_some_and(Option::is_some)
    }

    pub(super) fn input(&self, at: usize) -> Result<&Fact, Doubt> {
        match self.inputs.get(at) {
            Some(Some(fact)) => Ok(fact),
            _ => unknown("an input is missing"),
        }
    }

    pub(super) fn present(&self) -> impl Iterator<Item = &Fact> {
        self.inputs.iter().flatten()
    }

    /// Refuses rows in all inputs from `at` on.
    pub(super) fn only_uniform_from(&self, at: usize) -> Result<(), Doubt> {
        if self
            .inputs
            .iter()
            .skip(at)
            .flatten()
            .any(|f| f.axis.is_some())
        {
            return unknown("a parameter is computed from the rows");
        }
        Ok(())
    }

    /// An attribute that is a list of whole numbers.
    pub(super) fn ints(&self, name: &str) -> Result<Option<&[i64]>, Doubt> {
        match self.node.attribute(name) {
            Some(list) if list.listed != list.ints.len() => unknown("a list is too long"),
            Some(list) => Ok(Some(&list.ints)),
            None => Ok(None),
        }
    }

    /// An attribute that is an axis, counted from the front.
    pub(super) fn axis(&self, default: i64, rank: usize) -> Result<usize, Doubt> {
        from_front(self.node.int("axis").unwrap_or(default), rank)
    }

    /// A list of whole numbers: input `at` from `opset` on, an attribute before.
    pub(super) fn list(
        &self,
        name: &str,
        at: usize,
        opset: i64,
    ) -> Result<Option<Vec<i64>>, Doubt> {
        if self.opset < opset {
            return Ok(self.ints(name)?.map(<[i64]>::to_vec));
        }
        if !self.has(at) {
            return Ok(None);
        }
        let fact = self.input(at)?;
        if fact.axis.is_some() {
            return dependent("an input that selects axes is computed from the rows");
        }
        fact.fixed_numbers().map(Some)
    }
}

/// One output that is like input 0.
pub(super) fn like_first(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    Ok(vec![Fact {
        numbers: None,
        ..first.clone()
    }])
}

/// Each element from the elements at the same place of the inputs, with broadcasting.
pub(super) fn elementwise(call: &NodeCall<'_>) -> Facts {
    if call.opset < 7 && call.node.attribute("broadcast").is_some() {
        return unknown("before operator set 7 it broadcasts in another way");
    }
    let facts: Vec<&Fact> = call.present().collect();
    broadcast(&facts, call.symbols).map(|fact| vec![fact])
}

/// As [`elementwise`], for an operator that computes two single elements in another way than more of
/// them: a row must have several elements for certain.
pub(super) fn elementwise_but_single(call: &NodeCall<'_>) -> Facts {
    let facts = elementwise(call)?;
    for fact in facts.iter().filter(|fact| fact.axis.is_some()) {
        let inner = fact.dims()?.iter().enumerate();
        let mut inner = inner.filter(|(at, _)| fact.axis != Some(*at));
        let is_several = |dim: &Extent| dim.as_fixed().is_some_and(|n| n > 1);
        if !inner.any(|(_, dim)| is_several(dim)) {
            return unknown("a single element may be computed in another way");
        }
    }
    Ok(facts)
}

/// The result of inputs that are broadcast together.
pub(super) fn broadcast(facts: &[&Fact], symbols: &Symbols) -> Result<Fact, Doubt> {
    let mut rank = 0;
    for fact in facts {
        rank = rank.max(fact.rank()?);
    }

    let mut axis = None;
    for fact in facts {
        let Some(own) = fact.axis else { continue };
        let at = own + rank - fact.rank()?;
        if axis.is_some_and(|other| other != at) {
            return dependent("it combines the rows of one input with all rows of another");
        }
        axis = Some(at);
    }

    let mut dims = Vec::with_capacity(rank);
    for at in 0..rank {
        dims.push(if axis == Some(at) {
            batch_extent(facts, rank, at)?
        } else {
            merged_extent(facts, rank, at, symbols)
        });
    }
    Ok(Fact::of(axis, dims))
}

fn extent_at(fact: &Fact, rank: usize, at: usize) -> Option<&Extent> {
    let dims = fact.dims.as_ref()?;
    dims.get((at + dims.len()).checked_sub(rank)?)
}

/// The length of the batch axis of the result.
fn batch_extent(facts: &[&Fact], rank: usize, at: usize) -> Result<Extent, Doubt> {
    let mut batch: Option<&Extent> = None;
    for fact in facts {
        let Some(extent) = extent_at(fact, rank, at) else {
            continue;
        };
        if fact.axis.is_some() {
            if batch.is_some_and(|other| other != extent) {
                return unknown("its inputs have different numbers of elements for each row");
            }
            batch = Some(extent);
        } else if extent.as_fixed().is_some_and(|n| n != 1) {
            return dependent("a constant has another value for each place in the batch");
        } else if !extent.is_one() {
            return unknown("the length of a constant along the batch axis is not known");
        }
    }

    batch.cloned().map_or_else(|| unknown("no batch axis"), Ok)
}

/// The length of another axis of the result.
pub(super) fn merged_extent(facts: &[&Fact], rank: usize, at: usize, symbols: &Symbols) -> Extent {
    let mut merged = Extent::fixed(1);
    for fact in facts {
        let Some(extent) = extent_at(fact, rank, at) else {
            continue;
        };
        if extent.is_one() || *extent == merged {
            continue;
        }
        merged = match (merged.is_one(), merged.as_fixed(), extent.as_fixed()) {
            (true, ..) | (_, None, Some(_)) => extent.clone(),
            (_, Some(_), _) => merged,
            (_, None, None) => symbols.fresh(),
        };
    }

    merged
}

/// A rule for inputs `[N, …]` that keeps the rank: each row is computed from the same row of the
/// input, and everything else is a parameter.
pub(super) fn batch_first(call: &NodeCall<'_>) -> Facts {
    batch_first_of_rank(call, 2)
}

/// As [`batch_first`], for inputs of at least this rank.
pub(super) fn batch_first_of_rank(call: &NodeCall<'_>, rank_min: usize) -> Facts {
    let first = call.input(0)?;
    call.only_uniform_from(1)?;
    let dims = first.dims()?;
    if dims.len() < rank_min {
        return unknown("its input has too few axes");
    }
    if first.axis.is_some_and(|axis| axis != 0) {
        return dependent("the batch is not on its first axis");
    }

    let mut out: Vec<Extent> = dims.iter().map(|_| call.symbols.fresh()).collect();
    out[0] = dims[0].clone();
    Ok(vec![Fact::of(first.axis, out)])
}

/// Numbers of `TensorProto.DataType` of the unsigned integers.
const UNSIGNED: [i64; 4] = [2, 4, 12, 13];

/// Values out of range of an unsigned integer become one number in the middle of a tensor and another
/// at its end, as some elements are computed several at a time.
const BY_PLACE: &str = "values out of range of an unsigned integer depend on their place";

pub(super) fn cast(call: &NodeCall<'_>) -> Facts {
    let is_unsigned = call.node.int("to").is_some_and(|to| UNSIGNED.contains(&to));
    if is_unsigned && call.input(0)?.axis.is_some() {
        return unknown(BY_PLACE);
    }
    like_first(call)
}

/// One output with the elements of input 0; input 1 only names a type, which is not known here.
pub(super) fn cast_like(call: &NodeCall<'_>) -> Facts {
    let first = call.input(0)?;
    if first.axis.is_some() {
        return unknown(BY_PLACE);
    }
    Ok(vec![Fact::of(first.axis, first.dims()?.to_vec())])
}

/// A vector or matrix that depends on numbers that are the same for all rows.
pub(super) fn range(call: &NodeCall<'_>) -> Facts {
    if call.present().any(|f| f.axis.is_some()) {
        return dependent("its length is computed from the rows");
    }
    let rank = if call.node.op == "MelWeightMatrix" {
        2
    } else {
        1
    };
    let dims = (0..rank).map(|_| call.symbols.fresh()).collect();
    Ok(vec![Fact::of(None, dims)])
}
