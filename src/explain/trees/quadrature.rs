//! The points and weights of Gauss and Legendre between 0 and 1: `n` points integrate a polynomial of degree
//! `2 n − 1` exactly.

use super::DEPTH_MAX;
use std::sync::OnceLock;

/// The most points: a path has at most [`DEPTH_MAX`] features, and an integrand the degree of one less.
pub(super) const POINTS_MAX: usize = DEPTH_MAX / 2;
/// Steps of Newton's method; it doubles the digits with each.
const STEPS: usize = 100;

/// A point of the quadrature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct QuadraturePoint {
    at: f64,
    /// 1 − `at`, without its rounding error.
    rest: f64,
    weight: f64,
}

/// The points, each kind of number by itself.
pub(super) struct QuadratureRule<const N: usize> {
    pub at: [f64; N],
    /// 1 − `at`.
    pub rest: [f64; N],
    pub weight: [f64; N],
}

impl<const N: usize> QuadratureRule<N> {
    /// Returns the rule of `N` points, at most [`POINTS_MAX`].
    pub(super) fn new() -> Self {
        let points = points(N);
        Self {
            at: std::array::from_fn(|at| points[at].at),
            rest: std::array::from_fn(|at| points[at].rest),
            weight: std::array::from_fn(|at| points[at].weight),
        }
    }
}

/// Returns so many points; they are computed once.
fn points(count: usize) -> &'static [QuadraturePoint] {
    static ALL: [OnceLock<Vec<QuadraturePoint>>; POINTS_MAX + 1] =
        [const { OnceLock::new() }; POINTS_MAX + 1];
    ALL[count.min(POINTS_MAX)].get_or_init(|| legendre(count.min(POINTS_MAX)))
}

/// Finds the roots of a Legendre polynomial by Newton's method, from Tricomi's approximation.
fn legendre(count: usize) -> Vec<QuadraturePoint> {
    let degree = count as f64;
    let one = |place: usize| {
        let mut x = (std::f64::consts::PI * (place as f64 + 0.75) / (degree + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..STEPS {
            let (value, found) = polynomial(count, x);
            slope = found;
            let step = value / slope;
            x -= step;
            if step.abs() <= f64::EPSILON {
                break;
            }
        }
        QuadraturePoint {
            at: (1.0 + x) / 2.0,
            rest: (1.0 - x) / 2.0,
            weight: 1.0 / ((1.0 - x * x) * slope * slope),
        }
    };
    (0..count).map(one).collect()
}

/// Returns the value and the slope of a Legendre polynomial, by its recurrence.
fn polynomial(degree: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for n in 2..=degree {
        let n = n as f64;
        let next = ((2.0 * n - 1.0) * x * value - (n - 1.0) * before) / n;
        (before, value) = (value, next);
    }
    (value, degree as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_points_integrate_powers_of_twice_the_degree() {
        for count in 1..=POINTS_MAX {
            for power in 0..2 * count as i32 {
                let terms = points(count).iter().map(|p| p.weight * p.at.powi(power));
                let found: f64 = terms.sum();
                let expected = 1.0 / f64::from(power + 1);
                assert!(
                    (found - expected).abs() < 1e-13,
                    "{count} points, power {power}: {found} is not {expected}"
                );
            }
        }
        let beyond: f64 = points(2).iter().map(|p| p.weight * p.at.powi(4)).sum();
        assert!((beyond - 0.2).abs() > 1e-4, "the next degree needs more");
    }
}
