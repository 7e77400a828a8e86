//! Tests of `interval`.

use super::*;

#[test]
fn quantiles_match_published_tables() {
    assert!((normal(0.95) - 1.644_853_627).abs() < 1e-6 && (normal(0.5)).abs() < 1e-9);
    for (certainty, freedom, expected) in [
        (0.95, 10.0, 1.812),
        (0.975, 5.0, 2.571),
        (0.99, 30.0, 2.457),
    ] {
        let found = student_quantile(certainty, freedom);
        assert!(
            (found - expected).abs() < 0.02,
            "{certainty} {freedom}: {found}"
        );
    }
}

#[test]
fn confidence_bounds_have_their_coverage_also_for_clustered_rows() {
    let mut state = 5_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };

    let (mut held, mut naive) = (0, 0);
    for _ in 0..2_000 {
        // 40 groups of 25 rows that have most in common.
        let (mut values, mut cluster) = (Vec::new(), Vec::new());
        for group in 0..40 {
            let common = random();
            for _ in 0..25 {
                values.push(common + 0.2 * random());
                cluster.push(group);
            }
        }
        held += usize::from(mean(&values, &cluster, 0.95).high >= 0.0);
        let rows: Vec<u32> = (0..1_000).collect();
        naive += usize::from(mean(&values, &rows, 0.95).high >= 0.0);
    }

    let (held, naive) = (held as f64 / 2_000.0, naive as f64 / 2_000.0);
    assert!((held - 0.95).abs() < 0.02, "{held}");
    assert!(naive < 0.75, "as if rows were apart: {naive}");
}

#[test]
fn few_clusters_give_wide_bounds_and_ten_correct_rows_no_certainty() {
    let found = mean(&[1.0, 2.0], &[0, 0], 0.95);
    assert!(found.low == f64::NEG_INFINITY && found.high == f64::INFINITY);
    let rows: Vec<u32> = (0..10).collect();
    let found = mean(&[0.0; 10], &rows, 0.95);
    assert!(
        (0.25..0.35).contains(&found.high),
        "ten right ones of ten: {found:?}"
    );
}

#[test]
fn rows_count_by_their_weights() {
    let values: Vec<f64> = (0..60).map(|i| f64::from((i * 37) % 17)).collect();
    let cluster: Vec<u32> = (0..60).map(|i| i % 20).collect();
    let weights: Vec<f64> = (0..60).map(|i| f64::from(i % 3)).collect();
    let found = weighted_mean(&values, Some(&weights), &cluster, 0.95);
    let repeated: Vec<usize> = (0..60)
        .flat_map(|row| std::iter::repeat_n(row, row % 3))
        .collect();
    let again: Vec<f64> = repeated.iter().map(|row| values[*row]).collect();
    let of: Vec<u32> = repeated.iter().map(|row| cluster[*row]).collect();
    let expected = mean(&again, &of, 0.95);
    assert!((found.mean - expected.mean).abs() < 1e-12);
    assert!(
        (found.low - expected.low).abs() < 1e-9,
        "{found:?} {expected:?}"
    );

    let nothing = weighted_mean(&values, Some(&[0.0; 60]), &cluster, 0.95);
    assert_eq!((nothing.mean, nothing.clusters), (0.0, 0));
    assert_eq!(nothing.high, f64::INFINITY, "nothing is certain");
}
