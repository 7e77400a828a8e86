//! Models whose run takes microseconds: identity, logistic regression, trees, MLP.

use super::graph::{Given, Graph};

pub(super) fn identity(g: &mut Graph, width: &[i64]) {
    g.input(width);
    g.add("Identity", &["x"]);
    g.output(width);
}

pub(super) fn logistic(g: &mut Graph) {
    g.input(&[32]);
    let (weights, bias) = (g.random(&[32, 1], 32), g.floats(&[1], &[0.1]));
    let logit = g.add("Gemm", &["x", &weights, &bias]);
    g.add("Sigmoid", &[&logit]);
    g.output(&[1]);
}

const LAYERS: [i64; 4] = [256, 512, 512, 10];

pub(super) fn mlp(g: &mut Graph) {
    g.input(&LAYERS[..1]);
    let mut at = "x".to_owned();
    for (layer, pair) in LAYERS.windows(2).enumerate() {
        let weights = g.random(pair, pair[0]);
        let bias = g.random(&pair[1..], pair[1]);
        at = g.add("Gemm", &[&at, &weights, &bias]);
        if layer + 2 < LAYERS.len() {
            at = g.add("Relu", &[&at]);
        }
    }
    g.output(&LAYERS[3..]);
}

const TREES: i64 = 200;
const DEPTH: u32 = 6;
const FEATURES: i64 = 30;

/// Full binary trees: node i has the children 2i+1 and 2i+2.
pub(super) fn trees(g: &mut Graph) {
    g.input(&[FEATURES]);
    let (inner, nodes) = (2i64.pow(DEPTH) - 1, 2i64.pow(DEPTH + 1) - 1);
    let mut columns: [Vec<i64>; 5] = Default::default();
    let (mut modes, mut values) = (Vec::new(), Vec::new());
    let (mut leaf_trees, mut leaf_nodes, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for tree in 0..TREES {
        for node in 0..nodes {
            let is_leaf = node >= inner;
            let feature = (g.random.uniform() * FEATURES as f64).ceil() as i64 - 1;
            let of_inner = |value| if is_leaf { 0 } else { value };
            let row = [
                tree,
                node,
                of_inner(feature),
                of_inner(2 * node + 1),
                of_inner(2 * node + 2),
            ];
            columns
                .iter_mut()
                .zip(row)
                .for_each(|(column, value)| column.push(value));
            modes.push(if is_leaf { "LEAF" } else { "BRANCH_LEQ" });
            values.push(if is_leaf {
                0.0
            } else {
                g.random.uniform() as f32
            });
            if is_leaf {
                leaf_trees.push(tree);
                leaf_nodes.push(node);
                weights.push((g.random.normal() * 0.01) as f32);
            }
        }
    }
    let [tree_ids, node_ids, features, when_true, when_false] = columns;
    let attributes = [
        ("nodes_treeids", Given::Ints(tree_ids)),
        ("nodes_nodeids", Given::Ints(node_ids)),
        ("nodes_featureids", Given::Ints(features)),
        ("nodes_modes", Given::Texts(modes)),
        ("nodes_values", Given::Floats(values)),
        ("nodes_truenodeids", Given::Ints(when_true)),
        ("nodes_falsenodeids", Given::Ints(when_false)),
        ("target_ids", Given::Ints(vec![0; weights.len()])),
        ("target_treeids", Given::Ints(leaf_trees)),
        ("target_nodeids", Given::Ints(leaf_nodes)),
        ("target_weights", Given::Floats(weights)),
        ("n_targets", Given::Int(1)),
        ("post_transform", Given::Text("NONE")),
        ("aggregate_function", Given::Text("SUM")),
    ];
    g.add_with("TreeEnsembleRegressor", &["x"], &attributes);
    g.output(&[1]);
}
