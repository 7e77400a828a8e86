//! The task of a model: classification with scores, or regression with a value.
//! Found from the operators and names of the outputs, unless it is configured.

#[cfg(test)]
mod tests;

use super::{Dim, Signature, TensorSpec};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::tensor::DType;

/// The most classes of a model.
pub const CLASSES_MAX: usize = 64;

/// The task of a model, and where its outputs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Scores of classes.
    Classification(Classification),
    /// The output with the value.
    Regression(usize),
}

/// Scores between 0 and 1 of classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    /// The output with a score for each class, or one for the last of two.
    pub scores: usize,
    /// Whether one score stands for two classes.
    pub is_single: bool,
    /// The output that names the predicted class; without it, the class with the
    /// highest score is the prediction.
    pub label: Option<usize>,
    /// Names of the classes, as labels use them.
    pub classes: Vec<String>,
}

/// The task as the configuration or a manifest declares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The task; `None` derives it from the graph.
    pub kind: Option<TaskKind>,
    /// The output with the scores, or with the value.
    pub output: Option<String>,
    /// Names of the classes; empty derives them from the graph.
    pub classes: Vec<String>,
}

/// The kinds of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Classes with scores.
    Classification,
    /// A value.
    Regression,
    /// Neither: predictions are not matched with labels.
    Neither,
}

/// What computes an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputEnd {
    /// The operator, behind operators that only change the shape.
    pub operator: String,
    /// The classes that it declares.
    pub classes: Vec<String>,
    /// Whether the file declares a sequence of maps, which is served as a tensor with a column for each
    /// class.
    pub is_from_maps: bool,
}

/// Names that exporters give to outputs with scores.
const SCORES: [&str; 5] = [
    "probabilities",
    "probability",
    "output_probability",
    "probs",
    "y_prob",
];
/// Operators whose results are scores between 0 and 1.
const SCORING: [&str; 6] = [
    "Softmax",
    "Sigmoid",
    "LinearClassifier",
    "TreeEnsembleClassifier",
    "SVMClassifier",
    "Normalizer",
];

impl Task {
    /// Finds the task; `None` if neither graph nor configuration shows it. Refuses a configuration
    /// that does not fit the outputs.
    pub fn find(signature: &Signature, ends: &[OutputEnd], wish: &Wish) -> Result<Option<Self>> {
        let outputs = &signature.outputs;
        let wished =
            match &wish.output {
                None => None,
                Some(name) => Some(outputs.iter().position(|o| o.name == *name).ok_or_else(
                    || {
                        Error::precondition(format!(
                            "the task's output '{}' is not an output of the model",
                            short(name)
                        ))
                    },
                )?),
            };

        let operator = |at: usize| ends.get(at).map_or("", |e| e.operator.as_str());
        let is_float =
            |o: &TensorSpec| matches!(o.dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64);
        let scoring = |at: usize| {
            SCORING.contains(&operator(at)) || SCORES.contains(&outputs[at].name.as_str())
        };

        let floats: Vec<usize> = (0..outputs.len())
            .filter(|at| is_float(&outputs[*at]) && width(&outputs[*at]).is_some())
            .collect();
        let scores = wished.or_else(|| floats.iter().copied().find(|at| scoring(*at)));
        // A number beside a class, such as a distance or a measure of how unusual a row is, is no prediction.
        let has_class = outputs.iter().any(|o| is_class(o) && width(o) == Some(1));
        let value = wished.or_else(|| {
            floats
                .first()
                .copied()
                .filter(|at| floats.len() == 1 && !has_class && width(&outputs[*at]) == Some(1))
        });

        let unfit = |what: &str| {
            Error::precondition(format!(
                "no output of the model fits {what}; set 'score_output'"
            ))
        };
        match wish.kind {
            Some(TaskKind::Neither) => Ok(None),
            Some(TaskKind::Regression) => value
                .map(Self::Regression)
                .map(Some)
                .ok_or_else(|| unfit("regression")),
            Some(TaskKind::Classification) => {
                let scores = scores.or(value).ok_or_else(|| unfit("classification"))?;
                Self::classify(signature, ends, scores, &wish.classes).map(Some)
            }
            None => match (scores, value) {
                (Some(at), _) if wished.is_none() || scoring(at) => {
                    // A derived task never makes a model invalid.
                    let found = Self::classify(signature, ends, at, &wish.classes);
                    if wish.classes.is_empty() {
                        Ok(found.ok())
                    } else {
                        found.map(Some)
                    }
                }
                (_, Some(at)) => Ok(Some(Self::Regression(at))),
                _ => Ok(None),
            },
        }
    }

    fn classify(
        signature: &Signature,
        ends: &[OutputEnd],
        scores: usize,
        wished: &[String],
    ) -> Result<Self> {
        let spec = &signature.outputs[scores];
        let width = width(spec).filter(|w| *w <= CLASSES_MAX).ok_or_else(|| {
            Error::precondition(format!(
                "output '{}' does not have 1 to {CLASSES_MAX} scores a row",
                short(&spec.name)
            ))
        })?;

        let many = width.max(2);

        let label = signature
            .outputs
            .iter()
            .position(|o| is_class(o) && self::width(o) == Some(1));
        // An output that names the predicted class may name all classes.
        let of = |at: usize| ends.get(at).map(|e| &e.classes).filter(|c| c.len() == many);

        let known = of(scores).or_else(|| of(label?)).map_or(&[][..], |c| c);
        let classes = match (wished.len(), known.len()) {
            (0, n) if n == many => known.to_vec(),
            (0, _) => (0..many).map(|n| n.to_string()).collect(),
            (n, _) if n == many => wished.to_vec(),
            (n, _) => {
                let name = short(&spec.name);
                return Err(Error::precondition(format!(
                    "'classes' names {n}; output '{name}' has {many}"
                )));
            }
        };

        Ok(Self::Classification(Classification {
            scores,
            is_single: width == 1,
            label,
            classes,
        }))
    }
}

impl Classification {
    /// Finds a class by its name, also in the spelling of a number or a boolean.
    pub fn class(&self, label: &str) -> Option<usize> {
        let is = |name: &str| self.classes.iter().position(|c| c == name);
        let whole = || {
            label
                .parse::<f64>()
                .ok()
                .filter(|v| v.fract() == 0.0 && v.abs() < 1e15)
                .map(|v| format!("{v}"))
        };

        let truth = || match label {
            "true" | "True" => Some("1"),
            "false" | "False" => Some("0"),
            _ => None,
        };

        // A boolean of a table has lost its spelling.
        let spelled = || {
            let is_same = |class: &String| class.eq_ignore_ascii_case(label);
            self.classes
                .iter()
                .position(is_same)
                .filter(|_| truth().is_some())
        };

        is(label)
            .or_else(|| is(&whole()?))
            .or_else(spelled)
            .or_else(|| is(truth()?))
    }
}

/// Whether an output can name a class.
fn is_class(spec: &TensorSpec) -> bool {
    use DType::{Bool, I32, I64, String};
    matches!(spec.dtype, I64 | I32 | String | Bool)
}

/// Elements of a row; `None` if the model does not declare it.
fn width(spec: &TensorSpec) -> Option<usize> {
    let dims = spec.shape.as_ref().filter(|dims| !dims.is_empty())?;
    let fixed = |d: &Dim| {
        if let Dim::Fixed(n) = d {
            Some(*n)
        } else {
            None
        }
    };

    let sizes: Option<Vec<usize>> = dims.iter().skip(1).map(fixed).collect();
    sizes.and_then(|sizes| crate::core::tensor::elements(&sizes))
}
