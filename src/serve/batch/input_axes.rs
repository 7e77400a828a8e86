//! What messages about the tensors of a request say: the names of the inputs and of their axes.

use crate::core::error::short;
use crate::core::tensor::Tensor;

/// The names of a model's required inputs and of their axes, in the graph's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InputAxes {
    pub names: Vec<String>,
    /// Those that the graph names.
    pub axes: Vec<Vec<Option<String>>>,
}

impl InputAxes {
    /// An input in a message.
    pub(super) fn input(&self, at: usize) -> String {
        match self.names.get(at) {
            Some(name) => format!("input '{}'", short(name)),
            None => format!("input {at}"),
        }
    }

    /// Two axes of one name that are not equally long, if there are such. ONNX Runtime does not compare them, and
    /// its message about a node that fails names no input.
    pub(super) fn unequal(&self, inputs: &[Tensor]) -> Option<String> {
        let named = || {
            inputs
                .iter()
                .zip(&self.axes)
                .enumerate()
                .flat_map(|(at, (tensor, axes))| {
                    let sizes = tensor.shape().iter().zip(axes).enumerate();
                    sizes.filter_map(move |(axis, (size, name))| {
                        Some((at, axis, *size, name.as_deref()?))
                    })
                })
        };
        named()
            .enumerate()
            .find_map(|(number, (at, axis, size, name))| {
                let mut before = named().take(number);
                let (other, _, usual, _) =
                    before.find(|(_, _, of, same)| *same == name && *of != size)?;
                Some(format!(
                    "{} has {size} at axis {axis}, '{}', of which {} has {usual}",
                    self.input(at),
                    short(name),
                    self.input(other)
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_of_one_name_that_differ_are_named() {
        let axes = |names: [&str; 2]| names.iter().map(|name| Some((*name).to_owned())).collect();
        let inputs = InputAxes {
            names: vec!["ids".to_owned(), "mask".to_owned()],
            axes: vec![axes(["batch", "sequence"]), axes(["batch", "sequence"])],
        };
        let tensor = |rows: usize, length: usize| {
            Tensor::from_f32(vec![rows, length], &vec![0.0; rows * length]).expect("fits")
        };
        assert_eq!(inputs.unequal(&[tensor(1, 3), tensor(1, 3)]), None);
        assert_eq!(
            inputs.unequal(&[tensor(1, 3), tensor(1, 2)]).as_deref(),
            Some("input 'mask' has 2 at axis 1, 'sequence', of which input 'ids' has 3")
        );
        assert_eq!(
            InputAxes::default().unequal(&[tensor(1, 3), tensor(1, 2)]),
            None
        );
        assert_eq!(InputAxes::default().input(1), "input 1");
    }
}
