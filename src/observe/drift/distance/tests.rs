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

fn of<'c>(counts: &'c [u64], means: &'c [f64]) -> CellMeans<'c> {
    CellMeans { counts, means }
}

#[test]
fn equal_counts_show_no_drift_by_any_metric() {
    let counts = [0, 10, 20, 30, 0];
    let means = [0.0, 0.5, 1.4, 2.5, 0.0];
    let edges = [0.0, 1.0, 2.0, 3.0];
    let zero = DriftMeasure::default();
    let small = Sizes {
        window: 60.0,
        baseline: 60.0,
        alpha: 1e-6,
    };

    assert_eq!(ks(&counts, &counts, small), zero);
    let cells = of(&counts, &means);
    assert_eq!(wasserstein(cells, cells, (&edges, 1.0), small), zero);
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
    // The mean moves by 1.2, six tenths of a scale of 2.
    let (now, then) = ([0.0, 0.0, 1.6, 0.0], [0.0, 0.4, 0.0, 0.0]);
    let moved = wasserstein(of(&window, &now), of(&baseline, &then), (&edges, 2.0), SURE);
    near(moved.value, 0.6);

    near(js(&window, &baseline, SURE).value, 1.0);
    near(largest(&window, &baseline, SURE).value, 1.0);
}

#[test]
fn values_beyond_the_baseline_count_by_their_distance() {
    // A tenth of the rows lie at 15 times the greatest value.
    let (window, baseline) = ([0, 90, 10], [0, 100, 0]);
    let (now, then) = ([0.0, 0.5, 15.0], [0.0, 0.5, 0.0]);
    let far = wasserstein(
        of(&window, &now),
        of(&baseline, &then),
        (&[0.0, 1.0], 1.0),
        SURE,
    );
    near(far.value, 0.1 * 14.5);
    // Of rows below the first edge likewise.
    let (window, now) = ([10, 90, 0], [-9.5, 0.5, 0.0]);
    let far = wasserstein(
        of(&window, &now),
        of(&baseline, &then),
        (&[0.0, 1.0], 1.0),
        SURE,
    );
    near(far.value, 0.1 * 10.0);
}

#[test]
fn one_row_far_away_makes_no_distance_certain() {
    let (window, baseline) = ([0, 999, 1], [0, 1_000, 0]);
    let (now, then) = ([0.0, 0.5, 1e30], [0.0, 0.5, 0.0]);
    let sizes = Sizes {
        window: 1e3,
        baseline: 1e3,
        alpha: 1e-6,
    };
    let far = wasserstein(
        of(&window, &now),
        of(&baseline, &then),
        (&[0.0, 1.0], 1.0),
        sizes,
    );
    assert!(far.value > 1e26, "{far:?}");
    assert_eq!((far.lower, far.certain), (0.0, 0.0));
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
    near(share_at_most(0.0, 1_000.0, 0.05), 0.003);
    near(share_at_least(1_000.0, 1_000.0, 0.05), 0.997);
    assert_eq!(
        (
            share_at_most(0.0, 0.0, 0.05),
            share_at_least(0.0, 0.0, 0.05)
        ),
        (1.0, 0.0)
    );
}

#[test]
fn a_band_is_left_only_beyond_its_ends() {
    let band = [(0.1, 0.3), (0.5, 0.6)];
    let beyond = |shares: &[f64]| beyond_band(shares, &band, SURE).value;
    near(beyond(&[0.2, 0.6]), 0.0);
    near(beyond(&[0.35, 0.6]), 0.05);
    near(beyond(&[0.35, 0.3]), 0.2);
}

#[test]
fn lower_bounds_fall_with_fewer_rows_and_smaller_alpha() {
    let (window, baseline) = ([0, 40, 60, 0], [0, 60, 40, 0]);
    let means = [0.0, 0.5, 1.5, 0.0];
    let all = |rows: f64, alpha: f64| {
        let sizes = Sizes {
            window: rows,
            baseline: rows,
            alpha,
        };
        let edges: (&[f64], f64) = (&[0.0, 1.0, 2.0], 1.0);
        [
            ks(&window, &baseline, sizes),
            psi(&window, &baseline, sizes),
            js(&window, &baseline, sizes),
            largest(&window, &baseline, sizes),
            wasserstein(of(&window, &means), of(&baseline, &means), edges, sizes),
            beyond_band(&[0.0, 0.4], &[(0.0, 0.0), (0.6, 0.7)], sizes),
        ]
    };

    for (sure, unsure) in all(1e5, 1e-3)
        .iter()
        .zip(all(1e3, 1e-3))
        .chain(all(1e5, 1e-3).iter().zip(all(1e5, 1e-9)))
    {
        assert!(
            sure.certain > unsure.certain && sure.certain < sure.value,
            "{sure:?} {unsure:?}"
        );
        assert!(sure.certain < sure.lower, "{sure:?}");
    }

    assert!(
        all(20.0, 1e-6).iter().all(|m| m.certain == 0.0),
        "twenty rows prove nothing"
    );
}

#[test]
fn bounds_of_shares_are_those_of_bisection() {
    let bisected = |share: f64, far: f64| {
        let entropy = |q: f64| {
            let part = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
            part(share, q) + part(1.0 - share, 1.0 - q)
        };
        let bisect = |mut near: f64, mut away: f64| {
            for _ in 0..100 {
                let middle = f64::midpoint(near, away);
                if entropy(middle) > far {
                    away = middle;
                } else {
                    near = middle;
                }
            }
            near
        };
        (bisect(share, 0.0), bisect(share, 1.0))
    };
    let shares = [
        0.0,
        1e-9,
        1e-5,
        0.003,
        0.1,
        0.5,
        0.77,
        0.999,
        1.0 - 1e-9,
        1.0,
    ];
    let fars = [1e-12, 1e-7, 1e-4, 0.01, 0.3, 2.0, 40.0, 1e4, f64::INFINITY];
    for share in shares {
        for far in fars {
            let (found, expected) = (share_bounds(share, far), bisected(share, far));
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-8 * b.max(1e-3);
            assert!(
                near(found.0, expected.0) && near(found.1, expected.1),
                "{share} {far}: {found:?}, not {expected:?}"
            );
            assert!(found.0 <= share && share <= found.1);
        }
        let (low, high) = share_bounds(share, 0.0);
        assert!((low - share).abs() < 1e-15 && high == share, "{share}");
    }
}
