//! Compares a `config.pbtxt` with the graph of the model: what contradicts the graph is
//! refused, with the line of the file and both sides. Does not read the file.

#[cfg(test)]
mod tests;

use super::{ConfigTensor, ModelConfig};
use crate::core::error::{Error, Result, short};
use crate::core::model::{Dim, Signature, TensorSpec};

impl ModelConfig {
    /// Refuses inputs that the graph does not have, or has with another datatype or
    /// shape, and an input of the graph that is left out where others are listed. A
    /// dynamic axis of the graph takes any length.
    pub(crate) fn check(&self, graph: &Signature) -> Result<()> {
        self.check_batch_axis(graph)?;
        for tensor in &self.inputs {
            let checked = match graph.find_optional(&tensor.name) {
                Some(at) => check_optional(tensor, &graph.optional[at].spec),
                None => self.check_input(tensor, graph),
            };
            checked.map_err(|e| at(tensor.line, e))?;
        }
        let is_listed = |spec: &&TensorSpec| self.inputs.iter().any(|t| t.name == spec.name);
        match graph.inputs.iter().find(|spec| !is_listed(spec)) {
            Some(left_out) if !self.inputs.is_empty() => Err(Error::invalid(format!(
                "config.pbtxt: input '{}' of the graph is not listed; list all inputs or none",
                short(&left_out.name)
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses outputs that the graph does not have, or has with another datatype or shape.
    pub(crate) fn check_outputs(&self, graph: &Signature) -> Result<()> {
        self.outputs.iter().try_for_each(|tensor| {
            let checked = self.check_output(tensor, graph);
            checked.map_err(|e| at(tensor.line, e))
        })
    }

    /// Tells whether a version would be loaded in the same way with `other`: equal but
    /// for the version policy, which is applied at once, and the lines.
    pub(crate) fn loads_like(&self, other: &Self) -> bool {
        self.without_place() == other.without_place()
    }

    fn without_place(&self) -> Self {
        let mut config = self.clone();
        config.version_policy = None;
        config.notices.clear();
        for tensor in config.inputs.iter_mut().chain(&mut config.outputs) {
            tensor.line = 0;
        }
        config
    }

    /// A model that batches needs a first axis of any length in each input.
    fn check_batch_axis(&self, graph: &Signature) -> Result<()> {
        let Some(rows) = self.batch_rows_max else {
            return Ok(());
        };
        let is_fixed = |spec: &&TensorSpec| match spec.shape.as_deref() {
            Some([first, ..]) => *first != Dim::Dynamic,
            Some([]) => true,
            None => false,
        };

        match graph.inputs.iter().find(is_fixed) {
            Some(spec) => Err(Error::invalid(format!(
                "config.pbtxt: max_batch_size is {rows}, but input '{}' is {} in the graph, without a \
                 first axis of any length; write max_batch_size: 0",
                short(&spec.name),
                shape(spec)
            ))),
            None => Ok(()),
        }
    }

    fn check_input(&self, listed: &ConfigTensor, graph: &Signature) -> Result<()> {
        let name = short(&listed.name);
        if let Some(fixed) = graph.fixed.iter().find(|fixed| fixed.name == listed.name) {
            return Err(Error::invalid(format!(
                "input '{name}' is listed here and has a fixed default in the graph: {}",
                fixed.reason
            )));
        }

        self.check_tensor("input", listed, &mut graph.listed_inputs())?;
        if listed.optional {
            return Err(Error::invalid(format!(
                "input '{name}' is optional here and has no default in the graph; leave optional out"
            )));
        }
        Ok(())
    }

    fn check_output(&self, listed: &ConfigTensor, graph: &Signature) -> Result<()> {
        if listed.optional {
            return Err(Error::invalid(format!(
                "output '{}' cannot be optional",
                short(&listed.name)
            )));
        }
        self.check_tensor("output", listed, &mut graph.outputs.iter())
    }

    fn check_tensor(
        &self,
        role: &str,
        listed: &ConfigTensor,
        specs: &mut dyn Iterator<Item = &TensorSpec>,
    ) -> Result<()> {
        let name = short(&listed.name);
        let specs: Vec<&TensorSpec> = specs.collect();
        let Some(spec) = specs.iter().find(|spec| spec.name == listed.name) else {
            let names: Vec<&str> = specs.iter().take(16).map(|s| s.name.as_str()).collect();
            return Err(Error::invalid(format!(
                "{role} '{name}' is not in the graph, which has {}",
                names.join(", ")
            )));
        };

        check_datatype(role, listed, spec)?;
        let fits = match &listed.reshape {
            Some(own) => self.may_be_whole(own, spec),
            None => self.may_be(&listed.dims, spec),
        };
        if fits {
            return Ok(());
        }
        if let Some(own) = &listed.reshape {
            return Err(Error::invalid(format!(
                "{role} '{name}' has reshape {own:?} here, and {} in the graph",
                shape(spec)
            )));
        }

        let batch = match self.batch_rows_max {
            Some(_) => " behind the batch axis of max_batch_size",
            None => "",
        };
        let is_one_a_row = self.batch_rows_max.is_some()
            && listed.dims == [1]
            && matches!(spec.shape.as_deref(), Some([Dim::Dynamic]));
        let fix = if is_one_a_row {
            "; write dims: [ ], which is one value for each row, or leave the tensor out"
        } else {
            ""
        };
        Err(Error::invalid(format!(
            "{role} '{name}' has dims {:?} here{batch}, and {} in the graph{fix}",
            listed.dims,
            shape(spec)
        )))
    }

    /// Tells whether dims are all axes of a tensor, but that of the rows.
    fn may_be_whole(&self, dims: &[i64], spec: &TensorSpec) -> bool {
        let Some(axes) = &spec.shape else {
            return true;
        };
        match self.batch_rows_max {
            Some(_) => matches!(axes.split_first(), Some((Dim::Dynamic, rest)) if fits(dims, rest)),
            None => fits(dims, axes),
        }
    }

    /// Tells whether dims describe a tensor. Without `max_batch_size`, the batch axis may be
    /// written or left out; dims that are left out describe any tensor.
    fn may_be(&self, dims: &[i64], spec: &TensorSpec) -> bool {
        let Some(axes) = &spec.shape else {
            return true;
        };
        let is_whole = fits(dims, axes);
        let is_row = matches!(axes.split_first(), Some((Dim::Dynamic, rest)) if fits(dims, rest));

        match (self.batch_rows_max, self.unbatched) {
            _ if dims.is_empty() => true,
            (Some(_), _) => is_row,
            (None, true) => is_whole,
            (None, false) => is_whole || is_row,
        }
    }
}

/// Adds to an error where the tensor stands.
fn at(line: usize, error: Error) -> Error {
    match line {
        0 => error.context("load parameter 'config'"),
        line => error.context(format!("config.pbtxt: line {line}")),
    }
}

/// Compares an optional input, which has no batch axis. Whether it is listed as optional makes no
/// difference: the graph has a default for it.
fn check_optional(listed: &ConfigTensor, spec: &TensorSpec) -> Result<()> {
    check_datatype("input", listed, spec)?;
    let may_be = |axes: &Vec<Dim>| listed.dims.is_empty() || fits(&listed.dims, axes);
    if spec.shape.as_ref().is_none_or(may_be) {
        return Ok(());
    }

    Err(Error::invalid(format!(
        "input '{}' has dims {:?} here, and {} in the graph, where it is optional and has no batch axis",
        short(&listed.name),
        listed.dims,
        shape(spec)
    )))
}

fn check_datatype(role: &str, listed: &ConfigTensor, spec: &TensorSpec) -> Result<()> {
    if spec.dtype == listed.dtype {
        return Ok(());
    }

    Err(Error::invalid(format!(
        "{role} '{}' is {} here and {} in the graph",
        short(&listed.name),
        listed.dtype,
        spec.dtype
    )))
}

fn fits(dims: &[i64], axes: &[Dim]) -> bool {
    let pairs = || dims.iter().zip(axes);
    dims.len() == axes.len()
        && pairs().all(|(n, axis)| *axis == Dim::Dynamic || axis.to_wire() == *n)
}

fn shape(spec: &TensorSpec) -> String {
    match spec.shape {
        Some(_) => format!("{:?}", spec.shape_to_wire()),
        None => "of any shape".to_owned(),
    }
}
