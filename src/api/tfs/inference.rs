//! Classify, Regress and MultiInference of TensorFlow Serving: examples to classes with scores, or to values. For models
//! whose task is known.

#[cfg(test)]
mod tests;

use super::codec;
use crate::api::inbound::Decoded;
use crate::core::error::{Error, Result, short};
use crate::core::model::task::{Classification, Task};
use crate::core::request::{Request, Response, Target};
use crate::core::tensor::{NamedTensors, Tensor};
use crate::proto::tensorflow::serving as p;
use crate::serve::servable::Servable;

/// What is asked of examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inference {
    Classify,
    Regress,
}

impl Inference {
    /// The name of the method in TensorFlow.
    fn method(self) -> &'static str {
        match self {
            Self::Classify => "tensorflow/serving/classify",
            Self::Regress => "tensorflow/serving/regress",
        }
    }

    /// The signature that models of TensorFlow usually have for it.
    fn signature(self) -> &'static str {
        match self {
            Self::Classify => "classification",
            Self::Regress => "regression",
        }
    }

    /// Finds what a method is called.
    pub(super) fn of_method(name: &str) -> Result<Self> {
        [Self::Classify, Self::Regress]
            .into_iter()
            .find(|inference| inference.method() == name)
            .ok_or_else(|| {
                Error::unimplemented(format!(
                    "method '{}' is not supported; use {} or {}",
                    short(name),
                    Self::Classify.method(),
                    Self::Regress.method()
                ))
            })
    }

    /// Which model and version a request means.
    pub(super) fn target(self, spec: Option<&p::ModelSpec>) -> Result<Target> {
        let plain = spec.map(|spec| p::ModelSpec {
            signature_name: self.default_for(&spec.signature_name),
            ..spec.clone()
        });
        codec::target(plain.as_ref())
    }

    /// The name of the one signature where this one means it.
    fn default_for(self, signature: &str) -> String {
        let is_usual = signature == self.signature();
        if is_usual { "" } else { signature }.to_owned()
    }

    /// Refuses a signature that a body names, unless it means the one signature.
    pub(super) fn check_signature(self, name: &str) -> Result<()> {
        match self.default_for(name).as_str() {
            "" | codec::SIGNATURE => Ok(()),
            other => Err(Error::invalid(format!(
                "signature '{}' is unknown; the model has '{}'",
                short(other),
                codec::SIGNATURE
            ))),
        }
    }

    /// The output that answers it. Refuses a model of another task.
    pub(super) fn output(self, servable: &Servable) -> Result<String> {
        let at = match (self, &servable.task) {
            (Self::Classify, Some(Task::Classification(task))) => task.scores,
            (Self::Regress, Some(Task::Regression(value))) => *value,
            (_, task) => {
                let is = match task {
                    Some(Task::Classification(_)) => "is a classification",
                    Some(Task::Regression(_)) => "is a regression",
                    None => "is not known",
                };
                return Err(Error::invalid(format!(
                    "{} does not fit model '{}': its task {is}; see 'task' and 'score_output' in its configuration",
                    self.method(),
                    servable.name
                )));
            }
        };
        let outputs = &servable.signature.outputs;
        Ok(outputs
            .get(at)
            .map(|spec| spec.name.clone())
            .unwrap_or_default())
    }
}

/// A request with what is asked of its examples.
pub(super) fn decoded(
    inputs: NamedTensors,
    outputs: Vec<String>,
    asked: Vec<Inference>,
) -> Result<Decoded<Vec<Inference>>> {
    Request::check_limits("", inputs.len())?;
    let mut unique = Vec::new();
    for output in outputs {
        if !unique.contains(&output) {
            unique.push(output);
        }
    }
    Ok(Decoded {
        id: String::new(),
        priority: 0,
        timeout_us: None,
        route_key: None,
        inputs,
        outputs: unique,
        form: asked,
    })
}

/// The classes of each example, with their scores.
pub(super) fn classes(response: &Response, servable: &Servable) -> Result<Vec<Vec<(String, f32)>>> {
    let Some(Task::Classification(task)) = &servable.task else {
        return Err(Error::internal("the task of the model changed"));
    };
    let (rows, scores) = values(response, servable, task.scores)?;
    let width = scores.len().checked_div(rows).unwrap_or(0);
    Ok(scores
        .chunks_exact(width.max(1))
        .map(|row| named(task, row))
        .collect())
}

/// Names the scores of one row. One score of two classes is that of the second.
fn named(task: &Classification, row: &[f64]) -> Vec<(String, f32)> {
    let both = |score: f64| vec![1.0 - score, score];
    let scores = match row {
        [score] if task.is_single => both(*score),
        row => row.to_vec(),
    };
    let names = task.classes.iter().cloned();
    names.zip(scores.into_iter().map(|s| s as f32)).collect()
}

/// The value of each example.
pub(super) fn regressions(response: &Response, servable: &Servable) -> Result<Vec<f32>> {
    let Some(Task::Regression(at)) = servable.task else {
        return Err(Error::internal("the task of the model changed"));
    };
    let (_, values) = values(response, servable, at)?;
    Ok(values.into_iter().map(|v| v as f32).collect())
}

/// The rows and the numbers of an output.
fn values(response: &Response, servable: &Servable, at: usize) -> Result<(usize, Vec<f64>)> {
    let name = servable.output_name(at);
    let output = response.outputs.iter().find(|(other, _)| **other == *name);
    let tensor = output.map(|(_, tensor): &(_, Tensor)| tensor);
    let tensor =
        tensor.ok_or_else(|| Error::internal("the answer lacks the output of the task"))?;
    let numbers = tensor
        .floats()
        .ok_or_else(|| Error::internal("the output of the task has no floats"))?;
    Ok((tensor.rows().unwrap_or(1), numbers))
}

/// Writes the answer of Classify.
pub(super) fn classification_result(
    response: &Response,
    servable: &Servable,
) -> Result<p::ClassificationResult> {
    let of_example = |classes: Vec<(String, f32)>| p::Classifications {
        classes: classes
            .into_iter()
            .map(|(label, score)| p::Class { label, score })
            .collect(),
    };
    Ok(p::ClassificationResult {
        classifications: classes(response, servable)?
            .into_iter()
            .map(of_example)
            .collect(),
    })
}

/// Writes the answer of Regress.
pub(super) fn regression_result(
    response: &Response,
    servable: &Servable,
) -> Result<p::RegressionResult> {
    let values = regressions(response, servable)?;
    Ok(p::RegressionResult {
        regressions: values
            .into_iter()
            .map(|value| p::Regression { value })
            .collect(),
    })
}
