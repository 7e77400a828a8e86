//! Tests of `distance`.

use super::*;

const SURE: Sizes = Sizes {
    window: 1e12,
    baseline: 1e12,
    alpha: 0.5,
};

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-4, "{a} is not {b}");
}

#[test]
fn equal_counts_show_no_drift_by_any_metric() {
    let counts = [0, 10, 20, 30, 0];
    let edges = [0.0, 1.0, 2.0, 3.0];
    let zero = DriftMeasure {
        value: 0.0,
        lower: 0.0,
    };
    let small = Sizes {
        window: 60.0,
        baseline: 60.0,
        alpha: 1e-6,
    };

    assert_eq!(ks(&counts, &counts, small), zero);
    assert_eq!(
        wasserstein((&counts, (0.0, 3.0)), &counts, (&edges, 1.0), small),
        zero
    );
    assert_eq!(psi(&counts, &counts, small), zero);
    assert_eq!(js(&counts, &counts, small), zero);
    assert_eq!(largest(&counts, &counts, small), zero);
}

#[test]
fn a_shift_by_one_cell_has_the_distances_of_the_formulas() {
    // All mass moves from (0, 1] to (1, 2].
    let (window, baseline) = ([0, 0, 100, 0], [0, 100, 0, 0]);
    let edges = [0.0, 1.0, 2.0];
    near(ks(&window, &baseline, SURE).value, 1.0);
    // Both are uniform in their cell: the mean moves by 1, half an IQR of 2.
    near(
        wasserstein((&window, (1.0, 2.0)), &baseline, (&edges, 2.0), SURE).value,
        0.5,
    );

    near(js(&window, &baseline, SURE).value, 1.0);
    near(largest(&window, &baseline, SURE).value, 1.0);
}

#[test]
fn values_beyond_the_baseline_count_by_their_distance() {
    // A tenth of the rows lie between 10 and 20 times the greatest value.
    let (window, baseline) = ([0, 90, 10], [0, 100, 0]);
    let far = wasserstein((&window, (0.0, 20.0)), &baseline, (&[0.0, 1.0], 1.0), SURE);
    near(far.value, 0.1 * (19.0 / 2.0) + 0.1 / 2.0);
}

#[test]
fn shares_have_the_bounds_of_chernoff() {
    // The rule of three, and its like at the other end: exp(−3) is about 5 %.
    let (low, high) = share_bounds(0.0, 3.0 / 1_000.0);
    assert!(low == 0.0 && (high - 0.003).abs() < 1e-5, "{high}");
    let (low, high) = share_bounds(1.0, 3.0 / 1_000.0);
    assert!(high == 1.0 && (low - 0.997).abs() < 1e-5, "{low}");
    // Near the middle it is Hoeffding's.
    let (low, high) = share_bounds(0.5, 3.0 / 1_000.0);
    near(high - 0.5, (3.0_f64 / 2_000.0).sqrt());
    near(0.5 - low, high - 0.5);
}

#[test]
fn lower_bounds_fall_with_fewer_rows_and_smaller_alpha() {
    let (window, baseline) = ([0, 40, 60, 0], [0, 60, 40, 0]);
    let of = |rows: f64, alpha: f64| {
        let sizes = Sizes {
            window: rows,
            baseline: rows,
            alpha,
        };
        [
            ks(&window, &baseline, sizes),
            psi(&window, &baseline, sizes),
            js(&window, &baseline, sizes),
            largest(&window, &baseline, sizes),
            wasserstein(
                (&window, (0.0, 2.0)),
                &baseline,
                (&[0.0, 1.0, 2.0], 1.0),
                sizes,
            ),
        ]
    };

    for (sure, unsure) in of(1e5, 1e-3)
        .iter()
        .zip(of(1e3, 1e-3))
        .chain(of(1e5, 1e-3).iter().zip(of(1e5, 1e-9)))
    {
        assert!(
            sure.lower > unsure.lower && sure.lower < sure.value,
            "{sure:?} {unsure:?}"
        );
    }

    assert!(
        of(20.0, 1e-6).iter().all(|m| m.lower == 0.0),
        "twenty rows prove nothing"
    );
}
