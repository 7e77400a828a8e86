//! Exports a fitted model as an ONNX graph: named features in, a value or a label
//! with probabilities out, all preprocessing inside. Uses only operators of every
//! ONNX Runtime version that Ortus accepts.

mod graph;
mod linear;
mod trees;

use crate::features::{ABSENT, Feature, OTHER};
use crate::model::{Learned, TrainedModel};
use crate::tensors::{LABEL, NUMBERS, PROBABILITIES, VALUE};
use graph::{ElementType, GraphBuilder, OnnxOperator};
use ortus::core::model::{Dim, Signature, TensorSpec};
use ortus::core::tensor::DType;

/// The most features that are an input each; of more, all numbers share one input.
const NAMED_MAX: usize = 64;

/// An input of the graph, with its features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GraphInput {
    pub name: String,
    pub features: Vec<usize>,
}

/// Returns the graph's inputs, in their order.
pub(crate) fn inputs(features: &[Feature]) -> Vec<GraphInput> {
    let alone = |at: usize| GraphInput {
        name: features[at].name.clone(),
        features: vec![at],
    };
    if features.len() <= NAMED_MAX {
        return (0..features.len()).map(alone).collect();
    }
    let (numbers, words): (Vec<usize>, Vec<usize>) =
        (0..features.len()).partition(|at| features[*at].categories.is_none());
    let mut all = Vec::new();
    if !numbers.is_empty() {
        all.push(GraphInput {
            name: NUMBERS.to_owned(),
            features: numbers,
        });
    }

    all.extend(words.into_iter().map(alone));
    all
}

/// Returns the names of the inputs' columns, in their order.
pub(crate) fn columns(features: &[Feature]) -> Vec<String> {
    inputs(features)
        .iter()
        .flat_map(|input| &input.features)
        .map(|at| features[*at].name.clone())
        .collect()
}

/// Returns the classes as integers, if all of them are.
fn whole(classes: &[String]) -> Option<Vec<i64>> {
    let number = |c: &String| c.parse::<i64>().ok().filter(|n| n.to_string() == *c);
    classes.iter().map(number).collect()
}

/// Returns the signature of the graph.
pub(crate) fn signature(model: &TrainedModel) -> Signature {
    let rows = |more: Vec<Dim>| Some([vec![Dim::Dynamic], more].concat());
    let spec = |name: &str, dtype, more| TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: rows(more),
    };

    let input = |input: &GraphInput| {
        let is_word = model.features[input.features[0]].categories.is_some();
        let dtype = if is_word { DType::String } else { DType::F32 };
        spec(&input.name, dtype, vec![Dim::Fixed(input.features.len())])
    };

    let outputs = match &model.classes {
        None => vec![spec(VALUE, DType::F32, vec![Dim::Fixed(1)])],
        Some(classes) => vec![
            spec(
                LABEL,
                if whole(classes).is_some() {
                    DType::I64
                } else {
                    DType::String
                },
                vec![],
            ),
            spec(PROBABILITIES, DType::F32, vec![Dim::Fixed(classes.len())]),
        ],
    };

    Signature {
        inputs: inputs(&model.features).iter().map(input).collect(),
        outputs,
        ..Signature::default()
    }
}

/// Writes the model as ONNX, with metadata `properties`.
pub(crate) fn export(model: &TrainedModel, about: &str, properties: &[(&str, String)]) -> Vec<u8> {
    let mut graph = GraphBuilder::default();
    for input in &signature(model).inputs {
        let kind = if input.dtype == DType::String {
            ElementType::Text
        } else {
            ElementType::Float
        };
        graph.input(&input.name, kind, &dims(input));
    }

    let scores = match &model.learned {
        Learned::Trees(booster) => {
            let matrix = matrix(&mut graph, &model.features);
            trees::scores(&mut graph, booster, &matrix, model.features.len())
        }
        Learned::Linear(linear) => linear::scores(&mut graph, linear, &model.features),
        Learned::Mlp(mlp) => linear::perceptron(&mut graph, mlp, &model.features),
    };

    answer(&mut graph, model, &scores);
    for output in &signature(model).outputs {
        let kind = match output.dtype {
            DType::String => ElementType::Text,
            DType::I64 => ElementType::Whole,
            _ => ElementType::Float,
        };
        graph.output(&output.name, kind, &dims(output));
    }

    graph.finish(&about.replace(char::is_control, " "), properties)
}

fn dims(spec: &TensorSpec) -> Vec<i64> {
    spec.shape
        .iter()
        .flatten()
        .map(|d| if let Dim::Fixed(n) = d { *n as i64 } else { -1 })
        .collect()
}

/// Returns every feature as a number, in their order: [rows, features].
fn matrix(graph: &mut GraphBuilder, features: &[Feature]) -> String {
    let all = inputs(features);
    let order: Vec<usize> = all
        .iter()
        .flat_map(|i| i.features.iter().copied())
        .collect();
    let parts: Vec<String> = all
        .iter()
        .map(|input| number(graph, input, features))
        .collect();
    let joined = match parts.as_slice() {
        [only] => only.clone(),
        parts => {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            graph.node("Concat", &parts, &[("axis", 1.into())])
        }
    };

    if order.iter().enumerate().all(|(at, feature)| at == *feature) {
        return joined;
    }
    let mut places = vec![0_i64; order.len()];
    order
        .iter()
        .enumerate()
        .for_each(|(at, feature)| places[*feature] = at as i64);
    let places = graph.integer_constant(&places, &[places.len() as i64]);

    graph.node("Gather", &[&joined, &places], &[("axis", 1.into())])
}

/// Returns an input as numbers: a category by its code.
fn number(graph: &mut GraphBuilder, input: &GraphInput, features: &[Feature]) -> String {
    match &features[input.features[0]].categories {
        None => input.name.clone(),
        Some(known) => {
            let words = known
                .iter()
                .map(String::as_str)
                .chain([""])
                .collect::<Vec<&str>>();
            let codes: Vec<f32> = (0..known.len())
                .map(|code| code as f32)
                .chain([f32::from(ABSENT)])
                .collect();
            let attributes = [
                ("keys_strings", words.as_slice().into()),
                ("values_floats", codes.as_slice().into()),
                ("default_float", f32::from(OTHER).into()),
            ];
            graph.node_of("ai.onnx.ml", "LabelEncoder", &[&input.name], &attributes)
        }
    }
}

/// Adds the outputs, computed from scores.
fn answer(graph: &mut GraphBuilder, model: &TrainedModel, scores: &str) {
    let Some(classes) = &model.classes else {
        graph.name("Identity", &[scores], &[], VALUE);
        return;
    };
    if classes.len() == 2 {
        let p = graph.node("Sigmoid", &[scores], &[]);
        let one = graph.floats(&[1.0], &[1, 1]);
        let q = graph.node("Sub", &[&one, &p], &[]);
        graph.name("Concat", &[&q, &p], &[("axis", 1.into())], PROBABILITIES);
    } else {
        graph.name("Softmax", &[scores], &[("axis", 1.into())], PROBABILITIES);
    }

    let place = graph.node(
        "ArgMax",
        &[PROBABILITIES],
        &[("axis", 1.into()), ("keepdims", 0.into())],
    );

    let places: Vec<i64> = (0..classes.len() as i64).collect();
    let keys = ("keys_int64s", places.as_slice().into());
    let encoder = OnnxOperator {
        domain: "ai.onnx.ml",
        op: "LabelEncoder",
    };
    match whole(classes) {
        Some(numbers) => {
            let values = ("values_int64s", numbers.as_slice().into());
            graph.name_of(encoder, &[&place], &[keys, values], LABEL);
        }
        None => {
            let words: Vec<&str> = classes.iter().map(String::as_str).collect();
            let values = ("values_strings", words.as_slice().into());
            graph.name_of(encoder, &[&place], &[keys, values], LABEL);
        }
    }
}
