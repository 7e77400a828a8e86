//! Limits of a graph, at their edges.

use super::*;

#[test]
fn limits_hold_at_their_edges() {
    let name =
        |bytes| move |m: &mut ModelProto| graph(m).input[0] = value(&"n".repeat(bytes), 1, None);
    accept(name(declared::VALUE_NAME_BYTES_MAX));
    refuse(
        name(declared::VALUE_NAME_BYTES_MAX + 1),
        Kind::InvalidArgument,
        "the name of an input",
    );

    let rank =
        |n| move |m: &mut ModelProto| graph(m).input[0] = value("x", 1, Some(&vec![None; n]));
    accept(rank(crate::core::tensor::RANK_MAX));
    refuse(
        rank(crate::core::tensor::RANK_MAX + 1),
        Kind::InvalidArgument,
        "rank 17",
    );

    let values = |n| {
        move |m: &mut ModelProto| {
            graph(m).input = (2..n).map(|i| value(&format!("i{i}"), 1, None)).collect()
        }
    };

    accept(values(declared::VALUES_MAX));
    refuse(
        values(declared::VALUES_MAX + 1),
        Kind::InvalidArgument,
        "4097 inputs and outputs",
    );

    let opsets =
        |n| move |m: &mut ModelProto| m.opset_import = vec![OperatorSetIdProto::default(); n];
    accept(opsets(OPSETS_MAX));
    refuse(
        opsets(OPSETS_MAX + 1),
        Kind::InvalidArgument,
        "1025 operator sets",
    );
}

#[test]
fn parts_are_counted_before_anything_is_decoded() {
    // A graph of empty nodes: two bytes each on disk.
    let nodes = |n: usize| {
        let mut file = vec![7 << 3 | 2];
        prost::encoding::encode_varint(2 * n as u64, &mut file);
        file.extend([1 << 3 | 2, 0].repeat(n));
        parts::check(&file)
    };

    assert!(nodes(parts::NODES_MAX).is_ok());
    assert!(
        nodes(parts::NODES_MAX + 1)
            .expect_err("over")
            .message
            .contains("1000000 nodes")
    );

    let opsets = |n: usize| parts::check(&[8 << 3 | 2, 0].repeat(n));
    assert!(opsets(parts::PARTS_MAX).is_ok());
    assert!(
        opsets(parts::PARTS_MAX + 1)
            .expect_err("over")
            .message
            .contains("8000000 parts")
    );
}

#[test]
fn nesting_beyond_the_decoders_limit_is_refused() {
    let mut inner = GraphProto {
        node: vec![node("Relu")],
        ..GraphProto::default()
    };

    for _ in 0..60 {
        let attribute = AttributeProto {
            g: Some(inner),
            ..AttributeProto::default()
        };
        inner = GraphProto {
            node: vec![NodeProto {
                attribute: vec![attribute],
                ..node("If")
            }],
            ..GraphProto::default()
        };
    }

    refuse(
        |m| graph(m).node = inner.node,
        Kind::InvalidArgument,
        "nested deeper",
    );
}

#[test]
fn runs_are_bounded_if_only_the_number_of_rows_makes_them_longer() {
    let bounded = |change: &dyn Fn(&mut ModelProto)| {
        let mut model = model();
        change(&mut model);
        read(&model).expect("a graph").runs_in_bounded_time()
    };

    assert!(bounded(&|_| {}));
    for op in ["Loop", "ConstantOfShape", "Expand"] {
        assert!(!bounded(&|m| graph(m).node.push(node(op))), "{op}");
    }
    let foreign = NodeProto {
        domain: Some("com.example".to_owned()),
        ..node("Any")
    };

    assert!(!bounded(&|m| graph(m).node.push(foreign.clone())));
    let trees = NodeProto {
        domain: Some("ai.onnx.ml".to_owned()),
        ..node("TreeEnsembleRegressor")
    };

    assert!(bounded(&|m| graph(m).node.push(trees.clone())));
    assert!(
        !bounded(&|m| graph(m).input[0] = value("x", 1, Some(&[None, None]))),
        "a second dynamic axis"
    );
    assert!(
        !bounded(&|m| graph(m).input[0] = value("x", 1, None)),
        "no shape at all"
    );
    assert!(
        !bounded(&|m| graph(m).input[0] = value("x", 8, Some(&[None, Some(4)]))),
        "text"
    );
}
