//! Which model files are refused, and that truncated ones never do harm.

mod limits;
mod optional;

use super::*;
use crate::core::error::Kind;
use crate::core::model::Dim;
use crate::core::tensor::DType;
use crate::proto::onnx::tensor_shape_proto::{Dimension, dimension};
use crate::proto::onnx::{
    AttributeProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto,
};
use crate::proto::onnx::{TypeProto, ValueInfoProto, type_proto};

fn value(name: &str, elem_type: i32, dims: Option<&[Option<i64>]>) -> ValueInfoProto {
    let dim = |d: &Option<i64>| Dimension {
        value: d.map(dimension::Value::DimValue),
    };
    let shape = dims.map(|dims| TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    });
    typed(
        name,
        type_proto::Value::TensorType(type_proto::Tensor {
            elem_type: Some(elem_type),
            shape,
        }),
    )
}

fn typed(name: &str, value: type_proto::Value) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { value: Some(value) }),
    }
}

fn node(op: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.to_owned()),
        ..NodeProto::default()
    }
}

fn function(name: &str, calls: &[&str]) -> FunctionProto {
    let node = calls
        .iter()
        .map(|op| NodeProto {
            domain: Some("own".to_owned()),
            ..node(op)
        })
        .collect();
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("own".to_owned()),
        node,
    }
}

fn external(location: &str) -> TensorProto {
    let entry = StringStringEntryProto {
        key: Some("location".to_owned()),
        value: Some(location.to_owned()),
    };
    TensorProto {
        data_location: Some(EXTERNAL),
        external_data: vec![entry],
        ..TensorProto::default()
    }
}

fn model() -> ModelProto {
    let graph = GraphProto {
        node: vec![node("Gemm")],
        name: Some("g".to_owned()),
        initializer: vec![TensorProto {
            name: Some("w".to_owned()),
            dims: vec![4, 3],
            ..TensorProto::default()
        }],
        input: vec![
            value("x", 1, Some(&[None, Some(4)])),
            value("w", 1, Some(&[Some(4), Some(3)])),
        ],
        output: vec![
            value("y", 1, Some(&[Some(-1), Some(3)])),
            value("z", 7, None),
        ],
    };

    ModelProto {
        ir_version: Some(8),
        producer_name: Some("test".to_owned()),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: Some("ai.onnx".to_owned()),
            version: Some(17),
        }],
        functions: Vec::new(),
    }
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().expect("the model has a graph")
}

fn read(model: &ModelProto) -> Result<Graph> {
    Graph::read(model.encode_to_vec().into())
}

#[track_caller]
fn refuse(change: impl FnOnce(&mut ModelProto), kind: Kind, needle: &str) {
    let mut model = model();
    change(&mut model);
    let error = read(&model).expect_err(needle);
    assert!(
        error.kind == kind && error.message.contains(needle),
        "{:?} {}",
        error.kind,
        error.message
    );
}

#[track_caller]
fn accept(change: impl FnOnce(&mut ModelProto)) -> Graph {
    let mut model = model();
    change(&mut model);
    read(&model).expect("the model is sound")
}

#[test]
fn signature_and_operators_are_read() {
    let read = accept(|_| ());
    let [x] = &read.signature.inputs[..] else {
        panic!("one input, as 'w' is an initializer")
    };
    assert_eq!(
        (x.name.as_str(), x.dtype, x.shape.as_deref()),
        ("x", DType::F32, Some(&[Dim::Dynamic, Dim::Fixed(4)][..]))
    );
    let [y, z] = &read.signature.outputs[..] else {
        panic!("two outputs")
    };
    assert_eq!(y.shape.as_deref(), Some(&[Dim::Dynamic, Dim::Fixed(3)][..]));
    assert_eq!((z.dtype, &z.shape), (DType::I64, &None));
    assert_eq!(read.opsets, [(String::new(), 17)]);
    assert_eq!(
        read.operators,
        BTreeSet::from([(String::new(), "Gemm".to_owned())])
    );
    assert_eq!(
        (read.ir_version, read.producer.as_str(), read.external.len()),
        (8, "test", 0)
    );
}

#[test]
fn subgraphs_and_functions_are_searched() {
    let read = accept(|m| {
        let mut body = GraphProto {
            node: vec![node("Relu")],
            ..GraphProto::default()
        };
        body.initializer = vec![external("b/./w.bin"), external("a.bin")];
        let attribute = AttributeProto {
            g: Some(body),
            t: Some(external("a.bin")),
            ..AttributeProto::default()
        };
        let call = NodeProto {
            domain: Some("own".to_owned()),
            ..node("f")
        };
        graph(m).node = vec![
            NodeProto {
                attribute: vec![attribute],
                ..node("If")
            },
            call,
        ];
        m.functions = vec![function("f", &["g"]), function("g", &["Custom"])];
    });

    let operators: Vec<String> = read
        .operators
        .iter()
        .map(|(d, o)| format!("{d}:{o}"))
        .collect();
    assert_eq!(operators, [":If", ":Relu", "own:Custom"]);

    assert_eq!(
        read.external,
        [PathBuf::from("a.bin"), PathBuf::from("b/w.bin")]
    );
}

#[test]
fn every_truncated_file_is_refused_or_complete() {
    let bytes = Bytes::from(model().encode_to_vec());
    for end in 0..bytes.len() {
        if let Ok(read) = Graph::read(bytes.slice(..end)) {
            assert!(
                !read.signature.outputs.is_empty()
                    && !read.opsets.is_empty()
                    && read.ir_version > 0,
                "{end}"
            );
        }
    }

    Graph::read(bytes).expect("the whole file is sound");
}

#[test]
fn a_flipped_bit_does_not_panic() {
    let bytes = model().encode_to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = Graph::read(flipped.into());
    }
}

#[test]
fn a_file_that_is_not_onnx_is_refused() {
    let check = |bytes: &[u8], needle: &str| {
        let error = Graph::read(Bytes::copy_from_slice(bytes)).expect_err(needle);
        assert!(
            error.kind == Kind::InvalidArgument && error.message.contains(needle),
            "{}",
            error.message
        );
    };

    check(b"", "the file is empty");
    check(
        b"version https://git-lfs.github.com/spec/v1\n",
        "truncated or not ONNX",
    );
    check(&[0xff; 64], "truncated or not ONNX");
    check(b"<html></html>", "truncated or not ONNX");
    assert!(check_size(MODEL_BYTES_MAX).is_ok());
    assert!(check_size(MODEL_BYTES_MAX + 1).is_err());
}

#[test]
fn a_graph_without_a_required_part_is_refused() {
    use Kind::InvalidArgument;
    refuse(|m| m.graph = None, InvalidArgument, "it has no graph");
    refuse(|m| m.ir_version = None, InvalidArgument, "no IR version");
    refuse(
        |m| m.opset_import.clear(),
        InvalidArgument,
        "0 operator sets",
    );

    refuse(|m| graph(m).output.clear(), InvalidArgument, "no output");
    refuse(
        |m| graph(m).node[0].op_type = None,
        InvalidArgument,
        "no operator",
    );

    refuse(
        |m| graph(m).output[0] = value("", 1, None),
        InvalidArgument,
        "the name of an output",
    );
}

#[test]
fn a_name_that_is_declared_twice_is_refused() {
    use Kind::InvalidArgument;
    refuse(
        |m| graph(m).input.push(value("x", 1, None)),
        InvalidArgument,
        "input 'x' is declared twice",
    );

    refuse(
        |m| graph(m).output.push(value("y", 1, None)),
        InvalidArgument,
        "output 'y' is declared twice",
    );

    refuse(
        |m| m.functions = vec![function("f", &[]), function("f", &[])],
        InvalidArgument,
        "defined twice",
    );
}

#[test]
fn an_input_or_output_that_is_not_a_tensor_is_refused() {
    use Kind::FailedPrecondition;
    let opaque = || type_proto::Opaque {};
    let sequence = |of: Option<TypeProto>| {
        Box::new(type_proto::Sequence {
            elem_type: of.map(Box::new),
        })
    };
    let number = TypeProto {
        value: Some(type_proto::Value::TensorType(type_proto::Tensor {
            elem_type: Some(1),
            shape: None,
        })),
    };
    refuse(
        |m| graph(m).input[0].r#type = None,
        FailedPrecondition,
        "input 'x': has no type",
    );

    refuse(
        |m| graph(m).input[0] = value("x", 14, None),
        FailedPrecondition,
        "element type 14",
    );

    refuse(
        |m| graph(m).input[0] = value("x", 0, None),
        FailedPrecondition,
        "element type 0",
    );

    let with = |v| move |m: &mut ModelProto| graph(m).output[1] = typed("p", v);
    refuse(
        with(type_proto::Value::SequenceType(sequence(None))),
        FailedPrecondition,
        "output 'p': is a sequence, each element an unknown type, not a tensor; give each element",
    );

    refuse(
        with(type_proto::Value::SequenceType(sequence(Some(number)))),
        FailedPrecondition,
        "is a sequence, each element FP32, not a tensor; give each element as a tensor of its own",
    );

    let map = type_proto::Map {
        key_type: Some(8),
        value_type: None,
    };
    refuse(
        with(type_proto::Value::MapType(Box::new(map))),
        FailedPrecondition,
        "is a map from BYTES to an unknown type, not a tensor; give the values",
    );

    refuse(
        with(type_proto::Value::OptionalType(sequence(None))),
        FailedPrecondition,
        "is an optional, if present an unknown type, not a tensor; make it always present",
    );

    refuse(
        with(type_proto::Value::SparseTensorType(opaque())),
        FailedPrecondition,
        "sparse",
    );
}

#[test]
fn functions_that_call_each_other_in_a_circle_are_refused() {
    use Kind::InvalidArgument;
    refuse(
        |m| m.functions = vec![function("f", &["f"])],
        InvalidArgument,
        "circle",
    );

    refuse(
        |m| m.functions = vec![function("f", &["g"]), function("g", &["f"])],
        InvalidArgument,
        "circle",
    );
}

#[test]
fn external_data_stays_beside_the_model() {
    let check = |location: &str, needle: &str| {
        refuse(
            |m| graph(m).initializer.push(external(location)),
            Kind::InvalidArgument,
            needle,
        );
    };

    check("", "is empty");
    check("../w.bin", "has '..'");
    check("a/../../w.bin", "has '..'");
    check("/etc/passwd", "is absolute");
    check("a\\w.bin", "backslash");
    check("a\0b", "control character");
    check(".", "is not a file");
    check("*/_ORT_MEM_ADDR_/*", "is not a file");
    let none = TensorProto {
        data_location: Some(EXTERNAL),
        ..TensorProto::default()
    };

    refuse(
        |m| graph(m).initializer.push(none),
        Kind::InvalidArgument,
        "must have exactly one location",
    );

    let mut two = external("a");
    two.external_data.extend(external("b").external_data);
    refuse(
        |m| graph(m).initializer.push(two),
        Kind::InvalidArgument,
        "must have exactly one location",
    );
}

#[test]
fn a_file_is_read_without_its_weights_as_it_is_with_them() {
    use std::io::Write;
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let of_file = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        Graph::read_file(&mut file)
    };

    for name in ["breast-cancer", "cancer-risk", "diabetes", "digits", "wine"] {
        let bytes = std::fs::read(models.join(name).join("1/model.onnx")).expect("a model");
        assert_eq!(
            of_file(&bytes).expect("read"),
            Graph::read(bytes.clone().into()).expect("read"),
            "{name}"
        );
        let mut whole = tempfile::tempfile().expect("a file");
        whole.write_all(&bytes).expect("written");
        let outline = outline::read(&mut whole).expect("read").len();
        assert!(
            outline <= bytes.len() && (name != "digits" || outline < bytes.len() / 2),
            "{name}: {outline}"
        );
        for part in 0..64 {
            let cut = &bytes[..bytes.len() * part / 64];
            // A truncated file that is still valid gives the same graph either way.
            assert_eq!(
                of_file(cut).is_ok(),
                Graph::read(cut.to_vec().into()).is_ok(),
                "{name} cut at {part}/64"
            );
        }
    }
}
