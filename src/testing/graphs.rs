//! Builds small ONNX models for tests: declarations, nodes, initializers, and
//! the bytes of the whole. Checks nothing: a test may want a wrong one.

use crate::proto::onnx as o;
use prost::Message;

/// The format's number of FP32.
pub const FLOAT: i32 = 1;
/// The format's number of INT64.
pub const INT64: i32 = 7;
/// The format's number of strings.
pub const STRING: i32 = 8;

/// Declares a tensor of element type `number`; −1 is a dynamic axis.
pub fn declare(name: &str, number: i32, dims: &[i64]) -> o::ValueInfoProto {
    use o::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |d: &i64| Dimension {
        value: Some(if *d < 0 {
            Value::DimParam("N".to_owned())
        } else {
            Value::DimValue(*d)
        }),
    };

    let tensor = o::type_proto::Tensor {
        elem_type: Some(number),
        shape: Some(o::TensorShapeProto {
            dim: dims.iter().map(dim).collect(),
        }),
    };

    let r#type = o::TypeProto {
        value: Some(o::type_proto::Value::TensorType(tensor)),
    };
    o::ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(r#type),
    }
}

/// An operator by name, from inputs to one output.
pub fn node(op: &str, inputs: &[&str], output: &str) -> o::NodeProto {
    o::NodeProto {
        op_type: Some(op.to_owned()),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..o::NodeProto::default()
    }
}

/// A vector of whole numbers as an initializer.
pub fn whole(name: &str, values: &[i64]) -> o::TensorProto {
    vector(
        name,
        INT64,
        values.len(),
        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    )
}

/// A vector of FP32 as an initializer.
pub fn floats(name: &str, values: &[f32]) -> o::TensorProto {
    vector(
        name,
        FLOAT,
        values.len(),
        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    )
}

fn vector(name: &str, number: i32, count: usize, raw: Vec<u8>) -> o::TensorProto {
    o::TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(number),
        dims: vec![count as i64],
        raw_data: Some(raw.into()),
        ..o::TensorProto::default()
    }
}

/// Encodes a graph as a model file.
pub fn model(graph: o::GraphProto) -> Vec<u8> {
    model_of(10, 21, graph)
}

/// Encodes a graph as a model file of this IR version and version of the operators.
pub fn model_of(ir_version: i64, operators: i64, graph: o::GraphProto) -> Vec<u8> {
    let opset = o::OperatorSetIdProto {
        domain: Some(String::new()),
        version: Some(operators),
    };
    let graph = o::GraphProto {
        name: Some("g".to_owned()),
        ..graph
    };
    o::ModelProto {
        ir_version: Some(ir_version),
        graph: Some(graph),
        opset_import: vec![opset],
        ..o::ModelProto::default()
    }
    .encode_to_vec()
}

/// Answers x, which has rows of this width.
pub fn identity(width: i64) -> Vec<u8> {
    model(o::GraphProto {
        node: vec![node("Identity", &["x"], "y")],
        input: vec![declare("x", FLOAT, &[-1, width])],
        output: vec![declare("y", FLOAT, &[-1, width])],
        ..o::GraphProto::default()
    })
}

/// A perceptron with one layer for each pair of widths; all its weights are 1/8.
pub fn perceptron(widths: &[i64]) -> Vec<u8> {
    let (first, last) = (widths[0], widths[widths.len() - 1]);
    let mut nodes = Vec::new();
    let mut initializers = Vec::new();
    let mut at = "x".to_owned();
    for (layer, pair) in widths.windows(2).enumerate() {
        let (weights, product) = (format!("w{layer}"), format!("p{layer}"));
        let count = usize::try_from(pair[0] * pair[1]).expect("positive");
        let mut values = floats(&weights, &vec![0.125; count]);
        values.dims = pair.to_vec();
        initializers.push(values);
        nodes.push(node("MatMul", &[&at, &weights], &product));
        at = format!("r{layer}");
        nodes.push(node("Relu", &[&product], &at));
    }
    nodes.push(node("Identity", &[&at], "y"));

    model(o::GraphProto {
        node: nodes,
        initializer: initializers,
        input: vec![declare("x", FLOAT, &[-1, first])],
        output: vec![declare("y", FLOAT, &[-1, last])],
        ..o::GraphProto::default()
    })
}

/// The mean over the middle axis, as pooling over the words of a text. ONNX Runtime rounds it otherwise
/// for one row than for several.
pub fn pooled(length: i64, width: i64) -> Vec<u8> {
    model(o::GraphProto {
        node: vec![node("ReduceMean", &["x", "middle"], "y")],
        initializer: vec![whole("middle", &[1])],
        input: vec![declare("x", FLOAT, &[-1, length, width])],
        output: vec![declare("y", FLOAT, &[-1, 1, width])],
        ..o::GraphProto::default()
    })
}

/// Answers x times k, where k is an input with the default 2.
pub fn scaled(ir_version: i64) -> Vec<u8> {
    let graph = o::GraphProto {
        node: vec![node("Mul", &["x", "k"], "y")],
        initializer: vec![floats("k", &[2.0])],
        input: vec![declare("x", FLOAT, &[-1, 2]), declare("k", FLOAT, &[1])],
        output: vec![declare("y", FLOAT, &[-1, 2])],
        ..o::GraphProto::default()
    };
    model_of(ir_version, 8, graph)
}

/// Answers x times `factor`. ONNX Runtime multiplies so many matrices of this width when it opens the
/// model, which takes long if they are large.
pub fn slow_to_open(factor: f32, width: i64, products: usize) -> Vec<u8> {
    let mut nodes = vec![node("ConstantOfShape", &["shape"], "p0")];
    nodes.extend((0..products).map(|i| {
        let (before, after) = (format!("p{i}"), format!("p{}", i + 1));
        node("MatMul", &[&before, "p0"], &after)
    }));
    let last = format!("p{products}");
    nodes.push(node("ReduceMax", &[&last], "zero"));
    nodes.push(node("Mul", &["x", "factor"], "product"));
    nodes.push(node("Add", &["product", "zero"], "y"));

    model(o::GraphProto {
        node: nodes,
        initializer: vec![whole("shape", &[width, width]), floats("factor", &[factor])],
        input: vec![declare("x", FLOAT, &[-1, 1])],
        output: vec![declare("y", FLOAT, &[-1, 1])],
        ..o::GraphProto::default()
    })
}

/// Looks rows up in a table of ten numbers: an index of 10 or more fails.
pub fn lookup() -> Vec<u8> {
    gather((0_u8..10).map(|i| f32::from(i).exp2().recip()))
}

/// Answers `mark` to index 0, from a table of so many numbers.
pub fn marked(mark: f32, table: usize) -> Vec<u8> {
    gather(marked_table(mark, table))
}

/// A model and its external data, which together are [`marked`]. The data belongs into `file`
/// beside the model.
pub fn marked_outside(mark: f32, table: usize, file: &str) -> OutsideModel {
    let values: Vec<f32> = marked_table(mark, table).collect();
    outside(floats("table", &values), file)
}

/// A model that looks rows up in `table`, which is external data in `file`.
pub fn outside(mut table: o::TensorProto, file: &str) -> OutsideModel {
    let data = table.raw_data.take().expect("set").to_vec();
    table.data_location = Some(1);
    table.external_data = vec![o::StringStringEntryProto {
        key: Some("location".to_owned()),
        value: Some(file.to_owned()),
    }];
    OutsideModel {
        model: gather_from(table),
        data,
    }
}

/// A model whose weights are in another file.
pub struct OutsideModel {
    /// The model file.
    pub model: Vec<u8>,
    /// The external data.
    pub data: Vec<u8>,
}

fn marked_table(mark: f32, table: usize) -> impl Iterator<Item = f32> {
    std::iter::once(mark).chain((1..table).map(|i| i as f32))
}

fn gather(table: impl Iterator<Item = f32>) -> Vec<u8> {
    gather_from(floats("table", &table.collect::<Vec<_>>()))
}

fn gather_from(table: o::TensorProto) -> Vec<u8> {
    let mut rows = table.dims.clone();
    rows[0] = -1;
    model(o::GraphProto {
        node: vec![node("Gather", &["table", "x"], "y")],
        initializer: vec![table],
        input: vec![declare("x", INT64, &[-1])],
        output: vec![declare("y", FLOAT, &rows)],
        ..o::GraphProto::default()
    })
}

/// Multiplies two matrices of the size that the input asks for, so that the
/// client decides how long a run takes and how much memory it needs. `bias` is
/// added to the answer, and tells versions apart.
pub fn demanding(bias: f32) -> Vec<u8> {
    multiply(bias, 1, 0)
}

/// Multiplies two matrices of `size`, whatever the input says: a large one
/// hangs, a larger one asks for all memory, at the first run.
pub fn hungry(size: i64) -> Vec<u8> {
    multiply(0.0, 0, size)
}

/// Multiplies two matrices of `factor` times the input plus `size`.
fn multiply(bias: f32, factor: i64, size: i64) -> Vec<u8> {
    model(o::GraphProto {
        node: vec![
            node("Mul", &["x", "factor"], "scaled"),
            node("Add", &["scaled", "size"], "shape"),
            node("ConstantOfShape", &["shape"], "zeros"),
            node("MatMul", &["zeros", "zeros"], "product"),
            node("ReduceSum", &["product", "axes"], "sum"),
            node("Add", &["sum", "bias"], "y"),
        ],
        initializer: vec![
            whole("factor", &[factor; 2]),
            whole("size", &[size; 2]),
            whole("axes", &[0, 1]),
            floats("bias", &[bias]),
        ],
        input: vec![declare("x", INT64, &[1])],
        output: vec![declare("y", FLOAT, &[1, 1])],
        ..o::GraphProto::default()
    })
}

/// A subgraph of a node.
fn subgraph(name: &str, graph: o::GraphProto) -> o::AttributeProto {
    const GRAPH: i32 = 5;
    o::AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(GRAPH),
        g: Some(o::GraphProto {
            name: Some(name.to_owned()),
            ..graph
        }),
        ..o::AttributeProto::default()
    }
}

/// Counts to the input in a loop of cheap nodes, so that the client decides how
/// long a run takes, and ends it between two nodes.
pub fn counting() -> Vec<u8> {
    const BOOL: i32 = 9;
    let body = o::GraphProto {
        node: vec![
            node("Identity", &["go_on"], "still"),
            node("Add", &["sum", "one"], "next"),
        ],
        initializer: vec![floats("one", &[1.0])],
        input: vec![
            declare("step", INT64, &[]),
            declare("go_on", BOOL, &[]),
            declare("sum", FLOAT, &[1]),
        ],
        output: vec![declare("still", BOOL, &[]), declare("next", FLOAT, &[1])],
        ..o::GraphProto::default()
    };

    let counts = o::NodeProto {
        attribute: vec![subgraph("body", body)],
        ..node("Loop", &["x", "", "zero"], "y")
    };
    model(o::GraphProto {
        node: vec![counts],
        initializer: vec![floats("zero", &[0.0])],
        input: vec![declare("x", INT64, &[1])],
        output: vec![declare("y", FLOAT, &[1])],
        ..o::GraphProto::default()
    })
}

/// Divides its numbers by the largest of the run, once that is over `limit`. The loop of one step
/// hides it from whoever reads the graph, and smaller numbers from whoever tries it.
pub fn scaled_by_largest(limit: f32) -> Vec<u8> {
    const BOOL: i32 = 9;
    let single = |name: &str, value: f32| o::TensorProto {
        dims: vec![1, 1],
        ..floats(name, &[value])
    };
    let body = o::GraphProto {
        node: vec![
            node("Identity", &["go_on"], "still"),
            node("ReduceMax", &["value"], "largest"),
            node("Div", &["largest", "limit"], "ratio"),
            node("Max", &["ratio", "one"], "scale"),
            node("Div", &["value", "scale"], "next"),
        ],
        initializer: vec![single("limit", limit), single("one", 1.0)],
        input: vec![
            declare("step", INT64, &[]),
            declare("go_on", BOOL, &[]),
            declare("value", FLOAT, &[-1, 1]),
        ],
        output: vec![
            declare("still", BOOL, &[]),
            declare("next", FLOAT, &[-1, 1]),
        ],
        ..o::GraphProto::default()
    };

    let divides = o::NodeProto {
        attribute: vec![subgraph("body", body)],
        ..node("Loop", &["once", "", "x"], "y")
    };
    let once = o::TensorProto {
        dims: Vec::new(),
        ..whole("once", &[1])
    };
    model(o::GraphProto {
        node: vec![divides],
        initializer: vec![once],
        input: vec![declare("x", FLOAT, &[-1, 1])],
        output: vec![declare("y", FLOAT, &[-1, 1])],
        ..o::GraphProto::default()
    })
}

/// Answers its input, through an operator of which the graph proves nothing: it writes nothing into the rows.
pub fn scattered() -> Vec<u8> {
    let empty = |tensor: o::TensorProto, width: i64| o::TensorProto {
        dims: vec![0, width],
        ..tensor
    };
    model(o::GraphProto {
        node: vec![node("ScatterND", &["x", "places", "rows"], "y")],
        initializer: vec![
            empty(whole("places", &[]), 1),
            empty(floats("rows", &[]), 2),
        ],
        input: vec![declare("x", FLOAT, &[-1, 2])],
        output: vec![declare("y", FLOAT, &[-1, 2])],
        ..o::GraphProto::default()
    })
}

/// Sums `width` numbers; where the sum is over 1,000,000 it first multiplies two
/// matrices of that width, in one node. All shapes are fixed, so that a server
/// takes it for quick.
pub fn rarely_slow(width: i64) -> Vec<u8> {
    let branch = |nodes: Vec<o::NodeProto>, output: &str| o::GraphProto {
        node: nodes,
        output: vec![declare(output, FLOAT, &[1, 1])],
        ..o::GraphProto::default()
    };

    let slow = vec![
        node("Transpose", &["x"], "column"),
        node("MatMul", &["column", "x"], "square"),
        node("MatMul", &["square", "square"], "product"),
        node("ReduceSum", &["product"], "slow"),
    ];

    let quick = vec![node("Identity", &["sum"], "quick")];
    let chooses = o::NodeProto {
        attribute: vec![
            subgraph("then_branch", branch(slow, "slow")),
            subgraph("else_branch", branch(quick, "quick")),
        ],
        ..node("If", &["is_large"], "y")
    };

    model(o::GraphProto {
        node: vec![
            node("ReduceSum", &["x"], "sum"),
            node("Greater", &["sum", "limit"], "is_large"),
            chooses,
        ],
        initializer: vec![floats("limit", &[1e6])],
        input: vec![declare("x", FLOAT, &[1, width])],
        output: vec![declare("y", FLOAT, &[1, 1])],
        ..o::GraphProto::default()
    })
}

/// Takes `width` numbers and a word a row, answers the sum of the numbers; the
/// word is only passed through.
pub fn mixed(width: i64) -> Vec<u8> {
    model(o::GraphProto {
        node: vec![
            node("MatMul", &["x", "ones"], "sum"),
            node("Identity", &["colour"], "word"),
        ],
        initializer: vec![o::TensorProto {
            dims: vec![width, 1],
            ..floats("ones", &vec![1.0; width as usize])
        }],
        input: vec![
            declare("x", FLOAT, &[-1, width]),
            declare("colour", STRING, &[-1]),
        ],
        output: vec![declare("sum", FLOAT, &[-1, 1])],
        ..o::GraphProto::default()
    })
}

/// Answers `count` booleans to each row: few bytes, and much text.
pub fn mask(count: i64) -> Vec<u8> {
    const BOOL: i32 = 9;
    model(o::GraphProto {
        node: vec![node("Less", &["x", "table"], "y")],
        initializer: vec![floats("table", &vec![0.5; count as usize])],
        input: vec![declare("x", FLOAT, &[-1, 1])],
        output: vec![declare("y", BOOL, &[-1, count])],
        ..o::GraphProto::default()
    })
}

/// Looks rows up in a table of FP16, and answers a number without a dimension:
/// JSON has no form of the first, and the rows of TensorFlow Serving none of
/// both together.
pub fn unwritable() -> Vec<u8> {
    const FLOAT16: i32 = 10;
    let halves = vector("halves", FLOAT16, 2, vec![0, 0x3c, 0, 0x40]);
    let scalar = o::TensorProto {
        dims: Vec::new(),
        ..whole("first", &[0])
    };
    model(o::GraphProto {
        node: vec![
            node("Gather", &["halves", "x"], "half"),
            node("Gather", &["numbers", "first"], "number"),
        ],
        initializer: vec![halves, floats("numbers", &[1.0, 2.0]), scalar],
        input: vec![declare("x", INT64, &[-1])],
        output: vec![
            declare("half", FLOAT16, &[-1]),
            declare("number", FLOAT, &[]),
        ],
        ..o::GraphProto::default()
    })
}
