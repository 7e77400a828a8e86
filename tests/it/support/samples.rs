//! The sample requests and golden answers of the models that come with Ortus.

use super::{models_folder, read_json};
use ortus::proto::inference as oip;
use serde_json::Value;

/// The outputs of a JSON answer.
pub(crate) fn outputs(body: &Value) -> &Vec<Value> {
    body["outputs"].as_array().expect("outputs")
}

/// A sample input as raw bytes.
pub(crate) struct SampleTensor {
    pub name: String,
    pub datatype: String,
    pub shape: Vec<i64>,
    pub bytes: Vec<u8>,
}

/// The sample request of a model as raw tensors.
pub(crate) fn tensors(model: &str) -> Vec<SampleTensor> {
    let sample = read_json(&models_folder().join(model).join("sample.json"));
    let inputs = sample["inputs"].as_array().expect("inputs").iter();
    inputs
        .map(|input| {
            let text = |key: &str| input[key].as_str().expect("text").to_owned();
            let shape = input["shape"]
                .as_array()
                .expect("a shape")
                .iter()
                .map(|d| d.as_i64().expect("whole"))
                .collect();
            let mut bytes = Vec::new();
            flatten(&input["data"], &mut bytes);
            SampleTensor {
                name: text("name"),
                datatype: text("datatype"),
                shape,
                bytes,
            }
        })
        .collect()
}

/// Appends raw elements; FP32 and BYTES are all that the samples use.
fn flatten(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Array(all) => all.iter().for_each(|v| flatten(v, bytes)),
        Value::String(text) => {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        number => {
            bytes.extend_from_slice(&(number.as_f64().expect("a number") as f32).to_le_bytes())
        }
    }
}

/// The sample request of a model with raw contents.
pub(crate) fn raw_request(model: &str) -> oip::ModelInferRequest {
    let tensors = tensors(model);
    let input = |tensor: &SampleTensor| oip::model_infer_request::InferInputTensor {
        name: tensor.name.clone(),
        datatype: tensor.datatype.clone(),
        shape: tensor.shape.clone(),
        ..Default::default()
    };
    oip::ModelInferRequest {
        model_name: model.to_owned(),
        id: "mine".to_owned(),
        inputs: tensors.iter().map(input).collect(),
        raw_input_contents: tensors.iter().map(|t| t.bytes.clone().into()).collect(),
        ..Default::default()
    }
}

/// The outputs of a raw answer as bytes.
pub(crate) fn raw_outputs(answer: &oip::ModelInferResponse) -> Vec<Vec<u8>> {
    answer
        .raw_output_contents
        .iter()
        .map(|b| b.to_vec())
        .collect()
}

/// The golden answers of a model as bytes.
pub(crate) fn golden_bytes(model: &str) -> Vec<Vec<u8>> {
    let golden = read_json(&models_folder().join(model).join("answer.json"));
    let one = |output: &Value| {
        let all = output["data"].as_array().expect("data");
        match output["datatype"].as_str() {
            Some("INT64") => all
                .iter()
                .flat_map(|v| v.as_i64().expect("whole").to_le_bytes())
                .collect(),
            _ => all
                .iter()
                .flat_map(|v| (v.as_f64().expect("a number") as f32).to_le_bytes())
                .collect(),
        }
    };
    outputs(&golden).iter().map(one).collect()
}
