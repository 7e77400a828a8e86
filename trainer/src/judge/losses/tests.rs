//! Tests of `losses`.

use super::*;

fn judged<'r>(
    target: &'r RowTarget,
    weights: Option<&'r [f32]>,
    queries: Option<&'r [u32]>,
    frame: &'r Frame,
) -> JudgedRows<'r> {
    JudgedRows {
        frame,
        target,
        weights,
        queries,
        objective: None,
    }
}

/// Two queries of two and four rows, and one without a grade above 0.
const QUERIES: [u32; 8] = [5, 9, 5, 9, 9, 9, 7, 7];
const GRADES: [f64; 8] = [1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0];

#[test]
fn a_ranking_is_the_mean_over_queries() {
    let (target, frame) = (RowTarget::Values(Vec::new()), Frame::default());
    // The first query is right; in the second the best row is third.
    let scores = [0.9, 0.8, 0.1, 0.6, 0.7, 0.1, 0.0, 1.0];
    let pairs: Vec<(f64, f64)> = scores.into_iter().zip(GRADES).collect();
    let rows = judged(&target, None, Some(&QUERIES), &frame);
    let found = ranking_losses(&rows, &pairs, 10).expect("has queries");
    assert!((found.mean() - 0.25).abs() < 1e-12, "{}", found.mean());
    let weights = found.weights.expect("of queries");
    assert_eq!(weights, [0.5, 0.25, 0.5, 0.25, 0.25, 0.25, 0.0, 0.0]);

    let heavy = [3.0_f32, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let rows = judged(&target, Some(&heavy), Some(&QUERIES), &frame);
    let found = ranking_losses(&rows, &pairs, 10).expect("has queries");
    assert!((found.mean() - 0.125).abs() < 1e-12, "{}", found.mean());

    let rows = judged(&target, None, None, &frame);
    let why = ranking_losses(&rows, &pairs, 10).err().expect("no queries");
    assert!(
        why.message.contains("set 'group' in [schema]"),
        "{}",
        why.message
    );
}

#[test]
fn values_of_an_objective_are_measured_with_weights() {
    let (target, frame) = (RowTarget::Values(Vec::new()), Frame::default());
    let weights = [1.0_f32, 3.0];
    let rows = judged(&target, Some(&weights), None, &frame);
    let answered = AnsweredRows {
        rows: &rows,
        answers: &[Some(RowAnswer::Value(2.0)), Some(RowAnswer::Value(5.0))],
        truths: &[Truth::Value(4.0), Truth::Value(4.0)],
    };
    let found = answered
        .measured(LossMeasure::Pinball(0.9))
        .expect("values");
    // 0.9 of 2 once, and 0.1 of 1 three times.
    assert!((found["pinball_loss"] - 2.1 / 4.0).abs() < 1e-12);
    assert_eq!(found["coverage"], 0.75);
    assert!(
        answered
            .measured(LossMeasure::AbsoluteError)
            .expect("values")
            .is_empty()
    );
}
