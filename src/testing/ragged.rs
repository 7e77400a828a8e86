//! Small transformers for tests: token ids of any length in, with token types and an attention mask, as
//! exported language models have them.

use super::graphs::{FLOAT, INT64, floats, model, node, whole};
use crate::core::hash::SplitMix;
use crate::proto::onnx as o;

/// Token ids that the models know.
pub const WORDS: usize = 50;
/// Token types that they know.
pub const TYPES: usize = 2;
/// The width of a token's vector.
pub const WIDTH: usize = 8;

/// How a model treats its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskUse {
    /// What it hides changes nothing.
    Heeded,
    /// What it hides is only made a little less important.
    Leaky,
    /// It changes nothing.
    Ignored,
}

/// A model with the outputs `pooled` of shape `[batch, 8]`, the mean of all tokens, and `tokens` of shape
/// `[batch, sequence, 8]`, or one of them.
pub fn transformer(mask: MaskUse, outputs: &[&str]) -> Vec<u8> {
    let bias = match mask {
        MaskUse::Heeded => -1e9,
        MaskUse::Leaky => -3.0,
        MaskUse::Ignored => 0.0,
    };
    let weights = if mask == MaskUse::Ignored {
        "ones"
    } else {
        "real"
    };

    let mut nodes = vec![
        node("CastLike", &["attention_mask", "one"], "real"),
        node("Sub", &["one", "real"], "hidden"),
        node("Mul", &["hidden", "bias"], "flat_bias"),
        node("Unsqueeze", &["flat_bias", "axis_1"], "biases"),
        node("Gather", &["word_table", "input_ids"], "words"),
        node("Gather", &["type_table", "token_type_ids"], "types"),
        node("Add", &["words", "types"], "e"),
        node("Unsqueeze", &["e", "axis_2"], "queries"),
        node("Unsqueeze", &["e", "axis_1"], "keys"),
        node("Mul", &["queries", "keys"], "products"),
        node("ReduceSum", &["products", "axis_3"], "sums"),
        node("Squeeze", &["sums", "axis_3"], "scores"),
        node("Add", &["scores", "biases"], "biased"),
        node("Softmax", &["biased"], "shares"),
        node("MatMul", &["shares", "e"], "mixed"),
        node("Add", &["e", "mixed"], "tokens"),
        node("Mul", &["real", "zero"], "zeros"),
        node("Add", &["zeros", "one"], "ones"),
    ];
    nodes.extend([
        node("Unsqueeze", &[weights, "axis_2"], "column"),
        node("Mul", &["tokens", "column"], "kept"),
        node("ReduceSum", &["kept", "axis_1"], "total"),
        node("ReduceSum", &["column", "axis_1"], "count"),
        node("Div", &["total", "count"], "mean"),
        node("Squeeze", &["mean", "axis_1"], "pooled"),
    ]);

    let tokens: &[&str] = &["batch", "sequence"];
    let outputs = outputs.iter().map(|name| match *name {
        "tokens" => declare("tokens", FLOAT, &["batch", "sequence", "8"]),
        name => declare(name, FLOAT, &["batch", "8"]),
    });
    model(o::GraphProto {
        node: nodes,
        initializer: vec![
            floats("one", &[1.0]),
            floats("zero", &[0.0]),
            floats("bias", &[bias]),
            whole("axis_1", &[1]),
            whole("axis_2", &[2]),
            whole("axis_3", &[3]),
            table("word_table", WORDS),
            table("type_table", TYPES),
        ],
        input: vec![
            declare("input_ids", INT64, tokens),
            declare("token_type_ids", INT64, tokens),
            declare("attention_mask", INT64, tokens),
        ],
        output: outputs.collect(),
        ..o::GraphProto::default()
    })
}

/// Declares a tensor; an axis that is no number is dynamic, and has this name.
fn declare(name: &str, number: i32, axes: &[&str]) -> o::ValueInfoProto {
    use o::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |axis: &&str| Dimension {
        value: Some(match axis.parse() {
            Ok(size) => Value::DimValue(size),
            Err(_) => Value::DimParam((*axis).to_owned()),
        }),
    };
    let tensor = o::type_proto::Tensor {
        elem_type: Some(number),
        shape: Some(o::TensorShapeProto {
            dim: axes.iter().map(dim).collect(),
        }),
    };
    o::ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(o::TypeProto {
            value: Some(o::type_proto::Value::TensorType(tensor)),
        }),
    }
}

/// Random vectors, one for each id.
fn table(name: &str, ids: usize) -> o::TensorProto {
    let mut random = SplitMix(ids as u64);
    let mut number = || (random.next_u64() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0;
    let values: Vec<f32> = (0..ids * WIDTH).map(|_| number()).collect();
    o::TensorProto {
        dims: vec![ids as i64, WIDTH as i64],
        ..floats(name, &values)
    }
}
