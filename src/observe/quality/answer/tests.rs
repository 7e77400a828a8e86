//! Tests of `answer`.

use super::*;
use bytes::Bytes;

fn three() -> Task {
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    Task::Classification(Classification {
        scores: 0,
        is_single: false,
        label: None,
        classes,
    })
}

#[test]
fn predictions_are_the_scores_and_the_predicted_class() {
    let scores = Tensor::from_f32(
        vec![3, 3],
        &[0.2, 0.5, 0.3, 0.4, 0.4, 0.2, f32::NAN, 0.5, 0.5],
    )
    .expect("fits");

    let found = answers(&three(), &[scores]);
    assert_eq!(found[0], Some(RowAnswer::Class(1, vec![0.2, 0.5, 0.3])));
    assert_eq!(
        found[1],
        Some(RowAnswer::Class(0, vec![0.4, 0.4, 0.2])),
        "the first of equals"
    );

    assert_eq!(found[2], None);
}

#[test]
fn the_class_output_of_the_model_counts_and_one_score_stands_for_two_classes() {
    let classes = ["0", "1"].map(str::to_owned).to_vec();
    let task = Task::Classification(Classification {
        scores: 1,
        is_single: true,
        label: Some(0),
        classes,
    });

    let label = Tensor::fixed(
        crate::core::tensor::DType::I64,
        vec![2],
        Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    );

    let scores = Tensor::from_f32(vec![2, 1], &[0.25, 0.75]).expect("fits");
    let found = answers(&task, &[label.expect("fits"), scores]);
    assert_eq!(
        found,
        [
            Some(RowAnswer::Class(1, vec![0.75, 0.25])),
            Some(RowAnswer::Class(0, vec![0.25, 0.75]))
        ]
    );

    let values = Tensor::from_f32(vec![2], &[1.5, f32::INFINITY]).expect("fits");
    assert_eq!(
        answers(&Task::Regression(0), &[values]),
        [Some(RowAnswer::Value(1.5)), None]
    );
}

#[test]
fn labels_of_the_wrong_kind_are_refused_with_what_is_accepted() {
    let label = |json: &str| Label::of_json(&serde_json::from_str(json).expect("JSON"));
    assert_eq!(
        label("2").and_then(|l| l.truth(&Task::Regression(0))).ok(),
        Some(Truth::Value(2.0))
    );
    assert!(
        label("\"x\"")
            .expect("a label")
            .truth(&Task::Regression(0))
            .is_err()
    );

    assert_eq!(
        label("\"b\"").expect("a label").truth(&three()).ok(),
        Some(Truth::Class(1))
    );
    let refused = label("\"d\"")
        .expect("a label")
        .truth(&three())
        .expect_err("no class");
    assert!(refused.message.contains("a, b, c"), "{refused}");

    for bad in ["null", "[]", "{}", "[1]"] {
        assert!(label(bad).is_err(), "{bad}");
    }
    assert!(label(&format!("\"{}\"", "x".repeat(257))).is_err());
}
