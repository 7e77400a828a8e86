//! The shapes that clients see where `config.pbtxt` reshapes a tensor: `dims` on the wire, and the shape of the graph in
//! the model. Both have the same elements in the same order.

#[cfg(test)]
mod tests;

use crate::core::error::Result;
use crate::core::model::optional::CheckedInputs;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::Tensor;
use crate::registry::pbtxt::{ConfigTensor, ModelConfig};

/// The tensors of a model that are reshaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reshapes {
    /// Of each input, in the graph's order.
    inputs: Vec<Option<Reshape>>,
    outputs: Vec<Option<Reshape>>,
}

/// The axes behind the rows, or all axes of a model without rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reshape {
    has_rows: bool,
    /// On the wire.
    shown: Vec<usize>,
    /// In the model.
    own: Vec<usize>,
}

impl Reshapes {
    /// Reads them from a configuration that fits the graph; none if there are none.
    pub(crate) fn of(config: &ModelConfig, signature: &Signature) -> Option<Box<Self>> {
        let has_rows = config.batch_rows_max.is_some();
        let find = |specs: &[TensorSpec], listed: &[ConfigTensor]| -> Vec<Option<Reshape>> {
            let of = |spec: &TensorSpec| {
                let tensor = listed.iter().find(|tensor| tensor.name == spec.name)?;
                let lengths = |dims: &[i64]| -> Option<Vec<usize>> {
                    dims.iter().map(|d| usize::try_from(*d).ok()).collect()
                };
                Some(Reshape {
                    has_rows,
                    shown: lengths(&tensor.dims)?,
                    own: lengths(tensor.reshape.as_ref()?)?,
                })
            };
            specs.iter().map(of).collect()
        };
        let found = Self {
            inputs: find(&signature.inputs, &config.inputs),
            outputs: find(&signature.outputs, &config.outputs),
        };
        let mut all = found.inputs.iter().chain(&found.outputs);
        all.any(Option::is_some).then(|| Box::new(found))
    }

    /// The signature that clients see, of that of the graph.
    pub(crate) fn shown(&self, signature: Signature) -> Signature {
        self.with_axes(signature, |reshape| &reshape.shown)
    }

    /// The signature of the graph, of that which clients see.
    pub(crate) fn of_graph(&self, signature: Signature) -> Signature {
        self.with_axes(signature, |reshape| &reshape.own)
    }

    fn with_axes(&self, mut signature: Signature, axes: fn(&Reshape) -> &[usize]) -> Signature {
        let change = |specs: &mut [TensorSpec], reshapes: &[Option<Reshape>]| {
            for (spec, reshape) in specs.iter_mut().zip(reshapes) {
                if let Some(reshape) = reshape {
                    let rows = reshape.has_rows.then_some(Dim::Dynamic);
                    let inner = axes(reshape).iter().copied().map(Dim::Fixed);
                    spec.shape = Some(rows.into_iter().chain(inner).collect());
                }
            }
        };
        change(&mut signature.inputs, &self.inputs);
        change(&mut signature.outputs, &self.outputs);
        signature
    }

    /// Gives inputs the shapes of the model.
    pub(crate) fn to_model(&self, mut inputs: CheckedInputs) -> Result<CheckedInputs> {
        for (tensor, reshape) in inputs.required.iter_mut().zip(&self.inputs) {
            if let Some(reshape) = reshape {
                *tensor = reshape.to(tensor, &reshape.own)?;
            }
        }
        Ok(inputs)
    }

    /// Gives outputs, in the graph's order, the shapes that clients see.
    pub(crate) fn to_clients(&self, mut outputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        for (tensor, reshape) in outputs.iter_mut().zip(&self.outputs) {
            if let Some(reshape) = reshape {
                *tensor = reshape.to(tensor, &reshape.shown)?;
            }
        }
        Ok(outputs)
    }

    /// The shape of the graph where an output is reshaped, or an input.
    pub(crate) fn own(&self, signature: &Signature, name: &str) -> Option<&[usize]> {
        let inputs = signature.inputs.iter().zip(&self.inputs);
        let outputs = signature.outputs.iter().zip(&self.outputs);
        let mut named = inputs.chain(outputs).filter(|(spec, _)| spec.name == name);
        let reshape = named.find_map(|(_, reshape)| reshape.as_ref());
        reshape.map(|reshape| reshape.own.as_slice())
    }
}

impl Reshape {
    fn to(&self, tensor: &Tensor, inner: &[usize]) -> Result<Tensor> {
        let rows = tensor.rows().filter(|_| self.has_rows);
        let shape = rows.into_iter().chain(inner.iter().copied()).collect();
        tensor.reshaped(shape)
    }
}
