//! The description of models, whatever their tensors are.

use super::*;
use crate::testing::tensor_spec;

fn described(signature: &Signature) -> Value {
    describe(std::iter::once(DescribedModel {
        name: "m",
        signature,
    }))
}

#[test]
fn a_model_has_a_schema_and_an_example_of_its_own() {
    let signature = Signature {
        inputs: vec![
            tensor_spec("x", DType::F32, &[-1, 2]),
            tensor_spec("word", DType::String, &[-1]),
        ],
        outputs: vec![tensor_spec("y", DType::I64, &[-1])],
        ..Signature::default()
    };
    let document = described(&signature);
    let body = &document["paths"]["/v2/models/m/infer"]["post"]["requestBody"]["content"];
    let schema = &body["application/json"]["schema"];
    assert_eq!(schema["properties"]["inputs"]["minItems"], 2);
    let x = &schema["properties"]["inputs"]["items"]["anyOf"][0]["properties"];
    assert_eq!(x["datatype"]["const"], "FP32");
    assert_eq!(x["shape"]["prefixItems"][1]["const"], 2);
    assert_eq!(
        schema["examples"][0]["inputs"][0],
        json!({"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0, 0]})
    );
    let predict = &document["paths"]["/v1/models/m:predict"]["post"]["requestBody"]["content"];
    assert_eq!(
        predict["application/json"]["schema"]["examples"][0],
        json!({"instances": [{"x": [0, 0], "word": "word"}]})
    );
}

#[test]
fn models_without_ranks_or_inputs_are_described_too() {
    let open = Signature {
        inputs: vec![TensorSpec {
            name: "x".to_owned(),
            dtype: DType::F64,
            shape: None,
        }],
        ..Signature::default()
    };
    let document = described(&open);
    assert!(document["paths"]["/v2/models/m/infer"].is_object());
    let document = described(&Signature::default());
    let body = &document["paths"]["/v2/models/m/infer"]["post"]["requestBody"]["content"];
    let inputs = &body["application/json"]["schema"]["properties"]["inputs"];
    assert_eq!(
        (&inputs["items"], &inputs["maxItems"]),
        (&json!(false), &json!(0))
    );
}
