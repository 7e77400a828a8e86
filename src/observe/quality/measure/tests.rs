//! Tests of `measure`.

use super::*;

fn of_classes(rows: &[(u32, &[f32], usize)]) -> Measures {
    let answers: Vec<(RowAnswer, Truth)> = rows
        .iter()
        .map(|(class, scores, truth)| {
            (
                RowAnswer::Class(*class, scores.to_vec()),
                Truth::Class(*truth),
            )
        })
        .collect();
    measure(answers.iter().map(|(a, t)| (a, *t)))
}

fn check(measures: &Measures, name: &str, expected: f64) {
    let found = measures.get(name).copied().unwrap_or(f64::NAN);
    assert!(
        (found - expected).abs() < 1e-7,
        "{name} is {found}, not {expected}"
    );
}

#[test]
fn two_classes_are_measured_by_the_positive_class() {
    let m = of_classes(&[
        (1, &[0.2, 0.8], 1),
        (1, &[0.4, 0.6], 0),
        (0, &[0.7, 0.3], 1),
        (0, &[0.9, 0.1], 0),
    ]);

    check(&m, "accuracy", 0.5);
    check(&m, "precision", 0.5);
    check(&m, "recall", 0.5);
    check(&m, "f1", 0.5);
    check(&m, "auc", 0.75);
    // The two rows of the class are the first and the third by their scores.
    check(&m, "average_precision", (1.0 + 2.0 / 3.0) / 2.0);
    check(&m, "brier", (0.04 + 0.36 + 0.49 + 0.01) / 4.0);
    check(
        &m,
        "log_loss",
        -(0.8_f64.ln() + 0.4_f64.ln() + 0.3_f64.ln() + 0.9_f64.ln()) / 4.0,
    );
}

#[test]
fn rows_of_equal_score_count_together_in_the_average_precision() {
    let m = of_classes(&[
        (1, &[0.4, 0.6], 0),
        (1, &[0.4, 0.6], 1),
        (1, &[0.4, 0.6], 1),
        (0, &[0.9, 0.1], 1),
        (0, &[0.9, 0.1], 0),
    ]);
    // Two of three, then three of five.
    check(&m, "average_precision", (2.0 * 2.0 / 3.0 + 3.0 / 5.0) / 3.0);
}

#[test]
fn undefined_measures_are_left_out() {
    let m = of_classes(&[(1, &[0.2, 0.8], 1)]);
    for name in ["auc", "average_precision"] {
        assert!(!m.contains_key(name), "there is only one class");
    }
    assert!(measure(std::iter::empty()).is_empty());
    let value = RowAnswer::Value(1.0);
    assert!(
        measure([(&value, Truth::Class(1))].into_iter()).is_empty(),
        "a value has no class"
    );
    assert!(!measure([(&value, Truth::Value(2.0))].into_iter()).contains_key("r2"));
}

#[test]
fn values_are_measured_by_their_errors() {
    let rows = [
        (RowAnswer::Value(1.0), 2.0),
        (RowAnswer::Value(3.0), 2.0),
        (RowAnswer::Value(5.0), 8.0),
    ];

    let m = measure(rows.iter().map(|(a, t)| (a, Truth::Value(*t))));
    check(&m, "mae", 5.0 / 3.0);
    check(&m, "rmse", (11.0_f64 / 3.0).sqrt());
    check(&m, "bias", -1.0);
    check(&m, "quantile_loss_90", (0.9 + 0.1 + 2.7) / 3.0);
    check(&m, "r2", 1.0 - 11.0 / 24.0);
}

#[test]
fn a_row_of_weight_2_counts_as_two_rows() {
    let classes: Vec<(RowAnswer, Truth, usize)> = (0..40)
        .map(|row| {
            let yes = ((row * 7) % 10) as f32 / 10.0;
            let answer = RowAnswer::Class(u32::from(yes > 0.5), vec![1.0 - yes, yes]);
            (answer, Truth::Class(usize::from(row % 3 == 0)), row % 4)
        })
        .collect();
    let values: Vec<(RowAnswer, Truth, usize)> = (0..40)
        .map(|row| {
            let truth = Truth::Value(f64::from(row as u32).sin());
            (RowAnswer::Value(row as f64 / 40.0), truth, row % 3)
        })
        .collect();
    for rows in [classes, values] {
        let weighed = rows.iter().map(|(a, t, n)| (a, *t, *n as f64));
        let repeated = rows
            .iter()
            .flat_map(|(a, t, n)| std::iter::repeat_n((a, *t), *n));
        let (weighed, repeated) = (measure_weighted(weighed), measure(repeated));
        assert_eq!(weighed.len(), repeated.len());
        for (name, value) in &repeated {
            assert!((weighed[name] - value).abs() < 1e-12, "{name}");
        }
    }
}
