//! Tests of `measure`.

use super::*;

fn fit(objective: Objective) -> Fit {
    Fit {
        objective,
        ..Fit::default()
    }
}

#[test]
fn the_measure_of_what_is_minimised_is_the_default() {
    let check = |objective: Objective, expected: LossMeasure| {
        let found = LossMeasure::parse(None, false, &fit(objective)).expect("a measure");
        assert_eq!(found, expected);
    };
    check(Objective::Auto, LossMeasure::AbsoluteError);
    check(Objective::Squared, LossMeasure::AbsoluteError);
    check(Objective::Poisson, LossMeasure::PoissonDeviance);
    check(Objective::Tweedie, LossMeasure::TweedieDeviance(1.5));
    check(Objective::Quantile, LossMeasure::Pinball(0.5));
    check(Objective::LambdaRank, LossMeasure::Ndcg(10));
    let named = LossMeasure::parse(Some("ndcg_at_5"), false, &fit(Objective::LambdaRank));
    assert_eq!(named.expect("a measure"), LossMeasure::Ndcg(5));

    let wrong = LossMeasure::parse(Some("poisson_deviance"), true, &Fit::default());
    assert!(
        wrong
            .expect_err("of numbers")
            .message
            .contains("log_loss, brier or error")
    );
    let unknown = LossMeasure::parse(Some("ndcg"), false, &Fit::default());
    assert!(
        unknown
            .expect_err("unknown")
            .message
            .contains("ndcg_at_5 or ndcg_at_10")
    );
}

#[test]
fn losses_are_those_of_the_named_measure() {
    let loss = |measure: LossMeasure, value: f64, truth: f64| {
        measure.loss(Some(&RowAnswer::Value(value)), Truth::Value(truth))
    };
    assert_eq!(loss(LossMeasure::Pinball(0.9), 1.0, 3.0), 1.8);
    assert!((loss(LossMeasure::Pinball(0.9), 3.0, 1.0) - 0.2).abs() < 1e-12);
    assert_eq!(loss(LossMeasure::PoissonDeviance, 0.5, 0.0), 1.0);
    // A rate below 0 has no deviance; it counts as a rate that is almost 0.
    let negative = loss(LossMeasure::PoissonDeviance, -4.0, 2.0);
    assert!(negative > 80.0 && negative.is_finite(), "{negative}");
    assert!(loss(LossMeasure::TweedieDeviance(1.5), 0.0, 2.0).is_finite());
    assert_eq!(
        loss(LossMeasure::PoissonDeviance, f64::NAN, 2.0),
        f64::INFINITY
    );
    let missing = LossMeasure::PoissonDeviance.loss(None, Truth::Value(2.0));
    assert!(missing > 1e29);
}

#[test]
fn ndcg_is_shown_as_people_know_it() {
    let loss = Interval {
        clusters: 9,
        mean: 0.3,
        low: 0.2,
        high: 0.4,
    };
    let shown = LossMeasure::Ndcg(10).interval(&loss);
    assert_eq!((shown.mean, shown.low, shown.high), (0.7, 0.6, 0.8));
    assert_eq!(LossMeasure::AbsoluteError.interval(&loss), loss);
    let difference = LossMeasure::Ndcg(10).interval_of_difference(&loss);
    assert_eq!((difference.low, difference.high), (-0.4, -0.2));
}
