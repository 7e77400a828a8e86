//! Examples in messages and in JSON.

use super::*;
use crate::api::tables::TableLimits;
use crate::core::model::Signature;
use crate::core::model::columns::InputColumns;
use crate::core::tensor::DType;
use crate::proto::tensorflow::serving::{ExampleList, ExampleListWithContext};
use crate::proto::tensorflow::{BytesList, Features, FloatList, Int64List};
use crate::testing::{table_schema, tensor_spec};

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
        assert_eq!(
            raw(decode(Some(input), table_schema(&signature, names))),
            Ok(expected())
        );
    }
    for body in [
        r#"{"examples":[{"X":[1,2],"n":7,"word":"hi","more":[]}]}"#,
        r#"{"examples":[{"X":[1,2],"n":7,"word":{"b64":"aGk="}}]}"#,
        r#"{"examples":[{"X":[1,2],"n":7,"word":[{"b64":"aGk="}]}]}"#,
        r#"{"examples":[{"X":[1,2],"n":7,"word":"hi","more":{"b64":1},"more":[[]]}]}"#,
        r#"{"signature_name":"s","context":{"n":[7],"word":"no"},"examples":[{"X":[1,2],"word":"hi"}]}"#,
    ] {
        let (_, read) =
            decode_json(body.as_bytes(), table_schema(&signature, &nameless)).expect(body);
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
        raw(decode(Some(input), table_schema(&signature, &columns))),
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
            "feature 'X' has 1 value; the model takes 2",
        ),
        (
            r#"{"examples":[{"X":[1,2],"n":[7,8],"word":"hi"}]}"#,
            "feature 'n' has 2 values; the model takes 1",
        ),
        (
            r#"{"examples":[{"X":[1,2],"n":7,"word":"hi","n":7}]}"#,
            "row 0 has the column 'n' twice",
        ),
        (
            r#"{"examples":[{"X":[1,2],"n":{"b64":"Nw=="},"word":"hi"}]}"#,
            "row 0, column 'n': a string in base64 is not a valid INT64",
        ),
        (
            r#"{"context":{"n":[7,8]},"examples":[{}]}"#,
            "context: feature 'n' has 2 values; the model takes 1",
        ),
        (
            r#"{"context":{"n":"x"},"examples":[{}]}"#,
            "context, column 'n': \"x\" is not a valid INT64",
        ),
        (r#"{"examples":[]}"#, "no rows"),
        (r#"{"instances":[]}"#, "examples is missing"),
        (r#"{"examples":[[1]]}"#, "must be a JSON object"),
    ] {
        let read = decode_json(body.as_bytes(), table_schema(&signature, &columns));
        let error = read.expect_err(body).message;
        assert!(error.contains(needle), "{body}: {error}");
    }
    let none = decode(None, table_schema(&signature, &columns)).expect_err("no input");
    assert!(none.message.contains("input is missing"), "{none}");
}

/// Decodes `count` empty examples with a context of 28 bytes, over both protocols.
fn of_context(count: usize, limits: TableLimits) -> [Result<NamedTensors>; 2] {
    let signature = signature();
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let schema = TableSchema {
        limits,
        ..table_schema(&signature, &columns)
    };
    let context = vec![
        ("X", floats(&[1.0, 2.0])),
        ("n", integers(&[7])),
        ("word", word("hi")),
        ("more", floats(&[1.0; 100])),
    ];
    let list = ExampleListWithContext {
        examples: vec![Example::default(); count],
        context: Some(example(context)),
    };
    let input = Input {
        kind: Some(input::Kind::ExampleListWithContext(list)),
    };
    let examples = vec!["{}"; count].join(",");
    let more = vec!["0"; 100].join(",");
    let body = format!(
        r#"{{"context":{{"X":[1,2],"n":7,"word":"hi","more":[{more}]}},"examples":[{examples}]}}"#
    );
    [
        decode(Some(input), schema),
        decode_json(body.as_bytes(), schema).map(|(_, read)| read),
    ]
}

#[test]
fn copies_of_a_context_are_limited_before_they_are_made() {
    let none = TableLimits {
        rows_max: None,
        bytes_max: usize::MAX,
        shared_bytes_max: usize::MAX,
    };
    // A copy takes 8 bytes of X, 8 of n, and 4 + 2 + 8 of the word.
    for (limits, needle) in [
        (
            TableLimits {
                shared_bytes_max: 90,
                ..none
            },
            "context has 30 bytes of tensors for each of 4 examples; all copies may have 90",
        ),
        (
            TableLimits {
                rows_max: Some(3),
                ..none
            },
            "the request has 4 rows; at most 3 are served",
        ),
    ] {
        for read in of_context(3, limits) {
            let read = raw(read).expect("at the limit");
            let copies: Vec<_> = expected().iter().map(|raw| raw.repeat(3)).collect();
            assert_eq!(read, copies);
        }
        for read in of_context(4, limits) {
            let error = read.expect_err(needle);
            assert!(error.message.contains(needle), "{error}");
        }
    }
}

#[test]
fn features_that_the_model_does_not_take_cost_nothing_but_their_text() {
    let signature = signature();
    let columns = InputColumns::of(&signature, &[]).expect("columns");
    let names: Vec<String> = (0..60_000).map(|i| format!("\"f{i}\":0")).collect();
    let names = names.join(",");
    let body = format!(
        r#"{{"context":{{"n":7,{names}}},"examples":[{{"X":[1,2],"word":"hi",{names}}}]}}"#
    );
    let started = std::time::Instant::now();
    let read = decode_json(body.as_bytes(), table_schema(&signature, &columns));
    assert_eq!(raw(read.map(|(_, read)| read)), Ok(expected()));
    // Comparing each name with each other one takes a hundred times as long.
    let took = started.elapsed();
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}

#[test]
fn lists_of_numbers_have_the_same_meaning_when_they_are_read_at_once() {
    for (dtype, lists) in [
        (
            DType::F32,
            &[
                "[1,2]",
                "[1.5,-0.0]",
                "[null,NaN]",
                "[1e400,1]",
                "[Infinity,1]",
                "[true,1]",
                "[]",
                "[1]",
                "[1,2,3]",
                "[[1],[2]]",
                "[\"1\",2]",
                "1",
                "{\"b64\":\"AA==\"}",
            ][..],
        ),
        (
            DType::I64,
            &["[1,2]", "[1.0,2]", "[1.5,2]", "[null,2]", "[true,2]"],
        ),
    ] {
        let signature = Signature {
            inputs: vec![tensor_spec("x", dtype, &[-1, 2])],
            ..Signature::default()
        };
        let columns = InputColumns::of(&signature, &["a".to_owned(), "b".to_owned()]);
        let columns = columns.expect("two");
        let schema = table_schema(&signature, &columns);
        for list in lists {
            for example in [
                format!("{{\"x\":{list}}}"),
                format!("{{\"other\":[1,2,3],\"x\":{list}}}"),
                format!("{{\"x\":{list},\"x\":{list}}}"),
                format!("{{\"x\":{list},\"a\":1}}"),
                "{\"a\":1,\"b\":2}".to_owned(),
                "{}".to_owned(),
            ] {
                let good = "{\"x\":[7,8]}";
                let at_once = format!("{{\"examples\":[{good},{example}]}}");
                // A context has its cells read one by one.
                let by_cell = format!("{{\"context\":{{}},\"examples\":[{good},{example}]}}");
                let read = |body: &str| {
                    let read = decode_json(body.as_bytes(), schema);
                    raw(read.map(|(_, inputs)| inputs))
                };
                assert_eq!(read(&at_once), read(&by_cell), "{dtype}: {example}");
            }
        }
    }
}
