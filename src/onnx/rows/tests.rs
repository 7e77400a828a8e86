//! Verdicts on small graphs: how operators treat the batch axis, and how shapes are followed.

use super::*;
use crate::proto::onnx::{self as o, TensorProto};
use crate::testing::graphs::{FLOAT, INT64, declare, floats, node, whole};
use prost::Message;

/// An attribute of a node in a test.
pub(super) enum GivenAttribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Text(&'a str),
    /// An encoded graph.
    Body(&'a [u8]),
    /// An attribute of the call of a function.
    Reference(&'a str),
    Texts(&'a [&'a str]),
}

pub(super) use GivenAttribute::{Body, Int, Ints, Reference, Text, Texts};

/// Encodes a field with a length.
pub(super) fn field(tag: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(tag << 3 | 2, &mut out);
    prost::encoding::encode_varint(body.len() as u64, &mut out);
    out.extend(body);
    out
}

pub(super) fn number(tag: u64, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(tag << 3, &mut out);
    prost::encoding::encode_varint(value.cast_unsigned(), &mut out);
    out
}

/// An encoded node; `op` may have a domain before a colon. Further outputs follow a comma.
pub(super) fn op(
    op: &str,
    inputs: &[&str],
    output: &str,
    given: &[(&str, GivenAttribute<'_>)],
) -> Vec<u8> {
    let (domain, name) = op.split_once(':').unwrap_or(("", op));
    let mut made = node(name, inputs, output);
    made.output = output.split(',').map(str::to_owned).collect();
    made.domain = Some(domain.to_owned());
    made.name = Some(format!("make_{output}"));
    let mut bytes = made.encode_to_vec();
    for (name, value) in given {
        let mut attribute = field(1, name.as_bytes());
        match value {
            Int(n) => attribute.extend(number(3, *n)),
            Ints(list) => list.iter().for_each(|n| attribute.extend(number(8, *n))),
            Text(text) => attribute.extend(field(4, text.as_bytes())),
            Body(graph) => attribute.extend(field(6, graph)),
            Texts(list) => {
                for text in *list {
                    attribute.extend(field(9, text.as_bytes()));
                }
            }
            Reference(name) => attribute.extend(field(21, name.as_bytes())),
        }
        bytes.extend(field(5, &attribute));
    }
    bytes
}

/// A graph over `x` of FP32 with more inputs of the same kind; its output is `y`.
pub(super) struct Made {
    opset: i64,
    inputs: Vec<(&'static str, Vec<i64>)>,
    constants: Vec<TensorProto>,
    /// Encoded functions.
    functions: Vec<Vec<u8>>,
}

pub(super) fn over(dims: &[i64]) -> Made {
    Made {
        opset: 21,
        inputs: vec![("x", dims.to_vec())],
        constants: vec![
            whole("zero", &[0]),
            whole("one", &[1]),
            whole("minus", &[-1]),
            matrix("w", &[8, 3]),
            matrix("bias", &[3]),
            matrix("scalar", &[]),
        ],
        functions: Vec::new(),
    }
}

pub(super) fn matrix(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>();
    TensorProto {
        dims: dims.to_vec(),
        ..floats(name, &vec![0.5; usize::try_from(count).expect("small")])
    }
}

impl Made {
    pub(super) fn function(mut self, encoded: Vec<u8>) -> Self {
        self.functions.push(encoded);
        self
    }

    pub(super) fn and(mut self, name: &'static str, dims: &[i64]) -> Self {
        self.inputs.push((name, dims.to_vec()));
        self
    }

    pub(super) fn with(mut self, constant: TensorProto) -> Self {
        self.constants.push(constant);
        self
    }

    pub(super) fn opset(mut self, version: i64) -> Self {
        self.opset = version;
        self
    }

    pub(super) fn file(&self, nodes: &[Vec<u8>]) -> Vec<u8> {
        let inputs = self
            .inputs
            .iter()
            .map(|(name, dims)| declare(name, FLOAT, dims));
        let graph = o::GraphProto {
            input: inputs.collect(),
            output: vec![declare("y", INT64, &[-1])],
            initializer: self.constants.clone(),
            ..o::GraphProto::default()
        };
        let mut graph = graph.encode_to_vec();
        for node in nodes {
            graph.extend(field(1, node));
        }
        let opset = |domain: &str, version| o::OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        let mut model = o::ModelProto {
            ir_version: Some(10),
            opset_import: vec![
                opset("", self.opset),
                opset("ai.onnx.ml", 3),
                opset("com.microsoft", 1),
            ],
            ..o::ModelProto::default()
        }
        .encode_to_vec();
        model.extend(field(7, &graph));
        for function in &self.functions {
            model.extend(field(25, function));
        }
        model
    }

    pub(super) fn check(&self, nodes: &[Vec<u8>], expected: &str) {
        check_file(&self.file(nodes), expected);
    }
}

pub(super) fn check_file(file: &[u8], expected: &str) {
    let said = match analyse(file) {
        RowVerdict::Independent => "independent".to_owned(),
        RowVerdict::Dependent(finding) => format!("dependent: {finding}"),
        RowVerdict::Unknown(finding) => format!("unknown: {finding}"),
    };
    assert!(
        said.contains(expected),
        "{said:?} does not say {expected:?}"
    );
}

#[test]
fn elements_are_combined_place_by_place() {
    over(&[-1, 8]).check(&[op("Relu", &["x"], "y", &[])], "independent");
    over(&[-1, 3]).check(&[op("Add", &["x", "bias"], "y", &[])], "independent");
    over(&[-1, 3]).check(&[op("Add", &["bias", "x"], "y", &[])], "independent");
    over(&[-1, 3]).check(&[op("Mul", &["x", "scalar"], "y", &[])], "independent");
    over(&[-1]).check(
        &[op("Add", &["x", "bias"], "y", &[])],
        "dependent: operator Add",
    );
    over(&[-1, 3])
        .and("z", &[-1])
        .check(&[op("Add", &["x", "z"], "y", &[])], "all rows of another");
}

#[test]
fn operators_along_an_axis_must_not_take_the_batch_axis() {
    let at = |axis| [("axis", Int(axis))];
    for name in ["ArgMax", "Softmax", "Hardmax", "LpNormalization"] {
        let made = over(&[-1, 8]);
        made.check(&[op(name, &["x"], "y", &at(1))], "independent");
        made.check(&[op(name, &["x"], "y", &at(0))], "along the batch axis");
    }
    over(&[-1, 8]).opset(11).check(
        &[op("Softmax", &["x"], "y", &at(0))],
        "along the batch axis",
    );
    over(&[-1, 8]).check(
        &[op("CumSum", &["x", "zero"], "y", &[])],
        "along the batch axis",
    );
    over(&[-1, 8]).check(&[op("CumSum", &["x", "one"], "y", &[])], "independent");
    over(&[-1, 8]).check(
        &[op("TopK", &["x", "one"], "y", &at(0))],
        "along the batch axis",
    );
    over(&[-1, 8]).check(&[op("TopK", &["x", "one"], "y", &[])], "independent");
    over(&[-1, 8]).check(&[op("Concat", &["x", "x"], "y", &at(1))], "independent");
    over(&[-1, 8]).check(
        &[op("Concat", &["x", "x"], "y", &at(0))],
        "along the batch axis",
    );
}

#[test]
fn reductions_say_their_axes() {
    let made = over(&[-1, 8]);
    made.check(&[op("ReduceMean", &["x", "one"], "y", &[])], "independent");
    made.check(
        &[op("ReduceMean", &["x", "zero"], "y", &[])],
        "along the batch axis",
    );
    made.check(&[op("ReduceMax", &["x"], "y", &[])], "over all axes");
    made.check(
        &[op(
            "ReduceMax",
            &["x"],
            "y",
            &[("noop_with_empty_axes", Int(1))],
        )],
        "independent",
    );
    let old = over(&[-1, 8]).opset(11);
    old.check(
        &[op("ReduceMean", &["x"], "y", &[("axes", Ints(&[1]))])],
        "independent",
    );
    old.check(
        &[op("ReduceMean", &["x"], "y", &[("axes", Ints(&[0]))])],
        "along the batch axis",
    );
}

#[test]
fn whole_tensor_scaling_text_padding_and_randomness_mix_rows() {
    let made = over(&[-1, 8]);
    let quantized = [
        op("DynamicQuantizeLinear", &["x"], "q", &[]),
        op("Relu", &["q"], "y", &[]),
    ];
    made.check(
        &quantized,
        "operator DynamicQuantizeLinear of node 'make_q'",
    );
    made.check(
        &[op("StringSplit", &["x"], "y", &[])],
        "longest text of all rows",
    );
    made.check(&[op("NonZero", &["x"], "y", &[])], "dependent");
    made.check(
        &[op("RandomNormalLike", &["x"], "y", &[])],
        "dependent: operator RandomNormalLike",
    );
    let largest = [
        op("ReduceMax", &["x"], "m", &[]),
        op("Div", &["x", "m"], "y", &[]),
    ];
    made.check(&largest, "over all axes");
    // A certain mix of rows outweighs an unknown operator before it.
    let behind = [
        op("acme:Strange", &["x"], "s", &[]),
        op("DynamicQuantizeLinear", &["s"], "y", &[]),
    ];
    made.check(&behind, "dependent: operator DynamicQuantizeLinear");
    made.check(
        &[op("acme:Strange", &["x"], "y", &[])],
        "unknown: operator Strange",
    );
}

#[test]
fn matrices_are_multiplied_row_by_row() {
    let made = over(&[-1, 8]);
    made.check(&[op("MatMul", &["x", "w"], "y", &[])], "independent");
    made.check(&[op("Gemm", &["x", "w", "bias"], "y", &[])], "independent");
    let gram = [
        op("Transpose", &["x"], "t", &[]),
        op("MatMul", &["x", "t"], "y", &[]),
    ];
    made.check(&gram, "all rows of another");
    let scatter = [
        op("Transpose", &["x"], "t", &[]),
        op("MatMul", &["t", "x"], "y", &[]),
    ];
    made.check(&scatter, "sums over the batch axis");
    let each = over(&[-1, 4, 8]).and("z", &[-1, 8, 4]);
    each.check(&[op("MatMul", &["x", "z"], "y", &[])], "independent");
    let einsum = |equation| {
        [op(
            "Einsum",
            &["x", "w"],
            "y",
            &[("equation", Text(equation))],
        )]
    };
    made.check(&einsum("ni,io->no"), "independent");
    made.check(&einsum("ni,io->o"), "sums over the batch axis");
}

#[test]
fn rows_stay_together_when_a_shape_changes() {
    let made = over(&[-1, 4, 6])
        .with(whole("flat", &[0, -1]))
        .with(whole("rows", &[-1, 6]))
        .with(whole("back", &[-1, 4, 6]))
        .with(whole("halves", &[-1, 12]));
    made.check(&[op("Reshape", &["x", "flat"], "y", &[])], "independent");
    made.check(&[op("Flatten", &["x"], "y", &[])], "independent");
    made.check(
        &[op("Reshape", &["x", "rows"], "y", &[])],
        "one row for each input row",
    );
    made.check(
        &[op("Reshape", &["x", "halves"], "y", &[])],
        "one row for each input row",
    );
    let there_and_back = [
        op("Reshape", &["x", "rows"], "r", &[]),
        op("Relu", &["r"], "s", &[]),
        op("Reshape", &["s", "back"], "y", &[]),
    ];
    made.check(&there_and_back, "independent");
    let turned = [
        op("Transpose", &["x"], "t", &[("perm", Ints(&[1, 0, 2]))]),
        op("Reshape", &["t", "rows"], "y", &[]),
    ];
    made.check(&turned, "may mix elements of different rows");
    made.check(
        &[op("Squeeze", &["x"], "y", &[])],
        "dependent: operator Squeeze",
    );
    made.check(
        &[op("Slice", &["x", "zero", "one", "one"], "y", &[])],
        "independent",
    );
    made.check(
        &[op("Slice", &["x", "zero", "one", "zero"], "y", &[])],
        "cuts the batch axis",
    );
}

#[test]
fn shapes_that_exporters_compute_are_followed() {
    // As PyTorch writes view(x.size(0), x.size(1), 2, 3).
    let made = over(&[-1, -1, 6])
        .with(whole("two", &[2]))
        .with(whole("three", &[3]));
    let view = [
        op("Shape", &["x"], "s", &[]),
        op("Gather", &["s", "zero"], "n", &[]),
        op("Gather", &["s", "one"], "l", &[]),
        op(
            "Concat",
            &["n", "l", "two", "three"],
            "to",
            &[("axis", Int(0))],
        ),
        op("Reshape", &["x", "to"], "r", &[]),
        op("Transpose", &["r"], "y", &[("perm", Ints(&[0, 2, 1, 3]))]),
    ];
    made.check(&view, "independent");
    let product = [
        op("Shape", &["x"], "s", &[]),
        op("Gather", &["s", "zero"], "n", &[]),
        op("Gather", &["s", "one"], "l", &[]),
        op("Mul", &["n", "l"], "nl", &[]),
        op("Concat", &["nl", "minus"], "to", &[("axis", Int(0))]),
        op("Reshape", &["x", "to"], "r", &[]),
        op("Reshape", &["r", "s"], "y", &[]),
    ];
    made.check(&product, "independent");
    let number = [
        op("Shape", &["x"], "s", &[]),
        op("Gather", &["s", "zero"], "n", &[]),
        op("Cast", &["n"], "f", &[("to", Int(1))]),
        op("Div", &["x", "f"], "y", &[]),
    ];
    made.check(&number, "the number of rows as a value");
    let positions = |place| {
        [
            op("Shape", &["x"], "s", &[]),
            op("Gather", &["s", place], "n", &[]),
            op("Range", &["zero", "n", "one"], "p", &[]),
            op("Unsqueeze", &["p", "one"], "u", &[]),
            op("Add", &["x", "u"], "y", &[]),
        ]
    };
    made.check(&positions("one"), "independent");
    made.check(&positions("zero"), "the number of rows as a value");
}

#[test]
fn models_of_scikit_learn_take_rows_of_features() {
    let made = over(&[-1, 8]);
    let tree = [op("ai.onnx.ml:TreeEnsembleRegressor", &["x"], "y", &[])];
    made.check(&tree, "independent");
    over(&[-1]).check(&tree, "takes the whole batch as one row");
    made.check(&[op("ai.onnx.ml:Scaler", &["x"], "y", &[])], "independent");
}

#[test]
fn recurrent_networks_have_the_batch_on_axis_1() {
    let weights = [matrix("W", &[1, 16, 8]), matrix("R", &[1, 16, 4])];
    let [first, second] = weights;
    let made = over(&[-1, 5, 8]).with(first).with(second);
    let lstm = |input| op("LSTM", &[input, "W", "R"], "all", &[]);
    let turned = [
        op("Transpose", &["x"], "t", &[("perm", Ints(&[1, 0, 2]))]),
        lstm("t"),
        op("Transpose", &["all"], "y", &[("perm", Ints(&[2, 0, 1, 3]))]),
    ];
    made.check(&turned, "independent");
    made.check(
        &[lstm("x"), op("Relu", &["all"], "y", &[])],
        "dependent: operator LSTM",
    );
}

#[test]
fn an_analysis_that_panics_proves_nothing() {
    let verdict = guarded(|| panic!("a rule went wrong"));
    assert!(matches!(verdict, RowVerdict::Unknown(_)), "{verdict:?}");
}

#[test]
fn every_model_of_the_repository_is_proven() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("readable") {
        let file = entry.expect("readable").path().join("1/model.onnx");
        let Ok(bytes) = std::fs::read(&file) else {
            continue;
        };
        assert_eq!(
            analyse(&bytes),
            RowVerdict::Independent,
            "{}",
            file.display()
        );
        seen += 1;
    }
    assert!(seen > 3, "{seen} models");
}

#[test]
fn the_table_names_each_operator_once() {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for group in table::TABLE {
        names.extend(group.names().map(|name| (group.domain, name)));
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count >= 120, "{count} operators");
}
