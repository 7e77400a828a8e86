//! An answered request, as the monitor shows it to its taps: capture, labels and events.

use crate::core::model::optional::OptionalTensor;
use crate::core::tensor::Tensor;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::quality::answer::RowAnswer;
use std::sync::Arc;
use uuid::Uuid;

/// An answered request, as taps receive it.
pub(crate) struct Answered<'o> {
    pub subject: &'o Arc<WatchSubject>,
    pub prediction: Uuid,
    /// In the order of the signature.
    pub inputs: &'o [Tensor],
    /// The optional inputs that were given.
    pub optional: &'o [OptionalTensor],
    pub outputs: &'o [Tensor],
    /// The prediction of each row, if the model's task is known.
    pub answers: &'o [Option<RowAnswer>],
    /// For each slice, the part that each row belongs to.
    pub parts: &'o [Vec<String>],
}

impl<'o> Answered<'o> {
    /// Every tensor of the request and of its answer.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &'o Tensor> {
        let optional = self.optional.iter().map(|given| &given.tensor);
        self.inputs.iter().chain(optional).chain(self.outputs)
    }
}
