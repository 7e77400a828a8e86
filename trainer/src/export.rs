//! Exports a fitted model as an ONNX graph: named features in, a value or a label
//! with probabilities out, all preprocessing inside. Uses only operators of every
//! ONNX Runtime version that Ortus accepts.

mod derived;
mod graph;
mod linear;
mod trees;

use crate::calibration::{CurveLine, ScoreCalibration};
use crate::features::{ABSENT, Feature, OTHER};
use crate::fit::trees::loss::LOG_RATE_MAX;
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
    pub kind: InputKind,
    /// The features that are the input, or are computed from it.
    pub features: Vec<usize>,
}

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputKind {
    /// Numbers in FP32, each a feature.
    Numbers,
    Words,
    /// A number in FP64, from which features are computed.
    Source,
}

/// Returns the graph's inputs, in their order.
pub(crate) fn inputs(features: &[Feature]) -> Vec<GraphInput> {
    let kind = |at: usize| match &features[at] {
        Feature {
            derived: Some(_), ..
        } => InputKind::Source,
        Feature {
            categories: Some(_),
            ..
        } => InputKind::Words,
        _ => InputKind::Numbers,
    };
    let mut all: Vec<GraphInput> = Vec::new();
    let are_joined = features.len() > NAMED_MAX;
    let numbers = (0..features.len()).filter(|at| kind(*at) == InputKind::Numbers);
    let numbers: Vec<usize> = numbers.filter(|_| are_joined).collect();
    if !numbers.is_empty() {
        all.push(GraphInput {
            name: NUMBERS.to_owned(),
            kind: InputKind::Numbers,
            features: numbers,
        });
    }

    for (at, feature) in features.iter().enumerate() {
        let kind = kind(at);
        let name = feature
            .derived
            .as_ref()
            .map_or(&feature.name, |d| &d.source);
        let known = all
            .iter_mut()
            .find(|input| kind == InputKind::Source && input.name == *name);
        match known {
            Some(input) => input.features.push(at),
            None if kind == InputKind::Numbers && are_joined => {}
            None => all.push(GraphInput {
                name: name.clone(),
                kind,
                features: vec![at],
            }),
        }
    }
    let until = features.iter().filter_map(|f| f.derived.as_ref()?.until());
    for name in until {
        if all.iter().all(|input| input.name != name) {
            all.push(GraphInput {
                name: name.to_owned(),
                kind: InputKind::Source,
                features: Vec::new(),
            });
        }
    }
    all
}

/// Returns the names of the inputs' columns, in their order.
pub(crate) fn columns(features: &[Feature]) -> Vec<String> {
    let names = |input: &GraphInput| match input.kind {
        InputKind::Source => vec![input.name.clone()],
        InputKind::Numbers | InputKind::Words => {
            let of = input.features.iter();
            of.map(|at| features[*at].name.clone()).collect()
        }
    };
    inputs(features).iter().flat_map(names).collect()
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
        let (dtype, width) = match input.kind {
            InputKind::Numbers => (DType::F32, input.features.len()),
            InputKind::Words => (DType::String, 1),
            InputKind::Source => (DType::F64, 1),
        };
        spec(&input.name, dtype, vec![Dim::Fixed(width)])
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
        let kind = match input.dtype {
            DType::String => ElementType::Text,
            DType::F64 => ElementType::Double,
            _ => ElementType::Float,
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

/// A tensor of features in FP32: [rows, features].
struct FeaturePart {
    tensor: String,
    features: Vec<usize>,
}

/// Returns the features that are no words: those that are inputs, and those that are computed.
fn numbers(graph: &mut GraphBuilder, features: &[Feature]) -> Vec<FeaturePart> {
    let mut parts = Vec::new();
    for input in inputs(features) {
        match input.kind {
            InputKind::Words => {}
            InputKind::Numbers => parts.push(FeaturePart {
                tensor: input.name,
                features: input.features,
            }),
            InputKind::Source => {
                for at in input.features {
                    let Some(derivation) = &features[at].derived else {
                        continue;
                    };
                    parts.push(FeaturePart {
                        tensor: derived::feature(graph, derivation),
                        features: vec![at],
                    });
                }
            }
        }
    }
    parts
}

/// Joins tensors side by side.
fn joined(graph: &mut GraphBuilder, parts: &[FeaturePart]) -> String {
    if let [only] = parts {
        return only.tensor.clone();
    }
    let parts: Vec<&str> = parts.iter().map(|part| part.tensor.as_str()).collect();
    graph.node("Concat", &parts, &[("axis", 1.into())])
}

/// Returns every feature as a number, in their order: [rows, features].
fn matrix(graph: &mut GraphBuilder, features: &[Feature]) -> String {
    let mut parts = numbers(graph, features);
    for input in inputs(features) {
        if input.kind == InputKind::Words {
            parts.push(FeaturePart {
                tensor: codes(graph, &input, features),
                features: input.features,
            });
        }
    }
    // As few columns as possible have to be moved.
    parts.sort_by_key(|part| part.features[0]);
    let joined = joined(graph, &parts);
    let order: Vec<usize> = parts.into_iter().flat_map(|part| part.features).collect();

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

/// Returns the codes of an input's words.
fn codes(graph: &mut GraphBuilder, input: &GraphInput, features: &[Feature]) -> String {
    let known = features[input.features[0]].categories.iter().flatten();
    let words: Vec<&str> = known.map(String::as_str).chain([""]).collect();
    let codes: Vec<f32> = (0..words.len() - 1)
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

/// Adds the value of a score.
fn value(graph: &mut GraphBuilder, model: &TrainedModel, scores: &str) {
    if !model.loss.is_log_link() {
        graph.name("Identity", &[scores], &[], VALUE);
        return;
    }
    let most = LOG_RATE_MAX as f32;
    let (low, high) = (graph.floats(&[-most], &[]), graph.floats(&[most], &[]));
    let bounded = graph.node("Clip", &[scores, &low, &high], &[]);
    graph.name("Exp", &[&bounded], &[], VALUE);
}

/// Adds the probability of the positive class of two; returns its name.
fn probability(graph: &mut GraphBuilder, model: &TrainedModel, scores: &str) -> String {
    match &model.calibration {
        None => graph.node("Sigmoid", &[scores], &[]),
        Some(ScoreCalibration::Platt { slope, offset }) => {
            let (slope, offset) = (
                graph.floats(&[*slope], &[1, 1]),
                graph.floats(&[*offset], &[1, 1]),
            );
            let scaled = graph.node("Mul", &[scores, &slope], &[]);
            let shifted = graph.node("Add", &[&scaled, &offset], &[]);
            graph.node("Sigmoid", &[&shifted], &[])
        }
        Some(
            curve @ ScoreCalibration::Isotonic {
                probabilities: ends,
                ..
            },
        ) => {
            let lines = curve.lines();
            let count = lines.len() as i64;
            let mut row = |of: fn(&CurveLine) -> f32, dims: &[i64]| {
                graph.floats(&lines.iter().map(of).collect::<Vec<_>>(), dims)
            };
            let from = row(|line| line.from, &[1, count]);
            let length = row(|line| line.length, &[1, count]);
            let rises = row(|line| line.rise, &[count, 1]);
            let first = graph.floats(&ends[..1], &[1, 1]);
            let (low, high) = (graph.floats(&[0.0], &[]), graph.floats(&[1.0], &[]));
            let passed = graph.node("Sub", &[scores, &from], &[]);
            let share = graph.node("Div", &[&passed, &length], &[]);
            let along = graph.node("Clip", &[&share, &low, &high], &[]);
            let risen = graph.node("MatMul", &[&along, &rises], &[]);
            graph.node("Add", &[&risen, &first], &[])
        }
    }
}

/// Adds the outputs, computed from scores.
fn answer(graph: &mut GraphBuilder, model: &TrainedModel, scores: &str) {
    let Some(classes) = &model.classes else {
        value(graph, model, scores);
        return;
    };
    if classes.len() == 2 {
        let p = probability(graph, model, scores);
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
