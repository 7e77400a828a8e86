//! Confidence intervals of means. Rows of a cluster, such as a group or an hour,
//! count as one observation (cluster-robust, Liang and Zeger 1986). Pure.

use serde::{Deserialize, Deserializer, Serialize};

/// A mean and its confidence bounds. JSON has no infinity, so a bound that is
/// infinite is null in records. Fields stand in alphabetical order, as records
/// have always been written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// The independent observations.
    pub clusters: usize,
    #[serde(deserialize_with = "high")]
    pub high: f64,
    #[serde(deserialize_with = "low")]
    pub low: f64,
    #[serde(deserialize_with = "mean_or_nan")]
    pub mean: f64,
}

fn high<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

fn low<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NEG_INFINITY))
}

fn mean_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The fewest clusters for finite bounds.
const CLUSTERS_MIN: usize = 6;

/// Returns the mean of rows and its one-sided confidence bounds, at a level of
/// `certainty`. `cluster` names the cluster of each row.
pub(crate) fn mean(values: &[f64], cluster: &[u32], certainty: f64) -> Interval {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    let mut sums: std::collections::BTreeMap<u32, f64> = std::collections::BTreeMap::new();
    for (value, cluster) in values.iter().zip(cluster) {
        *sums.entry(*cluster).or_default() += value - mean;
    }
    let clusters = sums.len();
    if clusters < CLUSTERS_MIN {
        return Interval {
            mean,
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
            clusters,
        };
    }
    let k = clusters as f64;
    let variance = sums.values().map(|s| s * s).sum::<f64>() * k / (k - 1.0) / (n * n);
    let mut reach = student(certainty, k - 1.0) * variance.sqrt();
    if variance == 0.0 {
        // Without variance, the bound is the rule of three: about 3/n (Hanley and
        // Lippman-Hand 1983).
        let most = values.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
        reach = -(1.0 - certainty).ln() / k * if most > 0.0 { most } else { 1.0 };
    }
    Interval {
        mean,
        low: mean - reach,
        high: mean + reach,
        clusters,
    }
}

/// The quantile of Student's distribution (Cornish and Fisher 1938).
fn student(certainty: f64, freedom: f64) -> f64 {
    let z = normal(certainty);
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * freedom)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * freedom.powi(3))
}

/// The quantile of the normal distribution, by bisection (its distribution by a
/// series; Marsaglia 2004).
fn normal(certainty: f64) -> f64 {
    let below = |x: f64| {
        let (mut sum, mut term, mut i) = (x, x, 1.0);
        while term.abs() > 1e-17 * sum.abs() {
            i += 2.0;
            term *= x * x / i;
            sum += term;
        }
        0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
    };
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if below(middle) < certainty {
            low = middle
        } else {
            high = middle
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        assert!((normal(0.95) - 1.644_853_627).abs() < 1e-6 && (normal(0.5)).abs() < 1e-9);
        for (certainty, freedom, expected) in [
            (0.95, 10.0, 1.812),
            (0.975, 5.0, 2.571),
            (0.99, 30.0, 2.457),
        ] {
            let found = student(certainty, freedom);
            assert!(
                (found - expected).abs() < 0.02,
                "{certainty} {freedom}: {found}"
            );
        }
    }

    #[test]
    fn bounds_hold_as_often_as_they_say_and_clusters_are_not_mistaken_for_rows() {
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
    fn of_few_clusters_nothing_is_sure_and_of_none_that_was_wrong_little() {
        let found = mean(&[1.0, 2.0], &[0, 0], 0.95);
        assert!(found.low == f64::NEG_INFINITY && found.high == f64::INFINITY);
        let rows: Vec<u32> = (0..10).collect();
        let found = mean(&[0.0; 10], &rows, 0.95);
        assert!(
            (0.25..0.35).contains(&found.high),
            "ten right ones of ten: {found:?}"
        );
    }
}
