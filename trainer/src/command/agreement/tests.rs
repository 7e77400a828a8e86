//! Tests of `agreement`.

use super::*;

#[test]
fn the_predictions_of_a_program_must_be_those_of_its_model() {
    let values = ProgramPredictions {
        values: vec![1.0, 2.0],
        ..ProgramPredictions::default()
    };
    let answers = |a: f64, b: f64| vec![Some(RowAnswer::Value(a)), Some(RowAnswer::Value(b))];
    assert!(compare(&values, &answers(1.0, 2.000_01), &[0, 1], 1e-4).is_ok());
    assert!(
        compare(&values, &answers(1.0, 2.1), &[0, 1], 1e-4)
            .is_err_and(|e| e.message.contains("row 1"))
    );
    assert!(compare(&values, &answers(f64::NAN, 2.0), &[0, 1], 1e-4).is_err());
    assert!(compare(&values, &[None, None], &[0, 1], 1e-4).is_err());
    let classes = ProgramPredictions {
        classes: vec![1],
        scores: vec![0.4, 0.6],
        ..ProgramPredictions::default()
    };

    let class = |class: u32, scores: &[f32]| vec![Some(RowAnswer::Class(class, scores.to_vec()))];
    assert!(compare(&classes, &class(1, &[0.4, 0.6]), &[0, 1], 1e-4).is_ok());
    assert!(compare(&classes, &class(1, &[0.45, 0.55]), &[0, 1], 1e-4).is_err());
    assert!(
        compare(&classes, &class(0, &[0.4, 0.6]), &[0, 1], 1e-4)
            .is_err_and(|e| e.message.contains("class 0"))
    );
    let tied = ProgramPredictions {
        classes: vec![1],
        scores: vec![0.5, 0.5],
        ..ProgramPredictions::default()
    };

    assert!(compare(&tied, &class(0, &[0.5, 0.5]), &[0, 1], 1e-4).is_ok());
    let turned = compare(&classes, &class(0, &[0.6, 0.4]), &[1, 0], 1e-4);
    assert!(turned.is_ok(), "the model has its classes in another order");
    assert!(compare(&values, &class(0, &[1.0]), &[0, 1], 1e-4).is_err());
}
