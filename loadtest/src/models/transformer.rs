//! A transformer over embedded tokens, one vector out; the length is dynamic.

use super::graph::{Given, Graph};

const LAYERS: usize = 4;
const WIDTH: i64 = 128;
const HEADS: i64 = 4;

fn norm(g: &mut Graph, at: &str) -> String {
    let (scale, shift) = ([1.0; WIDTH as usize], [0.0; WIDTH as usize]);
    let (scale, shift) = (g.floats(&[WIDTH], &scale), g.floats(&[WIDTH], &shift));
    let axis = [("axis", Given::Int(-1))];
    g.add_with("LayerNormalization", &[at, &scale, &shift], &axis)
}

fn product(g: &mut Graph, at: &str, from: i64, to: i64) -> String {
    let weights = g.random(&[from, to], from);
    g.add("MatMul", &[at, &weights])
}

/// Queries, keys or values, with the heads in front.
fn heads(g: &mut Graph, at: &str, order: [i64; 4]) -> String {
    let mixed = product(g, at, WIDTH, WIDTH);
    let split = g.ints(&[0, 0, HEADS, WIDTH / HEADS]);
    let apart = g.add("Reshape", &[&mixed, &split]);
    g.add_with(
        "Transpose",
        &[&apart],
        &[("perm", Given::Ints(order.to_vec()))],
    )
}

fn attention(g: &mut Graph, at: &str) -> String {
    let queries = heads(g, at, [0, 2, 1, 3]);
    let keys = heads(g, at, [0, 2, 3, 1]);
    let values = heads(g, at, [0, 2, 1, 3]);
    let scores = g.add("MatMul", &[&queries, &keys]);
    let scale = g.floats(&[], &[1.0 / ((WIDTH / HEADS) as f32).sqrt()]);
    let scaled = g.add("Mul", &[&scores, &scale]);
    let shares = g.add_with("Softmax", &[&scaled], &[("axis", Given::Int(-1))]);
    let mixed = g.add("MatMul", &[&shares, &values]);
    let order = Given::Ints(vec![0, 2, 1, 3]);
    let back = g.add_with("Transpose", &[&mixed], &[("perm", order)]);
    let join = g.ints(&[0, 0, WIDTH]);
    let joined = g.add("Reshape", &[&back, &join]);
    product(g, &joined, WIDTH, WIDTH)
}

pub(super) fn build(g: &mut Graph) {
    g.input(&[-1, WIDTH]);
    let mut at = "x".to_owned();
    for _ in 0..LAYERS {
        let normed = norm(g, &at);
        let attended = attention(g, &normed);
        at = g.add("Add", &[&at, &attended]);
        let normed = norm(g, &at);
        let wide = product(g, &normed, WIDTH, 4 * WIDTH);
        let cut = g.add("Relu", &[&wide]);
        let narrow = product(g, &cut, 4 * WIDTH, WIDTH);
        at = g.add("Add", &[&at, &narrow]);
    }
    let attributes = [("axes", Given::Ints(vec![1])), ("keepdims", Given::Int(0))];
    g.add_with("ReduceMean", &[&at], &attributes);
    g.output(&[WIDTH]);
}
