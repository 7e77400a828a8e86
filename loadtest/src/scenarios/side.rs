//! Two or more servers measured in turn, A B B A, and the ratios of their figures.

use crate::Result;
use crate::clients::Target;
use crate::load::Report;

/// One server of a comparison.
#[derive(Clone)]
pub(super) struct Side {
    pub name: &'static str,
    pub target: Target,
    /// Its process, to measure its CPU time.
    pub pid: Option<u32>,
}

/// Measures `count` sides in `rounds` rounds, forwards and backwards in turn.
/// Returns the figures of each side, round by round.
pub(super) fn alternate<T>(
    count: usize,
    rounds: usize,
    mut measure: impl FnMut(usize) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut all: Vec<Vec<T>> = (0..count).map(|_| Vec::new()).collect();
    for round in 0..rounds.max(1) {
        for turn in 0..count {
            let side = if round % 2 == 0 {
                turn
            } else {
                count - 1 - turn
            };
            all[side].push(measure(side)?);
        }
    }
    Ok(all)
}

/// The median of the rounds' own ratios.
pub(super) fn paired_ratio(above: &[f64], below: &[f64]) -> f64 {
    median(above.iter().zip(below).map(|(a, b)| a / b).collect())
}

/// The CPU times of reports; not a number where no process was named.
pub(super) fn costs(reports: &[Report]) -> Vec<f64> {
    reports
        .iter()
        .map(|r| r.cpu_us().unwrap_or(f64::NAN))
        .collect()
}

pub(super) fn rates(reports: &[Report]) -> Vec<f64> {
    reports.iter().map(Report::rate).collect()
}

/// The middle value, or the mean of the middle two.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => f64::NAN,
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn sides_are_measured_forwards_and_backwards() {
        let mut order = Vec::new();
        let figures = alternate(2, 2, |side| {
            order.push(side);
            Ok(order.len())
        });
        assert_eq!(figures.unwrap(), [[1, 4], [2, 3]]);
        assert_eq!(order, [0, 1, 1, 0]);
    }

    #[test]
    fn ratios_are_those_of_pairs() {
        // The machine was half as fast in the second round.
        assert_eq!(paired_ratio(&[2.0, 4.0, 2.0], &[1.0, 2.0, 1.0]), 2.0);
    }
}
