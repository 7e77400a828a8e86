//! Inputs with a default: what a graph declares of them, and what a request gives of them.
//! [`Signature::check`](super::Signature::check) reads them from a request.

use super::TensorSpec;
use crate::core::tensor::Tensor;

/// An input that a request may leave out, because the model file has a default for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalInput {
    /// Name, datatype and shape.
    pub spec: TensorSpec,
    /// Whether metadata lists it. One that is not listed is accepted all the same.
    pub is_listed: bool,
}

/// An input that is declared, and whose default no request can replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedInput {
    /// The graph's name for it.
    pub name: String,
    /// Why the default is fixed, as a sentence without its end.
    pub reason: &'static str,
}

/// An optional input of a request.
#[derive(Clone, Debug)]
pub struct OptionalTensor {
    /// The graph's name for it.
    pub name: String,
    /// Its value.
    pub tensor: Tensor,
}

/// The inputs of a request, checked against the signature.
#[derive(Clone, Debug, Default)]
pub struct CheckedInputs {
    /// Every required input, in the graph's order.
    pub required: Vec<Tensor>,
    /// The optional inputs that are given, in the graph's order.
    pub optional: Vec<OptionalTensor>,
}

impl CheckedInputs {
    /// Every tensor, required ones first.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let optional = self.optional.iter().map(|given| &given.tensor);
        self.required.iter().chain(optional)
    }
}
