//! Confidence intervals of means. Rows of a cluster, such as a group or an hour,
//! count as one observation (cluster-robust, Liang and Zeger 1986). Pure.

#[cfg(test)]
mod tests;

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
#[cfg(test)]
pub(crate) fn mean(values: &[f64], cluster: &[u32], certainty: f64) -> Interval {
    weighted_mean(values, None, cluster, certainty)
}

/// Returns the same of rows with weights; rows of weight 0 do not count.
pub(crate) fn weighted_mean(
    values: &[f64],
    weights: Option<&[f64]>,
    cluster: &[u32],
    certainty: f64,
) -> Interval {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let rows = || (0..values.len()).filter(|row| weight(*row) > 0.0);
    let n: f64 = rows().map(weight).sum();
    let sum: f64 = rows().map(|row| weight(row) * values[row]).sum();
    let mean = if n > 0.0 { sum / n } else { 0.0 };
    let mut sums: std::collections::BTreeMap<u32, f64> = std::collections::BTreeMap::new();
    for row in rows() {
        *sums.entry(cluster[row]).or_default() += weight(row) * (values[row] - mean);
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
    let mut reach = student_quantile(certainty, k - 1.0) * variance.sqrt();
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

/// Returns the quantile of Student's distribution (Cornish and Fisher 1938).
fn student_quantile(certainty: f64, freedom: f64) -> f64 {
    let z = normal(certainty);
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * freedom)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * freedom.powi(3))
}

/// Returns the quantile of the normal distribution, by bisection (its distribution by a
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
