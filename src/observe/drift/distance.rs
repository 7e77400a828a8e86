//! Distances between a window and its baseline, each with two lower confidence bounds: one that holds
//! with probability 0.99, and one at the significance level of the test. Pure functions of counts in
//! the same cells.
//!
//! KS: sup |F − G| at the edges of the baseline; bounded by Dvoretzky, Kiefer, Wolfowitz
//! and Massart. W: the area between F and G over the spread of the baseline, from the shares and the
//! mean value of each cell; bounded by the area that is left when the KS bound is subtracted
//! everywhere. PSI: Σ (p − q) ln (p / q), less its mean without drift; bounded by
//! the tail of χ² by Laurent and Massart. JS: the square root of the
//! Jensen-Shannon divergence in bits; bounded through PSI, which is eight times
//! the divergence in nats where the two are close. L∞: the largest |p − q| of a
//! category; bounded by Chernoff on both shares, over all categories.

#[cfg(test)]
mod tests;

/// The significance level of the bound `lower`.
pub(crate) const LIKELY: f64 = 0.01;

/// The value of a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DriftMeasure {
    pub value: f64,
    /// Lower confidence bound: the true distance is at least this with probability 0.99.
    pub lower: f64,
    /// The same at the significance level of the test.
    pub certain: f64,
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
    pub(crate) fn ks(&self) -> f64 {
        (-0.5 * (self.alpha / 2.0).ln() * self.spread()).sqrt()
    }

    /// Returns the value that χ² with these degrees of freedom exceeds with probability at most α.
    fn chi_squared(&self, freedom: f64) -> f64 {
        let x = -self.alpha.ln();
        freedom + 2.0 * (freedom * x).sqrt() + 2.0 * x
    }

    /// Measures with both bounds. `lower` computes one for given sizes.
    fn measure(self, value: f64, lower: impl Fn(Self) -> f64) -> DriftMeasure {
        let likely = Self {
            alpha: LIKELY.max(self.alpha),
            ..self
        };
        DriftMeasure {
            value,
            lower: lower(likely).max(0.0),
            certain: lower(self).max(0.0),
        }
    }
}

/// Returns the shares of the total; all are 0 if the total is 0.
pub(crate) fn shares(counts: &[u64]) -> Vec<f64> {
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
    let value = ks_statistic(window, baseline);
    sizes.measure(value, |sizes| value - sizes.ks())
}

/// Returns the largest difference of the two distribution functions.
pub(crate) fn ks_statistic(window: &[u64], baseline: &[u64]) -> f64 {
    let differences = differences(window, baseline).into_iter();
    differences.map(f64::abs).fold(0.0, f64::max)
}

/// Measures how far shares lie outside the band that the parts of the baseline span.
pub(crate) fn beyond_band(shares: &[f64], band: &[(f64, f64)], sizes: Sizes) -> DriftMeasure {
    let beyond = |(share, (low, high)): (&f64, &(f64, f64))| (low - share).max(share - high);
    let value = shares.iter().zip(band).map(beyond).fold(0.0, f64::max);
    sizes.measure(value, |sizes| value - sizes.ks())
}

/// A side of the Wasserstein distance: rows by cell, and the mean of the finite values of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellMeans<'c> {
    pub counts: &'c [u64],
    pub means: &'c [f64],
}

/// Measures the area between the two distribution functions, in units of `scale`. The area within a
/// cell follows from the shares and the means of its values. It is exact where one function is
/// above the other throughout the cell.
pub(crate) fn wasserstein(
    window: CellMeans<'_>,
    baseline: CellMeans<'_>,
    (edges, scale): (&[f64], f64),
    sizes: Sizes,
) -> DriftMeasure {
    let (p, q) = (shares(window.counts), shares(baseline.counts));
    let (mut f, mut g) = (0.0, 0.0);
    // Of each cell: the area, and its width if it has two ends.
    let mut cells: Vec<(f64, Option<f64>)> = Vec::with_capacity(p.len());
    for at in 0..p.len() {
        let area = |before: f64, share: f64, mean: f64| {
            // The integral of the distribution function over the cell, by parts.
            let low = at.checked_sub(1).map_or(0.0, |i| edges[i] * before);
            edges.get(at).map_or(0.0, |high| high * (before + share)) - low - share * mean
        };
        let is_last = at + 1 == p.len();
        let (of_window, of_baseline) = if is_last {
            // Beyond the last edge both functions end at 1.
            let edge = edges.last().copied().unwrap_or(0.0);
            (
                -p[at] * (window.means[at] - edge),
                -q[at] * (baseline.means[at] - edge),
            )
        } else {
            (
                area(f, p[at], window.means[at]),
                area(g, q[at], baseline.means[at]),
            )
        };
        let width = (at > 0 && !is_last).then(|| edges[at] - edges[at - 1]);
        cells.push(((of_window - of_baseline).abs(), width));
        (f, g) = (f + p[at], g + q[at]);
    }

    let value = cells.iter().map(|(area, _)| area).sum::<f64>() / scale;
    sizes.measure(value, |sizes| {
        // What lies beyond the edges has no width by which chance could be bounded.
        let sure = |(area, width): &(f64, Option<f64>)| {
            width.map_or(0.0, |width| (area - sizes.ks() * width).max(0.0))
        };
        cells.iter().map(sure).sum::<f64>() / scale
    })
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
    sizes.measure(value, |sizes| {
        raw - sizes.chi_squared(freedom) * sizes.spread()
    })
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
    let freedom = used.saturating_sub(1) as f64;
    sizes.measure(bits.max(0.0).sqrt(), |sizes| {
        let chance = sizes.chi_squared(freedom) * sizes.spread() / (8.0 * std::f64::consts::LN_2);
        (bits - chance).max(0.0).sqrt()
    })
}

/// Categories whose bounds are computed: those whose shares differ most.
const BOUNDED: usize = 4;
/// Most steps to a bound of a share. Six are usual.
const STEPS_MAX: usize = 60;

/// Measures the largest difference of a category's share.
pub(crate) fn largest(window: &[u64], baseline: &[u64], sizes: Sizes) -> DriftMeasure {
    let (p, q) = (shares(window), shares(baseline));
    let used = window
        .iter()
        .zip(baseline)
        .filter(|(n, m)| **n + **m > 0)
        .count()
        .max(1) as f64;

    let mut apart: Vec<(f64, f64)> = p.into_iter().zip(q).collect();
    apart.sort_unstable_by(|a, b| (b.0 - b.1).abs().total_cmp(&(a.0 - a.1).abs()));
    apart.truncate(BOUNDED);
    let value = apart.first().map_or(0.0, |(p, q)| (p - q).abs());

    sizes.measure(value, |sizes| {
        // Four bounds for each category, each of which may be wrong.
        let sure = (4.0 * used / sizes.alpha).ln();
        let lower = |(p, q): &(f64, f64)| {
            let (p_low, p_high) = share_bounds(*p, sure / sizes.window);
            let (q_low, q_high) = share_bounds(*q, sure / sizes.baseline);
            (p_low - q_high).max(q_low - p_high)
        };
        apart.iter().map(lower).fold(0.0, f64::max)
    })
}

/// Returns the greatest share that is likely, at a level, where `hits` of `rows` were counted.
pub(crate) fn share_at_most(hits: f64, rows: f64, alpha: f64) -> f64 {
    if rows <= 0.0 {
        return 1.0;
    }
    share_bounds((hits / rows).min(1.0), -alpha.ln() / rows).1
}

/// Returns the least share that is likely.
pub(crate) fn share_at_least(hits: f64, rows: f64, alpha: f64) -> f64 {
    if rows <= 0.0 {
        return 0.0;
    }
    share_bounds((hits / rows).min(1.0), -alpha.ln() / rows).0
}

/// Returns the least and the greatest share whose relative entropy to `share` is at most `far`.
fn share_bounds(share: f64, far: f64) -> (f64, f64) {
    // What is true of a share is true of its complement.
    (
        1.0 - greatest_share(1.0 - share, far),
        greatest_share(share, far),
    )
}

/// Returns the greatest share whose relative entropy to `share` is at most `far`. The entropy is convex, so Newton's
/// steps from above come down to it.
fn greatest_share(share: f64, far: f64) -> f64 {
    if share >= 1.0 || far <= 0.0 {
        return share.min(1.0);
    }
    let entropy = |q: f64| {
        let part = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
        part(share, q) + part(1.0 - share, 1.0 - q)
    };
    // The entropy is at least (q − share)² / 2q, and at least what the complement adds to it.
    let by_square = share + far + (far * (far + 2.0 * share)).sqrt();
    let of_share = if share > 0.0 {
        -share * share.ln()
    } else {
        0.0
    };
    let rest = 1.0 - share;
    let by_rest = 1.0 - rest * (-(far + of_share) / rest).exp();
    let mut q = by_square.min(by_rest);
    for _ in 0..STEPS_MAX {
        if q >= 1.0 {
            return 1.0;
        }
        let over = entropy(q) - far;
        let slope = (q - share) / (q * (1.0 - q));
        let step = over / slope;
        if step.is_nan() || step <= q * f64::EPSILON {
            break;
        }
        q -= step;
    }
    q.max(share)
}
