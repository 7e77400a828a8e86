//! Bodies of loops and branches, functions, and what could pass for something else.

use crate::onnx::rows::tests::{Body, Int, Ints, Reference, field, matrix, number, op, over};
use crate::testing::graphs::whole;

/// An encoded graph of nodes, with the names of its inputs and outputs.
fn body(nodes: &[Vec<u8>], inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
    let mut graph = Vec::new();
    for node in nodes {
        graph.extend(field(1, node));
    }
    for (tag, names) in [(11, inputs), (12, outputs)] {
        for name in names {
            graph.extend(field(tag, &field(1, name.as_bytes())));
        }
    }
    graph
}

/// An encoded function `acme:Own` of `a` with the attribute `along`, by the operator set of the model.
fn function(nodes: &[Vec<u8>]) -> Vec<u8> {
    function_by(21, "acme", "Own", nodes)
}

/// The same by an operator set of its own, and with another name.
fn function_by(opset: i64, domain: &str, name: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
    let mut encoded = field(1, name.as_bytes());
    for (tag, text) in [(4, "a"), (5, "b"), (10, domain)] {
        encoded.extend(field(tag, text.as_bytes()));
    }
    for node in nodes {
        encoded.extend(field(7, node));
    }
    let default = [field(1, b""), number(2, opset)];
    encoded.extend(field(9, &default.concat()));
    encoded
}

#[test]
fn both_branches_are_followed_unless_one_is_certain() {
    let cut = body(
        &[op("Softmax", &["x"], "t", &[("axis", Int(0))])],
        &[],
        &["t"],
    );
    let kept = body(&[op("Relu", &["x"], "e", &[])], &[], &["e"]);
    let chosen = |condition: &str| {
        op(
            "If",
            &[condition],
            "y",
            &[("then_branch", Body(&cut)), ("else_branch", Body(&kept))],
        )
    };
    let made = over(&[-1, 8])
        .with(whole("never", &[0]))
        .with(matrix("unknown", &[]));
    made.check(
        &[chosen("unknown")],
        "dependent: operator Softmax of node 'make_t'",
    );
    made.check(&[chosen("never")], "independent");
    let turned = body(&[op("Transpose", &["x"], "t", &[])], &[], &["t"]);
    let either = op(
        "If",
        &["unknown"],
        "y",
        &[("then_branch", Body(&turned)), ("else_branch", Body(&kept))],
    );
    made.check(&[either], "its branches differ in their batch axis");
    let constant = body(&[op("Identity", &["w"], "t", &[])], &[], &["t"]);
    let either = op(
        "If",
        &["unknown"],
        "y",
        &[
            ("then_branch", Body(&constant)),
            ("else_branch", Body(&kept)),
        ],
    );
    made.check(&[either], "its branches differ in their batch axis");
    let by_rows = [op("ReduceMax", &["x", "one"], "m", &[]), chosen("m")];
    made.check(&by_rows, "its condition depends on the rows");
}

#[test]
fn a_loop_is_followed_until_its_state_stays_the_same() {
    let loops = |nodes: &[Vec<u8>], count: &str, state: [&str; 2]| {
        let body = body(nodes, &["i", "go", "a", "b"], &["go", "c", "d"]);
        let inputs = [count, "", state[0], state[1]];
        [op("Loop", &inputs, "u,y", &[("body", Body(&body))])]
    };
    let made = over(&[-1, 8]).with(whole("three", &[3]));
    let kept = [
        op("Relu", &["a"], "c", &[]),
        op("Add", &["a", "b"], "d", &[]),
    ];
    made.check(&loops(&kept, "three", ["x", "x"]), "independent");
    // The rows come to `a` in the second pass.
    let swapped = [
        op("Softmax", &["a"], "s", &[("axis", Int(0))]),
        op("Identity", &["b"], "c", &[]),
        op("Add", &["b", "s"], "d", &[]),
    ];
    let mixes = "dependent: operator Softmax of node 'make_s'";
    made.check(&loops(&swapped, "three", ["x", "x"]), mixes);
    // The rows of the state are on another axis after each pass.
    let turned = [
        op("Transpose", &["a"], "c", &[]),
        op("Identity", &["b"], "d", &[]),
    ];
    let loops_turned = |state| {
        let body = body(&turned, &["i", "go", "a", "b"], &["go", "c", "d"]);
        [op(
            "Loop",
            &["three", "", "x", state],
            "y,u",
            &[("body", Body(&body))],
        )]
    };
    made.check(&loops_turned("x"), "unknown");
    let counted = [
        vec![op("ReduceMax", &["x", "one"], "m", &[])],
        loops(&kept, "m", ["x", "x"]).to_vec(),
    ];
    made.check(&counted.concat(), "how often it runs depends on the rows");
}

#[test]
fn a_scan_must_not_go_from_row_to_row() {
    let inside = body(&[op("Relu", &["e"], "f", &[])], &["e"], &["f"]);
    let scan = |axis| {
        let given = [
            ("body", Body(&inside)),
            ("num_scan_inputs", Int(1)),
            ("scan_input_axes", Ints(axis)),
            ("scan_output_axes", Ints(axis)),
        ];
        [op("Scan", &["x"], "y", &given)]
    };
    over(&[-1, 5, 8]).check(&scan(&[1]), "independent");
    over(&[-1, 5, 8]).check(&scan(&[0]), "it goes from row to row");
}

#[test]
fn functions_of_the_model_are_followed_with_the_attributes_of_the_call() {
    let soft = op("Softmax", &["a"], "b", &[("axis", Reference("along"))]);
    let made = over(&[-1, 8]).function(function(&[soft]));
    let call = |axis| [op("acme:Own", &["x"], "y", &[("along", Int(axis))])];
    made.check(&call(1), "independent");
    made.check(&call(0), "dependent: operator Softmax of node 'make_b'");

    let twice = over(&[-1, 8])
        .function(function(&[op("Relu", &["a"], "b", &[])]))
        .function(function(&[op("Relu", &["a"], "b", &[])]));
    twice.check(&call(1), "more than one function of the model");
    let endless = over(&[-1, 8]).function(function(&[op("acme:Own", &["a"], "b", &[])]));
    endless.check(&call(1), "the graph is too large to be followed");
}

#[test]
fn an_output_without_a_name_is_no_input_without_a_name() {
    let made = over(&[-1, 4, 8]);
    // Reshape asks for a shape that nothing gives.
    let nodes = [
        op("Shape", &["x"], "", &[]),
        op("Reshape", &["x", ""], "y", &[]),
    ];
    made.check(&nodes, "unknown: operator Reshape");
}

#[test]
fn long_lists_of_axes_are_not_cut() {
    let axes: Vec<i64> = (0..40).collect();
    over(&[-1, 8]).opset(11).check(
        &[op("Unsqueeze", &["x"], "y", &[("axes", Ints(&axes))])],
        "a list is too long",
    );
}

#[test]
fn a_function_by_another_operator_set_than_the_model_is_not_proven() {
    // Softmax takes all axes from the second on as one, up to operator set 12.
    let soft = [op("Softmax", &["a"], "b", &[])];
    let call = [op("acme:Own", &["x"], "y", &[])];
    let made = |opset| over(&[-1, 8]).function(function_by(opset, "acme", "Own", &soft));
    made(21).check(&call, "independent");
    made(11).check(&call, "the function uses another operator set");
}

#[test]
fn loops_in_loops_are_followed_up_to_a_limit() {
    // The numbers of the state change in each pass, so every level passes through the next again.
    let add = |to: &str| op("Add", &["s", "one"], to, &[]);
    let ends = ["go", "t"];
    let mut inside = body(&[add("t")], &["i", "go", "s"], &ends);
    for _ in 0..20 {
        let again = [
            add("u"),
            op("Loop", &["three", "", "u"], "t", &[("body", Body(&inside))]),
        ];
        inside = body(&again, &["i", "go", "s"], &ends);
        let constant = |at: usize| field(5, &field(8, format!("k{at}").as_bytes()));
        inside.extend((0..100).flat_map(constant));
    }
    let given = [("body", Body(&inside))];
    let nodes = [op("Loop", &["three", "", "zero"], "y", &given)];
    let made = over(&[-1, 8]).with(whole("three", &[3]));
    made.check(&nodes, "the graph is too large to be followed");
}

#[test]
fn a_function_in_a_domain_of_onnx_runtime_is_not_proven() {
    let relu = [op("Relu", &["a"], "b", &[])];
    for domain in [
        "com.microsoft",
        "com.microsoft.nchwc",
        "ai.onnx.ml",
        "ai.onnx",
    ] {
        let call = [op(&format!("{domain}:GatherND"), &["x"], "y", &[])];
        let made = over(&[-1, 8]).function(function_by(21, domain, "GatherND", &relu));
        made.check(&call, "unknown: operator GatherND");
    }
    let call = [op("acme.ai:GatherND", &["x"], "y", &[])];
    let made = over(&[-1, 8]).function(function_by(21, "acme.ai", "GatherND", &relu));
    made.check(&call, "independent");
}

#[test]
fn loops_with_many_states_are_followed_in_little_time() {
    let names: Vec<String> = (0..1_000).map(|at| format!("s{at}")).collect();
    let inside: Vec<&str> = ["i", "go"]
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .collect();
    // Each state takes the place of the one before it, so all of them change their lengths.
    let after: Vec<&str> = ["go"]
        .into_iter()
        .chain(inside[3..].iter().copied())
        .chain(["s0"])
        .collect();
    let body = body(&[], &inside, &after);
    let mut made = over(&[-1, 8]).with(whole("three", &[3]));
    let mut given = vec!["three", ""];
    for (at, name) in names.iter().enumerate() {
        let mut dims = vec![1; 32];
        dims[at % 32] = 2;
        made = made.with(matrix(name, &dims));
        given.push(name);
    }
    let nodes = [op("Loop", &given, "u,y", &[("body", Body(&body))])];
    made.check(&nodes, "");
}
