//! A graph of one input `x` and one output `y`, FP32 both, grown node by node.

use super::format::{
    Attribute, Body, Declaration, Dimension, Model, Node, Operators, Shape, TensorType, Type,
    Weights,
};
use crate::schedule::Random;
use prost::Message;

const FLOAT: i32 = 1;
const INT64: i32 = 7;
/// The output of every graph.
const OUTPUT: &str = "y";

/// A value of an attribute.
pub(crate) enum Given<'v> {
    Int(i64),
    Text(&'v str),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<&'v str>),
}

pub(crate) struct Graph {
    pub random: Random,
    body: Body,
}

impl Graph {
    pub(crate) fn new(seed: u64) -> Self {
        let name = Some("g".to_owned());
        Self {
            random: Random::new(seed),
            body: Body {
                name,
                ..Body::default()
            },
        }
    }

    /// Declares the input; −1 is a dynamic axis, and rows come before `width`.
    pub(crate) fn input(&mut self, width: &[i64]) {
        self.body.inputs = vec![declare("x", width)];
    }

    /// Adds an operator; returns its output.
    pub(crate) fn add(&mut self, operator: &str, inputs: &[&str]) -> String {
        self.add_with(operator, inputs, &[])
    }

    /// Adds an operator with attributes; returns its output.
    pub(crate) fn add_with(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Given<'_>)],
    ) -> String {
        let output = format!("t{}", self.body.nodes.len());
        let is_tree = operator.starts_with("TreeEnsemble");
        self.body.nodes.push(Node {
            inputs: inputs.iter().map(|i| (*i).to_owned()).collect(),
            outputs: vec![output.clone()],
            operator: Some(operator.to_owned()),
            attributes: attributes.iter().map(|(n, v)| attribute(n, v)).collect(),
            domain: is_tree.then(|| "ai.onnx.ml".to_owned()),
        });
        output
    }

    /// Makes the output of the last node the output of the graph.
    pub(crate) fn output(&mut self, width: &[i64]) {
        if let Some(last) = self.body.nodes.last_mut() {
            last.outputs = vec![OUTPUT.to_owned()];
        }
        self.body.outputs = vec![declare(OUTPUT, width)];
    }

    /// Weights of the normal distribution, divided by the root of `fan_in`.
    pub(crate) fn random(&mut self, dims: &[i64], fan_in: i64) -> String {
        let count: i64 = dims.iter().product();
        let scale = 1.0 / (fan_in as f64).sqrt();
        let values: Vec<f32> = (0..count)
            .map(|_| (self.random.normal() * scale) as f32)
            .collect();
        self.floats(dims, &values)
    }

    pub(crate) fn floats(&mut self, dims: &[i64], values: &[f32]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.weights(dims, FLOAT, raw)
    }

    pub(crate) fn ints(&mut self, values: &[i64]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.weights(&[values.len() as i64], INT64, raw)
    }

    fn weights(&mut self, dims: &[i64], element: i32, raw: Vec<u8>) -> String {
        let name = format!("w{}", self.body.weights.len());
        self.body.weights.push(Weights {
            dims: dims.to_vec(),
            element: Some(element),
            name: Some(name.clone()),
            raw: Some(raw),
        });
        name
    }

    /// The model file.
    pub(crate) fn encode(self) -> Vec<u8> {
        let operators = |domain: &str, version| Operators {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        Model {
            ir_version: Some(8),
            graph: Some(self.body),
            operators: vec![operators("", 17), operators("ai.onnx.ml", 3)],
        }
        .encode_to_vec()
    }
}

fn declare(name: &str, width: &[i64]) -> Declaration {
    let dynamic = |name: String| Dimension {
        value: None,
        parameter: Some(name),
    };
    let axis = |(at, n): (usize, &i64)| match n {
        ..0 => dynamic(format!("L{at}")),
        n => Dimension {
            value: Some(*n),
            parameter: None,
        },
    };
    let mut dimensions = vec![dynamic("N".to_owned())];
    dimensions.extend(width.iter().enumerate().map(axis));
    let tensor = TensorType {
        element: Some(FLOAT),
        shape: Some(Shape { dimensions }),
    };
    Declaration {
        name: Some(name.to_owned()),
        r#type: Some(Type {
            tensor: Some(tensor),
        }),
    }
}

fn attribute(name: &str, given: &Given<'_>) -> Attribute {
    let mut attribute = Attribute {
        name: Some(name.to_owned()),
        ..Attribute::default()
    };
    let bytes = |text: &&str| text.as_bytes().to_vec();
    let kind = match given {
        Given::Int(value) => {
            attribute.int = Some(*value);
            2
        }
        Given::Text(value) => {
            attribute.text = Some(bytes(value));
            3
        }
        Given::Floats(values) => {
            attribute.floats.clone_from(values);
            6
        }
        Given::Ints(values) => {
            attribute.ints.clone_from(values);
            7
        }
        Given::Texts(values) => {
            attribute.texts = values.iter().map(bytes).collect();
            8
        }
    };
    attribute.kind = Some(kind);
    attribute
}
