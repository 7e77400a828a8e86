//! A sample file, the protocol's JSON, as the gRPC message with raw contents.

use crate::Result;
use bytes::Bytes;
use ortus::proto::inference as p;
use p::infer_parameter::ParameterChoice;
use p::model_infer_request::InferInputTensor;
use serde_json::Value;

/// Builds the request for `model` from the JSON of a sample.
pub(crate) fn request(model: &str, sample: &Value) -> Result<p::ModelInferRequest> {
    let mut request = p::ModelInferRequest {
        model_name: model.to_owned(),
        ..Default::default()
    };
    if let Some(parameters) = sample["parameters"].as_object() {
        for (name, value) in parameters {
            let parameter = parameter(value)
                .ok_or(format!("parameter {name} has no value that gRPC can send"))?;
            request.parameters.insert(name.clone(), parameter);
        }
    }
    for input in sample["inputs"]
        .as_array()
        .ok_or("the sample has no inputs")?
    {
        let word = |key: &str| {
            input[key]
                .as_str()
                .map(str::to_owned)
                .ok_or(format!("an input has no {key}"))
        };
        let shape = input["shape"].as_array().ok_or("an input has no shape")?;
        let (name, datatype) = (word("name")?, word("datatype")?);
        request
            .raw_input_contents
            .push(pack(&datatype, &input["data"])?);
        request.inputs.push(InferInputTensor {
            name,
            datatype,
            shape: shape.iter().filter_map(Value::as_i64).collect(),
            ..Default::default()
        });
    }
    Ok(request)
}

/// A parameter of the request.
fn parameter(value: &Value) -> Option<p::InferParameter> {
    let choice = match value {
        Value::Bool(value) => ParameterChoice::BoolParam(*value),
        Value::Number(value) if value.is_i64() => ParameterChoice::Int64Param(value.as_i64()?),
        Value::Number(value) => ParameterChoice::DoubleParam(value.as_f64()?),
        Value::String(value) => ParameterChoice::StringParam(value.clone()),
        _ => return None,
    };
    Some(p::InferParameter {
        parameter_choice: Some(choice),
    })
}

/// The leaves of a JSON value, nested or flat, in order.
pub(crate) fn flatten<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|v| flatten(v, into)),
        leaf => into.push(leaf),
    }
}

fn pack(datatype: &str, values: &Value) -> Result<Bytes> {
    let mut leaves = Vec::new();
    flatten(values, &mut leaves);
    let mut raw = Vec::new();
    for leaf in leaves {
        let float = || leaf.as_f64().ok_or("not a number");
        let integer = || leaf.as_i64().ok_or("not an integer");
        match datatype {
            "FP32" => raw.extend((float()? as f32).to_le_bytes()),
            "FP64" => raw.extend(float()?.to_le_bytes()),
            "INT64" => raw.extend(integer()?.to_le_bytes()),
            "INT32" => raw.extend(i32::try_from(integer()?)?.to_le_bytes()),
            "UINT8" => raw.push(u8::try_from(integer()?)?),
            "BOOL" => raw.push(u8::from(leaf.as_bool().ok_or("not a boolean")?)),
            "BYTES" => {
                let text = leaf.as_str().ok_or("not a string")?;
                raw.extend(u32::try_from(text.len())?.to_le_bytes());
                raw.extend(text.as_bytes());
            }
            other => return Err(format!("datatype {other} is not supported in a sample").into()),
        }
    }
    Ok(raw.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_numbers_become_little_endian_bytes() {
        let text =
            r#"{"inputs":[{"name":"x","shape":[2,1],"datatype":"FP32","data":[[1.0],[2]]}]}"#;
        let request = request("m", &serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(
            request.raw_input_contents[0][..],
            [0, 0, 128, 63, 0, 0, 0, 64]
        );
    }

    #[test]
    fn parameters_of_the_sample_are_sent() {
        let text = r#"{"parameters":{"priority":3,"timeout":5000,"own":"x"},"inputs":[]}"#;
        let sent = request("m", &serde_json::from_str(text).unwrap()).unwrap();
        let choice = |name: &str| sent.parameters[name].parameter_choice.clone().unwrap();
        assert_eq!(choice("priority"), ParameterChoice::Int64Param(3));
        assert_eq!(choice("timeout"), ParameterChoice::Int64Param(5_000));
        assert_eq!(choice("own"), ParameterChoice::StringParam("x".to_owned()));
        let nested = r#"{"parameters":{"a":[1]},"inputs":[]}"#;
        assert!(request("m", &serde_json::from_str(nested).unwrap()).is_err());
    }

    #[test]
    fn unknown_datatype_is_refused() {
        let text = r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP8","data":[1]}]}"#;
        assert!(request("m", &serde_json::from_str(text).unwrap()).is_err());
    }
}
