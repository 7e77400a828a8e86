//! Transformers over embedded tokens, one vector out; the length is dynamic. One of a
//! millisecond, and one of 92 MB.

use super::graph::{Given, Graph};

/// How large a transformer is.
#[derive(Clone, Copy)]
struct Size {
    layers: usize,
    width: i64,
    heads: i64,
}

fn norm(g: &mut Graph, at: &str, width: i64) -> String {
    let (scale, shift) = (vec![1.0; width as usize], vec![0.0; width as usize]);
    let (scale, shift) = (g.floats(&[width], &scale), g.floats(&[width], &shift));
    let axis = [("axis", Given::Int(-1))];
    g.add_with("LayerNormalization", &[at, &scale, &shift], &axis)
}

fn product(g: &mut Graph, at: &str, from: i64, to: i64) -> String {
    let weights = g.random(&[from, to], from);
    g.add("MatMul", &[at, &weights])
}

/// Queries, keys or values, with the heads in front.
fn heads(g: &mut Graph, at: &str, size: Size, order: [i64; 4]) -> String {
    let mixed = product(g, at, size.width, size.width);
    let split = g.ints(&[0, 0, size.heads, size.width / size.heads]);
    let apart = g.add("Reshape", &[&mixed, &split]);
    g.add_with(
        "Transpose",
        &[&apart],
        &[("perm", Given::Ints(order.to_vec()))],
    )
}

fn attention(g: &mut Graph, at: &str, size: Size) -> String {
    let queries = heads(g, at, size, [0, 2, 1, 3]);
    let keys = heads(g, at, size, [0, 2, 3, 1]);
    let values = heads(g, at, size, [0, 2, 1, 3]);
    let scores = g.add("MatMul", &[&queries, &keys]);
    let scale = g.floats(&[], &[1.0 / ((size.width / size.heads) as f32).sqrt()]);
    let scaled = g.add("Mul", &[&scores, &scale]);
    let shares = g.add_with("Softmax", &[&scaled], &[("axis", Given::Int(-1))]);
    let mixed = g.add("MatMul", &[&shares, &values]);
    let order = Given::Ints(vec![0, 2, 1, 3]);
    let back = g.add_with("Transpose", &[&mixed], &[("perm", order)]);
    let join = g.ints(&[0, 0, size.width]);
    let joined = g.add("Reshape", &[&back, &join]);
    product(g, &joined, size.width, size.width)
}

pub(super) fn small(g: &mut Graph) {
    let size = Size {
        layers: 4,
        width: 128,
        heads: 4,
    };
    build(g, size);
}

pub(super) fn large(g: &mut Graph) {
    let size = Size {
        layers: 13,
        width: 384,
        heads: 6,
    };
    build(g, size);
}

fn build(g: &mut Graph, size: Size) {
    let width = size.width;
    g.input(&[-1, width]);
    let mut at = "x".to_owned();
    for _ in 0..size.layers {
        let normed = norm(g, &at, width);
        let attended = attention(g, &normed, size);
        at = g.add("Add", &[&at, &attended]);
        let normed = norm(g, &at, width);
        let wide = product(g, &normed, width, 4 * width);
        let cut = g.add("Relu", &[&wide]);
        let narrow = product(g, &cut, 4 * width, width);
        at = g.add("Add", &[&at, &narrow]);
    }
    let attributes = [("axes", Given::Ints(vec![1])), ("keepdims", Given::Int(0))];
    g.add_with("ReduceMean", &[&at], &attributes);
    g.output(&[width]);
}
