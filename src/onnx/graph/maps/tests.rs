//! Files with maps of scores: what they become, and that others stay as they are.

use super::*;
use crate::core::model::Dim;
use crate::core::tensor::{DType, Tensor};
use crate::onnx::graph::Graph;
use crate::onnx::rows::{self, RowVerdict};
use crate::onnx::runtime::{Engine, SessionOptions, SessionSource};
use crate::testing::graphs;

/// The names of classes as ZipMap has them.
enum Classes {
    Words(&'static [&'static str]),
    Numbers(&'static [u64]),
}

/// A type: a sequence of maps with this type of keys.
fn maps(key_type: u64) -> Vec<u8> {
    let float = [0x0a, 2, 0x08, 1];
    let mut map = Vec::new();
    prost::encoding::encode_varint(0x08, &mut map);
    prost::encoding::encode_varint(key_type, &mut map);
    put(&mut map, 2, &float);
    let (mut element, mut sequence, mut kind) = (Vec::new(), Vec::new(), Vec::new());
    put(&mut element, 5, &map);
    put(&mut sequence, 1, &element);
    put(&mut kind, 4, &sequence);
    kind
}

fn zip(input: &str, output: &str, classes: &Classes) -> Vec<u8> {
    let mut node = NodeProto {
        domain: Some(ZIP_MAP.0.to_owned()),
        ..graphs::node(ZIP_MAP.1, &[input], output)
    }
    .encode_to_vec();
    let mut attribute = Vec::new();
    match classes {
        Classes::Words(words) => {
            put(&mut attribute, 1, b"classlabels_strings");
            words
                .iter()
                .for_each(|w| put(&mut attribute, 9, w.as_bytes()));
        }
        Classes::Numbers(numbers) => {
            put(&mut attribute, 1, b"classlabels_int64s");
            for number in *numbers {
                prost::encoding::encode_varint(8 << 3, &mut attribute);
                prost::encoding::encode_varint(*number, &mut attribute);
            }
        }
    }
    prost::encoding::encode_varint(20 << 3, &mut attribute);
    let kind = if matches!(classes, Classes::Words(_)) {
        8
    } else {
        7
    };
    prost::encoding::encode_varint(kind, &mut attribute);
    put(&mut node, field::NODE_ATTRIBUTE, &attribute);
    node
}

/// A model of three scores that are copied into maps. With `opset`, it imports the default domain.
fn model(classes: &Classes, opset: bool) -> Vec<u8> {
    let mut graph = Vec::new();
    put(&mut graph, field::GRAPH_NODE, &zip("x", "scores", classes));
    put(&mut graph, 2, b"g");
    let declared = |name: &str| {
        let mut value = Vec::new();
        put(&mut value, 1, name.as_bytes());
        put(
            &mut value,
            2,
            &maps(if matches!(classes, Classes::Words(_)) {
                8
            } else {
                7
            }),
        );
        value
    };
    let input = graphs::declare("x", graphs::FLOAT, &[-1, 3]).encode_to_vec();
    put(&mut graph, 11, &input);
    put(&mut graph, field::GRAPH_OUTPUT, &declared("scores"));
    put(&mut graph, field::GRAPH_VALUE, &declared("scores"));

    let mut file = vec![0x08, 8];
    put(&mut file, field::MODEL_GRAPH, &graph);
    let import = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    put(
        &mut file,
        field::MODEL_OPSET,
        &import(ZIP_MAP.0, 1).encode_to_vec(),
    );
    if opset {
        put(
            &mut file,
            field::MODEL_OPSET,
            &import("", 17).encode_to_vec(),
        );
    }
    file
}

#[test]
fn maps_become_a_tensor_with_a_column_for_each_class() {
    for (classes, names) in [
        (
            Classes::Words(&["setosa", "", "a,b"]),
            ["setosa", "", "a,b"],
        ),
        (Classes::Numbers(&[0, 7, u64::MAX]), ["0", "7", "-1"]),
    ] {
        for opset in [false, true] {
            let file = model(&classes, opset);
            let graph = Graph::read(file.clone().into()).expect("it is served");
            let [scores] = graph.signature.outputs.as_slice() else {
                panic!("{:?}", graph.signature);
            };
            assert_eq!((scores.name.as_str(), scores.dtype), ("scores", DType::F32));
            let shape = scores.shape.as_deref();
            assert_eq!(shape, Some(&[Dim::Dynamic, Dim::Fixed(3)][..]));
            assert_eq!(graph.ends[0].classes, names);
            assert!(graph.ends[0].is_from_maps);
            assert_eq!(rows::analyse(&file), RowVerdict::Independent);

            let source = SessionSource {
                bytes: file.into(),
                external_dir: None,
            };
            let mut session = crate::testing::engine()
                .open(&source, &SessionOptions::single())
                .expect("ONNX Runtime takes it");
            let x = Tensor::from_f32(vec![2, 3], &[0.1, 0.2, 0.7, 1.0, 0.0, 0.0]).expect("fits");
            assert_eq!(session.run(&[x.view()]).expect("runs"), [x]);
        }
    }
}

#[test]
fn other_files_stay_as_they_are() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let real = std::fs::read(path.join("models/breast-cancer/1/model.onnx")).expect("a model");
    assert!(as_tensors(&real).expect("reads").is_none());

    // Two graphs, of which a reader makes one.
    let twice = [model(&Classes::Numbers(&[0, 1, 2]), true), vec![0x3a, 0]].concat();
    assert!(as_tensors(&twice).expect("reads").is_none());
    // Maps without classes.
    let nameless = model(&Classes::Words(&[]), true);
    assert!(as_tensors(&nameless).expect("reads").is_none());
    let error = Graph::read(nameless.into()).expect_err("it is refused");
    assert_eq!(
        error.message,
        "output 'scores': is a sequence, each element a map from BYTES to FP32, not a tensor; give \
         the values of the maps as a tensor, a column for each key; scikit-learn's converter does \
         so with options={'zipmap': False}"
    );
}

#[test]
fn truncated_files_are_refused_or_unchanged() {
    let classes = Classes::Words(&["a", "b", "c"]);
    let file = model(&classes, true);
    // The import of the default domain is the last field, and may be missing.
    let without = model(&classes, false).len();
    for length in 0..file.len() {
        let cut = Graph::read(file[..length].to_vec().into());
        assert_eq!(cut.is_ok(), length == without, "{length}");
    }
}
