//! Files that readers of the format could take in more than one way.

use crate::onnx::rows::tests::{Body, Int, check_file, field, number, op, over};
use crate::testing::graphs::whole;

/// The fields of a graph from `x` to `y` through these nodes.
fn graph(input: &[u8], nodes: &[Vec<u8>]) -> Vec<u8> {
    let nodes = nodes.iter().flat_map(|node| field(1, node));
    let ends = [field(11, input), field(12, &field(1, b"y"))];
    nodes.chain(ends.concat()).collect()
}

/// A file with these graphs and versions of the default operator set.
fn file(graphs: &[Vec<u8>], opsets: &[i64]) -> Vec<u8> {
    let opset = |version: &i64| field(8, &number(2, *version));
    let graphs = graphs.iter().flat_map(|graph| field(7, graph));
    graphs.chain(opsets.iter().flat_map(opset)).collect()
}

/// The declaration of `x`, from the fields of its type.
fn named(kinds: &[Vec<u8>]) -> Vec<u8> {
    let kinds = kinds.iter().flat_map(|kind| field(2, kind));
    field(1, b"x").into_iter().chain(kinds).collect()
}

/// A tensor type from its shapes.
fn tensors(shapes: &[Vec<u8>]) -> Vec<u8> {
    let shapes = shapes.iter().flat_map(|shape| field(2, shape));
    field(
        1,
        &number(1, 1).into_iter().chain(shapes).collect::<Vec<u8>>(),
    )
}

/// An axis of any length, and one of length 3.
fn shape() -> Vec<u8> {
    [field(1, &field(2, b"n")), field(1, &number(1, 3))].concat()
}

#[test]
fn a_field_that_is_given_twice_is_no_proof() {
    let kind = tensors(&[shape()]);
    let relu = [op("Relu", &["x"], "y", &[])];
    let x = named(std::slice::from_ref(&kind));
    let check = |graphs: &[Vec<u8>], opsets: &[i64], expected: &str| {
        check_file(&file(graphs, opsets), expected);
    };
    check(&[graph(&x, &relu)], &[21], "independent");

    let twice = "unknown: the file gives a field twice";
    check(&[graph(&x, &relu), graph(&x, &relu)], &[21], twice);
    let kinds = [
        vec![kind.clone(), kind.clone()],
        vec![[kind.clone(), kind.clone()].concat()],
        vec![tensors(&[shape(), shape()])],
    ];
    for kinds in &kinds {
        check(&[graph(&named(kinds), &relu)], &[21], twice);
    }
    let renamed = [relu[0].clone(), field(4, b"Softmax")].concat();
    check(&[graph(&x, &[renamed])], &[21], twice);

    check(
        &[graph(&x, &relu)],
        &[],
        "the file does not import its operator set",
    );
    let opsets = "the file imports two versions of an operator set";
    check(&[graph(&x, &relu)], &[21, 11], opsets);
    check(&[graph(&x, &relu)], &[21, 21], "independent");
    let soft = [op(
        "Softmax",
        &["x"],
        "y",
        &[("axis", Int(1)), ("axis", Int(0))],
    )];
    check(
        &[graph(&x, &soft)],
        &[21],
        "a node gives an attribute twice",
    );
}

#[test]
fn a_body_that_is_given_twice_is_no_proof() {
    let branch = |name: &str| {
        let inside = field(1, &op("Relu", &["x"], "t", &[]));
        let bodies = [inside.clone(), field(12, &field(1, b"t"))].concat();
        let attribute = [
            field(1, name.as_bytes()),
            field(6, &inside),
            field(6, &bodies),
        ];
        field(5, &attribute.concat())
    };
    let whole_body = [
        field(1, &op("Relu", &["x"], "t", &[])),
        field(12, &field(1, b"t")),
    ]
    .concat();
    let once = op(
        "If",
        &["one"],
        "y",
        &[
            ("then_branch", Body(&whole_body)),
            ("else_branch", Body(&whole_body)),
        ],
    );
    over(&[-1, 8]).check(&[once], "independent");
    let twice = [
        op("If", &["one"], "y", &[]),
        branch("then_branch"),
        branch("else_branch"),
    ];
    over(&[-1, 8]).check(&[twice.concat()], "the file gives a field twice");
}

#[test]
fn an_axis_with_a_name_and_a_length_has_no_fixed_length() {
    let shape = [
        field(1, &field(2, b"n")),
        field(1, &[number(1, 1), field(2, b"m")].concat()),
    ];
    let x = named(&[tensors(&[shape.concat()])]);
    let flat = [field(8, b"to"), number(1, 1), number(2, 7), number(7, -1)];
    let nodes = [op("Reshape", &["x", "to"], "y", &[])];
    let mut made = graph(&x, &nodes);
    made.extend(field(5, &flat.concat()));
    // It has one number for each row only if the second axis has the length 1.
    check_file(&file(&[made], &[21]), "output 'y' does not have one row");
}

#[test]
fn constants_are_read_where_onnx_runtime_reads_them() {
    let constant = |fields: &[Vec<u8>]| {
        let named = [field(8, b"to"), number(1, 2), number(2, 7)].concat();
        [named, fields.concat()].concat()
    };
    let raw = |to: [i64; 2]| field(9, &to.map(i64::to_le_bytes).concat());
    let nodes = [op("Reshape", &["x", "to"], "y", &[])];
    let check = |fields: &[Vec<u8>], expected: &str| {
        let x = named(&[tensors(&[shape()])]);
        let mut made = graph(&x, &nodes);
        made.extend(field(5, &constant(fields)));
        check_file(&file(&[made], &[21]), expected);
    };
    check(&[raw([-1, 3])], "independent");
    check(&[number(7, -1), number(7, 3)], "independent");
    let unread = "unknown: operator Reshape";
    // The list of another type, and data that is in another file.
    check(&[number(5, -1), number(5, 3)], unread);
    check(&[raw([-1, 3]), number(14, 1)], unread);
    check(
        &[raw([-1, 3]), raw([3, -1])],
        "the file gives a field twice",
    );
}

#[test]
fn groups_are_not_skipped_in_another_way_than_the_decoder() {
    let made = over(&[-1, 8]).with(whole("two", &[2]));
    let node = op("Relu", &["x"], "y", &[]);
    // A group with the number 100. It has no length: what follows is its content.
    let grouped = [node.clone(), vec![0xa3, 0x06, 0x02, 0xa4, 0x06]].concat();
    made.check(&[node], "independent");
    made.check(&[grouped], "unknown");
}
