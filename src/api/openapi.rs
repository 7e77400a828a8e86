//! The OpenAPI description of the REST paths on the data listeners, with each served model's own tensors.

mod general;
#[cfg(test)]
mod tests;

use super::Front;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::request::{ID_BYTES_MAX, INPUTS_MAX};
use crate::core::tensor::DType;
use crate::serve::servable::Servable;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The most models that have paths of their own; further ones are covered by the general paths.
const MODELS_MAX: usize = 1_000;

/// Describes the server as it is now.
pub(crate) fn document(front: &Front) -> Value {
    let table = front.predictor.routes().table();
    let mut models: Vec<Arc<Servable>> = Vec::new();
    for routes in table.models.values() {
        let newest = routes.versions.iter().max_by_key(|(version, _)| **version);
        models.extend(newest.map(|(_, servable)| Arc::clone(servable)));
    }
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models.truncate(MODELS_MAX);
    let described = models.iter().map(|servable| DescribedModel {
        name: servable.name.as_str(),
        signature: &servable.signature,
    });
    describe(described)
}

/// A model with the tensors of its newest version.
struct DescribedModel<'m> {
    name: &'m str,
    signature: &'m Signature,
}

fn describe<'m>(models: impl Iterator<Item = DescribedModel<'m>>) -> Value {
    let models: Vec<DescribedModel<'_>> = models.collect();
    let mut paths = general::paths(models.first().map(|model| model.name));
    for model in models {
        let name = model.name;
        paths.insert(format!("/v2/models/{name}/infer"), model.infer());
        paths.insert(format!("/v1/models/{name}:predict"), model.predict());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ortus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Predictions over the Open Inference Protocol v2, TensorFlow Serving's REST API and MLflow's scoring protocol.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string"}},
        }}},
    })
}

impl DescribedModel<'_> {
    fn infer(&self) -> Value {
        let inputs: Vec<Value> = self.signature.listed_inputs().map(input_schema).collect();
        let required = self.signature.inputs.len();
        let outputs = self.signature.outputs.iter();
        let names: Vec<&str> = outputs.clone().map(|spec| spec.name.as_str()).collect();
        let request = json!({
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": {"type": ["string", "null"], "maxLength": ID_BYTES_MAX},
                "parameters": parameters_schema(),
                "inputs": {
                    "type": "array",
                    "minItems": required,
                    "maxItems": inputs.len(),
                    "items": any_of(inputs),
                },
                "outputs": {"type": ["array", "null"], "maxItems": INPUTS_MAX, "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"enum": names},
                        "parameters": parameters_schema(),
                    },
                }},
            },
            "examples": [{"inputs": self.signature.inputs.iter().map(example).collect::<Vec<_>>()}],
        });
        let answered: Vec<Value> = outputs.map(output_schema).collect();
        let answer = json!({
            "type": "object",
            "required": ["model_name", "model_version", "outputs"],
            "properties": {
                "model_name": {"const": self.name},
                "model_version": {"type": "string"},
                "id": {"type": "string"},
                "outputs": {"type": "array", "items": any_of(answered)},
            },
        });
        let what = format!(
            "Predict with model {} over the Open Inference Protocol.",
            self.name
        );
        json!({"post": operation(&what, Some(request), &answer)})
    }

    fn predict(&self) -> Value {
        let rows = self.signature.inputs.iter().map(row_example);
        let rows: Map<String, Value> = rows.collect();
        let row = match self.signature.inputs.as_slice() {
            [_] => rows.into_iter().next().map(|(_, value)| value),
            _ => Some(Value::Object(rows)),
        };
        let request = json!({
            "type": "object",
            "properties": {
                "signature_name": {"enum": [null, "", "serving_default"]},
                "instances": {"type": ["array", "null"], "minItems": 1},
                "inputs": {},
            },
            "anyOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
            "examples": [{"instances": [row]}],
        });
        let answer = json!({
            "type": "object",
            "properties": {"predictions": {"type": "array"}, "outputs": {}},
            "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
        });
        let what = format!(
            "Predict with model {} as TensorFlow Serving does.",
            self.name
        );
        json!({"post": operation(&what, Some(request), &answer)})
    }
}

/// One of several schemas; false if there is none.
fn any_of(schemas: Vec<Value>) -> Value {
    match schemas.is_empty() {
        true => Value::Bool(false),
        false => json!({"anyOf": schemas}),
    }
}

fn parameters_schema() -> Value {
    json!({"type": ["object", "null"], "additionalProperties": {"type": ["boolean", "number", "string"]}})
}

/// An input whose elements are in the JSON.
fn input_schema(spec: &TensorSpec) -> Value {
    json!({
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": spec.dtype.name()},
            "shape": shape_schema(spec),
            "parameters": parameters_schema(),
            "data": data_schema(spec.dtype),
        },
    })
}

fn output_schema(spec: &TensorSpec) -> Value {
    json!({
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
    })
}

fn shape_schema(spec: &TensorSpec) -> Value {
    let axis = |dim: &Dim| match dim {
        Dim::Fixed(n) => json!({"const": n}),
        Dim::Dynamic => json!({"type": "integer", "minimum": 0}),
    };
    let Some(dims) = &spec.shape else {
        return json!({"type": "array", "items": {"type": "integer", "minimum": 0}});
    };
    let axes: Vec<Value> = dims.iter().map(axis).collect();
    json!({
        "type": "array",
        "prefixItems": axes,
        "minItems": dims.len(),
        "maxItems": dims.len(),
    })
}

/// Elements as one flat list, or nested as the shape.
fn data_schema(dtype: DType) -> Value {
    let element = element_schema(dtype);
    json!({"type": "array", "items": {"anyOf": [element, {"type": "array"}]}})
}

fn element_schema(dtype: DType) -> Value {
    let whole = |least: i128, greatest: i128| json!({"type": "integer", "minimum": least as f64, "maximum": greatest as f64});
    match dtype {
        DType::Bool => json!({"type": "boolean"}),
        DType::U8 => whole(0, u8::MAX.into()),
        DType::U16 => whole(0, u16::MAX.into()),
        DType::U32 => whole(0, u32::MAX.into()),
        DType::U64 => whole(0, u64::MAX.into()),
        DType::I8 => whole(i8::MIN.into(), i8::MAX.into()),
        DType::I16 => whole(i16::MIN.into(), i16::MAX.into()),
        DType::I32 => whole(i32::MIN.into(), i32::MAX.into()),
        DType::I64 => whole(i64::MIN.into(), i64::MAX.into()),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => json!({"type": ["number", "null"]}),
        DType::String => json!({"type": "string"}),
    }
}

/// The lengths of an example: one where an axis is dynamic.
fn example_shape(spec: &TensorSpec) -> Vec<usize> {
    let dims = spec.shape.iter().flatten();
    dims.map(|dim| match dim {
        Dim::Fixed(n) => *n,
        Dim::Dynamic => 1,
    })
    .collect()
}

/// The most elements of an example.
const EXAMPLE_ELEMENTS_MAX: usize = 256;

fn example_element(dtype: DType) -> Value {
    match dtype {
        DType::Bool => Value::Bool(false),
        DType::String => Value::String("word".to_owned()),
        _ => json!(0),
    }
}

fn example(spec: &TensorSpec) -> Value {
    let shape = example_shape(spec);
    let count: usize = shape.iter().product();
    let data = vec![example_element(spec.dtype); count.min(EXAMPLE_ELEMENTS_MAX)];
    json!({"name": spec.name, "datatype": spec.dtype.name(), "shape": shape, "data": data})
}

/// A value of one row of an input, nested as its axes behind the first.
fn row_example(spec: &TensorSpec) -> (String, Value) {
    let shape = example_shape(spec);
    let inner = shape.get(1..).unwrap_or_default();
    let is_small = inner.iter().product::<usize>() <= EXAMPLE_ELEMENTS_MAX;
    let inner = if is_small { inner } else { &[] };
    let nested = inner
        .iter()
        .rev()
        .fold(example_element(spec.dtype), |value, n| {
            Value::Array(vec![value; *n])
        });
    (spec.name.clone(), nested)
}

/// One call with its body and answers.
fn operation(summary: &str, request: Option<Value>, answer: &Value) -> Value {
    let json = |schema: &Value| json!({"application/json": {"schema": schema}});
    let error = json!({"$ref": "#/components/schemas/Error"});
    let mut responses = Map::new();
    let answered = json!({"description": "The answer.", "content": json(answer)});
    responses.insert("200".to_owned(), answered);
    for (status, what) in ERRORS {
        let response = json!({"description": what, "content": json(&error)});
        responses.insert((*status).to_owned(), response);
    }
    let mut operation = json!({"summary": summary, "responses": responses});
    if let Some(schema) = request {
        operation["requestBody"] = json!({"required": true, "content": json(&schema)});
    }
    operation
}

/// The errors that any call may be answered with.
const ERRORS: &[(&str, &str)] = &[
    (
        "400",
        "The request is not valid; the error names the field.",
    ),
    ("403", "A setting does not allow the call."),
    ("404", "The model or version is not known."),
    ("408", "The body did not come in time."),
    ("413", "The body is over a limit."),
    ("415", "The encoding of the body is not supported."),
    ("429", "Too much waits; try again later."),
    ("500", "The model failed."),
    ("501", "A parameter is not supported."),
    ("503", "The model has no version ready."),
    ("504", "The deadline cannot be met."),
];
