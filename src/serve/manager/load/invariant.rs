//! Decides about `batch_invariant`: in which sizes of batches a request gets the same answer bit for bit.

use super::decide::{Decision, GENERATED_MAX, Undecided};
use super::{Loading, largest_batch};
use crate::core::error::{Error, Result};
use crate::onnx::batchability::invariance::{InvariantSizes, invariant_sizes};
use crate::onnx::rows::RowVerdict;
use crate::onnx::runtime::Session;
use crate::serve::servable::{Batching, UNMERGED};

impl Loading<'_> {
    /// Finds the sizes, if the configuration asks for them. Where there are none, each request is to run
    /// alone: then no other request has an influence.
    pub(super) fn with_invariant_sizes(
        &self,
        decision: Decision,
        model: &Undecided,
        session: &mut dyn Session,
    ) -> Decision {
        if !self.settings.model.batch_invariant || !decision.may_be_joined() {
            return decision;
        }

        match self.invariant_sizes(&decision, model, session) {
            Ok(sizes) => Decision {
                sizes: Some(sizes),
                ..decision
            },
            Err(error) => Decision {
                batching: Batching::Alone(format!("batch_invariant is set, and {}", error.message)),
                is_open: false,
                padding: Err(UNMERGED.to_owned()),
                is_padding_open: false,
                ..decision
            },
        }
    }

    fn invariant_sizes(
        &self,
        decision: &Decision,
        model: &Undecided,
        session: &mut dyn Session,
    ) -> Result<InvariantSizes> {
        if !matches!(model.verdict, RowVerdict::Independent) {
            return Err(Error::invalid(
                "the graph does not prove that rows are independent",
            ));
        }
        if !model.signature.has_fixed_inner_axes() {
            return Err(Error::invalid(
                "an input has a dynamic axis beyond the first, of which not every size can be tested",
            ));
        }

        let sample = decision.sample.as_ref();
        let sample = sample.ok_or_else(|| Error::invalid("the model refuses generated inputs"))?;
        let rows_max = largest_batch(self.settings, true);
        invariant_sizes(sample, session, rows_max, GENERATED_MAX)
            .map_err(|error| error.context("its test failed"))
    }
}
