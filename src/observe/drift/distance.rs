//! Distances between a window and its baseline, each with a lower confidence bound that holds with
//! probability 1 − α. Pure functions of counts in the same cells.
//!
//! KS: sup |F − G| at the edges of the baseline; bounded by Dvoretzky, Kiefer, Wolfowitz
//! and Massart. W: the area between F and G over the interquartile range of the
//! baseline; bounded by the area that is left when the KS bound is subtracted
//! everywhere. PSI: Σ (p − q) ln (p / q), less its mean without drift; bounded by
//! the tail of χ² by Laurent and Massart. JS: the square root of the
//! Jensen-Shannon divergence in bits; bounded through PSI, which is eight times
//! the divergence in nats where the two are close. L∞: the largest |p − q| of a
//! category; bounded by Chernoff on both shares, over all categories.

#[cfg(test)]
mod tests;

/// The value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DriftMeasure {
    pub value: f64,
    /// Lower confidence bound: the true distance is at least this with probability 1 − α.
    pub lower: f64,
}

/// The numbers of rows, and the significance level of the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Effective rows of the window: fewer than its rows if neighbouring rows are correlated.
    pub window: f64,
    pub baseline: f64,
    pub alpha: f64,
}

impl Sizes {
    /// `1/n + 1/m`.
    fn spread(&self) -> f64 {
        1.0 / self.window + 1.0 / self.baseline
    }

    /// Returns the value that KS exceeds by chance with probability at most α.
    fn ks(&self) -> f64 {
        (-0.5 * (self.alpha / 2.0).ln() * self.spread()).sqrt()
    }

    /// Returns the value that χ² with these degrees of freedom exceeds with probability at most α.
    fn chi_squared(&self, freedom: f64) -> f64 {
        let x = -self.alpha.ln();
        freedom + 2.0 * (freedom * x).sqrt() + 2.0 * x
    }
}

/// Returns the shares of the total; all are 0 if the total is 0.
fn shares(counts: &[u64]) -> Vec<f64> {
    let total: u64 = counts.iter().sum();
    counts
        .iter()
        .map(|n| {
            if total > 0 {
                *n as f64 / total as f64
            } else {
                0.0
            }
        })
        .collect()
}

/// Returns F − G at every edge between cells, in order.
fn differences(window: &[u64], baseline: &[u64]) -> Vec<f64> {
    let (p, q) = (shares(window), shares(baseline));
    let mut sum = 0.0;
    let steps = p.iter().zip(&q).take(p.len().saturating_sub(1));
    steps
        .map(|(p, q)| {
            sum += p - q;
            sum
        })
        .collect()
}

/// Measures the largest difference of the two distribution functions.
pub(crate) fn ks(window: &[u64], baseline: &[u64], sizes: Sizes) -> DriftMeasure {
    let value = differences(window, baseline)
        .into_iter()
        .map(f64::abs)
        .fold(0.0, f64::max);
    DriftMeasure {
        value,
        lower: (value - sizes.ks()).max(0.0),
    }
}

/// Measures the area between the two distribution functions, in units of `iqr`. Both are linear
/// within a cell; beyond the edges, the area ends at the least and the greatest value of the window.
pub(crate) fn wasserstein(
    (window, ends): (&[u64], (f64, f64)),
    baseline: &[u64],
    (edges, iqr): (&[f64], f64),
    sizes: Sizes,
) -> DriftMeasure {
    let d = differences(window, baseline);
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
        return DriftMeasure {
            value: 0.0,
            lower: 0.0,
        };
    };

    // One more point on each side, where both functions are 0 or both are 1.
    let at = std::iter::once(ends.0.min(*first))
        .chain(edges.iter().copied())
        .chain([ends.1.max(*last)]);
    let by = std::iter::once(0.0).chain(d).chain([0.0]);

    let points: Vec<(f64, f64)> = at.zip(by).collect();
    let area = |less: f64| -> f64 {
        points
            .windows(2)
            .map(|p| beyond(p[0].1, p[1].1, less) * (p[1].0 - p[0].0))
            .sum()
    };

    let unit = if iqr > 0.0 { iqr } else { 1.0 };
    DriftMeasure {
        value: area(0.0) / unit,
        lower: area(sizes.ks()) / unit,
    }
}

/// Returns by how much |x| exceeds `less` on average, for x from `a` to `b`.
fn beyond(a: f64, b: f64, less: f64) -> f64 {
    // Positive and negative parts are separate, because x may change its sign.
    upper(a - less, b - less) + upper(-a - less, -b - less)
}

/// Returns the mean of the positive part of x, for x from `a` to `b`.
fn upper(a: f64, b: f64) -> f64 {
    match (a > 0.0, b > 0.0) {
        (true, true) => (a + b) / 2.0,
        (false, false) => 0.0,
        (true, false) => a / 2.0 * (a / (a - b)),
        (false, true) => b / 2.0 * (b / (b - a)),
    }
}

/// Returns the shares of the cells that are not empty on both sides. Half a row is added to each, so
/// that every share has a logarithm.
fn smoothed(window: &[u64], baseline: &[u64]) -> Vec<(f64, f64)> {
    let used: Vec<(f64, f64)> = window
        .iter()
        .zip(baseline)
        .filter(|(n, m)| **n + **m > 0)
        .map(|(n, m)| (*n as f64 + 0.5, *m as f64 + 0.5))
        .collect();
    let (n, m): (f64, f64) = used
        .iter()
        .fold((0.0, 0.0), |(n, m), (a, b)| (n + a, m + b));
    used.into_iter().map(|(a, b)| (a / n, b / m)).collect()
}

/// Measures the population stability index, minus its mean without drift.
pub(crate) fn psi(window: &[u64], baseline: &[u64], sizes: Sizes) -> DriftMeasure {
    let cells = smoothed(window, baseline);
    let freedom = cells.len().saturating_sub(1) as f64;
    let raw: f64 = cells.iter().map(|(p, q)| (p - q) * (p / q).ln()).sum();
    let value = (raw - freedom * sizes.spread()).max(0.0);
    DriftMeasure {
        value,
        lower: (raw - sizes.chi_squared(freedom) * sizes.spread()).max(0.0),
    }
}

/// Measures the Jensen-Shannon distance in base 2: 0 for equal distributions, 1 for disjoint ones.
pub(crate) fn js(window: &[u64], baseline: &[u64], sizes: Sizes) -> DriftMeasure {
    let (p, q) = (shares(window), shares(baseline));
    let part = |a: f64, b: f64| {
        if a > 0.0 {
            a * (2.0 * a / (a + b)).log2()
        } else {
            0.0
        }
    };

    let bits: f64 = p
        .iter()
        .zip(&q)
        .map(|(p, q)| (part(*p, *q) + part(*q, *p)) / 2.0)
        .sum();
    let used = window
        .iter()
        .zip(baseline)
        .filter(|(n, m)| **n + **m > 0)
        .count();
    let chance = sizes.chi_squared(used.saturating_sub(1) as f64) * sizes.spread()
        / (8.0 * std::f64::consts::LN_2);
    DriftMeasure {
        value: bits.max(0.0).sqrt(),
        lower: (bits - chance).max(0.0).sqrt(),
    }
}

/// Measures the largest difference of a category's share.
pub(crate) fn largest(window: &[u64], baseline: &[u64], sizes: Sizes) -> DriftMeasure {
    let (p, q) = (shares(window), shares(baseline));
    let used = window
        .iter()
        .zip(baseline)
        .filter(|(n, m)| **n + **m > 0)
        .count()
        .max(1) as f64;
    // Four bounds for each category, each of which may be wrong.
    let sure = (4.0 * used / sizes.alpha).ln();

    let apart = p.iter().zip(&q).map(|(p, q)| {
        let (p_low, p_high) = share_bounds(*p, sure / sizes.window);
        let (q_low, q_high) = share_bounds(*q, sure / sizes.baseline);
        DriftMeasure {
            value: (p - q).abs(),
            lower: (p_low - q_high).max(q_low - p_high).max(0.0),
        }
    });

    apart.fold(
        DriftMeasure {
            value: 0.0,
            lower: 0.0,
        },
        |a, b| DriftMeasure {
            value: a.value.max(b.value),
            lower: a.lower.max(b.lower),
        },
    )
}

/// Returns the least and the greatest share whose relative entropy to `share` is at most `far`.
fn share_bounds(share: f64, far: f64) -> (f64, f64) {
    let entropy = |q: f64| {
        let part = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
        part(share, q) + part(1.0 - share, 1.0 - q)
    };
    let bisect = |mut near: f64, mut away: f64| {
        for _ in 0..60 {
            let middle = f64::midpoint(near, away);
            if entropy(middle) > far {
                away = middle
            } else {
                near = middle
            }
        }
        near
    };

    (bisect(share, 0.0), bisect(share, 1.0))
}
