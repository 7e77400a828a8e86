//! Estimated performance of regression models without labels. A companion model, published with the
//! version, predicts the absolute error of each row. The estimate is valid while errors depend on
//! the inputs as in the training data, which inputs alone cannot show.

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

/// The assumption that is printed with every estimate.
pub(crate) const ASSUMPTION: &str = "holds while errors depend on the inputs as they did in the training data of the companion model; concept drift does not show";

/// Which tensors of the model are the inputs of its companion, in the companion's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wiring(Vec<(Side, usize)>);

impl Wiring {
    /// Reads the companion of a model. Refuses one whose weights are in other files.
    pub(crate) fn read(model: &Signature, companion: Bytes) -> Result<Self> {
        let graph = Graph::read(companion).map_err(|e| e.context("the companion model"))?;
        if !graph.external.is_empty() {
            return Err(Error::precondition(
                "the companion model must hold its weights in its own file",
            ));
        }

        Self::find(model, &graph.signature)
    }

    /// Finds each input of the companion among the inputs, or else the outputs, of the model, by
    /// name and type. Refuses a companion with other inputs, or whose output is not one number for
    /// each row.
    fn find(model: &Signature, companion: &Signature) -> Result<Self> {
        let refuse = |why: String| Err(Error::precondition(format!("the companion model {why}")));
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
                    "has the input '{name}', which must be an input or an output of the model"
                ));
            };
            if found.dtype != wanted.dtype || !fits(wanted.shape.as_deref(), found.shape.as_deref())
            {
                return refuse(format!(
                    "has the input '{name}' with another type or shape than in the model"
                ));
            }
            takes.push((side, at));
        }

        let is_number =
            |o: &TensorSpec| matches!(o.dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64);
        match companion.outputs.as_slice() {
            [only] if is_number(only) && is_one(only.shape.as_deref()) => Ok(Self(takes)),
            _ => refuse(
                "must have one output, with one floating-point number for each row".to_owned(),
            ),
        }
    }
}

/// Tells whether a tensor of the model's shape fits an input of the companion.
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

/// Tells whether a shape may be one number for each row.
fn is_one(shape: Option<&[Dim]>) -> bool {
    shape.is_none_or(|dims| {
        !dims.is_empty()
            && dims[1..]
                .iter()
                .all(|d| matches!(d, Dim::Fixed(1) | Dim::Dynamic))
    })
}

/// A companion model with its session.
pub(crate) struct Companion {
    session: Box<dyn Session>,
    wiring: Wiring,
    has_failed: bool,
}

impl Companion {
    /// Combines a session of the companion with its wiring.
    pub(crate) fn new(session: Box<dyn Session>, wiring: Wiring) -> Self {
        Self {
            session,
            wiring,
            has_failed: false,
        }
    }

    /// Predicts the absolute error of each row of an answered request. A run that fails returns no
    /// errors, and the first failure its reason.
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

/// The sum of the expected errors of rows.
pub(crate) struct Errors {
    /// The standard deviation of errors relative to their mean, if it is known.
    spread: Option<f64>,
    rows: u64,
    sum: f64,
}

impl Errors {
    /// Starts at zero. `then` are the measures on the rows of the baseline.
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

    /// Adds the expected error of a row.
    pub(crate) fn take(&mut self, error: f64) {
        if error.is_finite() {
            self.rows += 1;
            // Errors are not negative, whatever the companion predicts.
            self.sum += error.max(0.0);
        }
    }

    /// Returns the estimate and starts again at zero; none without rows.
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
