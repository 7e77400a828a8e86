//! Estimated performance of regression models without labels. A companion model, published with the
//! version, predicts the absolute error of each row. The estimate holds while rows of one kind are
//! as difficult as in training, which inputs alone cannot show.

#[cfg(test)]
mod tests;

use super::answer::column;
use super::estimate::Estimate;
use super::measure::Measures;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::{DType, Tensor, View};
use crate::observe::drift::layout::Side;
use crate::onnx::graph::Graph;
use crate::onnx::runtime::Session;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What is printed beside every estimate.
pub(crate) const ASSUMPTION: &str = "valid while errors depend on the inputs as they did in the training data of the companion model; concept drift does not show";

/// Which of a model's tensors a companion takes, in its own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wiring(Vec<(Side, usize)>);

impl Wiring {
    /// Reads a companion of a model. Refuses one with weights in other files.
    pub(crate) fn read(model: &Signature, companion: Bytes) -> Result<Self> {
        let graph = Graph::read(companion).map_err(|e| e.context("the companion"))?;
        if !graph.external.is_empty() {
            return Err(Error::precondition(
                "the companion model must hold its weights in its own file",
            ));
        }

        Self::find(model, &graph.signature)
    }

    /// Finds each of its inputs among the model's inputs, or else outputs, by name
    /// and type. Refuses a companion that takes anything else, or that does not
    /// answer one number for a row.
    fn find(model: &Signature, companion: &Signature) -> Result<Self> {
        let refuse = |why: String| Err(Error::precondition(format!("the companion {why}")));
        let sides = [(Side::Input, &model.inputs), (Side::Output, &model.outputs)];
        let mut takes = Vec::new();
        for wanted in &companion.inputs {
            let name = short(&wanted.name);
            let find = |(side, specs): &(Side, &Vec<TensorSpec>)| {
                let at = specs.iter().position(|s| s.name == wanted.name)?;
                Some((*side, at, specs[at].clone()))
            };
            let Some((side, at, found)) = sides.iter().find_map(find) else {
                return refuse(format!(
                    "has the input '{name}', which is neither an input nor an output of the model"
                ));
            };
            if found.dtype != wanted.dtype || !fits(wanted.shape.as_deref(), found.shape.as_deref())
            {
                return refuse(format!(
                    "takes '{name}' as another type or shape than the model has it"
                ));
            }
            takes.push((side, at));
        }

        let is_number =
            |o: &TensorSpec| matches!(o.dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64);
        match companion.outputs.as_slice() {
            [only] if is_number(only) && is_one(only.shape.as_deref()) => Ok(Self(takes)),
            _ => refuse(
                "does not answer one floating-point number for a row, and nothing else".to_owned(),
            ),
        }
    }
}

/// Whether a tensor of the model's shape may be given where the companion's is asked.
fn fits(asked: Option<&[Dim]>, given: Option<&[Dim]>) -> bool {
    let axis = |(asked, given): (&Dim, &Dim)| {
        *asked == Dim::Dynamic || *given == Dim::Dynamic || asked == given
    };
    match (asked, given) {
        (Some(asked), Some(given)) => {
            asked.len() == given.len() && asked.iter().zip(given).all(axis)
        }
        _ => true,
    }
}

/// Whether a shape is one number a row, as far as it is known.
fn is_one(shape: Option<&[Dim]>) -> bool {
    shape.is_none_or(|dims| {
        !dims.is_empty()
            && dims[1..]
                .iter()
                .all(|d| matches!(d, Dim::Fixed(1) | Dim::Dynamic))
    })
}

/// A companion at work.
pub(crate) struct Companion {
    session: Box<dyn Session>,
    wiring: Wiring,
    has_failed: bool,
}

impl Companion {
    /// Takes a session of the companion that the wiring was found for.
    pub(crate) fn new(session: Box<dyn Session>, wiring: Wiring) -> Self {
        Self {
            session,
            wiring,
            has_failed: false,
        }
    }

    /// Says how large the error of each row of an answered request is likely to
    /// be. Of a run that fails it says nothing, the first time with the reason.
    pub(crate) fn expect(
        &mut self,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> (Vec<f64>, Option<Error>) {
        match self.run(inputs, outputs) {
            Ok(expected) => (expected, None),
            Err(error) => {
                let is_known = std::mem::replace(&mut self.has_failed, true);
                (Vec::new(), Some(error).filter(|_| !is_known))
            }
        }
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &[Tensor]) -> Result<Vec<f64>> {
        let of = |(side, at): &(Side, usize)| {
            if *side == Side::Input {
                inputs
            } else {
                outputs
            }
            .get(*at)
        };

        let given: Option<Vec<View<'_>>> = self
            .wiring
            .0
            .iter()
            .map(|take| of(take).map(Tensor::view))
            .collect();
        let given = given
            .ok_or_else(|| Error::internal("a request has fewer tensors than its signature"))?;
        let rows = inputs.first().and_then(Tensor::rows);

        let answered = self.session.run(&given)?;
        let values = answered
            .first()
            .map(|tensor| column(tensor, 0, 0))
            .unwrap_or_default();
        match rows {
            Some(rows) if values.len() != rows => {
                Err(Error::precondition("it must return one value for each row"))
            }
            _ => Ok(values),
        }
    }
}

/// Expected errors of rows, summed up.
pub(crate) struct Errors {
    /// How far errors are spread for their mean, where that is known.
    spread: Option<f64>,
    rows: u64,
    sum: f64,
}

impl Errors {
    /// Starts at nothing. `then` are the measures of the baseline's rows.
    pub(crate) fn new(then: Option<&BTreeMap<String, f64>>) -> Self {
        let of = |name| then.and_then(|measures| measures.get(name).copied());
        let spread = of("mae").zip(of("rmse")).filter(|(mae, _)| *mae > 0.0);
        let spread = spread.map(|(mae, rmse)| (rmse * rmse / (mae * mae) - 1.0).max(0.0).sqrt());
        Self {
            spread,
            rows: 0,
            sum: 0.0,
        }
    }

    /// Takes a row's.
    pub(crate) fn take(&mut self, error: f64) {
        if error.is_finite() {
            self.rows += 1;
            // An error is no less than nothing, whatever a model makes of it.
            self.sum += error.max(0.0);
        }
    }

    /// Tells what it comes to, and starts again; none of no rows.
    pub(crate) fn close(&mut self) -> Option<Estimate> {
        let (rows, sum) = (
            std::mem::take(&mut self.rows),
            std::mem::take(&mut self.sum),
        );
        let n = (rows > 0).then_some(rows as f64)?;
        let mae = sum / n;
        let margin = self.spread.map(|spread| 1.96 * spread * mae / n.sqrt());
        Some(Estimate {
            rows,
            measures: Measures::from([("mae", mae)]),
            margin,
            calibrated: None,
        })
    }
}
