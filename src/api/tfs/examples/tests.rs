//! Examples in messages and in JSON.

use super::*;
use crate::core::tensor::DType;
use crate::proto::tensorflow::serving::{ExampleList, ExampleListWithContext};
use crate::proto::tensorflow::{BytesList, Features, FloatList, Int64List};
use crate::testing::tensor_spec;

fn signature() -> Signature {
    Signature {
        inputs: vec![
            tensor_spec("X", DType::F32, &[-1, 2]),
            tensor_spec("n", DType::I64, &[-1, 1]),
            tensor_spec("word", DType::String, &[-1]),
        ],
        ..Signature::default()
    }
}

fn example(features: Vec<(&str, Kind)>) -> Example {
    let feature = features.into_iter().map(|(name, kind)| {
        let feature = Feature { kind: Some(kind) };
        (name.to_owned(), feature)
    });
    Example {
        features: Some(Features {
            feature: feature.collect(),
        }),
    }
}

fn floats(values: &[f32]) -> Kind {
    Kind::FloatList(FloatList {
        value: values.to_vec(),
    })
}

fn integers(values: &[i64]) -> Kind {
    Kind::Int64List(Int64List {
        value: values.to_vec(),
    })
}

fn word(text: &str) -> Kind {
    Kind::BytesList(BytesList {
        value: vec![text.to_owned().into()],
    })
}

fn raw(read: Result<NamedTensors>) -> std::result::Result<Vec<Vec<u8>>, String> {
    let tensors = read.map_err(|e| e.message)?;
    Ok(tensors
        .iter()
        .map(|(_, tensor)| tensor.to_raw().to_vec())
        .collect())
}

fn expected() -> Vec<Vec<u8>> {
    let floats = [1.0_f32, 2.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    vec![
        floats,
        7_i64.to_le_bytes().to_vec(),
        b"\x02\0\0\0hi".to_vec(),
    ]
}

#[test]
fn features_are_whole_inputs_or_columns_and_others_are_ignored() {
    let signature = signature();
    let nameless = InputColumns::of(&signature, &[]).expect("columns");
    let names = ["a", "b", "n", "word"].map(str::to_owned);
    let named = InputColumns::of(&signature, &names).expect("columns");
    let rest = || {
        vec![
            ("n", integers(&[7])),
            ("word", word("hi")),
            ("more", floats(&[])),
        ]
    };
    let whole = [rest(), vec![("X", floats(&[1.0, 2.0]))]]
        .into_iter()
        .flatten();
    let columns = [rest(), vec![("a", integers(&[1])), ("b", floats(&[2.0]))]]
        .into_iter()
        .flatten();
    for (example, names) in [
        (example(whole.collect()), &nameless),
        (example(columns.collect()), &named),
    ] {
        let examples = vec![example];
        let list = input::Kind::ExampleList(ExampleList { examples });
        let input = Input { kind: Some(list) };
        assert_eq!(raw(decode(Some(input), &signature, names)), Ok(expected()));
    }
    for body in [
        r#"{"examples":[{"X":[1,2],"n":7,"word":"hi","more":[]}]}"#,
        r#"{"signature_name":"s","context":{"n":[7],"word":"no"},"examples":[{"X":[1,2],"word":"hi"}]}"#,
    ] {
        let (_, read) = decode_json(body.as_bytes(), &signature, &nameless).expect(body);
        assert_eq!(raw(Ok(read)), Ok(expected()), "{body}");
    }
}

#[test]
fn a_context_gives_what_an_example_does_not() {
    let signature = signature();
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let list = ExampleListWithContext {
        examples: vec![example(vec![
            ("X", floats(&[1.0, 2.0])),
            ("word", word("hi")),
        ])],
        context: Some(example(vec![("n", integers(&[7])), ("word", word("no"))])),
    };
    let input = Input {
        kind: Some(input::Kind::ExampleListWithContext(list)),
    };
    assert_eq!(
        raw(decode(Some(input), &signature, &columns)),
        Ok(expected())
    );
}

#[test]
fn missing_features_and_wrong_numbers_of_values_are_refused() {
    let signature = signature();
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    for (body, needle) in [
        (
            r#"{"examples":[{"n":7,"word":"hi"}]}"#,
            "row 0 lacks the columns 0, 1",
        ),
        (
            r#"{"examples":[{"X":[1],"n":7,"word":"hi"}]}"#,
            "feature 'X' has 1 values; the model takes 2",
        ),
        (
            r#"{"examples":[{"X":[1,2],"n":[7,8],"word":"hi"}]}"#,
            "feature 'n' has 2 values; the model takes 1",
        ),
        (r#"{"examples":[]}"#, "no rows"),
        (r#"{"instances":[]}"#, "examples is missing"),
        (r#"{"examples":[[1]]}"#, "must be a JSON object"),
    ] {
        let read = decode_json(body.as_bytes(), &signature, &columns);
        let error = read.expect_err(body).message;
        assert!(error.contains(needle), "{body}: {error}");
    }
    let none = decode(None, &signature, &columns).expect_err("no input");
    assert!(none.message.contains("input is missing"), "{none}");
}
