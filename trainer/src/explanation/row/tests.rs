//! Tests of `row`.

use super::*;
use ortus::explain::derivation::{CalendarPart, Derivation, DerivedValue};
use ortus::explain::linear::{LinearPart, LinearTerm};
use ortus::explain::model::{ExplainedModelParts, ExplainedParts, ScoreScale};

fn model() -> ExplainedModel {
    let feature = |name: &str, input: &str| ExplainedFeature {
        name: name.to_owned(),
        input: input.to_owned(),
        column: 0,
        categories: None,
        derived: None,
    };
    let number = LinearPart {
        term: LinearTerm::Number {
            mean: 0.0,
            spread: 1.0,
            clip: 1.0,
            weights: vec![1.0],
            missing: vec![0.0],
        },
        means: vec![0.0],
    };
    let word = LinearPart {
        term: LinearTerm::Category(vec![0.0; 256]),
        means: vec![0.0],
    };
    ExplainedModel::new(ExplainedModelParts {
        features: vec![
            feature("a", "a"),
            ExplainedFeature {
                categories: Some(vec!["red".to_owned(), "blue".to_owned()]),
                ..feature("colour", "colour")
            },
            ExplainedFeature {
                derived: Some(Derivation {
                    source: "at".to_owned(),
                    how: DerivedValue::Part {
                        part: CalendarPart::Hour,
                        per_second: 1.0,
                        zone: 0.0,
                    },
                }),
                ..feature("at_hour", "at")
            },
        ],
        classes: Vec::new(),
        scale: ScoreScale::Value,
        start: vec![0.0],
        parts: ExplainedParts::Linear(vec![number.clone(), word, number]),
    })
    .expect("a model")
}

#[test]
fn a_row_is_read_as_clients_send_it() {
    let model = model();
    let read = |text: &str| read(&model, text).expect("a row");
    let row = read(r#"{"a": 1.5, "colour": "blue", "at": 7201}"#);
    assert_eq!(row, [1.5, 1.0, 2.0]);
    let shown = |at: usize, value| shown(&model.features()[at], value);
    assert_eq!(shown(0, row[0]), Value::from(1.5));
    assert_eq!(shown(1, row[1]), Value::from("blue"));

    let row = read(r#"{"a": null, "colour": null, "at": null}"#);
    assert!(row[0].is_nan() && row[2].is_nan());
    assert_eq!(shown(0, row[0]), Value::Null);
    assert_eq!(shown(1, row[1]), Value::Null);
    let row = read(r#"{"a": true, "colour": "green", "at": 0}"#);
    assert_eq!(row, [1.0, 254.0, 0.0]);
    assert_eq!(shown(1, row[1]), Value::from("another category"));
}

#[test]
fn a_row_with_other_inputs_or_types_is_refused() {
    let check = |text: &str, why: &str| {
        let error = read(&model(), text).expect_err(why);
        assert!(error.message.contains(why), "{error} has no '{why}'");
    };
    check("[1]", r#"must be a JSON object such as {"a": null}"#);
    check("{", "must be a JSON object");
    check(
        r#"{"a": 1, "at_hour": 3}"#,
        "has 'at_hour', which is no input; the inputs are a, at, colour",
    );
    check(r#"{"a": 1, "at": 3}"#, "lacks 'colour'; write null");
    check(
        r#"{"a": "1", "at": 3, "colour": ""}"#,
        r#"'a' in the row must be a number or null, got "1""#,
    );
    check(
        r#"{"a": 1, "at": "today", "colour": ""}"#,
        "'at' in the row must be a number",
    );
    check(
        r#"{"a": 1, "at": 3, "colour": 2}"#,
        "'colour' in the row must be a text or null, got 2",
    );
}
