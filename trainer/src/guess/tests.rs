//! Tests of `guess`.

use super::*;
use ortus::observe::quality::answer::RowAnswer;

fn classes(of: &[u32]) -> RowTarget {
    RowTarget::Classes {
        of: of.to_vec(),
        names: vec!["no".to_owned(), "yes".to_owned()],
    }
}

fn predicted(rows: &[(f32, usize)]) -> Evaluation {
    let answer = |(yes, _): &(f32, usize)| {
        Some(RowAnswer::Class(
            u32::from(*yes > 0.5),
            vec![1.0 - yes, *yes],
        ))
    };
    Evaluation {
        answers: rows.iter().map(answer).collect(),
        truths: rows.iter().map(|(_, truth)| Truth::Class(*truth)).collect(),
        ..Evaluation::default()
    }
}

/// Rows whose weights and queries do not matter.
fn nothing() -> &'static JudgedRows<'static> {
    Box::leak(Box::new(JudgedRows {
        frame: Box::leak(Box::default()),
        target: Box::leak(Box::new(RowTarget::Values(Vec::new()))),
        weights: None,
        queries: None,
        objective: None,
    }))
}

fn guessed(known: &RowTarget, places: &[usize], judged: &GuessedModel<'_>) -> Guess {
    Guess::of(&KnownTargets::of(known, None), places, judged).expect("a guess")
}

fn beside(evaluation: &Evaluation, measure: LossMeasure, is_balanced: bool) -> GuessedModel<'_> {
    GuessedModel {
        evaluation,
        rows: nothing(),
        measure,
        is_balanced,
    }
}

#[test]
fn the_class_shares_are_those_of_the_rows_learned_from() {
    // Of 8 rows, 2 are of the second class; with one row more of each, 3 of 10.
    let known = classes(&[0, 0, 0, 1, 0, 1, 0, 0]);
    let evaluation = predicted(&[(0.3, 0), (0.3, 1), (0.9, 1)]);
    let judged = beside(&evaluation, LossMeasure::Error, false);
    let guess = guessed(&known, &[0, 1], &judged);

    assert_eq!(
        guess.measure,
        LossMeasure::LogLoss,
        "whatever the gates measure"
    );
    assert_eq!(guess.rarest, Some(0.25));
    let expected = -(0.7_f64.ln() + 2.0 * 0.3_f64.ln()) / 3.0;
    assert!((guess.loss - expected).abs() < 1e-12, "{}", guess.loss);
    // The first two rows are predicted as guessed; the third is better by ln 3.
    assert!(guess.worse[0].abs() < 1e-6 && guess.worse[1].abs() < 1e-6);
    assert!(
        (guess.worse[2] + 3.0_f64.ln()).abs() < 1e-6,
        "{:?}",
        guess.worse
    );
}

#[test]
fn the_classes_of_a_model_may_be_in_another_order() {
    let known = classes(&[0, 0, 0, 1]);
    let evaluation = predicted(&[(0.5, 1)]);
    let judged = beside(&evaluation, LossMeasure::LogLoss, false);
    let guess = guessed(&known, &[1, 0], &judged);
    // The model's second class is the first of the data, with 4 of 6.
    assert!((guess.loss + (4.0_f64 / 6.0).ln()).abs() < 1e-12);
}

#[test]
fn a_balanced_model_is_compared_with_guessing_every_class_alike() {
    let known = classes(&[vec![0; 90], vec![1; 10]].concat());
    let evaluation = predicted(&[(0.5, 0), (0.5, 1), (0.8, 1)]);
    let judged = beside(&evaluation, LossMeasure::LogLoss, true);
    let guess = guessed(&known, &[0, 1], &judged);
    assert!(guess.worse[0].abs() < 1e-6 && guess.worse[1].abs() < 1e-6);
    // A row of the second class weighs 100 / (2 × 10).
    let expected = -5.0 * (0.8_f64 / 0.5).ln();
    assert!(
        (guess.worse[2] - expected).abs() < 1e-6,
        "{:?}",
        guess.worse
    );
}

#[test]
fn values_are_guessed_by_what_loses_least() {
    let known = RowTarget::Values(vec![1.0, 2.0, 9.0]);
    let evaluation = Evaluation {
        losses: vec![0.0, 1e30],
        answers: vec![Some(RowAnswer::Value(5.0)), None],
        truths: vec![Truth::Value(5.0), Truth::Value(2.0)],
        ..Evaluation::default()
    };
    let absolute = beside(&evaluation, LossMeasure::AbsoluteError, false);
    let guess = guessed(&known, &[], &absolute);
    assert_eq!((guess.loss, guess.worse[0]), (1.5, -3.0), "the median is 2");
    assert!(guess.worse[1] > 1e29, "no prediction is the worst");

    let squared = beside(&evaluation, LossMeasure::SquaredError, false);
    let guess = guessed(&known, &[], &squared);
    assert_eq!((guess.loss, guess.worse[0]), (2.5, -1.0), "the mean is 4");

    let rates = beside(&evaluation, LossMeasure::PoissonDeviance, false);
    assert_eq!(guessed(&known, &[], &rates).what, "guessing the mean");
    let high = beside(&evaluation, LossMeasure::Pinball(0.9), false);
    let guess = guessed(&known, &[], &high);
    // The quantile is 9: 0.1 of 4, and 0.1 of 7.
    assert!((guess.loss - 0.55).abs() < 1e-12, "{}", guess.loss);
}

#[test]
fn what_is_guessed_counts_the_weights_of_rows() {
    let known = RowTarget::Values(vec![1.0, 2.0, 9.0]);
    let evaluation = Evaluation {
        losses: vec![0.0],
        truths: vec![Truth::Value(9.0)],
        ..Evaluation::default()
    };
    let judged = beside(&evaluation, LossMeasure::SquaredError, false);
    let weights = [1.0, 1.0, 2.0];
    let guess =
        Guess::of(&KnownTargets::of(&known, Some(&weights)), &[], &judged).expect("a guess");
    // The mean is 21 / 4.
    assert_eq!(guess.loss, (9.0_f64 - 5.25).powi(2));

    let classes = classes(&[0, 0, 1]);
    let evaluation = predicted(&[(0.5, 1)]);
    let judged = beside(&evaluation, LossMeasure::LogLoss, false);
    let guess = Guess::of(
        &KnownTargets::of(&classes, Some(&weights)),
        &[0, 1],
        &judged,
    );
    // Half of the weight is of the second class.
    assert!((guess.expect("a guess").loss + 0.5_f64.ln()).abs() < 1e-12);
}
