//! The rows of a run: what it is filled up to, whether they are others than those of the run before, and what
//! is learned from how long it took.

use super::{Lane, Ran};
use crate::serve::batch::queue::Class;
use crate::serve::batch::{BatcherShared, BatcherState};

/// What is known of the shape of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunShape {
    /// It does not matter to others.
    Free,
    /// The lane keeps it.
    Kept,
    /// The lane keeps it from now on: a run of another shape was before it.
    Changed,
}

impl Lane {
    /// Notes the shape of a run that begins.
    pub(super) fn shape(
        &mut self,
        shared: &BatcherShared,
        class: &Class,
        rows: usize,
        kept: Option<usize>,
    ) -> RunShape {
        if shared.options.shape_change.is_none() {
            return RunShape::Free;
        }
        let is_same = self.has_shape(class, rows);
        if !is_same {
            self.last = Some((class.clone(), rows));
        }
        match kept {
            None => RunShape::Free,
            Some(_) if is_same => RunShape::Kept,
            Some(_) => {
                shared.metrics.batch_shape_changes.inc();
                RunShape::Changed
            }
        }
    }

    /// Tells whether the last run had this shape.
    pub(super) fn has_shape(&self, class: &Class, rows: usize) -> bool {
        self.last
            .as_ref()
            .is_some_and(|(last, of)| last == class && *of == rows)
    }
}

/// The rows of the run of requests with so many rows.
pub(super) fn filled(shared: &BatcherShared, class: &Class, rows: usize) -> usize {
    let sizes = shared.options.sizes.as_ref();
    let sizes = sizes.filter(|_| matches!(class, Class::Sizes(_)));
    sizes.and_then(|sizes| sizes.filled(rows)).unwrap_or(rows)
}

/// Notes how long a run took.
pub(super) fn learn(shared: &BatcherShared, class: &Class, rows: usize, ran: &Ran) {
    let took = ran.gather + ran.run;
    let mut state = shared.state.lock();
    let BatcherState { costs, shapes, .. } = &mut *state;
    match (ran.shape, shapes) {
        (RunShape::Changed, Some(shapes)) => shapes.note_change(class, ran.rows, took, costs),
        (RunShape::Kept, _) => costs.note(class, ran.rows, took),
        _ => costs.note(class, rows, took),
    }
}
