//! Builds an ONNX graph node by node, and names intermediate tensors.

use crate::proto::onnx_export as o;
use prost::Message;

/// The operator sets.
const OPSET: i64 = 18;
const ML_OPSET: i64 = 5;
const IR_VERSION: i64 = 10;

/// The element types that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementType {
    Float = 1,
    Byte = 2,
    Whole = 7,
    Text = 8,
    Double = 11,
}

/// An attribute of an operator.
pub(super) struct Setting(o::AttributeProto);

impl From<i64> for Setting {
    fn from(value: i64) -> Self {
        Self(o::AttributeProto {
            i: Some(value),
            r#type: Some(2),
            ..Default::default()
        })
    }
}

impl From<f32> for Setting {
    fn from(value: f32) -> Self {
        Self(o::AttributeProto {
            f: Some(value),
            r#type: Some(1),
            ..Default::default()
        })
    }
}

impl From<&[i64]> for Setting {
    fn from(values: &[i64]) -> Self {
        Self(o::AttributeProto {
            ints: values.to_vec(),
            r#type: Some(7),
            ..Default::default()
        })
    }
}

impl From<&[f32]> for Setting {
    fn from(values: &[f32]) -> Self {
        Self(o::AttributeProto {
            floats: values.to_vec(),
            r#type: Some(6),
            ..Default::default()
        })
    }
}

impl From<&[&str]> for Setting {
    fn from(values: &[&str]) -> Self {
        let strings = values
            .iter()
            .map(|s| s.as_bytes().to_vec().into())
            .collect();
        Self(o::AttributeProto {
            strings,
            r#type: Some(8),
            ..Default::default()
        })
    }
}

impl From<o::TensorProto> for Setting {
    fn from(value: o::TensorProto) -> Self {
        Self(o::AttributeProto {
            t: Some(value),
            r#type: Some(4),
            ..Default::default()
        })
    }
}

/// A graph under construction.
#[derive(Default)]
pub(super) struct GraphBuilder {
    graph: o::GraphProto,
    named: usize,
}

/// An operator of ONNX: its domain, empty for ONNX's own, and its name.
#[derive(Clone, Copy)]
pub(super) struct OnnxOperator<'o> {
    pub domain: &'o str,
    pub op: &'o str,
}

impl GraphBuilder {
    fn unique_name(&mut self, what: &str) -> String {
        self.named += 1;
        // No feature name starts like this, so that no input is shadowed.
        format!("ortus/{what}/{}", self.named)
    }

    pub(super) fn input(&mut self, name: &str, kind: ElementType, dims: &[i64]) {
        self.graph.input.push(declare(name, kind, dims));
    }

    pub(super) fn output(&mut self, name: &str, kind: ElementType, dims: &[i64]) {
        self.graph.output.push(declare(name, kind, dims));
    }

    /// Adds an operator; returns the name of its output.
    pub(super) fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        settings: &[(&str, Setting)],
    ) -> String {
        self.node_of("", op, inputs, settings)
    }

    /// Adds an operator of another domain; returns the name of its output.
    pub(super) fn node_of(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        settings: &[(&str, Setting)],
    ) -> String {
        let output = self.unique_name(op);
        self.name_of(OnnxOperator { domain, op }, inputs, settings, &output);
        output
    }

    /// Adds an operator with a given name of its output.
    pub(super) fn name(
        &mut self,
        op: &str,
        inputs: &[&str],
        settings: &[(&str, Setting)],
        output: &str,
    ) {
        self.name_of(OnnxOperator { domain: "", op }, inputs, settings, output);
    }

    pub(super) fn name_of(
        &mut self,
        operator: OnnxOperator<'_>,
        inputs: &[&str],
        settings: &[(&str, Setting)],
        output: &str,
    ) {
        let attribute = |(name, setting): &(&str, Setting)| o::AttributeProto {
            name: Some((*name).to_owned()),
            ..setting.0.clone()
        };
        let OnnxOperator { domain, op } = operator;
        self.graph.node.push(o::NodeProto {
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(format!("{op}/{}", self.graph.node.len())),
            op_type: Some(op.to_owned()),
            attribute: settings.iter().map(attribute).collect(),
            domain: Some(domain.to_owned()).filter(|d| !d.is_empty()),
        });
    }

    /// Adds a constant of floats; returns its name.
    pub(super) fn floats(&mut self, values: &[f32], dims: &[i64]) -> String {
        let name = self.unique_name("fixed");
        self.graph.initializer.push(o::TensorProto {
            name: Some(name.clone()),
            ..floats(values, dims)
        });
        name
    }

    /// Adds a number in FP64; returns its name.
    pub(super) fn double(&mut self, value: f64) -> String {
        let name = self.unique_name("fixed");
        self.graph.initializer.push(o::TensorProto {
            name: Some(name.clone()),
            ..tensor(ElementType::Double, &[1, 1], value.to_le_bytes().to_vec())
        });
        name
    }

    /// Adds a constant of integers; returns its name.
    pub(super) fn integer_constant(&mut self, values: &[i64], dims: &[i64]) -> String {
        let name = self.unique_name("fixed");
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.graph.initializer.push(o::TensorProto {
            name: Some(name.clone()),
            ..tensor(ElementType::Whole, dims, bytes)
        });
        name
    }

    /// Returns the model as bytes.
    pub(super) fn finish(mut self, about: &str, properties: &[(&str, String)]) -> Vec<u8> {
        self.graph.name = Some("ortus".to_owned());
        let opset = |domain: &str, version| o::OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        let property = |(key, value): &(&str, String)| o::StringStringEntryProto {
            key: Some((*key).to_owned()),
            value: Some(value.clone()),
        };
        o::ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("ortus-trainer".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            doc_string: Some(about.to_owned()).filter(|a| !a.is_empty()),
            graph: Some(self.graph),
            opset_import: vec![opset("", OPSET), opset("ai.onnx.ml", ML_OPSET)],
            metadata_props: properties.iter().map(property).collect(),
        }
        .encode_to_vec()
    }
}

/// Returns numbers as a tensor.
pub(super) fn floats(values: &[f32], dims: &[i64]) -> o::TensorProto {
    tensor(
        ElementType::Float,
        dims,
        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    )
}

/// Returns bytes as a tensor.
pub(super) fn bytes(values: Vec<u8>) -> o::TensorProto {
    let dims = [values.len() as i64];
    tensor(ElementType::Byte, &dims, values)
}

fn tensor(kind: ElementType, dims: &[i64], raw: Vec<u8>) -> o::TensorProto {
    o::TensorProto {
        dims: dims.to_vec(),
        data_type: Some(kind as i32),
        raw_data: Some(raw.into()),
        ..Default::default()
    }
}

fn declare(name: &str, kind: ElementType, dims: &[i64]) -> o::ValueInfoProto {
    use o::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |d: &i64| Dimension {
        value: Some(if *d < 0 {
            Value::DimParam("rows".to_owned())
        } else {
            Value::DimValue(*d)
        }),
    };

    let tensor = o::type_proto::Tensor {
        elem_type: Some(kind as i32),
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
        doc_string: None,
    }
}
