//! Tests of `gate`.

use super::*;

fn judged(losses: &[f64]) -> Evaluation {
    Evaluation {
        losses: losses.to_vec(),
        ..Evaluation::default()
    }
}

fn noise(rows: usize, by: f64) -> Vec<f64> {
    (0..rows)
        .map(|i| by + ((i * 2_654_435_761) % 1_000) as f64 / 1_000.0)
        .collect()
}

/// A model that loses so much more than guessing in each row.
fn guess(worse: Vec<f64>) -> Guess {
    Guess {
        what: "guessing by the class shares",
        measure: LossMeasure::LogLoss,
        loss: 0.5,
        worse,
        rarest: Some(0.01),
    }
}

fn verdicts(
    gates: &Gates,
    model: &[f64],
    champion: &[f64],
    slices: Vec<Slice>,
) -> Vec<(String, Verdict)> {
    let cluster: Vec<u32> = (0..model.len() as u32).collect();
    let rows = TestRows {
        measure: LossMeasure::AbsoluteError,
        cluster: &cluster,
        slices,
        guess: &guess(vec![-1.0; model.len()]),
        calibration_hint: None,
    };

    let found = judge(gates, &rows, &judged(model), Some(Ok(&judged(champion))));
    found.into_iter().map(|g| (g.name, g.verdict)).collect()
}

fn of(verdicts: &[(String, Verdict)], name: &str) -> Verdict {
    verdicts
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, v)| *v)
        .expect(name)
}

#[test]
fn a_model_passes_only_if_the_upper_bound_does() {
    let gates = Gates {
        bound: Some(0.6),
        ..Gates::default()
    };
    let at = |by: f64, rows: usize| {
        of(
            &verdicts(&gates, &noise(rows, by), &noise(rows, by + 1.0), Vec::new()),
            "bound",
        )
    };

    assert_eq!(at(0.0, 1_000), Verdict::Pass);
    assert_eq!(at(0.2, 1_000), Verdict::Fail);
    assert_eq!(
        at(0.1, 1_000),
        Verdict::Inconclusive,
        "a mean of 0.6 may as well be above"
    );

    assert_eq!(at(0.0, 10), Verdict::Inconclusive, "too few rows to tell");
}

#[test]
fn a_model_is_compared_with_the_champion_row_by_row() {
    let gates = Gates {
        regression_max: 0.02,
        ..Gates::default()
    };
    let champion = noise(2_000, 0.5);
    let plus = |by: f64| -> Vec<f64> { champion.iter().map(|w| w + by).collect() };
    let against = |model: &[f64]| of(&verdicts(&gates, model, &champion, Vec::new()), "champion");
    assert_eq!(against(&champion), Verdict::Pass, "the same predictions");
    assert_eq!(
        against(&plus(0.01)),
        Verdict::Pass,
        "within the share allowed"
    );

    assert_eq!(against(&plus(0.05)), Verdict::Fail);
    let mixed: Vec<f64> = champion
        .iter()
        .enumerate()
        .map(|(i, w)| w + if i % 2 == 0 { 0.5 } else { -0.46 })
        .collect();
    assert_eq!(against(&mixed), Verdict::Inconclusive);
}

#[test]
fn one_worse_slice_fails_the_gate_and_a_threshold_is_required() {
    let gates = Gates::default();
    let champion = noise(2_000, 0.5);
    let mut model: Vec<f64> = champion.iter().map(|w| w - 0.2).collect();
    model[..100].iter_mut().for_each(|w| *w += 0.9);
    let slice = |name: &str, rows: std::ops::Range<u32>| Slice {
        name: name.to_owned(),
        rows: rows.collect(),
    };
    let slices = vec![slice("a", 0..100), slice("b", 100..2_000)];
    let found = verdicts(&gates, &model, &champion, slices);
    assert_eq!(
        (of(&found, "champion"), of(&found, "slices")),
        (Verdict::Pass, Verdict::Fail)
    );
    assert_eq!(of(&found, "bound"), Verdict::NotGated);
    let cluster: Vec<u32> = (0..10).collect();
    let rows = TestRows {
        measure: LossMeasure::AbsoluteError,
        cluster: &cluster,
        slices: Vec::new(),
        guess: &guess(vec![-1.0; 10]),
        calibration_hint: None,
    };

    let alone = |gates: &Gates, champion| {
        overall_verdict(&judge(gates, &rows, &judged(&[0.0; 10]), champion))
    };
    assert_eq!(alone(&gates, None), Verdict::Pass, "the first of its name");
    assert_eq!(
        alone(
            &Gates {
                first: First::Refused,
                ..Gates::default()
            },
            None
        ),
        Verdict::Fail
    );

    assert_eq!(
        alone(&gates, Some(Err("it is broken"))),
        Verdict::Inconclusive
    );
}

#[test]
fn a_model_must_certainly_be_better_than_guessing() {
    let cluster: Vec<u32> = (0..1_000).collect();
    let of_guess = |worse: Vec<f64>, gates: &Gates| {
        let model = vec![0.0; worse.len()];
        let rows = TestRows {
            measure: LossMeasure::Error,
            cluster: &cluster[..worse.len()],
            slices: Vec::new(),
            guess: &guess(worse),
            calibration_hint: None,
        };
        let found = judge(gates, &rows, &judged(&model), None);
        let overall = overall_verdict(&found);
        let gate = found.into_iter().find(|gate| gate.name == "baseline");
        (gate.expect("always judged"), overall)
    };
    let standard = Gates::default();
    let verdict = |worse| of_guess(worse, &standard).0.verdict;

    assert_eq!(verdict(noise(1_000, -1.0)), Verdict::Pass);
    assert_eq!(verdict(vec![0.0; 1_000]), Verdict::Fail, "it is guessing");
    assert_eq!(verdict(noise(1_000, 0.0)), Verdict::Fail);
    assert_eq!(verdict(noise(1_000, -0.5)), Verdict::Inconclusive);
    assert_eq!(verdict(vec![-1.0; 5]), Verdict::Inconclusive, "too few");

    let (gate, overall) = of_guess(vec![0.0; 1_000], &standard);
    assert_eq!(overall, Verdict::Fail, "also the first of its name");
    let told =
        "log_loss minus that of guessing by the class shares (0.500000) is 0.000000, interval ";
    assert!(gate.reason.starts_with(told), "{}", gate.reason);
    let advice = ": the model knows no more than that; the rarest class has 1.0 % of the rows: more rows of it may \
         help, or 'balanced = true' in [fit]";
    assert!(gate.reason.ends_with(advice), "{}", gate.reason);

    let off = Gates {
        baseline: false,
        ..Gates::default()
    };
    let (gate, overall) = of_guess(vec![0.0; 1_000], &off);
    assert_eq!((gate.verdict, overall), (Verdict::NotGated, Verdict::Pass));
}

#[test]
fn a_model_further_from_the_rows_than_their_mean_is_not_better_than_guessing() {
    let of = |measure, r2: f64, bias: f64| {
        let guess = Guess {
            measure,
            rarest: None,
            ..guess(noise(1_000, -1.0))
        };
        let model = Evaluation {
            measures: [("r2", r2), ("bias", bias), ("mae", 9.5)].into(),
            ..judged(&vec![9.5; 1_000])
        };
        let found = beside(&Gates::default(), &guess, &model, None);
        found
            .into_iter()
            .find(|gate| gate.name == "baseline")
            .expect("judged")
    };

    let known = of(LossMeasure::AbsoluteError, 0.4, 0.1);
    assert_eq!(known.verdict, Verdict::Pass);
    assert!(!known.reason.contains("nearly all"), "{}", known.reason);
    let moved = of(LossMeasure::AbsoluteError, -0.03, -9.48);
    assert_eq!(moved.verdict, Verdict::Inconclusive);
    for part in [
        "r2 is below 0",
        "nearly all predictions are too low (bias -9.480000 of MAE 9.500000)",
    ] {
        assert!(moved.reason.contains(part), "{}", moved.reason);
    }
    // A quantile is not a mean, and may be further from the rows.
    assert_eq!(
        of(LossMeasure::Pinball(0.9), -0.5, 3.0).verdict,
        Verdict::Pass
    );
}

/// Judges a model beside guessing by the measure of the guess, each row a cluster, without a champion.
fn beside(
    gates: &Gates,
    guess: &Guess,
    model: &Evaluation,
    calibration_hint: Option<&'static str>,
) -> Vec<Gate> {
    let cluster: Vec<u32> = (0..model.losses.len() as u32).collect();
    let rows = TestRows {
        measure: guess.measure,
        cluster: &cluster,
        slices: Vec::new(),
        guess,
        calibration_hint,
    };
    judge(gates, &rows, model, None)
}

/// Judges rows of these losses and weights by a measure, without a champion.
fn by_measure(
    gates: &Gates,
    measure: LossMeasure,
    losses: &[f64],
    weights: Option<Vec<f64>>,
) -> Vec<Gate> {
    let guess = Guess {
        measure,
        ..guess(losses.iter().map(|loss| loss - 0.5).collect())
    };
    let model = Evaluation {
        weights,
        measures: [("ece", 0.2)].into(),
        ..judged(losses)
    };
    beside(gates, &guess, &model, Some("a hint"))
}

#[test]
fn the_bound_of_ndcg_is_the_least_that_it_may_be() {
    // NDCG is 0.7 or 0.8.
    let losses: Vec<f64> = (0..200).map(|row| 0.2 + 0.1 * f64::from(row % 2)).collect();
    let of = |bound: f64| {
        let gates = Gates {
            bound: Some(bound),
            ..Gates::default()
        };
        let all = by_measure(&gates, LossMeasure::Ndcg(10), &losses, None);
        all.into_iter()
            .find(|gate| gate.name == "bound")
            .expect("a gate")
    };
    assert_eq!(of(0.7).verdict, Verdict::Pass);
    assert_eq!(of(0.75).verdict, Verdict::Inconclusive);
    assert_eq!(of(0.8).verdict, Verdict::Fail);
    let reason = of(0.7).reason;
    assert!(
        reason.starts_with("ndcg_at_10 0.750000, interval 0.74"),
        "{reason}"
    );
    let all = by_measure(&Gates::default(), LossMeasure::Ndcg(10), &losses, None);
    assert_eq!(all[0].verdict, Verdict::Pass, "{}", all[0].reason);
    assert!(
        all[0].reason.contains("(0.500000) is 0.25"),
        "{}",
        all[0].reason
    );
}

#[test]
fn rows_count_by_their_weights_in_each_gate() {
    let losses: Vec<f64> = (0..400)
        .map(|row| f64::from(row % 2) + 0.001 * f64::from(row % 7))
        .collect();
    let gates = Gates {
        bound: Some(0.5),
        ..Gates::default()
    };
    let heavy = |of: i32| -> Vec<f64> {
        (0..400)
            .map(|row| if row % 2 == of { 9.0 } else { 1.0 })
            .collect()
    };
    let measure = LossMeasure::AbsoluteError;
    for (weights, expected) in [(heavy(0), Verdict::Pass), (heavy(1), Verdict::Fail)] {
        let all = by_measure(&gates, measure, &losses, Some(weights));
        assert_eq!(
            (all[0].verdict, all[1].verdict),
            (expected, expected),
            "{all:?}"
        );
    }
}

#[test]
fn the_calibration_gate_says_what_lowers_the_error() {
    let check = |calibration_max: Option<f64>, verdict: Verdict, says: bool| {
        let gates = Gates {
            calibration_max,
            ..Gates::default()
        };
        let all = by_measure(&gates, LossMeasure::Error, &[0.0; 4_000], None);
        let gate = all
            .into_iter()
            .find(|gate| gate.name == "calibration")
            .expect("a gate");
        assert_eq!(gate.verdict, verdict, "{}", gate.reason);
        assert_eq!(gate.reason.ends_with("; a hint"), says, "{}", gate.reason);
    };
    check(Some(0.1), Verdict::Fail, true);
    check(Some(0.19), Verdict::Inconclusive, true);
    check(Some(0.2), Verdict::Pass, false);
    check(None, Verdict::NotGated, false);
}
