//! Exports linear models and perceptrons: numbers are standardised, the weights of
//! categories stand in a table.

use super::super::features::{ABSENT, CATEGORIES_MAX, Feature, OTHER};
use super::super::fit::encode::{FAR, Term};
use super::super::fit::linear::Linear;
use super::super::fit::mlp::Mlp;
use super::graph::GraphBuilder;
use super::{InputKind, inputs, joined, numbers};

/// Adds the weights; returns the name of the scores.
pub(super) fn scores(graph: &mut GraphBuilder, linear: &Linear, features: &[Feature]) -> String {
    let width = linear.base.len() as i64;
    let mut sum = graph.floats(&linear.base, &[1, width]);
    let parts = numbers(graph, features);
    if !parts.is_empty() {
        let joined = joined(graph, &parts);
        let places: Vec<usize> = parts.into_iter().flat_map(|part| part.features).collect();
        let found = add_weighted(graph, linear, &places, &joined);
        sum = graph.node("Add", &[&found, &sum], &[]);
    }

    for input in inputs(features) {
        if input.kind != InputKind::Words {
            continue;
        }
        let at = input.features[0];
        let (Term::Category(weights), Some(known)) = (&linear.terms[at], &features[at].categories)
        else {
            continue;
        };
        let found = look_up(graph, weights, known, &input.name, width);
        sum = graph.node("Add", &[&found, &sum], &[]);
    }

    sum
}

/// Adds a perceptron; returns the name of the scores.
pub(super) fn perceptron(graph: &mut GraphBuilder, mlp: &Mlp, features: &[Feature]) -> String {
    let mut found = scores(graph, &mlp.first, features);
    for layer in &mlp.layers {
        let width = layer.base.len() as i64;
        let positive = graph.node("Relu", &[&found], &[]);
        let weights = graph.floats(&layer.weights, &[layer.weights.len() as i64 / width, width]);
        let base = graph.floats(&layer.base, &[1, width]);
        let sum = graph.node("MatMul", &[&positive, &weights], &[]);
        found = graph.node("Add", &[&sum, &base], &[]);
    }

    found
}

/// Adds scaled numbers times their weights; missing values have weights of their own.
fn add_weighted(
    graph: &mut GraphBuilder,
    linear: &Linear,
    places: &[usize],
    joined: &str,
) -> String {
    let count = places.len() as i64;
    let (mut means, mut spreads, mut weights, mut missing) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for at in places {
        if let Term::Number {
            mean,
            spread,
            weights: of,
            missing: without,
        } = &linear.terms[*at]
        {
            means.push(*mean);
            spreads.push(*spread);
            weights.extend(of);
            missing.extend(without);
        }
    }

    let width = linear.base.len() as i64;
    let means = graph.floats(&means, &[1, count]);
    let spreads = graph.floats(&spreads, &[1, count]);
    let is_missing = graph.node("IsNaN", &[joined], &[]);
    let filled = graph.node("Where", &[&is_missing, &means, joined], &[]);
    let centred = graph.node("Sub", &[&filled, &means], &[]);
    let scaled = graph.node("Div", &[&centred, &spreads], &[]);
    let (low, high) = (graph.floats(&[-FAR], &[]), graph.floats(&[FAR], &[]));
    let bounded = graph.node("Clip", &[&scaled, &low, &high], &[]);
    let matrix = graph.floats(&weights, &[count, width]);
    let sum = graph.node("MatMul", &[&bounded, &matrix], &[]);
    if missing.iter().all(|w| *w == 0.0) {
        return sum;
    }
    let as_number = graph.node("Cast", &[&is_missing], &[("to", 1.into())]);
    let matrix = graph.floats(&missing, &[count, width]);
    let without = graph.node("MatMul", &[&as_number, &matrix], &[]);
    graph.node("Add", &[&sum, &without], &[])
}

/// Adds the lookup of a category's weights: known ones, others, missing.
fn look_up(
    graph: &mut GraphBuilder,
    weights: &[Vec<f32>],
    known: &[String],
    input: &str,
    width: i64,
) -> String {
    let count = known.len().min(CATEGORIES_MAX);
    let words: Vec<&str> = known.iter().map(String::as_str).chain([""]).collect();
    let places: Vec<i64> = (0..count as i64).chain([count as i64 + 1]).collect();
    let attributes = [
        ("keys_strings", words.as_slice().into()),
        ("values_int64s", places.as_slice().into()),
        ("default_int64", (count as i64).into()),
    ];

    let place = graph.node_of("ai.onnx.ml", "LabelEncoder", &[input], &attributes);
    let rows = (0..count).chain([usize::from(OTHER), usize::from(ABSENT)]);
    let table: Vec<f32> = rows
        .flat_map(|code| weights[code].iter().copied())
        .collect();
    let table = graph.floats(&table, &[count as i64 + 2, width]);
    let found = graph.node("Gather", &[&table, &place], &[("axis", 0.into())]);
    let axis = graph.integer_constant(&[1], &[1]);
    graph.node("Squeeze", &[&found, &axis], &[])
}
