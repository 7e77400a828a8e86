//! What holds for a tensor that has one of two values: of two branches, or of two passes of a
//! loop.

use super::{Known, Walk};
use crate::onnx::rows::fact::{Extent, Fact};
use std::collections::HashSet;

impl Walk<'_> {
    /// What holds for both.
    pub(super) fn either(&self, a: &Fact, b: &Fact) -> Known {
        if a == b {
            return Some(a.clone());
        }
        if a.axis != b.axis || a.counts_rows() || b.counts_rows() {
            return None;
        }
        let (left, right) = match (&a.dims, &b.dims, a.axis) {
            (Some(left), Some(right), _) if left.len() == right.len() => (left, right),
            (_, _, None) => return Some(Fact::uniform(None)),
            _ => return None,
        };
        if a.axis.is_some_and(|axis| left[axis] != right[axis]) {
            return None;
        }

        let length = |(l, r): (&Extent, &Extent)| match l == r {
            true => l.clone(),
            false => self.symbols.fresh(),
        };
        let dims = left.iter().zip(right).map(length).collect();
        Some(Fact::of(a.axis, dims))
    }

    /// What holds for a tensor in every pass of a loop: as [`Walk::either`], but a length
    /// that changed before is not new again. `changed` has these lengths.
    pub(super) fn widened(
        &self,
        before: &Known,
        after: &Known,
        changed: &mut HashSet<Extent>,
    ) -> Known {
        let (before, after) = (before.as_ref()?, after.as_ref()?);
        let mut after = after.clone();
        if let (Some(old), Some(new)) = (&before.dims, &mut after.dims) {
            for (old, new) in old.iter().zip(new) {
                if changed.contains(old) {
                    *new = old.clone();
                }
            }
        }

        let merged = self.either(before, &after)?;
        if let (Some(old), Some(new)) = (&before.dims, &merged.dims) {
            let fresh = old.iter().zip(new).filter(|(old, new)| old != new);
            changed.extend(fresh.map(|(_, new)| new.clone()));
        }
        Some(merged)
    }

    /// The same with new names for lengths that are not certain after a loop.
    pub(super) fn loosened(&self, fact: &Fact) -> Fact {
        let length = |(at, extent): (usize, &Extent)| {
            let is_kept = extent.as_fixed().is_some() || fact.axis == Some(at);
            if is_kept {
                extent.clone()
            } else {
                self.symbols.fresh()
            }
        };
        let dims = fact.dims.as_ref();
        Fact {
            axis: fact.axis,
            dims: dims.map(|dims| dims.iter().enumerate().map(length).collect()),
            numbers: None,
        }
    }
}
