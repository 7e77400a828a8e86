//! Tests of `components`.

use super::*;
use crate::core::hash::SplitMix;

#[test]
fn two_correlated_columns_have_their_sum_and_their_difference_as_components() {
    let found = principal_components(vec![vec![1.0, 0.8], vec![0.8, 1.0]]);
    let variances: Vec<f64> = found.iter().map(|(variance, _)| *variance).collect();
    assert!((variances[0] - 1.8).abs() < 1e-12 && (variances[1] - 0.2).abs() < 1e-12);
    let (sum, difference) = (&found[0].1, &found[1].1);
    assert!((sum[0] - sum[1]).abs() < 1e-12, "{sum:?}");
    assert!(
        (difference[0] + difference[1]).abs() < 1e-12,
        "{difference:?}"
    );
}

#[test]
fn components_are_the_eigenvectors_of_any_covariance() {
    for width in [1, 2, 7, 64] {
        let mut random = SplitMix(width as u64);
        let mut draw = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
        let rows: Vec<Vec<f64>> = (0..width * 2)
            .map(|_| (0..width).map(|_| draw()).collect())
            .collect();
        let of = |i: usize, j: usize| rows.iter().map(|row| row[i] * row[j]).sum::<f64>();
        let matrix: Vec<Vec<f64>> = (0..width)
            .map(|i| (0..width).map(|j| of(i, j)).collect())
            .collect();

        let found = principal_components(matrix.clone());
        let trace: f64 = (0..width).map(|i| matrix[i][i]).sum();
        let sum: f64 = found.iter().map(|(variance, _)| variance).sum();
        assert!((trace - sum).abs() < 1e-9 * trace, "{width}: {trace} {sum}");
        assert!(found.windows(2).all(|pair| pair[0].0 >= pair[1].0));
        for (variance, direction) in &found {
            let length: f64 = direction.iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-9, "{width}");
            for (row, expected) in matrix.iter().zip(direction) {
                let product: f64 = row.iter().zip(direction).map(|(a, b)| a * b).sum();
                assert!(
                    (product - variance * expected).abs() < 1e-8 * trace,
                    "{width}"
                );
            }
        }
    }
}

#[test]
fn a_covariance_of_zeros_has_components_too() {
    let found = principal_components(vec![vec![0.0; 3]; 3]);
    assert!(found.iter().all(|(variance, _)| *variance == 0.0));
}
