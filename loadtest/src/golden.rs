//! The expected answer and the check against it, over both wires.

use crate::Result;
use crate::sample::flatten;
use ortus::proto::inference as p;
use prost::Message;
use serde_json::{Value, json};
use std::path::Path;

/// Floats may differ by this much, relative above one and absolute below.
const TOLERANCE: f64 = 1e-5;

/// The outputs of a golden file.
pub(crate) struct Golden(Vec<Value>);

impl Golden {
    /// Reads an inference response in the protocol's JSON.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::parse(&std::fs::read(path)?)
    }

    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let mut answer: Value = serde_json::from_slice(text)?;
        match answer["outputs"].take() {
            Value::Array(outputs) if !outputs.is_empty() => Ok(Self(outputs)),
            _ => Err("the golden file has no outputs".into()),
        }
    }

    /// Checks an answer in JSON; says what differs.
    pub(crate) fn check_json(&self, body: &[u8]) -> Result<(), String> {
        let answer: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        self.check(answer["outputs"].as_array().map_or(&[], Vec::as_slice))
    }

    /// Checks an answer in JSON with binary tensors behind it; says what differs.
    pub(crate) fn check_binary(&self, body: &[u8]) -> Result<(), String> {
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
        let head = values.next().ok_or("an empty answer")?;
        let answer = head.map_err(|e| e.to_string())?;
        let mut raw = &body[values.byte_offset()..];
        let mut outputs = answer["outputs"].as_array().cloned().unwrap_or_default();
        for output in &mut outputs {
            let Some(size) = output["parameters"]["binary_data_size"].as_u64() else {
                continue;
            };
            let (own, rest) = raw
                .split_at_checked(size as usize)
                .ok_or("the answer ends within a tensor")?;
            let datatype = output["datatype"].as_str().unwrap_or_default();
            output["data"] = unpack_raw(datatype, own);
            raw = rest;
        }
        self.check(&outputs)
    }

    /// Checks an encoded gRPC answer; says what differs.
    pub(crate) fn check_message(&self, message: &[u8]) -> Result<(), String> {
        let answer = p::ModelInferResponse::decode(message).map_err(|e| e.to_string())?;
        self.check_grpc(&answer)
    }

    /// Checks an answer in raw or typed contents; says what differs.
    fn check_grpc(&self, answer: &p::ModelInferResponse) -> Result<(), String> {
        let outputs: Vec<Value> = answer
            .outputs
            .iter()
            .enumerate()
            .map(|(at, o)| unpack(answer, at, o))
            .collect();
        self.check(&outputs)
    }

    fn check(&self, outputs: &[Value]) -> Result<(), String> {
        self.0.iter().try_for_each(|want| {
            let name = &want["name"];
            let got = outputs
                .iter()
                .find(|o| o["name"] == *name)
                .ok_or_else(|| format!("no output {name}"))?;
            for key in ["datatype", "shape"] {
                if got[key] != want[key] {
                    return Err(format!(
                        "{name}: {key} {} instead of {}",
                        got[key], want[key]
                    ));
                }
            }
            same(&want["data"], &got["data"]).map_err(|e| format!("{name}: {e}"))
        })
    }
}

fn same(want: &Value, got: &Value) -> Result<(), String> {
    let (mut wanted, mut gotten) = (Vec::new(), Vec::new());
    flatten(want, &mut wanted);
    flatten(got, &mut gotten);
    if wanted.len() != gotten.len() {
        return Err(format!(
            "{} values instead of {}",
            gotten.len(),
            wanted.len()
        ));
    }
    let near = |want: &Value, got: &Value| match (want.as_f64(), got.as_f64()) {
        _ if want.is_i64() && got.is_i64() => want == got,
        (Some(want), Some(got)) => (want - got).abs() <= TOLERANCE * want.abs().max(1.0),
        _ => want == got,
    };
    match wanted
        .iter()
        .zip(&gotten)
        .position(|(want, got)| !near(want, got))
    {
        Some(at) => Err(format!(
            "value {at} is {} instead of {}",
            gotten[at], wanted[at]
        )),
        None => Ok(()),
    }
}

fn unpack(
    answer: &p::ModelInferResponse,
    at: usize,
    output: &p::model_infer_response::InferOutputTensor,
) -> Value {
    let values = match answer.raw_output_contents.get(at) {
        Some(raw) => unpack_raw(&output.datatype, raw),
        None => output
            .contents
            .as_ref()
            .map_or(Value::Null, |typed| unpack_typed(&output.datatype, typed)),
    };
    json!({ "name": output.name, "datatype": output.datatype, "shape": output.shape, "data": values })
}

fn unpack_raw(datatype: &str, raw: &[u8]) -> Value {
    fn each<const N: usize>(raw: &[u8], value: impl Fn([u8; N]) -> Value) -> Value {
        raw.as_chunks::<N>()
            .0
            .iter()
            .map(|chunk| value(*chunk))
            .collect()
    }
    match datatype {
        "FP32" => each(raw, |b| json!(f32::from_le_bytes(b))),
        "FP64" => each(raw, |b| json!(f64::from_le_bytes(b))),
        "INT64" => each(raw, |b| json!(i64::from_le_bytes(b))),
        "INT32" => each(raw, |b| json!(i32::from_le_bytes(b))),
        "UINT8" => each(raw, |[b]| json!(b)),
        "BOOL" => each(raw, |[b]| json!(b != 0)),
        "BYTES" => unpack_strings(raw),
        _ => Value::Null,
    }
}

fn unpack_strings(mut raw: &[u8]) -> Value {
    let mut texts = Vec::new();
    while let Some((length, rest)) = raw.split_first_chunk::<4>() {
        let Some((text, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else {
            break;
        };
        texts.push(json!(String::from_utf8_lossy(text)));
        raw = rest;
    }
    texts.into()
}

fn unpack_typed(datatype: &str, typed: &p::InferTensorContents) -> Value {
    match datatype {
        "FP32" => json!(typed.fp32_contents),
        "FP64" => json!(typed.fp64_contents),
        "INT64" => json!(typed.int64_contents),
        "INT32" => json!(typed.int_contents),
        "UINT8" => json!(typed.uint_contents),
        "BOOL" => json!(typed.bool_contents),
        "BYTES" => typed
            .bytes_contents
            .iter()
            .map(|b| json!(String::from_utf8_lossy(b)))
            .collect(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] =
        br#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1.0,100.0]}]}"#;

    fn grpc(name: &str, values: [f32; 2]) -> Result<(), String> {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let output = p::model_infer_response::InferOutputTensor {
            name: name.to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![2],
            ..Default::default()
        };
        Golden::parse(GOLDEN)
            .unwrap()
            .check_grpc(&p::ModelInferResponse {
                outputs: vec![output],
                raw_output_contents: vec![raw.into()],
                ..Default::default()
            })
    }

    #[test]
    fn wrong_answer_is_caught() {
        assert_eq!(grpc("y", [1.0, 100.0]), Ok(()));
        assert_eq!(grpc("y", [1.000_005, 100.0005]), Ok(()));
        assert!(grpc("y", [1.0001, 100.0]).unwrap_err().contains("value 0"));
        assert!(grpc("y", [1.0, 100.01]).unwrap_err().contains("value 1"));
        assert!(grpc("y", [1.0, f32::NAN]).is_err());
        assert!(grpc("z", [1.0, 100.0]).unwrap_err().contains("no output"));
    }

    #[test]
    fn wrong_json_is_caught() {
        let golden = Golden::parse(GOLDEN).unwrap();
        assert_eq!(golden.check_json(GOLDEN), Ok(()));
        for body in [
            r#"{"outputs":[]}"#,
            "{",
            r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1]}]}"#,
        ] {
            assert!(golden.check_json(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn wrong_binary_is_caught() {
        let golden = Golden::parse(GOLDEN).unwrap();
        let body = |values: [f32; 2], size: usize| {
            let head = json!({"outputs": [{"name": "y", "datatype": "FP32", "shape": [2],
                                           "parameters": {"binary_data_size": size}}]});
            let mut body = head.to_string().into_bytes();
            body.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            body
        };
        assert_eq!(golden.check_binary(&body([1.0, 100.0], 8)), Ok(()));
        assert!(golden.check_binary(&body([1.0, 101.0], 8)).is_err());
        assert!(golden.check_binary(&body([1.0, 100.0], 4)).is_err());
        assert!(golden.check_binary(&body([1.0, 100.0], 9)).is_err());
        assert!(golden.check_binary(b"").is_err());
    }

    #[test]
    fn golden_without_outputs_is_refused() {
        assert!(Golden::parse(b"{}").is_err());
    }
}
