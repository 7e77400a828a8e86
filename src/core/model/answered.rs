//! The shapes that a model really answers, where it declares others or none. Some converters declare the
//! label of a classifier as `[1]` and answer `[N]`, swap the shapes of two outputs, or leave
//! them out.

#[cfg(test)]
mod tests;

use super::{Dim, Signature, TensorSpec};
use serde::{Deserialize, Serialize};

/// The shapes of a model's outputs, in their order, in runs on generated inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredShapes {
    /// In a run of one row.
    pub one: Vec<Vec<usize>>,
    /// In a run of two rows, where that was made.
    pub two: Option<Vec<Vec<usize>>>,
}

/// An output whose declared shape was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedShape {
    /// The output.
    pub output: String,
    /// Its shape on the wire as the file declares it; none if it declares none.
    pub declared: Option<Vec<i64>>,
    /// Its shape on the wire as it is answered.
    pub answered: Vec<i64>,
}

impl Signature {
    /// Tells whether the answer to two rows may show what that to one does not: that the first axis
    /// of an output has as many rows as the input although it is declared fixed, or which axes of an
    /// output without a shape are fixed.
    pub(crate) fn is_doubtful(&self, one: &[Vec<usize>]) -> bool {
        let takes_rows = self.takes_rows();
        let mut outputs = self.outputs.iter().zip(one);
        takes_rows && outputs.any(|(spec, one)| !spec.has_dynamic_first_axis() || !spec.fits(one))
    }

    /// Replaces declared shapes that the answers contradict, and those that are missing.
    pub(crate) fn follow(&mut self, answered: &AnsweredShapes) -> Vec<ReplacedShape> {
        let is_fixed = self.has_fixed_inner_axes();
        let takes_rows = self.takes_rows();
        let mut replaced = Vec::new();
        for (at, spec) in self.outputs.iter_mut().enumerate() {
            let Some(one) = answered.one.get(at) else {
                continue;
            };
            let two = answered.two.as_ref().and_then(|two| two.get(at));
            let shape = SeenShape {
                one,
                two: two.map(Vec::as_slice),
                is_fixed,
                takes_rows,
            }
            .shape(spec);
            if shape != spec.shape {
                let declared = spec.shape.is_some().then(|| spec.shape_to_wire());
                spec.shape = shape;
                replaced.push(ReplacedShape {
                    output: spec.name.clone(),
                    declared,
                    answered: spec.shape_to_wire(),
                });
            }
        }

        replaced
    }

    fn takes_rows(&self) -> bool {
        let mut inputs = self.inputs.iter();
        !self.inputs.is_empty() && inputs.all(TensorSpec::has_dynamic_first_axis)
    }
}

impl TensorSpec {
    /// Tells whether the declared shape allows this one.
    fn fits(&self, shape: &[usize]) -> bool {
        let allows = |(dim, n): (&Dim, &usize)| *dim == Dim::Dynamic || *dim == Dim::Fixed(*n);
        let declared = self.shape.as_ref();
        declared.is_none_or(|dims| dims.len() == shape.len() && dims.iter().zip(shape).all(allows))
    }
}

/// What was seen of one output.
struct SeenShape<'o> {
    one: &'o [usize],
    two: Option<&'o [usize]>,
    /// Whether all inputs have fixed axes but for the first.
    is_fixed: bool,
    /// Whether the first axis of each input is the rows.
    takes_rows: bool,
}

impl SeenShape<'_> {
    /// The shape of an output that is declared like this.
    fn shape(&self, spec: &TensorSpec) -> Option<Vec<Dim>> {
        if self.two.is_some_and(|two| two.len() != self.one.len()) {
            return None;
        }
        let same_rank = |dims: &&Vec<Dim>| dims.len() == self.one.len();
        let declared = spec.shape.as_ref().filter(same_rank);
        let axes = 0..self.one.len();
        Some(axes.map(|k| self.axis(k, declared.map(|d| d[k]))).collect())
    }

    fn axis(&self, k: usize, declared: Option<Dim>) -> Dim {
        let length = self.one[k];
        if self.two.is_some_and(|two| two[k] != length) {
            return Dim::Dynamic;
        }
        // A length that was the same twice may depend on those of the inputs.
        let is_known = self.is_fixed && (k > 0 || self.two.is_some() || !self.takes_rows);
        match declared {
            Some(Dim::Dynamic) => Dim::Dynamic,
            Some(Dim::Fixed(n)) if n == length => Dim::Fixed(n),
            Some(Dim::Fixed(_)) | None if is_known => Dim::Fixed(length),
            Some(Dim::Fixed(_)) | None => Dim::Dynamic,
        }
    }
}
