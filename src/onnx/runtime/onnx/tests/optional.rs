//! Optional inputs in real sessions: a value that is given takes effect whatever the optimiser of
//! ONNX Runtime would do with a constant, and is forgotten after the run.

use super::{model, open};
use crate::core::model::optional::OptionalTensor;
use crate::core::tensor::{DType, Tensor};
use crate::proto::onnx as o;
use crate::testing::graphs::{self, FLOAT, INT64, declare, floats, node, whole};

/// A graph that takes x and k, where k has a default, and a value for k that is not the default.
struct Case {
    nodes: Vec<o::NodeProto>,
    /// Shape of x, and its values.
    x: (&'static [i64], Vec<f32>),
    /// The default of k.
    default: o::TensorProto,
    /// Another value of k.
    other: Tensor,
    /// Constants beside k.
    constants: Vec<o::TensorProto>,
}

impl Case {
    fn of(nodes: Vec<o::NodeProto>, default: &[f32], other: &[f32]) -> Self {
        Self {
            nodes,
            x: (&[-1, 2], vec![1.0, 2.0, 3.0, 4.0]),
            default: floats("k", default),
            other: Tensor::from_f32(vec![other.len()], other).expect("fits"),
            constants: Vec::new(),
        }
    }

    /// Gives k and its default these dimensions.
    fn shaped(mut self, dims: &[usize]) -> Self {
        self.default.dims = dims.iter().map(|n| *n as i64).collect();
        let other = self.other.to_raw();
        self.other = Tensor::fixed(DType::F32, dims.to_vec(), other).expect("fits");
        self
    }

    /// The graph with k as an optional input, or as a required one.
    fn graph(&self, is_optional: bool) -> super::SessionSource {
        let kind = self.default.data_type.unwrap_or_default();
        let mut initializer = self.constants.clone();
        initializer.extend(is_optional.then(|| self.default.clone()));
        model(o::GraphProto {
            node: self.nodes.clone(),
            initializer,
            input: vec![
                declare("x", FLOAT, self.x.0),
                declare("k", kind, &self.default.dims),
            ],
            output: vec![declare("y", FLOAT, &[-1, -1])],
            ..o::GraphProto::default()
        })
    }

    fn x(&self) -> Tensor {
        let (dims, values) = &self.x;
        let inner: i64 = dims[1..].iter().product();
        let rows = values.len() as i64 / inner;
        let shape = std::iter::once(rows).chain(dims[1..].iter().copied());
        Tensor::from_f32(shape.map(|n| n as usize).collect(), values).expect("fits")
    }

    #[track_caller]
    fn check(&self) {
        let x = self.x();
        let default = Tensor::fixed(
            self.other.dtype(),
            self.other.shape().to_vec(),
            self.default.raw_data.clone().unwrap_or_default(),
        )
        .expect("as large as the other value");
        let mut required = open(&self.graph(false));
        let mut wanted = |k: &Tensor| {
            let outputs = required.run(&[x.view(), k.view()]).expect("runs");
            outputs[0].to_raw()
        };
        let (by_default, by_other) = (wanted(&default), wanted(&self.other));
        assert_ne!(by_default, by_other, "the value changes nothing");

        let mut session = open(&self.graph(true));
        let k = [OptionalTensor {
            name: "k".to_owned(),
            tensor: self.other.clone(),
        }];
        for _ in 0..2 {
            let left_out = session.run_with(&[x.view()], &[]).expect("runs");
            assert_eq!(left_out[0].to_raw(), by_default, "{:?}", self.nodes);
            let given = session.run_with(&[x.view()], &k).expect("runs");
            assert_eq!(given[0].to_raw(), by_other, "{:?}", self.nodes);
        }
    }
}

#[test]
fn a_value_replaces_the_default_for_one_run() {
    Case::of(vec![node("Mul", &["x", "k"], "y")], &[2.0], &[10.0]).check();
    Case::of(
        vec![node("MatMul", &["x", "k"], "y")],
        &[1.0, 0.0, 0.0, 1.0],
        &[4.0, 3.0, 2.0, 1.0],
    )
    .shaped(&[2, 2])
    .check();
    Case::of(
        vec![
            node("MatMul", &["x", "k"], "m"),
            node("Add", &["m", "k"], "y"),
        ],
        &[1.0, 0.0, 0.0, 1.0],
        &[4.0, 3.0, 2.0, 1.0],
    )
    .shaped(&[2, 2])
    .check();
}

#[test]
fn a_value_takes_effect_where_a_constant_would_be_optimised_away() {
    // The default does nothing, so a constant of that value would be removed.
    Case::of(vec![node("Mul", &["x", "k"], "y")], &[1.0], &[3.0]).check();
    Case::of(vec![node("Add", &["x", "k"], "y")], &[0.0], &[3.0]).check();
    // A constant would be computed once, at load.
    let folded = vec![
        node("Mul", &["k", "k"], "square"),
        node("Sqrt", &["square"], "root"),
        node("Mul", &["x", "root"], "y"),
    ];
    Case::of(folded, &[2.0], &[5.0]).check();
    let clipped = vec![
        node("Relu", &["x"], "positive"),
        node("Clip", &["positive", "", "k"], "y"),
    ];
    Case::of(clipped, &[2.0], &[3.0]).shaped(&[]).check();
    let convolved = vec![
        node("Conv", &["x", "kernel"], "c"),
        node("Mul", &["c", "k"], "scaled"),
        node("Flatten", &["scaled"], "y"),
    ];
    let kernel = o::TensorProto {
        dims: vec![1, 1, 1, 1],
        ..floats("kernel", &[2.0])
    };
    let case = Case::of(convolved, &[1.0], &[7.0]).shaped(&[1, 1, 1, 1]);
    Case {
        x: (&[-1, 1, 2, 2], vec![1.0, 2.0, 3.0, 4.0]),
        constants: vec![kernel],
        ..case
    }
    .check();
}

#[test]
fn a_value_may_be_a_shape() {
    let shape = |dims: [i64; 2]| {
        let raw: Vec<u8> = dims.iter().flat_map(|n| n.to_le_bytes()).collect();
        Tensor::fixed(DType::I64, vec![2], raw.into()).expect("fits")
    };
    let source = model(o::GraphProto {
        node: vec![node("Reshape", &["x", "k"], "y")],
        initializer: vec![whole("k", &[1, 4])],
        input: vec![declare("x", FLOAT, &[-1, 2]), declare("k", INT64, &[2])],
        output: vec![declare("y", FLOAT, &[-1, -1])],
        ..o::GraphProto::default()
    });
    let x = Tensor::from_f32(vec![2, 2], &[1.0, 2.0, 3.0, 4.0]).expect("fits");
    let k = |tensor| OptionalTensor {
        name: "k".to_owned(),
        tensor,
    };

    let mut session = open(&source);
    let outputs = session.run_with(&[x.view()], &[k(shape([4, 1]))]);
    assert_eq!(outputs.expect("runs")[0].shape(), [4, 1]);
    assert_eq!(session.run(&[x.view()]).expect("runs")[0].shape(), [1, 4]);
    let refused = session.run_with(&[x.view()], &[k(shape([3, 1]))]);
    let error = refused.expect_err("four elements");
    assert_eq!(error.kind, crate::core::error::Kind::InvalidArgument);
}

#[test]
fn a_file_of_ir_version_3_takes_no_other_value() {
    let source = graphs::scaled(3);
    let mut session = open(&super::SessionSource {
        bytes: source.into(),
        external_dir: None,
    });
    let x = Tensor::from_f32(vec![1, 2], &[1.0, 1.0]).expect("fits");
    let k = OptionalTensor {
        name: "k".to_owned(),
        tensor: Tensor::from_f32(vec![1], &[10.0]).expect("fits"),
    };
    let error = session.run_with(&[x.view()], &[k]);
    assert!(error.expect_err("constant").message.contains('k'));
    assert!(session.run(&[x.view()]).is_ok());
}
